"""The report tells the truth about a class, and nothing that a stranger wrote acts in it."""

import json
from pathlib import Path
from typing import Any

import pytest

from fmbook.grading import report
from fmbook.grading.course import CourseError
from fmbook.grading.page import document
from fmbook.grading.report import main, page_of
from fmbook.grading.summary import mistake_of, summary
from fmbook.grading.verdict import Check, Flag
from tests.browser import barriers, blocked, complaints, sideways
from tests.grading.classroom import ANSI, EVIL, Classroom
from tests.grading.test_similar import ANSWER, RENAMED

ATTENTION, RULES = ("transformers", "attention"), ("rules", "expert_system")
VALUES, MASK = "attention-hidden-values", "attention-hidden-mask"
OUTSIDE = "".join(
    f'<{tag} src="https://example.org/{tag}"></{tag}>'
    for tag in ("script", "img", "iframe", "video")
)
UNDIVIDED = "the scores are not divided by sqrt(K)"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    """Four readable submissions to attention, one hostile; nobody handed rules in."""
    room = Classroom(tmp_path_factory.mktemp("room") / "course")
    room.hand_in("ada", *ATTENTION, answers={"written": "Two layers."})
    room.hand_in("bob", *ATTENTION, says={VALUES: f"q (3, 7), k (5, 7): {UNDIVIDED}"}, seconds=9)
    both = {VALUES: f"q (2, 3, 6, 8), k (4,): {UNDIVIDED}", MASK: "Not begun."}
    flags = (Flag("uses torch.nn.functional.scaled_dot_product_attention", "attention", 7),)
    room.hand_in("cleo", *ATTENTION, says=both, flags=flags)
    room.refuse("dan", *ATTENTION, "The file is no notebook.")
    room.hand_in(
        EVIL, *ATTENTION, says={VALUES: f"{EVIL}: {EVIL}", MASK: ANSI},
        flags=(Flag(EVIL + ANSI, EVIL, 3),), notes=(EVIL, ANSI),
    )  # fmt: skip
    return room


@pytest.fixture(scope="module")
def found(room: Classroom) -> dict[str, Any]:
    return json.loads(json.dumps(summary(room.course, room.ledger)))


def opened(browser: Any, file: Path, **options: Any) -> tuple[Any, list[str], list[str]]:
    """A page in a fresh context, the requests that it tried to make, and its complaints."""
    page = browser.new_context(**options).new_page()
    gone, heard = blocked(page), complaints(page)
    page.on("dialog", lambda dialog: heard.append("dialog") or dialog.dismiss())
    page.goto(file.as_uri())
    return page, gone, heard


@pytest.fixture(scope="module")
def file(room: Classroom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    assert main(course=room.course.root, out=file) == 0
    return file


def test_an_era_counts_only_what_was_collected(found: dict[str, Any]) -> None:
    assert [(e["era"], e["stems"], e["spread"]["points"]) for e in found["eras"]] == [
        ("transformers", ["attention"], 19.0)
    ]


def test_scores_and_states(found: dict[str, Any]) -> None:
    (exercise,) = found["exercises"]
    assert exercise["states"] == {"graded": 4, "unreadable": 1}
    scores = {row["student"]: row["score"] for row in found["rows"]}
    assert (scores["ada"], scores["bob"], scores["cleo"], scores["dan"]) == (16, 14, 12, None)
    assert exercise["waits"] == 1  # ada's written answer; the others wrote none
    assert sum(exercise["spread"]["bins"]) == 4
    assert exercise["spread"]["bins"][8] == 1  # 16 of 19


def test_success_by_task(found: dict[str, Any]) -> None:
    tasks = {task["id"]: task for task in found["exercises"][0]["tasks"]}
    first = tasks["attention"]
    assert first["title"] == "Task 1: attention"
    assert (first["full"], first["some"], first["none"]) == (1, 1, 2)
    assert tasks["written"]["waits"] == 1
    assert tasks["written"]["not_begun"] == 3


def test_a_mistake_is_counted_once_a_student_whatever_the_numbers(found: dict[str, Any]) -> None:
    (named,) = [m for m in found["mistakes"] if m["words"] == UNDIVIDED]
    assert (named["students"], named["of"], named["task"]) == (2, 4, "attention")


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        ("the example: it doubles: twice", "named", "it doubles: twice"),
        ("at [0, 1]: got 1, expected 2", "differs", "c: another answer was expected"),
        ("x: at [0, 1]: got 1, expected 2", "differs", "c: another answer was expected"),
        ("ValueError: x: y", "error", "ValueError: x: y"),
        ("it took longer than 30 s.", "other", "it took longer than 30 s."),
    ],
)
def test_what_kind_of_failure(message: str, kind: str, words: str) -> None:
    check = Check(grade_id="c", task="t", points=1, score=0, message=message)
    assert mistake_of(check) == (kind, words)


