"""Hostile submissions gain nothing, read nothing, reach nobody, leave nothing and delay nobody.

The attacks of `tests.grading.attacks` run in one worker, two at a time; attacks by files and
folders run in a course. Each was seen to succeed against something weaker.
"""

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fmbook.grading.course import Course
from fmbook.grading.intake import read_submission
from fmbook.grading.plan import Limits, job_of
from fmbook.grading.referee import error_of
from fmbook.grading.verdict import CONTROL, Verdict, graded_cells, verdict_of
from fmbook.grading.wire import BrokenWire, decode, encode
from fmbook.grading.worker import Worker
from tests.grading.attacks import ATTACKS, RULES, TOKEN, Attack
from tests.grading.course import (
    STEMS,
    add_cell,
    answered,
    grade,
    hand_in,
    ledger,
    make,
    points,
    rows,
    score,
    stored,
    tasks,
    template,
)

SPARE = 8.0  # beyond a submission's own time: starting, interrupting, giving up
ADA = "secret-of-ada-5b1f"
KEY = 73610  # of System V memory that an attack asks for


@dataclass(frozen=True)
class Run:
    """What became of an attack."""

    attack: Attack
    found: dict[str, Any]
    verdict: Verdict
    cells: list[dict[str, Any]]
    seconds: float

    @property
    def said(self) -> str:
        """All that is kept of it but the checks' own lines."""
        cells = [c for c in self.cells if not c["metadata"].get("nbgrader", {}).get("locked")]
        outputs = [c.get("outputs") for c in self.cells]
        kept = [self.found, self.verdict.as_json(), cells, outputs]
        return json.dumps(kept, ensure_ascii=False)


