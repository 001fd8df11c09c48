"""One submission in so many is run again here: what a far worker said must come out once more.

Which ones follows from the course's secret, so that no worker knows. Left out: what to do about a
difference, which a person decides; what was found here counts until then.
"""

import hashlib
import hmac
import json
from typing import Any

from fmbook.grading.course import CourseError
from fmbook.grading.schedulers import Job, Scheduler
from fmbook.grading.task import Task
from fmbook.grading.verdict import verdict_of
from fmbook.grading.worker import Fault

__all__ = ["Auditor"]


class Auditor:
    """Repeats a `share` of the jobs on another scheduler, this machine's own."""

    def __init__(self, secret: str, share: float, here: Scheduler) -> None:
        self.secret, self.share, self.here = secret.encode(), share, here

    def chosen(self, task: Task) -> bool:
        """Whether this one is repeated."""
        said = hmac.new(self.secret, b"audit/" + task.job_key.encode(), hashlib.sha256).digest()
        return int.from_bytes(said[:6], "big") < self.share * (1 << 48)

    def found(self, task: Task, found: dict[str, Any]) -> dict[str, Any]:
        """The findings that count: a worker's own, or ours if the scores differ.

        Raises:
            CourseError: this machine cannot run it.
        """
        job = Job(task.job_key, ".".join(task.key[:2]), task.job)
        try:
            again: dict[str, Any] = json.loads(self.here.submit(job).result())
        except Fault as error:
            raise CourseError(
                f"this machine cannot repeat what workers did ({error}): see to that, or do "
                "without (--audit 0)"
            ) from None
        theirs, ours = (verdict_of(task.exercise, task.submission, f) for f in (found, again))
        same = [c.score for c in theirs.checks] == [c.score for c in ours.checks]
        return found if same else again | {"differs": True}
