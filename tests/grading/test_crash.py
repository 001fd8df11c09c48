"""Killed at any moment, the same command again ends as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from fmbook.grading.database import engine_of
from tests.bank import exercises, source
from tests.grading import course as courses
from tests.grading import small

STEM = "rules/expert_system"  # needs no torch: its nursery starts quickly
TRIALS = int(os.environ.get("FMBOOK_CRASHES", "5"))
ROLES = ("coordinator", "nursery", "referee", "student")
FMBOOK = Path(sys.executable).with_name("fmbook")
TABLES = ("grade", "comment", "submitted_notebook", "submitted_assignment", "student")


def grading(folder: Path, *more: str) -> subprocess.Popen[str]:
    words = [str(FMBOOK), "grade", "--jobs", "2", *more]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, tuple[str, str]]:
    said = process.communicate(timeout=240)
    return process.returncode, said


def state(folder: Path, db_url: str = "") -> dict[str, Any]:
    """Everything that grading left in a course, but for times and nbgrader's random row ids."""
    found: dict[str, Any] = {}
    engine = engine_of(db_url or f"sqlite:///{folder / 'gradebook.db'}")
    with closing(engine.raw_connection()) as db:
        cursor = db.cursor()

        def ask(query: str) -> list[Any]:
            cursor.execute(query)
            return list(cursor.fetchall())

        found["grades"] = ask(
            "select s.student_id, c.name, c.type, g.auto_score, g.manual_score,"
            " g.needs_manual_grade, m.auto_comment, b.late_submission_penalty"
            " from submitted_notebook b"
            " join submitted_assignment s on s.id = b.assignment_id"
            " join base_cell c on c.notebook_id = b.notebook_id"
            " left join grade g on g.cell_id = c.id and g.notebook_id = b.id"
            " left join comment m on m.cell_id = c.id and m.notebook_id = b.id"
        )
        found["grades"].sort(key=lambda row: row[:3])
        found["counts"] = [ask(f"select count(*) from {table}") for table in TABLES]
        jobs = ask("select student, state, key, seed, file, verdict, error from fmbook_job")
        found["jobs"] = sorted((*row[:5], without_times(row[5]), row[6]) for row in jobs)
    engine.dispose()
    files = sorted(path for path in (folder / "autograded").rglob("*") if path.is_file())
    found["files"] = {str(f.relative_to(folder)): f.read_bytes() for f in files}
    said = [str(FMBOOK), "report", "--json", *(["--db", db_url] if db_url else [])]
    report = subprocess.run(said, cwd=folder, capture_output=True, text=True, check=True)
    found["report"] = without_times(report.stdout)
    return found


def without_times(text: str) -> Any:
    """JSON with every number of seconds and every date taken out."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            times = ("seconds", "finished", "made", "times")
            return {k: clean(v) for k, v in value.items() if not any(t in k for t in times)}
        return [clean(v) for v in value] if isinstance(value, list) else value

    return clean(json.loads(text)) if text else None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: Any) -> tuple[Path, dict[str, Any], float]:
    """A course as handed in, what a run without disturbance leaves, and how long that took."""
    base = tmp_path_factory.mktemp("crash")
    course = courses.make(base / "handed-in")
    exercise = next(e for e in exercises() if e.stem == STEM)
    wrong = [a for a in exercise.answers if a.cell]
    for number in range(4):
        answer = wrong[number * 7 % len(wrong)]
        notebook = courses.answered(STEM, {answer.task: source(exercise, answer)})
        courses.hand_in(course, f"s{number}", STEM, notebook)
    courses.ledger(course).secret()  # copies must draw the same inputs
    for name in ("first", "whole"):  # the first finds nothing in the machine's caches
        shutil.copytree(course.root, base / name)
        start = time.monotonic()
        code, said = finished(grading(base / name))
        assert code == 0, said
    return course.root, state(base / "whole"), time.monotonic() - start


def victim(role: str, process: subprocess.Popen[str]) -> int | None:
    """A process of the run that has this role at this moment, if there is one."""
    if role == "coordinator":
        return process.pid
    try:
        family = psutil.Process(process.pid).children(recursive=True)
        nursery = next(p for p in family if "fmbook.grading.nursery" in p.cmdline()[1:4])
    except (StopIteration, psutil.Error):
        return None
    found = {"nursery": [nursery], "referee": [], "student": []}
    with suppress(psutil.Error):
        for child in nursery.children():
            below = child.children()
            found["student" if below else "referee"] += below or [child]
    return found[role][0].pid if found[role] else None


@pytest.mark.parametrize("role", ROLES)
def test_killed_at_any_moment_and_run_again(
    role: str, undisturbed: tuple[Path, dict[str, Any], float], tmp_path: Path
) -> None:
    handed_in, whole, seconds = undisturbed
    draw, killed = random.Random(), 0
    for trial in range(10 * TRIALS):
        if killed == TRIALS:
            break
        folder = tmp_path / f"{role}{trial}"
        shutil.copytree(handed_in, folder)
        process = grading(folder)
        until = time.monotonic() + seconds * draw.uniform(0.05, 0.7)
        target = None
        while process.poll() is None and target is None:
            time.sleep(0.01)
            target = victim(role, process) if time.monotonic() > until else None
        if target is not None:
            with suppress(ProcessLookupError):
                os.kill(target, signal.SIGKILL)
                killed += 1
        finished(process)
        code, said = finished(grading(folder))
        assert code == 0, said
        now = state(folder)
        wrong = [(a, b) for a, b in zip(now["jobs"], whole["jobs"], strict=True) if a != b]
        assert not wrong, f"{role}, trial {trial}"
        assert now == whole, f"{role}, trial {trial}"
    assert killed == TRIALS


DIES = """
import os, sys
from fmbook import cli
from fmbook.grading.ledger import Ledger

