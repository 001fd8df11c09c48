"""nbgrader's own tools on what `fmbook grade` stored: the real formgrader in a real browser.

A Jupyter server shows a course of a few students, one of them hostile; each test that enters grades
does so for a student of its own. MathJax, which formgrader loads from elsewhere, is a stub here.
"""

import csv
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fmbook.grading.course import Course
from tests.browser import blocked, complaints
from tests.grading.course import add_cell, answered, by_hand, hand_in, ledger, make, rows

ERA, NAME = "rules", "expert_system"
STEM = f"{ERA}/{NAME}"
STUDENTS = ("perfect", "mistaken", "empty", "ada", "bob", "cleo", "eve")
BIN = Path(sys.executable).parent
MATHJAX = """
window.MathJax = {Hub: {Config() {}, Queue() {}, Startup: {signal: {Interest() {}}}}};
"""
EXTENSIONS = ("assignment_list", "course_list", "validate_assignment")
OTHERS = "jupyterlab notebook jupyter_lsp jupyter_server_terminals jupyterlab_jupytext"
MISTAKE = {"combine": "def combine(a, b):\n    return a + b", "written": "Other words."}
SECONDS = 60  # that a busy machine may take for one thing


def command(course: Course, *words: str) -> str:
    """What a console program says; it must succeed."""
    program = [str(BIN / words[0]), *words[1:]]
    done = subprocess.run(program, cwd=course.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


# --- what is handed in ---------------------------------------------------------------------------

ACT = "window.canary=1"
FOLDER = f"<img src=x onerror={ACT}>"  # a student's name
MARKDOWN = f"""
<script>{ACT}</script> <img src="x" onerror="{ACT}"> <svg onload="{ACT}"></svg>
<iframe srcdoc="<script>parent.{ACT}</script>"></iframe> <details open ontoggle="{ACT}">x</details>

<style>@import url("https://example.org/style.css");</style>

[inline](javascript:{ACT}) [angles](<javascript:{ACT}>) [entity](java&#115;cript:{ACT}) [name][eve]
<javascript:{ACT}> [page](data:text/html,hello) ![picture](https://example.org/picture.png)
[one line
below](javascript:{ACT}) [eve] [a]( javascript:{ACT} "title") https://example.org/visit

[eve]: javascript:{ACT}

```mermaid
<img src="x" onerror="{ACT}">
```

$\\href{{javascript:{ACT}}}{{x}}$ $\\unicode[x" onmouseover="{ACT}]{{65}}$

# written

written-comment
===============
"""
HTML = f'<script>{ACT}</script><img src="x" onerror="{ACT}"><svg onload="{ACT}"></svg>'
CODE = f"""
HTML = {HTML!r}
class Rich:
    def __repr__(self): return HTML
    def _repr_html_(self): return HTML
    def _repr_svg_(self): return '<svg xmlns="http://www.w3.org/2000/svg" onload="{ACT}"></svg>'
    def _repr_javascript_(self): return "{ACT}"
    def _repr_markdown_(self): return HTML + "[x](javascript:{ACT})"
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {{"text/html": HTML, "application/javascript": "{ACT}", "text/plain": HTML}}
print(HTML, "\\x1b]8;;javascript:{ACT}\\x07press\\x1b]8;;\\x07")
Rich()
"""
LAST = "raise type('<svg onload=window.canary=1>', (Exception,), {})(HTML)"


def hostile() -> dict[str, Any]:
    """A submission that acts wherever it is shown as more than text."""
    combine = f"def combine(a, b):\n    return {HTML!r}\n"
    notebook = answered(STEM, {"combine": combine, "written": MARKDOWN})
    for source in (CODE, LAST):
        add_cell(notebook, f"{source}# </pre></div>{HTML}\n", before="combine")
    data = {"text/html": HTML, "image/svg+xml": HTML, "application/javascript": ACT}
    output = {"output_type": "display_data", "metadata": {}, "data": data}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [output]
    own = {"cell_type": "markdown", "metadata": {"tags": [HTML]}, "id": "mine", "source": MARKDOWN}
    raw = {"cell_type": "raw", "metadata": {"raw_mimetype": "text/html"}, "id": "raw"}
    notebook["cells"] = [own, raw | {"source": HTML}, *notebook["cells"]]
    return notebook


# --- a course, a server, a browser ---------------------------------------------------------------


@dataclass
class Tab:
    """A page of formgrader, and what went wrong on it."""

    page: Any
    home: str
    gone: list[str]
    heard: list[str]

    def hear(self, dialog: Any) -> None:
        self.heard.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def go(self, path: str) -> None:
        """Open a page of formgrader and wait until its table is there."""
        self.page.goto(f"{self.home}/formgrader/{path}")
        self.page.wait_for_function("window.models?.loaded")

    def row(self, student: str) -> list[str]:
        """A student's line in the list of an assignment's submissions: status and score."""
        self.go(f"manage_submissions/{ERA}")
        name = self.page.locator(".student-id", has_text=re.compile(f"^{re.escape(student)}$"))
        line = self.page.locator("#main-table tr").filter(has=name)
        return [line.locator(f".{part}").inner_text() for part in ("status", "score")]

    def submission(self, student: str) -> Any:
        """A student's notebook with the boxes for grades, found as a person finds it."""
        self.go(f"gradebook/{ERA}/{NAME}")
        self.page.get_by_role("button", name="Show All Names").click()
        self.page.get_by_role("link", name=student, exact=True).click()
        self.page.wait_for_function(
            "window.formgrader?.grades?.loaded && window.formgrader.comments.loaded"
        )
        return self.page

    def enter(self, box: str, words: str) -> None:
        """Write into a box, leave it, and wait until formgrader has saved it."""
        self.page.locator(box).fill(words)
        with self.page.expect_response(lambda answer: answer.request.method == "PUT") as saved:
            self.page.locator(box).blur()
        assert saved.value.ok

    def waits(self) -> bool:
        """Whether formgrader asks for a grade of the written answer."""
        return "needs_manual_grade" in (self.page.locator("#written").get_attribute("class") or "")


@contextmanager
def server(course: Course, folder: Path) -> Iterator[str]:
    """A Jupyter server with formgrader on a free port; yields an address that lets one in."""
    nbgrader = "nbgrader.server_extensions"
    off = [f"{nbgrader}.{name}" for name in EXTENSIONS] + OTHERS.split()
    on = dict.fromkeys(off, False) | {f"{nbgrader}.formgrader": True}
    token, places = secrets.token_hex(8), ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    start = [
        *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={course.root}"),
        f"--ServerApp.jpserver_extensions={on}",
    ]
    own = {f"JUPYTER_{name}": str(folder / name) for name in places} | {"JUPYTER_TOKEN": token}
    with (folder / "server.log").open("w+") as log:
        process = subprocess.Popen(
            start, cwd=course.root, env=os.environ | own, stdout=log, stderr=log
        )
        try:
            yield f"{_address(process, folder / 'server.log')}?token={token}"
        finally:
            process.terminate()
            try:
                assert process.wait(SECONDS) == 0
            finally:
                process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(SECONDS * 10):
        if found := re.search(r"http://127\.0\.0\.1:\d+/", log.read_text("utf8")):
            return found.group()
        assert process.poll() is None, log.read_text("utf8")
        time.sleep(0.1)
    raise AssertionError(log.read_text("utf8"))


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """The students' work, graded by the command; what `perfect` wrote earns full marks."""
    course = make(tmp_path_factory.mktemp("formgrader") / "course")
    for student in ("perfect", "ada", "bob", "cleo"):
        hand_in(course, student, STEM, answered(STEM))
    hand_in(course, "mistaken", STEM, answered(STEM, MISTAKE))
    hand_in(course, "empty", STEM, answered(STEM, solve=False))
    hand_in(course, "eve", STEM, hostile())
    hand_in(course, FOLDER, STEM, answered(STEM))
    assert "whose name can be no student's" in command(course, "fmbook", "grade", ERA)
    return course


@pytest.fixture(scope="module")
def entrance(course: Course, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(course, tmp_path_factory.mktemp("jupyter")) as address:
        yield address


def opened(browser: Any, entrance: str) -> Tab:
    """A new reader of formgrader, who is let in."""
    home = entrance.split("/?")[0]
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.set_default_timeout(SECONDS * 1000)
    tab = Tab(page, home, blocked(page, home), complaints(page))
    stub = {"body": MATHJAX, "content_type": "text/javascript"}
    page.route("**/mathjax/**", lambda route: route.fulfill(**stub))
    page.on("dialog", tab.hear)
    page.goto(entrance.replace("/?", "/formgrader/manage_assignments?"))
    return tab


@pytest.fixture
def tab(browser: Any, entrance: str) -> Iterator[Tab]:
    """A new reader who is let in; in the end nothing acted, complained or left this machine."""
    tab = opened(browser, entrance)
    yield tab
    assert tab.page.evaluate("window.canary") is None
    tab.page.context.close()
    assert (tab.gone, tab.heard) == ([], [])


# --- what an instructor does ---------------------------------------------------------------------


def written(course: Course, student: str) -> tuple[Any, ...]:
    """What is stored of the written answer: manual score, comment, whether it waits for one."""
    score, comment = by_hand(ledger(course), (ERA, NAME, student))["written"]
    return score, comment, bool(rows(course, student, STEM)["written"]["needs_manual_grade"])


def shown(tab: Tab, student: str) -> tuple[str, str, bool]:
    """The same, as formgrader shows it."""
    page = tab.submission(student)
    boxes = (page.locator(box).input_value() for box in ("#written", "#written-comment"))
    return *boxes, tab.waits()


def grade_by_hand(tab: Tab, student: str) -> None:
    tab.submission(student)
    tab.enter("#written", "2.5")
    tab.enter("#written-comment", "Good, but **which** rule?")


GIVEN, SEEN = (2.5, "Good, but **which** rule?"), ("2.5", "Good, but **which** rule?")


@pytest.mark.browser
def test_submissions_are_listed_with_their_scores(tab: Tab) -> None:
    assert tab.row("perfect") == ["needs manual grading", "17 / 20"]
    assert tab.row("mistaken") == ["needs manual grading", "14 / 20"]
    assert tab.row("empty") == ["graded", "0 / 20"]


@pytest.mark.browser
def test_a_notebook_shows_each_score_and_asks_for_that_of_the_written_answer(tab: Tab) -> None:
    page = tab.submission("mistaken")
    score = "all => Object.fromEntries(all.map(box => [box.id, box.placeholder]))"
    scores = page.locator("input.score").evaluate_all(score)
    assert scores["combine-hidden-one-sign"] == "0"
    assert scores["unify-hidden-patterns"] == "2"
    assert sum(float(points or 0) for points in scores.values()) == 14
    assert page.locator(".needs_manual_grade").evaluate_all("all => all.map(b => b.id)") == [
        "written"
    ]
    assert page.get_by_text("the certainties are added: together they can exceed 1").count() >= 1


@pytest.mark.browser
def test_a_grade_and_a_comment_are_saved(tab: Tab, course: Course) -> None:
    assert shown(tab, "ada") == ("", "", True)
    grade_by_hand(tab, "ada")
    assert written(course, "ada") == (*GIVEN, False)
    assert shown(tab, "ada") == (*SEEN, False)
    assert tab.row("ada") == ["graded", "19.5 / 20"]


@pytest.mark.browser
def test_a_regrade_leaves_them_and_asks_for_nothing(tab: Tab, course: Course) -> None:
    grade_by_hand(tab, "bob")
    before = rows(course, "bob", STEM)
    command(course, "fmbook", "grade", ERA, "--regrade")
    assert rows(course, "bob", STEM) == before
    jobs = ledger(course).jobs  # what was graded by another version has another key
    with ledger(course).write() as db:
        db.execute(jobs.update().where(jobs.c.student == "bob").values(key="of another version"))
    command(course, "fmbook", "grade", ERA)
    assert rows(course, "bob", STEM) == before
    assert written(course, "bob") == (*GIVEN, False)
    assert shown(tab, "bob") == (*SEEN, False)
    assert tab.row("bob") == ["graded", "19.5 / 20"]


@pytest.mark.browser
def test_a_new_submission_is_to_be_looked_at_again_and_keeps_its_grade(
    tab: Tab, course: Course
) -> None:
    grade_by_hand(tab, "cleo")
    hand_in(course, "cleo", STEM, answered(STEM, MISTAKE))
    command(course, "fmbook", "grade", ERA)
    assert written(course, "cleo") == (*GIVEN, True)
    assert tab.row("cleo") == ["needs manual grading", "16.5 / 20"]
    assert shown(tab, "cleo") == (*SEEN, True)
    assert tab.page.get_by_text("Other words.").count() == 1
    with tab.page.expect_response(lambda answer: answer.request.method == "PUT"):
        tab.page.get_by_role("button", name="Resolve").and_(
            tab.page.locator(".nbgrader_cell:has(#written) .mark-graded")
        ).click()
    command(course, "fmbook", "grade", ERA, "--regrade")
    assert written(course, "cleo") == (*GIVEN, False)
    assert tab.row("cleo") == ["graded", "16.5 / 20"]


# --- what a hostile student can do ---------------------------------------------------------------

ALIVE = """() => [...document.querySelectorAll("#notebook-container *")].flatMap(e => [
  ...[...e.attributes].filter(a => /^(on|href|src|style|id|name)/.test(a.name))
    .filter(a => !a.value.startsWith("cell-id=")).map(a => `${e.localName} ${a.name}=${a.value}`),
  ...(e.matches("script, style, iframe, object, embed, svg, form, link, meta, base")
    ? [e.localName] : [])])"""


@pytest.mark.browser
def test_a_hostile_notebook_is_text_and_nothing_else(tab: Tab) -> None:
    tab.submission("perfect")
    honest = set(tab.page.evaluate(ALIVE))
    page = tab.submission("eve")
    assert set(page.evaluate(ALIVE)) <= honest
    text = page.locator("#notebook-container").first.inner_text()
    for words in ("onerror", "entity", "javascript", "onload", "press", "ontoggle"):
        assert words in text, words


@pytest.mark.browser
def test_a_hostile_notebook_cannot_take_the_boxes_for_grades(tab: Tab, course: Course) -> None:
    grade_by_hand(tab, "eve")
    assert written(course, "eve") == (*GIVEN, False)
    held = by_hand(ledger(course), (ERA, NAME, "eve"))
    assert [name for name, (score, *_) in held.items() if score is not None] == ["written"]


@pytest.mark.browser
def test_a_hostile_folder_is_no_student(tab: Tab, course: Course) -> None:
    assert tab.row(FOLDER) == ["needs autograding", ""]  # formgrader lists folders, as text
    assert rows(course, FOLDER, STEM) == {}
    assert not (course.autograded / FOLDER).exists()
    tab.go("manage_students")
    assert tab.page.get_by_text(FOLDER).count() == 1


# --- nbgrader's commands -------------------------------------------------------------------------


def test_nbgrader_exports_the_same_scores(course: Course) -> None:
    command(course, "nbgrader", "export", "--to=grades.csv")
    with (course.root / "grades.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["assignment"] == ERA]
    assert {line["student_id"] for line in lines} == set(STUDENTS)
    assert {float(line["max_score"]) for line in lines} == {20.0}
    for line in lines:
        assert float(line["score"]) == total(course, line["student_id"]), line["student_id"]


def test_nbgrader_writes_feedback_with_the_same_scores(course: Course) -> None:
    others = "--CourseDirectory.student_id_exclude=perfect,empty,ada,bob"
    command(course, "nbgrader", "generate_feedback", ERA, others)
    for student in ("mistaken", "cleo", "eve"):
        page = (course.folder("feedback", student, ERA) / f"{NAME}.html").read_text("utf8")
        (score,) = re.findall(rf"{NAME} \(Score: ([\d.]+) / 20\.0\)", page)
        assert float(score) == total(course, student), student
    assert not re.search(r"(?i)(href|src)=[\"']?\s*(javascript|data:text)", page)


def total(course: Course, student: str) -> float:
    """What the machine found, and what a person gave where it waited for one."""
    (entry,) = ledger(course).entries(ERA, NAME, student)
    assert entry.verdict
    given, _ = by_hand(ledger(course), (ERA, NAME, student))["written"]
    return entry.verdict.score + (given or 0.0)
