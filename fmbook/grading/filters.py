"""The two filters a process puts on itself for good: Landlock for files, seccomp for system calls.

Landlock is spoken to directly: three calls with the same numbers on every machine, and no package
knows more of it than files. The seccomp filter is compiled by libseccomp, for x86-64 and arm64
alike. Left out: what a file system or a namespace can hide by not having it.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from fmbook.grading.kernel import call, no_new_privileges

__all__ = ["forbid_calls", "landlock", "program"]

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION, PATH_BENEATH = 1, 1
FILES = {1: 1 << 13, 2: 1 << 14, 3: 1 << 15, 5: 1 << 16}  # rights known from this version on
WRITE, READ, LIST, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
OF_FILES = WRITE | READ | TRUNCATE
SPECIAL = 1 << 0 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 15  # execute, devices, sockets, fifos
TCP, SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals
WRITABLE_DEVICES = ("/dev/null", "/dev/zero")
READABLE_DEVICES = ("/dev/random", "/dev/urandom")  # torch reads from these when it is imported

PR_SET_SECCOMP, FILTER_MODE = 22, 2
ALLOWED = """
access arch_prctl alarm brk capget chdir clock_getres clock_gettime clock_nanosleep close
close_range copy_file_range dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait
epoll_pwait2 epoll_wait eventfd eventfd2 exit exit_group faccessat faccessat2 fadvise64 fallocate
fchdir fdatasync flock fstat fstatfs fsync ftruncate futex futex_waitv getcpu getcwd getdents
getdents64 getegid geteuid getgid getgroups getitimer get_mempolicy getpeername getpgid getpgrp
getpid getppid getpriority getrandom getresgid getresuid getrlimit get_robust_list getrusage
getsid getsockname getsockopt gettid gettimeofday getuid link linkat lseek lstat madvise mbind
membarrier mincore mkdir mkdirat mmap mprotect mremap msync munmap nanosleep newfstatat pause pipe
pipe2 poll ppoll pread64 preadv preadv2 pselect6 pwrite64 pwritev pwritev2 read readahead readlink
readlinkat readv recvfrom recvmsg rename renameat renameat2 restart_syscall rmdir rseq
rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait
sched_getaffinity sched_get_priority_max sched_get_priority_min sched_getparam sched_getscheduler
sched_yield select sendfile setitimer set_robust_list set_tid_address shutdown sigaltstack
signalfd signalfd4 stat statfs statx symlink symlinkat sysinfo time timer_create timer_delete
timerfd_create timerfd_gettime timerfd_settime timer_getoverrun timer_gettime timer_settime times
truncate umask uname unlink unlinkat utime utimensat utimes wait4 waitid write writev
"""
FORBIDDEN = """
accept accept4 bind bpf chown chroot clock_settime connect execve execveat fchown fchownat fork
keyctl lchown listen memfd_create mount mknod mknodat ptrace process_vm_readv process_vm_writev
sendmmsg sendmsg setpriority setsockopt shmget socket umount2 unshare vfork
"""  # answered by "not permitted"; a call in neither list is answered by "unknown"
ATTRIBUTES = """
fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr
lsetxattr removexattr setxattr
"""  # "not supported", which shutil takes for an answer
THREAD, NEW_NAMESPACES = 0x10000, 0x7E020000
SETUID_BITS = 0o6000
MODES = {
    "open": 2,
    "creat": 1,
    "openat": 3,
    "chmod": 1,
    "fchmod": 1,
    "fchmodat": 2,
}  # which argument
OWN_SIGNALS = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
NAMES = (15, 16, 0x53564D41)  # prctl: a thread's name set and read, a name for memory
LOCKS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030)  # fcntl: copies, flags, locks; no signals
TERMINAL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # ioctl: questions, (non)blocking
ANYONE = b"\xfe\xed\xbe\x7f"
LOCAL, STREAM, KIND = 1, 1, 0xF


def landlock(readable: Iterable[str], writable: Iterable[str]) -> str:
    """Allow reading below some paths and all but special files below others; returns the version.

    Denies everything else of the file system, TCP (from version 4), and signals and abstract
    sockets to anything outside (from version 6). Raises: OSError where the kernel lacks it.
    """
    version = call("syscall", CREATE_RULESET, None, 0, ASK_VERSION)
    rights = max(bits for since, bits in FILES.items() if since <= version) - 1
    fields = struct.pack("3Q", rights, TCP, SCOPES)[
        : 8 if version < 4 else 16 if version < 6 else 24
    ]
    handle = call("syscall", CREATE_RULESET, ctypes.create_string_buffer(fields), len(fields), 0)
    for path in readable:
        _allow(handle, path, rights & (READ | LIST))
    for path in writable:
        _allow(handle, path, rights & ~SPECIAL)
    for path in READABLE_DEVICES:
        _allow(handle, path, rights & READ)
    for path in WRITABLE_DEVICES:
        _allow(handle, path, rights & (READ | WRITE))
    no_new_privileges()
    call("syscall", RESTRICT_SELF, handle, 0)
    os.close(handle)
    lacks = ["TCP"] * (version < 4) + ["signals and abstract sockets"] * (version < 6)
    return f"version {version}" + f", not for {' and '.join(lacks)}" * bool(lacks)


def _allow(handle: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # nobody could read it anyway
        return
    if not os.path.isdir(path):
        rights &= OF_FILES
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place))
    call("syscall", ADD_RULE, handle, PATH_BENEATH, rule, 0)
    os.close(place)


def forbid_calls(process: int) -> str:
    """Install the seccomp filter for the process of this number. Raises: OSError, RuntimeError."""
    own = struct.pack("I", process)
    code = ctypes.create_string_buffer(program().replace(ANYONE, own), len(program()))
    no_new_privileges()
    fields = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(code))
    call("prctl", PR_SET_SECCOMP, FILTER_MODE, ctypes.create_string_buffer(fields), 0, 0)
    return ""


@cache
def program(machine: int = 0) -> bytes:
    """The seccomp filter as BPF, for this machine or another that libseccomp knows.

    It takes milliseconds to compile and is kept; ANYONE in it stands for the process's own number.

    No new process, no program, no socket but pairs, no signal to others, nothing of the kernel that
    a notebook does not need; 32-bit calls kill. Raises: RuntimeError without libseccomp.
    """
    import pyseccomp as lib

    rules = lib.SyscallFilter(lib.ERRNO(errno.ENOSYS))
    rules.set_attr(lib.Attr.ACT_BADARCH, lib.KILL_PROCESS)
    if machine:
        rules.remove_arch(lib.Arch.NATIVE)
        rules.add_arch(machine)

    def rule(action: int, name: str, *conditions: object) -> None:
        number = lib.resolve_syscall(lib.Arch.NATIVE, name)
        if number != -1:  # which says that this libseccomp is older than the call
            rules.add_rule(action, number, *conditions)

    for name in ALLOWED.split():
        rule(lib.ALLOW, name)
    for name in FORBIDDEN.split():
        rule(lib.ERRNO(errno.EPERM), name)
    for name in ATTRIBUTES.split():
        rule(lib.ERRNO(errno.EOPNOTSUPP), name)
    _allow_by_argument(lib, rule)
    with open(os.memfd_create("filter"), "r+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _allow_by_argument(lib: Any, rule: Callable[..., None]) -> None:
    """Calls that are harmless with some arguments only; with others they are "unknown"."""

    def equal(place: int, value: int, mask: int = 0xFFFFFFFF) -> object:
        return lib.Arg(place, lib.MASKED_EQ, mask, value)

    rule(lib.ALLOW, "clone", equal(0, THREAD, THREAD | NEW_NAMESPACES))
    rule(lib.ALLOW, "socketpair", equal(0, LOCAL), equal(1, STREAM, KIND))
    rule(lib.ALLOW, "sendto", lib.Arg(4, lib.EQ, 0))  # no address
    for name, place in MODES.items():
        rule(lib.ALLOW, name, equal(place, 0, SETUID_BITS))
    anyone = struct.unpack("I", ANYONE)[0]
    for name in OWN_SIGNALS:
        rule(lib.ALLOW, name, equal(0, anyone))
    for own in (0, anyone):
        rule(lib.ALLOW, "prlimit64", equal(0, own))
    rule(lib.ALLOW, "sched_setaffinity", equal(0, 0))
    for place, name, values in ((0, "prctl", NAMES), (1, "fcntl", LOCKS), (1, "ioctl", TERMINAL)):
        for value in values:
            rule(lib.ALLOW, name, equal(place, value))