left = int(sys.argv.pop())

def dying(real):
    def call(*given, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return real(*given, **named)
    return call

os.replace, Ledger.note, Ledger.record = map(dying, (os.replace, Ledger.note, Ledger.record))
cli.main()
"""


def test_killed_before_each_of_its_writes_and_run_again(tmp_path: Path) -> None:
    """Walls noted, result kept, rows stored, timestamp and notebook in place: one after another."""
    course = small.make(tmp_path / "handed-in")
    small.hand_in(course, 1)
    timestamp = course.folder("submitted", "s0000", small.ERA) / "timestamp.txt"
    timestamp.write_text("2026-01-05 10:00:00 UTC")
    courses.ledger(course).secret()
    shutil.copytree(course.root, tmp_path / "whole")
    assert finished(grading(tmp_path / "whole"))[0] == 0
    whole = state(tmp_path / "whole")
    assert len(whole["files"]) == 2
    for write in range(100):
        folder = tmp_path / f"{write}"
        shutil.copytree(course.root, folder)
        words = [sys.executable, "-c", DIES, "grade", "--jobs", "1", str(write)]
        ended = subprocess.run(words, cwd=folder, capture_output=True, check=False)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert finished(grading(folder))[0] == 0
        assert state(folder) == whole, f"write {write}"
    assert write >= 5


def test_nothing_is_graded_twice(undisturbed: tuple[Path, dict[str, Any], float]) -> None:
    handed_in, whole, _ = undisturbed
    folder = handed_in.parent / "whole"
    said = subprocess.run(
        [str(FMBOOK), "grade", "--json"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert {row["outcome"] for row in json.loads(said.stdout)["submissions"]} == {"kept"}
    assert state(folder) == whole


def test_a_second_coordinator_leaves_what_the_first_holds(
    undisturbed: tuple[Path, dict[str, Any], float], tmp_path: Path
) -> None:
    handed_in, whole, _ = undisturbed
    folder = tmp_path / "two"
    shutil.copytree(handed_in, folder)
    one, two = grading(folder), grading(folder)
    ends = finished(one), finished(two)
    assert {end[0] for end in ends} <= {0, 1}, ends  # 1: the other one had some of them
    assert finished(grading(folder))[0] == 0
    assert state(folder) == whole


def test_a_locked_database_is_said_and_nothing_is_half_written(
    undisturbed: tuple[Path, dict[str, Any], float], tmp_path: Path, monkeypatch: Any
) -> None:
    from fmbook.grading import database
    from fmbook.grading.course import CourseError
    from fmbook.grading.ledger import Ledger

    handed_in, *_ = undisturbed
    folder = tmp_path / "locked"
    shutil.copytree(handed_in, folder)
    monkeypatch.setattr(database, "BUSY", 0.2)
    ledger = Ledger(f"sqlite:///{folder / 'gradebook.db'}")
    with closing(sqlite3.connect(folder / "gradebook.db")) as other:
        other.execute("begin immediate")
        with pytest.raises(CourseError, match=r"locked.*nothing was changed"):
            ledger.claim([("rules", "expert_system", "s0")], 10)


def test_a_full_disk_is_said_and_the_same_command_goes_on(
    undisturbed: tuple[Path, dict[str, Any], float], tmp_path: Path
) -> None:
    """A real file system of limited size, in a mount namespace of its own."""
    handed_in, whole, _ = undisturbed
    size = sum(f.stat().st_size for f in handed_in.rglob("*") if f.is_file()) + (300 << 10)
    script = (
        f"mount -t tmpfs -o size={size} none {tmp_path} && cp -r {handed_in} {tmp_path}/c && "
        f"cd {tmp_path}/c && {{ dd if=/dev/zero of=../filler bs=4k count=20000 2>/dev/null; "
        f"{FMBOOK} grade --jobs 2; echo first $?; "
        f"rm -f ../filler; mount -o remount,size=200m {tmp_path}; {FMBOOK} grade --jobs 2; "
        f"echo second $?; cp -r . {tmp_path}.out; }}"
    )
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "first 2" in done.stdout, done
    assert "make room" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert "second 0" in done.stdout, done
    after = state(Path(f"{tmp_path}.out"))
    after["report"]["layers"] = whole["report"]["layers"]  # the walls are others in there
    assert after == whole
