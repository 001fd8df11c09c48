"""The transformer: blocks in which attention and a small network add to one residual stream.

Left out: dropout, biases, shared embedding and readout, and training (see the recipe
`transformer`). A cache is only spoken to here; it is built in the stem `sampling`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmbook.transformers.attention import sinusoidal_positions

__all__ = ["GPT", "Block", "Cache", "Encoder", "EncoderDecoder", "FeedForward", "Heads", "Sizes"]

POSITIONS, NORMS = ("rotary", "learned", "sinusoidal", "none"), ("pre", "post")
Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes and choices of a transformer, in the legend's letters.

    `V` tokens, width `D`, `N` heads of K = D / N, `layers` blocks, `context` positions, hidden
    width `F` (4 D unless given). `positions` is one of rotary, learned, sinusoidal, none; `norm`
    is pre (before each part) or post (after each sum).

    Raises:
        ValueError: a size below 1, D no multiple of N, an odd width that is to be turned, or an
            unknown choice.

    Source: vaswani2017attention, table 3 (the sizes there); xiong2020on (pre and post).

    >>> Sizes(V=100, D=8, N=2, layers=1, context=16).F
    32
    """

    V: int
    D: int
    N: int
    layers: int
    context: int
    F: int = 0
    positions: str = "rotary"
    norm: str = "pre"

    def __post_init__(self) -> None:
        object.__setattr__(self, "F", self.F or 4 * self.D)
        for name in ("V", "D", "N", "layers", "context", "F"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.D % self.N:
            raise ValueError(f"{self.N} heads cannot share a width of {self.D} evenly")
        if self.positions == "rotary" and self.D // self.N % 2:
            raise ValueError(f"rotary heads must have an even width, got {self.D // self.N}")
        for name, known in (("positions", POSITIONS), ("norm", NORMS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is one of {known}, got {getattr(self, name)!r}")


class Cache(Protocol):
    """What a decoder asks of a memory for keys and values, so as to read each token once.

    `length` is the number of positions held before a call. `extend(layer, k, v)` appends k and v
    (B, N, T, K), already turned, and returns all of that layer, (B, N, length + T, K).

    Source: vaswani2017attention, section 3.2.3 (a position attends to those before it, no more).

    >>> "extend" in dir(Cache)
    True
    """

    length: int

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]: ...


def _turns(start: int, T: int, K: int, like: Tensor) -> Tensor:
    """Rotary positions from `start` on, base 10,000, as complex numbers of length 1: (T, K / 2)."""
    rates = 10_000.0 ** (-torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = torch.outer(torch.arange(start, start + T, dtype=torch.float64), rates)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64).to(like.device)


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """Neighbouring pairs of x (B, T, N, K), read as complex numbers, times their turns: a turn."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns[:, None]).flatten(-2)


class Heads(nn.Module):
    """Multi-head attention as a block needs it: x (B, T, D) -> (B, T, D), by torch's fused kernel.

    `context` (B, S, D) makes it cross-attention. `mask` is boolean, broadcasts to (B, N, T, S),
    True where allowed. `causal` lets the last query see every key, the one before it one fewer.
    `turns` turn queries and keys; `extend` adds keys and values of earlier calls.

    Source: vaswani2017attention, section 3.2; su2021roformer, section 3.4.2.

    >>> Heads(8, 2, causal=True)(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, D: int, N: int, *, causal: bool = False) -> None:
        super().__init__()
        self.N, self.causal = N, causal
        self.query, self.key = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)
        self.value, self.output = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        turns: Tensor | None = None,
        extend: Extend | None = None,
    ) -> Tensor:
        source = x if context is None else context
        q, k, v = self.query(x), self.key(source), self.value(source)
        q, k, v = (y.unflatten(-1, (self.N, -1)) for y in (q, k, v))  # (B, T, N, K)
        if turns is not None:
            q, k = _turned(q, turns), _turned(k, turns)
        q, k, v = (y.transpose(1, 2) for y in (q, k, v))
        if extend is not None:
            k, v = extend(k, v)
        output: Tensor = self.output(self._mixed(q, k, v, mask).transpose(1, 2).flatten(2))
        return output

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attention in one dtype: float32 on a CPU, where bfloat16's backward pass is slow."""
        dtype = torch.float32 if q.device.type == "cpu" and v.dtype == torch.bfloat16 else v.dtype
        T, S = q.shape[-2], k.shape[-2]
        if self.causal and (T != S or mask is not None) and T > 1:
            below = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
            mask = below if mask is None else below & mask
        with torch.autocast(q.device.type, enabled=False):
            return F.scaled_dot_product_attention(
                q.to(dtype),
                k.to(dtype),
                v.to(dtype),
                attn_mask=mask,
                is_causal=self.causal and mask is None and T > 1,
            )


