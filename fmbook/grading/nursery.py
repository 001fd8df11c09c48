"""The process from which referees and students are forked: everything slow is imported here once.

It is single-threaded and holds no check, solution or submission; what it forks inherits nothing
that is worth stealing. It ends when its coordinator does. Left out: judging, which referees do.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from fmbook.grading import cgroups, policy, pristine, sandbox
from fmbook.grading.wire import Gone, receive, send

__all__ = ["main"]

PDEATHSIG = 1


def main() -> None:
    """`python -m fmbook.grading.nursery SETTINGS`: serve the control socket named in them."""
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=settings["control"])
    for name in [*settings["preload"], "fmbook.grading.referee", "numpy.random"]:
        with contextlib.suppress(ImportError):  # a student's cell will say so
            importlib.import_module(name)
    policy.prepare(settings["watch"])
    pristine.remember()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    from fmbook.grading.student import make_shell

    shell = make_shell()
    sandbox.prepare()
    gc.collect()
    gc.freeze()
    Nursery(control, shell, settings).serve()


class Nursery:
    """Forks a referee with its student for each channel that the coordinator sends."""

    def __init__(self, control: socket.socket, shell: Any, settings: dict[str, Any]) -> None:
        self.control, self.shell, self.settings = control, shell, settings
        self.referees: dict[int, list[Any]] = {}  # to its student (0: dead) and work folder

    def serve(self) -> None:
        wake, woken = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        send(self.control, {"layers": self.trial()})
        while True:
            watched: list[Any] = [self.control, wake]
            ready = select.select(watched, [], [])[0]
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
                self.reap()
            if self.control in ready:
                data, fds, *_ = socket.recv_fds(self.control, 1, 1)
                if not data:
                    self.end()
                self.fork_pair(socket.socket(fileno=fds[0]))

    def trial(self) -> dict[str, str]:
        """What walls a student in here, tried on a child that does nothing else."""
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            self.run(lambda: send(theirs, self.enter(tempfile.mkdtemp(prefix="work-"))))
        theirs.close()
        try:
            return receive(ours, time.monotonic() + 60)[0]
        except Gone:
            return {"sandbox": "missing: a child could not enter it"}
        finally:
            os.waitpid(child, 0)

    def enter(self, work: str) -> dict[str, str]:
        return sandbox.enter(
            work,
            readable=self.settings["readable"],
            limits=sandbox.Limits(**self.settings["limits"]),
            layers=frozenset(self.settings["layers"]),
            unsafe=self.settings["unsafe"],
        )

    def fork_pair(self, job: socket.socket) -> None:
        """Fork a student into the sandbox and a referee beside it, joined by a channel."""
        ours, theirs = socket.socketpair()
        work = tempfile.mkdtemp(prefix="work-")
        student = os.fork()
        if student == 0:
            self.run(lambda: self.student(theirs, work))
        pidfd = os.pidfd_open(student)
        referee = os.fork()
        if referee == 0:
            theirs.close()  # else nobody would notice the student's death
            self.run(lambda: self.referee(job, ours, pidfd))
        self.referees[referee] = [student, work]
        for end in (ours, theirs, job):
            end.close()
        os.close(pidfd)

    def run(self, work: Callable[[], None]) -> None:
        """The life of a forked process: it never returns into the nursery's loop."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            work()
            code = 0
        finally:
            os._exit(code)

    def student(self, channel: socket.socket, work: str) -> None:
        from fmbook.grading.student import Student

        os.dup2(channel.detach(), 3)
        os.closerange(4, 65536)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        self.enter(work)
        Student(self.shell, socket.socket(fileno=3)).serve()

    def referee(self, job: socket.socket, channel: socket.socket, pidfd: int) -> None:
        from fmbook.grading.referee import judge

        self.control.close()
        gc.disable()  # its life is short
        judge(job, channel, pidfd)

    def reap(self) -> None:
        """Bury the dead; a referee takes its student with it, and the student's files."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.referees:
                self.bury(*self.referees.pop(pid))
                cgroups.sweep()
            else:
                for entry in self.referees.values():
                    entry[0] = 0 if entry[0] == pid else entry[0]

    def end(self) -> None:
        """Kill who is still there, say what all of it cost, and go."""
        for referee, (student, work) in self.referees.items():
            os.kill(referee, signal.SIGKILL)
            self.bury(student, work)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        spent = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        with contextlib.suppress(Gone):
            send(self.control, {"cpu": round(sum(s.ru_utime + s.ru_stime for s in spent), 3)})
        os._exit(0)  # nothing here is worth tearing down

    def bury(self, student: int, work: str) -> None:
        """Kill a student that still lives (0: it does not) and remove its files."""
        if student:
            os.kill(student, signal.SIGKILL)
        with contextlib.suppress(RecursionError):  # behind the walls it is empty anyway
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
