"""Which calls an exercise forbids, found in an answer's syntax and while it runs.

It runs in the student's process, so it finds what students do and not all that is possible: code
that sets out to hide a call from Python can. Left out: what a forbidden call costs.
"""

import _thread
import ast
import functools
import re
import sys
import threading
import types
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

__all__ = ["Tracer", "mentions", "prepare"]

COPY = 8  # names from which on code with the same is a copy, and no accident
ENOUGH = 50  # calls that are noted in one answer
EVENTS = 30_000  # of Python that are looked at in one call: a long computation is not slowed down
_start_new_thread = _thread.start_new_thread
_prepared: set[str] = set()  # names that `prepare` has dealt with
REFERENCE = re.compile(r"\.\s*\w+|import\b[^\n]*")  # words that may name what is elsewhere
OFF = "the tracing of calls was switched off"


class Tracer:
    """Notes the calls of watched functions while it is on, whoever makes them, in all threads."""

    now: "Tracer | None" = None
    switch: Callable[[Any], None] = sys.setprofile  # our own, since `prepare` replaces it

    def __init__(
        self, watch: list[str], labels: dict[str, str], flags: list[list[Any]], own: str = ""
    ) -> None:
        """`own` is the file name of code that may call what it likes: a check that runs here."""
        self.labels, self.flags, self.own = labels, flags, own
        self.codes, self.copies = _watched(tuple(watch))
        self.seen: dict[int, tuple[CodeType, str]] = {}
        self.left = EVENTS

    def __enter__(self) -> None:
        if self.codes:
            Tracer.now = self
            Tracer.switch(self.note)

    def __exit__(self, *_: Any) -> None:
        if self.codes and self.left > 0 and sys.getprofile() != self.note:
            self.add(OFF, "", 0)
        Tracer.switch(None)
        Tracer.now = None

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        self.left -= 1
        if self.left <= 0:
            Tracer.switch(None)
        if event != "call":
            return
        code = frame.f_code
        kept, name = self.seen.get(id(code), (None, ""))
        if kept is not code:
            name = self.name_of(code)
            self.seen[id(code)] = code, name
        if name and (place := self.where(frame.f_back)) is not None:
            self.add(name, *place)

    def add(self, what: str, label: str, line: int) -> None:
        if len(self.flags) < ENOUGH:
            self.flags.append([what, label, line])

    def name_of(self, code: CodeType) -> str:
        if (known := self.codes.get(id(code))) is not None:  # equal code may be anybody's
            return known[1]
        own = code.co_filename in self.labels  # what looks like the library's may be typed
        return "" if own else self.copies.get(_essence(code), "")

    def where(self, frame: FrameType | None) -> tuple[str, int] | None:
        """The cell and line that a call came from, "" if no cell is on the way; None: our own."""
        while frame is not None:
            label = self.labels.get(frame.f_code.co_filename)
            if label is not None:
                return label.removeprefix("shared:"), frame.f_lineno
            if self.own and frame.f_code.co_filename == self.own:
                return None
            frame = frame.f_back
        return "", 0


@functools.cache
def _watched(
    watch: tuple[str, ...],
) -> tuple[dict[int, tuple[CodeType, str]], dict[tuple[Any, ...], str]]:
    """The code behind watched names, and what copies of it look like; found before they change.

    Code that was generated, such as a dataclass's `__init__`, is left out: others have the same.
    """
    found = [(code, name) for name in watch for code in map(_code, _targets(name)) if code]
    codes = {id(code): (code, name) for code, name in found if code.co_filename != "<string>"}
    copies = {
        _essence(code): f"a copy of {name}"
        for code, name in codes.values()
        if len(code.co_names + code.co_varnames) >= COPY
    }
    return codes, copies


def prepare(watch: Iterable[str]) -> None:
    """Make what is written in C visible, and threads; once, before any of the student's code."""
    for name in sorted({*watch, "sys.setprofile"} - _prepared):
        _prepared.add(name)
        last, held = name.rpartition(".")[2], next(iter(_targets(name)), None)
        if callable(held) and _code(held) is None:
            seen = _visible(held)
            for module in list(sys.modules.values()):
                if getattr(module, "__dict__", {}).get(last) is held:
                    setattr(module, last, seen)
            packet = getattr(getattr(sys.modules.get("torch"), "ops", None), "aten", None)
            if name.startswith("torch.") and hasattr(packet, last):
                setattr(packet, last, seen)
    threading.setprofile(_note_now)
    _thread.start_new_thread = _thread.start_new = _traced_thread


