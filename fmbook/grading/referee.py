"""Runs an exercise's checks against a student who sits in another process.

The student's names are proxies: calls and attributes go over the wire, and what comes back is
taken for a value and nothing else. A check counts only if it ran to its end here. Left out:
deciding what a check is worth (the coordinator's work) and walls around the student (the sandbox).
"""

import base64
import builtins
import contextlib
import hashlib
import io
import json
import marshal
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from fmbook.grading.job import read
from fmbook.grading.wire import BrokenWire, Gone, Late, Reference, decode, encode, receive, send

__all__ = ["Answer", "Ended", "judge"]

GRACE = 1.5  # seconds that an interrupted student has to answer
TEXT = 2000  # characters kept of an error's message
OUTPUTS, CALLS = 6 << 20, 200  # bytes of outputs, and calls that are forbidden, kept of a student
COMPUTING = 10.0  # CPU-seconds that a check itself may take, whatever it was given
MEMORY = 1 << 30  # bytes on top of what a referee has at birth
SHOWN = ("text/plain", "image/png")


class Ended(BaseException):
    """The student's process is of no use any more: no check may catch this."""


class Died(Ended):
    """The student's process is dead, whoever killed it: its own code, or the machine."""


class Stuck(BaseException):
    """A check computes without end on what it was given: no check may catch this either."""


