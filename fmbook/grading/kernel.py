"""The few Linux interfaces that Python lacks: namespaces, mounts, capabilities, prctl.

All go through the C library, which knows each machine's call numbers; only mount_setattr is called
by its number, one of those that are the same everywhere. Left out: deciding when to use them.
"""

import ctypes
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

__all__ = [
    "call",
    "drop_capabilities",
    "map_user",
    "no_new_privileges",
    "other_room",
    "prctl",
    "unshare",
]

NAMESPACES = {"mount": 0x20000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000}
NAMESPACES["network"] = 0x40000000
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 4, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION, CAP_SETPCAP = 0x20080522, 8
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 1 << 18
MNT_DETACH, AT_FDCWD, AT_RECURSIVE = 2, -100, 0x8000
MOUNT_SETATTR = 442  # the same on every machine, as all calls from 424 on
ATTR_READ_ONLY, ATTR_NOSUID = 1, 2
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
NOBODY = 65534
FILES = 4096  # at most so many in a private folder

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """What a function of the C library answers.

    Raises: OSError if it answers -1.
    """
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer = int(getattr(libc, name)(*wide))
    if answer == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return answer


def prctl(option: int, value: int, more: int = 0) -> None:
    """Set one property of this process. Raises: OSError."""
    call("prctl", option, value, more, 0, 0)


def no_new_privileges() -> None:
    """Nothing executed from now on gains rights, whatever its file's mode says."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def unshare(kind: str) -> None:
    """Leave the namespace of this kind for a new one. Raises: OSError where that is forbidden."""
    call("unshare", NAMESPACES[kind])


def map_user(user: int, group: int) -> None:
    """Be nobody inside the new user namespace, and the given user to the world outside."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} {group} 1")


def drop_capabilities() -> None:
    """Give up every capability of this process, and those that executing a file might bring."""
    if _may_set_capabilities():
        with suppress(OSError):  # there is no capability of this number
            for capability in range(64):
                prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("Ii", CAPABILITY_VERSION, 0))
    call("capset", header, ctypes.create_string_buffer(bytes(24)))


def _may_set_capabilities() -> bool:
    held = ctypes.create_string_buffer(24)  # low and high words: effective, permitted, inheritable
    call("capget", ctypes.create_string_buffer(struct.pack("Ii", CAPABILITY_VERSION, 0)), held)
    return bool(struct.unpack("6I", held)[0] >> CAP_SETPCAP & 1)


def other_room(work: str, readable: Sequence[str], size: int) -> None:
    """Move into a file system that holds only `readable`, which nobody can write to, and `work`.

    `work` starts empty, holds at most `size` bytes, and is gone with the last process in this mount
    namespace. There is no /proc, and nothing else of /dev than what is harmless.
    Raises: OSError, before Linux 5.12 too.
    """
    os.umask(0o022)
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    call("mount", b"room", work.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755")
    for path in _outermost([*readable, *DEVICES]):
        _bind(path, work + path)
    os.makedirs(work + work)
    fields = struct.pack("4Q", ATTR_READ_ONLY | ATTR_NOSUID, 0, 0, 0)
    read_only = ctypes.create_string_buffer(fields, len(fields))
    call("syscall", MOUNT_SETATTR, AT_FDCWD, work.encode(), AT_RECURSIVE, read_only, len(fields))
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    options = f"mode=700,size={size},nr_inodes={FILES}".encode()
    call("mount", b"work", (work + work).encode(), b"tmpfs", flags, options)
    os.chdir(work)
    call("pivot_root", b".", b".")
    call("umount2", b".", MNT_DETACH)
    os.chdir(work)


def _outermost(paths: Sequence[str]) -> list[str]:
    """Those paths that exist and do not lie in another one."""
    found: list[str] = []
    for path in sorted({os.path.abspath(path) for path in paths if os.path.exists(path)}):
        if not any(path.startswith(f"{outer}/") for outer in found):
            found.append(path)
    return found


def _bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT))
    call("mount", source.encode(), target.encode(), None, MS_BIND | MS_REC, None)
