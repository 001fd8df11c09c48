"""Answers to the transformer exercise: wrong ones, each with what must catch it, and right ones."""

import importlib
import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.bank import right, wrong

# What a student's notebook has by then: not an import, so that it is not typed into the answers.
library = importlib.import_module("fmbook.transformers.transformer")
Heads, Sizes, FeedForward = library.Heads, library.Sizes, library.FeedForward

# Task 1: FeedForward ----------------------------------------------------------------------------

VALUES = "FeedForward-hidden-values"


@wrong("FeedForward", cell=VALUES, says="there is no bend between the two maps")
class NoBend(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        return self.down(self.up(x))


@wrong("FeedForward", cell=VALUES, says="the bend is a ReLU")
class Relu(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


@wrong("FeedForward", cell=VALUES, says="the bend is the sigmoid's")
class Silu(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.up(x)))


@wrong("FeedForward", cell=VALUES, says="approximation by tanh")
class ByTanh(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))


@wrong("FeedForward", cell=VALUES, says="only the share is passed on")
class ShareOnly(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        z = self.up(x)
        return self.down((1 + torch.erf(z / math.sqrt(2))) / 2)


@wrong("FeedForward", cell=VALUES, says="the bend is a tanh")
class Tanh(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        return self.down(torch.tanh(self.up(x)))


@wrong("FeedForward", cell=VALUES, says="the bend comes after the second map")
class BendAfter(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        return F.gelu(self.down(self.up(x)))


@wrong("FeedForward", cell=VALUES, says="there is a bend after each map")
class BendTwice(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        return F.gelu(self.down(F.gelu(self.up(x))))


@wrong("FeedForward", cell=VALUES, says="x is added")
class Adding(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(x)))


@wrong("FeedForward", cell=VALUES, says="x is normed first")
class Norming(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        x = x / x.square().mean(-1, keepdim=True).sqrt()
        return self.down(F.gelu(self.up(x)))


@right("FeedForward")
class ByFormula(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        z = self.up(x)
        return self.down(z * 0.5 * (1 + torch.erf(z / 2**0.5)))


@right("FeedForward")
class ByEinsum(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        hidden = F.gelu(torch.einsum("...d,fd->...f", x, self.up.weight))
        return torch.einsum("...f,df->...d", hidden, self.down.weight)


@right("FeedForward")
class InDouble(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        z = x.double() @ self.up.weight.T.double()
        hidden = z * torch.special.ndtr(z)
        return (hidden @ self.down.weight.T.double()).float()


@right("FeedForward")
class RowByRow(nn.Module):
    def __init__(self, D, F):
        super().__init__()
        self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        rows = [self.down.weight @ F.gelu(self.up.weight @ row) for row in flat]
        return torch.stack(rows).reshape(x.shape)


# Task 2: Block ----------------------------------------------------------------------------------

PRE, POST, CROSS = "Block-hidden-pre", "Block-hidden-post", "Block-hidden-cross"


@wrong("Block", cell=PRE, says="the stream is replaced by what the parts say")
class Replacing(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return part(norm(x)) if self.pre else norm(part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=PRE, says="this is post-norm")
class AlwaysPost(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=PRE, says="the parts read the stream without norms")
class NoNorms(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(x)

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=PRE, says="the norm takes the place of the stream")
class NormTakesPlace(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        y = norm(x)
        return y + part(y) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=PRE, says="the two norms have changed places")
class NormsSwapped(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[-1], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[0], self.feed_forward)


@wrong("Block", cell=PRE, says="one norm serves both parts")
class OneNorm(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[0], self.feed_forward)


@wrong("Block", cell=PRE, says="the feed-forward reads the stream as it was before attention")
class InParallel(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        before = x
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        if self.pre and self.crossing is None:
            return x + self.feed_forward(self.norms[-1](before))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=PRE, says="the feed-forward comes first")
class NetworkFirst(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[-1], self.feed_forward)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[0], attend)


@wrong("Block", cell=PRE, says="the feed-forward is missing")
class NoNetwork(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return x


@wrong("Block", cell=PRE, says="attention is missing")
class NoAttention(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=PRE, says="`mask` does not reach attention")
class MaskLost(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=PRE, says="`turns` does not reach attention")
class TurnsLost(library.Block):
    def forward(self, x, *, turns=None, **given):
        return super().forward(x, **given)


@wrong("Block", cell=PRE, says="`extend` does not reach attention")
class ExtendLost(library.Block):
    def forward(self, x, *, extend=None, **given):
        return super().forward(x, **given)


@wrong("Block", cell=POST, says="this is pre-norm")
class AlwaysPre(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=POST, says="the part's answer is normed and not the sum")
class NormsTheAnswer(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else x + norm(part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=POST, says="the parts read a normed stream too")
class NormsTwice(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        y = x + part(norm(x))
        return y if self.pre else norm(y)

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=CROSS, says="the crossing reads x and not the context")
class CrossingReadsX(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], self.crossing)
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=CROSS, says="the context is normed")
class ContextNormed(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(
                x, self.norms[1], partial(self.crossing, context=self.norms[1](context), mask=seen)
            )
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=CROSS, says="the crossing comes last")
class CrossingLast(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        x = self._add(x, self.norms[-1], self.feed_forward)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return x


@wrong("Block", cell=CROSS, says="the crossing comes first")
class CrossingFirst(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        x = self._add(x, self.norms[0], attend)
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=CROSS, says="the feed-forward uses the norm of the crossing")
class SharedNorm(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[1], self.feed_forward)


@wrong("Block", cell=CROSS, says="`seen` does not reach the crossing")
class SeenLost(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if context is None:
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context))
        return self._add(x, self.norms[-1], self.feed_forward)


@wrong("Block", cell=CROSS, says="`mask` reaches the crossing, which has `seen`")
class MaskForTheCrossing(library.Block):
    def forward(self, x, *, mask=None, seen=None, **given):
        return super().forward(x, mask=mask, seen=mask if seen is None else seen, **given)


@wrong("Block", cell=CROSS, says="expected ValueError")
class NoComplaint(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


@right("Block")
class WrittenOut(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        if self.pre:
            return x + part(norm(x))
        return norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        if self.crossing is not None and context is None:
            raise ValueError("give it a context")
        x = self._add(x, self.norms[0], lambda y: self.attention(y, None, mask, turns, extend))
        if self.crossing is not None:
            x = self._add(x, self.norms[1], lambda y: self.crossing(y, context, seen))
        return self._add(x, self.norms[len(self.norms) - 1], self.feed_forward)


@right("Block")
class InALoop(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        return x + part(norm(x)) if self.pre else norm(x + part(x))

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        parts = [partial(self.attention, mask=mask, turns=turns, extend=extend), self.feed_forward]
        if self.crossing is not None:
            if context is None:
                raise ValueError("a context is missing")
            parts.insert(1, partial(self.crossing, context=context, mask=seen))
        for norm, part in zip(self.norms, parts):
            x = self._add(x, norm, part)
        return x


@right("Block")
class Torchs(nn.Module):
    def __init__(self, sizes, *, causal=False, cross=False):
        super().__init__()
        self.pre = sizes.norm == "pre"
        self.attention = Heads(sizes.D, sizes.N, causal=causal)
        self.crossing = Heads(sizes.D, sizes.N) if cross else None
        self.feed_forward = FeedForward(sizes.D, sizes.F)
        self.norms = nn.ModuleList(nn.RMSNorm(sizes.D) for _ in range(3 if cross else 2))

    def _add(self, x, norm, part):
        read = norm(x) if self.pre else x
        total = torch.add(x, part(read))
        return total if self.pre else norm(total)

    def forward(self, x, *, mask=None, context=None, seen=None, turns=None, extend=None):
        attend = partial(self.attention, mask=mask, turns=turns, extend=extend)
        x = self._add(x, self.norms[0], attend)
        if self.crossing is not None:
            if not torch.is_tensor(context):
                raise ValueError("no context")
            x = self._add(x, self.norms[1], partial(self.crossing, context=context, mask=seen))
        return self._add(x, self.norms[-1], self.feed_forward)


# Task 3: count_parameters -----------------------------------------------------------------------

ONE, BOTH = "count_parameters-hidden-one", "count_parameters-hidden-both"


@wrong("count_parameters", cell=ONE, says="the last norm is missing")
def no_last_norm(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="the norms have no part in the blocks")
def no_norms_in_blocks(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="a block has two norms, not one")
def one_norm(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="attention has four maps, not three")
def three_maps(kind, V, D, N, layers, F, context, learned):
    block = 3 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="the feed-forward has two maps, not one")
def one_map(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + D * F + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="F is given; it need not be 4 D")
def always_four(kind, V, D, N, layers, F, context, learned):
    block = 12 * D * D + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="the heads share the width D")
def heads_multiply(kind, V, D, N, layers, F, context, learned):
    block = 4 * N * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="there are `layers` blocks")
def one_block(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="a norm has D gains and nothing besides")
def biased_norms(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 4 * D
    encoder = V * D + layers * block + 2 * D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="no map has a bias")
def biased_maps(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D + 5 * D + F
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="a decoder has a readout of its own")
def tied(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="learned positions are missing")
def no_places(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=ONE, says="rotary positions have no parameters")
def always_places(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D + context * D
    decoder = encoder + V * D
    both = encoder + decoder + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=BOTH, says="the crossing is missing")
def no_crossing(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=BOTH, says="the crossing has a norm of its own")
def crossing_without_norm(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * 4 * D * D
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=BOTH, says="the crossing has four maps, not three")
def crossing_of_three(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + layers * (3 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=BOTH, says="the encoder has no crossing")
def crossing_in_both(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + 2 * layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=BOTH, says="encoder and decoder have embeddings of their own")
def shared_embedding(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder - V * D + layers * (4 * D * D + D)
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@wrong("count_parameters", cell=BOTH, says="there are `layers` crossings")
def one_crossing(kind, V, D, N, layers, F, context, learned):
    block = 4 * D * D + 2 * D * F + 2 * D
    encoder = V * D + layers * block + D + (context * D if learned else 0)
    decoder = encoder + V * D
    both = encoder + decoder + 4 * D * D + D
    return {"encoder": encoder, "decoder": decoder, "encoder-decoder": both}[kind]


@right("count_parameters")
def by_shapes(kind, V, D, N, layers, F, context, learned):
    def stack(crossing):
        shapes = [(V, D), (D,)] + [(context, D)] * learned
        for _ in range(layers):
            shapes += [(D, D)] * 4 + [(F, D), (D, F)] + [(D,)] * 2
            shapes += ([(D, D)] * 4 + [(D,)]) * crossing
        return sum(math.prod(shape) for shape in shapes)

    if kind == "encoder":
        return stack(False)
    readout = V * D
    return stack(False) + readout if kind == "decoder" else stack(False) + stack(True) + readout


@right("count_parameters")
def by_modules(kind, V, D, N, layers, F, context, learned):
    def sized(*shape):
        return nn.Parameter(torch.empty(*shape, device="meta"))

    def stack(crossing, readout):
        held = [sized(V, D), sized(D)]
        held += [sized(context, D)] if learned else []
        held += [sized(V, D)] if readout else []
        for _ in range(layers):
            attentions = 2 if crossing else 1
            held += [sized(D, D) for _ in range(4 * attentions)]
            held += [sized(D) for _ in range(attentions + 1)] + [sized(F, D), sized(D, F)]
        return sum(p.numel() for p in held)

    if kind == "encoder-decoder":
        return stack(False, False) + stack(True, True)
    return stack(False, kind == "decoder")


@right("count_parameters")
def by_numpy(kind, V, D, N, layers, F, context, learned):
    # how often: tables, blocks, norms at the end, positions, crossings
    times = {"encoder": (1, 1, 0), "decoder": (2, 1, 0), "encoder-decoder": (3, 2, 1)}[kind]
    tables, stacks, crossed = times
    attention = 4 * D**2
    parts = np.array(
        [V * D, layers * (attention + 2 * F * D + 2 * D) + D, layers * (attention + D)]
    )
    total = parts @ np.array([tables, stacks, crossed]) + stacks * context * D * bool(learned)
    return int(total)


# Task 4: block_repaired -------------------------------------------------------------------------

REPAIRED = "block_repaired-hidden-values"


def unit(x):
    return x / x.square().mean(-1, keepdim=True).sqrt()


def running_mean(v):
    return v.cumsum(1) / torch.arange(1, v.shape[1] + 1)[:, None]


@wrong("block_repaired", cell=REPAIRED, says="this is the buggy answer")
def unrepaired(x, value, output, up, down):
    x = unit(x)
    x = x + running_mean(x @ value.T) @ output.T
    x = unit(x)
    return x + F.gelu(x @ up.T) @ down.T


@wrong("block_repaired", cell=REPAIRED, says="the first norm still takes the place of the stream")
def first_left(x, value, output, up, down):
    x = unit(x)
    x = x + running_mean(x @ value.T) @ output.T
    return x + F.gelu(unit(x) @ up.T) @ down.T


@wrong("block_repaired", cell=REPAIRED, says="the second norm still takes the place of the stream")
def second_left(x, value, output, up, down):
    x = x + running_mean(unit(x) @ value.T) @ output.T
    x = unit(x)
    return x + F.gelu(x @ up.T) @ down.T


@wrong("block_repaired", cell=REPAIRED, says="the feed-forward reads the stream without a norm")
def network_unnormed(x, value, output, up, down):
    x = x + running_mean(unit(x) @ value.T) @ output.T
    return x + F.gelu(x @ up.T) @ down.T


@wrong("block_repaired", cell=REPAIRED, says="attention reads the stream without a norm")
def attention_unnormed(x, value, output, up, down):
    x = x + running_mean(x @ value.T) @ output.T
    return x + F.gelu(unit(x) @ up.T) @ down.T


@wrong("block_repaired", cell=REPAIRED, says="neither part reads through a norm")
def no_norms(x, value, output, up, down):
    x = x + running_mean(x @ value.T) @ output.T
    return x + F.gelu(x @ up.T) @ down.T


@wrong("block_repaired", cell=REPAIRED, says="this is post-norm")
def post_norm(x, value, output, up, down):
    x = unit(x + running_mean(x @ value.T) @ output.T)
    return unit(x + F.gelu(x @ up.T) @ down.T)


@wrong(
    "block_repaired",
    cell=REPAIRED,
    says="the feed-forward reads the stream as it was before attention",
)
def parallel(x, value, output, up, down):
    y = unit(x)
    x = x + running_mean(y @ value.T) @ output.T
    return x + F.gelu(y @ up.T) @ down.T


@wrong("block_repaired", cell=REPAIRED, says="what attention says is not added to the stream")
def attention_replaces(x, value, output, up, down):
    x = running_mean(unit(x) @ value.T) @ output.T
    return x + F.gelu(unit(x) @ up.T) @ down.T


@wrong(
    "block_repaired", cell=REPAIRED, says="what the feed-forward says is not added to the stream"
)
def network_replaces(x, value, output, up, down):
    x = x + running_mean(unit(x) @ value.T) @ output.T
    return F.gelu(unit(x) @ up.T) @ down.T


@wrong(
    "block_repaired",
    cell=REPAIRED,
    says="the stream before attention is added in place of the one after",
)
def old_stream(x, value, output, up, down):
    half = x + running_mean(unit(x) @ value.T) @ output.T
    return x + F.gelu(unit(half) @ up.T) @ down.T


@wrong("block_repaired", cell=REPAIRED, says="the future leaks")
def leaking(x, value, output, up, down):
    v = unit(x) @ value.T
    x = x + v.mean(1, keepdim=True) @ output.T
    return x + F.gelu(unit(x) @ up.T) @ down.T


@wrong("block_repaired", cell=REPAIRED, says="the values are summed up")
def summing(x, value, output, up, down):
    x = x + (unit(x) @ value.T).cumsum(1) @ output.T
    return x + F.gelu(unit(x) @ up.T) @ down.T


@wrong("block_repaired", cell=REPAIRED, says="the bend is gone")
def bendless(x, value, output, up, down):
    x = x + running_mean(unit(x) @ value.T) @ output.T
    return x + unit(x) @ up.T @ down.T


@wrong("block_repaired", cell=REPAIRED, says="the bend was a GELU and must stay one")
def with_relu(x, value, output, up, down):
    x = x + running_mean(unit(x) @ value.T) @ output.T
    return x + torch.relu(unit(x) @ up.T) @ down.T


@right("block_repaired")
def two_names(x, value, output, up, down):
    y = unit(x)
    stream = x + running_mean(y @ value.T) @ output.T
    z = unit(stream)
    return stream + F.gelu(z @ up.T) @ down.T


@right("block_repaired")
def by_weights(x, value, output, up, down):
    T = x.shape[1]
    weights = torch.ones(T, T).tril()
    weights = weights / weights.sum(-1, keepdim=True)
    x = x + weights @ (F.rms_norm(x, x.shape[-1:], eps=0.0) @ (output @ value).T)
    return x + F.gelu(unit(x) @ up.T) @ down.T


@right("block_repaired")
def position_by_position(x, value, output, up, down):
    y = unit(x) @ value.T
    heard = [y[:, : t + 1].mean(1) for t in range(x.shape[1])]
    x = x + torch.stack(heard, 1) @ output.T
    z = unit(x) @ up.T
    return x + (z * torch.special.ndtr(z)) @ down.T