def test_numbers_that_all_have_in_common_stay(tmp_path: Path) -> None:
    room = Classroom(tmp_path / "course")
    for name, size in (("ada", 3), ("bob", 4)):
        room.hand_in(name, *ATTENTION, says={VALUES: f"x: with base 100, axis {size} is turned"})
    words = {m["words"] for m in summary(room.course, room.ledger)["mistakes"]}
    assert "with base 100, axis … is turned" in words


def test_a_person_s_points_count(tmp_path: Path) -> None:
    room = Classroom(tmp_path / "course")
    room.hand_in("ada", *ATTENTION, says={VALUES: "no"}, answers={"written": "Two layers."})
    cell, grade = room.ledger.t["base_cell"], room.ledger.t["grade"]
    mine = cell.select().where(cell.c.notebook_id == room.ledger.notebook_id(*ATTENTION))
    mine = mine.where(cell.c.type == "GradeCell")
    with room.ledger.write() as db:
        ids = {row.name: row.id for row in db.execute(mine)}
        for name, points, extra in (("written", 2.5, None), (VALUES, 1.0, 0.5)):
            values = {"manual_score": points, "extra_credit": extra}
            db.execute(grade.update().where(grade.c.cell_id == ids[name]).values(values))
    (row,) = summary(room.course, room.ledger)["rows"]
    assert row["score"] == 14 + 2.5 + 1.5
    assert not row["waits"]


def test_the_page_is_one_file_in_which_nothing_can_end_the_data(file: Path) -> None:
    text = file.read_text("utf8")
    assert text.count("</script") == 2  # the data's and the page's own
    assert text.count("<script") == 2
    assert "\x1b" not in text
    assert "owned" in text


def test_nothing_runs_nothing_is_requested_and_strangers_words_are_text(
    browser: Any, file: Path
) -> None:
    page, gone, heard = opened(browser, file)
    page.get_by_role("button", name="Show all").wait_for(state="hidden")
    for button in page.locator("button.opener").all():
        button.click()
    assert page.title() == "Report: fmbook"
    assert (gone, heard) == ([], [])
    assert page.locator("main img, main script, main a, main iframe").count() == 0
    assert page.locator("#look").inner_text().count("<img src=x onerror=") >= 2
    assert page.locator("tr.detail").filter(has_text="Told the student").count() == 1
    page.context.close()


def test_the_policy_stops_what_would_get_past_the_escaping(browser: Any, tmp_path: Path) -> None:
    file, data = tmp_path / "page.html", {"x": 1}
    bad = EVIL + OUTSIDE
    file.write_bytes(document("mine", f"<p>{bad}</p>", script="let own = 1;", data=data))
    page, gone, heard = opened(browser, file)
    assert page.title() == "mine"
    assert gone == []
    assert any("Content Security Policy" in said for said in heard)
    open_file = tmp_path / "open.html"  # the same page without the policy: the attack is real
    policy = file.read_text("utf8").replace("Content-Security-Policy", "x")
    open_file.write_text(policy, "utf8")
    assert opened(browser, open_file)[0].title() == "owned"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessible_in_both_themes_and_on_a_phone(browser: Any, file: Path, theme: str) -> None:
    size = {"width": 390, "height": 800}
    page, _, _ = opened(browser, file, color_scheme=theme, viewport=size)
    page.locator("button.opener").first.click()
    assert barriers(page) == []
    assert sideways(page) == 0
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 30)"}[theme]
    page.context.close()


