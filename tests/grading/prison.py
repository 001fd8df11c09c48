"""Runs an attack behind chosen layers, as root or as an ordinary user, and says how it went.

The attack is a function of no arguments; what it returns must fit into JSON.
"""

import contextlib
import faulthandler
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from fmbook.grading import cgroups, kernel, sandbox
from fmbook.grading.sandbox import Limits

NOBODY = 65534
ROOT = os.geteuid() == 0
USERS = [0, NOBODY] if ROOT else [os.geteuid()]  # who grades; CI is root and tries both
SMALL = Limits(memory=512 << 20, cpu=20, wall=30)


@dataclass
class Outcome:
    """What an attack returned, or the name of its error; how its process ended; what held."""

    value: Any = None
    error: str = ""
    status: int | None = None  # exit code, or minus the signal; None: had to be killed
    report: dict[str, str] = field(default_factory=dict)


def become(user: int) -> None:
    """Give up root for good, in a process of its own."""
    if os.geteuid() != user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


@contextlib.contextmanager
def folder(user: int) -> Iterator[str]:
    """A work folder that belongs to a user."""
    made = tempfile.mkdtemp(prefix="prison-")
    os.chown(made, user, -1)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextlib.contextmanager
def process(user: int, work: Callable[[], Any] = signal.pause) -> Iterator[int]:
    """Another process of the same user, which has nothing to do with the student."""
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            become(user)
            work()
        finally:
            os._exit(0)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


def alive(pid: int) -> bool:
    """Whether a process lives; zombies do not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _live(attack: Callable[[], Any], channel: int, enter: Callable[[], dict[str, str]]) -> NoReturn:
    answer: dict[str, Any] = {}
    faulthandler.disable()
    try:
        answer["report"] = enter()
        os.write(channel, json.dumps(answer).encode() + b"\n")
        answer["value"] = attack()
    except BaseException as error:
        answer["error"] = type(error).__name__
        answer["value"] = str(error)
    os.write(channel, json.dumps(answer).encode() + b"\n")
    os._exit(7)


def start(
    attack: Callable[[], Any],
    layers: frozenset[str] | set[str],
    *,
    work: str,
    user: int = os.geteuid(),
    limits: Limits = SMALL,
    readable: tuple[str, ...] = ("/usr",),
    unsafe: bool = True,
) -> tuple[int, int]:
    """Begin an attack; returns the keeper's process number and where the answer will come."""
    out, into = os.pipe()
    child = os.fork()
    if child:
        os.close(into)
        return child, out
    os.close(out)
    try:
        become(user)
    finally:
        _live(
            attack,
            into,
            lambda: sandbox.enter(
                work, readable=readable, limits=limits, layers=frozenset(layers), unsafe=unsafe
            ),
        )


def finish(child: int, out: int, seconds: float = 60.0) -> Outcome:
    """Wait for the end of an attack, and kill it if it does not come."""
    outcome = Outcome()
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    if eventually(lambda: os.waitid(os.P_PID, child, look) is not None, seconds):
        outcome.status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    else:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
    with open(out, "rb") as answers:
        for line in answers:
            for name, value in json.loads(line).items():
                setattr(outcome, name, value)
    cgroups.sweep()
    return outcome


def attacked(
    attack: Callable[[], Any], layers: frozenset[str] | set[str], **options: Any
) -> Outcome:
    """Run an attack to its end."""
    with folder(options.get("user", os.geteuid())) as work:
        return finish(*start(attack, layers, work=work, **options))
