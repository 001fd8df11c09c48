"""`make exercises`: regenerate exercises/ from solutions/ through a throwaway gradebook.

The files in exercises/ are replaced only when every era was generated. Regeneration is
byte-identical, which a test holds; nbgrader's own metadata are kept as it writes them.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from nbgrader.apps import NbGraderAPI
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent  # nbgrader calls alembic by its name
os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"


def course_config(course: Path) -> Config:
    """The course's own configuration, moved to another root with a gradebook of its own."""
    config = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.db_url = f"sqlite:///{course / 'gradebook.db'}"
    config.NbGrader.logfile = ""
    return config


def lay_out(course: Path) -> list[str]:
    """Copy the solutions into a throwaway course; returns the eras."""
    notebooks = sorted((ROOT / "solutions").glob("*/*.ipynb"))
    for notebook in notebooks:
        target = course / notebook.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(notebook, target)
    return sorted({notebook.parent.name for notebook in notebooks})


def generate(course: Path) -> dict[str, bytes]:
    """Generate every era's release in a throwaway course; returns {path: content}.

    Raises:
        RuntimeError: nbgrader refused an era; the message carries its log.
    """
    eras = lay_out(course)
    api = NbGraderAPI(config=course_config(course))
    for era in eras:
        result = api.generate_assignment(era, force=True, create=True)
        if not result["success"]:
            raise RuntimeError(f"nbgrader could not generate {era}:\n{result.get('log') or result}")
    files = sorted((course / "exercises").glob("*/*.ipynb"))
    return {file.relative_to(course).as_posix(): file.read_bytes() for file in files}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            made = generate(Path(scratch))
        except RuntimeError as error:
            sys.exit(f"{error}\nexercises/ was left as it was")
    for name, content in made.items():
        file = ROOT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_suffix(".new")
        aside.write_bytes(content)
        os.replace(aside, file)
    for file in (ROOT / "exercises").glob("*/*.ipynb"):
        if file.relative_to(ROOT).as_posix() not in made:
            file.unlink()
    print(f"{len(made)} exercise(s) generated")


if __name__ == "__main__":
    main()
