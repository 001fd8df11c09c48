"""A right answer passes, a wrong one never does, and no mistake is named that was not made."""

import copy
import math
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, make_dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fmbook import checks
from fmbook.checks import Wrong, difference, expect, expect_raises, rng
from fmbook.content import key_of, show

HOUSE = settings(max_examples=50, deadline=None, derandomize=True)  # the same in every run


@dataclass(frozen=True)
class Point:
    """One of the library's dataclasses, say."""

    x: Any
    y: Any


FLOATS = st.floats(-1e6, 1e6)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary()
KEYS = st.booleans() | st.integers() | st.text(max_size=3) | st.tuples(st.integers(), st.text())
DTYPES = [np.float16, np.float32, np.float64, np.complex64, np.int64, np.uint8, np.bool_]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda dtype: arrays.arrays(dtype, SHAPES))
TENSORS = ARRAYS.map(lambda array: torch.from_numpy(np.array(array)))
VALUES = st.recursive(
    PLAIN | ARRAYS | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.sets(KEYS, max_size=3)
        | st.frozensets(KEYS, max_size=3)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=6,
)


def passes(got: Any, want: Any, **options: Any) -> bool:
    said = message(got, want, **options)
    assert said is None or (said.startswith("the answer: ") and len(said) < 500)
    return said is None


def message(got: Any, want: Any, **options: Any) -> str | None:
    try:
        expect(got, want, **options)
    except Wrong as wrong:
        return str(wrong)
    return None


# right answers pass


@HOUSE
@given(VALUES)
@example(float("nan"))
@example([math.inf, -math.inf, 0.0, -0.0])
@example({1: {2: [3]}})
@example(10**400)
def test_a_value_equals_itself_and_its_copy(value: Any) -> None:
    expect(value, value)
    expect(copy.deepcopy(value), value)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        ([1, 2], (1, 2)),
        ((1, 2), [1, 2]),
        (torch.Size([2, 3]), (2, 3)),
        (namedtuple("Pair", "a b")(1, 2), (1, 2)),
        (Counter("aab"), {"a": 2, "b": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        ({np.int64(1): 2}, {1: 2}),
        ({np.str_("a")}, {"a"}),
        (np.str_("a"), "a"),
        (np.True_, True),
        (torch.tensor(True), True),
        (3.0, 3),
        (3, 3.0),
        (np.int32(3), 3),
        (np.float32(0.5), 0.5),
        (torch.tensor(3), 3),
        (np.array(2.5), 2.5),
        (2.5, np.float64(2.5)),
        (torch.tensor(2.5, requires_grad=True), 2.5),
        (IntEnum("Colour", "red").red, 1),
        (frozenset({1}), {1}),
        (1.0 + 1e-15, 1.0),
        (1e-15, 0.0),
        (1e10 + 1e-5, 1e10),
        (1 / 3, np.float32(1 / 3)),
        (torch.tensor(0.1, dtype=torch.bfloat16), torch.tensor(0.1004, dtype=torch.bfloat16)),
        (float("nan"), float("nan")),
        (math.inf, math.inf),
        (1j, 1j),
        (True, True),
        (b"a", b"a"),
        ({(1, ("a",)): 1}, {(1, ("a",)): 1}),
        ({Point(1, "a"), Point(2, "b")}, {Point(2, "b"), Point(1, "a")}),
        ({Point("a", 1): [1.0]}, {Point("a", 1): [1.0]}),
        (np.float32(1) / np.float32(3), torch.tensor(1 / 3).numpy()[()]),
    ],
)
def test_other_styles_of_the_same_content_pass(got: Any, want: Any) -> None:
    expect(got, want)


GRAD = torch.arange(6.0).reshape(2, 3).requires_grad_()


@pytest.mark.parametrize(
    "got",
    [
        torch.arange(6.0).reshape(2, 3),
        GRAD,
        GRAD * 1,
        torch.nn.Parameter(torch.arange(6.0).reshape(2, 3)),
        torch.arange(6.0, dtype=torch.float64).reshape(2, 3),
        torch.arange(6).reshape(2, 3),
        torch.arange(6.0, dtype=torch.bfloat16).reshape(2, 3),
        torch.arange(6.0, dtype=torch.float16).reshape(2, 3),
        torch.tensor([[0.0, 3], [1, 4], [2, 5]]).T,
        torch.arange(12.0)[::2].reshape(2, 3) / 2,
        torch.complex(torch.zeros(2, 3), -torch.arange(6.0).reshape(2, 3)).conj().imag,
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(6.0).reshape(2, 3).view(np.matrix),
        np.ma.masked_array(np.arange(6.0).reshape(2, 3)),
        np.arange(6.0).astype(">f8").reshape(2, 3),
    ],
)
def test_an_array_passes_in_whatever_layout_kind_and_precision(got: Any) -> None:
    want = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    expect(got, torch.from_numpy(want))
    expect(got, want)


