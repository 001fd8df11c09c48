"""The console program: what it prints, and the exit code that a script can trust."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fmbook import archives

PROGRAM = Path(sys.executable).with_name("fmbook")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"NO_COLOR": "1", "COLUMNS": "100"} | environment
    return subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, env=env)


def test_without_a_command_it_says_what_there_is() -> None:
    said = run("--help")
    assert said.returncode == 0
    assert "data" in said.stdout
    assert "doctor" in said.stdout


def test_data_checks_what_is_here_and_says_where() -> None:
    said = run("data", "mail")
    assert said.returncode == 0, said.stderr
    assert "sha256 checked" in said.stdout
    assert archives.card("mail").archive in said.stdout


def test_cards_show_provenance_without_fetching(tmp_path: Path) -> None:
    said = run("data", "--cards", FMBOOK_DATA=str(tmp_path))
    assert said.returncode == 0, said.stderr
    for name in archives.names():
        assert archives.card(name).title in said.stdout
        assert archives.card(name).licence in said.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mails", "../mail"])
def test_an_unknown_name_fails_and_lists_the_known(name: str) -> None:
    said = run("data", name)
    assert said.returncode == 1
    assert "no data set" in said.stderr
    assert "shakespeare" in said.stderr
    assert "Traceback" not in said.stderr


def test_the_doctor_says_what_to_do_about_missing_data(tmp_path: Path) -> None:
    said = run("doctor", FMBOOK_DATA=str(tmp_path))
    assert said.returncode == 1
    assert "fmbook data mail" in said.stdout


def test_the_doctor_is_content_here() -> None:
    said = run("doctor")
    assert said.returncode == 0, said.stdout
    assert "OK" in said.stdout


def test_without_its_library_the_program_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; from fmbook.cli import main; main()"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.returncode == 1
    assert "pip install 'fmbook[notebook]'" in said.stderr
