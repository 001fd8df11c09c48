"""What comes back over the net: results of no such form, workers that lie, a cluster behind TLS."""

import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fmbook.grading.audit import Auditor
from fmbook.grading.cluster import Cluster
from fmbook.grading.course import CourseError
from fmbook.grading.credible import Forged, credible
from fmbook.grading.grade import Grader, Options
from fmbook.grading.ledger import Ledger
from fmbook.grading.schedulers import Job, Local
from fmbook.grading.worker import Fault, Worker
from tests.grading import small
from tests.grading.cluster import Machines
from tests.grading.test_crash import finished, grading

KEYS = [(small.ERA, small.NAME, f"s{n:04}") for n in range(4)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[bytes, bytes]]:
    """Jobs with what an honest worker makes of them: right, wrong and broken answers."""
    course = small.make(tmp_path_factory.mktemp("far") / "course")
    small.hand_in(course, 7)
    grader = Grader(course, Options())
    jobs = [grader.task(key).job for key in grader.keys()]  # noqa: SIM118
    with Worker(["fmbook.checks"]) as worker:
        return [(job, worker.grade(job)) for job in jobs]


def test_what_honest_workers_say_is_believed(results: list[tuple[bytes, bytes]]) -> None:
    for job, said in results:
        assert credible(job, said) is said


