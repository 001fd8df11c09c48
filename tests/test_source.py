"""A chapter shows the library's own lines, without the docstrings that its prose replaces."""

import ast
import functools
import textwrap
from typing import Any

import pytest

from fmbook import records
from fmbook.source import Source, source, without_docstrings


def decorate(*_: Any, **__: Any) -> Any:
    return lambda thing: thing


def plain(x: int) -> int:
    """Doc of one line."""
    return x + 1  # a comment that stays


def longer(x: int) -> int:
    """Doc.

    Of several lines, # with a hash
    # and a line that looks like a comment
    """

    # why
    y = x

    return y


@decorate(
    1,
    two=2,
)
class Decorated:
    """Doc."""

    @staticmethod
    @decorate(
        3,
    )
    def method() -> str:
        """Doc."""

        @decorate(
            4,
        )
        def inner() -> str:
            """Doc."""
            return """not a
            docstring"""

        return inner()

    async def later(self) -> None:
        """Doc."""
        text = "Doc."
        self.text = text


def only_a_docstring() -> None:
    """Doc of one line."""


class Empty:
    """Doc of a class."""


@functools.cache
def cached(x: int) -> int:
    """Doc."""
    return x


def wrapping(f: Any) -> Any:
    @functools.wraps(f)
    def wrapper(*args: Any) -> Any:
        return f(*args)

    return wrapper


@wrapping
def wrapped(x: int) -> int:
    """Doc."""
    return x


def fenced() -> str:
    """Doc."""
    return "```python"


def body(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def test_a_function_is_shown_without_its_docstring() -> None:
    assert str(source(plain)) == body(
        """
        def plain(x: int) -> int:
            return x + 1  # a comment that stays
        """
    )


def test_comments_and_blank_lines_of_the_body_stay() -> None:
    assert str(source(longer)) == body(
        """
        def longer(x: int) -> int:
            # why
            y = x

            return y
        """
    )


def test_a_class_keeps_its_decorators_and_inner_functions() -> None:
    assert str(source(Decorated)) == body(
        '''
        @decorate(
            1,
            two=2,
        )
        class Decorated:
            @staticmethod
            @decorate(
                3,
            )
            def method() -> str:
                @decorate(
                    4,
                )
                def inner() -> str:
                    return """not a
                    docstring"""

                return inner()

            async def later(self) -> None:
                text = "Doc."
                self.text = text
        '''
    )


@pytest.mark.parametrize("thing", [only_a_docstring, Empty])
def test_a_body_that_is_only_a_docstring_keeps_it(thing: Any) -> None:
    assert '"""Doc of' in str(source(thing))


@pytest.mark.parametrize("thing", [cached, wrapped])
def test_decorated_functions_are_shown_as_written(thing: Any) -> None:
    assert str(source(thing)).splitlines()[0].startswith("@")
    assert str(source(thing)).endswith("    return x")
    assert "Doc" not in str(source(thing))


def test_docstrings_are_shown_on_request() -> None:
    assert '"""Doc of one line."""' in str(source(plain, docstrings=True))


def test_several_stand_two_lines_apart_under_one_title() -> None:
    shown = source(plain, cached)
    assert "\n\n\n@functools.cache" in str(shown)
    assert shown.title == plain.__module__
    assert source(plain, records.load).title == f"{plain.__module__}, fmbook.records"


def test_methods_are_shown() -> None:
    assert str(source(Decorated.later)).startswith("async def later")
    assert str(source(Decorated().later)).startswith("async def later")


def test_a_notebook_highlights_it_as_python() -> None:
    shown = source(plain)._repr_markdown_()
    assert shown.splitlines()[:3] == [f"`{plain.__module__}`", "", "```python"]
    assert shown.endswith("\n```")
    assert repr(source(plain)).startswith(f"# {plain.__module__}\ndef plain")


def test_code_that_holds_a_fence_does_not_break_out() -> None:
    shown = source(fenced)._repr_markdown_()
    assert "\n````python\n" in shown
    assert shown.endswith("\n````")
    assert Source("x", "t")._repr_markdown_() == "`t`\n\n```python\nx\n```"


@pytest.mark.parametrize("thing", [len, 3, "x", int, plain(1), str.join, None, object()])
def test_what_has_no_python_source_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match="has no Python source to show"):
        source(thing)


def test_a_lambda_amid_an_expression_is_shown_as_it_stands() -> None:
    table = {
        "f": lambda x: x,
    }
    assert str(source(table["f"])) == '"f": lambda x: x,'


@pytest.mark.parametrize(
    "text",
    [
        'def f(): "doc"; return 1',
        'def f():\n    """doc"""; return 1',
        'def f():\n    """doc\n    more"""; return 1',
        'def f(): return """doc"""',
        'class A: "doc"',
        'def f():\n    "doc"\n    # last\n    return 1',
        'def f():\n    "doc"\n\n\n    return 1',
    ],
)
def test_what_is_left_is_the_same_code(text: str) -> None:
    def bare(code: str) -> str:
        node = ast.parse(code).body[0]
        assert isinstance(node, ast.FunctionDef | ast.ClassDef)
        if ast.get_docstring(node) and len(node.body) > 1:
            node.body = node.body[1:]
        return ast.dump(node)

    assert bare(without_docstrings(text)) == bare(text)


def test_the_librarys_own_modules_survive() -> None:
    """Every module parses to the same code without its docstrings."""
    for file in records.closure("fmbook.swapping") + records.closure("fmbook.checks"):
        text = file.read_text("utf8")
        assert records._content(ast.parse(without_docstrings(text))) == records._content(
            ast.parse(text)
        )
