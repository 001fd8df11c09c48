"""The process that runs one student's notebook: cells as IPython runs them, calls, attributes.

Whoever reads its answers must believe nothing: after the first cell this process is the student's.
It knows no checks, no solutions and no other student. Left out: anything that needs to be trusted.
"""

import ast
import builtins
import contextlib
import importlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

from fmbook.grading import policy
from fmbook.grading.wire import BrokenWire, Gone, Reference, decode, encode, receive, send

__all__ = ["Student", "make_shell"]

SHARED = ("fmbook", "torch", "numpy")


def make_shell() -> Any:
    """The IPython shell of all students, warmed up in the nursery and forked with it."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "NoColor"
    shell: Any = InteractiveShell.instance(config=config)
    shell.transform_cell = _as_it_is_if_python(shell.transform_cell)
    # errors are told in our words: IPython's take seconds where a recursion ended deep down
    shell.showtraceback = shell.showsyntaxerror = lambda *_, **__: None
    for frames in (shell.InteractiveTB, shell.SyntaxTB):  # it would also keep them in its history
        frames.structured_traceback = lambda *_, **__: []
    with capture_output():
        shell.run_cell("1 + 1", store_history=False, silent=True)
        shell.run_cell("raise ValueError(1)", store_history=False)
    shell.reset(new_session=True)
    return shell


def _as_it_is_if_python(transform: Callable[[str], str]) -> Callable[[str], str]:
    """IPython's transformation of a cell, left out where the cell is plain Python: it is slow."""

    def transformed(source: str) -> str:
        try:
            ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return transform(source)
        return source if source.endswith("\n") else f"{source}\n"

    return transformed


class Student:
    """Serves one referee over a channel until that closes."""

    def __init__(self, shell: Any, channel: socket.socket) -> None:
        self.shell, self.channel = shell, channel
        self.quiet = _quiet(type(shell.displayhook))
        self.handles: list[Any] = []
        self.labels: dict[str, str] = {}  # file names that IPython gave to cells
        self.flags: list[list[Any]] = []

    def serve(self) -> None:
        operations: dict[str, Callable[..., tuple[Any, list[bytes]]]] = {
            "file": self.file,
            "scan": self.scan,
            "cell": self.cell,
            "get": self.get,
            "call": self.call,
            "check": self.check,
        }
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            try:
                message, blobs = receive(self.channel)
            except Gone:
                os._exit(0)
            self.flags = []
            try:
                with interruptible():
                    reply, out = operations[message["op"]](message, blobs)
                send(self.channel, reply | {"flags": self.flags}, out)
            except Gone:
                os._exit(0)
            except BaseException as error:  # the student's own, an interrupt among them
                send(self.channel, {"error": _said(error), "flags": self.flags})

    def file(self, message: dict[str, Any], blobs: list[bytes]) -> tuple[Any, list[bytes]]:
        path = os.path.normpath(message["name"])
        if path.startswith(("..", "/")):
            raise BrokenWire("a file outside the work folder")
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "wb") as file:
            file.write(blobs[0])
        return {}, []

    def scan(self, message: dict[str, Any], blobs: list[bytes]) -> tuple[Any, list[bytes]]:
        """Look for forbidden names in the syntax of answers, before any of the student's code."""
        watched = {name for names in message["watch"].values() for name in names}
        policy.prepare(watched)
        for names in message["watch"].values():
            policy.Tracer(names, {}, [])  # finds what it watches while that is what it was
        cells = dict(message["cells"])
        if not policy.may_mention("\n".join(cells.values()), watched):
            return {}, []
        for label, source in cells.items():
            with contextlib.suppress(Exception):  # it will not run then, or is read as it stands
                cells[label] = self.shell.transform_cell(source)
        self.flags += policy.mentions(cells, message["watch"])
        return {}, []

    def cell(self, message: dict[str, Any], blobs: list[bytes]) -> tuple[Any, list[bytes]]:
        """Run a cell; returns what a kernel would have shown."""
        from IPython.utils.capture import capture_output

        source = message["source"]
        shown: list[dict[str, Any]] = []
        hook = self.shell.displayhook
        name = f"<cell {message['label']}>"
        self.labels[name] = message["label"]
        self.shell.compile.get_code_name = lambda *_: name
        usual = type(hook)
        hook.__class__, hook.shown = self.quiet, shown
        try:
            with capture_output() as captured:
                result = self.shell.run_cell(source, store_history=True)
        finally:
            hook.__class__ = usual
        error = result.error_before_exec or result.error_in_exec
        outputs = _outputs(captured, shown)
        if error is not None:
            outputs.append({"output_type": "error"} | dict(zip(ERROR, _said(error), strict=True)))
        return {"outputs": outputs}, []

    def get(self, message: dict[str, Any], blobs: list[bytes]) -> tuple[Any, list[bytes]]:
        with policy.Tracer(message["watch"], self.labels, self.flags):
            return self._reply(self._target(message))

    def call(self, message: dict[str, Any], blobs: list[bytes]) -> tuple[Any, list[bytes]]:
        """Call a function or method of the student's; forbidden calls are traced."""
        function = self._target(message)
        args = decode(message["args"], blobs, self._resolve)
        named = decode(message["named"], blobs, self._resolve)
        with policy.Tracer(message["watch"], self.labels, self.flags):
            return self._reply(function(*args, **named))

    def check(self, message: dict[str, Any], blobs: list[bytes]) -> tuple[Any, list[bytes]]:
        """Run a check among the student's own names: the in-process tier, of low assurance."""
        from fmbook.grading.pristine import restore

        restore()
        os.environ["FMBOOK_SEED"] = message["seed"]
        code = compile(message["source"], "<check>", "exec")
        with policy.Tracer(message["watch"], self.labels, self.flags, "<check>"):
            exec(code, self.shell.user_ns)
        return {"ran": True}, []

    def _target(self, message: dict[str, Any]) -> Any:
        if (number := message["ref"]) is not None:
            target = self.handles[number]
        else:
            try:
                target = self.shell.user_ns[message["name"]]
            except KeyError:
                raise NameError(f"name {message['name']!r} is not defined") from None
        if (attribute := message["attribute"]) is not None:
            target = getattr(target, attribute)
        return target

    def _reply(self, value: Any) -> tuple[Any, list[bytes]]:
        blobs: list[bytes] = []
        return {"value": encode(value, blobs, self._refer)}, blobs

    def _refer(self, value: Any) -> Reference:
        self.handles.append(value)
        return Reference(number=len(self.handles) - 1, kind=type(value).__name__)

    def _resolve(self, reference: Reference) -> Any:
        if reference.number is not None:
            return self.handles[reference.number]
        return named(reference.name or "", self.shell.user_ns)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let an interrupt reach the student's code, and nothing of ours: late ones are ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


