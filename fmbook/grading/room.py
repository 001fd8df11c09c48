"""The process in which `fmbook check` runs a student's cells, and the line to it.

One JSON line a cell goes in, one comes back: nothing, or the error in which the cell ended. Left
out: walls; a student's own notebook may do here what it may do in Jupyter.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fmbook

__all__ = ["START", "Room", "open_room", "serve"]

START, GRACE = 120.0, 2.0  # seconds until IPython is there; that an interrupted cell has to end


class Room:
    """The process in which the cells run, and the line to it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: queue.Queue[str] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """The next answer; None if the process ended, `{"late": ...}` if it takes too long."""
        until = time.monotonic() + seconds
        while True:
            try:  # short waits: elsewhere than on Linux a long one is deaf to Ctrl-C
                line = self.lines.get(timeout=min(0.5, max(0.0, until - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= until:
                    return {"late": True}
                continue
            with contextlib.suppress(ValueError):
                return dict(json.loads(line)) if line else None

    def ask(self, source: str, seconds: float) -> dict[str, Any] | None:
        """Run a cell; returns its `error`, if it was `late`, and if it is `deaf` to interrupts.

        None if the process has ended.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(source) + "\n")
            self.process.stdin.flush()
        except OSError:
            return None
        said = self.answer(seconds)
        if said is None or "late" not in said:
            return said
        if os.name == "posix":  # a cell on Windows cannot be interrupted from here
            self.process.send_signal(signal.SIGINT)
            said = self.answer(GRACE)
        return None if said is None else said | {"late": True, "deaf": "late" in said}

    def end(self) -> None:
        """Kill the process and what it started."""
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.reader.join(GRACE)  # a program that left its group may still hold the pipe
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None and not self.reader.is_alive():
                    pipe.close()


@contextlib.contextmanager
def open_room(folder: Path) -> Iterator[Room]:
    """The process that runs the cells, in the notebook's folder; it is killed at the end."""
    home = str(Path(fmbook.__file__).parent.parent)
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from fmbook.grading.room import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=folder,
        env=inline | os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    )
    room = Room(process)
    try:
        yield room
    finally:
        room.end()


def serve() -> None:
    """The life of the process: run each cell that comes in, until nobody asks any more."""
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # so that no cell reads or writes the line to the parent
        os.dup2(null, fd)

    def answer(said: dict[str, Any]) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        from fmbook.grading.student import make_shell

        shell = make_shell()
    except ImportError as error:
        answer({"missing": str(error)})
        return
    sys.path.insert(0, "")
    answer({"ready": True})
    waiting: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(questions, waiting), daemon=True).start()
    while True:
        answer(_run(shell, json.loads(waiting.get())))


def _listen(questions: IO[str], waiting: queue.Queue[str]) -> None:
    """Pass questions on; when nobody asks any more, end this process whatever it is doing."""
    for line in questions:
        waiting.put(line)
    os._exit(0)


def _run(shell: Any, source: str) -> dict[str, Any]:
    from IPython.utils.capture import capture_output

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with capture_output():
            result = shell.run_cell(source, store_history=True)
        error = result.error_before_exec or result.error_in_exec
    except KeyboardInterrupt as interrupt:
        error = interrupt
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if error is None:
        return {}
    try:
        words = str(error)
        if isinstance(error, SyntaxError):  # whose text names a file that nobody knows
            words = f"{error.msg} (line {error.lineno})"
    except Exception:
        words = "(an error whose text cannot be read)"
    return {"error": [type(error).__name__, words]}
