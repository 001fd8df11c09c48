"""Jobs on other machines: Dask `distributed` carries them to workers and their results back.

A job has the key of its result, so that two coordinators share one run of it. When a worker dies,
what it had in hand is set aside and tried once more, alone: what kills a worker again is at fault,
and recorded as such. Left out: what a worker does (`preload`), and starting any.
"""

import json
import logging
import threading
import time
import warnings
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from fmbook.grading import preload as worker_side
from fmbook.grading.course import CourseError
from fmbook.grading.credible import Forged, credible
from fmbook.grading.results import environment
from fmbook.grading.schedulers import Job, Scheduler
from fmbook.grading.worker import Fault

__all__ = ["Cluster"]

WAIT = 30  # seconds for a scheduler to answer, and for a first worker
AHEAD = 2  # jobs held for each thread of a worker
TRIES = 3  # of one job, whose result did not arrive though no worker died of it
POISON = "two workers died while they ran this submission, the second with nothing else to do"
GONE = "run the same command again when it is there: it goes on where it stopped"


class _Held:
    """A job under way: its future here, and Dask's; how often it was sent."""

    def __init__(self, job: Job) -> None:
        self.job, self.future = job, Future[bytes]()
        self.there: Any = None
        self.sent = 0


class Cluster(Scheduler):
    """A Dask scheduler's workers; Dask spreads jobs by what each kind of them was seen to take."""

    def __init__(
        self, address: str, preload: Sequence[str], *, watch: Sequence[str] = (), memory: int
    ) -> None:
        self.address = address
        self.settings = json.dumps(
            {"preload": list(preload), "watch": list(watch), "memory": memory}
        )
        self.layers, self.cpu = {}, 0.0
        self.lock = threading.RLock()
        self.held: dict[str, _Held] = {}  # sent, by Dask's key
        self.aside: deque[_Held] = deque()  # suspects, to be run one by one
        self.waiting: deque[_Held] = deque()  # while a suspect runs alone
        self.alone: _Held | None = None
        self.over = False
        self.threads, self.asked = 1, 0.0
        self.desk = ThreadPoolExecutor(1)  # Dask's own thread must not wait for answers of Dask's
        self.client: Any = None

    def _connect(self) -> None:
        """Find the scheduler, and wait for a first worker.

        Raises:
            CourseError: Dask is missing, nobody answers, or there is no worker.
        """
        try:
            from distributed import Client
        except ImportError as error:
            raise CourseError(
                f"other machines need {error.name}: pip install 'fmbook[scale]'"
            ) from None
        for name in [*logging.root.manager.loggerDict, "asyncio"]:  # told in our words instead
            if name.startswith(("distributed", "tornado", "asyncio")):
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        warnings.filterwarnings("ignore", module="distributed")
        try:
            self.client = Client(self.address, timeout=WAIT, set_as_default=False)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise CourseError(
                f"no Dask scheduler answers at {self.address} ({error}): start one with `dask "
                "scheduler`, or correct --scheduler"
            ) from None
        self.client.subscribe_topic("all", self._event)
        try:
            self.client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError:
            raise CourseError(
                f"the scheduler at {self.address} has no worker: start some with `dask worker "
                f"{self.address} --preload fmbook.grading.preload`"
            ) from None

    def window(self) -> int:
        if self.client is not None and time.monotonic() > self.asked + 2.0 and not self.over:
            self.asked = time.monotonic()
            with suppress(Exception):  # of Dask's, when it is gone: the futures say so too
                self.threads = sum(self.client.nthreads().values())
        return max(1, AHEAD * self.threads) + len(self.aside)

    def submit(self, job: Job) -> "Future[bytes]":
        held = _Held(job)
        if self.client is None:
            self._connect()
        with self.lock:
            if self.alone:
                self.waiting.append(held)
            else:
                self._send(held)
        return held.future

    def _send(self, held: _Held) -> None:
        """Hand a job to Dask. Its key begins with its kind: by that Dask keeps what jobs take.

        Each time it is another key: what cancels a key may reach us after it was sent again.
        """
        key = f"{held.job.kind}-{held.job.key}-{held.sent}"
        held.sent += 1
        self.held[key] = held
        given = (held.job.content, self.settings, environment())
        try:
            held.there = self.client.submit(worker_side.run, *given, key=key, pure=False)
        except Exception as error:
            self._lost(f"{type(error).__name__}: {error}")
            return
        held.there.add_done_callback(lambda there: self._done(key, held, there))

    def _done(self, key: str, held: _Held, there: Any) -> None:
        """Take a result over; called by a thread of Dask's client."""
        died: BaseException | None = None
        try:
            if held.there is not there or self.held.get(key) is not held:
                return  # set aside meanwhile
            if there.status == "cancelled":
                self._lost("it has forgotten this run's jobs")
                return
            died = there.exception() if there.status == "error" else None
            if type(died).__name__ == "KilledWorker":
                self._suspect({key})
                return
            outcome = self._read(held.job, there.result())
        except Exception as error:
            if died is None and held.sent < TRIES:  # its way back failed, or who had it is gone
                self._suspect({key}, blame=False)
                return
            outcome = Fault(f"{type(error).__name__}: {error}")
        with self.lock:
            self.held.pop(key, None)
            held.there = None
            if self.alone is held:
                self.alone = None
            self._next()
        self._settle(held, outcome)

    def _read(self, job: Job, said: Any) -> bytes | Fault:
        """What a worker sent, if it can be what a worker sends."""
        try:
            how, content, layers = said
            if how == "fault" and type(content) is bytes:
                return Fault(content.decode("utf8", "replace"))
            found = credible(job.content, content)
        except (Forged, TypeError, ValueError) as error:
            return Fault(f"a worker sent what is no result of this job ({error})")
        if type(layers) is dict and not self.layers:
            self.layers = {str(k)[:80]: str(v)[:400] for k, v in list(layers.items())[:40]}
        return found

    def _event(self, event: tuple[float, Any]) -> None:
        """Hear of a worker that has died with jobs in hand."""
        said = event[1]
        died = isinstance(said, dict) and said.get("action") == "remove-worker"
        if died and not said.get("expected"):
            self.desk.submit(self._suspect, set(said.get("processing-tasks", ())))

    def _suspect(self, keys: set[str], *, blame: bool = True) -> None:
        """Set jobs aside whose worker died or whose result was lost (`blame` is off then).

        A worker that died with nothing else to do was killed by its job, which is not sent again.
        """
        blamed: list[_Held] = []
        with self.lock:
            for key in keys & self.held.keys():
                held = self.held.pop(key)
                there, held.there = held.there, None
                with suppress(Exception):
                    self.client.cancel([there])
                alone = self.alone is held
                if alone:
                    self.alone = None
                (blamed if alone and blame else self.aside).append(held)
            self._next()
        for held in blamed:
            found = {"steps": {}, "faults": [POISON, POISON], "poison": True}
            self._settle(held, json.dumps(found).encode())

    def _next(self) -> None:
        """Send what waited; when nothing is under way, the next suspect by itself."""
        if self.alone or self.over:
            return
        while self.waiting:
            self._send(self.waiting.popleft())
        if self.aside and not self.held:
            self.alone = self.aside.popleft()
            self._send(self.alone)

    def _lost(self, why: str) -> None:
        """The scheduler is gone: nothing that was sent will come back."""
        error = CourseError(f"the scheduler at {self.address} was lost ({why}): {GONE}")
        with self.lock:
            self.over = True
            every = [*self.held.values(), *self.aside, *self.waiting]
            self.held.clear()
            self.aside.clear()
            self.waiting.clear()
        for held in every:
            if not held.future.done():
                held.future.set_exception(error)

    def _settle(self, held: _Held, outcome: bytes | Fault) -> None:
        with suppress(Exception):  # given up meanwhile
            if isinstance(outcome, Fault):
                held.future.set_exception(outcome)
            else:
                held.future.set_result(outcome)

    def close(self) -> None:
        with self.lock:
            self.over = True
            given_up = [held.there for held in self.held.values() if held.there is not None]
            self.held.clear()
        with suppress(Exception):
            if given_up:
                self.client.cancel(given_up)
        with suppress(Exception):
            if self.client is not None:
                self.client.close(timeout=3)
        self.desk.shutdown(wait=False, cancel_futures=True)
