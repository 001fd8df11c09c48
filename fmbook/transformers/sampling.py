"""Sampling: from the probabilities of the next token to a text, one token after another.

What the model read once it keeps (keys and values), so that a token costs one step and not a whole
text. Left out: end tokens and penalties for length in beam search, several prompts of unequal
length at once, guessing ahead with a smaller model, and sharing a cache between requests.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fmbook.sequences.lstm import tempered

__all__ = [
    "Decoding",
    "KVCache",
    "beam_search",
    "entropy",
    "generate",
    "penalized",
    "top_k",
    "top_p",
]

Model = Callable[..., Tensor]  # tokens (B, T), and maybe a cache -> logits (B, T, V)


def entropy(logits: Tensor) -> Tensor:
    """How unsure a distribution over the next token is, in bits: logits (..., V) -> (...).

    0 bits: one token is certain. log2(V) bits: all are equal. Logits of minus infinity are chances
    of 0 and add nothing.

    Source: shannon1948mathematical, section 6.

    >>> entropy(torch.zeros(2, 8))
    tensor([3.0000, 3.0000])
    """
    nats: Tensor = torch.special.entr(logits.softmax(-1)).sum(-1)
    return nats / math.log(2)


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k largest of the logits (..., V); the others become minus infinity.

    Logits that equal the k-th stay too; a k above V keeps all.

    Raises:
        ValueError: k is below 1.

    Source: fan2018hierarchical (stories drawn from the likeliest words).

    >>> top_k(torch.tensor([3.0, 1.0, 2.0]), 2)
    tensor([3., -inf, 2.])
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, got {k}")
    least = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < least, -math.inf)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the nucleus of logits (..., V): the fewest tokens whose chances add up to p or more.

    The others become minus infinity. The likeliest token always stays; p = 1 keeps all.

    Raises:
        ValueError: p is not in (0, 1].

    Source: holtzman2020curious, section 3.1.

    >>> chances = torch.tensor([0.5, 0.2, 0.3])
    >>> top_p(chances.log(), 0.6).softmax(-1)  # 0.5 is not enough, 0.5 + 0.3 is
    tensor([0.6250, 0.0000, 0.3750])
    """
    if not 0 < p <= 1:
        raise ValueError(f"p must lie in (0, 1], got {p}")
    ordered, places = logits.sort(dim=-1, descending=True, stable=True)
    chances = ordered.softmax(-1)
    reached = chances.cumsum(-1) - chances  # what the likelier ones add up to
    dropped = (reached >= p) & (p < 1)
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -math.inf)


