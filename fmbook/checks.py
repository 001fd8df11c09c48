"""The helpers by which visible and hidden checks compare an answer and name what is wrong with it.

An answer is never asked about itself: not its `__eq__`, not its `shape`. Its plain content is taken
out by the methods of the built-in types, numpy and torch, and that is compared. Left out: running
student code safely (code that patches numpy or reads its caller), the grading engine's work.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fmbook.content import (
    NUMBERS,
    array_of,
    is_a,
    is_array,
    is_record,
    key_of,
    library,
    plain,
    show,
)

if TYPE_CHECKING:
    import numpy as np

EPS = sys.float_info.epsilon
# Rounding errors that a right answer in another order of operations may make, relative to the
# largest value. Seen in float32: matmul up to 7 (K 1024), softmax 3 (50,000 values), attention 10.
SLACK = 64
SLACK_HALF = 4  # 16-bit floats: seen 0.8, and 64 would be half of the value

__all__ = ["Wrong", "difference", "expect", "expect_raises", "rng"]


class Wrong(AssertionError):
    """An answer is wrong; the message names the mistake where it is a known one."""


def rng() -> "np.random.Generator":
    """The source of a check's inputs: seeded by $FMBOOK_SEED, else fresh.

    Raises:
        ValueError: $FMBOOK_SEED is not a whole number from 0 on.

    >>> rng().standard_normal((2, 3)).shape
    (2, 3)
    """
    import numpy as np

    seed = os.environ.get("FMBOOK_SEED")
    if seed and not seed.isdecimal():
        raise ValueError(f"FMBOOK_SEED must be a whole number from 0 on, got {seed!r}")
    return np.random.default_rng(int(seed) if seed else None)


def expect(
    got: Any,
    want: Any,
    *,
    what: str = "the answer",
    mistakes: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
) -> None:
    """Pass if `got` equals `want`; else raise, naming the mistake.

    `mistakes` maps a sentence to what an answer with that mistake would be: a value, or a function
    without arguments that computes it. A mistake is named only if `got` equals it and it differs
    from `want`; if `got` equals several, all are named. Arrays, tensors, numbers, strings, lists,
    tuples, sets, dicts and dataclasses are compared by content; a list and a tuple are alike.

    Floats agree within `tolerance` (absolute). Without one it is 64 rounding errors of `want`'s
    precision (4 of 16 bits) at its largest magnitude, and 1.4e-14 at least. Give one where larger
    numbers cancel, or where logits are in the hundreds. A Python float has double precision; in
    sets and among keys floats must be the same.

    Raises:
        Wrong: they differ.
        TypeError: `want` is of a kind that cannot be compared.

    >>> expect([1.0, 2.0], [1.0, 2.0])
    >>> expect(4.0, 2.0, what="half", mistakes={"it doubles": lambda: 4.0})
    Traceback (most recent call last):
    fmbook.checks.Wrong: half: it doubles
    """
    found = difference(got, want, tolerance)
    if found is None:
        return
    named = []
    for sentence, mistake in (mistakes or {}).items():
        try:
            value = mistake() if callable(mistake) else mistake
            if not difference(got, value, tolerance) and difference(value, want, tolerance):
                named.append(sentence)
        except Exception:  # this mistake cannot be made on this input
            continue
    raise Wrong(f"{what}: {'; or '.join(named) or found}")


def expect_raises(
    error: type[Exception], function: Callable[..., Any], *arguments: Any, what: str
) -> None:
    """Pass if the call raises `error` and nothing else; `what` says when it should.

    An answer that was not begun (NotImplementedError) passes for no other error.

    Raises:
        Wrong: it returned, or raised something else.
    """
    try:
        function(*arguments)
    except Exception as raised:
        kind = type(raised)
        begun = error is NotImplementedError or not issubclass(kind, NotImplementedError)
        if issubclass(kind, error) and begun:
            return
        raise Wrong(f"{what}: expected {error.__name__}, got {kind.__name__}") from None
    raise Wrong(f"{what}: expected {error.__name__}, but it returned")


def difference(got: Any, want: Any, tolerance: float | None = None) -> str | None:
    """What differs, in a sentence, or None if nothing does.

    >>> difference({"a": 1}, {"a": 2})
    "at 'a': got 1, expected 2"
    """
    if is_array(want):
        return _array_difference(got, want, tolerance)
    if is_record(want):
        if type(got) is not type(want):
            return f"got {show(got)}, expected {show(want)}"
        both = ((f.name, getattr(got, f.name, None), getattr(want, f.name)) for f in fields(want))
        return _first((f"field {name}", difference(g, w, tolerance)) for name, g, w in both)
    (kind, g), (wanted, w) = plain(got), plain(want)
    if wanted in NUMBERS:
        narrow = is_a(want, library("numpy", "inexact")) and tolerance is None
        return _number_difference(got, w, _tolerance(want) if narrow else tolerance)
    if wanted not in (type(None), bool, str, bytes, list, set, dict):
        raise TypeError(f"checks cannot compare with a {wanted.__name__}")
    if kind is not wanted:
        return f"got {show(got)}, expected {show(want)}"
    if wanted is list:
        if len(g) != len(w):
            return f"got {len(g)} items, expected {len(w)}: {show(got)}"
        pairs = enumerate(zip(g, w, strict=True))
        return _first((f"item {i}", difference(x, y, tolerance)) for i, (x, y) in pairs)
    if wanted in (set, dict):
        return _members_difference(g, w) if wanted is set else _dict_difference(g, w, tolerance)
    return None if g == w else f"got {show(got)}, expected {show(want)}"


def _number_difference(got: Any, want: Any, tolerance: float | None) -> str | None:
    kind, number = plain(got)
    if kind not in NUMBERS or (kind is complex and type(want) is not complex):
        return f"got {show(got)}, expected the number {show(want)}"
    if number == want or (number != number and want != want):
        return None
    if tolerance is None:
        tolerance = 0.0 if type(want) is int else SLACK * EPS * max(1.0, abs(want))
    try:
        near = abs(number - want) <= tolerance < float("inf")
    except OverflowError:  # a whole number too large for a float
        near = False
    return None if near else f"got {show(got)}, expected {show(want)}"


def _members_difference(got: list[Any], want: list[Any]) -> str | None:
    have, need = {key_of(x): x for x in got}, {key_of(x): x for x in want}
    lacks = [x for key, x in need.items() if key not in have]
    extra = [x for key, x in have.items() if key not in need]
    said = [f"lacks {show(lacks)}"] * bool(lacks) + [f"has also {show(extra)}"] * bool(extra)
    said += ["has members that pretend to differ"] * (len(got) != len(have))
    return " and ".join(said) or None


def _dict_difference(got: list[Any], want: list[Any], tolerance: float | None) -> str | None:
    if said := _members_difference([key for key, _ in got], [key for key, _ in want]):
        return f"among the keys: {said}"
    values = {key_of(key): value for key, value in got}
    return _first(
        (f"at {show(key)}", difference(values[key_of(key)], value, tolerance))
        for key, value in want
    )


def _first(found: Any) -> str | None:
    return next((f"{where}: {said}" for where, said in found if said), None)


def _tolerance(want: Any) -> float:
    """64 rounding errors of an array's precision at its largest magnitude, 0 for whole numbers."""
    import numpy as np

    content = array_of(want) if is_array(want) else np.asarray(want)
    if content is None or content.dtype.kind not in "fc":
        return 0.0
    finite = np.abs(content[np.isfinite(content)])
    info = sys.modules["torch"].finfo if is_a(want, library("torch", "Tensor")) else np.finfo
    eps, largest = float(info(want.dtype).eps), float(finite.max()) if finite.size else 0.0
    return max(SLACK * EPS, (SLACK if eps < 1e-4 else SLACK_HALF) * eps * largest)


