"""`fmbook release [ERA ...]`: nbgrader's generate_assignment, rehearsed before anything is touched.

nbgrader removes the whole release folder when one notebook fails, and overwrites what it finds. So
it works on a copy of the gradebook and in a scratch folder first; what it makes there is searched
for leaks. Only then it runs on the gradebook itself. Left out: sending anything to students.
"""

import fnmatch
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fmbook.grading.course import Course, CourseError
from fmbook.grading.exercise import read_exercise
from fmbook.grading.generate import files_in, generate
from fmbook.grading.leaks import Markers, Notebook, faults, file_leaks, leaks, read_notebook
from fmbook.grading.lint import in_process, lint
from fmbook.grading.standing import (
    Kept,
    conflicts,
    copy,
    ensure_writable,
    file_of,
    has_tables,
    kept,
    planned,
    schema_fault,
)
from fmbook.grading.verdict import text

__all__ = ["release"]

IGNORED = (".ipynb_checkpoints", "__pycache__", ".DS_Store")


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the instructor allows."""

    new_points: bool = False
    new_gradebook: bool = False
    include: tuple[str, ...] = ()  # patterns of other files that students get


@dataclass
class Plan:
    """What a release of an era would do; with a refusal it does nothing."""

    era: str
    notebooks: dict[str, str] = field(default_factory=dict)  # stem: new, changed, unchanged
    points: dict[str, float] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)  # of the release, by name
    kept: dict[str, Kept] = field(default_factory=dict)  # in the gradebook until now
    idle: bool = False  # nothing would change


def release(
    eras: Sequence[str] = (),
    *,
    folder: Path | None = None,
    db: str | None = None,
    dry_run: bool = False,
    new_points: bool = False,
    new_gradebook: bool = False,
    include: Sequence[str] = (),
    as_json: bool = False,
) -> int:
    """Release eras (all without a name), or say what stands against it.

    Returns the exit code: 0 if all were released (or could be, in a dry run), 1 if something was
    refused, in which case nothing is changed, 2 if there is no such course or era.
    """
    wishes = Wishes(new_points=new_points, new_gradebook=new_gradebook, include=tuple(include))
    done = Done(dry_run)
    try:
        _try(Course.find(folder, db), eras, wishes, done)
    except (CourseError, OSError) as error:
        done.problem = text(str(error))
    except KeyboardInterrupt:
        done.problem = "stopped by Ctrl-C"
    print(done.as_json() if as_json else done.as_text())
    return 2 if done.problem and not done.began else int(done.refused or bool(done.problem))


@dataclass
class Done:
    """What came of a release, for people and for programs."""

    dry_run: bool
    plans: list[Plan] = field(default_factory=list)
    began: bool = False  # to write
    written: list[str] = field(default_factory=list)  # eras
    backup: Path | None = None
    problem: str = ""

    @property
    def refused(self) -> bool:
        return any(plan.refusals for plan in self.plans)

    def as_json(self) -> str:
        names = ("era", "notebooks", "points", "refusals", "notes")
        eras = [{name: getattr(plan, name) for name in names} for plan in self.plans]
        found = {"eras": eras, "released": self.written, "dry_run": self.dry_run}
        backup = str(self.backup) if self.backup else None
        return json.dumps(found | {"backup": backup, "error": self.problem or None}, indent=1)

    def as_text(self) -> str:
        lines = []
        for plan in self.plans:
            lines.append(plan.era)
            for stem, state in plan.notebooks.items():
                lines.append(f"  {stem}: {state}, {plan.points[stem]:g} points")
            lines += [f"  note: {said}" for said in plan.notes]
            lines += [f"  refused: {said}" for said in plan.refusals]
        lines += [self.problem] if self.problem else []
        if self.written:
            lines.append(f"Released: {', '.join(self.written)}.")
        elif self.dry_run and not self.refused and not self.problem:
            lines.append("A dry run: nothing was written.")
        elif self.refused or self.problem:
            lines.append("Nothing was released.")
        else:
            lines.append("Everything was released before: nothing to do.")
        lines += [f"The gradebook as it was before: {self.backup}"] if self.backup else []
        return text("\n".join(lines))


def _try(course: Course, eras: Sequence[str], wishes: Wishes, done: Done) -> None:
    _known(course, eras)
    with tempfile.TemporaryDirectory() as scratch:
        book = _copied(course, Path(scratch))
        for era in eras or course.eras():
            done.plans.append(_plan(course, era, Path(scratch), book, wishes))
        if not done.dry_run and not done.refused:
            _carry_out(course, done, Path(scratch))


def _known(course: Course, eras: Sequence[str]) -> None:
    """Raise CourseError for what is no era, and where nbgrader is missing."""
    there = course.eras()
    if not there:
        raise CourseError(f"{course.source} holds no notebooks: put them into {course.source}/ERA/")
    for era in eras:
        if era not in there:
            raise CourseError(f"there is no era {era!r}; there are {', '.join(there)}")
    try:
        import nbgrader  # noqa: F401
    except ImportError:
        raise CourseError("releasing needs nbgrader: pip install 'fmbook[grading]'") from None


def _copied(course: Course, scratch: Path) -> str:
    """The URL of a copy of the gradebook (of itself on a server), '' if there is none yet.

    Raises:
        CourseError: nbgrader cannot use it.
    """
    file, url = file_of(course.db_url), course.db_url
    if file is not None:
        if not file.is_file():
            return ""
        copy(file, scratch / "before.db")
        url = f"sqlite:///{scratch / 'before.db'}"
    if said := schema_fault(url):
        raise CourseError(said)
    return url if has_tables(url) else ""


def _plan(course: Course, era: str, scratch: Path, book: str, wishes: Wishes) -> Plan:
    plan, sources, markers = Plan(era), dict[str, Notebook](), Markers.of(course.config)
    for stem in course.stems(era):
        try:
            data = (course.folder("source", ".", era) / f"{stem}.ipynb").read_bytes()
            sources[stem] = read_notebook(data)
            plan.refusals += [f"{stem}, {said}" for said in faults(sources[stem], markers)]
        except ValueError as error:
            plan.refusals.append(f"{stem} {error}")
    if plan.refusals:
        return plan
    _ask_the_gradebook(course, plan, sources, book, wishes)
    if not plan.refusals:
        _rehearse(course, plan, scratch, sources, wishes)
    return plan


def _ask_the_gradebook(
    course: Course, plan: Plan, sources: dict[str, Notebook], book: str, wishes: Wishes
) -> None:
    """Refuse what would harm grades, or the gradebook's wrong or new."""
    era, have = plan.era, kept(book, plan.era)
    cells = {stem: planned(source) for stem, source in sources.items()}
    for stem, mine in cells.items():
        plan.points[stem] = sum(points or 0.0 for _, points in mine.values())
    if have is None:
        if not course.option("GenerateAssignment", "create_assignment", True):
            plan.refusals.append(
                f"the gradebook lacks {era}: run `nbgrader db assignment add {era}`"
            )
        elif (students := course.students(era)) and not wishes.new_gradebook:
            plan.refusals.append(
                f"{len(students)} students handed in {era}, but the gradebook does not know it: "
                "put the right gradebook back (c.CourseDirectory.db_url), or begin a new one with "
                "--new-gradebook"
            )
        have = {}
    for kind, said in conflicts(era, have, cells):
        allowed = kind == "points" and wishes.new_points
        (plan.notes if allowed else plan.refusals).append(said)
    plan.kept = have


