"""Many machines: Dask workers as processes, a gradebook in PostgreSQL, and every one of them dies.

All on loopback and real. `FMBOOK_CRASHES` asks for more trials than the few that CI makes.
"""

import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from fmbook.grading.course import Course
from fmbook.grading.grade import Grader, Options
from fmbook.grading.job import read
from fmbook.grading.ledger import Ledger
from tests.grading import small
from tests.grading.cluster import Machines
from tests.grading.postgres import Postgres, filled
from tests.grading.test_crash import FMBOOK, finished, grading, state
from tests.grading.test_postgres import AUDIT, book, sql

CLASS = int(os.environ.get("FMBOOK_CLASS", "500"))
TRIALS = int(os.environ.get("FMBOOK_CRASHES", "1"))
ROLES = ("worker", "scheduler", "database", "coordinator")
GRADED = "SELECT count(*) FROM fmbook_job WHERE state <> 'waiting'"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    server = Postgres()
    try:
        filled(server, "released", small.template())
        yield server
    finally:
        server.stop()


@pytest.fixture
def machines() -> Iterator[Machines]:
    machines = Machines()
    try:
        yield machines
    finally:
        machines.stop()


def handed_in(folder: Path, count: int) -> tuple[Course, dict[str, float]]:
    course = small.make(folder)
    worth = small.hand_in(course, count)
    with closing(Ledger(course.db_url)) as ledger:
        ledger.secret()  # copies draw the same inputs
    return course, worth


def copied(course: Course, folder: Path) -> Path:
    shutil.copytree(course.root, folder)
    return folder


def scores(course: Path, url: str) -> dict[str, float]:
    with closing(Ledger(url)) as ledger:
        return {e.student: e.verdict.score for e in ledger.entries() if e.verdict}