def _set(place: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(found: dict[str, Any]) -> None:
        *path, last = place.split("/")
        for name in path:
            found = found[name]
        found[last] = value

    return change


CHECK = "steps/double-numbers"
FORGED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a part too many": _set("more", 1),
    "a part too few": lambda found: found.pop("poison"),
    "steps of another type": _set("steps", []),
    "a step of another type": _set(CHECK, []),
    "a step nobody asked for": _set("steps/eve", {"id": "eve", "seconds": 0.0}),
    "a step that is missing": lambda found: found["steps"].pop("double-words"),
    "a step under another's name": _set(f"{CHECK}/id", "double-words"),
    "an unknown field": _set(f"{CHECK}/points", 100.0),
    "a score that is a word": _set(f"{CHECK}/score", "all"),
    "a score that is true": _set(f"{CHECK}/score", True),
    "a score of a student's cell": _set("steps/double/score", 1.0),
    "another tier": _set(f"{CHECK}/tier", "in-process"),
    "neither score nor error": lambda found: found["steps"]["double-numbers"].pop("score"),
    "score and error": _set(f"{CHECK}/error", ["Wrong", "x"]),
    "an error of three parts": _set("steps/double/error", ["a", "b", "c"]),
    "seconds below nothing": _set(f"{CHECK}/seconds", -1.0),
    "seconds without end": _set(f"{CHECK}/seconds", float("inf")),
    "seconds that are no number": _set(f"{CHECK}/seconds", float("nan")),
    "flags that are none": _set(f"{CHECK}/flags", [["x", "y", "z"]]),
    "too many flags": _set(f"{CHECK}/flags", [["x", "y", 1]] * 10_001),
    "outputs that are words": _set("steps/double/outputs", ["x"]),
    "faults that are no words": _set("faults", [1]),
    "a fault and findings": _set("poison", True),
    "an end that is no sentence": _set("steps/double/ended", 1),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_can_be_no_result_is_refused(name: str, results: list[tuple[bytes, bytes]]) -> None:
    job, said = results[0]
    found = copy.deepcopy(json.loads(said))
    FORGED[name](found)
    with pytest.raises(Forged):
        credible(job, json.dumps(found).encode())


@pytest.mark.parametrize("said", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000, "text", None, 1])
def test_what_is_no_json_of_a_result_is_refused(
    said: Any, results: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(Forged):
        credible(results[0][0], said)


def test_what_is_repeated_is_the_share_that_was_asked_for_and_secret(tmp_path: Path) -> None:
    course = small.make(tmp_path / "course")
    small.hand_in(course, 1)
    task = Grader(course, Options()).task(KEYS[0])
    here = Local(1, [])
    chosen = {}
    for secret in ("one", "other"):
        auditor = Auditor(secret, 0.1, here)
        keys = [f"{n:064x}" for n in range(2000)]
        chosen[secret] = set()
        for key in keys:
            task.job_key = key
            if auditor.chosen(task):
                chosen[secret].add(key)
    here.close()
    assert all(140 < len(some) < 260 for some in chosen.values())
    assert len(chosen["one"] & chosen["other"]) < 60


class Sent:
    """A future of Dask's, as far as `Cluster` uses it, and what becomes of it."""

    def __init__(self, key: str) -> None:
        self.key, self.status, self.comes = key, "pending", b""

    def add_done_callback(self, call: Callable[[Any], None]) -> None:
        self.done = call

    def result(self) -> Any:
        if not self.comes:
            raise OSError("reset by peer")
        return "ok", self.comes, {}

    def ends(self, status: str, comes: bytes = b"") -> None:
        self.status, self.comes = status, comes
        self.done(self)


class Dask:
    """A client that keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def submit(self, *_: Any, key: str, pure: bool) -> Sent:
        self.sent.append(Sent(key))
        return self.sent[-1]

    def cancel(self, futures: list[Sent]) -> None:
        """What it does is heard of later: see the test."""


@pytest.fixture
def far(results: list[tuple[bytes, bytes]]) -> Iterator[tuple[Cluster, Dask, Future[bytes], bytes]]:
    """A cluster with one job under way, and the right result of it."""
    cluster, dask = Cluster("tcp://nobody", [], memory=1 << 30), Dask()
    cluster.client = dask
    job, said = results[0]
    yield cluster, dask, cluster.submit(Job("key", "kind", job)), said
    cluster.close()


def test_what_cancels_a_job_does_not_reach_it_when_it_is_sent_again(
    far: tuple[Cluster, Dask, Future[bytes], bytes],
) -> None:
    """A worker died: its job is cancelled, sent again, and only then we hear of the cancelling."""
    cluster, dask, future, said = far
    cluster._event((0.0, {"action": "remove-worker", "processing-tasks": {dask.sent[0].key: 1}}))
    cluster.desk.shutdown()
    first, second = dask.sent
    assert first.key != second.key  # Dask would cancel whatever has the key now
    first.ends("cancelled")
    assert not future.done()
    second.ends("finished", said)
    assert future.result(0) == said


def test_a_result_that_does_not_arrive_is_asked_for_again_and_blames_nobody(
    far: tuple[Cluster, Dask, Future[bytes], bytes],
) -> None:
    cluster, dask, future, said = far
    dask.sent[0].ends("finished")
    dask.sent[1].ends("finished", said)
    assert future.result(0) == said
    again = cluster.submit(Job("other", "kind", b"{}"))
    for n in range(2, 5):
        dask.sent[n].ends("finished")
    with pytest.raises(Fault, match="OSError: reset by peer"):
        again.result(0)
    assert len(dask.sent) == 5


def test_a_scheduler_that_is_gone_ends_the_run(
    far: tuple[Cluster, Dask, Future[bytes], bytes],
) -> None:
    """One result was on its way when the scheduler died; the client then gives all of them up."""
    _, dask, future, _ = far
    dask.sent[0].ends("finished")
    dask.sent[1].ends("cancelled")
    with pytest.raises(CourseError, match=r"was lost .* run the same command again"):
        future.result(0)


@pytest.mark.parametrize(
    ("lie", "words"),
    [("garbage", "is no result of this job (no JSON"), ("full marks", "")],
)
def test_a_worker_that_lies(
    lie: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of form it is refused; in form it is believed, unless the coordinator repeats it."""
    course = small.make(tmp_path / "course")
    worth = small.hand_in(course, 4)
    monkeypatch.setenv("FMBOOK_LIE", lie)
    machines = Machines("--preload", "tests.grading.liar")
    try:
        machines.add()
        far = ("--scheduler", machines.address, "--audit")
        code, said = finished(grading(course.root, *far, "0"))
        with closing(Ledger(course.db_url)) as ledger:
            found = ledger.known(KEYS)
            if lie == "garbage":
                assert code == 1, said
                assert all(e.state == "failed" and words in e.error for e in found.values())
                return
            assert code == 0, (said, machines.said())
            assert {e.verdict.score for e in found.values() if e.verdict} == {3.0}  # undetected
        (course.root / ".fmbook").rename(tmp_path / "cache")
        code, said = finished(grading(course.root, *far, "1", "--regrade"))
        assert code == 0, (said, machines.said())
        with closing(Ledger(course.db_url)) as ledger:
            verdicts = {k[2]: e.verdict for k, e in ledger.known(KEYS).items() if e.verdict}
        assert {who: v.score for who, v in verdicts.items()} == worth
        for who, verdict in verdicts.items():
            told = any("or a worker lies" in flag.what for flag in verdict.flags)
            assert told == (worth[who] != 3.0), who
    finally:
        machines.stop()


def certificates(folder: Path) -> tuple[str, ...]:
    """An authority of our own and one certificate, as Dask's flags take them."""
    say = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=fmbook -keyout key.pem"
    subprocess.run([*say.split(), "-out", "cert.pem"], cwd=folder, check=True, capture_output=True)
    names = (("ca-file", "cert.pem"), ("cert", "cert.pem"), ("key", "key.pem"))
    return tuple(word for flag, file in names for word in (f"--tls-{flag}", str(folder / file)))


def test_a_cluster_behind_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course = small.make(tmp_path / "course")
    worth = small.hand_in(course, 4)
    machines = Machines(*certificates(tmp_path), protocol="tls")
    try:
        machines.add()
        code, said = finished(grading(course.root, "--scheduler", machines.address))
        assert code == 2, said  # who has no certificate is not let in
        assert "no Dask scheduler answers" in said[1], said
        for name, file in (("CA_FILE", "cert"), ("CLIENT__CERT", "cert"), ("CLIENT__KEY", "key")):
            where = str(tmp_path / f"{file}.pem")
            monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{name}", where)
        code, said = finished(grading(course.root, "--scheduler", machines.address))
        assert code == 0, (said, machines.said())
        with closing(Ledger(course.db_url)) as ledger:
            found = {k[2]: e.verdict.score for k, e in ledger.known(KEYS).items() if e.verdict}
        assert found == worth
    finally:
        machines.stop()
