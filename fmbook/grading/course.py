"""A course folder as nbgrader lays it out: where things are, and what its configuration says.

nbgrader itself is not imported (that costs seconds); its configuration files are read with
traitlets, its defaults stand below. Left out: writing anything.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fmbook.grading.exercise import Exercise, read_exercise

__all__ = ["Course", "CourseError", "safe_name"]

NAME = re.compile(r"[\w@.+-][\w@.+ -]{0,126}", re.A)


class CourseError(ValueError):
    """The course folder is not as it must be; the message says what to do."""


def safe_name(name: str) -> bool:
    """Whether a folder's name may stand for a student, in files, pages and on terminals."""
    return bool(NAME.fullmatch(name)) and not name.startswith((".", "-")) and ".." not in name


@dataclass(frozen=True)
class Course:
    """A course folder. Folders are absolute; `config` is traitlets' view of the configuration."""

    root: Path
    config: Any = field(repr=False)

    @classmethod
    def find(cls, folder: Path | None = None, db: str | None = None) -> "Course":
        """The course in which a folder lies (the current one if none is given).

        `db` is the address of its gradebook, in place of the configuration's `db_url`.

        Raises:
            CourseError: there is none, or its configuration cannot be read.
        """
        start = (folder or Path.cwd()).resolve()
        for root in (start, *start.parents):
            if (root / "nbgrader_config.py").is_file():
                return cls(root, _config(root, db))
        course = cls(start, _config(start, db))
        if not course.source.is_dir():
            raise CourseError(
                f"{start} is no course folder (no nbgrader_config.py, no {course.source.name}/): "
                "go to the course folder, or give it with --course FOLDER"
            )
        return course

    def option(self, section: str, name: str, default: Any) -> Any:
        """An option of nbgrader's configuration, or nbgrader's default."""
        return self.config.get(section, {}).get(name, default)

    def _folder(self, step: str) -> Path:
        return self.root / str(self.option("CourseDirectory", f"{step}_directory", step))

    @property
    def source(self) -> Path:
        return self._folder("source")

    @property
    def release(self) -> Path:
        return self._folder("release")

    @property
    def submitted(self) -> Path:
        return self._folder("submitted")

    @property
    def autograded(self) -> Path:
        return self._folder("autograded")

    @property
    def feedback(self) -> Path:
        return self._folder("feedback")

    @property
    def course_id(self) -> str:
        return str(self.option("CourseDirectory", "course_id", "")) or "default_course"

    @property
    def db_url(self) -> str:
        return str(self.option("CourseDirectory", "db_url", f"sqlite:///{self.root}/gradebook.db"))

    @property
    def cell_seconds(self) -> float:
        """The time limit of a cell, as nbgrader's execution has it."""
        for section in ("Execute", "ExecutePreprocessor"):
            if seconds := self.option(section, "timeout", None):
                return float(seconds)
        return 30.0

    def folder(self, step: str, student: str, era: str) -> Path:
        """The folder of a student's assignment in a step (`submitted`, `autograded`, ...)."""
        if step not in self._steps:
            self._steps[step] = self._folder(step).relative_to(self.root)
        name, names = self._steps[step], {"student_id": student, "assignment_id": era}
        return self.root / self._form.format(nbgrader_step=name, **names)

    @cached_property
    def _form(self) -> str:
        usual = "{nbgrader_step}/{student_id}/{assignment_id}"
        return str(self.option("CourseDirectory", "directory_structure", usual))

    @cached_property
    def _steps(self) -> dict[str, Path]:
        return {}

    def eras(self) -> list[str]:
        """The assignments: folders of the source that hold notebooks."""
        return sorted({file.parent.name for file in self.source.glob("*/*.ipynb")})

    def stems(self, era: str) -> list[str]:
        """The notebooks of an assignment."""
        return sorted(file.stem for file in (self.source / era).glob("*.ipynb"))

    def students(self, era: str) -> list[str]:
        """The names of the folders in which something was handed in for an era."""
        glob = self.folder("submitted", "*", era).relative_to(self.root).as_posix()
        depth = Path(glob).parts.index("*")
        found = {path.relative_to(self.root).parts[depth] for path in self.root.glob(glob)}
        return sorted(found)

    def exercise(
        self, era: str, stem: str, stored: dict[str, tuple[str, str | None]] | None = None
    ) -> Exercise:
        """An exercise of the course, with the checks as the gradebook keeps them (`stored`).

        Raises:
            CourseError: source or release is missing, or they do not belong together.
        """
        texts = []
        for folder in (self.source, self.release):
            file = folder / era / f"{stem}.ipynb"
            if not file.is_file():
                raise CourseError(f"{file} is missing: run `fmbook release {era}`")
            texts.append(file.read_text("utf8"))
        try:
            return read_exercise(era, stem, texts[0], texts[1], stored)
        except (ValueError, KeyError, json.JSONDecodeError) as error:
            raise CourseError(str(error)) from None


def _config(root: Path, db: str | None) -> Any:
    from jupyter_core.paths import jupyter_config_path
    from traitlets.config.loader import Config, ConfigFileNotFound, PyFileConfigLoader

    config = Config()
    for folder in [*reversed(jupyter_config_path()), str(root)]:
        try:
            config.merge(PyFileConfigLoader("nbgrader_config.py", path=folder).load_config())
        except ConfigFileNotFound:
            continue
        except Exception as error:
            raise CourseError(f"{folder}/nbgrader_config.py cannot be read: {error}") from error
    if db:
        config.CourseDirectory.db_url = db
    return config
