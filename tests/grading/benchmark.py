"""What a large class costs: cold and warm, memory of each process, the coordinator's share.

    python -m tests.grading.benchmark --count 2000 --jobs 1 --jobs 2
    python -m tests.grading.benchmark --count 2000 --book        (this book's exercises, mixed)
    python -m tests.grading.benchmark --count 2000 --scheduler tcp://127.0.0.1:8786

No test runs it. CPU-seconds hold on a busy machine too, wall time and efficiency do not: the load
is printed beside them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.grading import course as courses
from tests.grading import small
from tests.grading.test_parity import megabytes, submissions

FMBOOK = str(Path(sys.executable).with_name("fmbook"))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--count", type=int, default=2000)
    ask.add_argument("--book", action="store_true", help="this book's exercises, not a small one")
    ask.add_argument("--jobs", type=int, action="append")
    ask.add_argument("--scheduler", default="", help="Dask's address")
    asked = ask.parse_args()
    for jobs in asked.jobs or [1, 2]:
        with tempfile.TemporaryDirectory() as folder:
            place = handed_in(Path(folder) / "course", asked.count, asked.book)
            words = [
                "--jobs",
                str(jobs),
                *(["--scheduler", asked.scheduler] * bool(asked.scheduler)),
            ]
            for name, more in (("cold", []), ("warm", ["--regrade"]), ("kept", [])):
                report(f"{name}, --jobs {jobs}", asked.count, *run(place, [*words, *more]))


def handed_in(place: Path, count: int, book: bool) -> Path:
    if book:
        course = courses.make(place)
        for student, stem, notebook in submissions(count):
            courses.hand_in(course, student, stem, notebook)
    else:
        small.hand_in(small.make(place), count)
    return place


def run(place: Path, words: list[str]) -> tuple[float, dict[str, Any], dict[str, float]]:
    """Wall time, what the command says, and the most memory of each kind of process."""
    start, most, over = time.monotonic(), defaultdict[str, float](float), threading.Event()
    command = [FMBOOK, "grade", "--json", *words]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE) as process:
        watch = threading.Thread(target=watching, args=(process.pid, most, over))
        watch.start()
        said = json.loads(process.communicate()[0])
        over.set()
        watch.join()
    return time.monotonic() - start, said, most


def watching(pid: int, most: dict[str, float], over: threading.Event) -> None:
    while not over.wait(0.2):
        with suppress(psutil.Error):
            sizes = defaultdict[str, float](float)
            for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
                with suppress(psutil.Error):
                    sizes[role(process, pid)] += megabytes(process.pid)
            sizes["all"] = sum(sizes.values())
            for name, size in sizes.items():
                most[name] = max(most[name], size)


def role(process: psutil.Process, pid: int) -> str:
    if process.pid == pid:
        return "coordinator"
    words = " ".join(process.cmdline())
    if "bwrap" in words.split(" ")[0]:
        return "bubblewrap"
    parent = process.parent()
    own = "fmbook.grading.nursery" in words
    first = own and parent is not None and "bwrap" in parent.name()
    return "nursery" if first else "forked from it"


def report(
    what: str, count: int, wall: float, said: dict[str, Any], most: dict[str, float]
) -> None:
    office, work = (said["cpu_seconds"][part] for part in ("coordinator", "workers"))
    cores = len(os.sched_getaffinity(0))
    print(
        f"{what}: {count} submissions, {wall:.1f} s of wall at a load of {os.getloadavg()[0]:.1f}; "
        f"CPU-seconds {work:.1f} of work, {office:.1f} of the coordinator "
        f"({1000 * office / count:.1f} ms a submission); used {(work + office) / wall / cores:.0%} "
        f"of {cores} cores; at most "
        + ", ".join(f"{name} {size:.0f} MB" for name, size in sorted(most.items())),
        flush=True,
    )


if __name__ == "__main__":
    main()