def test_two_thousand_students_open_within_a_second_and_sort_by_keyboard(
    browser: Any, tmp_path: Path
) -> None:
    room, file = Classroom(tmp_path / "course"), tmp_path / "report.html"
    room.crowd(2000)
    assert main(course=room.course.root, out=file) == 0
    assert file.stat().st_size <= 3_000_000
    times = []
    for _ in range(3):  # on a shared machine the fastest is the page's own time
        page, _, heard = opened(browser, file)
        times.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert min(times) < 1000
    assert "4,000 submissions" in page.locator("#count").inner_text()
    page.get_by_role("button", name="Score").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.get_by_role("columnheader", name="Score").get_attribute("aria-sort") == "descending"
    shares = [
        float(a) / float(b)
        for a, b in (
            t.split(" of ")
            for t in page.locator("#rows td.number:nth-of-type(2)").all_inner_texts()
        )
    ]
    assert shares == sorted(shares, reverse=True)
    page.get_by_label("Search").focus()
    page.keyboard.type("student-1234")
    assert page.locator("#count").inner_text() == "2 submissions of 4,000"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")  # the first exercise
    assert page.locator("#count").inner_text() == "1 submission of 4,000"
    assert heard == []
    page.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_answers_that_resemble_each_other_are_pairs_to_look_at(
    browser: Any, tmp_path: Path, theme: str
) -> None:
    room, file = Classroom(tmp_path / "course"), tmp_path / "report.html"
    for name, answer in (("ada", ANSWER), ("bob", RENAMED), ("cleo", "def attention(): ...")):
        room.hand_in(name, *ATTENTION, answers={"attention": answer})
    (pair,) = summary(room.course, room.ledger)["alike"]
    assert (pair["one"], pair["other"], pair["share"]) == ("ada", "bob", 1.0)
    assert main(course=room.course.root, out=file) == 0
    page, gone, heard = opened(browser, file, color_scheme=theme)
    section = page.locator("section", has=page.locator("#alike"))
    assert "never a verdict" in section.inner_text()
    section.get_by_role("button", name="bob").focus()
    page.keyboard.press("Enter")
    assert page.locator("#count").inner_text() == "1 submission of 3"
    assert barriers(page) == []
    assert (gone, heard) == ([], [])
    page.context.close()


def test_a_class_too_large_for_one_page_loses_detail_and_says_so(
    found: dict[str, Any], monkeypatch: pytest.MonkeyPatch, browser: Any, tmp_path: Path
) -> None:
    whole = len(page_of(found))
    for limit, rows in ((whole - 1, 5), (1, 5)):
        monkeypatch.setattr(report, "LARGEST", limit)
        file = tmp_path / "report.html"
        file.write_bytes(page_of(found))
        page, _, heard = opened(browser, file)
        assert "too large for one page" in page.locator("header").inner_text()
        assert page.locator("#rows tbody tr").count() <= rows
        assert "5 submissions" in page.locator("#lead").inner_text()
        assert heard == []
        page.context.close()


def test_json_is_json_and_harmless_on_a_terminal(
    room: Classroom, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(course=room.course.root, as_json=True) == 0
    said = capfd.readouterr().out
    assert len(json.loads(said)["rows"]) == 5
    assert "\x1b" not in said


def test_what_is_not_there_is_a_sentence(
    room: Classroom, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for era, stem in (("roman", None), (None, "forum"), ("rules", None)):
        assert main(era, stem, course=room.course.root) == 2
        assert capfd.readouterr().err.startswith("fmbook report: no")
    assert main(course=tmp_path) == 2
    with pytest.raises(CourseError, match="run `fmbook grade`"):
        summary(Classroom(tmp_path / "new").course, room.ledger.__class__(
            f"sqlite:///{tmp_path}/new/gradebook.db"))  # fmt: skip
