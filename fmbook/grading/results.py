"""Results that are kept: what a job gave, under a hash of the job and of what ran it.

Left out: when to ask. A file that is damaged counts as none.
"""

import gzip
import hashlib
import json
import os
import platform
import zlib
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import fmbook

__all__ = ["Results", "environment", "sweep", "write_aside"]

PACKAGES = ("torch", "numpy", "matplotlib", "ipython")


class Results:
    """A folder of results by key; each file is whole or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json.gz"

    def get(self, key: str) -> dict[str, Any] | None:
        """What was kept under a key, or None."""
        try:
            return dict(json.loads(gzip.decompress(self._file(key).read_bytes())))
        except (OSError, EOFError, ValueError, zlib.error):
            return None

    def put(self, key: str, found: bytes) -> None:
        """Keep a result, which is JSON.

        Raises:
            OSError: it could not be written (the disk is full).
        """
        write_aside(self._file(key), gzip.compress(found, 1))


def write_aside(file: Path, content: bytes, owner: Path | None = None) -> None:
    """Write a file whole: beside its place first, then renamed into it.

    What lies beside it meanwhile is named after the file, or after its `owner` in the same folder.

    Raises:
        OSError: it could not be written; what was there is still there.
    """
    if not file.parent.is_dir():
        file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{(owner or file).name}.{os.getpid()}")
    try:
        scratch.write_bytes(content)
        os.replace(scratch, file)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def sweep(owner: Path) -> None:
    """Remove what somebody killed while writing left there; for whoever alone may write now."""
    with suppress(FileNotFoundError), os.scandir(owner.parent) as found:
        for entry in found:
            if entry.name.startswith(f".{owner.name}."):
                Path(entry.path).unlink(missing_ok=True)


@cache
def environment() -> str:
    """What beside the job decides on a result: the library's code, packages, Python, machine."""
    digest = hashlib.sha256()
    folder = Path(fmbook.__file__).parent
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "none"
    return json.dumps([digest.hexdigest(), versions, platform.python_version(), platform.machine()])
