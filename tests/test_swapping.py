"""A reader's component runs in the library's place for a `with` block, and never after it."""

import importlib
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fmbook
from fmbook import swap, swapping

ONE = '''
    """One."""
    __all__ = ["Box", "LIMIT", "double", "half", "offer", "total"]
    LIMIT = 3

    def double(x, times=2):
        return x * times

    def half(x, times=2):
        return x / times

    def total(*xs, start=0):
        return sum(xs) + start

    def offer(x, *, price, tax=0):
        return x * price + tax

    class Box:
        def __init__(self, x, y=0):
            self.x = x

        def open(self):
            return self.x
'''
TWO = '''
    """Two builds on one, under other names too."""
    from toys_one import double, Box, half as cut

    __all__ = ["fourfold", "open_box", "quarter"]

    def fourfold(x):
        return double(double(x))

    def open_box(x):
        return Box(x).open()

    def quarter(x):
        return cut(cut(x))
'''
THREE = '''
    """Three is seldom imported; it copies a reference, and derives from a class."""
    from toys_one import Box, double as twice
    from toys_two import fourfold

    __all__ = ["double", "Chest", "eightfold"]

    def double(x):
        return ("three", x)

    class Chest(Box):
        pass

    def eightfold(x):
        return twice(fourfold(x))
'''
FOUR = (
    '"""Four needs what is not here."""\nimport nowhere_to_be_found\nfrom toys_one import double\n'
)


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """An era of its own with four chapters, of which the second is imported."""
    era = tmp_path / "toys"
    era.mkdir()
    texts = {"__init__": '"""Toys."""', "one": ONE, "two": TWO, "three": THREE, "four": FOUR}
    for name, text in texts.items():
        text = textwrap.dedent(text).replace("from toys_", "from fmbook.toys.")
        (era / f"{name}.py").write_text(text)
    monkeypatch.setattr(fmbook, "__path__", [*fmbook.__path__, str(tmp_path)])
    yield importlib.import_module("fmbook.toys.two")
    for name in [name for name in sys.modules if name.startswith("fmbook.toys")]:
        del sys.modules[name]
    vars(fmbook).pop("toys", None)
    assert not swapping._layers


def one() -> Any:
    return sys.modules["fmbook.toys.one"]


def triple(x: Any, times: int = 3) -> Any:
    return x * 3


def state() -> dict[tuple[str, str], int]:
    """Where every name of every loaded module of the library points to."""
    loaded = [(n, m) for n, m in sys.modules.items() if n.startswith("fmbook.")]
    return {(n, key): id(value) for n, m in loaded for key, value in vars(m).items()}


# it swaps


def test_the_library_runs_on_the_component_and_then_on_its_own(toys: Any) -> None:
    before = state()
    own = one().double
    with swap(**{"toys.one.double": triple}):
        assert toys.fourfold(1) == 9
        assert one().double is triple
    assert toys.fourfold(1) == 4
    assert one().double is own
    assert {place: at for place, at in state().items() if place in before} == before


def test_a_reference_under_another_name_is_swapped_too(toys: Any) -> None:
    with swap(half=lambda x, times=2: x - 1):
        assert toys.quarter(8) == 6
    assert toys.quarter(8) == 2


def test_a_class_is_swapped(toys: Any) -> None:
    class Mine:
        def __init__(self, x: Any, y: Any = 0) -> None:
            self.x = x

        def open(self) -> Any:
            return ("mine", self.x)

    with swap(Box=Mine):
        assert toys.open_box(1) == ("mine", 1)
    assert toys.open_box(1) == 1


def test_two_at_once_and_each_others(toys: Any) -> None:
    with swap(**{"toys.one.double": triple, "half": lambda x, times=2: x}):
        assert (toys.fourfold(1), toys.quarter(8)) == (9, 8)
    with swap(**{"toys.one.double": one().half, "half": one().double}):
        assert (toys.fourfold(8), toys.quarter(8)) == (2, 32)
        assert one().double(8) == 4
    assert (toys.fourfold(8), toys.quarter(8)) == (32, 2)


