"""What a newcomer installs: quick to import, whole, and content with Colab's versions."""

import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from fmbook import imports

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
COLAB = {  # as of August 2026; ours must accept them
    "python": "3.13.15",
    "torch": "2.11.0",
    "numpy": "2.1.3",
    "matplotlib": "3.10.0",
    "tqdm": "4.67.1",
    "platformdirs": "4.3.8",
    "ipywidgets": "7.7.1",
    "anywidget": "0.9.21",
}
HEAVY = {"torch", "numpy", "matplotlib", "IPython", "tqdm", "hypothesis", "anywidget", "sklearn"}


def python(code: str) -> str:
    """What a fresh process prints."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def loaded(module: str) -> set[str]:
    """The heavy packages that importing a module of the library loads."""
    said = python(f"import {module}, sys, json; print(json.dumps(sorted(sys.modules)))")
    return {name.partition(".")[0] for name in json.loads(said)} & HEAVY


# importing


def test_importing_the_package_is_quick_and_loads_nothing() -> None:
    code = "import time; s = time.process_time(); import fmbook; print(time.process_time() - s)"
    assert min(float(python(code)) for _ in range(4)) < 0.050
    assert loaded("fmbook") == set()


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("fmbook.rules.expert_system", set()),
        ("fmbook.data", set()),
        ("fmbook.checks", set()),
        ("fmbook.swapping", set()),
        ("fmbook.source", set()),
        ("fmbook.records", set()),
        ("fmbook.plot", set()),
        ("fmbook.device", set()),
        ("fmbook.train", set()),
        ("fmbook.doctor", set()),
        ("fmbook.cli", set()),
        ("fmbook.transformers.attention", {"torch", "numpy", "tqdm"}),  # torch loads the others
    ],
)
def test_a_module_loads_no_more_than_it_needs(module: str, allowed: set[str]) -> None:
    assert loaded(module) <= allowed


def test_the_first_part_of_the_book_runs_without_torch_and_numpy() -> None:
    """Not only unused: an environment that lacks them is enough, for its loader of mail too."""
    blocked = "import sys; sys.modules.update(torch=None, numpy=None, matplotlib=None)\n"
    said = python(
        blocked + "from fmbook import data, swap\nfrom fmbook.rules import expert_system as e\n"
        "from fmbook.checks import expect\nexpect({'a': (1, 2.0)}, {'a': [1, 2.0]})\n"
        "with swap(unify=lambda *a, **k: None): pass\nprint(len(e.__all__), len(data.mail()))"
    )
    assert said.split()[1] == "6046"


def test_swap_is_a_door_of_the_package_and_other_names_are_not() -> None:
    import fmbook

    assert fmbook.swap is sys.modules["fmbook.swapping"].swap
    assert re.fullmatch(r"\d+\.\d+\.\d+", fmbook.__version__)
    with pytest.raises(AttributeError, match="module 'fmbook' has no attribute 'swop'"):
        fmbook.swop  # noqa: B018


# requirements


def release(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def bounds(requirement: str) -> tuple[str, list[tuple[str, str]]]:
    name = re.split(r"[<>=!~\[ ]", requirement)[0]
    return name, re.findall(r"(>=|<=|==|<|>|~=|!=)\s*([\d.]+)", requirement)


def accepts(requirement: str, version: str) -> bool:
    compare = {">=": tuple.__ge__, "<": tuple.__lt__}
    return all(
        compare[sign](release(version), release(limit)) for sign, limit in bounds(requirement)[1]
    )


def test_requirements_are_loose_and_few() -> None:
    names = [bounds(requirement)[0] for requirement in PROJECT["dependencies"]]
    assert sorted(names) == ["matplotlib", "numpy", "platformdirs", "torch", "tqdm"]
    for requirement in PROJECT["dependencies"]:
        assert [sign for sign, _ in bounds(requirement)[1]] == [">="], requirement


def test_the_comparison_of_versions_can_fail() -> None:
    assert not accepts("torch>=2.12", "2.11.0")
    assert not accepts("nbgrader>=0.9.5,<0.10", "0.10.0")
    assert accepts("nbgrader>=0.9.5,<0.10", "0.9.6")


def test_colabs_versions_satisfy_them() -> None:
    notebook = PROJECT["optional-dependencies"]["notebook"]
    checked = set()
    for requirement in [*PROJECT["dependencies"], *notebook]:
        name = bounds(requirement)[0]
        if name in COLAB:
            assert accepts(requirement, COLAB[name]), requirement
            checked.add(name)
    assert accepts(f"python{PROJECT['requires-python']}", COLAB["python"])
    assert checked == set(COLAB) - {"python"}


def test_the_pins_satisfy_the_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    extras = [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
    for requirement in [*PROJECT["dependencies"], *extras]:
        name = bounds(requirement)[0]
        if name != "fmbook":
            version = next(v for k, v in pins.items() if k.lower() == name.lower())
            plain = re.match(r"[\d.]+\d", version)
            assert plain, version
            assert accepts(requirement, plain[0]), requirement


def test_extras_are_those_of_the_readme() -> None:
    assert set(PROJECT["optional-dependencies"]) == {"notebook", "grading", "scale", "book", "dev"}


# the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tree, so that nothing is left behind in the tree itself."""
    home = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]):
        shutil.copy(ROOT / name, home / name)
    skip = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "fmbook", home / "fmbook", ignore=skip)
    code = "from setuptools.build_meta import build_wheel as b; import sys; print(b(sys.argv[1]))"
    ran = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code, str(home / "dist")],
        cwd=home,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return home / "dist" / ran.stdout.split()[-1]


def test_the_wheel_is_pure_small_and_licensed(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < 5_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "fmbook = fmbook.cli:main" in archive.read(entry).decode()
    assert any(name.endswith("LICENSE") for name in names)


def test_the_wheel_holds_all_that_the_library_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("fmbook/")}
    files = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "fmbook").rglob("*")
        if file.is_file() and not {"__pycache__"} & set(file.parts) and file.name[0] != "."
    }
    assert files - packed == set()
    assert packed - files == set()
    for needed in ("data.toml", "palette.toml", "py.typed", "rules/spam.toml"):
        assert f"fmbook/{needed}" in packed
    for pattern in (r"records/\w+\.json", r"widgets/static/\w+\.js", r"widgets/static/\w+\.css"):
        assert [name for name in packed if re.search(pattern, name)], pattern


def test_the_library_runs_from_the_wheel_alone(wheel: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(wheel)!r})
import fmbook
assert fmbook.__file__.startswith({str(wheel)!r}), fmbook.__file__
from fmbook import data, plot
print(data.card("mail").rows, plot.look("rules")["marker"])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=wheel.parent
    )
    assert ran.stdout.split() == ["6046", "o"], ran.stderr


# the modules


@pytest.mark.parametrize("module", sorted(imports.modules()))
def test_all_that_a_module_offers_is_there(module: str) -> None:
    offered = imports.exports(imports.modules()[module])
    here = importlib.import_module(module)
    assert [name for name in offered if not hasattr(here, name)] == []
    assert len(offered) == len(set(offered))
