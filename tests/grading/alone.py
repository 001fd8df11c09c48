"""What the submissions of the course in this folder cost: graded, and their own code run plainly.

Prints CPU-seconds a submission of both. Run by `test_parity`.
"""

import contextlib
import importlib
import json
import os
import resource

from fmbook.grading.course import Course
from fmbook.grading.grade import Grader, Options
from fmbook.grading.job import read
from fmbook.grading.worker import Worker

ROUNDS = 2  # of which the better counts: machines are noisy


def main() -> None:
    grader = Grader(Course.find(), Options(regrade=True))
    exercises = list(grader.exercises.values())
    modules = sorted({name for exercise in exercises for name in exercise.modules})
    watch = sorted({n for e in exercises for names in e.forbidden.values() for n in names})
    jobs = [grader.task(key).job for key in grader.keys()]  # noqa: SIM118
    nothing, _, _ = jobs[0].partition(b"\n")  # no steps

    graded = [
        graded_in(modules, watch, jobs) - graded_in(modules, watch, [nothing])
        for _ in range(ROUNDS)
    ]
    for name in modules:
        with contextlib.suppress(ImportError):  # a name in a module
            importlib.import_module(name)
    plain = [sum(map(run_plainly, jobs)) for _ in range(ROUNDS)]
    print(json.dumps([min(graded) / len(jobs), min(plain) / len(jobs)]))


def graded_in(modules: list[str], watch: list[str], jobs: list[bytes]) -> float:
    with Worker(modules, watch=watch) as worker:
        for job in jobs:
            worker.grade(job)
    return worker.cpu


def run_plainly(job: bytes) -> float:
    """The cells and checks of a job in one fork of this process, without shell, walls or wire."""
    steps = [step for step in read(job)["steps"] if step["kind"] in ("student", "check")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = os.fork()
    if child == 0:
        names = {"__name__": "__main__", "get_ipython": lambda: None}
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            for step in steps:
                source = f"{step['source']}\n{step.get('tail', '')}"
                with contextlib.suppress(Exception):
                    exec(compile(source, "cell", "exec"), names)
        os._exit(0)
    os.waitpid(child, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