def penalized(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Lower the logits (B, V) of all tokens that occur in the text so far, `seen` (B, T).

    A positive logit is divided by the penalty, a negative one multiplied (in the paper all are
    divided, which raises the negative ones). However often a token occurs, it is lowered once.

    Raises:
        ValueError: the penalty is below 1.

    Source: keskar2019ctrl, section 4.1.

    >>> penalized(torch.tensor([[2.0, -1.0, 4.0]]), torch.tensor([[0, 1, 0]]), 2.0)
    tensor([[ 1., -2.,  4.]])
    """
    if not penalty >= 1:
        raise ValueError(f"the penalty must be 1 or more, got {penalty}")
    scores = logits.gather(-1, seen)
    lowered = torch.where(scores > 0, scores / penalty, scores * penalty)
    return logits.scatter(-1, seen, lowered)


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the next token is chosen: penalty, then temperature, then top-k, then top-p, then a draw.

    A temperature of 0 is greedy: the likeliest token. The defaults change nothing: a draw from the
    model's own distribution. Logits are (B, V), the text so far, `seen`, is (B, T).

    Raises:
        ValueError: a setting is out of its range.

    Source: holtzman2020curious, section 3 (the strategies side by side).

    >>> Decoding(k=2).probabilities(torch.zeros(1, 2), torch.zeros(1, 1).long())
    tensor([[0.5000, 0.5000]])
    >>> Decoding(temperature=0).draw(torch.tensor([[1.0, 3.0, 2.0]]), torch.zeros(1, 1).long())
    tensor([1])
    """

    temperature: float = 1.0
    k: int | None = None
    p: float = 1.0
    penalty: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"the temperature must be 0 or more, got {self.temperature}")
        top_k(torch.zeros(1), 1 if self.k is None else self.k)
        top_p(torch.zeros(1), self.p)
        penalized(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long), self.penalty)

    def probabilities(self, logits: Tensor, seen: Tensor) -> Tensor:
        """The chances (B, V) from which the next token is drawn."""
        if self.penalty > 1:
            logits = penalized(logits, seen, self.penalty)
        if self.temperature == 0:
            return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
        chances = tempered(logits, self.temperature)
        if self.k is not None:
            chances = top_k(chances.log(), self.k).softmax(-1)
        if self.p < 1:
            chances = top_p(chances.log(), self.p).softmax(-1)
        return chances

    def draw(
        self, logits: Tensor, seen: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """The next token of each text: (B,)."""
        if self.temperature == 0 and self.penalty == 1:
            return logits.argmax(-1)
        chances = self.probabilities(logits, seen)
        return torch.multinomial(chances, 1, generator=generator)[:, 0]


class KVCache:
    """The keys and values that each layer has computed so far, in memory taken once.

    Room for `capacity` positions is taken when a layer first hands something over, for its batch,
    heads, width, precision and device. `length` is the number of positions that all layers hold.

    Raises:
        ValueError: there are no layers or no room, or more comes than there is room for.

    Source: shazeer2019fast, section 2.4 (incremental inference).

    >>> cache, k = KVCache(layers=1, capacity=8), torch.zeros(2, 4, 5, 16)  # (B, N, T, K)
    >>> cache.extend(0, k, k)[0].shape, cache.extend(0, k[:, :, :1], k[:, :, :1])[0].shape
    (torch.Size([2, 4, 5, 16]), torch.Size([2, 4, 6, 16]))
    >>> cache.length, cache.nbytes  # 2 tables of B 2, N 4, 8 positions, K 16, of 4 bytes
    (6, 8192)
    """

    def __init__(self, layers: int, capacity: int) -> None:
        if layers < 1 or capacity < 1:
            raise ValueError(f"expected layers and capacity from 1 on, got {layers}, {capacity}")
        self.capacity = capacity
        self._held = [0] * layers
        self._stores: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def length(self) -> int:
        """How many positions all layers hold: where the next token stands."""
        return min(self._held)

    @property
    def nbytes(self) -> int:
        """The memory that is taken, in bytes, whether filled or not."""
        return sum(store.nbytes for pair in self._stores.values() for store in pair)

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep keys and values (B, N, T, K) of new positions; returns all so far (B, N, S, K)."""
        start, end = self._held[layer], self._held[layer] + k.shape[-2]
        if end > self.capacity:
            raise ValueError(f"the cache has room for {self.capacity} positions, got {end}")
        if layer not in self._stores:
            with torch.inference_mode(False):  # room that can be written to in any mode
                room = [x.new_empty(*x.shape[:-2], self.capacity, x.shape[-1]) for x in (k, v)]
            self._stores[layer] = room[0], room[1]
        keys, values = self._stores[layer]
        keys[..., start:end, :], values[..., start:end, :] = k, v
        self._held[layer] = end
        return keys[..., :end, :], values[..., :end, :]

    def select(self, rows: Tensor) -> None:
        """Go on with these rows of the batch, in this order; a row may come several times."""
        self._stores = {n: (k[rows], v[rows]) for n, (k, v) in self._stores.items()}

    def clear(self) -> None:
        """Forget all positions and keep the room."""
        self._held = [0] * len(self._held)


def generate(
    model: Model,
    tokens: Tensor,
    decoding: Decoding,
    generator: torch.Generator | None = None,
    cache: KVCache | None = None,
) -> Iterator[Tensor]:
    """Go on with texts (B, T) without end: yields the next token of each, (B,).

    `model(tokens)` returns logits (B, T, V), as does `model(tokens, cache)` for tokens that follow
    those in the cache. Without a cache the whole text is read for each token. With one each token
    is read once; when it is full it is cleared, and the last half of its room is read anew.

    Source: graves2013generating (what was drawn is fed back as input).

    >>> from itertools import islice
    >>> counts = lambda tokens: torch.nn.functional.one_hot(tokens + 1, 9).float()
    >>> drawn = generate(counts, torch.tensor([[0, 1, 2]]), Decoding(temperature=0))
    >>> torch.stack(list(islice(drawn, 4)), 1)
    tensor([[3, 4, 5, 6]])
    """
    text, unread = tokens, tokens
    while True:
        if cache is not None and cache.length + unread.shape[1] > cache.capacity:
            cache.clear()
            unread = text[:, -cache.capacity // 2 :]
        with torch.inference_mode():
            logits = model(text) if cache is None else model(unread, cache)
            unread = decoding.draw(logits[:, -1], text, generator)[:, None]
            text = torch.cat((text, unread), 1)
        yield unread[:, 0].clone()  # a tensor like any other: one may train on it


@torch.no_grad()
def beam_search(
    model: Model, tokens: Tensor, width: int, length: int, cache: KVCache | None = None
) -> tuple[Tensor, Tensor]:
    """The likeliest continuations of a text (T,) that a beam of `width` finds, likeliest first.

    At each step every text in the beam is continued by every token, and the `width` likeliest of
    all these are kept. Returns tokens (width, length) and the log of their probabilities (width,),
    in nats. A width of 1 is greedy; V^(length - 1) or more finds the likeliest text there is.

    Raises:
        ValueError: width or length is below 1.

    Source: lowerre1976harpy (the beam); sutskever2014sequence, section 3.2.

    >>> always = lambda tokens: torch.tensor([0.6, 0.4]).log().expand(*tokens.shape, 2)
    >>> texts, scores = beam_search(always, torch.tensor([0]), width=2, length=3)
    >>> texts.tolist(), scores.exp()
    ([[0, 0, 0], [0, 0, 1]], tensor([0.2160, 0.1440]))
    """
    if width < 1 or length < 1:
        raise ValueError(f"expected width and length from 1 on, got {width} and {length}")
    texts, unread, scores = tokens[None], tokens[None], torch.zeros(1, device=tokens.device)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] + logits[:, -1].log_softmax(-1)  # (beam, V)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
        if cache is not None:
            cache.select(rows)
    return texts[:, len(tokens) :], scores