def _rehearse(
    course: Course, plan: Plan, scratch: Path, sources: dict[str, Notebook], wishes: Wishes
) -> None:
    """Let nbgrader make the release aside, and look at what it made."""
    trial, before = scratch / "trial.db", scratch / "before.db"
    if before.is_file() and not trial.exists():
        copy(before, trial)
    try:
        made = generate(course, plan.era, scratch / "trial", f"sqlite:///{trial}", hooks=False)
    except CourseError as error:
        plan.refusals.append(str(error))
        return
    plan.files = {name: file.read_bytes() for name, file in made.items()}
    markers = Markers.of(course.config)
    for stem, source in sources.items():
        data = plan.files[f"{stem}.ipynb"]
        plan.refusals += [f"{stem}, {s}" for s in leaks(source, json.loads(data), markers)]
        exercise = read_exercise(plan.era, stem, json.dumps(source), data.decode())
        plan.notes += [f"{stem}, {said}" for said in lint(exercise)]
        if inside := in_process(exercise):
            plan.notes.append(f"{stem}: {len(inside)} checks run in the student's own process")
    plan.refusals += _other_files(plan, sources, markers, wishes)
    _compare(course, plan, kept(f"sqlite:///{trial}", plan.era) or {})


def _other_files(
    plan: Plan, sources: dict[str, Notebook], markers: Markers, wishes: Wishes
) -> Iterator[str]:
    """Files that nbgrader copies along, and that nobody named."""
    said = "".join(data.decode() for name, data in plan.files.items() if name.endswith(".ipynb"))
    for name, data in plan.files.items():
        if name.removesuffix(".ipynb") in sources:
            continue
        if found := file_leaks(list(sources.values()), data, markers):
            yield f"{name} would go along and shows what is hidden: {found[0][:60]!r}"
        elif Path(name).name not in said and not any(
            fnmatch.fnmatch(name, p) for p in wishes.include
        ):
            yield (
                f"{name} would go along, though no notebook names it: move it out of the source "
                f"folder, or allow it with --include {name!r}"
            )


