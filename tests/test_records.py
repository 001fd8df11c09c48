"""Recorded runs: a record is as old as the code that made it, and one of its points repeats."""

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fmbook
from fmbook import imports, records

RECIPE = '''
"""A recipe."""
from fmbook.toys.made import half

def run():
    return {"points": [half(3), half(4)]}
'''


class Toys:
    """A small library: a recipe that imports one chapter, which imports a room."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = root / "records"
        self.write("records/toy.py", RECIPE)
        self.write("toys/__init__.py", "")
        self.write("toys/made.py", "from ..room import two\n\ndef half(x):\n    return x / two()\n")
        self.write("toys/other.py", "X = 1\n")
        self.write("room.py", "def two():\n    return 2\n")

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(exist_ok=True)
        before = file.stat().st_mtime_ns if file.exists() else 0
        file.write_text(text)
        while file.stat().st_mtime_ns == before:  # a coarse clock
            file.write_text(text)

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toys]:
    known = set(sys.modules)
    monkeypatch.setattr(fmbook, "__path__", [*fmbook.__path__, str(tmp_path)])
    monkeypatch.setattr(records, "__path__", [*records.__path__, str(tmp_path / "records")])
    monkeypatch.setattr(records, "FOLDER", tmp_path / "records")
    yield Toys(tmp_path)
    for name in set(sys.modules) - known:
        del sys.modules[name]
    for name in ("toys", "room"):
        vars(fmbook).pop(name, None)
    vars(records).pop("toy", None)


# the records of the book


@pytest.mark.parametrize("stem", records.recipes())
def test_a_record_is_as_its_code_makes_it(stem: str) -> None:
    assert not records.stale(stem), f"the code of {stem} has changed: run `make records`"


TIMED = {"expert_system": pytest.mark.alone}  # its point is a ratio of times


@pytest.mark.parametrize(
    "stem", [pytest.param(stem, marks=TIMED.get(stem, ())) for stem in records.recipes()]
)
def test_a_recorded_point_repeats(stem: str) -> None:
    recipe = importlib.import_module(f"fmbook.records.{stem}")
    repeated, recorded, band = recipe.point()
    assert math.isfinite(repeated)
    assert 0 < band < math.inf
    assert abs(repeated - recorded) <= band


@pytest.mark.parametrize("stem", records.recipes())
def test_a_record_says_where_it_comes_from_and_is_small(stem: str) -> None:
    record = records.load(stem)
    assert record["cpu_seconds"] > 0
    assert "Python" in record["machine"]
    assert (records.FOLDER / f"{stem}.json").stat().st_size < 100_000


def test_all_records_together_are_small_and_have_their_recipes() -> None:
    stored = list(records.FOLDER.glob("*.json"))
    assert sorted(file.stem for file in stored) == records.recipes()
    assert sum(file.stat().st_size for file in stored) < 2_000_000


def test_an_unknown_record_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="no record 'nothing': run `make records`"):
        records.load("nothing")
    assert records.stale("nothing")


# what makes a record stale


def test_a_recipe_is_run_and_stored_with_its_origin(toys: Toys) -> None:
    assert records.recipes() == ["toy"]
    assert records.stale("toy")
    file = records.make("toy")
    assert file == toys.records / "toy.json"
    record = records.load("toy")
    assert record["points"] == [1.5, 2.0]
    assert set(record) == {"points", "sources", "machine", "cpu_seconds"}
    assert not records.stale("toy")
    assert sorted(f.name for f in toys.records.glob("*.json")) == ["toy.json"]
    assert not list(toys.records.glob(".*"))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("records/toy.py", "half(3)", "half(5)"),
        ("toys/made.py", "x / two()", "two() / x"),
        ("room.py", "return 2", "return 3"),
        ("room.py", "return 2", "return 2.0"),
        ("room.py", "return 2", "return '2'"),
        ("room.py", "def two()", "def two(x=None)"),
        ("room.py", "return 2", "pass"),
    ],
)
def test_a_change_of_code_it_runs_makes_a_record_stale(
    toys: Toys, name: str, old: str, new: str
) -> None:
    records.make("toy")
    toys.change(name, old, new)
    assert records.stale("toy")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("records/toy.py", "A recipe", "Another sentence"),
        ("toys/made.py", "return x / two()", "# why\n    return (x/two())"),
        ("room.py", "def two():\n", 'def two():\n    """Two."""\n\n'),
        ("toys/other.py", "X = 1", "X = 2"),
    ],
)
def test_comments_docstrings_format_and_other_chapters_do_not(
    toys: Toys, name: str, old: str, new: str
) -> None:
    records.make("toy")
    toys.change(name, old, new)
    assert not records.stale("toy")


def test_a_table_beside_a_chapter_counts_if_the_chapter_names_it(toys: Toys) -> None:
    toys.change("toys/made.py", "two()\n", "two()  # as weights.toml says\n")
    toys.write("toys/weights.toml", "a = 1")
    toys.write("toys/others.toml", "a = 1")
    records.make("toy")
    toys.write("toys/others.toml", "a = 2")
    assert not records.stale("toy")
    toys.write("toys/weights.toml", "a = 2")
    assert records.stale("toy")


def test_the_code_that_stores_records_makes_none_stale(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.change("records/toy.py", "def run", "from fmbook import records\n\ndef run")
    assert "imports.py" in [file.name for file in records.closure("fmbook.records.toy")]
    hashed: list[str] = []

    def parsed(file: Path) -> Any:
        hashed.append(file.name)
        return imports.parsed(file)

    monkeypatch.setattr(records, "parsed", parsed)
    records.sources_hash("fmbook.records.toy")
    assert sorted(hashed) == ["made.py", "room.py", "toy.py"]


def test_a_broken_record_is_stale(toys: Toys) -> None:
    toys.write("records/toy.json", "{")
    assert records.stale("toy")
    toys.write("records/toy.json", "{}")
    assert records.stale("toy")


def test_a_recipe_that_fails_leaves_the_old_record(toys: Toys) -> None:
    before = records.make("toy").read_text()
    recipe: Any = sys.modules["fmbook.records.toy"]
    for bad, said in (
        ({"x": math.nan}, "not JSON compliant"),
        ({"x": math.inf}, "not JSON compliant"),
        ({"machine": "mine"}, "must not return machine"),
    ):
        recipe.run = lambda bad=bad: bad
        with pytest.raises(ValueError, match=said):
            records.make("toy")
    recipe.run = lambda: {"x": {1, 2}}
    with pytest.raises(TypeError, match="not JSON serializable"):
        records.make("toy")
    assert (toys.records / "toy.json").read_text() == before
    assert json.loads(before)["points"]


# what imports what


def test_a_closure_follows_imports_however_they_are_written(toys: Toys) -> None:
    names = [file.name for file in records.closure("fmbook.records.toy")]
    assert sorted(names) == ["made.py", "room.py", "toy.py"]
    for line in (
        "import fmbook.toys.other",
        "from fmbook.toys import other",
        "from fmbook.toys.other import X",
        "from .other import X",
        "from . import other as o",
        "def late():\n    import fmbook.toys.other as o",
    ):
        toys.write("toys/made.py", f"{line}\nimport json, math\nfrom os import path\n")
        files = [file.name for file in records.closure("fmbook.toys.made")]
        assert sorted(set(files) - {"__init__.py"}) == ["made.py", "other.py"], line


def test_modules_that_import_each_other_end(toys: Toys) -> None:
    toys.write("room.py", "from fmbook.toys import made\n\ndef two():\n    return 2\n")
    assert imports.imported_by("fmbook.room") >= {"fmbook.room", "fmbook.toys.made"}


def test_the_hash_is_the_same_in_every_version_of_python(toys: Toys) -> None:
    """Syntax trees and their dumps differ between versions; this string must not."""
    toys.write(
        "room.py",
        "class A(list, metaclass=type):\n    x: int = 1\n    def f(self, *a, k=None, **o):\n"
        '        return [f"{x!r:>{k}}" for x in a if x], (lambda: 0), {**o}, a[1:2]\n',
    )
    assert records.sources_hash("fmbook.room") == "4d12049ddfa0d727"


def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the library has no module 'fmbook\.nothing'"):
        records.sources_hash("fmbook.nothing")


def test_exports_are_read_without_importing(toys: Toys) -> None:
    toys.write("toys/other.py", '"""Other."""\nimport nowhere\n__all__ = ["a", "b"]\n')
    assert imports.exports(toys.root / "toys" / "other.py") == ["a", "b"]
    assert imports.exports(toys.root / "room.py") == []