class Answer:
    """Something in the student's process: it can be called, and its public attributes read."""

    def __init__(self, line: "Line", reference: Reference) -> None:
        object.__setattr__(self, "_line", line)
        object.__setattr__(self, "_reference", reference)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._line.call(self._reference, args, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._line.get(self._reference, name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a student's object cannot be changed from a check")

    def __repr__(self) -> str:
        return f"<a {self._reference.kind or 'thing'} of the student's>"


Answer.__name__ = "function or object"  # as which it shows in messages


class Line:
    """The line to a student: one question at a time, each with a deadline."""

    def __init__(self, channel: socket.socket, pidfd: int, seconds: float, until: float) -> None:
        self.channel, self.pidfd = channel, pidfd
        self.seconds, self.until = seconds, until
        self.hurry = False  # who was late once is given less, so that other answers get their turn
        self.calls = 0
        self.watch: list[str] = []
        self.flags: list[list[Any]] = []
        self.own: dict[int, str] = {}  # functions of the set-up by id, sent by name

    def ask(self, question: dict[str, Any], blobs: list[bytes] = []) -> Any:  # noqa: B006
        """The reply to a question; a late student is interrupted first, and given up then.

        Raises:
            Ended: it died, does not answer, or does not speak as agreed.
            TimeoutError: it was interrupted and lives.
        """
        left = self.until - time.monotonic()
        if left <= 0:
            raise Ended("the time for the whole notebook was over")
        seconds = min(self.seconds, max(left / 4, 0.2) if self.hurry else left)
        try:
            message, out, late = self.exchange(question, blobs, seconds)
        except Late:
            raise Ended("it took too long and could not be interrupted") from None
        except (Gone, ProcessLookupError):
            raise Died("the process ended: out of memory, or killed by its own code") from None
        except BrokenWire as error:
            raise Ended(f"the process sent what is no answer ({error})") from None
        except MemoryError:
            raise Ended("the process sent more than there is memory for") from None
        self.note(message.get("flags"))
        message["late"] = f"it took longer than {seconds:.3g} s" if late else ""
        return message, out

    def exchange(
        self, question: dict[str, Any], blobs: list[bytes], seconds: float
    ) -> tuple[dict[str, Any], list[bytes], bool]:
        """Ask, wait, interrupt; whether that was needed is the third."""
        deadline = time.monotonic() + seconds
        self.channel.settimeout(seconds)
        send(self.channel, question, blobs)
        try:
            return *receive(self.channel, deadline), False
        except Late:
            self.hurry = True
            signal.pidfd_send_signal(self.pidfd, signal.SIGINT)
            answer = receive(self.channel, time.monotonic() + min(GRACE, max(seconds, 0.4)))
            time.sleep(0.05)  # an interrupt that is still on its way shall find nothing to end
            return *answer, True

    def note(self, flags: Any) -> None:
        """Keep what the student's process says of forbidden calls, if it is of the right form."""
        for flag in flags if type(flags) is list else []:
            good = type(flag) is list and [type(x) for x in flag] == [str, str, int]
            if good and 0 <= flag[2] < 1 << 31 and self.calls < CALLS:
                self.calls += 1
                self.flags.append([flag[0][:200], flag[1][:200], flag[2]])

    def get(self, reference: Reference, attribute: str | None = None) -> Any:
        question = {"op": "get", **_named(reference, attribute), "watch": self.watch}
        return self._value(question, [])

    def call(self, reference: Reference, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        blobs: list[bytes] = []
        question = {
            "op": "call",
            **_named(reference, None),
            "args": encode(args, blobs, self._refer),
            "named": encode(named, blobs, self._refer),
            "watch": self.watch,
        }
        return self._value(question, blobs)

    def _value(self, question: dict[str, Any], blobs: list[bytes]) -> Any:
        message, out = self.ask(question, blobs)
        if message["late"]:
            raise TimeoutError(message["late"])
        if "error" in message:
            raise error_of(message["error"])
        try:
            return decode(message.get("value"), out, self._resolve)
        except BrokenWire as error:
            raise Ended(f"the process sent what is no value ({error})") from None

    def _resolve(self, reference: Reference) -> Answer:
        if reference.number is None:
            raise BrokenWire("a name where a handle belongs")
        return Answer(self, Reference(reference.number, None, reference.kind[:80]))

    def _refer(self, value: Any) -> Reference | None:
        if type(value) is Answer:
            own: Reference = value._reference
            return Reference(name=f"cell:{own.name}") if own.name else own
        if id(value) in self.own:
            return Reference(name=f"cell:{self.own[id(value)]}")
        if isinstance(value, ModuleType) or not hasattr(value, "__qualname__"):
            text = str(value)  # torch.float32 and its like
            known = text.startswith("torch.") and getattr(sys.modules["torch"], text[6:], None)
            return Reference(name=f"torch:{text[6:]}") if known is value else None
        name = f"{value.__module__}:{value.__qualname__}"
        home = getattr(sys.modules.get(value.__module__), value.__qualname__, None)
        return Reference(name=name) if home is value else None


def _named(reference: Reference, attribute: str | None) -> dict[str, Any]:
    return {"name": reference.name, "ref": reference.number, "attribute": attribute}


def error_of(said: Any) -> Exception:
    """The built-in error that a student's process reports, whatever it reports."""
    if type(said) is not list or [type(x) for x in said] != [str, str, str, list]:
        return RuntimeError("an error of no known form")
    name, base, words, _ = said
    kind = getattr(builtins, base, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)) or base.startswith("Stop"):
        kind = RuntimeError  # `StopIteration` would end a check's loop over answers, in silence
    words = words[:TEXT] if name == base else f"{name[:100]}: {words[:TEXT]}"
    with contextlib.suppress(TypeError):  # UnicodeDecodeError and its like want more
        return kind(words)
    return RuntimeError(f"{base}: {words}")


def kept(outputs: Any, room: int) -> list[dict[str, Any]]:
    """The outputs of a student's cell that have the form of a notebook's, up to so many bytes."""
    found: list[dict[str, Any]] = []
    for output in outputs if type(outputs) is list else []:
        if type(output) is not dict or type(output.get("output_type")) is not str:
            continue
        one: dict[str, Any] = {k: v for k, v in output.items() if type(v) is str}
        if type(data := output.get("data")) is dict:
            one["data"] = {kind: data[kind] for kind in SHOWN if type(data.get(kind)) is str}
        room -= len(json.dumps(one))
        if room < 0:
            said = "(what follows is too large to be kept)"
            return [*found, {"output_type": "stream", "name": "stderr", "text": said}]
        found.append(one)
    return found


def _stuck(*_: Any) -> None:
    raise Stuck


def _over(*_: Any) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which is what comes next
    raise Ended("the time for the whole notebook was over")


def judge(job_channel: socket.socket, channel: socket.socket, pidfd: int) -> None:
    """Read a job, run it, write the result: the whole life of a referee."""
    _, (content, *blobs) = receive(job_channel)
    job = read(content)
    seconds = job["total_seconds"]
    signal.signal(signal.SIGPROF, _stuck)
    signal.signal(signal.SIGALRM, _over)
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE, 3.0)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY,) * 2)
    line = Line(channel, pidfd, job["cell_seconds"], time.monotonic() + seconds)
    line.hurry = job["hurry"]
    referee = Referee(job, blobs, line)
    with contextlib.suppress(Ended):
        referee.run()
        signal.setitimer(signal.ITIMER_REAL, 0)
    signal.setitimer(signal.ITIMER_REAL, 3.0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    send(job_channel, {}, [json.dumps(referee.results).encode()])


class Referee:
    """One attempt at a job: student's cells, set-up and checks in order, until a cell kills."""

    def __init__(self, job: dict[str, Any], blobs: list[bytes], line: Line) -> None:
        self.job, self.blobs, self.line = job, blobs, line
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.results: list[dict[str, Any]] = []
        self.room = OUTPUTS
        self.patience = min(COMPUTING, job["cell_seconds"])

    def run(self) -> None:
        """Fill `results`, a step at a time; Ended comes out only between steps."""
        for name, blob in zip(self.job["files"], self.blobs, strict=True):
            self.line.ask({"op": "file", "name": name}, [blob])
        for step in self.job["steps"]:
            start = time.monotonic()
            try:
                result = getattr(self, step["kind"])(step)
            except Ended as ended:
                result = {"ended": str(ended), "died": isinstance(ended, Died)}
            except TimeoutError as late:
                result = {"error": ["Timeout", str(late)]}
            result |= {"id": step["id"], "seconds": round(time.monotonic() - start, 3)}
            self.results.append(result)
            if "ended" in result:
                break

    def scan(self, step: dict[str, Any]) -> dict[str, Any]:
        """Let the student's process look for forbidden names before it runs anything."""
        self.line.flags = []
        self.line.ask({"op": "scan", "cells": step["cells"], "watch": step["watch"]})
        return {"flags": list(self.line.flags)}

    def student(self, step: dict[str, Any]) -> dict[str, Any]:
        """Run a cell in the student's process; its outputs are kept for people to read."""
        label = ("shared:" if step["trusted"] else "") + step["id"]
        message, _ = self.line.ask({"op": "cell", "source": step["source"], "label": label})
        found: dict[str, Any] = {"outputs": kept(message.get("outputs"), self.room)}
        self.room = max(0, self.room - len(json.dumps(found)))
        if message["late"]:
            found["error"] = ["Timeout", message["late"]]
        elif "error" in message:
            error = error_of(message["error"])
            found["error"] = [type(error).__name__, str(error)]
        return found

    def setup(self, step: dict[str, Any]) -> dict[str, Any]:
        """Run one of the exercise's own cells here, for the checks."""
        known = set(self.names)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(_code(step, "source"), self.names)
        for name in self.names.keys() - known:
            if isinstance(self.names[name], FunctionType):
                self.line.own[id(self.names[name])] = name
        return {}

    def check(self, step: dict[str, Any]) -> dict[str, Any]:
        """Run a check; it counts only if it comes to its end."""
        self.line.watch, self.line.flags = step["watch"], []
        os.environ["FMBOOK_SEED"] = seed_of(self.job["seed"], step["id"])
        said = io.StringIO()
        result: dict[str, Any] = {}
        signal.setitimer(signal.ITIMER_PROF, self.patience, 1.0)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                if step["tier"] == "in-process":
                    self.in_process(step)
                    result["score"] = None
                else:
                    result["score"] = self.execute(step)
        except Ended:
            raise
        except Stuck:
            self.patience = max(0.2, self.patience / 4)
            result["error"] = ["Timeout", "the check does not come to an end on this answer"]
        except BaseException as error:
            result["error"] = [type(error).__name__, str(error)[:TEXT]]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        result["tier"] = step["tier"]
        return result | {"flags": list(self.line.flags), "printed": said.getvalue()[:TEXT]}

    def lend(self, used: list[str]) -> None:
        """Bind what a check uses of the student's names; what is not there is not defined."""
        for name in used:
            self.names.pop(name, None)
            reference = Reference(name=name)
            if name in self.job["functions"]:
                self.names[name] = Answer(self.line, reference)
            else:
                with contextlib.suppress(NameError):
                    self.names[name] = self.line.get(reference)

    def execute(self, step: dict[str, Any]) -> float | None:
        """Run a check's cell; returns the number in which it ends (partial credit), or None.

        A number that the student's own names helped to make is no credit (`exercise` sees to it).
        """
        self.lend(step["uses"])
        exec(_code(step, "source"), self.names)
        if not step["tail"]:
            return None
        value = eval(_code(step, "tail"), self.names)
        return float(value) if type(value) in (int, float) else None

    def in_process(self, step: dict[str, Any]) -> None:
        seed = os.environ["FMBOOK_SEED"]
        question = {"op": "check", "source": step["source"], "seed": seed, "watch": step["watch"]}
        message, _ = self.line.ask(question)
        if "error" in message:
            raise error_of(message["error"])
        if message.get("ran") is not True or message["late"]:
            raise TimeoutError("it did not come to its end")


def _code(step: dict[str, Any], part: str) -> CodeType:
    """A step's code, as the worker that sent it has compiled it."""
    return marshal.loads(base64.b64decode(step["code"][part]))  # type: ignore[no-any-return]


def seed_of(secret: str, check: str) -> str:
    """The seed of one check: a number that nobody can guess who lacks the secret."""
    return str(int(hashlib.sha256(f"{secret}/{check}".encode()).hexdigest()[:15], 16))
