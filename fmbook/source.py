"""Shows the library's own lines in a notebook and on the site: what is read is what runs."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

__all__ = ["Source", "source", "without_docstrings"]


class Source:
    """Python source that shows itself highlighted wherever Markdown is shown."""

    def __init__(self, text: str, title: str) -> None:
        self.text, self.title = text, title

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"# {self.title}\n{self.text}"

    def _repr_markdown_(self) -> str:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", self.text)), default=0))
        return f"`{self.title}`\n\n{fence}python\n{self.text}\n{fence}"


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
        texts.append(text if docstrings else without_docstrings(text))
    homes = dict.fromkeys(str(inspect.unwrap(thing).__module__) for thing in objects)
    return Source("\n\n\n".join(texts), ", ".join(homes))


def without_docstrings(text: str) -> str:
    """Python source without its docstrings; what does not parse comes back as it is."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda amid an expression: shown as it stands
        return text
    lines = text.splitlines()
    drop: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            if len(node.body) < 2 or ast.get_docstring(node, clean=False) is None:
                continue
            first, last = node.body[0].lineno, node.body[0].end_lineno or 0
            if not {first, last} & {
                getattr(node, "lineno", 0),
                node.body[1].lineno,
            }:  # stands on its own lines
                while not lines[last].strip():
                    last += 1
                drop.update(range(first, last + 1))
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in drop)
