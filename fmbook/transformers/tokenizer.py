"""Tokens: the most frequent neighbours in a text become one piece, over and over, from bytes on.

Left out: dropout of merges (BPE-dropout), vocabularies that are pruned instead of grown (the
unigram model of SentencePiece), and languages whose words are found by a dictionary first.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import chain, pairwise

import regex

from fmbook.vocabularies import BERT_PATTERN, GPT2_PATTERN, as_json, from_json

__all__ = ["Tokenizer", "join", "learn_merges", "learn_word_pieces", "longest_pieces", "replay"]

CACHED_WORDS = 1 << 18
_BYTES = [bytes([byte]) for byte in range(256)]
Pair = tuple[int, int]


class _Chains:
    """The distinct words of a text as chains of symbols, with each pair's count kept true."""

    def __init__(self, words: Mapping[Sequence[int], int]) -> None:
        self.symbols, self.weight = [-1], [0]  # -1 stands between the words
        self.seen: Counter[int] = Counter()  # of each symbol
        for word, n in words.items():
            self.symbols += [*word, -1]
            self.weight += [n] * (len(word) + 1)
            for symbol in word:
                self.seen[symbol] += n
        self.after = list(range(1, len(self.symbols) + 1))
        self.before = list(range(-1, len(self.symbols) - 1))
        self.counts: defaultdict[Pair, int] = defaultdict(int)
        self.where: defaultdict[Pair, list[int]] = defaultdict(list)
        for i, (a, b) in enumerate(pairwise(self.symbols)):
            if a >= 0 and b >= 0:
                self.counts[a, b] += self.weight[i]
                self.where[a, b].append(i)

    def merge(self, pair: Pair, new: int) -> set[Pair]:
        """Write `new` for the pair wherever it stands; returns the pairs that became more."""
        (a, b), grown, made = pair, set(), 0
        symbols, before, after, counts = self.symbols, self.before, self.after, self.counts
        for i in sorted(self.where.pop(pair)):
            j = after[i]
            if symbols[i] != a or symbols[j] != b:
                continue  # an earlier merge took one of the two
            h, k, n = before[i], after[j], self.weight[i]
            symbols[i], symbols[j], after[i], before[k] = new, -1, k, i
            made += n
            for x, y, start, old in (
                (symbols[h], new, h, (symbols[h], a)),
                (new, symbols[k], i, (b, symbols[k])),
            ):
                if x >= 0 and y >= 0:
                    counts[old] -= n
                    counts[x, y] += n
                    self.where[x, y].append(start)
                    grown.add((x, y))
        for symbol, change in ((a, -made), (b, -made), (new, made)):
            self.seen[symbol] += change
        del counts[pair]
        return grown


def learn_merges(text: str, count: int, pattern: str = GPT2_PATTERN) -> list[tuple[bytes, bytes]]:
    """Byte-pair encoding: `count` times, the pair of pieces seen most often becomes one piece.

    Pairs are counted inside the matches of `pattern`. Of pairs seen equally often the one whose
    pieces are older comes first. The list is shorter where no pair is left that occurs twice.

    Raises:
        ValueError: `count` is negative.

    Source: sennrich2016neural, section 3.2; on bytes radford2019language, section 2.2.

    >>> learn_merges("low low lower", 3)
    [(b'l', b'o'), (b'lo', b'w'), (b' ', b'low')]
    """
    if count < 0:
        raise ValueError(f"the number of merges must not be negative, got {count}")
    words = Counter(regex.findall(pattern, text))
    chains = _Chains({word.encode(): n for word, n in words.items()})
    pieces = list(_BYTES)
    ids = {piece: id for id, piece in enumerate(pieces)}
    heap = [(-n, pair) for pair, n in chains.counts.items()]
    heapify(heap)
    merges: dict[Pair, None] = {}
    while heap and len(merges) < count:
        n, pair = heappop(heap)
        now = chains.counts.get(pair, 0)
        if now < -n:  # the pair has become rarer since it was pushed: put it back in its place
            if now > 1:
                heappush(heap, (-now, pair))
        elif now == -n > 1:
            joined = pieces[pair[0]] + pieces[pair[1]]
            if joined not in ids:
                ids[joined] = len(pieces)
                pieces.append(joined)
            for grown in chains.merge(pair, ids[joined]):
                heappush(heap, (-chains.counts[grown], grown))
            merges[pair] = None
    return [(pieces[a], pieces[b]) for a, b in merges]


