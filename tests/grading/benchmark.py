"""What a large class costs: cold and warm, memory of each process, the coordinator's share.

    python -m tests.grading.benchmark --count 2000 --jobs 1 --jobs 2
    python -m tests.grading.benchmark --count 2000 --book        (this book's exercises, mixed)
    python -m tests.grading.benchmark --count 2000 --workers 2   (on a Dask cluster on loopback)

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
from tests.grading.cluster import Machines
from tests.grading.test_parity import megabytes, submissions

Sizes = dict[str, float]
FMBOOK = str(Path(sys.executable).with_name("fmbook"))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--count", type=int, default=2000)
    ask.add_argument("--book", action="store_true", help="this book's exercises, not a small one")
    ask.add_argument("--jobs", type=int, action="append")
    ask.add_argument("--workers", type=int, action="append", help="Dask workers instead of jobs")
    asked = ask.parse_args()
    plain = [] if asked.workers else [1, 2]
    for number, far in [(n, False) for n in asked.jobs or plain] + [
        (n, True) for n in asked.workers or []
    ]:
        machines = Machines() if far else None
        try:
            with tempfile.TemporaryDirectory() as folder:
                place = handed_in(Path(folder) / "course", asked.count, asked.book)
                measured(place, asked.count, number, machines)
        finally:
            if machines:
                machines.stop()


def measured(place: Path, count: int, number: int, machines: Machines | None) -> None:
    """Grade a course cold, again from the cache, and once more when there is nothing to do."""
    words, what = ["--jobs", str(number)], f"--jobs {number}"
    if machines:
        for _ in range(number):
            machines.add()
        words, what = ["--scheduler", machines.address], f"{number} Dask workers"
    for name, more in (("cold", []), ("warm", ["--regrade"]), ("kept", [])):
        report(f"{name}, {what}", count, *run(place, [*words, *more], machines))


def handed_in(place: Path, count: int, book: bool) -> Path:
    if book:
        course = courses.make(place)
        for student, stem, notebook in submissions(count):
            courses.hand_in(course, student, stem, notebook)
    else:
        small.hand_in(small.make(place), count)
    return place


def run(
    place: Path, words: list[str], machines: Machines | None = None
) -> tuple[float, dict[str, Any], Sizes]:
    """Wall time, what the command says, and the most memory of each kind of process.

    The command cannot know what Dask's workers spend; their CPU-seconds are counted here.
    """
    start, most, over = time.monotonic(), defaultdict[str, float](float), threading.Event()
    others = {}
    if machines and machines.scheduler:
        others = {machines.scheduler.pid: "Dask scheduler"}
        others |= {worker.pid: "Dask worker" for worker in machines.workers}
    spent = sum(map(seconds, others))
    command = [FMBOOK, "grade", "--json", *words]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE) as process:
        roots = {process.pid: "coordinator", **others}
        watch = threading.Thread(target=watching, args=(roots, most, over))
        watch.start()
        said = json.loads(process.communicate()[0])
        over.set()
        watch.join()
    wall = time.monotonic() - start
    said["cpu_seconds"]["workers"] += sum(map(seconds, others)) - spent
    return wall, said, most


def seconds(pid: int) -> float:
    """CPU-seconds of a process and of all that it started, the ended ones too."""
    return sum(
        sum(process.cpu_times()[:4])
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    )


def watching(roots: dict[int, str], most: Sizes, over: threading.Event) -> None:
    while not over.wait(0.2):
        sizes = defaultdict[str, float](float)
        for root in roots:
            with suppress(psutil.Error):
                for process in [psutil.Process(root), *psutil.Process(root).children(True)]:
                    with suppress(psutil.Error):
                        sizes[role(process, roots)] += megabytes(process.pid)
        sizes["all"] = sum(sizes.values())
        for name, size in sizes.items():
            most[name] = max(most[name], size)


def role(process: psutil.Process, roots: dict[int, str]) -> str:
    if process.pid in roots:
        return roots[process.pid]
    words = " ".join(process.cmdline())
    if "bwrap" in words.split(" ")[0]:
        return "bubblewrap"
    parent = process.parent()
    own = "fmbook.grading.nursery" in words
    first = own and parent is not None and "bwrap" in parent.name()
    return "nursery" if first else "forked from it"


def report(what: str, count: int, wall: float, said: dict[str, Any], most: Sizes) -> None:
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
