"""Puts a reader's component into the library for the length of a `with` block.

Left out: swapping methods one by one (swap the class), and swapping across processes.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from fmbook import imports

__all__ = ["swap", "swappable"]

ROOMS = {"widgets", "records", "grading"}

# Every place in a module that is swapped now: the library's own object under None, then what each
# open block put there, in order. Blocks may close in any order: the last one open is in force.
Place = tuple[ModuleType, str]
_layers: dict[Place, dict[object, Any]] = {}


def swappable() -> dict[str, list[str]]:
    """What can be swapped: public name to the modules that define it; nothing is imported.

    >>> "fmbook.transformers.attention" in swappable()["attention"]
    True
    """
    found: dict[str, list[str]] = {}
    for module, file in imports.modules().items():
        if module.count(".") == 2 and module.split(".")[1] not in ROOMS:
            for name in imports.exports(file):
                found.setdefault(name, []).append(module)
    return found


def _home(name: str) -> Place:
    """The module that defines `name`, given as `attention` or with its chapter before it."""
    *where, last = name.split(".")
    homes = swappable().get(last, [])
    if where:
        homes = [home for home in homes if home == ".".join(["fmbook", *where])]
    if not homes:
        raise ValueError(
            f"the library has no component {name!r}; there are: {', '.join(sorted(swappable()))}"
        )
    places = [(importlib.import_module(home), last) for home in homes]
    if len({id(_own(place)) for place in places}) > 1:
        full = [f"{home.removeprefix('fmbook.')}.{last}" for home in homes]
        raise ValueError(f"{name!r} stands in several chapters; say which: {' or '.join(full)}")
    return places[0]


def _own(place: Place) -> Any:
    """The library's own object at a place, whatever is swapped in at present."""
    return _layers[place][None] if place in _layers else getattr(*place)


def _check_fits(name: str, old: Any, new: Any) -> None:
    """Refuse a component that the library could not call as it calls its own."""
    if not callable(old):
        raise TypeError(f"{name} is a {type(old).__name__}, no component")
    if inspect.isclass(old) != inspect.isclass(new) or not callable(new):
        kind = "class" if inspect.isclass(old) else "function"
        raise TypeError(f"{name} is a {kind} in the library, got {type(new).__name__}: {new!r}")
    try:
        wanted, given = inspect.signature(old), inspect.signature(new)
    except ValueError:  # written in C, as torch's: it does not tell
        return
    if not _takes_calls_of(given, wanted):
        raise TypeError(
            f"{name}{given} does not fit the library's {name}{wanted}: it must take the same "
            "arguments in the same order, those with a default also by name"
        )
    if inspect.isclass(old):
        lacks = [m for m in dir(old) if not m.startswith("_") and not hasattr(new, m)]
        if lacks:
            raise TypeError(f"{name} lacks what the library's has: {', '.join(lacks[:6])}")


def _takes_calls_of(given: inspect.Signature, wanted: inspect.Signature) -> bool:
    """Whether `given` can be called as `wanted` invites: with the least, with all, by name."""
    own = list(wanted.parameters.values())
    in_order = [p.name for p in own if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p.name for p in own if p.name in in_order and p.default is p.empty]
    optional = [p.name for p in own if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in needed]
    named = {p.name: p.default is p.empty for p in own if p.kind is p.KEYWORD_ONLY}
    must = dict.fromkeys(name for name, required in named.items() if required)
    try:
        given.bind(*needed, **must)
        given.bind(*in_order, **dict.fromkeys(named))
        given.bind(*needed, **dict.fromkeys([*optional, *named]))
    except TypeError:
        return False
    return True


def _load_users(home: ModuleType) -> None:
    """Import every module of the library that imports `home`, directly or not.

    One that was imported inside the block would keep the swapped component after it.
    """
    files = imports.modules()
    for module in files:
        if module not in sys.modules and home.__name__ in imports.imported_by(module, files):
            with suppress(Exception):  # it needs a package that is not here: nobody can use it
                importlib.import_module(module)


def _places(own: Any) -> list[Place]:
    """Where the loaded modules of the library refer to one of its objects."""
    loaded = [m for name, m in list(sys.modules.items()) if name.startswith("fmbook.") and m]
    return [(m, key) for m in loaded for key in list(vars(m)) if _own((m, key)) is own]


@contextmanager
def swap(**components: Callable[..., Any] | type) -> Iterator[None]:
    """Run the library with your components in place of its own, and restore it afterwards.

    Names are the library's public names (`swap(attention=mine)`); where two chapters share one, say
    which with `swap(**{"transformers.attention.attention": mine})`. What the library looks up by
    name is swapped, in every chapter; names that your notebook imported are yours and stay. Blocks
    nest; whatever happens inside, the library is whole again after it.

    Raises:
        ValueError: no chapter, or more than one, has such a name (the message lists them).
        TypeError: the component cannot be called as the library's is.
    """
    homes = {name: _home(name) for name in components}
    for name, home in homes.items():
        _check_fits(name, _own(home), components[name])
        _load_users(home[0])
    new = {place: components[n] for n, home in homes.items() for place in _places(_own(home))}
    block = object()
    try:
        for place, component in new.items():
            _layers.setdefault(place, {None: getattr(*place)})[block] = component
            setattr(*place, component)
        yield
    finally:
        for place in new:
            layers = _layers[place]
            layers.pop(block, None)
            setattr(*place, list(layers.values())[-1])
            if len(layers) == 1:
                del _layers[place]
