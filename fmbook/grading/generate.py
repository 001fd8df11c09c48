"""Runs nbgrader's generate_assignment through its API, into a folder of our choosing.

Left out: deciding whether to, and what becomes of the files.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

from fmbook.grading.course import Course, CourseError

__all__ = ["files_in", "generate"]

WHY = re.compile(r"^ *([\w.]*(?:Error|Exception|Entry)\b: .+)", re.M)  # how a traceback ends
HOOKS = ("pre_convert_hook", "post_convert_hook")


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a folder by their paths in it."""
    found = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file for file in found}


def generate(course: Course, era: str, out: Path, db_url: str, *, hooks: bool) -> dict[str, Path]:
    """Run nbgrader on an era's source; what it makes goes to a folder of its own.

    Raises:
        CourseError: nbgrader refused; the message is its last word.
    """
    from nbgrader.apps import NbGraderAPI

    config = deepcopy(course.config)
    config.CourseDirectory.root = str(course.root)
    config.CourseDirectory.db_url = db_url
    config.CourseDirectory.release_directory = os.path.relpath(out, course.root)
    for hook in () if hooks else HOOKS:
        for section in ("BaseConverter", "GenerateAssignment"):
            config[section].pop(hook, None)
    with _quiet():
        api = NbGraderAPI(config=config)
        create = bool(course.option("GenerateAssignment", "create_assignment", True))
        result = api.generate_assignment(era, force=True, create=create)
        made = Path(
            api.coursedir.format_path(str(config.CourseDirectory.release_directory), ".", era)
        )
    if not result["success"]:
        said = WHY.findall(f"{result.get('error')}\n{result.get('log')}")
        raise CourseError(
            f"nbgrader cannot release {era}: {said[-1] if said else 'it says not why'}"
        )
    return files_in(made)


@contextmanager
def _quiet() -> Iterator[None]:
    """nbgrader's helper (alembic) is found, its warnings stay off the terminal."""
    path, folder = os.environ.get("PATH", ""), str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([folder, path])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ["PATH"] = path