class Listener:
    """A server on this machine that counts who comes, by TCP and UDP."""

    def __init__(self) -> None:
        self.tcp, self.udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        self.tcp.bind(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp.bind(("127.0.0.1", self.port))
        self.tcp.listen()
        self.met: list[Any] = []
        for work in (self.accept, lambda: self.udp.recv(10)):
            threading.Thread(target=self.wait, args=(work,), daemon=True).start()

    def accept(self) -> Any:
        connection, address = self.tcp.accept()
        connection.close()
        return address

    def wait(self, work: Any) -> None:
        with suppress(OSError):
            while True:
                self.met.append(work())

    def close(self) -> None:
        for server in (self.tcp, self.udp):
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()


class Arena:
    """A course that has secrets, a worker, and what became of all attacks."""

    def __init__(self, folder: Path) -> None:
        self.course = make(folder)
        self.secret = ledger(self.course).secret()
        hand_in(self.course, "ada", RULES, answered(RULES, {"written": ADA}))
        self.exercises = {s: self.course.exercise(*s.split("/")) for s in STEMS}
        self.listener = Listener()
        modules = {m for e in self.exercises.values() for m in e.modules}
        self.worker = Worker(sorted(modules), memory=512 << 20)

    def run(self, attack: Attack) -> Run:
        exercise = self.exercises[attack.stem]
        submission = read_submission(self.written(attack), exercise)
        limits = Limits(cell_seconds=attack.cell, total_seconds=attack.total)
        job = job_of(exercise, submission, seed="of this test", limits=limits)
        start = time.monotonic()
        found = json.loads(self.worker.grade(job))
        seconds = time.monotonic() - start
        verdict = verdict_of(exercise, submission, found)
        cells = graded_cells(exercise, submission, found, verdict)
        return Run(attack, found, verdict, json.loads(json.dumps(cells)), seconds)

    def written(self, attack: Attack) -> bytes:
        """The file that is handed in."""
        answers = {task: self.filled(source) for task, source in attack.answers.items()}
        notebook = answered(attack.stem, answers, solve=attack.honest)
        if attack.first:
            add_cell(notebook, self.filled(attack.first), before=tasks(attack.stem)[0])
        if attack.edit:
            attack.edit(notebook)
        return json.dumps(notebook).encode()

    def filled(self, source: str) -> str:
        names = {"TOKEN": TOKEN, "PORT": str(self.listener.port), "RULES": RULES}
        for name, value in (names | {"COURSE": str(self.course.root)}).items():
            source = source.replace(name, value)
        return source

    def secrets(self) -> list[str]:
        """What nobody may show: lines of hidden checks, answers for people, others' work."""
        model = json.loads((self.course.source / f"{RULES}.ipynb").read_text("utf8"))["cells"]
        written = next(
            "".join(c["source"])
            for c in model
            if c["metadata"].get("nbgrader", {}).get("grade_id") == "written"
        )
        lines = max(written.splitlines(), key=len)
        return [self.secret, ADA, "doubt * (1 - evidence)", lines, "SQLite format 3"]


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    arena = Arena(tmp_path_factory.mktemp("arena") / "course")
    with arena.worker:
        yield arena
    arena.listener.close()


@pytest.fixture(scope="module")
def runs(arena: Arena) -> list[Run]:
    """All attacks, two at a time in one worker; where the machine seems to be at fault, again."""
    arena.run(Attack(name="the first has to wait for the worker", total=60.0))
    with ThreadPoolExecutor(2) as pool:
        first = list(pool.map(arena.run, ATTACKS))
        slow = [r for r in first if r.found["faults"] or r.seconds > r.attack.total + SPARE]
        again = list(pool.map(arena.run, [r.attack for r in slow]))
    return [r for r in first if r not in slow] + again


def due(attack: Attack) -> dict[str, float]:
    """The points that each task must get."""
    found = dict.fromkeys(tasks(attack.stem), 0.0)
    for check, value in points(attack.stem).items():
        task = max((t for t in found if check.startswith(f"{t}-")), key=len)
        found[task] += value if attack.honest and task not in attack.answers else 0.0
    return found


def got(run: Run) -> dict[str, float]:
    found = dict.fromkeys(tasks(run.attack.stem), 0.0)
    for check in run.verdict.checks:
        if check.grade_id != "written":
            found[check.task] += check.score or 0.0
    return found


def test_the_27_and_many_more() -> None:
    assert len(ATTACKS) == len({attack.name for attack in ATTACKS}) > 120


def test_no_point_is_gained_and_none_lost_beside_it(runs: list[Run]) -> None:
    assert {r.attack.name: got(r) for r in runs if got(r) != due(r.attack)} == {}


def test_what_is_forbidden_is_flagged(runs: list[Run]) -> None:
    told = {r.attack.name: [f.what for f in r.verdict.flags] for r in runs if r.attack.flag}
    assert len(told) > 20
    words = {r.attack.name: r.attack.flag for r in runs}
    assert {n: f for n, f in told.items() if not any(words[n] in what for what in f)} == {}


def test_nothing_secret_is_shown(arena: Arena, runs: list[Run]) -> None:
    secrets = arena.secrets()
    assert {r.attack.name: s for r in runs for s in secrets if s in r.said} == {}


def test_nobody_is_reached(arena: Arena, runs: list[Run]) -> None:
    outputs = {r.attack.name: [c.get("outputs") for c in r.cells] for r in runs}
    assert [name for name, said in outputs.items() if "'text': 'reached" in str(said)] == []
    assert [name for name, said in outputs.items() if "\\nreached" in str(said)] == []
    assert arena.listener.met == []
    with socket.create_connection(("127.0.0.1", arena.listener.port)):  # the listener does listen
        time.sleep(0.1)
    assert arena.listener.met


def test_no_grader_dies_and_nobody_waits_longer_than_allowed(runs: list[Run]) -> None:
    assert {r.attack.name: r.found["faults"] for r in runs if r.found["faults"]} == {}
    late = {r.attack.name: r.seconds for r in runs if r.seconds > r.attack.total + SPARE}
    assert late == {}


def test_nothing_gives_orders_to_pages_or_terminals(runs: list[Run]) -> None:
    found = {}
    for run in runs:
        strings = [*texts(run.verdict.as_json()), *texts(run.cells)]
        orders = [s for s in strings if CONTROL.search(s)]
        kinds = {
            kind for c in run.cells for o in c.get("outputs", []) for kind in o.get("data", {})
        }
        formatted = [c["source"] for c in run.cells if c["cell_type"] != "code"]
        html = [s for s in formatted if "<script" in s or "<img" in s or "![" in s or "\\href" in s]
        if orders or html or not kinds <= {"text/plain", "image/png"}:
            found[run.attack.name] = (orders[:1], html[:1], kinds)
    assert found == {}


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(t for v in value.values() for t in texts(v))]
    if isinstance(value, list | tuple):
        return [t for v in value for t in texts(v)]
    return [value] if isinstance(value, str) else []


