"""Vocabularies as files: how GPT-2's files write bytes, and its own files, opened as data.

Left out: the code of the package that carries them, which is never imported.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from fmbook.archives import members

__all__ = [
    "BERT_PATTERN",
    "GPT2_PATTERN",
    "SMOLLM2_PATTERN",
    "as_json",
    "from_json",
    "from_symbols",
    "gpt2",
    "to_symbols",
]

# what one word is: no piece crosses the end of a match
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|%s| ?[^\s\p{L}\p{N}]+|%s\s+(?!\S)|\s+"
GPT2_PATTERN = _WORDS % (r" ?\p{N}+", "")
SMOLLM2_PATTERN = _WORDS % (r"\p{N}", r"\s+(?=\p{N})|")  # as GPT-2's, each digit on its own
BERT_PATTERN = r"\w+|[^\w\s]"

Pieces = Mapping[bytes, int]
Merges = Iterable[tuple[bytes, bytes]]


def _symbols() -> dict[int, str]:
    """A visible character for each byte: itself where it has one, else the next from 256 on."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {b: chr(b) for b in visible} | {b: chr(256 + i) for i, b in enumerate(hidden)}


_SYMBOL_OF = _symbols()
_BYTE_OF = {symbol: byte for byte, symbol in _SYMBOL_OF.items()}


def to_symbols(piece: bytes) -> str:
    """A piece as GPT-2's files write it: one visible character a byte, a space as `Ġ`.

    Source: radford2019language, `bytes_to_unicode` of the released code.

    >>> to_symbols(b" the"), to_symbols("é".encode())
    ('Ġthe', 'Ã©')
    """
    return "".join(_SYMBOL_OF[byte] for byte in piece)


def from_symbols(symbols: str) -> bytes:
    """The bytes of a piece that is written as in GPT-2's files.

    Raises:
        ValueError: a character stands for no byte.

    Source: radford2019language, `bytes_to_unicode` of the released code.

    >>> from_symbols("Ġthe")
    b' the'
    """
    if strange := set(symbols) - _BYTE_OF.keys():
        raise ValueError(f"{symbols!r}: {''.join(sorted(strange))!r} stands for no byte")
    return bytes(_BYTE_OF[symbol] for symbol in symbols)


def gpt2() -> tuple[list[str], dict[str, int]]:
    """GPT-2's merges, one "left right" each in order, and its vocabulary, piece to id.

    Pieces are written in symbols: `from_symbols` turns them to bytes.

    Raises:
        DataError: the archive is missing or altered.

    Source: radford2019language, `vocab.bpe` and `encoder.json` of the released model.
    """
    files = {PurePosixPath(name).name: raw.decode("utf8") for name, raw in members("gpt2")}
    lines = files["vocab.bpe"].split("\n")[1:]  # the first line is a version
    return [line for line in lines if line], dict(json.loads(files["encoder.json"]))


def as_json(merges: Merges, vocabulary: Pieces, pattern: str, special: Iterable[str]) -> str:
    """A tokenizer as JSON text, its pieces in symbols and in the order of their ids.

    >>> text = as_json([(b"a", b" ")], {b"a": 0, b" ": 1, b"a ": 2}, ".+", ["<end>"])
    >>> from_json(text)
    ([(b'a', b' ')], {b'a': 0, b' ': 1, b'a ': 2}, '.+', ['<end>'])
    """
    rows: dict[str, object] = {"pattern": pattern, "special": list(special)}
    rows["pieces"] = [to_symbols(p) for p in sorted(vocabulary, key=vocabulary.__getitem__)]
    rows["merges"] = [f"{to_symbols(a)} {to_symbols(b)}" for a, b in merges]
    return json.dumps(rows, ensure_ascii=False, indent=0)


def from_json(text: str) -> tuple[list[tuple[bytes, bytes]], dict[bytes, int], str, list[str]]:
    """Merges, vocabulary, pattern and special names, as `as_json` wrote them."""
    rows = json.loads(text)
    halves = [line.split(" ") for line in rows["merges"]]
    merges = [(from_symbols(a), from_symbols(b)) for a, b in halves]
    vocabulary = {from_symbols(piece): id for id, piece in enumerate(rows["pieces"])}
    return merges, vocabulary, rows["pattern"], rows["special"]
