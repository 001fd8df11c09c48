"""Reads what lies in a course folder's `submitted/`: regular files of limited size, never links.

Left out: what is in a notebook, which `intake` takes apart.
"""

import hashlib
import os
import stat
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from fmbook.grading.intake import SIZE, Unreadable

__all__ = ["STAMP", "content", "new_timestamp", "read_file", "sha256", "side_files", "timestamp"]

STAMP = "timestamp.txt"  # nbgrader's: when it was handed in
FILES, FILES_SIZE, ENTRIES = 100, 8 << 20, 1000  # beside the notebooks of one submission


def read_file(file: Path) -> bytes | None:
    """The bytes of a submission, None if there is none.

    Raises:
        Unreadable: it is a link, no file, or too large.
    """
    if not os.path.lexists(file):
        return None
    for part in (file, file.parent, file.parent.parent):
        if part.is_symlink():
            raise Unreadable(
                "The submission is a link and not a file. Hand the notebook itself in."
            )
    info = file.lstat()
    if not stat.S_ISREG(info.st_mode):
        raise Unreadable("The submission is no file. Hand the notebook itself in.")
    if info.st_size > SIZE:
        raise Unreadable(
            f"The file has {info.st_size / 1e6:.0f} MB; at most {SIZE / 1e6:.0f} MB are read. "
            "Clear the outputs (Edit > Clear All Outputs), save, and hand it in again."
        )
    return file.read_bytes()


def content(file: Path, most: int) -> bytes | None:
    """A regular file's content if it is no link and not too large."""
    try:
        info = file.lstat()
        good = stat.S_ISREG(info.st_mode) and info.st_size <= most
        return file.read_bytes() if good else None
    except OSError:
        return None


def sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def timestamp(file: Path) -> datetime | None:
    """When a submission was handed in, as nbgrader writes it; None if that cannot be read."""
    from dateutil import parser

    data = content(file, 100)
    try:
        found = parser.parse(data.decode()) if data and data.strip() else None
    except (ValueError, OverflowError, UnicodeDecodeError):
        return None
    return found.astimezone(UTC) if found and found.tzinfo else found


def new_timestamp(submission: Path, graded: Path) -> bytes | None:
    """The timestamp beside a submission, if it is a date and not the one beside what was graded."""
    data, known = (content(file.with_name(STAMP), 100) for file in (submission, graded))
    return data if data != known and timestamp(submission.with_name(STAMP)) else None


def side_files(*folders: Path) -> dict[str, bytes]:
    """Files beside the notebooks, by their path in the folder; a later folder's files count.

    Too many or too large together: none, since a few of them would only confuse.
    """
    found: dict[str, bytes] = {}
    for folder in folders:
        names = _names(folder)
        for name in names:
            data = content(folder / name, FILES_SIZE)
            if data is not None:
                found[name] = data
            if len(found) > FILES or sum(map(len, found.values())) > FILES_SIZE:
                return {}
    return found


def _names(folder: Path) -> list[str]:
    """The files below a folder by their path in it; hidden ones, notebooks and links are none."""
    found, rest, seen = list[str](), [""], 0
    while rest:
        above = rest.pop()
        try:
            with os.scandir(folder / above) as entries:
                here = list(islice(entries, ENTRIES - seen + 1))
        except OSError:  # a path too long, or nothing to read
            continue
        seen += len(here)
        if seen > ENTRIES:
            return []
        for entry in here:
            name = f"{above}{entry.name}"
            if entry.name.startswith(".") or name.endswith(".ipynb") or name == STAMP:
                continue
            if entry.is_dir(follow_symlinks=False):
                rest.append(f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                found.append(name)
    return sorted(found)