def test_a_class_on_two_workers_of_which_one_dies_and_another_comes(
    server: Postgres, machines: Machines, tmp_path: Path
) -> None:
    course, worth = handed_in(tmp_path / "course", CLASS)
    alike, url = copied(course, tmp_path / "alike"), book(server, "class", course)
    sql(url, AUDIT)
    machines.add()
    machines.add()
    far = ("--scheduler", machines.address, "--db", url)
    process = grading(course.root, *far)
    while process.poll() is None and sql(url, GRADED)[0][0] < CLASS / 2:
        time.sleep(0.2)
    machines.kill(0)
    machines.add()
    code, said = finished(process)
    assert code == 0, (said, machines.said())
    assert machines.living() == [1, 2]
    assert scores(course.root, url) == worth
    once = sorted(student for (student,) in sql(url, "SELECT student FROM audit"))
    assert once == sorted(worth)
    assert finished(grading(alike))[0] == 0
    far_off, here = state(course.root, url), state(alike)
    assert all(far_off[part] == here[part] for part in ("grades", "jobs", "files", "counts"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: Any) -> tuple[Course, dict[str, Any]]:
    """Submissions, and what grading them here, without any of it, leaves behind."""
    base = tmp_path_factory.mktemp("crash")
    course, _ = handed_in(base / "handed-in", 20)
    alike = copied(course, base / "alike")
    assert finished(grading(alike))[0] == 0
    return course, state(alike)


@pytest.mark.parametrize("role", ROLES)
def test_killed_at_a_random_moment_and_run_again(
    role: str,
    server: Postgres,
    machines: Machines,
    undisturbed: tuple[Course, dict[str, Any]],
    tmp_path: Path,
) -> None:
    course, whole = undisturbed
    machines.add()
    machines.add()
    for trial in range(TRIALS):
        url = book(server, f"{role}{trial}", course)
        folder = copied(course, tmp_path / f"{trial}")
        far = ("--scheduler", machines.address, "--db", url)
        process, until = grading(folder, *far), random.uniform(0, 0.9) * len(whole["jobs"])
        while process.poll() is None and sql(url, GRADED)[0][0] < until:
            time.sleep(0.01)
        if role == "worker":
            machines.kill(machines.living()[0])
            machines.add()
        elif role == "scheduler":
            machines.kill_scheduler()
        elif role == "database":
            server.kill()
        else:
            process.kill()
        code, said = finished(process)
        assert code in {"worker": (0,), "coordinator": (-9, 0)}.get(role, (0, 2)), said
        assert "Traceback" not in said[1], said
        if role == "scheduler":  # its workers end with it
            machines.begin()
            machines.add()
            machines.add()
        elif role == "database":
            server.start()
        code, said = finished(grading(folder, *far))
        assert code == 0, (said, machines.said())
        now = state(folder, url)
        now["report"]["layers"] = whole["report"]["layers"]
        assert now == whole, f"{role}, trial {trial}"


def test_a_submission_that_kills_workers_is_set_apart_and_recorded(
    machines: Machines, tmp_path: Path
) -> None:
    """Here a hand from outside ends each worker that has it, as a kernel does without memory."""
    course, worth = handed_in(tmp_path / "course", 6)
    file = course.folder("submitted", "s0000", small.ERA) / f"{small.NAME}.ipynb"
    slow = "import time\ntime.sleep(4)\n\ndef double(x):\n    return 2 * x"
    file.write_text(json.dumps(small.answered(slow)), "utf8")
    key = (small.ERA, small.NAME, "s0000")
    poison = f"{small.ERA}.{small.NAME}-{Grader(course, Options()).task(key).job_key}"
    machines.add("--no-nanny", "--name", "0")
    machines.add("--no-nanny", "--name", "1")
    over, killed = threading.Event(), list[int]()

    def hand() -> None:
        from distributed import Client

        with Client(machines.address, set_as_default=False) as client:
            while not over.wait(0.05):
                for address, keys in client.processing().items():
                    if any(key.startswith(poison) for key in keys):
                        time.sleep(0.5)
                        number = int(
                            client.scheduler_info(n_workers=-1)["workers"][address]["name"]
                        )
                        machines.kill(number)
                        killed.append(number)
                        machines.add("--no-nanny", "--name", str(len(machines.workers)))
                        over.wait(1.0)

    thread = threading.Thread(target=hand)
    thread.start()
    try:
        words = ("--scheduler", machines.address, "--audit", "1")  # it is not repeated here
        code, said = finished(grading(course.root, *words))
    finally:
        over.set()
        thread.join()
    assert code == 0, (said, machines.said())
    assert len(killed) in (2, 3)
    with closing(Ledger(course.db_url)) as ledger:
        verdict = ledger.known([key])[key].verdict
    assert verdict is not None
    assert verdict.score == 0
    assert any("twice; look at it by hand" in flag.what for flag in verdict.flags)
    found = scores(course.root, course.db_url)
    assert {s: p for s, p in found.items() if s != "s0000"} == {
        s: p for s, p in worth.items() if s != "s0000"
    }
    again = subprocess.run(
        [str(FMBOOK), "grade", "--json"], cwd=course.root, capture_output=True, check=True
    )
    assert {row["outcome"] for row in json.loads(again.stdout)["submissions"]} == {"kept"}


def test_nobody_answers_no_worker_comes_or_it_is_of_another_version(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fmbook.grading import cluster

    course, _ = handed_in(tmp_path / "course", 1)
    code, said = finished(grading(course.root, "--scheduler", "tcp://127.0.0.1:1"))
    assert code == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in said[1], said
    monkeypatch.setattr(cluster, "WAIT", 2)
    far = cluster.Cluster(machines.address, [], memory=1 << 30)
    try:
        with pytest.raises(ValueError, match=r"has no worker: start some with `dask worker tcp"):
            far.submit(cluster.Job("k", "kind", b"{}"))
    finally:
        far.close()


def test_a_worker_is_told_a_submission_and_its_checks_and_nothing_else(tmp_path: Path) -> None:
    course, _ = handed_in(tmp_path / "course", 1)
    grader = Grader(course, Options())
    task = grader.task((small.ERA, small.NAME, "s0000"))
    job = read(task.job)
    assert set(job) == {
        *("steps", "functions", "seed", "cell_seconds", "total_seconds", "files", "preload"),
    } - ({"seed"} if "seed" not in job else set())
    said = task.job.decode()
    for secret in ("s0000", grader.secret, str(course.root), course.db_url, "points", "SOLUTION"):
        assert secret not in said, secret
    solution = (course.source / f"{small.STEM}.ipynb").read_text("utf8")
    assert "return 2 * x" in solution
    other = small.answered("def double(x):\n    return 'mine'")
    with suppress(FileNotFoundError):
        (course.folder("submitted", "s0000", small.ERA) / f"{small.NAME}.ipynb").write_text(
            json.dumps(other)
        )
    assert b"return 2 * x" not in grader.task((small.ERA, small.NAME, "s0000")).job