class FeedForward(nn.Module):
    """The same two-layer network at every position, alone: x (B, T, D) -> (B, T, D).

    Source: vaswani2017attention, equation 2 (there ReLU and biases); hendrycks2016gaussian.

    >>> FeedForward(8, 32)(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, D: int, F: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.gelu(self.up(x)))
        return out


class Block(nn.Module):
    """Attention, then (where asked) attention to a context, then a feed-forward: each adds to x.

    x (B, T, D), `context` (B, S, D), `seen` (broadcasts to (B, N, T, S), True where the context
    may be read) -> (B, T, D). With pre-norm a part reads the normed stream and adds to the stream
    itself; with post-norm the sum is normed.

    Raises:
        ValueError: a block with cross-attention is given no context.

    Source: vaswani2017attention, section 3.1 (post-norm); xiong2020on, table 1 (pre-norm).

    >>> block = Block(Sizes(V=9, D=8, N=2, layers=1, context=16), causal=True, cross=True)
    >>> block(torch.zeros(1, 5, 8), context=torch.zeros(1, 3, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, sizes: Sizes, *, causal: bool = False, cross: bool = False) -> None:
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x: Tensor, norm: nn.Module, part: Callable[..., Tensor]) -> Tensor:
        added: Tensor = x + part(norm(x)) if self.pre else norm(x + part(x))
        return added

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        context: Tensor | None = None,
        seen: Tensor | None = None,
        turns: Tensor | None = None,
        extend: Extend | None = None,
    ) -> Tensor:
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("this block was built with cross=True: give it a context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


class _Stack(nn.Module):
    """Embedding, positions, blocks, last norm: what the three kinds of transformer share."""

    def __init__(self, sizes: Sizes, *, causal: bool = False, cross: bool = False) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Embedding(sizes.V, sizes.D)
        if sizes.positions == "learned":
            self.places = nn.Embedding(sizes.context, sizes.D)
        self.blocks = nn.ModuleList(
            Block(sizes, causal=causal, cross=cross) for _ in range(sizes.layers)
        )
        self.norm = nn.RMSNorm(sizes.D) if sizes.norm == "pre" else nn.Identity()

    def _embedded(self, tokens: Tensor, start: int) -> Tensor:
        """Embeddings (B, T, D) of tokens that stand at `start` and after, with their positions."""
        x: Tensor = self.embedding(tokens)
        stop = start + tokens.shape[1]
        if self.sizes.positions == "learned":
            if stop > self.sizes.context:
                raise ValueError(f"{stop} positions, but only {self.sizes.context} were learned")
            x = x + self.places.weight[start:stop]
        if self.sizes.positions == "sinusoidal":
            x = x + sinusoidal_positions(stop, self.sizes.D)[start:].to(x)
        return x

    def _through(self, tokens: Tensor, cache: Cache | None = None, **reads: Any) -> Tensor:
        if tokens.ndim != 2 or tokens.is_floating_point():
            raise ValueError(f"expected tokens (B, T) of integers, got {tuple(tokens.shape)}")
        start, T = 0 if cache is None else cache.length, tokens.shape[1]
        x = self._embedded(tokens, start)
        K, rotary = self.sizes.D // self.sizes.N, self.sizes.positions == "rotary"
        turns = _turns(start, T, K, x) if rotary else None
        for layer, block in enumerate(self.blocks):
            extend = None if cache is None else partial(cache.extend, layer)
            x = block(x, turns=turns, extend=extend, **reads)
        out: Tensor = self.norm(x)
        return out


class Encoder(_Stack):
    """Encoder-only: every position reads all of them; tokens (B, T) -> states (B, T, D).

    `real` (B, T) is True for tokens and False for padding, which nobody reads.

    Source: vaswani2017attention, section 3.1; devlin2019bert, section 3.

    >>> Encoder(Sizes(V=9, D=8, N=2, layers=2, context=16))(torch.zeros(3, 5).long()).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)

    def forward(self, tokens: Tensor, real: Tensor | None = None) -> Tensor:
        return self._through(tokens, mask=None if real is None else real[:, None, None])


class GPT(_Stack):
    """Decoder-only: no position reads a later one; tokens (B, T) -> logits (B, T, V) of the next.

    With a cache, tokens go on where it ends. With `cross`, each block also reads a `context`
    (B, S, D), of which `real` (B, S) says what is no padding.

    Raises:
        ValueError: tokens are no (B, T) of integers, or more than learned positions can name.

    Source: radford2018improving, section 3.1; radford2019language, section 2.3 (pre-norm).

    >>> model = GPT(Sizes(V=9, D=8, N=2, layers=2, context=16))
    >>> model(torch.zeros(3, 5).long()).shape, model.states(torch.zeros(3, 5).long()).shape
    (torch.Size([3, 5, 9]), torch.Size([3, 5, 8]))
    """

    def __init__(self, sizes: Sizes, *, cross: bool = False) -> None:
        super().__init__(sizes, causal=True, cross=cross)
        self.readout = nn.Linear(sizes.D, sizes.V, bias=False)

    def states(
        self,
        tokens: Tensor,
        cache: Cache | None = None,
        context: Tensor | None = None,
        real: Tensor | None = None,
    ) -> Tensor:
        """What the readout reads: the residual stream after the last norm, (B, T, D)."""
        seen = None if real is None else real[:, None, None]
        return self._through(tokens, cache, context=context, seen=seen)

    def forward(
        self,
        tokens: Tensor,
        cache: Cache | None = None,
        context: Tensor | None = None,
        real: Tensor | None = None,
    ) -> Tensor:
        logits: Tensor = self.readout(self.states(tokens, cache, context, real))
        return logits


class EncoderDecoder(nn.Module):
    """Both: a decoder that also reads what an encoder made of a source; -> logits (B, T, V).

    `source` (B, S), `target` (B, T), `real` (B, S) False where the source is padding.

    Source: vaswani2017attention, section 3.1 and figure 1.

    >>> model = EncoderDecoder(Sizes(V=9, D=8, N=2, layers=2, context=16))
    >>> model(torch.zeros(3, 7).long(), torch.zeros(3, 5).long()).shape
    torch.Size([3, 5, 9])
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(sizes), GPT(sizes, cross=True)

    def forward(self, source: Tensor, target: Tensor, real: Tensor | None = None) -> Tensor:
        logits: Tensor = self.decoder(target, context=self.encoder(source, real), real=real)
        return logits
