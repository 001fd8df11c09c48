"""What turns a Dask worker into one that grades: `dask worker ADDRESS --preload
fmbook.grading.preload`.

A job comes as bytes and goes as bytes; the worker has its own nursery and walls, and knows no
gradebook, no solutions and no student's name. It refuses to work without walls, and for a
coordinator whose grader is another version. Left out: when a job is run, which is Dask's matter.
"""

import json
import os
import threading
from typing import Any

from fmbook.grading.results import environment
from fmbook.grading.sandbox import Unsafe
from fmbook.grading.worker import Fault, Worker

__all__ = ["dask_setup", "dask_teardown", "run"]

_lock = threading.Lock()
_nurseries: dict[str, Worker] = {}  # by their settings; the last one used is kept


def dask_setup(worker: Any) -> None:
    """Called by Dask before a worker takes part."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    environment()  # reads the library's code once, before there is anything to do


def dask_teardown(worker: Any) -> None:
    """Called by Dask when a worker ends: so does its nursery."""
    with _lock:
        while _nurseries:
            _nurseries.popitem()[1].close()


def run(job: bytes, settings: str, version: str) -> tuple[str, bytes, dict[str, str]]:
    """Run a job; returns how it went ("ok", "fault"), the result or the reason, and the walls.

    Exceptions are not sent: what a coordinator reads back should be plain values.
    """
    if version != environment():
        said = "this worker's library, packages or machine differ from the coordinator's"
        return "fault", f"{said}: install the same versions on both".encode(), {}
    try:
        worker = _nursery(settings)
        return "ok", worker.grade(job), worker.layers
    except (Fault, Unsafe) as error:
        return "fault", str(error).encode("utf8", "replace"), {}


def _nursery(settings: str) -> Worker:
    with _lock:
        if settings not in _nurseries:
            while _nurseries:  # of another course: a worker serves one at a time
                _nurseries.popitem()[1].close()
            wanted = json.loads(settings)
            _nurseries[settings] = Worker(
                [str(name) for name in wanted["preload"]],
                watch=[str(name) for name in wanted["watch"]],
                memory=int(wanted["memory"]),
            )
        return _nurseries[settings]
