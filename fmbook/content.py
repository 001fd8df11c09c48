"""Takes the plain content out of a value, whatever subclass it is of and whatever it claims.

Nothing of the value itself is called: a built-in type's own methods, numpy and torch read it.
Left out: values that are not of a built-in, array or dataclass type; they stay as they are.
"""

import reprlib
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "NUMBERS",
    "array_of",
    "is_a",
    "is_array",
    "is_record",
    "key_of",
    "library",
    "plain",
    "show",
]

NUMBERS = (int, float, complex)


def is_a(value: Any, *kinds: Any) -> bool:
    """`isinstance` that believes neither `__class__` nor registered kinds.

    >>> is_a(True, int), is_a("1", int, float)
    (True, False)
    """
    return any(issubclass(type(value), kind) for kind in kinds if kind is not None)


def library(module: str, name: str) -> Any:
    """A type of numpy or torch if that is loaded, else None."""
    return getattr(sys.modules.get(module), name, None)


def is_array(value: Any) -> bool:
    """Whether a value is a tensor or an array, of whatever subclass."""
    return is_a(value, library("torch", "Tensor"), library("numpy", "ndarray"))


def is_record(value: Any) -> bool:
    """Whether a value is of a dataclass."""
    return is_dataclass(type(value))


_TAKE: dict[type, tuple[type, Callable[[Any], Any]]] = {
    type(None): (type(None), lambda value: None),
    bool: (bool, lambda value: value),
    int: (int, int.__int__),
    float: (float, float.__float__),
    complex: (complex, complex.__complex__),
    str: (str, str.__str__),
    bytes: (bytes, lambda value: bytes.__getitem__(value, slice(None))),
    list: (list, lambda value: list(list.__iter__(value))),
    tuple: (list, lambda value: list(tuple.__iter__(value))),
    set: (set, lambda value: list(set.__iter__(value))),
    frozenset: (set, lambda value: list(frozenset.__iter__(value))),
    dict: (dict, lambda value: list(dict.items(value))),
}


def plain(value: Any) -> tuple[type, Any]:
    """The built-in type that a value is of, and its content read by that type's own methods.

    A tuple counts as a list, an array without axes as its number; a set becomes the list of its
    members and a dict that of its items.

    >>> plain((1, 2)), plain({"a": 1})
    ((<class 'list'>, [1, 2]), (<class 'dict'>, [('a', 1)]))
    """
    if is_a(value, library("numpy", "generic")):
        value = library("numpy", "generic").item(value)
    elif is_array(value):
        array = array_of(value)
        value = array.item() if array is not None and array.ndim == 0 else value
    for kind, (name, take) in _TAKE.items():
        if issubclass(type(value), kind):
            return name, take(value)
    return type(value), value


def array_of(value: Any) -> "np.ndarray | None":
    """The content of an array or a strided tensor as a plain numpy array; else None."""
    import numpy as np

    if not is_a(value, library("torch", "Tensor")):
        return np.array(value, subok=False)
    torch: Any = sys.modules["torch"]
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        return None  # a subclass may compute what it shows
    try:
        with torch._C.DisableTorchFunction():
            if value.dtype.is_floating_point and value.dtype.itemsize < 4:
                value = value.to(torch.float32)
            return np.asarray(value.numpy(force=True))
    except (RuntimeError, TypeError, NotImplementedError):  # sparse, or on no device
        return None


def key_of(value: Any) -> Any:
    """What stands for a value in a set or as a key: plain, hashable, equal for equal content."""
    if is_record(value):
        return id(type(value)), *(key_of(getattr(value, f.name)) for f in fields(value))
    kind, content = plain(value)
    if kind in NUMBERS:
        return content if content == content else "nan"
    if kind in (list, set):
        return kind, (tuple if kind is list else frozenset)(map(key_of, content))
    return (kind, content) if kind in (type(None), bool, str, bytes) else (id(value), "odd")


def show(value: Any) -> str:
    """A value in at most 120 characters, whatever it is."""
    printer = reprlib.Repr()
    printer.maxother = printer.maxstring = 110
    try:
        if is_array(value) and (array := array_of(value)) is not None and array.ndim:
            return f"an array of shape {array.shape}"
        kind, content = plain(value)
        if kind.__module__ != "builtins" and not is_record(value):
            return f"a {kind.__name__}"[:120]
        text = printer.repr(value if type(value) in _TAKE else content)
    except Exception:  # whatever its __repr__ does
        text = f"a {type(value).__name__}"
    return text if len(text) <= 120 else text[:117] + "..."
