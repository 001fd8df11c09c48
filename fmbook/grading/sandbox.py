"""Walls around a student's process: an outer one by bubblewrap, inner ones for each child.

No single layer is trusted: files, network, other processes and resources are each guarded at least
twice, each layer is tried on its own, and what a machine lacks is said in words. Left out: how to
talk to what runs inside.
"""

import functools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fmbook.grading import advice, cgroups, filters, keeper, kernel

__all__ = [
    "ALL",
    "Limits",
    "Unsafe",
    "demand_guards",
    "enter",
    "layers",
    "library",
    "outer_wall",
    "prepare",
]

ALL = frozenset(
    (
        "cgroup",
        "own user",
        "user namespace",
        "pid namespace",
        "network namespace",
        "ipc namespace",
        "mount namespace",
        "rlimits",
        "no new privileges",
        "capabilities",
        "landlock",
        "seccomp",
    )
)
GUARDS = {  # what must be guarded, and the layers any one of which does
    "the grader's files": ("bubblewrap", "mount namespace", "landlock"),
    "the network": ("bubblewrap", "network namespace", "seccomp"),
}
OWN_USERS = 1_000_000_000  # a child's user is this plus its process number: nobody else's
KEPT_BY_ROOT = ("SETUID", "SETGID", "KILL", "CHOWN", "DAC_OVERRIDE", "SETFCAP")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime")
MACHINE = ("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")  # torch asks for these
WALL = "FMBOOK_WALL"  # set behind bubblewrap
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "MPLBACKEND": "agg",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
Report = dict[str, str]


class Unsafe(RuntimeError):
    """This machine offers no layer that keeps a student from the files or from the network."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one student may use: bytes, CPU-seconds, seconds by the clock, numbers of things.

    `memory` is what may come on top of what the process has at birth.
    """

    memory: int = 2 << 30
    cpu: int = 60
    wall: int = 600
    file_size: int = 64 << 20
    processes: int = 64
    files: int = 256

    def __post_init__(self) -> None:
        wrong = {name: value for name, value in vars(self).items() if value <= 0}
        if wrong:
            raise ValueError(f"limits must be positive, not {wrong}")


def enter(
    work: str,
    *,
    readable: Sequence[str],
    limits: Limits,
    layers: frozenset[str] = ALL,
    unsafe: bool = False,
) -> Report:
    """Wall a freshly forked, single-threaded process in; returns what holds, layer by layer.

    The caller goes on in a new process. The old one stays behind as its keeper: it ends as the new
    one ends, with its exit status or signal; it hands SIGINT on; at SIGTERM, at its parent's death
    or after `limits.wall` seconds it kills the new one with all that this has started. `work`
    becomes home and current folder, empty, and the only one that can be written to.
    Raises: Unsafe, if files or network stay open and `unsafe` does not allow it.
    """
    walls = _Walls(layers)
    if sys.platform == "linux":
        prepare()
        stays = _around(walls, work, readable, limits)
        keeper.leave(limits.wall)
        _within(walls, work, readable, limits, counted=stays)
    if not unsafe:
        demand_guards(walls.report)
    return walls.report


class _Walls:
    """Puts one layer after the other up and notes how that went."""

    def __init__(self, chosen: frozenset[str]) -> None:
        start = "off" if sys.platform == "linux" else "missing: needs Linux"
        self.report: Report = dict.fromkeys(sorted(ALL), start)
        self.report["bubblewrap"] = "active" if os.environ.get(WALL) else "off"
        self.chosen = chosen

    def holds(self, layer: str) -> bool:
        return self.report[layer].startswith("active")

    def attempt(self, layer: str, work: Callable[[], str | None]) -> None:
        if layer in self.chosen:
            try:
                detail = work()
                self.report[layer] = f"active ({detail})" if detail else "active"
            except (OSError, RuntimeError, ImportError) as error:
                self.report[layer] = f"missing: {advice.explain(layer, error)}"