def test_the_librarys_own_other_function_stays_itself(toys: Any) -> None:
    with swap(**{"toys.one.double": one().half}):
        assert (toys.fourfold(8), toys.quarter(8)) == (2, 2)
        with swap(half=triple):
            assert (toys.fourfold(8), toys.quarter(8)) == (2, 72)
        assert (toys.fourfold(8), toys.quarter(8)) == (2, 2)
    assert (toys.fourfold(8), toys.quarter(8)) == (32, 2)


def test_the_component_may_call_what_it_replaces(toys: Any) -> None:
    own = one().double
    with swap(**{"toys.one.double": lambda x, times=2: own(x) + 1}):
        assert toys.fourfold(1) == 7
    assert toys.fourfold(1) == 4


def test_nothing_to_swap_is_no_error(toys: Any) -> None:
    with swap():
        assert toys.fourfold(1) == 4


# it restores


def test_blocks_nest(toys: Any) -> None:
    name = "toys.one.double"
    with swap(**{name: triple}):
        with swap(**{name: lambda x, times=2: 0}):
            assert toys.fourfold(1) == 0
            with swap(half=triple):
                assert (toys.fourfold(1), toys.quarter(1)) == (0, 9)
        assert (toys.fourfold(1), toys.quarter(8)) == (9, 2)
        with swap(**{name: triple}):
            assert toys.fourfold(1) == 9
        assert toys.fourfold(1) == 9
    assert toys.fourfold(1) == 4


def test_blocks_may_close_in_any_order(toys: Any) -> None:
    own = one().half
    mine = [lambda x, times=2, i=i: i for i in range(3)]
    for order in permutations(range(3)):
        open_blocks = {i: swap(half=f) for i, f in enumerate(mine)}
        for block in open_blocks.values():
            block.__enter__()
        for i in order:
            assert one().half is toys.cut is mine[max(open_blocks)]
            open_blocks.pop(i).__exit__(None, None, None)
        assert one().half is toys.cut is own


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_is_raised_inside_the_library_is_whole_after(
    toys: Any, error: type[BaseException]
) -> None:
    def fails(x: Any, times: int = 2) -> Any:
        raise error

    before = state()
    with pytest.raises(error), swap(**{"toys.one.double": fails}):
        toys.fourfold(1)
    after = state()
    assert toys.fourfold(1) == 4
    assert {place: after[place] for place in before} == before


def test_a_block_left_by_return_or_by_a_closed_generator_restores(toys: Any) -> None:
    def leave() -> Any:
        with swap(**{"toys.one.double": triple}):
            return toys.fourfold(1)

    def give() -> Iterator[int]:
        with swap(**{"toys.one.double": triple}):
            yield toys.fourfold(1)
            yield toys.fourfold(2)

    assert leave() == 9
    assert toys.fourfold(1) == 4
    generator = give()
    assert next(generator) == 9
    generator.close()  # type: ignore[attr-defined]
    assert toys.fourfold(1) == 4


def test_a_swap_that_is_refused_changes_nothing(toys: Any) -> None:
    before = state()
    with (
        pytest.raises(TypeError, match="does not fit"),
        swap(**{"toys.one.double": triple, "half": lambda: 0}),
    ):
        pytest.fail("the block ran")
    after = state()
    assert {place: after[place] for place in before} == before
    assert toys.fourfold(1) == 4


def test_a_module_first_imported_inside_a_block_is_the_librarys_after_it(toys: Any) -> None:
    sys.modules.pop("fmbook.toys.three", None)
    own = one().Box
    with swap(**{"toys.one.double": triple, "Box": type("Box", (own,), {})}):
        three = importlib.import_module("fmbook.toys.three")
        assert three.eightfold(1) == 27
    assert three.eightfold(1) == 8
    assert three.twice is one().double
    assert three.Chest.__mro__[1] is own


def test_a_chapter_that_cannot_be_imported_is_in_nobodys_way(toys: Any) -> None:
    with swap(half=triple):
        assert "fmbook.toys.four" not in sys.modules


def test_a_name_deleted_inside_the_block_comes_back(toys: Any) -> None:
    own = one().double
    with swap(**{"toys.one.double": triple}):
        del one().double
    assert one().double is own


def test_it_can_be_entered_through_a_stack(toys: Any) -> None:
    with ExitStack() as stack:
        stack.enter_context(swap(half=triple))
        assert toys.quarter(1) == 9
    assert toys.quarter(8) == 2


# it refuses


