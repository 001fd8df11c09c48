"""Small exercises through the whole of a worker: what a check may ask, and what it is worth."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fmbook.grading import job as jobs
from fmbook.grading.exercise import Exercise, read_exercise
from fmbook.grading.grade import Options, grade
from fmbook.grading.intake import read_submission
from fmbook.grading.plan import Limits, job_of, key_of
from fmbook.grading.verdict import Verdict, graded_cells, verdict_of
from fmbook.grading.worker import Worker
from tests.grading import small

HERE = {"locked": True, "schema_version": 3, "task": False}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(["numpy", "fmbook.checks", "fmbook.rules.expert_system", "math"]) as worker:
        yield worker


def code(name: str, source: str, **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "code", "id": name, "source": source, "metadata": metadata, "outputs": []}


def solution(name: str, source: str) -> dict[str, Any]:
    meta = {**HERE, "grade_id": name, "grade": False, "solution": True, "locked": False}
    return code(name, source, nbgrader=meta)


def shared(name: str, source: str) -> dict[str, Any]:
    return code(
        name, source, nbgrader={**HERE, "grade_id": name, "grade": False, "solution": False}
    )


def check(name: str, source: str, points: float = 1.0, **metadata: Any) -> dict[str, Any]:
    meta = {**HERE, "grade_id": name, "grade": True, "solution": False, "points": points}
    return code(name, source, nbgrader=meta, **metadata)


def exercise(*cells: dict[str, Any], **own: Any) -> Exercise:
    """An exercise of these cells, as if it had been released."""
    source = {"cells": list(cells), "metadata": {"fmbook": own}, "nbformat": 4}
    released = json.loads(json.dumps(source))
    for cell in released["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cell["source"] = "raise NotImplementedError"
    return read_exercise("era", "stem", json.dumps(source), json.dumps(released))


def graded(
    worker: Worker, made: Exercise, answers: dict[str, str] | None = None, **options: Any
) -> tuple[Verdict, dict[str, Any], list[dict[str, Any]]]:
    """Verdict, findings and graded cells of the model answers, some of them replaced."""
    cells = [
        {"cell_type": c.cell_type, "id": c.id, "metadata": dict(c.metadata), "source": c.source}
        | ({"source": answers[c.grade_id]} if c.grade_id in (answers or {}) else {})
        for c in made.cells
    ]
    submission = read_submission(json.dumps({"cells": cells}).encode(), made)
    limits = options.pop("limits", Limits(cell_seconds=3, total_seconds=20))
    job = job_of(made, submission, seed=options.pop("seed", "s"), limits=limits, **options)
    found = json.loads(worker.grade(job))
    verdict = verdict_of(made, submission, found)
    return verdict, found, graded_cells(made, submission, found, verdict)


def scores(verdict: Verdict) -> dict[str, float | None]:
    return {c.grade_id: c.score for c in verdict.checks}


SETUP = code("setup", "from fmbook.checks import expect, rng\nimport numpy as np")
DOUBLE = solution("double", "def double(x):\n    return 2 * x")


def test_answers_and_adapters_live_with_the_student_and_the_rest_with_the_referee() -> None:
    made = exercise(
        SETUP,
        shared("tools", "def own(x):\n    return x\n\ndef adapter(x):\n    return other(x)\n\n"
               "def other(x):\n    return double(x)\n\nTABLE = own(3)"),
        DOUBLE,
    )  # fmt: skip
    assert made.answers == {"double", "adapter", "other"}
    trimmed = made.for_referee["tools"]["source"]
    assert "def own" in trimmed
    assert "TABLE" in trimmed
    assert "adapter" not in trimmed


def test_a_check_calls_functions_classes_adapters_and_reads_values(worker: Worker) -> None:
    made = exercise(
        SETUP,
        shared("tools", "def twice(x):\n    return double(double(x))\n\n"
               "def plus_one(x):\n    return x + 1"),
        DOUBLE,
        solution("Counter", "class Counter:\n    def __init__(self, n):\n        self.n = n\n"
                 "    def up(self):\n        self.n += 1\n        return self"),
        solution("LIMIT", "LIMIT = 7"),
        solution("apply", "def apply(f, x):\n    return f(x)"),
        check("double-a", "expect(double(3), 6)\nexpect(twice(3), 12)\nexpect(LIMIT, 7)"),
        check("Counter-a", "c = Counter(4)\nc.up().up()\nexpect(c.n, 6)"),
        check("apply-a", "expect(apply(plus_one, 1), 2)\nexpect(apply(np.sum, [1, 2]), 3)"),
        check("apply-b", "expect(apply(double, 5), 10)"),
    )  # fmt: skip
    verdict, *_ = graded(worker, made)
    assert scores(verdict) == dict.fromkeys(("double-a", "Counter-a", "apply-a", "apply-b"), 1.0), [
        c.message for c in verdict.checks
    ]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("def double(x):\n    return x", "expected 6"),
        ("def double(x):\n    raise KeyError('k')", "KeyError"),
        ("x = 1", "NameError"),
        ("def double(x):", "NameError"),
        ("def double(x):\n    return double", "a function or object, expected the number 6"),
        (
            "def double(x):\n    x = []\n    x.append(x)\n    return x",
            "cannot be compared: .* contains itself",
        ),
        ("def double(x):\n    raise NotImplementedError", "Not begun"),
    ],
)
def test_a_wrong_answer_fails_in_words(worker: Worker, answer: str, says: str) -> None:
    import re

    made = exercise(SETUP, DOUBLE, check("double-a", "expect(double(3), 6)"))
    verdict, *_ = graded(worker, made, {"double": answer})
    assert scores(verdict) == {"double-a": 0.0}
    assert re.search(says, verdict.checks[0].message), verdict.checks[0].message


@pytest.mark.parametrize(
    ("source", "score"),
    [
        ("n = sum(double(i) == 2 * i for i in range(4))\n0.5 * n", 2.0),
        ("3.5", 3.5),
        ("5", 0.0),  # more than the check is worth
        ("-1", 4.0),  # nbgrader reads it as full credit
        ("True", 4.0),
        ("double(1)", 4.0),  # a number of the student's making is no credit
        ("None", 4.0),
        ("expect(double(1), 2)", 4.0),
    ],
)
def test_a_check_that_ends_in_a_number_gives_part_of_its_points(
    worker: Worker, source: str, score: float
) -> None:
    verdict, *_ = graded(worker, exercise(SETUP, DOUBLE, check("double-a", source, 4.0)))
    assert scores(verdict) == {"double-a": score}


TWO = (
    SETUP,
    solution("first", "def first(x):\n    return x"),
    solution("second", "def second(x):\n    return x"),
    check("first-a", "expect(first(1), 1)"),
    check("second-a", "expect(second(1), 1)"),
)


@pytest.mark.parametrize(
    "deadly",
    [
        "import os\nos._exit(0)",
        "def first(x):\n    import os\n    os._exit(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [2])\nwhile True: pass",
        "def first(x):\n    return [[]] * 400_000_000",
    ],
)
def test_a_cell_that_kills_costs_itself_and_nothing_else(worker: Worker, deadly: str) -> None:
    limits = Limits(cell_seconds=1, total_seconds=20)
    verdict, *_ = graded(worker, exercise(*TWO), {"first": deadly}, limits=limits)
    assert scores(verdict) == {"first-a": 0.0, "second-a": 1.0}
    assert verdict.checks[0].message


def test_an_endless_loop_is_interrupted_and_what_came_before_stays(worker: Worker) -> None:
    answer = "def first(x):\n    return x\n\nwhile True:\n    pass"
    limits = Limits(cell_seconds=1, total_seconds=20)
    verdict, found, _ = graded(worker, exercise(*TWO), {"first": answer}, limits=limits)
    assert scores(verdict) == {"first-a": 1.0, "second-a": 1.0}
    assert "longer than" in str(found["steps"]["first"])


def test_the_time_for_the_whole_is_kept(worker: Worker) -> None:
    import time

    slow = "import time\ndef first(x):\n    time.sleep(60)\n\ntime.sleep(60)"
    start = time.monotonic()
    limits = Limits(cell_seconds=30, total_seconds=2)
    verdict, *_ = graded(worker, exercise(*TWO), {"first": slow}, limits=limits)
    assert time.monotonic() - start < 12
    assert scores(verdict)["first-a"] == 0.0


@pytest.mark.parametrize(("rule", "score"), [("zero", 0.0), ("flag", 1.0)])
def test_a_forbidden_call_is_flagged_with_its_line_and_scored_as_said(
    worker: Worker, rule: str, score: float
) -> None:
    made = exercise(
        SETUP,
        DOUBLE,
        check("double-a", "expect(double(3.0), 6.0)"),
        forbidden={"double": ["math.ldexp"]},
        forbidden_scores=rule,
    )
    answer = "import math\n\ndef double(x):\n    return math.ldexp(x, 1)"
    verdict, *_ = graded(worker, made, {"double": answer})
    assert scores(verdict) == {"double-a": score}
    assert any("math.ldexp" in f.what and f.line == 4 for f in verdict.flags), verdict.flags


def test_an_in_process_check_sees_real_objects_and_pristine_modules(worker: Worker) -> None:
    made = exercise(
        SETUP,
        solution("Node", "class Node(list):\n    pass"),
        check("Node-a", "assert isinstance(Node(), list)\nassert np.allclose([1.0], [1.0])\n"
              "assert not np.allclose([1.0], [2.0])", tags=["in-process"]),
    )  # fmt: skip
    patched = "import numpy\nnumpy.allclose = lambda *_: True\nclass Node(list):\n    pass"
    verdict, *_ = graded(worker, made, {"Node": patched})
    assert scores(verdict) == {"Node-a": 1.0}
    assert verdict.tier == "in-process"
    verdict, *_ = graded(worker, made, {"Node": "class Node:\n    pass"})
    assert scores(verdict) == {"Node-a": 0.0}


def test_inputs_are_fresh_by_check_and_repeat_by_seed(worker: Worker) -> None:
    show = "raise ValueError(str(rng().integers(10**9)))"
    made = exercise(SETUP, DOUBLE, check("double-a", show), check("double-b", show))
    one, again, other = (
        [c.message for c in graded(worker, made, seed=seed)[0].checks] for seed in "aab"
    )
    assert one == again
    assert len({*one, *other}) == 4


def test_files_beside_the_notebook_can_be_read(worker: Worker) -> None:
    reading = "def double(x):\n    return 2 * int(open('data/n.txt').read())"
    made = exercise(SETUP, DOUBLE, check("double-a", "expect(double(0), 8)"))
    verdict, *_ = graded(worker, made, {"double": reading}, files={"data/n.txt": b"4"})
    assert scores(verdict) == {"double-a": 1.0}


def test_outputs_are_kept_as_text_and_pictures_only(worker: Worker) -> None:
    answer = (
        "print('seen'); import sys; print('warned', file=sys.stderr)\n"
        "from IPython.display import HTML, display\ndisplay(HTML('<script>1</script>'))\n"
        "def double(x):\n    return 2 * x\n\n'a result'"
    )
    made = exercise(SETUP, DOUBLE, check("double-a", "expect(double(1), 2)"))
    verdict, _, cells = graded(worker, made, {"double": answer})
    outputs = next(c["outputs"] for c in cells if c["id"] == "double")
    said = json.dumps(outputs)
    assert "seen" in said
    assert "warned" in said
    assert "a result" in said
    assert "script" not in said
    assert scores(verdict) == {"double-a": 1.0}  # stock gives no points where stderr was used


def test_the_key_changes_with_answers_checks_seed_and_environment() -> None:
    def key(answer: str = "1", body: str = "pass", seed: str = "s", env: str = "e") -> str:
        made = exercise(SETUP, DOUBLE, check("double-a", body))
        cells = [{"cell_type": "code", "id": "double", "source": answer, "metadata": {}}]
        submission = read_submission(json.dumps({"cells": cells}).encode(), made)
        return key_of(job_of(made, submission, seed=seed, limits=Limits()), env)

    keys = [key(), key(answer="2"), key(body="expect(1, 1)"), key(seed="t"), key(env="f")]
    assert len(set(keys)) == 5
    assert key() == keys[0]


def test_a_job_is_read_as_it_was_written_whatever_is_in_a_source() -> None:
    odd = "x = 1\r\n\n# \x0b\x0c\x1c\x85\u2028\u2029 \U0001f600 \u00e9\nz = '{}'"
    made = exercise(SETUP, DOUBLE, check("double-a", f"expect(double(1), 2)\n{odd}"))
    cells = [{"cell_type": "code", "id": "double", "source": odd, "metadata": {}}]
    submission = read_submission(json.dumps({"cells": cells}).encode(), made)
    job = job_of(made, submission, seed="s", limits=Limits(), files={"a\nb": b"\n"})
    head, lines = jobs.parts(job)
    assert job == jobs.written(jobs.line(head), lines)
    steps = {step["id"]: step for step in jobs.read(job)["steps"]}
    assert list(steps) == ["scan", "setup", "setup-setup", "double", "double-a"]
    assert steps["double"]["source"] == odd.replace("\r\n", "\n")
    assert steps["double-a"]["source"].endswith(odd)
    assert list(head["files"]) == ["a\nb"]
    assert b"a\\nb" in job


def test_what_is_written_once_for_all_submissions_holds_for_each_of_them(tmp_path: Path) -> None:
    """The exercise's own cells are kept as lines; a check fails for one and passes for another."""
    course = small.make(tmp_path / "course")
    worth = small.hand_in(course, 8)  # of which the last is right again
    for options in (Options(), Options(regrade=True)):
        for (_, _, student), _, verdict in grade(course, options):
            assert verdict is not None
            graded = course.folder("autograded", student, small.ERA) / f"{small.NAME}.ipynb"
            cells = {c["id"]: c for c in json.loads(graded.read_text("utf8"))["cells"]}
            failed = {c.grade_id for c in verdict.checks if c.message}
            assert {n for n in ("double-numbers", "double-words") if cells[n]["outputs"]} == failed
            assert verdict.score == worth[student]
            assert cells["head"]["source"] == "## Task 1: double"
    assert list(worth.values())[-2:] == [0.0, 3.0]