# wrong answers never pass


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (None, 0),
        (0, None),
        (False, 0),
        (0, False),
        (True, 1),
        (1.0, True),
        (1, "1"),
        ("1", 1),
        (b"a", "a"),
        ("a", b"a"),
        ([1], [1, 2]),
        ([1, 2, 3], [1, 2]),
        ([], [1]),
        ({1, 2}, [1, 2]),
        ([1, 2], {1, 2}),
        ({1: 1}, {1}),
        ({1}, {1: 1}),
        ({True}, {1}),
        ({1}, {True}),
        ({True: 1}, {1: 1}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 2}, {"a": 1}),
        (set(), {1}),
        ({}, {"a": 1}),
        ({1}, set()),
        (2, 1),
        (1 + 1e-9, 1),
        (1 + 1e-12, 1.0),
        (10**400 + 1, 10**400),
        (10**400, 1.0),
        (2**53 + 1, 2**53),
        (1 + 1e-9j, 1.0),
        (1 + 0j, 1.0),
        (math.nan, 0.0),
        (0.0, math.nan),
        (math.inf, 1e308),
        (1e308, math.inf),
        (-math.inf, math.inf),
        (math.nan, math.inf),
        ([1.0], 1.0),
        (np.array([1.0]), 1.0),
        ("1.0", 1.0),
        ("abc", "abd"),
        ("a" * 10**6, "a" * (10**6 - 1)),
        (Point(1, 2), Point(1, 3)),
        ((1, 2), Point(1, 2)),
        ({Point(1, 2)}, {Point(1, 3)}),
        ({Point(1, 2)}, {(1, 2)}),
        (print, 1),
        (Point, Point(1, 2)),
    ],
)
def test_what_differs_fails(got: Any, want: Any) -> None:
    assert not passes(got, want)
    assert not passes([got], [want])
    assert not passes({"a": got}, {"a": want})
    assert not passes(Point(got, 1), Point(want, 1))


ONES = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (torch.zeros(2, 3), ONES),
        (torch.ones(3, 2), ONES),
        (torch.ones(1, 2, 3), ONES),
        (torch.ones(6), ONES),
        (torch.ones(3), ONES),
        (torch.tensor(1.0), ONES),
        (torch.ones(0, 3), ONES),
        (torch.ones(0, 3), torch.ones(3, 0)),
        (torch.ones(0), torch.ones(0, 1)),
        (1.0, ONES),
        ([[1.0] * 3] * 2, ONES),
        (None, ONES),
        (torch.ones(2, 3, dtype=torch.bool), ONES),
        (ONES, torch.ones(2, 3, dtype=torch.bool)),
        (torch.ones(2, 3, dtype=torch.complex64), ONES),
        (torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool)),
        (torch.full((2, 3), math.nan), ONES),
        (torch.full((2, 3), math.inf), ONES),
        (torch.full((2, 3), -math.inf), torch.full((2, 3), math.inf)),
        (ONES, torch.full((2, 3), math.nan)),
        (ONES.to_sparse(), ONES),
        (torch.ones(2, 3, device="meta"), ONES),
        (np.ones((2, 3), dtype=object), ONES),
        (np.array([["1"] * 3] * 2), ONES),
        (torch.tensor([2**60 + 1]), torch.tensor([2**60])),
        (np.array([2**63 + 1], np.uint64), np.array([2**63], np.uint64)),
        (np.array([2**64 - 1], np.uint64), np.array([-1])),
        (torch.tensor([1.5]), torch.tensor([1])),
        (torch.tensor([1 + 1e-5]), torch.tensor([1.0])),
        (torch.tensor([1e-9, 0.0]), torch.tensor([0.0, 1e-9])),
        (torch.zeros(3), torch.full((3,), 1e-6)),
        (torch.zeros(3, dtype=torch.bfloat16), torch.full((3,), 0.1, dtype=torch.bfloat16)),
        (torch.tensor([1.1]).bfloat16(), torch.tensor([1.0]).bfloat16()),
        (torch.tensor([1.01]).half(), torch.tensor([1.0]).half()),
        (np.float32(0.1), 0.1),
        (1e-9, np.float32(0.5)),
        (np.datetime64("2020-01-01"), 1),
        (np.array([(1, 2)], dtype=[("a", int), ("b", int)]), np.array([1])),
    ],
)
def test_arrays_that_differ_fail(got: Any, want: Any) -> None:
    assert not passes(got, want)