def test_an_unknown_name_lists_the_known_ones(toys: Any) -> None:
    for name in ("doubble", "toys.two.double", "one.double", "fmbook.toys.one.half", "LIMITS"):
        with pytest.raises(ValueError, match=r"no component '.*there are: .*double.*unify"):
            swap(**{name: triple}).__enter__()


def test_a_name_of_two_chapters_asks_which(toys: Any) -> None:
    with pytest.raises(ValueError, match=r"say which: toys\.\w+\.double or toys\.\w+\.double"):
        swap(double=triple).__enter__()


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("half", lambda: 0),
        ("half", lambda x: 0),
        ("half", lambda x, y: 0),
        ("half", lambda x, times: 0),
        ("half", lambda x, divisor=2: 0),
        ("half", lambda x, times, more: 0),
        ("half", lambda *, x, times=2: 0),
        ("half", lambda x, /, *, times=2: 0),
        ("offer", lambda x, price, tax: 0),
        ("offer", lambda x: 0),
        ("offer", lambda x, *, price: 0),
        ("Box", type("Mine", (), {"__init__": lambda self: None, "open": print})),
    ],
)
def test_a_wrong_signature_is_refused_and_both_are_shown(
    toys: Any, name: str, component: Any
) -> None:
    with pytest.raises(TypeError, match=rf"{name}\(.*\) does not fit the library's {name}\(x"):
        swap(**{name: component}).__enter__()


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("half", lambda x, times=2: 0),
        ("half", lambda a, times=5, more=1: 0),
        ("half", lambda *args, **options: 0),
        ("half", lambda x, times=2, **options: 0),
        ("offer", lambda x, *, price, tax=0: 0),
        ("offer", lambda x, price, tax=0: 0),
        ("total", lambda *xs, start=0: 0),
        ("half", max),  # written in C: it does not tell what it takes
    ],
)
def test_a_signature_that_takes_the_librarys_calls_fits(
    toys: Any, name: str, component: Any
) -> None:
    with swap(**{name: component}):
        assert getattr(one(), name) is component


@pytest.mark.parametrize("component", [3, None, "half", triple, lambda x, y=0: 0])
def test_a_class_is_replaced_by_a_class_only(toys: Any, component: Any) -> None:
    with pytest.raises(TypeError, match="Box is a class in the library, got"):
        swap(Box=component).__enter__()


@pytest.mark.parametrize("component", [3, None, "half", int])
def test_a_function_is_replaced_by_a_function_only(toys: Any, component: Any) -> None:
    with pytest.raises(TypeError, match="half is a function in the library, got"):
        swap(half=component).__enter__()


def test_a_class_must_offer_what_the_librarys_offers(toys: Any) -> None:
    mine = type("Mine", (), {"__init__": lambda self, x, y=0: None})
    with pytest.raises(TypeError, match="Box lacks what the library's has: open"):
        swap(Box=mine).__enter__()


def test_a_constant_is_no_component(toys: Any) -> None:
    with pytest.raises(TypeError, match="LIMIT is a int, no component"):
        swap(LIMIT=4).__enter__()  # type: ignore[arg-type]


# what can be swapped


def test_all_public_names_of_chapters_can_be_swapped_and_no_rooms(toys: Any) -> None:
    known = swapping.swappable()
    assert known["quarter"] == ["fmbook.toys.two"]
    assert sorted(known["double"]) == ["fmbook.toys.one", "fmbook.toys.three"]
    assert "fmbook.transformers.attention" in known["attention"]
    assert not {"expect", "mail", "axes", "make", "BookWidget"} & set(known)


def test_listing_them_imports_nothing(toys: Any) -> None:
    before = set(sys.modules)
    swapping.swappable()
    assert set(sys.modules) == before


def test_the_real_attention_is_swapped_inside_multi_head_attention() -> None:
    import torch

    from fmbook.transformers.attention import MultiHeadAttention

    def first_value(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        return v[..., :1, :].expand(*q.shape[:-1], v.shape[-1])

    layer, x = MultiHeadAttention(D=8, N=2), torch.randn(1, 5, 8)
    with torch.no_grad():
        usual = layer(x)
        with swap(attention=first_value):
            rows = layer(x)[0]
        assert torch.equal(rows, rows[:1].expand(5, 8))
        assert torch.equal(layer(x), usual)
