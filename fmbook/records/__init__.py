"""Recorded runs: what exceeds a notebook's budget is run once, stored, and drawn from the record.

`fmbook/records/<stem>.py` holds the recipe: `run()` returns everything that is stored, as plain
JSON values; `point()` repeats one of its points and returns (repeated, recorded, band). `make
records` runs the recipes whose record is stale. Left out: anything that is not JSON.
"""

import ast
import hashlib
import importlib
import json
import platform
import time
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["load", "make", "recipes", "sources_hash", "stale"]

FOLDER = Path(__file__).parent


def recipes() -> list[str]:
    """The stems that have a recipe, in alphabetical order."""
    return sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "__init__")


def load(stem: str) -> dict[str, Any]:
    """What was recorded for a chapter: its results, with `cpu_seconds`, `machine`, `sources`.

    Raises:
        ValueError: nothing was recorded under that stem.
    """
    file = resources.files("fmbook") / "records" / f"{stem}.json"
    if not file.is_file():
        raise ValueError(f"no record {stem!r}: run `make records`")
    return dict(json.loads(file.read_text("utf8")))


@cache
def closure(module: str) -> tuple[Path, ...]:
    """The files of the library that a module runs: its own and those it imports, transitively."""
    root = FOLDER.parent.parent
    found: dict[Path, None] = {}
    todo = [module]
    while todo:
        base = root / todo.pop().replace(".", "/")
        file = base.with_suffix(".py") if base.with_suffix(".py").exists() else base / "__init__.py"
        if file in found or not file.exists():
            continue
        found[file] = None
        for node in ast.walk(ast.parse(file.read_text("utf8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fmbook"):
                todo += [str(node.module), *(f"{node.module}.{name.name}" for name in node.names)]
            elif isinstance(node, ast.Import):
                todo += [name.name for name in node.names if name.name.startswith("fmbook")]
    return tuple(sorted(found))


def sources_hash(module: str) -> str:
    """A hash of all library code that a module runs, whatever its comments and formatting."""
    digest = hashlib.sha256()
    for file in closure(module):
        digest.update(ast.dump(ast.parse(file.read_text("utf8"))).encode())
    return digest.hexdigest()[:16]


def stale(stem: str) -> bool:
    """Whether the code that made a record has changed since (or the record is missing)."""
    try:
        return bool(load(stem)["sources"] != sources_hash(f"fmbook.records.{stem}"))
    except ValueError:
        return True


def make(stem: str) -> Path:
    """Run a recipe and store what it returns; returns the file written."""
    recipe = importlib.import_module(f"fmbook.records.{stem}")
    start = time.process_time()
    results = recipe.run()
    record = {
        "sources": sources_hash(f"fmbook.records.{stem}"),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "cpu_seconds": round(time.process_time() - start, 1),
        **results,
    }
    file = FOLDER / f"{stem}.json"
    file.write_text(json.dumps(record, indent=None, separators=(",", ":")) + "\n", "utf8")
    return file