TWIN = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Rule:
    name: str
    conditions: tuple
    conclusion: tuple
    certainty: float = 1.0

    def __post_init__(self):
        assert self.conditions

    def __str__(self):
        return self.name
"""


def test_what_is_generated_alike_is_no_forbidden_call(worker: Worker) -> None:
    """Two dataclasses with the same fields have equal `__init__`s; that says nothing of either."""
    made = exercise(
        solution("Rule", TWIN),
        shared("adapter", "def name():\n    return str(Rule('a', (('b',),), ('c',)))"),
        check("Rule-check", "assert name().startswith('a')"),
        forbidden={"Rule": ["fmbook.rules.expert_system.Rule"]},
    )
    verdict, *_ = graded(worker, made)
    assert verdict.score == 1.0, verdict
    assert not verdict.flags
    lent = "from fmbook.rules.expert_system import Rule"
    assert graded(worker, made, {"Rule": lent})[0].score == 0.0


def test_an_answer_may_import_what_nobody_had_loaded(worker: Worker) -> None:
    """torch reads from /dev/urandom when it is imported: a wall once forbade that."""
    made = exercise(solution("f", "def f():\n    return 2"), check("f-check", "assert f() == 2"))
    answer = "import torch\n\ndef f():\n    return int(torch.ones(2).sum())"
    patient = Limits(cell_seconds=60)  # the import takes seconds, on a busy machine many
    verdict, *_ = graded(worker, made, {"f": answer}, limits=patient)
    assert verdict.score == 1.0, verdict
