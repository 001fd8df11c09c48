"""One thread a process, set before torch loads: two workers share the machine, and banks fork.

For tests of pages: a browser a module, and a way to show widgets in it.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

from tests.browser import blocked, chromium, complaints, page_of


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `gpu` runs where CUDA is, and is skipped with a sentence elsewhere."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("this machine has no CUDA device to train on")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A module's one browser, gone before the next module asks for its own."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open widgets on a page of their own; at the end nothing was fetched, nothing complained."""
    shown: list[tuple[Any, list[str], list[str]]] = []

    def open_page(
        *widgets: Any, theme: str = "light", width: int = 760, body: str = "", **context: Any
    ) -> Any:
        file = tmp_path / f"page{len(shown)}.html"
        file.write_text(page_of(*widgets, theme=theme, body=body), "utf8")
        page = browser.new_page(viewport={"width": width, "height": 800}, **context)
        shown.append((page, blocked(page), complaints(page)))
        page.goto(file.as_uri())
        return page

    yield open_page
    for page, gone, heard in shown:
        page.close()
        assert (gone, heard) == ([], [])
