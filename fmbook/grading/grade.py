"""`fmbook grade`: everything new in a course folder gets its grades, feedback's material and a row.

The coordinator: it reads submissions, hands out jobs, and alone writes gradebook and files. Left
out: running students' code (the worker's part) and showing the outcome (the command line's).
"""

import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from fmbook.grading.audit import Auditor
from fmbook.grading.collect import STAMP, new_timestamp, read_file, sha256, side_files, timestamp
from fmbook.grading.course import Course, CourseError, safe_name
from fmbook.grading.exercise import Exercise
from fmbook.grading.gradebook import Key, Record
from fmbook.grading.intake import SIZE, Unreadable, blank, read_submission
from fmbook.grading.ledger import Entry, Ledger
from fmbook.grading.plan import Limits, job_of, key_of
from fmbook.grading.results import Results, environment, sweep, write_aside
from fmbook.grading.schedulers import Job, Local, Scheduler
from fmbook.grading.task import GRADED, Task, notebook, untouched, verdict_on
from fmbook.grading.verdict import Verdict

__all__ = ["Grader", "Options", "Task", "grade", "planned"]


KNOWN, HELD, STORED = 64, 8, 16  # submissions that are looked up, reserved, stored together
SOON = 1.0  # seconds after which what was found is stored, however little it is


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to grade and how; empty means everything."""

    era: str | None = None
    stem: str | None = None
    student: str | None = None
    jobs: int = 1
    scheduler: str = ""  # Dask's address; without one, this machine
    audit: float = 0.02  # the share of what others ran that is run again here
    regrade: bool = False
    tier: str | None = None
    allow_unsafe: bool = False
    total_seconds: float = 120.0
    memory: int = 2 << 30


class Grader:
    """Grades a course; `run` yields a line for each submission as it is done."""

    def __init__(self, course: Course, options: Options) -> None:
        self.course, self.options = course, options
        self.ledger = Ledger(course.db_url)
        self.results = Results(course.root / ".fmbook" / "results")
        self.limits = Limits(
            cell_seconds=course.cell_seconds,
            total_seconds=max(options.total_seconds, course.cell_seconds),
            memory=options.memory,
        )
        self.lease = self.limits.total_seconds * 4  # seconds
        self.secret = self.ledger.secret()
        self.layers: dict[str, str] = {}  # what walled the students in, if any was run
        self.cpu = 0.0  # seconds of the processes that ran students' code and checks
        self.exercises = {key: self._exercise(*key) for key in self._wanted()}
        self.blank = {key: blank(exercise) for key, exercise in self.exercises.items()}

    def _wanted(self) -> Iterator[tuple[str, str]]:
        """The exercises to grade: those that were released and that somebody handed in."""
        o = self.options
        eras = [o.era] if o.era else self.course.eras()
        if o.era and o.era not in self.course.eras():
            raise CourseError(
                f"there is no assignment {o.era!r}; there are: {', '.join(self.course.eras())}"
            )
        for era in eras:
            stems = self.course.stems(era)
            if o.stem and o.stem not in stems and o.era:
                raise CourseError(f"{era} has no notebook {o.stem!r}; it has: {', '.join(stems)}")
            for stem in stems:
                if o.stem in (None, stem) and self._collected(era, stem):
                    yield era, stem

    def _collected(self, era: str, stem: str) -> bool:
        """Whether any student has handed a notebook in; if not, it is not scored at all."""
        students = self.course.students(era)
        return any(os.path.lexists(self._file((era, stem, who))) for who in students)

    def _exercise(self, era: str, stem: str) -> Exercise:
        stored = self.ledger.stored(era, stem)
        if not stored:
            raise CourseError(f"{era}/{stem} was not released yet: run `fmbook release {era}`")
        exercise = self.course.exercise(era, stem, stored)
        worth = {c.grade_id: c.points for c in exercise.cells if c.kind in GRADED}
        if worth != self.ledger.points(era, stem):
            raise CourseError(
                f"{era}/{stem} and the gradebook differ in points: run `fmbook release {era}`"
            )
        return exercise

    def _file(self, key: Key) -> Path:
        era, stem, student = key
        return self.course.folder("submitted", student, era) / f"{stem}.ipynb"

    def keys(self) -> list[Key]:
        """The submissions that there are, students whose folder has an odd name left out."""
        o = self.options
        return [
            (era, stem, student)
            for era, stem in self.exercises
            for student in self.course.students(era)
            if safe_name(student) and o.student in (None, student)
        ]

    def odd_folders(self) -> list[str]:
        """Folders under submitted/ whose name can be no student's."""
        eras = {era for era, _ in self.exercises}
        found = {who for era in eras for who in self.course.students(era) if not safe_name(who)}
        return sorted(found)

    def task(self, key: Key, entry: Entry | None = None) -> Task:
        """Read one submission; whatever is wrong with it becomes its `problem`."""
        exercise, file = self.exercises[key[:2]], self._file(key)
        task = Task(key=key, exercise=exercise, submission=self.blank[key[:2]], entry=entry)
        try:
            data = read_file(file)
            task.timestamp = timestamp(file.with_name(STAMP))
            if data is None:
                task.missing = True
                task.job_key = "missing"
                return task
            task.job_key = hashlib.sha256(data[:SIZE]).hexdigest()
            task.submission = read_submission(data, exercise)
        except Unreadable as problem:
            task.problem = str(problem)
            return task
        sources = json.dumps([p.source for p in task.submission.cells]).encode()
        task.seed = self._seed(key, sources)
        task.job = job_of(
            exercise,
            task.submission,
            seed=task.seed,
            limits=self.limits,
            files=side_files(file.parent, self.course.source / key[0]),
            tier=self.options.tier,
        )
        task.job_key = key_of(task.job, environment())
        return task

    def _seed(self, key: Key, sources: bytes) -> str:
        said = "/".join(key).encode() + b"\0" + sources
        return hmac.new(self.secret.encode(), said, hashlib.sha256).hexdigest()[:32]

    def is_done(self, task: Task) -> bool:
        """Whether gradebook and files hold this very submission already."""
        entry = task.entry
        if entry is None or entry.state != task.state or entry.key != task.job_key:
            return False
        file = self._graded_file(task.key)
        held = sha256(file) == entry.file and not new_timestamp(self._file(task.key), file)
        return entry.state == "missing" or held

    def _graded_file(self, key: Key) -> Path:
        era, stem, student = key
        return self.course.folder("autograded", student, era) / f"{stem}.ipynb"

    def store(self, tasks: Sequence[Task]) -> dict[Key, Verdict]:
        """Write the grades, rows and graded notebooks of some submissions; what each got.

        Those that another process has now are left out.

        Raises:
            CourseError: something could not be written; the next run makes up for it.
        """
        made = {task.key: self._made(task) for task in tasks}
        with _told():
            stored = self.ledger.record({key: record for key, (record, _) in made.items()})
            for task in tasks:
                record, graded = made[task.key]
                if graded and task.key in stored:
                    file = self._graded_file(task.key)
                    sweep(file)
                    if when := new_timestamp(self._file(task.key), file):
                        write_aside(file.with_name(STAMP), when, owner=file)
                    if sha256(file) != record.file:  # the last to be written: see `is_done`
                        write_aside(file, graded)
        return {key: made[key][0].verdict for key in stored}

    def _made(self, task: Task) -> tuple[Record, bytes]:
        """What is to be stored of a submission, and its graded notebook."""
        verdict = verdict_on(task)
        graded = b"" if task.missing else notebook(task, verdict)
        before = task.entry
        record = Record(
            state=task.state,
            verdict=verdict,
            key=task.job_key,
            seed=task.seed,
            file=hashlib.sha256(graded).hexdigest() if graded else "",
            timestamp=task.timestamp,
            untouched=untouched(task),
            penalty=str(self.course.option("LateSubmissionPlugin", "penalty_method", "none")),
            changed=before is None or (before.seed or before.key) != (task.seed or task.job_key),
        )
        return record, graded

    def run(self, keys: Sequence[Key]) -> Iterator[tuple[Key, str, Verdict | None]]:
        """Grade these submissions; yields key, outcome (`kept`, a state, `failed`), verdict."""
        scheduler, auditor = _places(self)
        try:
            with scheduler, auditor.here if auditor else nullcontext():
                yield from self._through(scheduler, auditor, keys)
        finally:
            with suppress(CourseError):  # whose database is gone has no claims either
                self.ledger.let_go()
        self.cpu = scheduler.cpu

    def _through(
        self, scheduler: Scheduler, auditor: Auditor | None, keys: Sequence[Key]
    ) -> Iterator[tuple[Key, str, Verdict | None]]:
        renewed, stored, waiting = time.monotonic(), 0.0, list[Task]()
        for ended in scheduler.map(self._tasks(keys)):
            if time.monotonic() > renewed + self.lease / 4:
                self.ledger.renew(self.lease)
                renewed = time.monotonic()
            task, result = ended or (None, None)
            if task and isinstance(result, Exception):
                self.ledger.fail(task.key, str(result))
                yield task.key, "failed", None
            elif task and task.left:
                yield task.key, task.left, task.entry.verdict if task.entry else None
            elif task:
                if isinstance(result, bytes):
                    self._note(scheduler.layers)
                    self._take(task, result, auditor)
                waiting.append(task)
            if len(waiting) == STORED or (waiting and time.monotonic() > stored + SOON):
                yield from self._stored(waiting)
                stored, waiting = time.monotonic(), []
        yield from self._stored(waiting)

    def _note(self, layers: dict[str, str]) -> None:
        """Keep what walls students had: before any result, since a run may be killed after it."""
        if layers and layers != self.layers:
            self.layers = layers
            self.ledger.note("layers", layers)

    def _take(self, task: Task, result: bytes, auditor: Auditor | None) -> None:
        """Keep what was found, so that it need not be run again whatever happens next."""
        task.found = json.loads(result)
        if auditor and not task.found["poison"] and auditor.chosen(task):
            task.found = auditor.found(task, task.found)
            result = json.dumps(task.found).encode()
        if not task.found["faults"]:
            with _told():
                self.results.put(task.job_key, result)

    def _stored(self, tasks: Sequence[Task]) -> Iterator[tuple[Key, str, Verdict | None]]:
        verdicts = self.store(tasks) if tasks else {}
        for task in tasks:
            verdict = verdicts.get(task.key)
            yield task.key, task.state if verdict else "elsewhere", verdict

    def _tasks(self, keys: Sequence[Key]) -> Iterator[tuple[Task, Job | None]]:
        """Each submission, with its job where it has to be run; other processes' come last."""
        later: list[Key] = []
        for task in self._reserved(keys):
            if task.left == "elsewhere":
                later.append(task.key)
            else:
                yield task, self._to_run(task)
        for task in self._reserved(later):
            yield task, self._to_run(task)

    def _reserved(self, keys: Sequence[Key]) -> Iterator[Task]:
        """These submissions, each reserved if there is something to do about it."""
        for many in _batches(keys, KNOWN):
            known = self.ledger.known(many)
            for few in _batches(many, HELD):
                yield from self._batch(few, known)

    def _batch(self, keys: Sequence[Key], known: Mapping[Key, Entry]) -> Iterator[Task]:
        tasks = [self.task(key, known.get(key)) for key in keys]
        regrade = self.options.regrade
        wanted = [task.key for task in tasks if regrade or not self.is_done(task)]
        held = self.ledger.claim(wanted, self.lease, known) if wanted else {}
        for task in tasks:
            if task.key not in wanted:
                task.left = "kept"
            elif task.key not in held:
                task.left = "elsewhere"
            else:
                was, task.entry = known.get(task.key), held[task.key]
                done = was is None or was.finished != task.entry.finished
                if done and not regrade and self.is_done(task):  # somebody did it meanwhile
                    self.ledger.let_go(task.key)
                    task.left = "kept"
            yield task

    def _to_run(self, task: Task) -> Job | None:
        if not task.job or task.left:
            return None
        task.found = self.results.get(task.job_key)
        if task.found is not None:
            return None
        return Job(task.job_key, ".".join(task.key[:2]), task.job)


