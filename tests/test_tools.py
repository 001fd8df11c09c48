"""The tools of the house: laying out chapters, stable notebooks, what makes an execution stale."""

import json
from pathlib import Path

import nbformat
import pytest

from tools import chapter, exercises
from tools.book import pages
from tools.execution import execution_key, library_modules
from tools.notebook import to_notebook, to_text


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with the course's configuration and one laid-out chapter."""
    chapter.lay_out(tmp_path, "features", "naive_bayes")
    config = (chapter.ROOT / "nbgrader_config.py").read_text("utf8")
    (tmp_path / "nbgrader_config.py").write_text(config, "utf8")
    monkeypatch.setattr(exercises, "ROOT", tmp_path)
    return tmp_path


def test_a_new_chapter_has_five_files_and_fails_until_it_is_filled(tmp_path: Path) -> None:
    written = chapter.lay_out(tmp_path, "features", "naive_bayes")
    assert [f.relative_to(tmp_path).as_posix() for f in written] == [
        "chapters/features/naive_bayes.ipynb",
        "solutions/features/naive_bayes.ipynb",
        "fmbook/features/naive_bayes.py",
        "tests/features/test_naive_bayes.py",
        "tests/features/answers_naive_bayes.py",
    ]
    for file in written:
        if file.suffix == ".py":
            compile(file.read_text("utf8"), file.name, "exec")
    names: dict[str, object] = {}
    exec(written[2].read_text("utf8"), names)
    with pytest.raises(NotImplementedError, match="not written yet"):
        names["naive_bayes"]()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("era", "stem", "says"),
    [
        ("feature", "naive_bayes", "no era 'feature'"),
        ("features", "naive_bayes_2", "has no numbers"),
        ("features", "../evil", "lower-case words"),
    ],
)
def test_a_bad_address_is_refused(tmp_path: Path, era: str, stem: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        chapter.lay_out(tmp_path, era, stem)
    assert not list(tmp_path.iterdir())


def test_a_chapter_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "chapters/features").mkdir(parents=True)
    mine = tmp_path / "chapters/features/naive_bayes.ipynb"
    mine.write_text("mine")
    with pytest.raises(ValueError, match="there already; nothing was written"):
        chapter.lay_out(tmp_path, "features", "naive_bayes")
    assert mine.read_text() == "mine"
    assert not (tmp_path / "fmbook").exists()


def test_text_and_back_keeps_ids_and_strips_outputs(tmp_path: Path) -> None:
    text = tmp_path / "a.py"
    text.write_text("# %% [markdown]\n# # A\n\n# %%\n1 + 1\n\n# %%\n1 + 1\n", "utf8")
    first = nbformat.read(to_notebook(text), 4)
    assert len({cell.id for cell in first.cells}) == 3
    text.write_text("# %% [markdown]\n# # B\n\n# %%\n1 + 1\n\n# %%\n1 + 1\n", "utf8")
    second = nbformat.read(to_notebook(text), 4)
    assert [c.id for c in second.cells[1:]] == [c.id for c in first.cells[1:]]
    assert second.cells[0].id != first.cells[0].id
    text.unlink()
    assert to_text(tmp_path / "a.ipynb").read_text("utf8").endswith("# %%\n1 + 1\n")


def test_an_execution_dies_with_its_cells_its_modules_and_the_pins(tmp_path: Path) -> None:
    text = tmp_path / "stem.py"

    def key(source: str) -> str:
        text.write_text(f"# %%\n{source}\n\n# %% [markdown]\n# prose\n", "utf8")
        return execution_key(to_notebook(text))

    plain = key("x = 1")
    assert key("x = 1") == plain
    assert key("x = 2") != plain
    assert key("from fmbook import checks\nx = 1") != key("from fmbook import device\nx = 1")


def test_the_modules_of_a_notebook_are_found() -> None:
    code = "import torch\nfrom fmbook import plot\nfrom fmbook.checks import expect"
    code += "\nimport fmbook.data"
    assert library_modules(code) == ["fmbook", "fmbook.checks", "fmbook.data", "fmbook.plot"]


def test_a_failed_generation_leaves_the_exercises_as_they_were(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = course / "exercises/features/naive_bayes.ipynb"
    kept.parent.mkdir(parents=True)
    kept.write_text("the released one")
    solution = course / "solutions/features/naive_bayes.ipynb"
    broken = json.loads(solution.read_text("utf8"))
    broken["cells"].append(dict(broken["cells"][-1], id="again"))  # the same grade_id twice
    solution.write_text(json.dumps(broken), "utf8")
    with pytest.raises(SystemExit, match="left as it was"):
        exercises.main()
    assert kept.read_text() == "the released one"


def test_generation_replaces_and_removes_what_has_no_solution(course: Path) -> None:
    stale = course / "exercises/features/gone.ipynb"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    exercises.main()
    assert not stale.exists()
    released = nbformat.read(course / "exercises/features/naive_bayes.ipynb", 4)
    assert "raise NotImplementedError" in "".join(c.source for c in released.cells)
    assert "BEGIN HIDDEN" not in "".join(c.source for c in released.cells)


def test_pages_come_in_the_order_of_the_toc() -> None:
    assert pages()[0] == "chapters/index"
    assert len(pages()) == len(set(pages()))