@HOUSE
@given(
    arrays.arrays(np.float32, arrays.array_shapes(max_side=4), elements=st.floats(-4, 4, width=32)),
    st.floats(1.01, 1e6),
    st.data(),
)
def test_beyond_the_tolerance_fails_and_within_it_passes(
    want: np.ndarray, times: float, chosen: st.DataObject
) -> None:
    assume(np.abs(want).max() > 1e-3)
    place = tuple(chosen.draw(st.integers(0, side - 1)) for side in want.shape)
    allowed = 64 * np.finfo(np.float32).eps * float(np.abs(want).max())
    off = want.astype(np.float64)
    off[place] += allowed * times
    assert not passes(off, want)
    assert not passes(torch.from_numpy(off), torch.from_numpy(want))
    off[place] = float(want[place]) + allowed / times
    assert passes(off, want)
    assert passes([off], [want])


@HOUSE
@given(FLOATS, st.floats(1e-9, 1e3), st.floats(1.01, 100), st.sampled_from([-1, 1]))
def test_a_given_tolerance_is_absolute(
    want: float, tolerance: float, times: float, sign: int
) -> None:
    far, near = want + sign * tolerance * times, want + sign * tolerance / times
    assume(abs(far - want) > tolerance >= abs(near - want))
    assert not passes(far, want, tolerance=tolerance)
    assert passes(near, want, tolerance=tolerance)
    assert not passes({"a": [far]}, {"a": [want]}, tolerance=tolerance)
    assert not passes(np.array([far]), np.array([want]), tolerance=tolerance)


@HOUSE
@given(st.lists(st.integers(), min_size=1, max_size=5), st.data())
def test_whole_numbers_are_exact(want: list[int], chosen: st.DataObject) -> None:
    at = chosen.draw(st.integers(0, len(want) - 1))
    off = [*want]
    off[at] += chosen.draw(st.sampled_from([-1, 1]))
    assert not passes(off, want)
    assert not passes(set(off), set(off) | {max(off) + 1})
    if all(abs(x) < 2**62 for x in want):
        assert not passes(torch.tensor(off), torch.tensor(want))


def changes(value: Any) -> Iterator[Any]:
    """Values that differ from one in a single place: its kind, its size, or a leaf."""
    if isinstance(value, np.ndarray | torch.Tensor):
        yield value[None]
        if len(value.reshape(-1)):
            boolean = value.dtype in (bool, torch.bool)
            near_0 = (value == False) if boolean else abs(value) < 0.5  # noqa: E712
            yield near_0.to(value.dtype) if torch.is_tensor(value) else near_0.astype(value.dtype)
        return
    if isinstance(value, Point):
        yield value.x
        yield from (Point(x, value.y) for x in changes(value.x))
        yield from (Point(value.x, y) for y in changes(value.y))
    elif isinstance(value, list | tuple):
        yield [*value, 0]
        yield [*value][:-1] if value else None
        for i, item in enumerate(value):
            yield from ([*value[:i], other, *value[i + 1 :]] for other in changes(item))
    elif isinstance(value, dict):
        yield value | {"another": 1}
        yield [*value]
        for key, item in value.items():
            yield {k: v for k, v in value.items() if k != key}
            yield from (value | {key: other} for other in changes(item))
    elif isinstance(value, set | frozenset):
        yield value | {"another"}
        yield [*value]
        yield from (value - {member} for member in value)
    elif value is None or isinstance(value, bool):
        yield int(value or 0)
        yield not value
    elif isinstance(value, int):
        yield value + 1
        yield str(value)
    elif isinstance(value, float):
        yield 0.0 if value != value else math.nan
        if math.isfinite(value):
            yield value + 1e-9 * max(1.0, abs(value))
    else:
        yield value + value[:1] + type(value)(*(["x"] if isinstance(value, str) else [b"x"]))
        yield None