def _around(walls: _Walls, work: str, readable: Sequence[str], limits: Limits) -> bool:
    """The layers that the keeper shares; returns whether the kernel counts the student's threads.

    It counts by user, apart for each user namespace from Linux 5.14 on, and never for root.
    """
    walls.attempt("cgroup", lambda: cgroups.join(limits.memory, limits.processes))
    walls.attempt("own user", lambda: _become_somebody(work, readable))
    user, group = os.geteuid(), os.getegid()
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    walls.attempt("user namespace", lambda: _new_user_namespace(user, group))
    walls.attempt("pid namespace", lambda: kernel.unshare("pid"))
    release = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    apart = user != 0 and release >= (5, 14) and walls.holds("user namespace")
    return walls.holds("own user") or apart


def _within(
    walls: _Walls, work: str, readable: Sequence[str], limits: Limits, *, counted: bool
) -> None:
    """The layers of the student alone, each of which makes the ones before it harder to leave."""
    walls.attempt("network namespace", lambda: kernel.unshare("network"))
    walls.attempt("ipc namespace", lambda: kernel.unshare("ipc"))
    size = _size()
    if walls.holds("user namespace") or "user namespace" not in walls.chosen:
        walls.attempt("mount namespace", lambda: _new_room(work, readable, limits.file_size))
    else:
        walls.report["mount namespace"] = "missing: needs the user namespace"
    _settle(work)
    walls.attempt("rlimits", lambda: _limit(limits, size, counted))
    walls.attempt("no new privileges", kernel.no_new_privileges)
    walls.attempt("capabilities", kernel.drop_capabilities)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    walls.attempt("landlock", lambda: filters.landlock(readable, [work]))
    walls.attempt("seccomp", lambda: filters.forbid_calls(os.getpid()))


def prepare() -> None:
    """Compile what `enter` would else compile in each child: for the nursery, before it forks."""
    with suppress(ImportError, OSError, RuntimeError):  # which the layer will report
        filters.program()


def demand_guards(report: Report) -> None:
    """Raises: Unsafe, if by this report nothing guards the files, or nothing the network."""
    for what, guards in GUARDS.items():
        if not any(report.get(guard, "").startswith("active") for guard in guards):
            found = "; ".join(f"{guard}: {report.get(guard, 'off')}" for guard in guards)
            raise Unsafe(f"Nothing here keeps a student's program from {what}. {found}")


def _become_somebody(work: str, readable: Sequence[str]) -> str | None:
    """As root, take a user number that nobody else has, and the work folder with it."""
    if os.geteuid() != 0:
        raise PermissionError("only root can give each student a user of its own")
    for path in map(Path, readable):
        for place in (path, *path.parents):
            if place.exists() and not place.stat().st_mode & 0o001 and place.is_dir():
                raise PermissionError(f"{place} may not be entered by other users")
    user = OWN_USERS + os.getpid()
    os.chown(work, user, user)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    return None


def _new_user_namespace(user: int, group: int) -> None:
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # after a change of user the maps are root's
    kernel.unshare("user")
    kernel.map_user(user, group)


def _new_room(work: str, readable: Sequence[str], size: int) -> None:
    with suppress(OSError):  # when memory runs out, the kernel should choose this process
        Path("/proc/self/oom_score_adj").write_text("1000")
    kernel.unshare("mount")
    kernel.other_room(work, readable, size)


