"""Puts a reader's component into the library for the length of a `with` block.

Left out: swapping methods one by one (swap the class), and swapping across processes.
"""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import fmbook

__all__ = ["swap", "swappable"]

ROOMS_WITHOUT_STEMS = {"widgets", "records", "grading"}


@cache
def _stems() -> tuple[str, ...]:
    """Every `fmbook.<era>.<stem>` there is, found without importing one."""
    eras = [
        info.name
        for info in pkgutil.iter_modules(fmbook.__path__)
        if info.ispkg and info.name not in ROOMS_WITHOUT_STEMS
    ]
    root = fmbook.__path__[0]
    return tuple(
        f"fmbook.{era}.{info.name}"
        for era in eras
        for info in pkgutil.iter_modules([f"{root}/{era}"])
    )


def swappable() -> dict[str, list[str]]:
    """What can be swapped: public name to the modules that define it.

    >>> "fmbook.transformers.attention" in swappable()["attention"]
    True
    """
    found: dict[str, list[str]] = {}
    for stem in _stems():
        module = importlib.import_module(stem)
        for name in module.__all__:
            found.setdefault(name, []).append(stem)
    return found


def _home(name: str) -> tuple[ModuleType, str]:
    """The module that defines `name`, given as `attention` or with its chapter before it."""
    *where, last = name.split(".")
    loaded = [m for m in _stems() if m in sys.modules and last in sys.modules[m].__all__]
    homes = loaded if len(loaded) == 1 and not where else swappable().get(last, [])
    if where:
        homes = [home for home in homes if home == ".".join(["fmbook", *where])]
    if not homes:
        raise ValueError(
            f"the library has no component {name!r}; there are: {', '.join(sorted(swappable()))}"
        )
    if len(homes) > 1:
        full = [f"{home.removeprefix('fmbook.')}.{last}" for home in homes]
        raise ValueError(f"{name!r} stands in several chapters; say which: {' or '.join(full)}")
    return importlib.import_module(homes[0]), last


def _check_fits(name: str, old: Any, new: Any) -> None:
    """Refuse a component that the library could not call as it calls its own."""
    if inspect.isclass(old) != inspect.isclass(new) or not callable(new):
        kind = "class" if inspect.isclass(old) else "function"
        raise TypeError(f"{name} is a {kind} in the library, got {type(new).__name__}: {new!r}")
    wanted, given = inspect.signature(old), inspect.signature(new)
    names = [p.name for p in wanted.parameters.values()]
    optional = {p.name for p in wanted.parameters.values() if p.default is not p.empty}
    for arguments in (names, [n for n in names if n not in optional]):
        call = {n: None for n in arguments if wanted.parameters[n].kind not in (2, 4)}
        by_place = [n for n in call if wanted.parameters[n].kind in (0, 1)]
        by_name = {n: None for n in call if n not in by_place}
        try:
            given.bind(*by_place, **by_name)
        except TypeError:
            raise TypeError(f"{name}{given} does not fit the library's {name}{wanted}") from None
    if inspect.isclass(old):
        lacks = [m for m in vars(old) if not m.startswith("_") and not hasattr(new, m)]
        if lacks:
            raise TypeError(f"{name} lacks what the library's has: {', '.join(lacks)}")


def _modules() -> dict[str, ModuleType]:
    return {n: m for n, m in list(sys.modules.items()) if n.startswith("fmbook.") and m is not None}


def _replace(old: Any, new: Any) -> list[tuple[ModuleType, str]]:
    """Let every loaded module of the library that refers to `old` refer to `new`; say where."""
    places = []
    for module in _modules().values():
        for key in [key for key, value in vars(module).items() if value is old]:
            setattr(module, key, new)
            places.append((module, key))
    return places


@contextmanager
def swap(**components: Callable[..., Any] | type) -> Iterator[None]:
    """Run the library with your components in place of its own, and restore it afterwards.

    Names are the library's public names (`swap(attention=mine)`); where two chapters share one, say
    which with `swap(**{"transformers.attention.attention": mine})`. Blocks nest; whatever happens
    inside, the library is whole again after it.

    Raises:
        ValueError: no chapter, or more than one, has such a name (the message lists them).
        TypeError: the component cannot be called as the library's is.
    """
    homes = {name: _home(name) for name in components}
    for name, (module, key) in homes.items():
        _check_fits(name, getattr(module, key), components[name])
    before = set(_modules())
    undo: list[tuple[ModuleType, str, Any]] = []
    try:
        for name, (module, key) in homes.items():
            old, new = getattr(module, key), components[name]
            undo += [(*place, old) for place in _replace(old, new)]
        yield
    finally:
        late = [module for name, module in _modules().items() if name not in before]
        for place, key, old in reversed(undo):
            new = vars(place)[key]
            setattr(place, key, old)
            for module in late:  # imported inside the block, so it took the swapped component
                if vars(module).get(key) is new:
                    setattr(module, key, old)