@HOUSE
@given(VALUES)
def test_a_single_change_anywhere_fails(want: Any) -> None:
    for got in changes(want):
        assert not passes(got, want), got


# liars never pass


class Liar:
    """Says yes to everything."""

    shape, dtype, ndim, size = (2, 3), torch.float32, 2, 6

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("a")

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__

    def __sub__(self, other: object) -> "Liar":
        return self

    __rsub__ = __abs__ = __neg__ = __getitem__ = __iter__ = __sub__  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return True

    def __float__(self) -> float:
        return 1.0

    def __int__(self) -> int:
        return 1

    def __len__(self) -> int:
        return 2

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return np.ones((2, 3), np.float32)

    def __torch_function__(self, *_: Any, **__: Any) -> torch.Tensor:
        return torch.ones(2, 3)

    def __getattr__(self, name: str) -> "Liar":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> "Liar":
        return self


def disguised(kind: type) -> Any:
    """A liar whose `__class__` claims to be `kind`."""
    return type(kind.__name__, (Liar,), {"__class__": kind})()


def lying(base: type, *content: Any, **more: Any) -> Any:
    """A subclass of a built-in type with wrong content whose every method lies."""

    def yes(self: Any, *_: Any, **__: Any) -> bool:
        return True

    def claim(self: Any, *_: Any, **__: Any) -> Any:
        return more["claims"]

    names = ["__eq__", "__le__", "__ge__", "__contains__", "issubset", "issuperset"]
    body: dict[str, Any] = dict.fromkeys(names, yes)
    body |= {"__ne__": lambda *_: False, "__hash__": lambda self: hash(more["claims"])}
    if base in (list, tuple, dict, set, frozenset):
        body["__hash__"] = lambda self: 0
        body["__len__"] = lambda self: len(more["claims"])
        body["__iter__"] = lambda self: iter(more["claims"])
        body["copy"] = claim
        body["__getitem__"] = lambda self, at: more["claims"][at]
        body["__sub__"] = body["__rsub__"] = lambda *_: set()
    if base is dict:
        for name in ("keys", "values", "items"):
            body[name] = lambda self, name=name: getattr(more["claims"], name)()
    if base in (int, float, complex):
        body |= dict.fromkeys(["__sub__", "__rsub__", "__abs__"], lambda *_: 0)
        body |= dict.fromkeys(["__int__", "__float__", "__index__", "__complex__"], claim)
    if base in (str, bytes):
        body |= dict.fromkeys(["__str__", "__repr__", "encode", "strip"], claim)
    return type(base.__name__, (base,), body)(*content)


class LyingTensor(torch.Tensor):
    """Answers every function of torch, and numpy, with ones."""

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        return torch.ones(2, 3)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        return np.ones((2, 3), np.float32)


class LyingParameter(torch.nn.Parameter):
    """A parameter that answers every function of torch with ones."""

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        return torch.ones(2, 3)


class Dispatching(torch.Tensor):
    """A wrapper that has no content of its own."""

    @staticmethod
    def __new__(cls) -> "Dispatching":
        return torch.Tensor._make_wrapper_subclass(cls, (2, 3), dtype=torch.float32)

    @classmethod
    def __torch_dispatch__(cls, *_: Any, **__: Any) -> Any:
        return torch.ones(2, 3)


class Computing(torch.Tensor):
    """Has content, and lets every operation on it give ones."""

    @classmethod
    def __torch_dispatch__(cls, *_: Any, **__: Any) -> Any:
        return torch.ones(2, 3)


class KeyLiar(Liar):
    """A liar that has looked up how keys are compared."""

    def __hash__(self) -> int:
        return hash(key_of("a"))


class LyingArray(np.ndarray):
    """Answers every function of numpy with agreement."""

    def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
        return np.ones((2, 3), bool)

    def __array_function__(self, *_: Any, **__: Any) -> Any:
        return np.ones((2, 3))

    def __eq__(self, other: object) -> Any:
        return np.ones((2, 3), bool)

    __hash__ = None  # type: ignore[assignment]

    def astype(self, *_: Any, **__: Any) -> Any:
        return np.ones((2, 3))

    __array__ = copy = astype  # type: ignore[assignment]


class LyingScalar(np.float32):
    """A numpy scalar that claims another value."""

    def item(self, *_: Any) -> float:
        return 1.0

    def __eq__(self, other: object) -> Any:
        return True

    def __hash__(self) -> int:
        return hash(1.0)


