"""Runs jobs in this machine's nursery: a function from bytes to bytes that threads may call.

No gradebook, no solutions, no course folder. Left out: where jobs come from.
"""

import base64
import contextlib
import json
import marshal
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fmbook
from fmbook.grading import job as jobs
from fmbook.grading import sandbox
from fmbook.grading.wire import BrokenWire, Gone, Late, receive, send

__all__ = ["Fault", "Worker"]

DEATHS = 40  # processes that one submission may use up, as long as there is time
NURSERIES = 4  # that may die under one submission before it is blamed
STEPS = 10_000  # of the exercises' own that are kept compiled
SPARE = 6.0  # seconds beyond a job's own until its referee is given up


class NurseryDied(Exception):
    """The process from which all others are forked has ended, and so have those."""


class Fault(RuntimeError):
    """The machine, not a submission, is at fault: nothing was graded."""


@dataclass
class _Tally:
    """What the attempts at one job gave: cells that ended them, and checks as they were first."""

    checks: set[str]
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    judged: dict[str, dict[str, Any]] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def take(self, steps: list[dict[str, Any]]) -> bool:
        """Add an attempt; whether a cell ended it, so that another may bring more."""
        self.steps = steps
        killer = next((s for s in steps if "ended" in s), None)
        good = {s["id"]: s for s in steps if s["id"] in self.checks and s is not killer}
        self.judged = good | self.judged
        if killer is None:
            return False
        if killer["died"] and killer["id"] not in self.suspects:
            self.suspects.add(killer["id"])  # somebody else may have killed it: once more
        else:
            self.ended[killer["id"]] = {"id": killer["id"], "ended": killer["ended"]}
        return True

    def result(self) -> bytes:
        found = {s["id"]: s for s in self.steps} | self.ended | self.judged
        poison = bool(self.faults) and not self.steps
        return json.dumps({"steps": found, "faults": self.faults, "poison": poison}).encode()


@dataclass(frozen=True)
class _Step:
    id: str
    kind: str
    line: str  # as the referee gets it


