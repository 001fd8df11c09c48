"""Where jobs run: here, several at a time in threads that wait for the nursery.

Left out: other machines. What runs jobs elsewhere offers the same `map`.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, TypeVar

from fmbook.grading.worker import Fault, Worker

__all__ = ["Local"]

T = TypeVar("T")


class Local:
    """Runs jobs in one nursery of this machine, `jobs` at a time; it starts with the first job."""

    def __init__(self, jobs: int, preload: Sequence[str], **settings: Any) -> None:
        """`settings` are those of `Worker`."""
        self.jobs = max(1, jobs)
        self.preload, self.settings = preload, settings
        self.worker: Worker | None = None
        self.pool = ThreadPoolExecutor(self.jobs)

    def __enter__(self) -> "Local":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self.worker is not None:
            self.worker.close()
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> Worker:
        if self.worker is None:
            self.worker = Worker(self.preload, **self.settings)
        return self.worker

    @property
    def layers(self) -> dict[str, str]:
        """What walls the students in here, layer by layer; empty if nothing was run."""
        return self.worker.layers if self.worker else {}

    @property
    def cpu(self) -> float:
        """The CPU-seconds of all processes that ran jobs, once they have ended."""
        return self.worker.cpu if self.worker else 0.0

    def map(
        self, jobs: Iterator[tuple[T, bytes | None]]
    ) -> Iterator[tuple[T, bytes | Exception | None]]:
        """Each job's result or fault with what came with it, as they end; few are held at once.

        What has no job (None) comes back at once.
        """
        running: dict[Future[bytes], T] = {}
        more = True
        while more or running:
            while more and len(running) < self.jobs + 1:
                item = next(jobs, None)
                more = item is not None
                if item is not None and item[1] is None:
                    yield item[0], None
                elif item is not None and item[1] is not None:
                    running[self.pool.submit(self._start().grade, item[1])] = item[0]
            if running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    error = future.exception()
                    if error is not None and not isinstance(error, Fault):
                        raise error
                    fault = error if isinstance(error, Fault) else None
                    yield running.pop(future), fault or future.result()