def test_nothing_is_left_behind(arena: Arena, runs: list[Run]) -> None:
    assert family(arena) == set()
    assert left(arena.course.root) == []
    table = [Path(f"/proc/sysvipc/{kind}").read_text() for kind in ("shm", "sem", "msg")]
    assert not any(f" {KEY} " in f" {line} " for lines in table for line in lines.splitlines())
    (after,) = [r for r in runs if r.attack.name == "the machine: what others left"]
    outputs = [o for c in after.cells for o in c.get("outputs", [])]
    assert TOKEN not in json.dumps(outputs)


def family(arena: Arena) -> set[int]:
    """Processes below the nursery, once those that end have had their time."""
    assert arena.worker.process is not None
    until = time.monotonic() + 5
    while True:
        parents = {pid: parent(pid) for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))}
        found, last = {arena.worker.process.pid}, set[int]()
        while found != last:
            last, found = found, found | {pid for pid, above in parents.items() if above in found}
        waiting = {pid for pid in found if b"nursery" in command(pid)}
        young = found - waiting | waiting - {min(waiting, default=0), *eldest(waiting, parents)}
        if not young or time.monotonic() > until:
            return young
        time.sleep(0.1)


def parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def eldest(pids: set[int], parents: Mapping[int, int]) -> set[int]:
    """bubblewrap with its own child, and the one nursery that it runs."""
    names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids}
    walls = {pid for pid, name in names.items() if name == "bwrap"}
    return walls | {
        pid for pid in pids - walls if parents[pid] in walls or parents[pid] not in pids
    }


def left(course: Path) -> list[str]:
    """Files of an attack anywhere that it could have put them on this machine."""
    import IPython
    import numpy

    import fmbook

    homes = [Path(module.__file__ or "").parent for module in (IPython, numpy, fmbook, os)]
    homes += [Path(p) for p in ("/", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "~", course)]
    homes += [Path("~/.ipython/profile_default/startup"), *homes[0].parents[:1]]
    found = []
    for home in homes:
        with suppress(OSError):
            found += [name for name in os.listdir(home.expanduser()) if TOKEN in name]
    return found


def test_the_next_student_is_graded_as_ever(arena: Arena, runs: list[Run]) -> None:
    for stem in STEMS:
        run = arena.run(Attack(name="none", stem=stem, honest=True, total=30.0))
        assert got(run) == due(run.attack)
        assert not run.verdict.flags


def test_a_value_from_the_wire_is_a_value_and_nothing_else() -> None:
    state = {"bit_generator": "MT19937", "state": {"key": [0] * 624, "pos": 10**6}}
    blobs: list[bytes] = []
    one = {"tensor": ["uint8", [3], 0]}
    for value in (
        {"list": [one, one]},  # a short text that asks for any memory
        {"numpy generator": encode(state, blobs, lambda _: None)},  # would read behind its state
        {"set": [i * (2**61 - 1) for i in range(1, 5000)]},  # takes minutes
        {"record": ["fmbook.grading.wire", "Reference", {"number": 1, "name": "x", "kind": ""}]},
        {"tensor": ["float32", [0, 1 << 62, 1 << 62], 0]},
        {"list": [[]] * 3},
    ):
        with pytest.raises(BrokenWire):
            decode(value, [b"abc" if "list" in value else b""], lambda _: None)


def test_no_error_of_a_student_ends_a_loop_in_silence() -> None:
    def answer(kind: str) -> None:
        raise error_of([kind, kind, "x", []])

    for kind in ("StopIteration", "StopAsyncIteration", "GeneratorExit", "SystemExit", "Ended"):
        with pytest.raises(RuntimeError):
            list(map(answer, [kind]))


# ---- attacks by files and folders ----


def stub(first: str = "") -> bytes:
    notebook = answered(RULES, solve=False)
    return json.dumps(add_cell(notebook, first, before="combine") if first else notebook).encode()


