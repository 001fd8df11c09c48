"""The trees agree stem by stem; modules stay small, import what came before, name sources."""

import ast
import re
from pathlib import Path

import pytest

from tests.house import ROOMS, ROOT, code_lines, public, stems, tree

PLACES = {
    "chapters": "chapters/{era}/{stem}.ipynb",
    "fmbook": "fmbook/{era}/{stem}.py",
    "solutions": "solutions/{era}/{stem}.ipynb",
    "exercises": "exercises/{era}/{stem}.ipynb",
    "tests": "tests/{era}/test_{stem}.py",
    "answers": "tests/{era}/answers_{stem}.py",
}
MODULES = [f"fmbook/{stem}.py" for stem in stems()]
TOOLS = sorted(f.relative_to(ROOT).as_posix() for f in (ROOT / "tools").rglob("*.py"))
GRADING = sorted(f.relative_to(ROOT).as_posix() for f in ROOT.glob("fmbook/grading/*.py"))


@pytest.mark.parametrize("stem", stems())
def test_a_stem_has_its_six_files(stem: str) -> None:
    era, name = stem.split("/")
    missing = [p for p in PLACES.values() if not (ROOT / p.format(era=era, stem=name)).exists()]
    assert not missing, f"{stem} lacks {', '.join(missing)}"


@pytest.mark.parametrize("place", PLACES)
def test_no_file_stands_outside_the_toc(place: str) -> None:
    pattern = PLACES[place].format(era="*", stem="*")
    known = {PLACES[place].format(era=s.split("/")[0], stem=s.split("/")[1]) for s in stems()}
    found = {f.relative_to(ROOT).as_posix() for f in ROOT.glob(pattern)}
    rooms = {f for f in found if f.endswith(("__init__.py", "/index.ipynb"))}
    apart = ("fmbook/records/", "fmbook/widgets/", "fmbook/grading/", "tests/grading/")
    rooms |= {f for f in found if f.startswith(apart)}
    assert found - rooms <= known


def test_stems_are_unique_and_carry_no_numbers() -> None:
    names = [stem.split("/")[1] for stem in stems()]
    assert len(names) == len(set(names)) > 0
    assert not [name for name in names if re.search(r"\d", name)]


@pytest.mark.parametrize("path", MODULES)
def test_a_module_imports_rooms_and_earlier_stems_only(path: str) -> None:
    earlier = {m.removesuffix(".py").replace("/", ".") for m in MODULES[: MODULES.index(path)]}
    rooms = {r.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for r in ROOMS}
    allowed = earlier | rooms | {"fmbook.records"}
    for node in ast.walk(tree(ROOT / path)):
        if isinstance(node, ast.Import):
            names = [n.name for n in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        ours = {n for n in names if n.startswith("fmbook.")}
        assert ours <= allowed, f"{path} imports {ours - allowed}, which come later in _toc.yml"


def test_the_teaching_library_does_not_import_the_grading_engine() -> None:
    for path in [*MODULES, *ROOMS]:
        if path != "fmbook/cli.py":
            assert "fmbook.grading" not in (ROOT / path).read_text("utf8"), path


@pytest.mark.parametrize("path", [*MODULES, *ROOMS, *TOOLS, *GRADING])
def test_modules_functions_and_classes_stay_small(path: str) -> None:
    file = ROOT / path
    limit = 200 if path in MODULES else 300 if path in TOOLS + GRADING else 250
    assert code_lines(file) <= limit, f"{path} has {code_lines(file)} lines of code"
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef) and n is not node]
            if not inner:  # a command line's functions hold its commands
                most = 40 if path in GRADING else 25
                assert code_lines(file, node) <= most, f"{path}: {node.name} is over {most} lines"
        elif isinstance(node, ast.ClassDef):
            most = 220 if path in GRADING else 80  # processes and tables are not taught
            assert code_lines(file, node) <= most, f"{path}: class {node.name} is over {most} lines"


@pytest.mark.parametrize("path", MODULES)
def test_a_module_offers_one_idea(path: str) -> None:
    offered = public(ROOT / path)
    assert 1 <= len(offered) <= 8
    opening = ast.get_docstring(tree(ROOT / path)) or ""
    assert "left out" in opening.lower() or "leaves out" in opening.lower(), "say what is left out"


@pytest.mark.parametrize("path", MODULES)
def test_public_names_say_shapes_errors_source_and_run_an_example(path: str) -> None:
    for node in public(ROOT / path):
        doc = ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef):
            doc += " ".join(
                ast.get_docstring(n) or "" for n in node.body if isinstance(n, ast.FunctionDef)
            )
        assert doc, f"{node.name} has no docstring"
        assert ">>>" in doc, f"{node.name} has no doctest"
        assert "Source:" in doc, f"{node.name} does not say its source"
        own = [n for n in ast.walk(node) if isinstance(n, ast.Raise)]
        assert not own or "Raises:" in doc, f"{node.name} raises but does not say so"
        if "Tensor" in ast.unparse(node):
            assert re.search(r"\((\.\.\., |B, |[A-Z], |[A-Z],?\))", doc), (
                f"{node.name} gives no shape"
            )


@pytest.mark.parametrize("path", [*MODULES, *ROOMS])
def test_rooms_and_modules_are_documented(path: str) -> None:
    assert ast.get_docstring(tree(ROOT / path)), f"{path} does not say what it holds"
    for node in public(ROOT / path):
        assert ast.get_docstring(node), f"{path}: {node.name} has no docstring"


def test_the_map_of_colours_knows_every_era() -> None:
    from fmbook.plot import palette

    assert {stem.split("/")[0] for stem in stems()} <= set(palette()["era"])


def test_git_holds_no_large_file_and_nothing_generated() -> None:
    import subprocess

    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in listed.stdout.splitlines()]
    from fmbook.checkpoints import LARGEST

    models = [f for f in files if f.suffix == ".safetensors"]
    assert not [f for f in models if f.exists() and f.stat().st_size > LARGEST]
    others = [f for f in files if f not in models]
    assert not [f for f in others if f.exists() and f.stat().st_size > 1_000_000]
    assert not [f for f in files if {"_build", "vendor"} & set(Path(f).relative_to(ROOT).parts)]
