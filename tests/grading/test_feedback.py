"""Feedback pages say what helps, hide what is hidden, and do nothing that a stranger wrote."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmbook.grading import feedback
from fmbook.grading.exercise import HIDDEN
from fmbook.grading.feedback import hand_back, main
from fmbook.grading.summary import summary
from tests.browser import barriers, blocked, complaints, sideways
from tests.grading import course as real
from tests.grading.classroom import ANSI, EVIL, Classroom

ATTENTION, RULES = ("transformers", "attention"), ("rules", "expert_system")
VALUES, MASK = "attention-hidden-values", "attention-hidden-mask"
UNDIVIDED = "q (3, 7): the scores are not divided by sqrt(K)"
CODE = "def attention(q, k, v, mask=None):\n    return my_own_words(q)"
DOT = (  # a PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
LINK = "[x](javascript:alert(1)) ![y](https://example.org/y.png) <https://example.org> $a_1 < b_1$"
OUTPUTS = [
    {"output_type": "stream", "name": "stdout", "text": f"{EVIL}{ANSI}"},
    {"output_type": "display_data", "data": {"image/png": DOT, "text/html": EVIL}},
    {"output_type": "display_data", "data": {"image/png": f'{DOT}" onload="x', "text/plain": "z"}},
    {"output_type": "display_data", "data": {"image/svg+xml": "<svg onload=alert(1)>"}},
    {"output_type": "error", "ename": EVIL, "evalue": EVIL, "traceback": [EVIL]},
]


@pytest.fixture
def room(tmp_path: Path) -> Classroom:
    room = Classroom(tmp_path / "course")
    answers = {"attention": CODE, "written": f"Two *layers*. {EVIL}\n\n{LINK}"}
    says, outputs = {VALUES: UNDIVIDED, MASK: f"{EVIL}{ANSI}"}, {"attention": OUTPUTS}
    room.hand_in(
        "ada", *ATTENTION, says=says, answers=answers, outputs=outputs, notes=("Put back.", EVIL)
    )
    room.refuse("bob", *ATTENTION, "The file is no readable notebook. Save it again.")
    return room


def page_of(room: Classroom, student: str) -> Path:
    return room.course.folder("feedback", student, "transformers") / "attention.html"


def enter(room: Classroom, grade_id: str, score: float, comment: str) -> None:
    """A person's grade and comment on ada's attention, as formgrader stores them."""
    t, notebook = room.ledger.t, room.ledger.notebook_id(*ATTENTION)
    cell, grade, words, s = t["base_cell"], t["grade"], t["comment"], room.ledger.submitted()
    with room.ledger.write() as db:
        mine = cell.select().where(cell.c.notebook_id == notebook, cell.c.name == grade_id)
        found = {row.type: row.id for row in db.execute(mine)}  # two cells of one name
        hers = db.execute(s.select().where(s.c.stem == "attention", s.c.student == "ada")).one().id
        row = (grade.c.cell_id == found["GradeCell"]) & (grade.c.notebook_id == hers)
        db.execute(grade.update().where(row).values(manual_score=score))
        row = (words.c.cell_id == found["SolutionCell"]) & (words.c.notebook_id == hers)
        db.execute(words.update().where(row).values(manual_comment=comment))


def test_scores_messages_hints_and_the_student_s_code(room: Classroom) -> None:
    assert main(course=room.course.root) == 0
    text = page_of(room, "ada").read_text("utf8")
    for words in (
        "12 of 19 points so far",
        "the scores are not divided by sqrt(K)",
        "Without a mask: fresh numbers, other sizes, leading axes, large scores, errors.",
        "<summary>Hint 2: the formula with shapes</summary>",
        "return my_own_words(q)",
        "Put back.",
        "Two <em>layers</em>.",
    ):
        assert words in text, words


def test_nothing_of_a_hidden_check_but_its_first_line(room: Classroom) -> None:
    hand_back(room.course, room.ledger)
    text = page_of(room, "ada").read_text("utf8")
    exercise = room.exercises[ATTENTION]
    shown = "\n".join(cell.released for cell in exercise.cells)
    secret = [
        line.strip()
        for cell in exercise.cells
        for region in HIDDEN.findall(cell.source)
        for line in region.splitlines()
        if len(line.strip()) > 15 and line.strip() not in shown
    ]
    assert len(secret) > 100
    assert not [line for line in secret if line in text]
    assert "Traceback" not in text
    model = next(c.source for c in exercise.cells if c.kind == "written")
    assert not [line for line in model.splitlines() if len(line) > 15 and line in text]


def test_a_person_s_score_and_comment(room: Classroom) -> None:
    enter(room, "written", 2.5, f"Good, but **which** head? {EVIL}")
    hand_back(room.course, room.ledger)
    text = page_of(room, "ada").read_text("utf8")
    assert "14.5 of 19 points<" in text
    assert "2.5 of 3" in text
    assert "Good, but <strong>which</strong> head?" in text


def test_who_could_not_be_read_learns_why(room: Classroom) -> None:
    hand_back(room.course, room.ledger)
    text = page_of(room, "bob").read_text("utf8")
    assert "could not be graded" in text
    assert text.count("The file is no readable notebook. Save it again.") == 1


def test_only_what_changed_is_written(room: Classroom) -> None:
    first = hand_back(room.course, room.ledger)
    assert (len(first.written), len(first.unchanged)) == (2, 0)
    before = page_of(room, "ada").stat().st_mtime_ns, page_of(room, "bob").stat().st_mtime_ns
    enter(room, "written", 1.0, "Well.")
    second = hand_back(room.course, room.ledger)
    assert (second.written, second.unchanged) == (
        ["ada transformers/attention"],
        ["bob transformers/attention"],
    )
    assert page_of(room, "ada").stat().st_mtime_ns > before[0]
    assert page_of(room, "bob").stat().st_mtime_ns == before[1]
    assert len(hand_back(room.course, room.ledger, force=True).written) == 2
    assert not list(room.course.feedback.rglob(".fmbook-*"))


def test_processes_make_the_same_pages(room: Classroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "CHUNK", 1)
    for name in ("cleo", "dan"):
        room.hand_in(name, *ATTENTION)
    hand_back(room.course, room.ledger, jobs=1)
    pages = {file: file.read_bytes() for file in room.course.feedback.rglob("*.html")}
    assert len(pages) == 4
    again = hand_back(room.course, room.ledger, jobs=2, force=True)
    assert len(again.written) == 4
    assert pages == {file: file.read_bytes() for file in room.course.feedback.rglob("*.html")}


def test_one_page_that_fails_does_not_stop_the_others(
    room: Classroom, capfd: pytest.CaptureFixture[str]
) -> None:
    blocker = page_of(room, "ada")
    blocker.mkdir(parents=True)  # a folder where the page should be
    assert main(course=room.course.root) == 1
    assert page_of(room, "bob").is_file()
    assert "no page for ada transformers/attention" in capfd.readouterr().err


def test_a_notebook_that_cannot_be_read_back_is_said(room: Classroom) -> None:
    file = room.course.folder("autograded", "ada", "transformers") / "attention.ipynb"
    for broken in (b"{", b'{"cells": [{"cell_type": 1, "source": {"a": 1}, "metadata": 5}]}', None):
        file.write_bytes(broken) if broken else file.unlink()
        assert hand_back(room.course, room.ledger).failed == []
        assert "12 of 19" in page_of(room, "ada").read_text("utf8")
    assert "could not be read" in page_of(room, "ada").read_text("utf8")


def test_outputs_that_another_grader_left_are_tamed_here_too(room: Classroom) -> None:
    file = room.course.folder("autograded", "ada", "transformers") / "attention.ipynb"
    notebook = json.loads(file.read_text("utf8"))
    cell = next(c for c in notebook["cells"] if "my_own_words" in c["source"])
    cell["outputs"] = OUTPUTS
    file.write_text(json.dumps(notebook), "utf8")
    hand_back(room.course, room.ledger)
    text = page_of(room, "ada").read_text("utf8")
    assert "&lt;script&gt;document.title" in text
    assert not [
        bad for bad in ("<script", "<svg", "<img src=x", "\x1b", ' onload="x') if bad in text
    ]
    assert text.count("<img ") == text.count(f'src="data:image/png;base64,{DOT}"') >= 1


def test_names_that_are_paths_get_no_page(room: Classroom) -> None:
    room.hand_in("cleo", *ATTENTION)
    with room.ledger.write() as db:
        jobs = room.ledger.jobs
        db.execute(jobs.update().where(jobs.c.student == "cleo").values(student="../../x"))
    assert len(hand_back(room.course, room.ledger).failed) == 1
    assert not (room.course.root / "x").exists()
    assert not (room.course.root.parent / "x").exists()


def test_what_release_needs_is_carried_but_no_link_is_followed(room: Classroom) -> None:
    secret = room.course.root / "secret.txt"
    secret.write_text("the solutions")
    graded = room.course.folder("autograded", "ada", "transformers")
    (graded / "timestamp.txt").unlink()
    (graded / "timestamp.txt").symlink_to(secret)
    hand_back(room.course, room.ledger)
    folder = page_of(room, "ada").parent
    assert (folder / "submission_secret.txt").read_text() == "0" * 64
    assert (folder / "timestamp.txt").read_text() == "1970-01-01 00:00:00 UTC"
    made_up = (page_of(room, "bob").parent / "submission_secret.txt").read_text()
    hand_back(room.course, room.ledger)
    assert made_up == (page_of(room, "bob").parent / "submission_secret.txt").read_text()
    assert len(made_up) == 64


def test_nbgrader_releases_the_pages(room: Classroom, tmp_path: Path) -> None:
    hand_back(room.course, room.ledger)
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    exchange.chmod(0o777)
    command = [sys.executable, "-m", "nbgrader", "release_feedback", "transformers"]
    command += [f"--Exchange.root={exchange}", "--Exchange.path_includes_course=False"]
    done = subprocess.run(command, cwd=room.course.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    released = {file.read_bytes() for file in exchange.rglob("*.html")}
    assert page_of(room, "ada").read_bytes() in released


def test_no_notebook_machinery_is_loaded(room: Classroom) -> None:
    code = (
        "import sys; from pathlib import Path; from fmbook.grading.feedback import main\n"
        "assert main(course=Path(sys.argv[1]), jobs=1) == 0\n"
        "heavy = {'nbconvert', 'nbgrader', 'nbformat', 'torch', 'IPython', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(room.course.root)], capture_output=True, text=True
    )
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr


def test_json_and_what_is_not_there(room: Classroom, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(course=room.course.root, as_json=True) == 0
    assert len(json.loads(capfd.readouterr().out)["written"]) == 2
    for more in ({"era": "roman"}, {"stem": "forum"}, {"student": "\x1b[31mnobody"}):
        assert main(course=room.course.root, **more) == 2
        said = capfd.readouterr().err
        assert said.startswith("fmbook feedback: no")
        assert "\x1b" not in said


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_a_browser_nothing_acts_and_all_can_be_read(
    room: Classroom, browser: Any, theme: str
) -> None:
    enter(room, "written", 1.0, f"{EVIL} {LINK}")
    hand_back(room.course, room.ledger)
    size = {"width": 390, "height": 800}
    page = browser.new_context(color_scheme=theme, viewport=size).new_page()
    gone, heard = blocked(page), complaints(page)
    page.on("dialog", lambda dialog: heard.append("dialog") or dialog.dismiss())
    page.goto(page_of(room, "ada").as_uri())
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert page.title() == "Feedback: transformers/attention"
    assert (gone, heard) == ([], [])
    assert page.locator("script, iframe, svg, [onload], [onerror]").count() == 0
    links = page.locator("a").evaluate_all("all => all.map((a) => a.getAttribute('href'))")
    assert all(link.startswith("#part-") for link in links)
    pictures = page.locator("img").evaluate_all("all => all.map((i) => i.getAttribute('src'))")
    assert pictures
    assert all(source == f"data:image/png;base64,{DOT}" for source in pictures)
    assert page.get_by_text("$a_1 < b_1$").count() >= 1
    assert barriers(page) == []
    assert sideways(page) == 0
    page.context.close()


def test_from_a_real_run_to_report_and_page(tmp_path: Path) -> None:
    course = real.make(tmp_path / "course")
    wrong = real.solution("transformers/attention", "attention").replace("math.sqrt", "")
    notebook = real.answered("transformers/attention", {"attention": wrong})
    real.hand_in(course, "ada", "transformers/attention", notebook)
    real.hand_in(course, "bob", "transformers/attention", b"{")
    real.grade(course)
    assert main(course=course.root) == 0
    text = (course.folder("feedback", "ada", "transformers") / "attention.html").read_text("utf8")
    assert "the scores are divided by K, not by sqrt(K)" in text
    assert "12 of 19 points so far" in text
    found = summary(course, real.ledger(course))
    assert found["exercises"][0]["states"] == {"graded": 1, "unreadable": 1}
    (mistake,) = [m for m in found["mistakes"] if m["kind"] == "named"]
    assert mistake["words"] == "the scores are divided by K, not by sqrt(K)"