def many(cell: str, number: int) -> bytes:
    return b'{"cells":[' + b",".join([cell.encode()] * number) + b'],"nbformat":4}'


CODE = '{"cell_type":"code","metadata":{},"outputs":[],"source":%s}'
UNREADABLE = {
    "empty": b"",
    "text": b"print('hello')",
    "null": b"null",
    "number": b"17",
    "half": stub()[:5000],
    "zeros": bytes(100_000),
    "latin": b"\xff\xfe\x00" + stub(),
    "old": b'{"worksheets":[{"cells":[]}],"nbformat":3}',
    "mapping": b'{"cells":{"a":1},"nbformat":4}',
    "deep": b'{"cells":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    "deeper": many('{"metadata":' * 100_000 + "1" + "}" * 100_000, 1),
    "digits": many(CODE % ("1" * 1_000_000), 1),
    "ten-thousand": many(CODE % '"1"', 10_000),
    "parts": b'{"cells":[[' + b"[]," * 1_600_000 + b"[]]]}",
    "a-novel": many(CODE % json.dumps("x = 1\n" * 60_000), 1),
}
READABLE = {
    "sixteen": stub().decode().encode("utf-16"),
    "lines": many(CODE % json.dumps("\n" * 290_000), 1),
    "spaces": many(CODE % json.dumps("def" + " " * 290_000), 1),
    "begins": many(CODE % json.dumps("### BEGIN HIDDEN TESTS\n" * 12_000), 1),
    "nothing": b'{"cells":[],"nbformat":4}',
    "twice-a-key": stub().replace(b'"cells"', b'"cells": [1], "cells"', 1),
}
ODD_NAMES = (
    *("<img src=x onerror=alert(1)>", "=cmd|' -C calc'!A0", "-rf", "..", "...", "a\nb", "\x1b[2Jx"),
    *("ada\u202e", "аda", "x" * 200, "{student_id}", "$(id)", ".ada", "ada;"),
)
LINKS = ("link", "linked-folder", "linked-student", "zero", "pipe", "a-folder", "huge")


def hostile_class(course: Course) -> None:
    """A class in which everybody but Ada attacks the grader by what they hand in."""
    hand_in(course, "ada", RULES, answered(RULES, {"written": ADA}))
    for name, data in (UNREADABLE | READABLE).items():
        hand_in(course, name, RULES, data)
    for name in ODD_NAMES:
        if name != "..":
            hand_in(course, name, RULES, answered(RULES))
    era, stem = RULES.split("/")
    place = course.submitted
    solved = course.source / f"{RULES}.ipynb"
    for name in ("link", "zero", "pipe", "a-folder", "huge", "linked-folder"):
        (place / name).mkdir()
        if name != "linked-folder":
            (place / name / era).mkdir()
    (place / f"link/{RULES}.ipynb").symlink_to(solved)
    (place / f"zero/{RULES}.ipynb").symlink_to("/dev/zero")
    (place / f"linked-folder/{era}").symlink_to(solved.parent)
    (place / "linked-student").symlink_to(place / "ada")
    (place / f"a-folder/{RULES}.ipynb").mkdir()
    os.mkfifo(place / f"pipe/{RULES}.ipynb")
    with open(place / f"huge/{RULES}.ipynb", "wb") as file:
        file.truncate(200 << 20)
    hostile_folders(course, era, stem)


def hostile_folders(course: Course, era: str, stem: str) -> None:
    show = (
        "import os\nfor folder, _, files in os.walk('.'):\n    for name in files:\n"
        "        print(name, open(os.path.join(folder, name), 'rb').read()[:100_000])"
    )
    for name in ("beside", "abyss", "crowd", "two", "dates"):
        hand_in(course, name, RULES, stub(show))
    beside = course.submitted / "beside" / era
    for name, target in {
        "book.db": course.root / "gradebook.db",
        "model.txt": course.source / f"{RULES}.ipynb",
        "ada": course.submitted / "ada",
        "up": course.root,
    }.items():
        (beside / name).symlink_to(target)
    for name in (
        "torch.py",
        "fmbook.py",
        "sitecustomize.py",
        "a\nb",
        "\x1b[2J",
        "con",
        "~",
        "%2e%2e",
    ):
        (beside / name).write_text(f"raise SystemExit({TOKEN!r})")
    os.symlink(course.root / "gradebook.db", beside / "timestamp.txt")
    (course.submitted / "dates" / era / "timestamp.txt").write_text("<script>\x1b[2J 9999999999")
    here = os.open(course.submitted / "abyss" / era, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    for number in range(3000):
        (course.submitted / "crowd" / era / f"f{number}").touch()
    solved = json.dumps(answered(RULES)).encode()
    for name in (f"{stem} (1)", stem.title(), f"{stem}.ipynb", f"{stem}\u200b", f".{stem}"):
        (course.submitted / "two" / era / f"{name}.ipynb").write_bytes(solved)
    hand_in(course, "two/again", RULES, solved)


@pytest.fixture(scope="module")
def classroom(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Course, dict[str, Any], float]]:
    """The hostile class, graded; who got what, and the seconds that took."""
    course = make(tmp_path_factory.mktemp("classroom") / "course")
    with open(course.root / "nbgrader_config.py", "a") as config:
        config.write("\nc.ExecutePreprocessor.timeout = 5\n")
    course = Course.find(course.root)
    try:
        hostile_class(course)
        start = time.monotonic()
        outcome = grade(course, jobs=2, total_seconds=8.0)
        yield course, {key[2]: value for key, value in outcome.items()}, time.monotonic() - start
    finally:  # the folder is too deep for Python's own way to remove it
        subprocess.run(["rm", "-rf", course.submitted / "abyss"], check=True)


def test_a_hostile_class_is_graded_and_gains_nothing(classroom: Any) -> None:
    course, outcome, seconds = classroom
    states = {who: how for who, (how, _) in outcome.items()}
    assert {who: states.get(who) for who in UNREADABLE} == dict.fromkeys(UNREADABLE, "unreadable")
    assert {who: states.get(who) for who in READABLE} == dict.fromkeys(READABLE, "graded")
    assert {who: states.get(who) for who in LINKS} == dict.fromkeys(LINKS, "unreadable")
    assert {score(course, who, RULES) for who in outcome if who != "ada"} == {0.0}
    assert score(course, "ada", RULES) == sum(points(RULES).values())
    assert seconds < 90


def test_every_unreadable_submission_says_what_to_do(classroom: Any) -> None:
    _, outcome, _ = classroom
    for who, (how, verdict) in outcome.items():
        if how == "unreadable":
            assert verdict.unreadable.endswith("."), who
            assert len(verdict.notes) == 1


def test_odd_names_are_nobody(classroom: Any) -> None:
    course, outcome, _ = classroom
    assert not set(ODD_NAMES) & set(outcome)
    kept = "\n".join([*stored(course), *stored(course).values()])
    assert not [name for name in ODD_NAMES if len(name) > 4 and name in kept]
    files = {path.name for path in course.autograded.iterdir()}
    assert files <= set(outcome)


def test_a_hostile_class_reads_and_writes_nothing_else(classroom: Any) -> None:
    course, _, _ = classroom
    hidden = ["doubt * (1 - evidence)", ledger(course).secret(), ADA, "SQLite format 3"]
    for place, text in stored(course).items():
        shown = text
        if place.endswith(".ipynb"):
            cells = json.loads(text)["cells"]
            cells = [c for c in cells if not c["metadata"].get("nbgrader", {}).get("locked")]
            shown = json.dumps(cells)
        if "/ada/" not in place:
            assert not [h for h in hidden if h in shown], place
        assert not CONTROL.search(shown), place
    manual = [
        row["manual_score"]
        for who in ("ada", "beside")
        for row in rows(course, who, RULES).values()
    ]
    assert set(manual) == {None}
    assert (course.source / f"{RULES}.ipynb").read_bytes() == (
        template() / "solutions" / f"{RULES}.ipynb"
    ).read_bytes()
    assert left(course.root) == []


def test_a_hostile_class_is_not_graded_again(classroom: Any) -> None:
    course, outcome, _ = classroom
    again = grade(course, jobs=2, total_seconds=8.0)
    assert {key[2]: how for key, (how, _) in again.items()} == dict.fromkeys(outcome, "kept")
