"""Where jobs run: the window of jobs that are under way, and the local pool that works on them.

Left out: other machines, which `cluster` reaches by the same `map`.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from fmbook.grading.worker import Fault, Worker

__all__ = ["Job", "Local", "Scheduler"]

T = TypeVar("T")
TICK = 60.0  # seconds after which a caller that waits gets its turn


@dataclass(frozen=True)
class Job:
    """What is to be run: the key of its result, what kind it is (for its cost), and its bytes."""

    key: str
    kind: str
    content: bytes


class Scheduler:
    """Runs jobs somewhere, a few at a time; a context that ends what it has started."""

    layers: dict[str, str]  # what walls the students in, layer by layer; empty if nothing was run
    cpu: float  # seconds of all processes that ran jobs, as far as they are known at the end

    def __enter__(self) -> "Scheduler":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.close()

    def window(self) -> int:
        """How many jobs are held at once."""
        raise NotImplementedError

    def submit(self, job: Job) -> "Future[bytes]":
        """Begin a job; its result, or Fault where the machine failed."""
        raise NotImplementedError

    def close(self) -> None:
        """Give up what still runs."""

    def map(
        self, jobs: Iterator[tuple[T, Job | None]]
    ) -> Iterator[tuple[T, bytes | Exception | None] | None]:
        """Each job's result or fault with what came with it, as they end; few are held at once.

        What has no job comes back at once. While nothing ends, None comes every minute.
        """
        running: dict[Future[bytes], T] = {}
        more = True
        while more or running:
            while more and len(running) < self.window():
                item = next(jobs, None)
                more = item is not None
                if item is not None and item[1] is None:
                    yield item[0], None
                elif item is not None and item[1] is not None:
                    running[self.submit(item[1])] = item[0]
            if running:
                done, _ = wait(running, timeout=TICK, return_when=FIRST_COMPLETED)
                if not done:
                    yield None
                for future in done:
                    error = future.exception()
                    if error is not None and not isinstance(error, Fault):
                        raise error
                    fault = error if isinstance(error, Fault) else None
                    yield running.pop(future), fault or future.result()


class Local(Scheduler):
    """Runs jobs in one nursery of this machine, `jobs` at a time; it starts with the first job."""

    def __init__(self, jobs: int, preload: Sequence[str], **settings: Any) -> None:
        """`settings` are those of `Worker`."""
        self.jobs = max(1, jobs)
        self.preload, self.settings = preload, settings
        self.worker: Worker | None = None
        self.pool = ThreadPoolExecutor(self.jobs)

    def window(self) -> int:
        return self.jobs + 1

    def submit(self, job: Job) -> "Future[bytes]":
        if self.worker is None:
            self.worker = Worker(self.preload, **self.settings)
        return self.pool.submit(self.worker.grade, job.content)

    def close(self) -> None:
        if self.worker is not None:
            self.worker.close()
        self.pool.shutdown(wait=True, cancel_futures=True)

    @property
    def layers(self) -> dict[str, str]:  # type: ignore[override]
        return self.worker.layers if self.worker else {}

    @property
    def cpu(self) -> float:  # type: ignore[override]
        return self.worker.cpu if self.worker else 0.0