def _places(grader: Grader) -> tuple[Scheduler, Auditor | None]:
    """Where jobs run; and, if that is elsewhere, who repeats some of them here."""
    every, o = list(grader.exercises.values()), grader.options
    preload = sorted({name for exercise in every for name in exercise.modules})
    watch = sorted({n for e in every for names in e.forbidden.values() for n in names})
    unsafe = o.allow_unsafe
    here = Local(o.jobs, preload, watch=watch, memory=o.memory, allow_unsafe=unsafe)
    if not o.scheduler:
        return here, None
    from fmbook.grading.cluster import Cluster

    far = Cluster(o.scheduler, preload, watch=watch, memory=o.memory)
    return far, Auditor(grader.secret, o.audit, here)


@contextmanager
def _told() -> Iterator[None]:
    """Say in words that a file could not be written."""
    try:
        yield
    except OSError as error:
        raise CourseError(
            f"{error.filename or 'a file'} could not be written ({error.strerror}): make room, "
            "and run the command again; it goes on where it stopped"
        ) from None


def _batches(keys: Sequence[Key], size: int) -> Iterator[Sequence[Key]]:
    return (keys[i : i + size] for i in range(0, len(keys), size))


def grade(course: Course, options: Options) -> Iterator[tuple[Key, str, Verdict | None]]:
    """Grade what is new in a course; see `Grader.run`."""
    grader = Grader(course, options)
    yield from grader.run(grader.keys())


def planned(grader: Grader) -> Iterator[tuple[Key, str]]:
    """What a run would do with each submission: `kept`, `cached` (stored again) or `run`."""
    for key in grader.keys():  # noqa: SIM118
        task = grader.task(key, grader.ledger.entry(key))
        if grader.is_done(task) and not grader.options.regrade:
            yield key, "kept"
        else:
            cached = not task.job or grader.results.get(task.job_key) is not None
            yield key, "cached" if cached else "run"
