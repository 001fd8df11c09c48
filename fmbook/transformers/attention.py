"""Attention: each position asks which others matter to it, and takes the mean of what they hold.

Left out: biases and dropout, caches, computing block by block ("flash"), and the half of a
transformer that works within each position (see the stem `transformer`).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "AttentionOnly",
    "MultiHeadAttention",
    "attention",
    "causal_mask",
    "head_scores",
    "repeated_tokens",
    "rotate",
    "sinusoidal_positions",
]


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention: each query takes the mean of the values, weighted by its keys.

    Shapes: q (..., T, K), k (..., S, K), v (..., S, any width) -> (..., T, that width). `mask` is
    boolean, broadcasts to (..., T, S), and is True where a query may attend. A query that may
    attend to nothing has no mean: its row is NaN.

    Raises:
        ValueError: widths of q and k differ, or lengths of k and v.
        TypeError: the mask is not boolean.

    Source: vaswani2017attention, equation 1.

    >>> q, k, v = torch.zeros(2, 5, 8), torch.zeros(2, 3, 8), torch.ones(2, 3, 4)
    >>> attention(q, k, v).shape
    torch.Size([2, 5, 4])
    """
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
        raise ValueError(f"expected q (..., T, K), k (..., S, K), v (..., S, width), got {shapes}")
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError(f"the mask must be boolean, True where allowed, got {mask.dtype}")
    scores = torch.einsum("...tk,...sk->...ts", q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return torch.einsum("...ts,...sk->...tk", scores.softmax(-1), v)


def causal_mask(T: int) -> Tensor:
    """The mask (T, T) by which position t attends to itself and to what came before it.

    Source: vaswani2017attention, section 3.2.3.

    >>> causal_mask(3).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    return torch.ones(T, T, dtype=torch.bool).tril()


def _angles(T: int, width: int, base: float) -> Tensor:
    """Angle of pair i at position t, t / base^(2i / width) in radians: (T, width / 2), float64."""
    if width % 2:
        raise ValueError(f"positions turn pairs of numbers: the width must be even, got {width}")
    pairs = torch.arange(0, width, 2, dtype=torch.float64)
    return torch.outer(torch.arange(T, dtype=torch.float64), base ** (-pairs / width))


def sinusoidal_positions(T: int, D: int, base: float = 10_000.0) -> Tensor:
    """Positions 0 to T - 1 as (T, D): sine and cosine of D / 2 angles, to be added to embeddings.

    Raises:
        ValueError: D is odd.

    Source: vaswani2017attention, section 3.5.

    >>> sinusoidal_positions(2, 4)[0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    angles = _angles(T, D, base)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2).float()


def rotate(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotary positions: turn the neighbouring pairs of x (..., T, K) by their position's angles.

    For queries and keys only: then the score of a query at t and a key at s depends on t - s.

    Raises:
        ValueError: K is odd.

    Source: su2021roformer, section 3.4.2, equation 34.

    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> rotate(x, base=1.0)[1]  # one radian further
    tensor([0.5403, 0.8415])
    """
    angles = _angles(x.shape[-2], x.shape[-1], base)
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class MultiHeadAttention(nn.Module):
    """N attentions side by side, each on its own K = D / N wide view of x (B, T, D) -> (B, T, D).

    With `context` (B, S, D) the queries come from x, keys and values from the context
    (cross-attention). `causal` hides later positions; `rotary` turns queries and keys.

    Raises:
        ValueError: D is no multiple of N; causal attention to a context.

    Source: vaswani2017attention, section 3.2.2.

    >>> heads = MultiHeadAttention(8, 2, causal=True)
    >>> heads(torch.zeros(1, 5, 8)).shape, heads.weights(torch.zeros(1, 5, 8)).shape
    (torch.Size([1, 5, 8]), torch.Size([1, 2, 5, 5]))
    """

    def __init__(self, D: int, N: int, *, causal: bool = False, rotary: bool = False) -> None:
        super().__init__()
        if D % N:
            raise ValueError(f"{N} heads cannot share a width of {D} evenly")
        self.N, self.causal, self.rotary = N, causal, rotary
        self.query, self.key = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)
        self.value, self.output = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        K = x.shape[-1] // self.N
        heads: Tensor = x.unflatten(-1, (self.N, K))
        return heads.transpose(-3, -2)  # (B, T, D) -> (B, N, T, K)

    def _asked(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.causal and context is not None:
            raise ValueError("causal attention has no order between x and a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x if context is None else context))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, causal_mask(x.shape[-2]).to(x.device) if self.causal else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x if context is None else context))
        mixed = attention(q, k, v, mask)  # (B, N, T, K)
        output: Tensor = self.output(mixed.transpose(-3, -2).flatten(-2))
        return output

    def weights(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Who attends to whom, (B, N, T, S): what attention returns for values that are one-hot."""
        q, k, mask = self._asked(x, context)
        one_hot = torch.eye(k.shape[-2]).to(k).expand(*k.shape[:-1], k.shape[-2])
        return attention(q, k, one_hot, mask)


class AttentionOnly(nn.Module):
    """A language model of attention alone: tokens (B, T) -> logits (B, T, V) of the next token.

    Embedding, then `layers` causal rotary attentions, each added to what it read (the residual
    stream), then the readout. No position works on its own anywhere.

    Source: elhage2021mathematical, attention-only models (there without norms).

    >>> model = AttentionOnly(V=10, D=8, N=2, layers=2)
    >>> model(torch.zeros(3, 5, dtype=torch.long)).shape
    torch.Size([3, 5, 10])
    """

    def __init__(self, V: int, D: int, N: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, D)
        self.norms = nn.ModuleList(nn.RMSNorm(D) for _ in range(layers + 1))
        self.attentions = nn.ModuleList(
            MultiHeadAttention(D, N, causal=True, rotary=True) for _ in range(layers)
        )
        self.readout = nn.Linear(D, V, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for norm, heads in zip(self.norms, self.attentions, strict=False):
            x = x + heads(norm(x))
        logits: Tensor = self.readout(self.norms[-1](x))
        return logits

    @torch.no_grad()
    def weights(self, tokens: Tensor) -> Tensor:
        """Who attends to whom in every layer and head: (layers, B, N, T, T)."""
        x, found = self.embedding(tokens), []
        heads: Any
        for norm, heads in zip(self.norms, self.attentions, strict=False):
            found.append(heads.weights(norm(x)))
            x = x + heads(norm(x))
        return torch.stack(found)


def repeated_tokens(B: int, period: int, V: int, generator: torch.Generator) -> Tensor:
    """Random tokens of 0 to V - 1, each row said twice: (B, 2 period).

    The first half cannot be predicted; the second can, by who finds the earlier place.

    Source: olsson2022incontext, "Data Collection" (there 25 tokens, said four times).

    >>> repeated_tokens(4, 5, 64, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 10])
    """
    return torch.randint(V, (B, period), generator=generator).repeat(1, 2)


def head_scores(weights: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """How much of its weight a head (..., T, T) gives to two places, each a mean in 0 to 1: (...).

    First to the previous token (queries 1 on). Second, the induction score: to the token after
    the last occurrence of the query's token, `period` - 1 places back (queries `period` on).

    Source: olsson2022incontext, "Data Collection", previous token and prefix matching.

    >>> previous, induction = head_scores(torch.eye(6).roll(-1, 1)[None], period=3)
    >>> previous.tolist(), induction.tolist()
    ([1.0], [0.0])
    """
    previous = weights.diagonal(-1, -2, -1).mean(-1)
    induction = weights.diagonal(1 - period, -2, -1)[..., 1:].mean(-1)
    return previous, induction
