"""A real Dask cluster on loopback, as a department starts it: a scheduler and workers by command.

Workers may be killed and added while it runs. What it says is kept in files, for a test that fails.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

DASK = str(Path(sys.executable).with_name("dask"))
ROOT = Path(__file__).resolve().parents[2]


class Machines:
    """A scheduler on a port that it keeps when it is started again, and workers by number."""

    def __init__(self, *flags: str, protocol: str = "tcp") -> None:
        self.folder, self.flags = Path(tempfile.mkdtemp(prefix="fmbook-dask-")), flags
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"{protocol}://127.0.0.1:{self.port}"
        self.protocol = protocol
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self.begin()

    def _start(self, name: str, *words: str) -> "subprocess.Popen[bytes]":
        """A process of Dask's; the flags that all are given stand last."""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [DASK, *words, *self.flags],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def begin(self) -> None:
        """Start the scheduler, on the same port as before."""
        flags = ("--host", f"{self.protocol}://127.0.0.1", "--port", str(self.port))
        self.scheduler = self._start("scheduler", "scheduler", *flags, "--no-dashboard")
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.scheduler.poll() is None, self.said()
            time.sleep(0.1)

    def add(self, *more: str) -> None:
        """One more worker of one thread; it has no nanny unless `more` asks for one."""
        preload = ("--preload", "fmbook.grading.preload", "--no-dashboard", "--nthreads", "1")
        scratch = ("--local-directory", str(self.folder / f"w{len(self.workers)}"))
        words = ("worker", self.address, *preload, *scratch, "--death-timeout", "120")
        nanny = () if more else ("--no-nanny",)
        self.workers.append(self._start(f"worker{len(self.workers)}", *words, *nanny, *more))

    def kill(self, number: int) -> None:
        """As the kernel does when memory is short: the worker and what it started are gone."""
        self._kill(self.workers[number])

    def kill_scheduler(self) -> None:
        assert self.scheduler is not None
        self._kill(self.scheduler)

    def _kill(self, process: "subprocess.Popen[bytes]") -> None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def living(self) -> list[int]:
        return [n for n, process in enumerate(self.workers) if process.poll() is None]

    def said(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text('utf8')[-2000:]}" for log in logs)

    def stop(self) -> None:
        own = [p for p in (*self.workers, self.scheduler) if p is not None]
        family = []
        for process in own:
            with suppress(psutil.Error):
                family += psutil.Process(process.pid).children(recursive=True)
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
        for child in family:
            with suppress(psutil.Error):
                child.kill()