def join(ids: Sequence[int], pair: Pair, new: int) -> list[int]:
    """The ids with `new` in place of each occurrence of the pair, found from the left.

    Source: sennrich2016neural, algorithm 1, `merge_vocab`.

    >>> join([1, 2, 1, 2, 2], (1, 2), 9), join([5, 5, 5], (5, 5), 9)
    ([9, 9, 2], [9, 5])
    """
    out: list[int] = []
    for id in ids:
        if out and (out[-1], id) == pair:
            out[-1] = new
        else:
            out.append(id)
    return out


def replay(ids: Sequence[int], joins: Mapping[Pair, tuple[int, int]]) -> list[int]:
    """The merges on one word: of its pairs the one learned first is joined, until none is known.

    `joins` gives a pair its rank (0 was learned first) and the id of both together.

    Source: sennrich2016neural, section 3.2.

    >>> replay([0, 1, 2, 0, 1], {(0, 1): (0, 3), (3, 2): (1, 4)})
    [4, 3]
    """
    ids = list(ids)
    while len(ids) > 1:
        pair = min(pairwise(ids), key=lambda pair: joins.get(pair, (math.inf,)))
        if pair not in joins:
            break
        ids = join(ids, pair, joins[pair][1])
    return ids


class Tokenizer:
    """Text to ids and back by byte-pair encoding: the merges, replayed in their order.

    `vocabulary` gives each piece its id, 0 to V - 1; by default the 256 bytes come first, then
    what the merges make, then `special`: strings that are no text, which `encode` reads as one
    piece only if it is told to. `pieces[id]` are the bytes of an id, `vocabulary` its inverse.

    Raises:
        ValueError: ids with gaps; a piece without an id; merges that use what is not there yet.

    Source: sennrich2016neural, algorithm 1; on bytes radford2019language, section 2.2.

    >>> tokenizer = Tokenizer(learn_merges("low low lower", 3), special=["<end>"])
    >>> len(tokenizer), tokenizer.encode("lowest low")
    (260, [257, 101, 115, 116, 258])
    >>> tokenizer.decode([257, 101, 115, 116, 258])
    'lowest low'
    >>> tokenizer.encode("low<end>", special=True)
    [257, 259]
    """

    def __init__(
        self,
        merges: Iterable[tuple[bytes, bytes]],
        vocabulary: Mapping[bytes, int] | None = None,
        pattern: str | None = None,
        special: Iterable[str] = (),
    ) -> None:
        self.merges, self.special = tuple(merges), tuple(special)
        self.pattern = GPT2_PATTERN if pattern is None else pattern
        names = [name.encode() for name in self.special]
        if vocabulary is None:
            made = dict.fromkeys([*_BYTES, *(a + b for a, b in self.merges), *names])
            vocabulary = {piece: id for id, piece in enumerate(made)}
        self.vocabulary = dict(vocabulary)
        self.pieces = tuple(sorted(self.vocabulary, key=self.vocabulary.__getitem__))
        if [self.vocabulary[piece] for piece in self.pieces] != list(range(len(self))):
            raise ValueError(f"the ids of {len(self)} pieces must be 0 to {len(self) - 1}")
        if missing := set(names) - self.vocabulary.keys():
            raise ValueError(f"special pieces without an id: {sorted(missing)}")
        self._joins = self._ranked()
        self._find = regex.compile(self.pattern).findall
        self._word = lru_cache(CACHED_WORDS)(self._merged)  # most words of a text are old ones

    def _ranked(self) -> dict[Pair, tuple[int, int]]:
        joins: dict[Pair, tuple[int, int]] = {}
        ids, known = self.vocabulary, set(_BYTES)
        for rank, (a, b) in enumerate(self.merges):
            if not {a, b} <= known or not {a, b, a + b} <= ids.keys():
                raise ValueError(f"merge {rank}, {a!r} + {b!r}, uses a piece that is not there")
            known.add(a + b)
            joins.setdefault((ids[a], ids[b]), (rank, ids[a + b]))
        return joins

    def _merged(self, word: str) -> tuple[int, ...]:
        try:
            ids = [self.vocabulary[_BYTES[byte]] for byte in word.encode()]
        except KeyError as byte:
            raise ValueError(f"{word!r}: the vocabulary lacks the byte {byte}") from None
        return tuple(replay(ids, self._joins))

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of a text. With `special`, the names of special pieces stand for these pieces:
        for text that we wrote ourselves, as a chat template, never for a stranger's.

        Raises:
            ValueError: the pattern leaves some of the text out, UTF-8 cannot write it (half a
                surrogate pair), or the vocabulary lacks a byte of it.
        """
        if special and self.special:
            longest_first = sorted(map(regex.escape, self.special), key=len, reverse=True)
            parts = regex.split("(" + "|".join(longest_first) + ")", text)  # text, name, text...
            names = {name: [self.vocabulary[name.encode()]] for name in self.special}
            return [id for part in parts for id in names.get(part) or self.encode(part)]
        words = self._find(text)
        if sum(map(len, words)) != len(text):
            raise ValueError(f"the pattern {self.pattern!r} leaves some of the text out")
        return list(chain.from_iterable(map(self._word, words)))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids. Bytes that are no UTF-8, as of half a character, become U+FFFD.

        Raises:
            ValueError: an id is not in 0 to V - 1.
        """
        ids = list(ids)
        if strange := [id for id in ids if not 0 <= id < len(self)]:
            raise ValueError(f"ids must be 0 to {len(self) - 1}, got {strange[0]}")
        return b"".join(self.pieces[id] for id in ids).decode("utf8", errors="replace")

    def to_json(self) -> str:
        """All of the tokenizer as JSON text, its pieces as `to_symbols` writes them."""
        return as_json(self.merges, self.vocabulary, self.pattern, self.special)

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The tokenizer that `to_json` wrote."""
        return cls(*from_json(text))


def learn_word_pieces(text: str, count: int) -> list[str]:
    """WordPiece: `count` times, the pair whose joining makes the text likeliest becomes one piece.

    Returns `[UNK]`, the characters of the text, then the pieces in the order they were made; `##`
    marks a piece that does not begin a word. Likelihood is that of independent pieces. The list is
    shorter where no pair is left that occurs twice and makes the text likelier.

    Raises:
        ValueError: `count` is negative.

    Source: schuster2012japanese, `WordPieceModel` (there with a language model over the pieces).

    >>> learn_word_pieces("hug hugs bug", 1)
    ['[UNK]', '##g', '##s', '##u', 'b', 'h', '##ug']
    """
    if count < 0:
        raise ValueError(f"the number of pieces must not be negative, got {count}")
    words = Counter(regex.findall(BERT_PATTERN, text)).items()
    split = {(word[0], *("##" + c for c in word[1:])): n for word, n in words}
    pieces = ["[UNK]", *sorted(set(chain(*split)))]
    ids = {piece: id for id, piece in enumerate(pieces)}
    chains = _Chains({tuple(ids[c] for c in word): n for word, n in split.items()})
    for _ in range(count):
        pair = _likeliest(chains)
        if pair is None:
            break
        joined = pieces[pair[0]] + pieces[pair[1]].removeprefix("##")
        if joined not in ids:
            ids[joined] = len(pieces)
            pieces.append(joined)
        chains.merge(pair, ids[joined])
    return pieces


def _likeliest(chains: _Chains) -> Pair | None:
    """The pair that gains most likelihood if merged; rare pairs cannot win, and are not tried."""
    seen, counts = chains.seen, chains.counts
    total, best, gained = seen.total(), None, 0.0
    for pair in sorted(counts, key=lambda pair: (-counts[pair], pair)):
        n = counts[pair]
        if n < 2 or _gain(n, n, n, total) <= gained:
            break
        gain = _gain(n, seen[pair[0]], seen[pair[1]], total)
        if pair[0] != pair[1] and gain > gained:
            best, gained = pair, gain
    return best


def _gain(n: int, a: int, b: int, total: int) -> float:
    """How much likelier, in nats, `total` independent symbols are once n pairs of a and b merge."""

    def f(count: int) -> float:
        return count * math.log(count) if count > 0 else 0.0

    return f(n) + f(a - n) - f(a) + f(b - n) - f(b) + f(total) - f(total - n)


def longest_pieces(word: str, vocabulary: Container[str]) -> list[str]:
    """A word in WordPiece: again and again the longest known piece that it goes on with.

    A word that cannot be cut into known pieces is `[UNK]` as a whole.

    Source: devlin2019bert, `WordpieceTokenizer` of the released code.

    >>> longest_pieces("hugs", {"hu", "hug", "##s"}), longest_pieces("hut", {"hu", "hug", "##s"})
    (['hug', '##s'], ['[UNK]'])
    """
    pieces: list[str] = []
    rest = word
    while rest:
        fits = (rest[:stop] for stop in range(len(rest), len("##") * bool(pieces), -1))
        piece = next((piece for piece in fits if piece in vocabulary), None)
        if piece is None:
            return ["[UNK]"]
        pieces.append(piece)
        left = rest[len(piece) :]
        rest = "##" + left if left else ""
    return pieces
