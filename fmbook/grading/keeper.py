"""The process that stays outside a student's walls: it waits, kills, and passes the end on.

It is the student's only parent, reads nothing that the student writes, and ends with it. Left out:
limits other than the clock.
"""

import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from fmbook.grading.kernel import PR_SET_DUMPABLE, prctl

__all__ = ["leave"]

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
NEWS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}


def leave(wall: float) -> None:
    """Fork; the child returns, its parent becomes the keeper and never does.

    The keeper passes SIGINT on. It gets SIGTERM when its own parent dies and then kills the child,
    which dies at once if the keeper is killed.
    """
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what the child leaves behind becomes the keeper's
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    watched, held = os.pipe()
    child = os.fork()
    if child:
        try:
            prctl(PR_SET_DUMPABLE, 0)
            os.closerange(0, held)
            os.closerange(held + 1, 1 << 20)
            _keep(child, time.monotonic() + wall)
        finally:  # whatever goes wrong, it must not go on as the student would
            os._exit(1)
    os.close(held)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([watched], [], [], 0)[0]:  # closed: the keeper died before the line above
        os._exit(1)
    os.close(watched)


def _keep(child: int, deadline: float) -> NoReturn:
    status = None
    while status is None:
        news = signal.sigtimedwait(NEWS, max(0.0, deadline - time.monotonic()))
        if news is None or news.si_signo == signal.SIGTERM:
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        elif news.si_signo == signal.SIGINT:
            os.kill(child, signal.SIGINT)
        else:
            status = _reap(child)
    _kill_the_rest()
    _end_like(status)


def _reap(child: int) -> int | None:
    """Bury who is dead; the status of the child if that is among them."""
    while True:
        dead, status = os.waitpid(-1, os.WNOHANG)
        if dead in (0, child):
            return status if dead else None


def _kill_the_rest() -> None:
    """Kill everything that still descends from the child, which is all that this process has."""
    family = Path("/proc/thread-self/children")
    with suppress(OSError):  # there is no more child, or no such file
        while True:
            for process in family.read_text().split():
                os.kill(int(process), signal.SIGKILL)
            os.waitpid(-1, 0)


def _end_like(status: int) -> NoReturn:
    """Die as the child did."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)