def _visible(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind one in Python, whose calls are seen however they are made."""
    switches = function is Tracer.switch

    @functools.wraps(function)
    def seen(*args: Any, **named: Any) -> Any:
        if switches and Tracer.now is not None and args != (_note_now,):
            Tracer.now.add(OFF, "", 0)
        return function(*args, **named)

    del seen.__wrapped__
    code: CodeType = vars(types.FunctionType)["__code__"].__get__(seen)
    seen.__code__ = code.replace(co_name=f"{function.__name__} of C")  # type: ignore
    return seen


def _note_now(frame: FrameType, event: str, argument: Any) -> None:
    tracer = Tracer.now
    if tracer is not None:
        tracer.note(frame, event, argument)


def _traced_thread(
    function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any] | None = None
) -> int:
    """`_thread.start_new_thread`, which does not know of `threading.setprofile`."""

    def work() -> None:
        Tracer.switch(_note_now)
        function(*args, **(named or {}))

    return _start_new_thread(work, ())


def _code(function: Any) -> CodeType | None:
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _essence(code: CodeType) -> tuple[Any, ...]:
    """What copies of a function share; their bytes differ with what their module imports."""
    return code.co_names, code.co_varnames, code.co_argcount


def _targets(name: str) -> list[Any]:
    """What a dotted name stands for: a function, or a class's own methods; loaded modules only."""
    module, parts = name, list[str]()
    while module not in sys.modules and "." in module:
        module, _, last = module.rpartition(".")
        parts.insert(0, last)
    value: Any = sys.modules.get(module)
    for part in parts:
        value = getattr(value, part, None)
    if isinstance(value, type):
        return [getattr(v, "__func__", v) for v in vars(value).values() if _code(v) is not None]
    return [] if value is None else [value]


def may_mention(text: str, watch: Iterable[str]) -> bool:
    """Whether a text could refer to one of the names: a quick look that misses none."""
    last = {name.rpartition(".")[2] for name in watch}
    for name in watch:  # a module's own path is no reference to what is in it
        text = text.replace(name.rpartition(".")[0], "its module")
    text = text.replace("\\\n", " ")
    if re.search(r"import\s*[(*]", text):
        return bool(last)
    return any(last & set(re.findall(r"\w+", words)) for words in REFERENCE.findall(text))


def mentions(cells: dict[str, str], watch: dict[str, list[str]]) -> list[list[Any]]:
    """Where cells refer to names that are watched in them: name, cell, line."""
    trees, found = {}, list[list[Any]]()
    for label, source in cells.items():
        try:
            trees[label] = ast.parse(source)
        except (SyntaxError, ValueError):  # it will not run
            continue
        except (RecursionError, MemoryError):
            found += [["code too deep to be searched", label, 0]] * (label in watch)
    aliases = _aliases(list(trees.values()))
    for label in watch.keys() & trees.keys():
        visitor = Mentions(aliases, set(watch[label]))
        try:
            visitor.visit(trees[label])
        except RecursionError:
            found.append(["code too deep to be searched", label, 0])
        found += [[name, label, line] for name, line in visitor.found]
    return found


class Mentions(ast.NodeVisitor):
    """Where a cell refers to watched names, by whatever it imported them as."""

    def __init__(self, aliases: dict[str, str], watch: set[str]) -> None:
        self.aliases, self.watch, self.found = aliases, watch, list[tuple[str, int]]()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.look(node)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.look(node)

    def look(self, node: ast.Attribute | ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            return
        first, _, rest = ast.unparse(node).partition(".")
        name = self.aliases.get(first, "") + (f".{rest}" if rest else "")
        if name in self.watch:
            self.found.append((name, node.lineno))


def _aliases(trees: list[ast.Module]) -> dict[str, str]:
    """What names stand for by the imports anywhere in a notebook."""
    found = {}
    for node in (n for tree in trees for n in ast.walk(tree)):
        if isinstance(node, ast.Import):
            for a in node.names:
                found[a.asname or a.name.split(".")[0]] = (
                    a.name if a.asname else a.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found