class Worker:
    """Owns a nursery; `grade` may be called from several threads at once."""

    def __init__(
        self,
        preload: Sequence[str],
        *,
        watch: Sequence[str] = (),
        memory: int = 2 << 30,
        readable: Sequence[Path] = (),
        allow_unsafe: bool = False,
        layers: frozenset[str] = sandbox.ALL,
    ) -> None:
        self.settings: dict[str, Any] = {
            "preload": list(preload),
            "watch": list(watch),  # calls that exercises forbid
            "limits": {"memory": memory},
            "layers": sorted(layers),
            "readable": [*sandbox.library(), *map(str, _data()), *map(str, readable)],
            "unsafe": allow_unsafe,
        }
        self.layers: dict[str, str] = {}  # what walls students in, known once the nursery runs
        self.cpu = 0.0  # seconds that ended nurseries took, with all that they forked
        self.known: dict[str, _Step] = {}
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def grade(self, job: bytes) -> bytes:
        """Run a job; a cell that ends its process is left out and the rest is run again.

        Raises:
            Fault: the nursery cannot be started here.
        """
        head, lines = jobs.parts(job)
        steps = [_step(self.known, line) for line in lines]
        blobs = [base64.b64decode(data) for data in head["files"].values()]
        head["files"] = list(head["files"])
        until = time.monotonic() + head["total_seconds"]
        tally = _Tally({s.id for s in steps if s.kind == "check"})
        deaths = 0
        while len(tally.ended) < DEATHS and len(tally.faults) < 2:
            left = [s.line for s in steps if s.id not in tally.ended]
            rest = {"total_seconds": max(1.0, until - time.monotonic()), "hurry": bool(tally.ended)}
            try:
                again = tally.take(self._attempt(head | rest, left, blobs))
            except NurseryDied as error:  # with all that it had forked, whoever was to blame
                deaths += 1
                if deaths == NURSERIES:
                    tally.faults.append(str(error))
                    break
                again = True
            except (Gone, Late, BrokenWire) as error:
                tally.faults.append(f"{type(error).__name__}: {error}")
                again = True
            if not again or until <= time.monotonic():
                break
        return tally.result()

    def _attempt(
        self, head: dict[str, Any], steps: list[str], blobs: list[bytes]
    ) -> list[dict[str, Any]]:
        """One referee's findings. Raises: NurseryDied; Gone, Late, BrokenWire of the referee."""
        ours, theirs = socket.socketpair()
        with self.lock:
            control = self._nursery()
        try:
            with ours, theirs:
                socket.send_fds(control, [b"+"], [theirs.fileno()])
                theirs.close()
                ours.settimeout(60)
                send(ours, {}, [jobs.written(jobs.line(head), steps), *blobs])
                _, (said,) = receive(ours, time.monotonic() + head["total_seconds"] + SPARE)
                return list(json.loads(said))
        except Late:
            raise
        except OSError as error:
            if self._is_dead(control):
                raise NurseryDied(f"the nursery died: {error}") from None
            raise Gone(str(error)) from None

    def _is_dead(self, control: socket.socket) -> bool:
        """Whether the nursery behind a socket has ended; if so it is cleared away."""
        with self.lock:
            if self.control is not control:
                return True
            dead = bool(select.select([control], [], [], 1.0)[0])  # it speaks only when it ends
            if dead:
                self._stop()
            return dead

    def _nursery(self) -> socket.socket:
        """The control socket of a nursery that lives; started if there is none."""
        if self.control is not None and self.process is not None and self.process.poll() is None:
            return self.control
        self._stop()
        ours, theirs = socket.socketpair()
        settings = json.dumps(self.settings | {"control": theirs.fileno()})
        command = [sys.executable, "-m", "fmbook.grading.nursery", settings]
        readable = self.settings["readable"]
        walled = sandbox.outer_wall(command, readable=readable, environment=_environment())
        with theirs, tempfile.TemporaryFile() as log:
            self.process = subprocess.Popen(
                walled,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            theirs.close()
            try:
                self.layers = receive(ours, time.monotonic() + 120)[0]["layers"]
            except (Gone, Late):
                self._stop()
                log.seek(0)
                said = log.read()[-2000:].decode("utf8", "replace")
                raise Fault(f"the process that runs submissions does not start:\n{said}") from None
        if not self.settings["unsafe"]:
            sandbox.demand_guards(self.layers)
        ours.settimeout(None)
        self.control = ours
        return ours

    def _stop(self) -> None:
        if self.control is not None:
            with self.control, contextlib.suppress(OSError, BrokenWire):
                self.control.shutdown(socket.SHUT_WR)
                self.cpu += receive(self.control, time.monotonic() + 5)[0]["cpu"]
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            self.process.kill()
            self.process.wait()
        self.control = self.process = None

    def close(self) -> None:
        """End the nursery and whatever it still runs."""
        with self.lock:
            self._stop()


def _step(known: dict[str, _Step], line: str) -> _Step:
    """A step, one of the exercise's own with its code: compiled once, not once a submission."""
    found = known.get(line)
    if found is None:
        step = json.loads(line)
        if step["kind"] not in ("check", "setup"):
            return _Step(step["id"], step["kind"], line)
        if len(known) >= STEPS:
            known.clear()
        modes = {"source": "exec", "tail": "eval"}
        step["code"] = {p: _code(step[p], step["id"], m) for p, m in modes.items() if p in step}
        found = known[line] = _Step(step["id"], step["kind"], jobs.line(step))
    return found


def _code(source: str, name: str, mode: str) -> str:
    try:
        code = compile(source or "None", name, mode)
    except SyntaxError as error:  # it parses, but breaks another rule
        code = compile(f"raise SyntaxError({str(error)!r})", name, "exec")
    return base64.b64encode(marshal.dumps(code)).decode()


def _data() -> list[Path]:
    """The book's data and matplotlib's list of fonts, which a student's process may read."""
    from fmbook import archives, data

    folders = (archives.folder(), data.cache_folder())
    return [folder.resolve() for folder in folders if folder.exists()]


def _environment() -> dict[str, str]:
    from fmbook import archives, data

    given = {
        **sandbox.ENVIRONMENT,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "OPENBLAS_NUM_THREADS": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": str(data.cache_folder() / "matplotlib"),
        "FMBOOK_DATA": str(archives.folder()),
        "FMBOOK_CACHE": str(data.cache_folder()),
        "PYTHONPATH": str(Path(fmbook.__file__).parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    kept = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "LD_LIBRARY_PATH")
    return given | {name: os.environ[name] for name in kept if name in os.environ}
