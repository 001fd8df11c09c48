"""Shows the library's own lines in a notebook and on the site: what is read is what runs."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

__all__ = ["Source", "source"]


class Source:
    """Python source that shows itself highlighted wherever Markdown is shown."""

    def __init__(self, text: str, title: str) -> None:
        self.text, self.title = text, title

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"# {self.title}\n{self.text}"

    def _repr_markdown_(self) -> str:
        return f"`{self.title}`\n\n```python\n{self.text}\n```"


def source(*objects: Callable[..., Any] | type, docstrings: bool = False) -> Source:
    """The live source of functions or classes, as the last line of a cell.

    Docstrings are left out unless asked for: the chapter around them says the same.

    Raises:
        TypeError: an object has no Python source (a built-in, an instance).

    >>> print(source(textwrap.dedent))  # doctest: +ELLIPSIS
    def dedent(text):
    ...
    """
    texts = []
    for thing in objects:
        try:
            text = textwrap.dedent(inspect.getsource(thing)).rstrip()
        except (TypeError, OSError):
            raise TypeError(f"{thing!r} has no Python source to show") from None
        texts.append(text if docstrings else _without_docstrings(text))
    homes = dict.fromkeys(getattr(thing, "__module__", "") or "" for thing in objects)
    return Source("\n\n\n".join(texts), ", ".join(homes))


def _without_docstrings(text: str) -> str:
    lines = text.splitlines()
    drop: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None and len(node.body) > 1:
                drop.update(range(first.lineno, node.body[1].lineno))
                kept = [n for n in range(first.end_lineno or 0, node.body[1].lineno) if n > 0]
                drop -= {n for n in kept if lines[n - 1].strip().startswith(("#", "@"))}
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in drop)
