"""Whether what came back over the net can be the result of a job: its form, its names, its ranges.

A worker that lies in the right form cannot be told from one that does not; see the threat model in
the instructors' chapter. Left out: points, which the coordinator gives.
"""

import json
from collections.abc import Mapping
from typing import Any

from fmbook.grading.job import read

__all__ = ["Forged", "credible"]

SIZE = 64 << 20
LONG = 20_000  # characters of a message
MANY = 10_000
KNOWN = {
    *("id", "seconds", "ended", "died", "error", "flags", "outputs", "score", "tier", "printed"),
}
OF = {"scan": {"flags"}, "setup": set(), "student": {"outputs"}, "check": {"tier", "flags"}}


class Forged(ValueError):
    """This is no result of that job."""


def credible(job: bytes, said: Any) -> bytes:
    """The result, unchanged.

    Raises:
        Forged: it is none; the message says what is wrong with it.
    """
    if type(said) is not bytes or len(said) > SIZE:
        raise Forged("not bytes, or too many")
    try:
        found = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise Forged(f"no JSON: {error}"[:200]) from None
    if type(found) is not dict or found.keys() != {"steps", "faults", "poison"}:
        raise Forged("other parts than those of a result")
    content = read(job)
    asked = {step["id"]: step for step in content["steps"]}
    _frame(found, asked)
    until = content["total_seconds"]
    for name, step in found["steps"].items():
        _step(name, step, asked[name], 10 * until + 60)
    return said


def _frame(found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """All steps that were asked for and no others, unless something ended the run."""
    steps, faults = found["steps"], found["faults"]
    if type(steps) is not dict or type(faults) is not list or type(found["poison"]) is not bool:
        raise Forged("parts of other types")
    if len(faults) > MANY or not all(type(f) is str and len(f) <= LONG for f in faults):
        raise Forged("faults that are no sentences")
    if foreign := steps.keys() - asked.keys():
        raise Forged(f"a step that nobody asked for: {sorted(foreign)[0][:80]!r}")
    whole = all(type(s) is dict and "ended" not in s for s in steps.values())
    if whole and not faults and (lacking := asked.keys() - steps.keys()):
        raise Forged(f"a step is missing: {min(lacking)[:80]!r}")
    if found["poison"] and (steps or not faults):
        raise Forged("a fault of the machine and findings at once")


def _step(name: str, step: Any, asked: Mapping[str, Any], most: float) -> None:
    if type(step) is not dict or step.get("id") != name or step.keys() - KNOWN:
        raise Forged(f"step {name[:80]!r} is no step")
    kind = asked["kind"]
    if "ended" in step:
        good = type(step["ended"]) is str and len(step["ended"]) <= LONG
    else:
        good = step.keys() >= OF[kind] or "error" in step
    if kind != "check":
        good = good and not step.keys() & {"score", "tier", "printed"}
    elif "tier" in step:
        good = good and step["tier"] == asked["tier"] and ("score" in step) != ("error" in step)
    good = good and _is_error(step.get("error", ["", ""])) and _is_number(step.get("score"))
    seconds = step.get("seconds", 0.0)
    good = good and type(seconds) in (int, float) and 0 <= seconds <= most
    good = good and all(map(_is_flag, _list(step.get("flags", []))))
    good = good and all(map(_is_output, _list(step.get("outputs", []))))
    if not good:
        raise Forged(f"step {name[:80]!r} says what no {kind} says")


def _list(value: Any) -> list[Any]:
    if type(value) is not list or len(value) > MANY:
        raise Forged("something else than a list, or too long a one")
    return value


def _is_error(value: Any) -> bool:
    return type(value) is list and [type(x) for x in value] == [str, str]


def _is_number(value: Any) -> bool:
    return value is None or type(value) is float


def _is_flag(value: Any) -> bool:
    return type(value) is list and [type(x) for x in value] == [str, str, int]


def _is_output(value: Any) -> bool:
    return type(value) is dict and type(value.get("output_type")) is str
