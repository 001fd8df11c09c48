"""`fmbook check`: what a student learns of visible checks, whatever became of the notebook."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fmbook.grading.check import check
from tests.bank import exercises, grade_id, run_checks, source
from tests.house import ROOT

RULES = next(e for e in exercises() if e.stem == "rules/expert_system")
SOLVED = {grade_id(cell): cell.source for cell in RULES.cells if grade_id(cell)}
MISTAKE = next(a for a in RULES.answers if a.task == "combine" and a.cell)


def released() -> dict[str, Any]:
    return dict(json.loads((ROOT / "exercises/rules/expert_system.ipynb").read_text("utf8")))


def answered(**answers: str) -> dict[str, Any]:
    """The released notebook with some tasks answered."""
    notebook = released()
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        cell["source"] = answers.get(name, cell["source"])
    return notebook


def small(*cells: str) -> dict[str, Any]:
    """A notebook of code cells; those that expect something are checks by their looks."""
    return {
        "cells": [{"cell_type": "code", "metadata": {}, "source": cell} for cell in cells],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 4,
    }


def run_in(folder: Path, notebook: Any, **options: Any) -> tuple[int, dict[str, Any]]:
    file, out = folder / "mine.ipynb", io.StringIO()
    raw = notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode()
    file.write_bytes(raw)
    with contextlib.redirect_stdout(out):
        code = check(file, as_json=True, **options)
    return code, json.loads(out.getvalue())


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    return partial(run_in, tmp_path)


def states(said: dict[str, Any]) -> list[str]:
    return [c["state"] for c in said["checks"]]


FIRST = "from fmbook.checks import expect"
PASSES = "# It passes.\nexpect(1, 1)"


def test_the_solution_passes_every_visible_check(run: Any) -> None:
    code, said = run(answered(**{task: SOLVED[task] for task in RULES.tasks}))
    visible = [n for n in SOLVED if "-check-" in n]
    assert [c["grade_id"] for c in said["checks"]] == visible
    assert set(states(said)) == {"passed"}
    assert code == 0


def test_an_untouched_notebook_has_nothing_begun(run: Any) -> None:
    code, said = run(released())
    assert code == 1
    assert set(states(said)) == {"not begun"}
    assert said["errors"] == []


HALF = {
    "combine": source(RULES, MISTAKE),
    "unify": SOLVED["unify"],
    "consequences": "def consequences(:",
}


@pytest.fixture(scope="module")
def half(tmp_path_factory: Any) -> tuple[int, dict[str, Any]]:
    """One task wrong, one right, one that is no Python, one not begun."""
    return run_in(tmp_path_factory.mktemp("half"), answered(**HALF))


def test_messages_are_those_of_the_notebook(half: Any) -> None:
    code, said = half
    assert code == 1
    wrong = {c["grade_id"]: c["message"] for c in said["checks"] if c["state"] == "failed"}
    there = run_checks(RULES, "combine", MISTAKE.value)
    for name, words in there.items():
        if "-check-" in name:
            assert wrong[name] == words.removeprefix("Wrong: ")
    assert any("-check-" in name for name in there)
    assert "not defined" in wrong["consequences-check-example"]
    assert any("SyntaxError: invalid syntax (line 1)" in e["message"] for e in said["errors"])


def test_each_task_tells_whether_it_was_begun(half: Any) -> None:
    _, said = half
    found: dict[str, set[str]] = {}
    for one in said["checks"]:
        found.setdefault(one["task"].split(":")[0], set()).add(one["state"])
    assert found["Task 2"] == {"passed"}
    assert found["Task 4"] == {"not begun"}


def test_a_notebook_that_lost_its_metadata_is_checked_the_same(half: Any, run: Any) -> None:
    _, whole = half
    notebook = answered(**HALF)
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)
    text = json.dumps(notebook, indent=1).replace("\n", "\r\n").replace("\\n", "\\r\\n")
    code, said = run(b"\xef\xbb\xbf" + text.encode())
    assert code == 1
    keys = ("task", "title", "state", "message")
    assert [[c[k] for k in keys] for c in said["checks"]] == [
        [c[k] for k in keys] for c in whole["checks"]
    ]


def test_of_a_check_that_stands_twice_the_last_one_counts(run: Any) -> None:
    notebook = small(FIRST, "# Once.\nexpect(1, 2)", "# Again.\nexpect(1, 1)")
    for cell in notebook["cells"][1:]:
        cell["metadata"] = {"nbgrader": {"grade": True, "solution": False, "grade_id": "a-check"}}
    code, said = run(notebook)
    assert (code, [c["title"] for c in said["checks"]]) == (0, ["Again."])


def test_what_stands_behind_the_last_check_or_is_tagged_does_not_run(
    run: Any, tmp_path: Path
) -> None:
    write = "open('{}', 'w').close()"
    notebook = small(
        FIRST, write.format("run"), write.format("tagged"), PASSES, write.format("behind")
    )
    notebook["cells"][2]["metadata"]["tags"] = ["skip-execution"]
    assert run(notebook)[0] == 0
    assert {file.name for file in tmp_path.iterdir()} == {"mine.ipynb", "run"}


def test_a_cell_that_takes_too_long_is_interrupted_and_the_rest_goes_on(run: Any) -> None:
    slow = "# It never ends.\nwhile True:\n    pass\nexpect(1, 1)"
    code, said = run(small(FIRST, slow, "# Asks.\nexpect(input(), 1)", PASSES), seconds=1)
    assert code == 1
    slept, asked, passed = said["checks"]
    assert "longer than 1 s" in slept["message"]
    assert asked["message"].startswith("EOFError")
    assert passed["state"] == "passed"


DEAF = "# Deaf.\nimport signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
DEAF += "open('pid', 'w').write(str(__import__('os').getpid()))\n"


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (DEAF + "while True: time.sleep(60)\nexpect(1, 1)", "could not be interrupted"),
        ("# Dies.\nimport os\nos._exit(3)\nexpect(1, 1)", "ended the process"),
    ],
    ids=["deaf", "dies"],
)
def test_a_cell_that_takes_the_process_with_it_ends_the_run(
    cell: str, why: str, run: Any, tmp_path: Path
) -> None:
    code, said = run(small(FIRST, PASSES, cell, PASSES), seconds=1)
    assert code == 1
    assert why in said["stopped"]
    assert states(said) == ["passed", "failed", "not reached"]
    if (tmp_path / "pid").exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "no notebook"),
        (b'{"cells": [1]}', "no notebook"),
        (b"[" * 100_000, "no notebook"),
        (json.dumps(small("1 + 1")).encode(), "no visible checks"),
        (
            json.dumps(small(f"# pip install git+fmbook@v99.0.0\n{FIRST}", PASSES)).encode(),
            "99.0.0",
        ),
        (json.dumps(small(f"{FIRST}, no_such_thing", PASSES)).encode(), "no_such_thing"),
    ],
    ids=["broken", "no cells", "deep", "no checks", "newer", "lacking"],
)
def test_what_cannot_be_checked_is_a_sentence(content: bytes, says: str, run: Any) -> None:
    code, said = run(content)
    assert code == 2
    assert says in said["error"]
    assert "\n" not in said["error"]


def test_no_file_is_a_sentence_on_stderr(tmp_path: Path, capsys: Any) -> None:
    assert check(tmp_path / "none.ipynb") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "there is no file" in err


def test_nothing_in_a_notebook_speaks_to_the_terminal(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "mine.ipynb"
    evil = "\\x1b]0;owned\\x07\\r\\u202e"
    file.write_text(
        json.dumps(
            small(FIRST, f"# \x1b[31mtitle\nexpect(1, 1, what='{evil}')\nraise OSError('{evil}')")
        )
    )
    assert check(file) == 1
    said = capsys.readouterr().out
    assert "title" in said
    assert "owned" in said
    assert not set(said) & set("\x1b\x07\r\u202e")


def test_people_see_tasks_and_messages(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "mine.ipynb"
    wrong, todo = (
        "# Two.\nexpect(1, 2, what='one')",
        "# Three.\nraise NotImplementedError\nexpect(1, 1)",
    )
    notebook = small(FIRST, PASSES, wrong, "oops", todo)
    for place, words in ((1, "## Task 1: a"), (5, "## Task 2: b")):
        cell = {"cell_type": "markdown", "metadata": {}, "source": words}
        notebook["cells"].insert(place, cell)
    file.write_text(json.dumps(notebook))
    assert check(file) == 1
    assert capsys.readouterr().out.splitlines() == [
        "mine.ipynb: 1 of 3 visible checks pass",
        "",
        "Task 1: a",
        "  pass  It passes.",
        "  FAIL  Two.",
        "        one: got 1, expected 2",
        "",
        "Task 2: b",
        "  not begun",
        "",
        "Cells that ended in an error, which may be why checks fail:",
        '  cell 5, which begins "oops"',
        "        NameError: name 'oops' is not defined",
    ]


def test_a_broken_cell_is_known_by_its_first_line_of_code(tmp_path: Path, capsys: Any) -> None:
    loop = "\n# Play.\n\nfor times in [1, 10, 40, 80, 1000, 5000]:\n    oops"
    (file := tmp_path / "mine.ipynb").write_text(json.dumps(small(FIRST, loop, PASSES)))
    assert check(file) == 0
    said = capsys.readouterr().out
    assert 'cell 2, which begins "for times in [1, 10, 40, 80, 1000, 5000…"\n' in said


PARENT = (
    "import sys; from pathlib import Path; from fmbook.grading.check import check;"
    "code = check(Path(sys.argv[1]), as_json=True);"
    "sys.exit(9 if {'torch', 'numpy', 'nbgrader', 'IPython'} & set(sys.modules) else code)"
)


def test_it_needs_no_nbgrader_and_its_parent_no_torch(tmp_path: Path) -> None:
    for name in ("nbgrader", "sqlalchemy"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('it is not here')")
    notebook = tmp_path / "folder" / "mine.ipynb"
    notebook.parent.mkdir()
    notebook.write_text(json.dumps(small(FIRST, PASSES)))
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-c", PARENT, str(notebook)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""


SLEEP = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)"


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A check that has come to a cell that sleeps, and the process of that cell."""
    file, pid = tmp_path / "mine.ipynb", tmp_path / "pid"
    file.write_text(json.dumps(small(FIRST, PASSES, SLEEP, PASSES)))
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # `&` may have it ignored
    ) as ran:
        until = time.monotonic() + 60
        while not (pid.exists() and pid.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        yield ran, int(pid.read_text())
        ran.kill()


def test_ctrl_c_ends_it_with_all_that_it_started(sleeping: Any) -> None:
    ran, cell = sleeping
    ran.send_signal(signal.SIGINT)
    out, err = ran.communicate(timeout=20)
    assert ran.returncode == 130
    assert err == ""
    assert states(json.loads(out)) == ["passed", "not reached"]
    assert gone(cell)


def test_killed_it_leaves_no_process_behind(sleeping: Any) -> None:
    ran, cell = sleeping
    ran.kill()
    assert gone(cell)


def gone(process: int) -> bool:
    """Whether a process is dead within some seconds, or a zombie that waits for its burial."""
    for _ in range(200):
        try:
            if f"{process} (python) Z" in Path(f"/proc/{process}/stat").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
