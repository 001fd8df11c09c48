"""Why a layer of the sandbox is missing on this machine, and what its owner can do about it."""

import errno
from pathlib import Path

__all__ = ["explain"]

SYSCTL = Path("/proc/sys")
NEEDS_USER = ("pid namespace", "network namespace", "ipc namespace", "mount namespace")


def explain(layer: str, error: BaseException) -> str:
    """One sentence or two for people: what failed, and the remedy where one is known."""
    said = str(error) or type(error).__name__
    remedy = _remedy(layer, error)
    return f"{said}; {remedy}" if remedy else said


def _remedy(layer: str, error: BaseException) -> str:
    code = getattr(error, "errno", None)
    if layer == "seccomp":
        return _seccomp(error)
    if layer == "landlock":
        return _landlock(code)
    if layer == "mount namespace" and code in (errno.ENOSYS, errno.EINVAL):
        return "needs Linux 5.12 or newer"
    if layer == "user namespace" or layer in NEEDS_USER:
        return _namespaces()
    if layer == "cgroup":
        return "start the grader as root, or by `systemd-run --user --scope -p Delegate=yes`"
    if layer == "bubblewrap":
        return _namespaces() if code else "install it: apt install bubblewrap"
    return ""


def _seccomp(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return "pip install pyseccomp"
    if isinstance(error, RuntimeError):
        return "install the library: apt install libseccomp2"
    return "the kernel needs CONFIG_SECCOMP_FILTER"


def _landlock(code: int | None) -> str:
    if code == errno.EOPNOTSUPP:
        return "it is built in but off: add landlock to the kernel's lsm= parameter"
    if code == errno.EPERM:
        return "a container's own filter forbids it: a newer Docker or Podman allows it"
    return "needs Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK"


def _namespaces() -> str:
    """Which of the known switches forbids user namespaces here."""
    if _switch("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor forbids it, as Ubuntu does from 23.10 on: "
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if _switch("kernel/unprivileged_userns_clone") == "0":
        return "sudo sysctl kernel.unprivileged_userns_clone=1"
    if _switch("user/max_user_namespaces") == "0":
        return "sudo sysctl user.max_user_namespaces=10000"
    return (
        "in a container, start that with --security-opt seccomp=unconfined "
        "(and --security-opt apparmor=unconfined)"
    )


def _switch(name: str) -> str:
    try:
        return (SYSCTL / name).read_text().strip()
    except OSError:
        return ""