WANTED = [
    None, True, 1, 1.0, 1j, "a", b"a", [1, 2], (1, 2), {1, 2}, frozenset({1}), {"a": 1},
    Point(1, 2), ONES, ONES.numpy(), np.float32(1), torch.tensor(1.0), {"a"}, {"a": {"a": 1}},
]  # fmt: skip


@pytest.mark.parametrize("want", WANTED, ids=repr)
def test_no_liar_passes_for_anything(want: Any) -> None:
    liars = [Liar(), Liar, disguised(type(want)), disguised(float), disguised(torch.Tensor)]
    liars += [disguised(kind) for kind in (bool, np.bool_, list, dict, set, np.ndarray)]
    for liar in liars:
        assert not passes(liar, want)
        assert not passes([liar], [want])
        assert not passes({"k": liar}, {"k": want})


@pytest.mark.parametrize(
    ("liar", "want"),
    [
        (lying(str, "b", claims="a"), "a"),
        (lying(bytes, b"b", claims=b"a"), b"a"),
        (lying(int, 2, claims=1), 1),
        (lying(int, 2, claims=1), 1.0),
        (lying(float, 2.0, claims=1.0), 1.0),
        (lying(float, math.nan, claims=1.0), 1.0),
        (lying(complex, 2j, claims=1j), 1j),
        (lying(list, [1], claims=[1, 2]), [1, 2]),
        (lying(tuple, (1,), claims=(1, 2)), (1, 2)),
        (lying(set, {5}, claims={1, 2}), {1, 2}),
        (lying(set, claims={1, 2}), {1, 2}),
        (lying(frozenset, {5}, claims={1, 2}), {1, 2}),
        (lying(dict, {"b": 1}, claims={"a": 1}), {"a": 1}),
        (lying(dict, claims={"a": 1}), {"a": 1}),
        ({lying(str, "b", claims="a")}, {"a"}),
        ({lying(str, "b", claims="a"): 1}, {"a": 1}),
        ({lying(int, 5, claims=1): 2}, {1: 2}),
        ({Liar(): 1}, {"a": 1}),
        ({Liar()}, {"a"}),
        ({(Liar(),)}, {("a",)}),
        ({Point(Liar(), 1)}, {Point("a", 1)}),
        (Point(Liar(), 1), Point("a", 1)),
        (torch.zeros(2, 3).as_subclass(LyingTensor), ONES),
        (torch.zeros(3, 3).as_subclass(LyingTensor), ONES),
        (LyingParameter(torch.zeros(2, 3)), ONES),
        (Dispatching(), ONES),
        (torch.zeros(2, 3).as_subclass(Computing), ONES),
        ({KeyLiar()}, {"a"}),
        ({KeyLiar(): 1}, {"a": 1}),
        (torch.zeros(()).as_subclass(LyingTensor), 1.0),
        (np.zeros((2, 3)).view(LyingArray), ONES),
        (np.zeros((3, 2)).view(LyingArray), ONES.numpy()),
        (np.zeros(()).view(LyingArray), 1.0),
        (LyingScalar(2), 1.0),
        (LyingScalar(2), np.float32(1)),
        (np.array([[Liar()] * 3] * 2, dtype=object), ONES),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_subclass_passes_by_what_it_claims(liar: Any, want: Any) -> None:
    assert not passes(liar, want)
    assert not passes([liar], [want])


def test_the_same_key_twice_does_not_hide_a_wrong_value() -> None:
    other = type("Other", (str,), {"__hash__": lambda self: 7, "__eq__": lambda *_: False})("a")
    assert not passes({"a": 0, other: 1}, {"a": 1})
    assert not passes({other: 1, "a": 0}, {"a": 1})


def test_a_dataclass_of_the_same_name_is_another() -> None:
    same = make_dataclass("Point", ["x", "y"], frozen=True)
    child = type("Point", (Point,), {"__eq__": lambda *_: True, "__hash__": lambda _: 0})
    for kind in (same, child):
        for got, want in (
            (kind(1, 2), Point(1, 2)),
            ({kind(1, 2)}, {Point(1, 2)}),
            ({kind(1, 2): 1}, {Point(1, 2): 1}),
        ):
            assert not passes(got, want)


def test_a_value_that_breaks_when_shown_is_wrong_and_no_more() -> None:
    def broken(*_: Any) -> str:
        raise RuntimeError("no")

    bad = type("Bad", (list,), {"__repr__": broken, "__len__": broken, "__iter__": broken})([1])
    assert not passes(bad, [2])
    assert not passes([type("Bad", (), {"__repr__": broken})()], [2])
    endless: list[Any] = []
    endless.append(endless)
    assert not passes(endless, [[1]])


# messages


@pytest.mark.parametrize(
    ("got", "want", "says"),
    [
        (torch.zeros(2, 3), ONES, "at [0, 0]: got 0, expected 1 (6 of 6 values differ)"),
        (torch.ones(3, 2), ONES, "got shape (3, 2), expected (2, 3)"),
        ([1.0], ONES, "got [1.0], expected an array of shape (2, 3)"),
        (ONES * math.nan, ONES, "there are NaNs, first at [0, 0]"),
        (ONES > 0, ONES, "got an array of bool, expected float32"),
        (np.array([1 + 1e-9]), np.array([1.0]), "got 1.000000001, expected 1.0"),
        (torch.tensor(math.nan), torch.tensor(1.0), "got NaN"),
        (2, 1, "got 2, expected 1"),
        ("a", 1, "got 'a', expected the number 1"),
        ((1, 3), (1, 2), "item 1: got 3, expected 2"),
        ([1], [1, 2], "got 1 items, expected 2: [1]"),
        ({1, 3}, {1, 2}, "lacks [2] and has also [3]"),
        ({"a": 1}, {"b": 1}, "among the keys: lacks ['b'] and has also ['a']"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "at 'a': at 'b': got 1, expected 2"),
        (Point(1, [2]), Point(1, [3]), "field y: item 0: got 2, expected 3"),
        (None, "x", "got None, expected 'x'"),
        (Liar(), 1, "got a Liar, expected the number 1"),
    ],
)
def test_a_difference_is_said_in_a_sentence(got: Any, want: Any, says: str) -> None:
    assert says in str(difference(got, want))


@pytest.mark.parametrize(
    "huge",
    [
        "x" * 10**6, [0.123456789] * 10**5, dict.fromkeys(range(10**4), "x" * 50), 10**5000,
        set(range(10**4)), torch.ones(300, 300), [["y" * 1000] * 100] * 100, b"z" * 10**6,
        type("N" * 1000, (), {})(), Point("x" * 10**5, "y" * 10**5), [[[[[[[[[1]]]]]]]]],
    ],
    ids=lambda value: type(value).__name__[:9],
)  # fmt: skip
def test_a_huge_answer_makes_a_short_message(huge: Any) -> None:
    assert len(show(huge)) <= 120
    for want in (1, "a", [1, 2], {1: 2}, {1}, ONES, Point(1, 2)):
        assert len(str(difference(huge, want))) < 400
        if not type(huge).__name__.startswith("NN"):
            assert len(str(difference(want, huge))) < 400


def test_what_cannot_be_compared_is_the_authors_error() -> None:
    for want in (print, object(), np.array(["a"]), ONES.to_sparse(), range(3)):
        with pytest.raises(TypeError, match="checks cannot compare with"):
            expect(want, want)


# mistakes


@HOUSE
@given(VALUES, VALUES, st.lists(VALUES, max_size=3))
def test_a_mistake_is_named_only_if_it_was_made(got: Any, want: Any, others: list[Any]) -> None:
    mistakes = {f"mistake {i}": value for i, value in enumerate([*others, want])}
    said = message(got, want, mistakes=mistakes) or ""
    for sentence, value in mistakes.items():
        made = difference(got, value) is None and difference(value, want) is not None
        assert (sentence in said) == (made and said != "")


def test_a_mistake_that_is_no_mistake_here_is_not_named() -> None:
    with pytest.raises(Wrong, match=r"^sum: got 4, expected 5$"):
        expect(4, 5, what="sum", mistakes={"it is right": 5, "other": lambda: 3})


def test_of_mistakes_that_look_alike_all_are_named() -> None:
    mistakes = {"it subtracts": lambda: 0, "it returns nothing": None, "it multiplies by 0": 0}
    with pytest.raises(Wrong, match=r"^sum: it subtracts; or it multiplies by 0$"):
        expect(0, 5, what="sum", mistakes=mistakes)


def test_a_mistake_that_cannot_be_made_is_passed_over() -> None:
    mistakes = {"broken": lambda: 1 / 0, "odd": lambda: object(), "it doubles": lambda: 4.0}
    with pytest.raises(Wrong, match=r"^half: it doubles$"):
        expect(4.0, 2.0, what="half", mistakes=mistakes)
    with pytest.raises(Wrong, match=r"^half: got 3.0, expected 2.0$"):
        expect(3.0, 2.0, what="half", mistakes=mistakes)


def test_within_the_tolerance_no_mistake_counts() -> None:
    expect(1.05, 1.0, tolerance=0.1, mistakes={"off": 1.05})
    with pytest.raises(Wrong, match=r"got 1\.15"):  # "near" is as near to what is right
        expect(1.15, 1.0, tolerance=0.1, mistakes={"near": 1.09})


def test_a_mistake_is_not_computed_for_a_right_answer() -> None:
    expect(1, 1, mistakes={"never": lambda: pytest.fail("computed")})


# the default tolerance is sound


def attention_by_hand(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The same sums in another order: exponentials first, division last."""
    scores = torch.einsum("...tk,...sk->...ts", q * q.shape[-1] ** -0.5, k)
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return torch.einsum("...ts,...sk->...tk", weights, v) / weights.sum(-1, keepdim=True)


def ratio(got: torch.Tensor, want: torch.Tensor) -> float:
    """The error in rounding errors at the largest magnitude: what may be 64."""
    error = (got.double() - want.double()).abs().max() / want.double().abs().max()
    return float(error / torch.finfo(torch.float32).eps)


def test_float32_in_another_order_errs_by_a_fifth_of_what_is_allowed() -> None:
    draw = torch.Generator().manual_seed(0)
    for T, K in ((4, 8), (16, 16), (64, 64)):
        for _ in range(3):
            q, k, v = (torch.randn(2, 4, T, K, generator=draw) for _ in range(3))
            want = torch.nn.functional.scaled_dot_product_attention(q, k, v)
            assert ratio(attention_by_hand(q, k, v), want) < 64 / 5
            assert ratio((q.double() @ k.double().mT).float(), q @ k.mT) < 64 / 5
            exps = (q @ k.mT).exp()
            assert ratio(exps / exps.sum(-1, keepdim=True), (q @ k.mT).softmax(-1)) < 64 / 5


def test_an_unscaled_score_is_far_outside_it() -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 4, 2, generator=draw) for _ in range(3))
    assert ratio(attention_by_hand(q * 1.001, k, v), attention_by_hand(q, k, v)) > 64


# expect_raises and rng


def boom(error: type[BaseException]) -> Any:
    raise error("boom")


def test_the_error_that_was_asked_for_passes() -> None:
    expect_raises(ValueError, boom, ValueError, what="a negative width")
    expect_raises(ValueError, boom, UnicodeError, what="a kind of it")
    expect_raises(NotImplementedError, boom, NotImplementedError, what="asked for")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda: boom(TypeError), "a width: expected ValueError, got TypeError"),
        (lambda: boom(NotImplementedError), "got NotImplementedError"),
        (lambda: None, "a width: expected ValueError, but it returned"),
    ],
)
def test_another_error_or_none_fails(function: Callable[[], Any], says: str) -> None:
    with pytest.raises(Wrong, match=says):
        expect_raises(ValueError, function, what="a width")


def test_an_answer_not_begun_passes_for_no_error() -> None:
    for error in (RuntimeError, Exception):
        with pytest.raises(Wrong, match="got NotImplementedError"):
            expect_raises(error, boom, NotImplementedError, what="anything")


def test_the_generator_repeats_with_the_seed_and_is_fresh_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FMBOOK_SEED", "7")
    assert rng().random() == rng().random() == np.random.default_rng(7).random()
    for unset in ("", None):
        monkeypatch.setenv("FMBOOK_SEED", "") if unset == "" else monkeypatch.delenv("FMBOOK_SEED")
        assert len({rng().random() for _ in range(5)}) == 5


@pytest.mark.parametrize("seed", ["-1", "1.5", "seven", " 7"])
def test_a_seed_that_is_none_is_refused(seed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMBOOK_SEED", seed)
    with pytest.raises(ValueError, match="FMBOOK_SEED must be a whole number from 0 on"):
        rng()


def test_checks_and_content_stay_readable() -> None:
    for file in (checks.__file__, checks.__file__.replace("checks", "content")):
        with open(file, encoding="utf8") as stream:
            assert len(stream.readlines()) < 250
