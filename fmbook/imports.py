"""What imports what in the library, read from its source: nothing is imported to find out.

Left out: imports by a computed name, which the library does not make outside its shared rooms.
"""

import ast
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

import fmbook

__all__ = ["exports", "imported_by", "modules", "parsed"]


def modules() -> dict[str, Path]:
    """Every module of the library and its file, found without importing one."""
    found = {}
    for entry in map(Path, fmbook.__path__):
        for file in entry.rglob("*.py"):
            parts = ("fmbook", *file.relative_to(entry).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def _tree(file: Path, _changed: int) -> ast.Module:
    return ast.parse(file.read_text("utf8"))


def parsed(file: Path) -> ast.Module:
    """The syntax tree of a file, read again when the file has changed."""
    return _tree(file, file.stat().st_mtime_ns)


@cache
def _imported(module: str, file: Path, _changed: int) -> frozenset[str]:
    """The names that a module imports, wherever in it, as if each were a module."""
    package = module if file.stem == "__init__" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = resolve_name("." * node.level + (node.module or ""), package)
            names |= {home, *(f"{home}.{alias.name}" for alias in node.names)}
    return frozenset(names - {"fmbook"})  # its `__init__` holds nothing that runs


def imported_by(module: str, files: dict[str, Path] | None = None) -> set[str]:
    """The library's modules that a module runs: itself and what it imports, transitively.

    `files` is what `modules` returned, if you have it already.

    >>> sorted(imported_by("fmbook.data"))
    ['fmbook.archives', 'fmbook.data']
    """
    files = files or modules()
    todo, found = {module}, set[str]()
    while todo:
        name = todo.pop()
        found.add(name)
        names = _imported(name, files[name], files[name].stat().st_mtime_ns)
        todo |= (names & files.keys()) - found
    return found


def exports(file: Path) -> list[str]:
    """The public names of a module, its `__all__`, read without importing it."""
    for node in parsed(file).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []
