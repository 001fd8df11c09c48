"""A pytest plugin for nbval: keeps what it ran, so that no notebook is executed twice.

When all cells of a notebook have passed, its CPU-seconds are held against its budget and written
to `_build/execution.json`; a chapter's outputs go into the jupyter-cache that Sphinx reads.
"""

import ast
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from filelock import FileLock
from IPython.core.inputtransformer2 import TransformerManager

from fmbook.records import closure

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "_build"
CACHE = BUILD / ".jupyter_cache"
JOURNAL = BUILD / "execution.json"
BUDGET = {
    "chapters": 60.0,
    "solutions": 20.0,
}  # CPU-seconds of one notebook, its kernel's start included
PACKAGE_DATA = {  # what is no code but changes what code does, beside the .toml files next to it
    "fmbook.widgets": ["fmbook/widgets/static/*"],
}


def journal() -> dict[str, dict[str, Any]]:
    """What is known of executed notebooks: {path: {key, cpu_seconds}}."""
    return json.loads(JOURNAL.read_text()) if JOURNAL.exists() else {}


def execution_key(notebook: Path) -> str:
    """A hash of all that decides a notebook's outputs: cells, library modules, records, pins."""
    nb = nbformat.read(notebook, 4)
    code = [cell.source for cell in nb.cells if cell.cell_type == "code"]
    digest = hashlib.sha256((ROOT / "constraints.txt").read_bytes())
    digest.update(json.dumps([code, nb.metadata.get("kernelspec")]).encode())
    modules = library_modules("\n\n".join(map(TransformerManager().transform_cell, code)))
    for module in modules:
        for file in closure(module):  # comments count too: chapters show them
            digest.update(file.read_bytes())
        folder = module.rpartition(".")[0].replace(".", "/") or "fmbook"
        for pattern in [*PACKAGE_DATA.get(module, []), f"{folder}/*.toml"]:
            for file in sorted(ROOT.glob(pattern)):
                digest.update(file.read_bytes())
    record = ROOT / f"fmbook/records/{notebook.stem}.json"
    if record.exists():
        digest.update(record.read_bytes())
    return digest.hexdigest()


def library_modules(code: str) -> list[str]:
    """The library's modules that code imports, by name."""
    found = {"fmbook"}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    root = ROOT.as_posix()
    files = {name: Path(root, *name.split(".")) for name in found if name.startswith("fmbook")}
    return sorted(n for n, f in files.items() if f.is_dir() or f.with_suffix(".py").exists())


def is_stale(notebook: Path) -> bool:
    """Whether a notebook must be executed (again)."""
    entry = journal().get(notebook.relative_to(ROOT).as_posix())
    return entry is None or entry["key"] != execution_key(notebook)


def store(notebook: Path, key: str, outputs: list[Any], cpu_seconds: float) -> None:
    """Put a notebook into the journal, a chapter into the cache; one process at a time."""
    BUILD.mkdir(exist_ok=True)
    name = notebook.relative_to(ROOT).as_posix()
    with FileLock(BUILD / "execution.lock"):
        if name.startswith("chapters/"):
            from jupyter_cache import get_cache
            from jupyter_cache.base import CacheBundleIn

            nb = nbformat.read(notebook, 4)
            for cell, outs in zip(
                [c for c in nb.cells if c.cell_type == "code"], outputs, strict=True
            ):
                # nbval runs cells without a history, where IPython would find the semicolon
                quiet = cell.source.rstrip().endswith(";")
                shown = [o for o in outs if not quiet or o["output_type"] != "execute_result"]
                cell.outputs = shown
            bundle = CacheBundleIn(nb, str(notebook), data={"execution_seconds": cpu_seconds})
            get_cache(CACHE).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            os.utime(notebook)  # so that Sphinx reads the page again
        entry = {"key": key, "cpu_seconds": round(cpu_seconds, 1)}
        JOURNAL.write_text(json.dumps(journal() | {name: entry}, indent=1))


class Keeper:
    """Watches one worker's notebooks from the first cell to the last."""

    def __init__(self) -> None:
        self.passed: dict[Path, list[Any]] = {}
        self.failed: set[Path] = set()
        self.keys: dict[Path, str] = {}  # made before the run: what changes meanwhile is run again

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Any:
        report = yield
        if hasattr(item, "test_outputs") and call.when == "setup" and item.path not in self.keys:
            self.keys[item.path] = execution_key(item.path)
        if hasattr(item, "test_outputs") and call.when == "call":
            if report.passed:
                self.passed.setdefault(item.path, []).append(item.test_outputs)
            else:
                self.failed.add(item.path)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: Any, nextitem: Any) -> None:
        last = nextitem is None or nextitem.parent is not item.parent
        if not (hasattr(item, "test_outputs") and last) or item.path in self.failed:
            return
        process = psutil.Process(item.parent.kernel.km.provisioner.pid)
        family = [process, *process.children(recursive=True)]
        used = sum(sum(member.cpu_times()[:4]) for member in family)
        outputs = self.passed.get(item.path, [])
        if len(outputs) != sum(c.cell_type == "code" for c in item.parent.nb.cells):
            return  # only some cells were asked for
        budget = BUDGET.get(item.path.relative_to(ROOT).parts[0], float("inf"))
        noisy = [o for outs in outputs for o in outs if o.get("name") == "stderr"]
        if noisy:
            pytest.fail(
                f"{item.path.name} writes to stderr: {noisy[0]['text'][:300]}", pytrace=False
            )
        if used > budget:
            pytest.fail(f"{item.path.name}: {used:.1f} CPU-seconds of {budget:.0f}", pytrace=False)
        store(item.path, self.keys[item.path], outputs, used)


def pytest_configure(config: Any) -> None:
    config.pluginmanager.register(Keeper(), "fmbook-keeper")