ERROR = ("ename", "base", "evalue", "traceback")


def named(name: str, cells: dict[str, Any]) -> Any:
    """What is called so on both sides: `cell:f` of the set-up, or `torch.nn.functional.relu`."""
    if name.startswith("cell:"):
        return cells[name.removeprefix("cell:")]
    module, _, rest = name.partition(":")
    if module.split(".")[0] not in SHARED:
        raise BrokenWire(f"{name} is not shared")
    value: Any = importlib.import_module(module)
    for part in rest.split("."):
        value = getattr(value, part)
    return value


def _said(error: BaseException) -> list[Any]:
    """An error as plain text: its name, the nearest built-in one, its words, where it was."""
    kinds = [kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, 0)]
    try:
        words = str(error)[:4000]
    except BaseException:
        words = "(an error whose text cannot be read)"
    if isinstance(error, BrokenWire):
        return ["TypeError", "TypeError", f"what came back cannot be compared: {words}", []]
    trace, lines = error.__traceback__, []
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.endswith((".py", ">")) or "ipykernel" in code.co_filename:
            lines.append(f"line {trace.tb_lineno}, in {code.co_name}")
        trace = trace.tb_next
    return [type(error).__name__[:200], kinds[0] if kinds else "Exception", words, lines[-20:]]


def _quiet(usual: type) -> type:
    """IPython's display hook, but a result is kept in `shown` instead of being printed."""

    class Quiet(usual):
        shown: list[dict[str, Any]]

        def write_output_prompt(self) -> None:
            pass

        def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
            self.shown.append(_texts(format_dict))

    return Quiet


def _texts(bundle: Any) -> dict[str, Any]:
    return {key: value for key, value in bundle.items() if isinstance(value, str)}


def _outputs(captured: Any, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What IPython captured, in the form of a notebook's outputs."""
    streams = (("stdout", captured.stdout), ("stderr", captured.stderr))
    found: list[dict[str, Any]] = [
        {"output_type": "stream", "name": name, "text": said} for name, said in streams if said
    ]
    found += [{"output_type": "display_data", "data": _texts(o.data)} for o in captured.outputs]
    return found + [{"output_type": "execute_result", "data": data} for data in shown]
