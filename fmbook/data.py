"""Real data that works offline: one loader a data set, each from a pinned, checked package archive.

What a loader parsed is cached. Left out: streaming, and anything that does not fit in memory.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC
from email import message_from_string
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from fmbook import archives
from fmbook.archives import DataCard, DataError, card, fetch, members, names

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "DataCard",
    "DataError",
    "Mail",
    "Page",
    "Synset",
    "card",
    "digits",
    "encyclopedia",
    "fetch",
    "mail",
    "names",
    "shakespeare",
    "wordnet",
]

PARSER_VERSION = 1  # raise it when a parser below changes: older caches are then ignored


@dataclass(frozen=True)
class Mail:
    """One e-mail. `headers`: lower-case name to decoded text. `date`: UTC, ISO 8601, or None."""

    id: str
    group: str
    spam: bool
    headers: dict[str, str]
    body: str
    date: str | None

    @property
    def subject(self) -> str:
        """The decoded subject line, empty if there is none."""
        return self.headers.get("subject", "")

    @property
    def sender(self) -> str:
        """The decoded From line, empty if there is none."""
        return self.headers.get("from", "")

    @property
    def text(self) -> str:
        """Subject and body, which is what most filters read."""
        return f"{self.subject}\n{self.body}"


@dataclass(frozen=True)
class Page:
    """One encyclopedia summary."""

    title: str
    text: str
    topic: str


@dataclass(frozen=True)
class Synset:
    """One WordNet noun meaning: its words, and the ids of the meanings it is a kind of."""

    id: str
    words: tuple[str, ...]
    parents: tuple[str, ...]
    gloss: str


def cache_folder() -> Path:
    """Where parsed data lies: $FMBOOK_CACHE, or the user's cache folder."""
    chosen = os.environ.get("FMBOOK_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("fmbook")


def _cached(name: str, parse: Callable[[], list[Any]]) -> list[Any]:
    """The parsed rows of a data set, cached for this archive and this parser.

    The archive itself is checked each time: that takes milliseconds, and a warm cache must not
    hide that it was altered. A cache that is damaged or cannot be written is done without.
    """
    archives.path(name)
    file = cache_folder() / f"{name}.json"
    with suppress(OSError):
        head, _, body = file.read_bytes().partition(b"\n")
        if head == _stamp(name, body):
            return list(json.loads(body))
    rows = parse()
    body = json.dumps(rows, separators=(",", ":")).encode()
    with suppress(OSError):
        _write_aside(file, _stamp(name, body) + b"\n" + body)
    return rows


def _stamp(name: str, body: bytes) -> bytes:
    """The first line of a cache file: what made it, and a hash of what follows."""
    made = hashlib.sha256(body).hexdigest()
    return f"parser {PARSER_VERSION}, archive {card(name).sha256}, rows {made}".encode()


def _write_aside(file: Path, content: bytes) -> None:
    """Write a file under another name and rename it, so that no parallel process reads half."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.stem}-") as scratch:
        whole = Path(scratch) / file.name
        whole.write_bytes(content)
        os.replace(whole, file)


def _plain_text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        return payload.decode(part.get_content_charset() or "latin-1", errors="replace")
    except LookupError:  # the mail names a character set that does not exist
        return payload.decode("latin-1")


def _header(value: str) -> str:
    try:
        return " ".join(str(make_header(decode_header(value))).split())
    except (UnicodeError, LookupError, ValueError):
        return " ".join(value.split())


def _utc(value: str) -> str | None:
    try:
        when = parsedate_to_datetime(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError, TypeError):
        return None


def _parse_mail(raw: bytes) -> dict[str, Any]:
    row = json.loads(raw)
    message = message_from_string(row["text"])
    texts = [p for p in message.walk() if p.get_content_maintype() == "text"]
    headers: dict[str, str] = {}
    for key, value in message.items():
        headers.setdefault(key.lower(), _header(str(value)))
    return asdict(
        Mail(
            id=f"{row['group']}/{row['id']}",
            group=row["group"],
            spam=row["group"].startswith("spam"),
            headers=headers,
            body="\n".join(_plain_text(part) for part in texts),
            date=_utc(headers["date"]) if "date" in headers else None,
        )
    )


def mail() -> list[Mail]:
    """The mail corpus: 6,046 e-mails with headers, body, label; ordered by id.

    Raises:
        DataError: the archive is missing or altered.
    """
    rows = _cached(
        "mail",
        lambda: sorted((_parse_mail(raw) for _, raw in members("mail")), key=lambda r: r["id"]),
    )
    return [Mail(**row) for row in rows]


def shakespeare() -> dict[str, str]:
    """Shakespeare's 42 works in modern spelling: {work: text}.

    Raises:
        DataError: the archive is missing or altered.
    """
    rows = _cached(
        "shakespeare",
        lambda: sorted(
            [Path(member).name.removesuffix("_gut.txt"), raw.decode("utf8", errors="replace")]
            for member, raw in members("shakespeare")
        ),
    )
    return dict(rows)


def encyclopedia() -> list[Page]:
    """10,033 summaries of Wikipedia articles, in the order of the package.

    Raises:
        DataError: the archive is missing or altered.
    """
    ((_, raw),) = members("encyclopedia")
    pages = json.loads(raw).values()
    return [Page(page["title"], page["extract"], page["topic"]) for page in pages]


def _bytes_of(shares: "np.ndarray") -> bytes:
    """Values from 0 to 1 as one byte each, from 0 to 255."""
    return (shares * 255).round().astype("uint8").tobytes()


def digits() -> "tuple[np.ndarray, np.ndarray]":
    """10,000 handwritten digits: images (10000, 28, 28) float32 in 0..1, labels (10000,) int64.

    Raises:
        DataError: the archive is missing or altered.
    """
    import numpy as np

    rows = _cached(
        "digits",
        lambda: [
            [int(Path(member).stem), _bytes_of(np.array(json.loads(raw)["data"])).hex()]
            for member, raw in sorted(members("digits"))
        ],
    )
    images, labels = [], []
    for label, pixels in rows:
        block = np.frombuffer(bytes.fromhex(pixels), dtype=np.uint8).reshape(-1, 28, 28)
        images.append(block.astype(np.float32) / 255)
        labels.append(np.full(len(block), label, dtype=np.int64))
    return np.concatenate(images), np.concatenate(labels)


def _parse_synset(line: str) -> tuple[str, list[str], list[str], str]:
    fields, gloss = line.split(" | ", 1)
    head = fields.split()
    n_words = int(head[3], 16)
    words = [word.replace("_", " ") for word in head[4 : 4 + 2 * n_words : 2]]
    pointers = head[5 + 2 * n_words :]
    parents = [
        pointers[i + 1] for i in range(0, len(pointers) - 3, 4) if pointers[i] in ("@", "@i")
    ]
    return head[0], words, parents, gloss.strip()


def _parse_wordnet() -> list[Any]:
    ((_, raw),) = members("wordnet")
    lines = raw.decode("utf8").splitlines()
    return [_parse_synset(line) for line in lines if not line.startswith(" ")]


def wordnet() -> list[Synset]:
    """WordNet's 82,192 noun meanings with their is-a parents.

    Raises:
        DataError: the archive is missing or altered.
    """
    rows = _cached("wordnet", _parse_wordnet)
    return [Synset(id, tuple(words), tuple(up), gloss) for id, words, up, gloss in rows]
