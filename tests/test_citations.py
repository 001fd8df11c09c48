"""Every citation resolves, every entry is cited, and every entry can be found by a reader."""

import re

from pybtex.database import parse_file

from tests.house import ROOT, notebook
from tests.test_notebooks import ALL

ENTRIES = parse_file(str(ROOT / "chapters/references.bib")).entries


def cited() -> set[str]:
    texts = [file.read_text("utf8") for file in (ROOT / "chapters").rglob("*.md")]
    for path in ALL:
        texts += [c.source for c in notebook(path).cells if c.cell_type == "markdown"]
    keys = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", "\n".join(texts))
    return {key.strip() for group in keys for key in group.split(",")}


def test_every_citation_resolves() -> None:
    assert cited() <= set(ENTRIES)


def test_every_entry_is_cited() -> None:
    assert set(ENTRIES) <= cited()


def test_every_entry_says_who_when_and_where_to_find_it() -> None:
    for key, entry in ENTRIES.items():
        assert entry.persons.get("author") or entry.persons.get("editor"), key
        assert {"title", "year"} <= set(entry.fields), key
        found = {"doi", "url", "eprint", "isbn"} & set(entry.fields)
        assert found, f"{key} has no doi, eprint, isbn or address"
        assert re.fullmatch(r"[a-z]+\d{4}[a-z]+", key), f"{key} is not author-year-word"


def test_an_entry_gives_an_address_once_and_stands_among_its_letters() -> None:
    for key, entry in ENTRIES.items():
        paper = f"https://arxiv.org/abs/{entry.fields.get('eprint')}"
        assert entry.fields.get("url") != paper, f"{key} gives its arXiv page twice"
        for person in entry.persons.get("author", []):
            last = " ".join(person.last_names)
            assert not re.match(r"\{[^\\]", last), f"{key}: a brace would sort {last} behind Z"


def test_sources_named_in_docstrings_are_in_the_bibliography() -> None:
    for file in (ROOT / "fmbook").rglob("*.py"):
        for key in re.findall(r"Source: ([a-z]+\d{4}[a-z]+)", file.read_text("utf8")):
            assert key in ENTRIES, f"{file.relative_to(ROOT)} names {key}"
