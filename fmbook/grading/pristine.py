"""Puts patched modules back as they were before a student's first cell, for in-process checks.

Lower assurance by its nature: what runs in the student's process can be undone by the student's
code. Left out: everything that needs to be certain, which belongs in an isolated check.
"""

import builtins
import sys
from types import ModuleType

__all__ = ["remember", "restore"]

_kept: list[tuple[ModuleType, dict[str, object]]] = []
NAMES = ("torch", "torch.nn", "torch.nn.functional", "torch.linalg", "numpy", "numpy.linalg")
OWN = ("fmbook.checks", "fmbook.content", "math", "random")


def remember() -> None:
    """Keep what the modules that checks use hold now."""
    _kept[:] = [(builtins, dict(vars(builtins)))]
    for name in (*NAMES, *OWN):
        if name in sys.modules:
            _kept.append((sys.modules[name], dict(vars(sys.modules[name]))))


def restore() -> None:
    """Give every module that was kept its own names back, and remove IPython's hooks."""
    for module, names in _kept:
        vars(module).update(names)
    sys.settrace(None)
    sys.setprofile(None)
