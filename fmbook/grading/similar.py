"""Answers that share more than their task explains: winnowing, shown as pairs to look at.

A text becomes tokens (names, numbers and strings each count as one kind, so renaming hides
nothing), tokens become overlapping grams, and of every window of grams the least hash is kept
(Schleimer, Wilkerson and Aiken 2003, section 3). What the exercise itself gives, or many of a class
share, says nothing and is left out. Left out too: any verdict; two honest people often write the
same lines.
"""

import keyword
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

__all__ = ["Pair", "fingerprints", "pairs"]

GRAM, WINDOW = 8, 6  # so what two texts share over GRAM + WINDOW - 1 tokens is always found
COMMON = 12  # who share a fingerprint; what more have is an idiom of the task
LEAST, SHARE = 8, 0.4  # fingerprints and part of the smaller text that a pair must share
LONGEST = 60_000  # characters of one submission that are looked at
TOKEN = re.compile(
    r"(?P<skip>\#[^\n]*|\s+)"
    r"|(?P<s>[rRbBuUfF]{0,2}(?:\"\"\".*?(?:\"\"\"|\Z)|'''.*?(?:'''|\Z)"
    r"|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?))"  # an open end costs no search
    r"|(?P<v>[^\W\d]\w*)|(?P<n>\d[\w.]*)|(?P<o>.)",
    re.S,
)


@dataclass(frozen=True)
class Pair:
    """Two students, how many fingerprints they share, and what part of the smaller that is."""

    one: str
    other: str
    shared: int
    share: float


def fingerprints(source: str) -> set[int]:
    """The fingerprints of a program's text.

    >>> text = "def f(x):\\n    a = 0\\n    for y in x:\\n        a += y * y\\n    return a"
    >>> fingerprints(text) == fingerprints(text.replace("x", "values"))
    True
    """
    kinds = []
    for found in TOKEN.finditer(source[:LONGEST]):
        kind, said = found.lastgroup, found.group()
        if kind == "o" or (kind == "v" and keyword.iskeyword(said)):
            kinds.append(said)
        elif kind != "skip":
            kinds.append(str(kind))
    grams = [
        zlib.crc32("\0".join(kinds[i : i + GRAM]).encode("utf8", "replace"))
        for i in range(max(0, len(kinds) - GRAM + 1))
    ]
    return {min(grams[i : i + WINDOW]) for i in range(max(1, len(grams) - WINDOW + 1)) if grams}


def pairs(papers: Mapping[str, str], given: Iterable[str] = ()) -> list[Pair]:
    """The pairs of a class's answers to one exercise that are worth a look, most alike first.

    `papers`: student to the text of all answers; `given`: what students were given, which is
    nobody's own.
    """
    known: set[int] = set().union(*map(fingerprints, given))
    marks = {who: fingerprints(text) - known for who, text in papers.items()}
    owners: dict[int, list[str]] = defaultdict(list)
    for who in sorted(marks):
        for mark in marks[who]:
            owners[mark].append(who)
    rare = {mark: who for mark, who in owners.items() if len(who) <= COMMON}
    own = Counter(who for few in rare.values() for who in few)
    together = Counter(pair for few in rare.values() for pair in combinations(few, 2))
    found = [
        Pair(one, other, shared, round(shared / min(own[one], own[other]), 3))
        for (one, other), shared in together.items()
        if shared >= LEAST and shared >= SHARE * min(own[one], own[other])
    ]
    return sorted(found, key=lambda p: (-p.shared * p.share, p.one, p.other))
