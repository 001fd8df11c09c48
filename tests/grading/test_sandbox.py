"""Each layer of the sandbox stops attacks that go through without it; what is missing is said.

Where two layers stop the same attack, only one of them is on at a time.
"""

import ctypes
import encodings.idna  # noqa: F401  (behind the walls an ordinary user could not import it)
import errno
import json
import mmap
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fmbook.grading import advice, cgroups, filters, kernel, sandbox
from fmbook.grading.sandbox import ALL, Limits, Unsafe
from tests.grading.prison import (
    NOBODY,
    ROOT,
    SMALL,
    USERS,
    Outcome,
    alive,
    attacked,
    eventually,
    finish,
    folder,
    process,
    start,
)

USER = "user namespace"
NAMESPACES = frozenset(layer for layer in ALL if layer.endswith("namespace"))
libc = ctypes.CDLL(None, use_errno=True)
as_root = pytest.mark.skipif(not ROOT, reason="only root can do this")


@pytest.fixture(scope="session", autouse=True)
def prepared() -> None:
    sandbox.prepare()


@pytest.fixture(params=USERS, ids=lambda user: "root" if user == 0 else "ordinary")
def user(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def course(user: int) -> Iterator[Path]:
    """A folder of the grader's with something worth stealing, open to all."""
    with folder(user) as name:
        path = Path(name)
        path.chmod(0o777)
        (path / "solution").write_text("42")
        (path / "solution").chmod(0o666)
        yield path


def only(attack: Callable[[], Any], layer: str, *needed: str, **options: Any) -> Outcome:
    """The outcome of an attack with one layer and those it stands on; without it, it succeeds."""
    bare = attacked(attack, {*needed}, **options)
    assert bare.error == "", f"without {layer} the attack fails too: {bare}"
    walled = attacked(attack, {layer, *needed}, **options)
    assert walled.report[layer].startswith("active")
    return walled


def failed(outcome: Outcome, *errors: str) -> bool:
    return outcome.error in errors


def raw(name: str, *arguments: Any) -> int:
    """A C library call as attackers make it."""
    ctypes.set_errno(0)
    answer = int(getattr(libc, name)(*arguments))
    if answer == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


# Files


@pytest.mark.parametrize(("layer", "needed"), [("mount namespace", (USER,)), ("landlock", ())])
def test_the_courses_files_cannot_be_read(
    layer: str, needed: tuple[str, ...], course: Path, user: int
) -> None:
    steal = only((course / "solution").read_text, layer, *needed, user=user)
    assert failed(steal, "FileNotFoundError", "PermissionError")
    passwords = only(Path("/etc/passwd").read_text, layer, *needed, user=user)
    assert failed(passwords, "FileNotFoundError", "PermissionError")


@pytest.mark.parametrize(("layer", "needed"), [("mount namespace", (USER,)), ("landlock", ())])
def test_nothing_is_left_outside_the_work_folder(
    layer: str, needed: tuple[str, ...], course: Path, user: int
) -> None:
    shared = Path("/dev/shm") / f"left-by-{os.getpid()}"
    for place in (course / "left", shared):
        write = only(
            lambda place=place: place.write_text("for the next"), layer, *needed, user=user
        )
        assert place.exists(), "by the attack without the layer"
        place.unlink()
        assert not place.exists()
        assert failed(write, "FileNotFoundError", "PermissionError", "OSError")


def test_a_file_of_the_course_cannot_be_replaced_or_truncated(course: Path, user: int) -> None:
    def replace() -> None:
        os.pwrite(os.open(course / "solution", os.O_WRONLY), b"41", 0)

    only(replace, "mount namespace", USER, user=user, readable=("/usr", str(course)))
    only(replace, "landlock", user=user, readable=("/usr", str(course)))
    (course / "solution").write_text("42")
    for layers in ({USER, "mount namespace"}, {"landlock"}):
        assert attacked(replace, layers, user=user, readable=("/usr", str(course))).error
        assert (course / "solution").read_text() == "42"


def test_what_is_readable_can_be_read(course: Path, user: int) -> None:
    read = (course / "solution").read_text
    outcome = attacked(read, ALL, user=user, readable=("/usr", str(course)))
    assert outcome.value == "42"


def test_the_work_folder_is_private_and_gone_afterwards(user: int) -> None:
    def litter() -> list[str]:
        seen = os.listdir()
        Path("litter").write_text("x" * 1000)
        os.mkdir("deep")
        with tempfile.NamedTemporaryFile() as file:
            seen.append(os.path.dirname(file.name))
        return seen

    with folder(user) as work:
        for _ in range(2):
            outcome = finish(*start(litter, ALL, work=work, user=user))
            assert outcome.value == [work], "empty, and where temporary files go"
            assert os.listdir(work) == []


def test_the_work_folder_cannot_fill_the_machines_memory(user: int) -> None:
    def fill() -> int:
        for number in range(40):
            Path(str(number)).write_bytes(bytes(1 << 20))
        return 40

    tight = Limits(file_size=8 << 20)
    assert failed(only(fill, "mount namespace", USER, user=user, limits=tight), "OSError")


def test_no_file_in_the_work_folder_can_be_run(user: int) -> None:
    def run() -> int:
        Path("tool").write_bytes(Path("/usr/bin/true").read_bytes())
        os.chmod("tool", 0o700)
        return os.spawnl(os.P_WAIT, "tool", "tool")

    usable = ("/usr", "/lib", "/lib64")
    assert attacked(run, {USER}, user=user, readable=usable).value == 0
    for layers in ({USER, "mount namespace"}, {"landlock"}):
        assert attacked(run, layers, user=user, readable=usable).value == 127


def test_no_special_file_is_left_in_the_work_folder(user: int) -> None:
    assert failed(only(lambda: os.mkfifo("pipe"), "landlock", user=user), "PermissionError")
    assert failed(only(lambda: os.mkfifo("pipe"), "seccomp", user=user), "PermissionError")


def test_proc_shows_no_other_process(user: int) -> None:
    with process(user) as other:
        look = Path(f"/proc/{other}/cmdline").read_bytes
        for layer, needed in (("mount namespace", (USER,)), ("landlock", ())):
            stolen = only(lambda: len(look()), layer, *needed, user=user)
            assert failed(stolen, "FileNotFoundError", "PermissionError")


@as_root
def test_roots_files_are_not_a_students(course: Path) -> None:
    secret = course / "secret"
    secret.write_text("gradebook")
    secret.chmod(0o600)
    os.chown(secret, 0, 0)
    assert failed(only(secret.read_text, "own user", readable=()), "PermissionError")


@as_root
def test_two_students_have_two_users() -> None:
    first, second = (attacked(os.getuid, {"own user"}, readable=()).value for _ in range(2))
    assert 0 < first != second > 0


@as_root
def test_a_user_of_ones_own_is_in_no_group_of_roots() -> None:
    before = os.getgroups()
    os.setgroups([0, 4])
    try:
        outcome = attacked(lambda: [os.getgid(), *os.getgroups()], {"own user"}, readable=())
    finally:
        os.setgroups(before)
    assert all(group >= sandbox.OWN_USERS for group in outcome.value)


@as_root
def test_a_user_of_ones_own_is_not_given_where_it_could_not_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    said = attacked(os.getuid, {"own user"}, readable=(str(tmp_path),)).report["own user"]
    assert said.startswith("missing: ")
    assert "may not be entered by other users" in said


# Network


def connect(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        return line.recv(10).decode()


@pytest.fixture
def port() -> Iterator[int]:
    """A service on this machine's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    server.accept()[0].sendall(b"secret")

        with process(os.geteuid(), serve):
            yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("layer", "needed"), [("network namespace", (USER,)), ("landlock", ()), ("seccomp", ())]
)
def test_no_tcp_connection_leaves(
    layer: str, needed: tuple[str, ...], port: int, user: int
) -> None:
    outcome = only(lambda: connect(port), layer, *needed, user=user)
    assert failed(outcome, "ConnectionRefusedError", "OSError", "PermissionError")


@pytest.mark.parametrize(
    ("layer", "needed"), [("network namespace", (USER,)), ("landlock", ()), ("seccomp", ())]
)
def test_no_abstract_socket_of_another_process_is_reached(
    layer: str, needed: tuple[str, ...], user: int
) -> None:
    name = f"\0grader-{os.getpid()}"

    def knock() -> None:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(name)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen(50)
        outcome = only(knock, layer, *needed, user=user)
    assert failed(outcome, "ConnectionRefusedError", "PermissionError")


def test_a_pair_cannot_be_turned_into_a_letterbox(user: int) -> None:
    name = f"\0letterbox-{os.getpid()}"

    def send(kind: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        with ours, theirs:
            ours.sendto(b"x", name)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name)
        outcome = only(lambda: send(socket.SOCK_DGRAM), "seccomp", user=user)
    assert failed(outcome, "OSError")


def test_udp_cannot_be_sent(user: int) -> None:
    def send() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            return line.sendto(b"x", ("127.0.0.1", 9))

    for layer, needed in (("network namespace", (USER,)), ("seccomp", ())):
        assert failed(only(send, layer, *needed, user=user), "OSError", "PermissionError")


def test_a_pair_of_sockets_and_threads_and_files_work_with_all_layers(user: int) -> None:
    def honest() -> list[Any]:
        ours, theirs = socket.socketpair()
        ours.sendall(b"hello")
        box: list[int] = []
        thread = threading.Thread(target=box.append, args=(3,))
        thread.start()
        thread.join()
        time.sleep(0.01)
        done = select.select([theirs], [], [], 1)[0] == [theirs]
        os.kill(os.getpid(), 0)
        signal.raise_signal(signal.SIGCHLD)
        with tempfile.TemporaryDirectory() as place:
            Path(place, "file").write_text("text")
        return [
            theirs.recv(5).decode(),
            box,
            done,
            len(os.urandom(4)),
            os.getcwd() == os.environ["HOME"],
        ]

    assert attacked(honest, ALL, user=user).value == ["hello", [3], True, 4, True]


# Other processes


def kill(victim: int) -> bool:
    os.kill(victim, signal.SIGTERM)
    return True


@pytest.mark.parametrize(
    ("layer", "needed"), [("pid namespace", (USER,)), ("landlock", ()), ("seccomp", ())]
)
def test_no_other_process_can_be_killed(layer: str, needed: tuple[str, ...], user: int) -> None:
    with process(user) as first:
        assert attacked(lambda: kill(first), {*needed}, user=user).error == ""
        assert eventually(lambda: not alive(first))
    with process(user) as second:
        outcome = attacked(lambda: kill(second), {layer, *needed}, user=user)
        assert failed(outcome, "ProcessLookupError", "PermissionError", "OSError")
        assert alive(second)


@as_root
def test_a_user_of_ones_own_cannot_kill_root() -> None:
    with process(0) as other:
        outcome = attacked(lambda: kill(other), {"own user"}, readable=())
        assert failed(outcome, "PermissionError")
        assert alive(other)


def test_no_process_is_moved_by_signals_through_descriptors(user: int) -> None:
    def through_descriptor(victim: int) -> int:
        import fcntl

        ours, _ = socket.socketpair()
        fcntl.fcntl(ours, fcntl.F_SETOWN, victim)
        return victim

    with process(user) as other:
        assert failed(only(lambda: through_descriptor(other), "seccomp", user=user), "OSError")


def test_another_process_can_be_neither_traced_nor_read(user: int) -> None:
    word = ctypes.create_string_buffer(b"a secret of the referee")
    place = ctypes.addressof(word)

    def pause() -> None:
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
        signal.pause()

    def trace(victim: int) -> None:
        raw("ptrace", 0x4206, victim, 0, 0)  # PTRACE_SEIZE

    def read(victim: int) -> str:
        copy = ctypes.create_string_buffer(len(word))
        ours = (ctypes.c_size_t * 2)(ctypes.addressof(copy), len(word))
        theirs = (ctypes.c_size_t * 2)(place, len(word))
        raw("process_vm_readv", victim, ours, ctypes.c_ulong(1), theirs, ctypes.c_ulong(1), 0)
        return copy.value.decode()

    def memory(victim: int) -> str:
        with open(f"/proc/{victim}/mem", "rb", buffering=0) as file:
            file.seek(place)
            return file.read(len(word) - 1).decode()

    with process(user, pause) as other:
        time.sleep(0.05)
        for attack in (trace, read):
            assert failed(
                only(lambda attack=attack: attack(other), "seccomp", user=user),
                "OSError",
                "PermissionError",
            )
        assert failed(only(lambda: memory(other), "landlock", user=user), "PermissionError")
        for attack in (trace, read, memory):
            walled = attacked(lambda attack=attack: attack(other), NAMESPACES, user=user)
            assert walled.error, attack.__name__


@as_root
def test_a_student_cannot_be_read_by_another_of_the_same_user() -> None:
    out, into = os.pipe()

    def wait() -> None:
        os.write(into, b"!")
        time.sleep(60)

    with folder(NOBODY) as work:
        keeper, answer = start(wait, {"landlock"}, work=work, user=NOBODY)
        assert os.read(out, 1) == b"!"
        student = int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text())
        for target in (keeper, student):
            read = Path(f"/proc/{target}/environ").read_bytes
            assert failed(
                attacked(lambda read=read: len(read()), set(), user=NOBODY), "PermissionError"
            )
        os.kill(keeper, signal.SIGTERM)
        assert finish(keeper, answer).status == -signal.SIGKILL


def test_signals_are_as_in_a_new_process(user: int) -> None:
    def handled() -> list[Any]:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return [len(blocked), signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL]

    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        assert attacked(handled, {"landlock"}, user=user).value == [0, True]
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])


def test_no_new_process_and_no_program(user: int) -> None:
    def fork() -> int:
        child = os.fork()
        if child == 0:
            os._exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def program() -> int:
        return subprocess.run(["/usr/bin/true"], check=True).returncode

    def replace() -> None:
        os.execv("/usr/bin/false", ["false"])

    assert failed(only(fork, "seccomp", user=user), "OSError", "PermissionError")
    assert failed(only(program, "seccomp", user=user), "OSError", "PermissionError")
    assert attacked(replace, set(), user=user).status == 1
    outcome = attacked(replace, {"seccomp"}, user=user)
    assert (outcome.error, outcome.status) == ("PermissionError", 7)
    assert failed(attacked(replace, {"landlock"}, user=user), "PermissionError")


def test_shared_memory_is_not_left_for_the_next(user: int) -> None:
    key = 0x0FB00C + user

    def hoard() -> int:
        return raw("shmget", key, ctypes.c_size_t(4096), 0o1666)

    def left() -> bool:
        rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return any(int(row.split()[0]) == key for row in rows)

    assert attacked(hoard, {USER}, user=user).error == ""
    assert left()
    subprocess.run(["ipcrm", "-M", str(key)], check=True)
    assert attacked(hoard, {USER, "ipc namespace"}, user=user).error == ""
    assert not left()
    assert failed(attacked(hoard, {"seccomp"}, user=user), "OSError", "PermissionError")
    assert not left()


# Privileges


def test_no_program_gives_more_rights_than_it_has_now() -> None:
    """Only an ordinary user can gain any: by a program of root's that has the setuid bit."""
    if not ROOT:
        pytest.skip("only root can lay out a setuid program")

    def effective(tool: Path) -> int:
        out, into = os.pipe()
        if os.fork() == 0:
            os.dup2(into, 1)
            os.execv(tool, [tool.name, "-u"])
        os.close(into)
        os.wait()
        return int(os.read(out, 20))

    with folder(0) as name:
        os.chmod(name, 0o755)
        tool = Path(name, "id")
        tool.write_bytes(Path("/usr/bin/id").read_bytes())
        tool.chmod(0o4755)
        assert attacked(lambda: effective(tool), set(), user=NOBODY).value == 0
        layers = {"no new privileges"}
        assert attacked(lambda: effective(tool), layers, user=NOBODY).value == NOBODY


def test_capabilities_of_the_user_namespace_are_dropped(user: int) -> None:
    def mount() -> int:
        raw("unshare", 0x20000)
        return raw("mount", b"x", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None)

    assert failed(only(mount, "capabilities", USER, user=user), "PermissionError")
    assert failed(only(mount, "seccomp", USER, user=user), "PermissionError", "OSError")


@as_root
def test_root_in_a_user_namespace_owns_nothing_outside(course: Path) -> None:
    (course / "solution").chmod(0o600)
    os.chown(course / "solution", 4321, 4321)
    assert failed(only((course / "solution").read_text, USER), "PermissionError")


def test_no_bounding_capability_is_left(user: int) -> None:
    def held() -> list[int]:
        lines = Path("/proc/self/status").read_text().splitlines()
        return [int(line.split()[1], 16) for line in lines if line.startswith("Cap")]

    assert any(attacked(held, {USER}, user=user).value)
    assert not any(attacked(held, {USER, "capabilities"}, user=user).value)


@pytest.mark.parametrize("name", ["chmod", "creat"])
def test_no_setuid_file_is_made(name: str, user: int) -> None:
    def make() -> None:
        mode = 0o600
        if name == "creat":
            mode = 0o4600
        os.close(os.open("tool", os.O_CREAT | os.O_WRONLY, mode))
        os.chmod("tool", 0o4700 if name == "chmod" else 0o600)

    assert failed(only(make, "seccomp", user=user), "OSError")


# System calls, one by one: the filter is run for each machine by the interpreter below


def verdict(program: bytes, machine: int, number: int, *arguments: int) -> int:
    """What a seccomp filter answers: classic BPF over the call's number and arguments."""
    data = struct.pack("iIQ6Q", number, machine, 0, *arguments, *[0] * (6 - len(arguments)))
    value, at = 0, 0
    while True:
        code, true, false, constant = struct.unpack_from("HBBI", program, 8 * at)
        at += 1
        if code == 0x06:
            return int(constant)
        if code == 0x20:
            value = struct.unpack_from("I", data, constant)[0]
        elif code == 0x54:
            value &= constant
        elif code == 0x05:
            at += constant
        else:
            holds = {0x15: value == constant, 0x25: value > constant, 0x35: value >= constant}
            at += true if holds.get(code, code == 0x45 and bool(value & constant)) else false
            assert code in {0x15, 0x25, 0x35, 0x45}, hex(code)


MACHINES = {"x86-64": 0xC000003E, "arm64": 0xC00000B7}
OWN = struct.unpack("I", filters.ANYONE)[0]
ALLOW, KILL = 0x7FFF0000, 0x80000000
HARMLESS = [  # what a notebook needs, with arguments
    ("clone", 0x3D0F00),
    ("socketpair", 1, 1 | 0o2000000),
    ("sendto", 3, 0, 0, 0, 0),
    ("openat", 0, 0, 0, 0o644),
    ("fchmodat", 0, 0, 0o755),
    ("kill", OWN),
    ("tgkill", OWN),
    ("prlimit64", 0),
    ("prctl", 15),
    ("fcntl", 3, 1030),
    ("ioctl", 1, 0x5401),
]
HARMFUL = [  # the same calls with other arguments
    ("clone", 17),
    ("clone", 0x10000 | 0x10000000),
    ("clone", 0x4111),
    ("socketpair", 1, 2),
    ("socketpair", 2, 1),
    ("sendto", 3, 0, 0, 0, 0x7FFF00000000),
    ("openat", 0, 0, 0, 0o4755),
    ("fchmodat", 0, 0, 0o2755),
    ("kill", 1234),
    ("kill", 0xFFFFFFFF),
    ("kill", 0),
    ("tgkill", 1234),
    ("rt_sigqueueinfo", 1234),
    ("rt_tgsigqueueinfo", 1234),
    ("prlimit64", 1234),
    ("prctl", 1),
    ("prctl", 4),
    ("prctl", 22),
    ("fcntl", 3, 8),
    ("fcntl", 3, 10),
    ("ioctl", 0, 0x5412),
    ("sched_setaffinity", 1234),
]
DANGEROUS = """
ptrace process_vm_readv process_vm_writev kcmp pidfd_open pidfd_getfd pidfd_send_signal tkill mount
umount2 pivot_root chroot setns unshare open_tree move_mount fsopen fsconfig fsmount fspick
mount_setattr bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
keyctl add_key request_key memfd_create execve execveat clone3 socket connect bind listen accept4
sendmsg sendmmsg setsockopt shmget shmat shmctl semget msgget mq_open personality setuid setgid
setresuid setgroups capset setpriority sched_setscheduler clock_settime clock_adjtime settimeofday
adjtimex init_module finit_module delete_module kexec_load reboot swapon swapoff sethostname acct
quotactl syslog nfsservctl lookup_dcookie mknodat fchownat vmsplice splice tee fanotify_init
inotify_init1 name_to_handle_at open_by_handle_at seccomp landlock_restrict_self mlock mlock2
mlockall process_madvise move_pages migrate_pages ioprio_set setsid setpgid memfd_secret
"""


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> tuple[int, bytes, Callable[[str], int]]:
    """The number of a machine's architecture, its filter, and its numbers of calls."""
    import pyseccomp

    kind = MACHINES[request.param]
    return kind, filters.program(kind), lambda name: pyseccomp.resolve_syscall(kind, name)


def test_the_filter_lets_through_what_notebooks_need(machine: Any) -> None:
    kind, program, number = machine
    for name, *arguments in HARMLESS:
        assert verdict(program, kind, number(name), *arguments) == ALLOW, name
    for name in ("read", "write", "mmap", "futex", "exit_group", "getrandom", "newfstatat"):
        assert verdict(program, kind, number(name)) == ALLOW, name


def test_the_filter_stops_all_else(machine: Any) -> None:
    kind, program, number = machine
    for name, *arguments in HARMFUL:
        assert verdict(program, kind, number(name), *arguments) & ~0xFFFF == 0x50000, name
    for name in DANGEROUS.split():
        assert verdict(program, kind, number(name)) & ~0xFFFF == 0x50000, name
    for future in range(470, 600):
        assert verdict(program, kind, future) == 0x50000 | errno.ENOSYS


def test_other_machines_calls_kill(machine: Any) -> None:
    kind, program, _ = machine
    for other in (0x40000003, 0x40000028, *({*MACHINES.values()} - {kind})):  # i386, arm
        assert verdict(program, other, 1) == KILL
    if kind == MACHINES["x86-64"]:
        assert verdict(program, kind, 0x40000000 | 1) in (KILL, 0x50000 | errno.ENOSYS)  # x32


def test_every_forbidden_word_is_a_system_call() -> None:
    import pyseccomp

    words = [*filters.ALLOWED.split(), *filters.FORBIDDEN.split(), *filters.ATTRIBUTES.split()]
    assert len(words) == len(set(words))
    native = [pyseccomp.resolve_syscall(MACHINES["x86-64"], word) for word in words]
    unknown = [word for word, number in zip(words, native, strict=True) if number == -1]
    assert set(unknown) <= {"futex_waitv"}, "a misspelt name would be passed over"


@as_root
def test_the_kernel_answers_as_the_filter_says() -> None:
    import pyseccomp

    names = DANGEROUS.split()
    numbers = {name: pyseccomp.resolve_syscall(0, name) for name in names}

    def knock() -> list[str]:
        answers = []
        for name, number in numbers.items():
            ctypes.set_errno(0)
            libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
            if ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
                answers.append(name)
        return answers

    assert attacked(knock, {"seccomp"}).value == []


def test_the_keepers_grip_cannot_be_loosened(user: int) -> None:
    def loosen() -> int:
        return raw("prctl", 1, ctypes.c_ulong(0), 0, 0, 0)

    assert failed(only(loosen, "seccomp", user=user), "OSError")


# Resources


def test_memory_is_limited_beyond_what_the_process_has(user: int) -> None:
    def hoard() -> int:
        return len(mmap.mmap(-1, 3 << 30))  # never touched

    assert failed(only(hoard, "rlimits", user=user), "OSError", "MemoryError")
    some = attacked(lambda: len(bytearray(100 << 20)), {"rlimits"}, user=user)
    assert some.value == 100 << 20


def test_endless_computing_ends(user: int) -> None:
    def compute() -> None:
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            pass

    limits = Limits(cpu=1)  # and ten minutes by the clock
    for layers in (ALL,) if user == 0 else ({"rlimits"}, {"rlimits", USER, "pid namespace"}):
        assert attacked(compute, layers, user=user, limits=limits).status == -signal.SIGKILL


def test_endless_waiting_ends_by_the_clock(user: int) -> None:
    def wait() -> None:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with suppress(OSError):
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        time.sleep(3600)

    for layers in (ALL, {"landlock"}):
        assert attacked(wait, layers, user=user, limits=Limits(wall=1)).status == -signal.SIGKILL


def test_files_are_limited_in_size_and_number(user: int) -> None:
    def large() -> int:
        return Path("large").write_bytes(bytes(3 << 20))

    def many() -> int:
        return len([os.dup(0) for _ in range(300)])

    outcome = only(large, "rlimits", user=user, limits=Limits(file_size=1 << 20))
    assert outcome.error == "OSError" or outcome.status == -signal.SIGXFSZ
    assert failed(only(many, "rlimits", user=user, limits=Limits(files=200)), "OSError")


def test_no_memory_is_pinned_queued_or_dumped(user: int) -> None:
    def bounds() -> list[int]:
        kinds = (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE)
        return [bound for kind in kinds for bound in resource.getrlimit(kind)]

    assert attacked(bounds, {"rlimits"}, user=user).value == [0] * 6


def bomb() -> int:
    hold = threading.Event()
    threads = [threading.Thread(target=hold.wait, daemon=True) for _ in range(100)]
    for thread in threads:
        thread.start()
    hold.set()
    return len(threads)


def test_threads_are_limited_where_the_kernel_can_count_them(user: int) -> None:
    limits = Limits(processes=20)
    if user == 0:  # of which the kernel counts no threads
        assert failed(only(bomb, "rlimits", "own user", readable=(), limits=limits), "RuntimeError")
        said = attacked(bomb, {"rlimits", USER}, limits=limits).report["rlimits"]
    else:
        assert failed(only(bomb, "rlimits", USER, user=user, limits=limits), "RuntimeError")
        said = attacked(bomb, {"rlimits"}, user=user, limits=limits).report["rlimits"]
    assert said == "active (threads not limited: this needs a user of its own)"


grouped = pytest.mark.skipif(not cgroups.homes(), reason="no control group can be made here")


@grouped
def test_a_control_group_limits_memory_that_is_used() -> None:
    def touch() -> int:
        return len(bytearray(b"x" * (200 << 20)))

    outcome = attacked(touch, set(), limits=Limits(memory=64 << 20))
    assert outcome.value == 200 << 20
    outcome = attacked(touch, {"cgroup"}, limits=Limits(memory=64 << 20))
    assert outcome.status == -signal.SIGKILL


@grouped
def test_a_control_group_limits_threads() -> None:
    outcome = only(bomb, "cgroup", limits=Limits(processes=20))
    assert failed(outcome, "RuntimeError")


@grouped
def test_a_control_group_is_removed_by_the_next_child() -> None:
    with folder(0) as work:
        keeper, answer = start(signal.pause, {"cgroup"}, work=work)
        groups = [Path(home, cgroups._name(keeper)) for home in cgroups.homes()]
        assert eventually(lambda: all(group.exists() for group in groups))
        os.kill(keeper, signal.SIGTERM)
        os.waitpid(keeper, 0)
        os.close(answer)
        attacked(os.getpid, {"cgroup"})
        assert not [group for group in groups if group.exists()]


# The keeper


@pytest.mark.parametrize("layers", [ALL, frozenset[str]()], ids=["all layers", "none"])
def test_the_end_is_passed_on(layers: frozenset[str], user: int) -> None:
    def end(number: int) -> None:
        signal.signal(number, signal.SIG_DFL)
        if number == signal.SIGSEGV:
            ctypes.string_at(0)
        os.abort()

    assert attacked(lambda: os._exit(0), layers, user=user).status == 0
    assert attacked(lambda: os._exit(41), layers, user=user).status == 41
    assert attacked(lambda: end(signal.SIGSEGV), layers, user=user).status == -signal.SIGSEGV
    assert attacked(lambda: end(signal.SIGABRT), layers, user=user).status in (
        -signal.SIGABRT,
        -signal.SIGSEGV,  # the first process of a namespace cannot send itself the other
    )


@pytest.mark.parametrize("layers", [ALL, frozenset[str]()], ids=["all layers", "none"])
def test_an_interrupt_reaches_the_student(layers: frozenset[str], user: int) -> None:
    out, into = os.pipe()

    def wait() -> str:
        try:
            os.write(into, b"!")
            time.sleep(20)
        except KeyboardInterrupt:
            return "interrupted"
        return "slept"

    with folder(user) as work:
        keeper, answer = start(wait, layers, work=work, user=user)
        assert os.read(out, 1) == b"!"
        os.kill(keeper, signal.SIGINT)
        assert finish(keeper, answer).value == "interrupted"


def family(written: int) -> Callable[[], None]:
    """A student who leaves a daemon behind: forked twice, in a session of its own, deaf."""

    def daemonise() -> None:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                os.write(written, b"!")
                time.sleep(3600)
            os._exit(0)
        os.wait()
        time.sleep(3600)

    return daemonise


def marked(mark: str) -> list[int]:
    """The living processes of this name."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (place / "comm").read_text().strip() == mark and alive(int(place.name)):
                found.append(int(place.name))
    return found


@pytest.mark.parametrize("way", ["keeper ended", "keeper killed", "nursery killed", "student ends"])
@pytest.mark.parametrize(
    "layers", [ALL - {"seccomp"}, {"landlock"}], ids=["own processes", "shared processes"]
)
def test_nothing_outlives_the_student(layers: frozenset[str], way: str, user: int) -> None:
    if layers == {"landlock"} and way == "keeper killed":
        pytest.skip("what a student without a namespace forked before is only the keeper's to kill")
    mark = f"deaf-{os.getpid() % 10000}"
    out, into = os.pipe()

    def student() -> None:
        raw("prctl", 15, mark.encode(), 0, 0, 0)
        if way == "student ends":
            if os.fork() == 0:
                family(into)()
            time.sleep(0.3)
            return
        family(into)()

    def nursery() -> None:
        keeper, answer = start(student, layers, work=work, user=user)
        os.write(into, struct.pack("I", keeper))
        finish(keeper, answer, 60)

    with folder(user) as work, process(os.geteuid(), nursery) as parent:
        keeper = struct.unpack("I", os.read(out, 4))[0]
        assert os.read(out, 1) == b"!"
        assert len(marked(mark)) >= 2
        if way != "student ends":
            target = parent if way == "nursery killed" else keeper
            os.kill(target, signal.SIGTERM if way == "keeper ended" else signal.SIGKILL)
        gone = eventually(lambda: not marked(mark))
        for left in marked(mark):
            os.kill(left, signal.SIGKILL)
        assert gone
        assert eventually(lambda: not alive(keeper))
    os.close(out)
    os.close(into)


# What is missing is said, and too little is refused


@pytest.fixture
def switches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Sets a kernel switch as this test's machine has it; all others are absent."""
    monkeypatch.setattr(advice, "SYSCTL", tmp_path)

    def switch(name: str, value: str) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(value + "\n")

    return switch


def refuse(code: int) -> Callable[..., Any]:
    def call(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "userns=0"),
        ("kernel/unprivileged_userns_clone", "0", "userns_clone=1"),
        ("user/max_user_namespaces", "0", "max_user_namespaces="),
        ("", "", "--security-opt seccomp=unconfined"),
    ],
)
def test_forbidden_namespaces_are_explained_and_the_rest_still_holds(
    name: str, value: str, remedy: str, switches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name:
        switches(name, value)
    monkeypatch.setattr(kernel, "unshare", refuse(errno.EPERM))
    outcome = attacked(lambda: connect(1), ALL - {"own user"}, unsafe=False)
    for layer in NAMESPACES - {"mount namespace"}:
        assert outcome.report[layer].startswith("missing: ")
        assert remedy in outcome.report[layer]
    assert not outcome.report["mount namespace"].startswith("active")
    for layer in ("landlock", "seccomp", "capabilities", "no new privileges", "rlimits"):
        assert outcome.report[layer].startswith("active")
    assert failed(outcome, "PermissionError")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSYS, "CONFIG_SECURITY_LANDLOCK"),
        (errno.EOPNOTSUPP, "lsm="),
        (errno.EPERM, "container"),
    ],
)
def test_a_missing_landlock_is_explained(
    code: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "landlock", refuse(code))
    report = attacked(os.getpid, ALL, unsafe=False).report
    assert report["landlock"].startswith("missing: ")
    assert remedy in report["landlock"]
    assert report["seccomp"] == "active"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ImportError("No module named 'pyseccomp'"), "pip install pyseccomp"),
        (RuntimeError("Unable to find libseccomp"), "apt install libseccomp2"),
        (OSError(errno.EINVAL, "Invalid argument"), "CONFIG_SECCOMP_FILTER"),
    ],
)
def test_a_missing_seccomp_is_explained(
    error: Exception, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def program(machine: int = 0) -> bytes:
        raise error

    monkeypatch.setattr(filters, "program", program)
    report = attacked(os.getpid, ALL, unsafe=False).report
    assert report["seccomp"].startswith("missing: ")
    assert remedy in report["seccomp"]
    assert report["landlock"].startswith("active")


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (1, "version 1, not for TCP and signals and abstract sockets"),
        (3, "version 3, not for TCP and signals and abstract sockets"),
        (5, "version 5, not for signals and abstract sockets"),
    ],
)
def test_an_older_landlock_still_guards_the_files(
    version: int, said: str, course: Path, user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(name: str, *arguments: Any) -> int:
        asked = arguments[1:] == (None, 0, 1)
        return version if asked else kernel.call(name, *arguments)

    monkeypatch.setattr(filters, "call", call)
    for theft in ((course / "solution").read_text, lambda: (course / "new").write_text("x")):
        outcome = attacked(theft, {"landlock"}, user=user)
        assert outcome.report["landlock"] == f"active ({said})"
        assert failed(outcome, "PermissionError")
    kept = attacked(lambda: Path("file").write_text("mine"), {"landlock"}, user=user)
    assert kept.value == 4


def test_a_user_namespace_that_gives_no_rights_harms_nothing(
    user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As AppArmor has it: the namespace is made, but nobody can be mapped into it."""
    monkeypatch.setattr(kernel, "map_user", refuse(errno.EPERM))
    outcome = attacked(lambda: Path("file").write_text("mine"), ALL, user=user, unsafe=False)
    assert outcome.value == 4
    assert outcome.report["user namespace"].startswith("missing: ")
    assert outcome.report["mount namespace"] == "missing: needs the user namespace"
    assert outcome.report["landlock"].startswith("active")


def test_other_systems_are_refused_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    monkeypatch.delenv(sandbox.WALL, raising=False)
    with pytest.raises(Unsafe, match="landlock: missing: needs Linux"):
        sandbox.enter("/tmp", readable=(), limits=SMALL)
    report = sandbox.enter("/tmp", readable=(), limits=SMALL, unsafe=True)
    assert set(report.values()) == {"missing: needs Linux", "off"}


def test_an_old_kernels_mounts_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "other_room", refuse(errno.ENOSYS))
    assert "Linux 5.12" in attacked(os.getpid, ALL).report["mount namespace"]


def test_an_ordinary_user_without_control_groups_is_told() -> None:
    if not ROOT:
        pytest.skip("needs to know that this user has none")
    report = attacked(os.getpid, ALL, user=NOBODY).report
    assert report["cgroup"].startswith("missing: ")
    assert "systemd-run" in report["cgroup"]
    assert report["own user"].startswith("missing: only root")


def test_nothing_to_keep_files_or_network_away_is_refused(
    user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(sandbox.WALL, raising=False)
    for layers in (set(), {"landlock"}, {"seccomp"}, {"rlimits", "capabilities"}):
        outcome = attacked(os.getpid, layers, user=user, unsafe=False)
        assert failed(outcome, "Unsafe"), layers
        assert attacked(lambda: 5, layers, user=user, unsafe=True).value == 5
    for layers in ({"landlock", "seccomp"}, NAMESPACES):
        assert attacked(lambda: 5, layers, user=user, unsafe=False).value == 5


def test_the_refusal_says_what_is_open_and_why() -> None:
    with pytest.raises(Unsafe, match=r"from the network.*seccomp: missing: no library"):
        sandbox.demand_guards({"landlock": "active", "seccomp": "missing: no library"})
    with pytest.raises(Unsafe, match="from the grader's files"):
        sandbox.demand_guards({"seccomp": "active"})
    sandbox.demand_guards({"bubblewrap": "active"})


# Control groups of the second version, on a file system that only looks like one


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "user.slice" / "grading.scope"
    home.mkdir(parents=True)
    (home / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (tmp_path / "own").write_text("0::/user.slice/grading.scope\n")
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "OURS", tmp_path / "own")
    return home


def test_a_group_of_the_second_version(second: Path) -> None:
    assert cgroups.join(1000, 20) == "version 2"
    (group,) = second.glob("fmbook-*")
    assert group.name.endswith(f"-{os.getpid()}")
    written = {file.name: file.read_text() for file in group.iterdir()}
    assert written == {
        "memory.max": "1000",
        "memory.swap.max": "0",
        "pids.max": "20",
        "cgroup.procs": "0",
    }
    cgroups.sweep()
    assert group.exists(), "its process lives"


def test_dead_childrens_groups_are_swept_and_foreign_new_ones_kept(second: Path) -> None:
    with process(os.geteuid(), lambda: None) as child:
        os.waitpid(child, 0)
    dead, foreign, stale = (
        second / name for name in (cgroups._name(child), "fmbook-1-5", "fmbook-1-6")
    )
    for group in (dead, foreign, stale):
        group.mkdir()
    os.utime(stale, (0, 0))
    cgroups.sweep()
    assert [group.exists() for group in (dead, foreign, stale)] == [False, True, False]


def test_a_group_without_controllers_is_explained(second: Path) -> None:
    (second / "cgroup.subtree_control").write_text("cpu\n")
    with pytest.raises(FileNotFoundError, match="not delegated") as caught:
        cgroups.join(1000, 20)
    assert "Delegate=yes" in advice.explain("cgroup", caught.value)


# The outer wall

wall = pytest.mark.skipif(sandbox._bubblewrap()[0] is None, reason=sandbox._bubblewrap()[1])


def run(program: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = sandbox.outer_wall(
        [sys.executable, "-c", program], readable=sandbox.library(), **options
    )
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


LOOK = """
import json, os, socket, sys
def tried(work):
    try: return work() or True
    except OSError as error: return type(error).__name__
def connect(): socket.create_connection(("127.0.0.1", int(PORT)), 5)
print(json.dumps({
    "home": tried(lambda: os.listdir(HOME)), "secret": tried(lambda: open(SECRET).read()),
    "passwords": tried(lambda: open("/etc/passwd").read()), "network": tried(connect),
    "write": tried(lambda: open(sys.prefix + "/x", "w").close()),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]) < 5,
    "environment": sorted(os.environ), "temporary": os.listdir("/tmp"),
    "capabilities": int(open("/proc/self/status").read().split("CapEff:")[1].split()[0], 16),
}))
"""


@wall
def test_the_outer_wall_hides_files_network_processes_and_environment(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    secret = tmp_path / "gradebook.db"
    secret.write_text("marks")
    names = {"HOME": str(Path.home()), "SECRET": str(secret), "PORT": str(port)}
    program = "".join(f"{name} = {value!r}\n" for name, value in names.items()) + LOOK
    seen = json.loads(run(program).stdout)
    shown = set(seen["home"]) if isinstance(seen["home"], list) else set()
    ways = {part for place in sandbox.library() for part in Path(place).parts}
    assert shown <= ways
    assert (seen["secret"], seen["passwords"]) == ("FileNotFoundError",) * 2
    assert seen["network"] in ("OSError", "ConnectionRefusedError")
    assert seen["write"] == "OSError"
    assert seen["processes"] is True
    assert set(seen["environment"]) <= {*sandbox.ENVIRONMENT, sandbox.WALL, "PWD", "LC_CTYPE"}
    assert set(seen["temporary"]) <= ways  # the library itself may lie there
    assert not seen["capabilities"] & (1 << 21 | 1 << 12 | 1 << 19), (
        "administration, network, trace"
    )


@wall
def test_the_outer_wall_lets_through_what_is_named_and_descriptors(tmp_path: Path) -> None:
    inner, outer = tmp_path / "readable", tmp_path / "writable"
    for place in (inner, outer):
        place.mkdir()
        (place / "file").write_text("text")
    out, into = os.pipe()
    program = (
        f"import os; os.write({into}, open({str(inner / 'file')!r}, 'rb').read());"
        f"open({str(outer / 'file')!r}, 'w').write(os.environ['WORD'])"
    )
    command = sandbox.outer_wall(
        [sys.executable, "-c", program],
        readable=[*sandbox.library(), str(inner)],
        writable=[str(outer)],
        environment={**sandbox.ENVIRONMENT, "WORD": "new"},
    )
    subprocess.run(command, pass_fds=[into], check=True, timeout=30)
    assert os.read(out, 10) == b"text"
    assert (outer / "file").read_text() == "new"
    os.close(out)
    os.close(into)


@wall
def test_behind_the_outer_wall_all_other_layers_still_hold() -> None:
    report = sandbox.layers()
    assert set(report) == {*ALL, "bubblewrap"}
    assert report["bubblewrap"] == "active"
    missing = {layer for layer, said in report.items() if not said.startswith("active")}
    assert missing <= {"cgroup", "own user"} if not ROOT else missing <= {"cgroup"}


@wall
def test_the_wall_falls_with_its_builder() -> None:
    out, into = os.pipe()
    command = sandbox.outer_wall(
        ["/bin/sh", "-c", "echo $$; exec sleep 60"], readable=sandbox.library()
    )
    with process(os.geteuid(), lambda: subprocess.run(command, stdout=into)) as builder:
        assert os.read(out, 10), "the command runs"
        os.close(into)
        os.kill(builder, signal.SIGKILL)
        assert select.select([out], [], [], 5)[0], "nobody holds the other end any more"
        assert os.read(out, 10) == b""
    os.close(out)


@pytest.fixture
def forget() -> Iterator[None]:
    sandbox._bubblewrap.cache_clear()
    yield
    sandbox._bubblewrap.cache_clear()


@pytest.mark.usefixtures("forget")
def test_without_bubblewrap_the_command_is_bare_but_for_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: None)
    monkeypatch.setenv("TOKEN", "secret")
    assert "apt install bubblewrap" in sandbox._bubblewrap()[1]
    done = run("import os; print(sorted(os.environ))", environment={"PATH": "/usr/bin"})
    assert set(eval(done.stdout)) <= {"PATH", "LC_CTYPE"}
    report = sandbox.layers()
    assert report["bubblewrap"].startswith("missing: there is no bwrap")
    assert report["landlock"].startswith("active")


@pytest.mark.usefixtures("forget")
def test_a_bubblewrap_that_does_not_work_is_not_used(
    tmp_path: Path, switches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    switches("kernel/apparmor_restrict_unprivileged_userns", "1")
    broken = tmp_path / "bwrap"
    broken.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: str(broken))
    program, why = sandbox._bubblewrap()
    assert program is None
    assert "No permissions to create" in why
    assert "AppArmor" in why


def test_limits_are_positive_and_frozen() -> None:
    with pytest.raises(ValueError, match=r"positive, not \{'wall': 0\}"):
        Limits(wall=0)
    with pytest.raises(AttributeError):
        SMALL.memory = 0  # type: ignore[misc]
    assert Limits() == Limits(memory=2 << 30, cpu=60, wall=600, file_size=64 << 20)