def _array_difference(got: Any, want: Any, tolerance: float | None) -> str | None:
    import numpy as np

    g, w = array_of(got) if is_array(got) else None, array_of(want)
    if w is None or w.dtype.kind not in "biufc":
        raise TypeError(f"checks cannot compare with {show(want)} of {want.dtype}")
    if g is None:
        return f"got {show(got)}, expected an array of shape {w.shape}"
    if g.shape != w.shape:
        return f"got shape {g.shape}, expected {w.shape}"
    allowed = {"b": "b", "c": "biufc"}.get(w.dtype.kind, "iuf")
    if g.dtype.kind not in allowed:
        return f"got an array of {g.dtype}, expected {w.dtype}"
    if tolerance is None:
        tolerance = _tolerance(want)
    with np.errstate(all="ignore"):
        wide = np.complex128 if w.dtype.kind == "c" else np.float64
        gap = np.abs(g.astype(wide) - w.astype(wide))
        same = (g == w) | (np.isnan(g) & np.isnan(w))
        if tolerance > 0 and w.dtype.kind != "b":
            same |= gap <= tolerance
    return None if same.all() else _worst(g, w, same, gap)


def _worst(g: "np.ndarray", w: "np.ndarray", same: "np.ndarray", gap: "np.ndarray") -> str:
    """Where two arrays differ most."""
    import numpy as np

    if np.isnan(g).any() and not np.isnan(w).any():
        first = [int(i) for i in np.argwhere(np.isnan(g))[0]]
        return f"there are NaNs, first at {first}" if first else "got NaN"
    far = np.where(same, -1, np.nan_to_num(gap, nan=np.inf))
    place = np.unravel_index(int(np.argmax(far)), g.shape)
    at = f"at {[int(i) for i in place]}: " if place else ""
    x, y = g[place].item(), w[place].item()
    shown = (f"{x:.6g}", f"{y:.6g}") if f"{x:.6g}" != f"{y:.6g}" else (repr(x), repr(y))
    differing = f"({int((~same).sum())} of {same.size} values differ)"
    return f"{at}got {shown[0]}, expected {shown[1]} {differing}"
