"""How a job is written down: lines of JSON, first what holds for all of it, then each step.

So a step of the exercise's own is written once for all submissions. Left out: what a step says.
"""

import json
from collections.abc import Iterable
from typing import Any

__all__ = ["line", "parts", "read", "written"]


def line(value: dict[str, Any]) -> str:
    """A step, or the head, as a line: the same for the same content."""
    return json.dumps(value, sort_keys=True)


def written(head: str, steps: Iterable[str]) -> bytes:
    """A job of lines that `line` made."""
    return "\n".join((head, *steps)).encode()


def parts(job: bytes) -> tuple[dict[str, Any], list[str]]:
    """The head of a job, and its steps' lines.

    Raises:
        ValueError: it is no job.
    """
    head, *steps = job.decode().split("\n")
    return dict(json.loads(head)), steps


def read(job: bytes) -> dict[str, Any]:
    """The head of a job with all its `steps` in it.

    Raises:
        ValueError: it is no job.
    """
    head, steps = parts(job)
    return head | {"steps": [json.loads(step) for step in steps]}