def _settle(work: str) -> None:
    """Forget what the parent did with signals, and live in the work folder."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o077)
    os.chdir(work)
    os.environ.update(HOME=work, TMPDIR=work, USER="student")
    tempfile.tempdir = work


def _size() -> int:
    """The bytes of address space that this process has; most of it is shared with its parent."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _limit(limits: Limits, size: int, counted: bool) -> str | None:
    bounds = {
        resource.RLIMIT_AS: size + limits.memory,
        resource.RLIMIT_CPU: limits.cpu,
        resource.RLIMIT_FSIZE: limits.file_size,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if counted:
        bounds[resource.RLIMIT_NPROC] = limits.processes
    for kind, bound in bounds.items():
        ceiling = resource.getrlimit(kind)[1]
        bound = bound if ceiling == resource.RLIM_INFINITY else min(bound, ceiling)
        resource.setrlimit(kind, (bound, bound))
    return None if counted else "threads not limited: this needs a user of its own"


def library() -> tuple[str, ...]:
    """What Python, its packages and this book need to read, and a student may read."""
    here = Path(__file__).resolve().parent.parent
    pythons = (sys.prefix, sys.base_prefix, os.path.realpath(sys.prefix))
    places = [*SYSTEM, *MACHINE, *pythons, str(here)]
    return tuple(dict.fromkeys(place for place in places if os.path.exists(place)))


def outer_wall(
    command: Sequence[str],
    *,
    readable: Sequence[str],
    writable: Sequence[str] = (),
    environment: Mapping[str, str] = ENVIRONMENT,
) -> list[str]:
    """The command line that runs `command` behind bubblewrap where that works, else bare.

    Behind the wall there are `readable`, `writable`, an empty /tmp, no network and no other
    process. Either way it gets `environment` alone; descriptors passed to it stay open.
    """
    program = _bubblewrap()[0]
    if program is None:
        given = [f"{name}={value}" for name, value in environment.items()]
        return ["/usr/bin/env", "-i", *given, *command]
    return [program, *_bricks(readable, writable, {**environment, WALL: "1"}), *command]


def _bricks(
    readable: Sequence[str], writable: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """The arguments of bubblewrap."""
    options = ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    options += [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts")]
    if os.geteuid() == 0:  # what it needs to give each student a user, and to kill that one
        options += [word for name in KEPT_BY_ROOT for word in ("--cap-add", f"CAP_{name}")]
    for name, value in environment.items():
        options += ["--setenv", name, value]
    options += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/home"]
    changeable = [*writable, *cgroups.homes()]
    for place in [*sorted(readable), *changeable]:
        above = [str(parent) for parent in reversed(Path(place).parents)][1:]
        options += [word for parent in above for word in ("--dir", parent)]  # open to all users
        options += ["--bind-try" if place in changeable else "--ro-bind-try", place, place]
    return [*options, "--remount-ro", "/", "--chdir", "/tmp", "--"]


@functools.cache
def _bubblewrap() -> tuple[str | None, str]:
    """Where bubblewrap is, if it works here, and else why not."""
    program = shutil.which("bwrap")
    if program is None:
        return None, advice.explain("bubblewrap", RuntimeError("there is no bwrap"))
    trial = [program, *_bricks(library(), (), ENVIRONMENT), "/bin/true"]
    done = subprocess.run(trial, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode == 0:
        return program, ""
    return None, advice.explain("bubblewrap", OSError(1, done.stderr.strip()[-200:]))


def layers() -> Report:
    """What this machine offers, tried in a throwaway process: layer to "active" or "missing: why".

    Takes as long as starting Python.
    """
    command = [sys.executable, "-m", "fmbook.grading.sandbox"]
    wall = outer_wall(command, readable=library())
    done = subprocess.run(wall, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"the sandbox could not be tried: {done.stderr.strip()[-500:]}")
    report: Report = json.loads(done.stdout)
    program, why = _bubblewrap()
    return {"bubblewrap": "active" if program else f"missing: {why}"} | {
        name: said for name, said in report.items() if name != "bubblewrap"
    }


def main() -> None:
    """Print the report of a child of this process, as JSON: what `layers` reads."""
    out, into = os.pipe()
    with tempfile.TemporaryDirectory() as work:
        child = os.fork()
        if child == 0:
            report = enter(work, readable=library(), limits=Limits(), unsafe=True)
            os.write(into, json.dumps(report).encode())
            os._exit(0)
        os.close(into)
        with open(out) as answer:
            sys.stdout.write(answer.read())
        os.waitpid(child, 0)
    cgroups.sweep()


if __name__ == "__main__":
    main()
