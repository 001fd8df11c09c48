"""Recorded runs: what exceeds a notebook's budget is run once, stored, and drawn from the record.

`fmbook/records/<stem>.py` holds the recipe: `run()` returns everything that is stored, as plain
JSON values; `point()` repeats one of its points and returns (repeated, recorded, band). `make
records` runs the recipes whose record is stale. Left out: anything that is not JSON.
"""

import ast
import hashlib
import importlib
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from fmbook.imports import imported_by, modules, parsed

__all__ = ["closure", "load", "make", "recipes", "sources_hash", "stale"]

FOLDER = Path(__file__).parent


def recipes() -> list[str]:
    """The stems that have a recipe, in alphabetical order."""
    return sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "__init__")


def load(stem: str) -> dict[str, Any]:
    """What was recorded for a chapter: its results, with `cpu_seconds`, `machine`, `sources`.

    Raises:
        ValueError: nothing was recorded under that stem.
    """
    file = FOLDER / f"{stem}.json"
    if not file.is_file():
        raise ValueError(f"no record {stem!r}: run `make records`")
    return dict(json.loads(file.read_text("utf8")))


def closure(module: str) -> tuple[Path, ...]:
    """The files of the library that a module runs, its own among them."""
    files = modules()
    return tuple(sorted(files[name] for name in imported_by(module, files)))


def _content(node: object) -> str:
    """A syntax tree as text, the same in every version of Python; docstrings are no part of it."""
    if isinstance(node, list):
        return f"[{','.join(map(_content, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    kinds = ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef
    if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    if isinstance(node, ast.JoinedStr):  # some versions keep empty pieces
        fields["values"] = [v for v in node.values if getattr(v, "value", None) != ""]
    said = [f"{key}={_content(value)}" for key, value in fields.items() if value not in (None, [])]
    return f"{type(node).__name__}({','.join(said)})"


def sources_hash(module: str) -> str:
    """A hash of all library code that a module runs, whatever its comments and docstrings.

    A table beside an era's module which that module names (`spam.toml`) counts as its code; the
    tables of the shared rooms do not, since they grow with every chapter. For a recipe, the code
    that only stores records does not count either.

    Raises:
        ValueError: the library has no such module.
    """
    if module not in modules():
        raise ValueError(f"the library has no module {module!r}")
    digest = hashlib.sha256()
    stores = closure("fmbook.records") if module.startswith("fmbook.records.") else ()
    for file in (file for file in closure(module) if file not in stores):
        digest.update(_content(parsed(file)).encode())
        if file.parent != FOLDER.parent:
            code = file.read_text("utf8")
            for table in sorted(t for t in file.parent.glob("*.toml") if t.name in code):
                digest.update(table.read_bytes())
    return digest.hexdigest()[:16]


def stale(stem: str) -> bool:
    """Whether the code that made a record has changed since (or the record is missing)."""
    try:
        return bool(load(stem).get("sources") != sources_hash(f"fmbook.records.{stem}"))
    except ValueError:
        return True


def make(stem: str) -> Path:
    """Run a recipe and store what it returns; returns the file written.

    Raises:
        ValueError: the recipe returns what JSON cannot hold (a NaN), or uses a name of the record.
    """
    recipe = importlib.import_module(f"fmbook.records.{stem}")
    start = time.process_time()
    results = recipe.run()
    record = {
        "sources": sources_hash(f"fmbook.records.{stem}"),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "cpu_seconds": round(time.process_time() - start, 1),
    }
    if taken := record.keys() & results.keys():
        raise ValueError(f"the recipe {stem!r} must not return {', '.join(sorted(taken))}")
    text = json.dumps(record | results, separators=(",", ":"), allow_nan=False) + "\n"
    file, scratch = FOLDER / f"{stem}.json", FOLDER / f".{stem}.json"
    scratch.write_text(text, "utf8")
    os.replace(scratch, file)
    return file