def _compare(course: Course, plan: Plan, after: dict[str, Kept]) -> None:
    """Note what is new and changed, and refuse if other files of the release would be deleted."""
    target = course.folder("release", ".", plan.era)
    for stem, now in after.items():
        file, was = target / f"{stem}.ipynb", plan.kept.get(stem)
        same = file.is_file() and file.read_bytes() == plan.files[file.name]
        same = same and was is not None and (was.cells, was.sources) == (now.cells, now.sources)
        plan.notebooks[stem] = "unchanged" if same else "changed" if was else "new"
        before = was.sources if was else {}
        changed = sorted(name for name, said in now.sources.items() if before.get(name) != said)
        if was and was.graded and changed:
            plan.notes.append(
                f"{stem}: {was.graded} students were graded before, and {', '.join(changed)} "
                f"changed: run `fmbook grade {plan.era} --regrade`"
            )
    for name in files_in(target):
        if name not in plan.files and not set(Path(name).parts) & set(IGNORED):
            plan.refusals.append(
                f"{target / name} is not made from the source, and nbgrader would delete it: move "
                "or delete it"
            )
    plan.idle = set(plan.notebooks.values()) == {"unchanged"} and all(
        (target / name).is_file() and (target / name).read_bytes() == data
        for name, data in plan.files.items()
    )


def _carry_out(course: Course, done: Done, scratch: Path) -> None:
    """Back the gradebook up and release what has changed.

    Raises:
        CourseError: the gradebook cannot be written, or nbgrader refused after all.
    """
    plans = [plan for plan in done.plans if not plan.idle]
    file = file_of(course.db_url)
    if plans and file is not None and file.is_file():
        ensure_writable(file)
        when = datetime.now().strftime("%Y%m%d-%H%M%S")
        done.backup = file.with_name(f"{file.stem}-before-release-{when}{file.suffix}")
        copy(file, done.backup)
    for plan in plans:
        done.began = True
        _publish(course, plan, scratch)
        done.written.append(plan.era)


def _publish(course: Course, plan: Plan, scratch: Path) -> None:
    """Write the gradebook, then replace the released files one by one.

    Raises:
        CourseError: nbgrader refused, or made something else than in the rehearsal.
    """
    made = generate(course, plan.era, scratch / "final", course.db_url, hooks=True)
    if {name: file.read_bytes() for name, file in made.items()} != plan.files:
        raise CourseError(
            f"the source of {plan.era} changed while it was released: nothing was written to "
            f"{course.release}; run the command again"
        )
    target = course.folder("release", ".", plan.era)
    for name, file in made.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        aside = (target / name).with_name(f"{file.name}.new")
        shutil.copy(file, aside)
        os.replace(aside, target / name)
