"""A released course for each test that asks for one."""

from pathlib import Path

import pytest

from fmbook.grading.course import Course
from tests.grading.course import make


@pytest.fixture
def course(tmp_path: Path) -> Course:
    """A released course, nothing handed in."""
    return make(tmp_path / "course")
