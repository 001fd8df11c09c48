"""What the tests of the house share: the stems of the book, and how files are read."""

import ast
from functools import cache
from pathlib import Path

import nbformat

from tools.book import pages

ROOT = Path(__file__).parent.parent
ROOMS = sorted(
    file.relative_to(ROOT).as_posix()
    for pattern in ("*.py", "widgets/*.py", "checkpoints/*.py")
    for file in (ROOT / "fmbook").glob(pattern)
)


def stems() -> list[str]:
    """`<era>/<stem>` of every chapter, in the order of `_toc.yml`."""
    split = [page.split("/") for page in pages()]
    return [f"{p[1]}/{p[2]}" for p in split if len(p) == 3 and p[2] != "index"]


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf8"))


@cache
def notebook(path: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / path, as_version=4)


def code_lines(file: Path, node: ast.AST | None = None) -> int:
    """Lines of a module, function or class, without docstrings, comments and blank lines."""
    top = node or tree(file)
    drop: set[int] = set()
    for inner in ast.walk(top):
        kinds = ast.Module | ast.FunctionDef | ast.ClassDef
        if isinstance(inner, kinds) and ast.get_docstring(inner, clean=False) is not None:
            first = inner.body[0]
            drop.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = file.read_text("utf8").splitlines()
    start = getattr(top, "lineno", 1)
    stop = getattr(top, "end_lineno", len(lines))
    kept = [lines[n - 1].strip() for n in range(start, stop + 1) if n not in drop]
    return sum(bool(line) and not line.startswith("#") for line in kept)


def public(file: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes that a module offers, by its `__all__`."""
    names: set[str] = set()
    for node in tree(file).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = set(ast.literal_eval(node.value))
    kinds = ast.FunctionDef | ast.ClassDef
    return [n for n in tree(file).body if isinstance(n, kinds) and n.name in names]
