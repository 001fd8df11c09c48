"""The helpers by which visible and hidden checks compare an answer and name what is wrong with it.

An answer is never asked about itself: not its `__eq__`, not its `shape`, only its plain content.
Left out: running student code safely, which is the grading engine's work.
"""

import math
import numbers
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

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
    if seed is not None and not seed.isdecimal():
        raise ValueError(f"FMBOOK_SEED must be a whole number from 0 on, got {seed!r}")
    return np.random.default_rng(None if seed is None else int(seed))


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
    from `want`. Arrays, tensors, numbers, strings, lists, tuples, sets, dicts and dataclasses are
    compared by content; floats within `tolerance` (absolute), which without one is 64 rounding
    errors of `want`'s precision at its largest magnitude.

    Raises:
        Wrong: they differ.

    >>> expect([1.0, 2.0], [1.0, 2.0])
    >>> expect(4.0, 2.0, what="half", mistakes={"it doubles": lambda: 4.0})
    Traceback (most recent call last):
    fmbook.checks.Wrong: half: it doubles
    """
    found = difference(got, want, tolerance)
    if found is None:
        return
    for sentence, mistake in (mistakes or {}).items():
        try:
            value = mistake() if callable(mistake) else mistake
        except Exception:  # this mistake cannot be made on this input
            continue
        if difference(got, value, tolerance) is None and difference(value, want, tolerance):
            raise Wrong(f"{what}: {sentence}")
    raise Wrong(f"{what}: {found}")


def expect_raises(
    error: type[Exception], function: Callable[..., Any], *arguments: Any, what: str
) -> None:
    """Pass if the call raises `error` and nothing else; `what` says when it should.

    Raises:
        Wrong: it returned, or raised something else.
    """
    try:
        function(*arguments)
    except error:
        return
    except Exception as other:
        raise Wrong(f"{what}: expected {error.__name__}, got {type(other).__name__}") from None
    raise Wrong(f"{what}: expected {error.__name__}, but it returned")


def difference(got: Any, want: Any, tolerance: float | None = None) -> str | None:
    """What differs, in a sentence, or None if nothing does.

    >>> difference({"a": 1}, {"a": 2})
    "at 'a': got 1, expected 2"
    """
    if _is_array(want):
        return _array_difference(got, want, tolerance)
    if want is None or isinstance(want, bool | str | bytes):
        same = type(got) is type(want) and got == want
        return None if same or _bool_equal(got, want) else f"got {_show(got)}, expected {want!r}"
    if isinstance(want, numbers.Number):
        return _number_difference(got, want, tolerance)
    if isinstance(want, list | tuple):
        return _sequence_difference(got, want, tolerance)
    if isinstance(want, set | frozenset):
        if not isinstance(got, set | frozenset):
            return f"got {_show(got)}, expected a set"
        lacks, extra = want - got, got - want
        said = [f"lacks {_show(set(lacks))}"] * bool(lacks) + [
            f"has also {_show(set(extra))}"
        ] * bool(extra)
        return " and ".join(said) or None
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return f"got {_show(got)}, expected a dict"
        if got.keys() != want.keys():
            return f"got the keys {_show(list(got))}, expected {_show(list(want))}"
        return _first((f"at {k!r}", difference(got[k], want[k], tolerance)) for k in want)
    if is_dataclass(want):
        if type(got).__name__ != type(want).__name__:
            return f"got {_show(got)}, expected {_show(want)}"
        named = [f.name for f in fields(want)]
        return _first(
            (f"field {n}", difference(getattr(got, n, None), getattr(want, n), tolerance))
            for n in named
        )
    raise TypeError(f"checks cannot compare with a {type(want).__name__}")


def _bool_equal(got: Any, want: Any) -> bool:
    return type(got).__name__ == "bool" and isinstance(want, bool) and bool(got) == want


def _number_difference(got: Any, want: Any, tolerance: float | None) -> str | None:
    if _is_array(got) and _plain(got).size == 1 and _plain(got).ndim == 0:
        got = _plain(got).item()
    if not isinstance(got, numbers.Number) or isinstance(got, bool):
        return f"got {_show(got)}, expected the number {want!r}"
    if isinstance(want, int) and tolerance is None:
        return None if got == want else f"got {got!r}, expected {want!r}"
    if tolerance is None:
        tolerance = 64 * sys.float_info.epsilon * max(1.0, abs(want) if _finite(want) else 1.0)
    same = got == want or (got != got and want != want) or abs(got - want) <= tolerance
    return None if same else f"got {_show(got)}, expected {want!r}"


def _finite(value: Any) -> bool:
    return math.isfinite(abs(value))


def _sequence_difference(got: Any, want: Any, tolerance: float | None) -> str | None:
    if not isinstance(got, list | tuple):
        return f"got {_show(got)}, expected a {type(want).__name__}"
    if len(got) != len(want):
        return f"got {len(got)} items, expected {len(want)}: {_show(got)}"
    pairs = enumerate(zip(got, want, strict=True))
    return _first((f"item {i}", difference(g, w, tolerance)) for i, (g, w) in pairs)


def _first(found: Any) -> str | None:
    return next((f"{where}: {said}" for where, said in found if said), None)


def _is_array(value: Any) -> bool:
    kinds = [getattr(sys.modules.get("torch"), "Tensor", None)]
    kinds.append(getattr(sys.modules.get("numpy"), "ndarray", None))
    return any(kind is not None and isinstance(value, kind) for kind in kinds)


def _plain(value: Any) -> "np.ndarray":
    """The content of a tensor or array as a numpy array, whatever subclass it claims to be."""
    import numpy as np

    if "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor):
        torch: Any = sys.modules["torch"]
        with torch._C.DisableTorchFunctionSubclass():
            value = torch.Tensor.detach(value).to("cpu")
            value = value.to(torch.float32) if value.dtype == torch.bfloat16 else value
            return np.asarray(value.resolve_conj().numpy())
    return np.array(value, subok=False)


def _array_difference(got: Any, want: Any, tolerance: float | None) -> str | None:
    import numpy as np

    if not _is_array(got):
        return f"got {_show(got)}, expected an array of shape {tuple(want.shape)}"
    g, w = _plain(got), _plain(want)
    if g.shape != w.shape:
        return f"got shape {g.shape}, expected {w.shape}"
    if g.dtype.kind not in "biufc":
        return f"got an array of {g.dtype}, expected {w.dtype}"
    if (g.dtype.kind == "b") != (w.dtype.kind == "b"):
        return f"got an array of {g.dtype}, expected {w.dtype}"
    if w.dtype.kind not in "fc" and tolerance is None:
        tolerance = 0.0
    finite = np.abs(w[np.isfinite(w)])
    if tolerance is None:
        largest = float(finite.max()) if finite.size else 0.0
        tolerance = 64 * float(np.finfo(w.dtype).eps) * max(1.0, largest)
    with np.errstate(all="ignore"):
        wide = np.complex128 if "c" in (g.dtype.kind, w.dtype.kind) else np.float64
        gap = np.abs(g.astype(wide) - w.astype(wide))
        same = (g == w) | (np.isnan(g) & np.isnan(w)) | (gap <= tolerance)
    if same.all():
        return None
    if np.isnan(g).any() and not np.isnan(w).any():
        return f"there are NaNs, first at {_where(np.isnan(g))}"
    place = np.unravel_index(
        int(np.argmax(np.where(same, -1, np.nan_to_num(gap, nan=np.inf)))), g.shape
    )
    at = f"at {[int(i) for i in place]}: " if place else ""
    return (
        f"{at}got {g[place].item():.6g}, expected {w[place].item():.6g} "
        f"({int((~same).sum())} of {same.size} values differ)"
    )


def _where(mask: "np.ndarray") -> list[int]:
    import numpy as np

    return [int(i) for i in np.argwhere(mask)[0]]


def _show(value: Any) -> str:
    if _is_array(value):
        return f"an array of shape {_plain(value).shape}"
    if type(value).__module__ not in ("builtins", "numpy") and not is_dataclass(value):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
