"""Answers to the attention exercise: wrong ones, each with what must catch it, and right ones."""

import importlib
import math

import numpy as np
import torch
from torch import nn

from tests.bank import right, wrong

# What a student's notebook has by task 3: not an import, so that it is not typed into the answers.
library = importlib.import_module("fmbook.transformers.attention")
attention, rotate, causal_mask = library.attention, library.rotate, library.causal_mask

# Task 1: attention ------------------------------------------------------------------------------

VALUES, MASK = "attention-hidden-values", "attention-hidden-mask"


@wrong("attention", cell=VALUES, says="the scores are not divided by sqrt(K)")
def unscaled(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


@wrong("attention", cell=VALUES, says="the scores are divided by K, not by sqrt(K)")
def divided_by_width(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / q.shape[-1]
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


@wrong("attention", cell=VALUES, says="the scores are multiplied by sqrt(K), not divided")
def multiplied_by_root(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


@wrong("attention", cell=VALUES, says="the scores are divided by sqrt(S); the root is of the width")
def divided_by_root_of_length(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1)
    scores = scores / math.sqrt(scores.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


@wrong("attention", cell=VALUES, says="the root of the width of v; it must be that of q and k")
def divided_by_root_of_value_width(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(v.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


@wrong(
    "attention", cell=VALUES, says="the softmax runs over the queries; it must run over the keys"
)
def softmax_over_queries(q, k, v, mask=None):
    scores = torch.einsum("...tk,...sk->...ts", q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return torch.einsum("...ts,...sk->...tk", torch.softmax(scores, dim=-2), v)


@wrong("attention", cell=VALUES, says="the softmax runs over axis 1")
def softmax_over_axis_one(q, k, v, mask=None):
    scores = torch.einsum("...tk,...sk->...ts", q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return torch.einsum("...ts,...sk->...tk", torch.softmax(scores, dim=1), v)


@wrong("attention", cell=VALUES, says="one softmax over the whole table")
def softmax_over_table(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.exp()
    return weights / weights.sum((-2, -1), keepdim=True) @ v


@wrong("attention", cell=VALUES, says="there is no softmax")
def no_softmax(q, k, v, mask=None):
    weights = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        weights = weights * mask
    return weights @ v


@wrong("attention", cell=VALUES, says="the division by sqrt(K) comes after the softmax")
def divided_after_softmax(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) / math.sqrt(q.shape[-1]) @ v


@wrong("attention", cell=VALUES, says="the answer is a mean of the keys; it must be of the values")
def mean_of_keys(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ k


@wrong("attention", cell=VALUES, says="queries and keys have changed places")
def keys_ask(q, k, v, mask=None):
    scores = k @ q.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


@wrong("attention", cell=VALUES, says="exp overflows: subtract the largest score first")
def overflowing(q, k, v, mask=None):
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError("shapes do not fit")
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError("not a boolean mask")
    weights = torch.exp(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]))
    if mask is not None:
        weights = weights * mask
    return weights / weights.sum(-1, keepdim=True) @ v


@wrong("attention", cell=VALUES, says="q and k of different widths: expected ValueError")
def unchecked_shapes(q, k, v, mask=None):
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError("not a boolean mask")
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


@wrong("attention", cell=MASK, says="the mask is ignored")
def mask_ignored(q, k, v, mask=None):
    return (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1) @ v


@wrong("attention", cell=MASK, says="the mask is ignored")
def mask_lost(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores.masked_fill(~mask, -math.inf)  # the result is thrown away
    return scores.softmax(-1) @ v


@wrong("attention", cell=MASK, says="the mask is turned round: True means that a query may attend")
def mask_inverted(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask, -math.inf)
    return scores.softmax(-1) @ v


@wrong("attention", cell=MASK, says="the weights no longer add up to 1: mask before the softmax")
def mask_after_softmax(q, k, v, mask=None):
    weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ v


@wrong("attention", cell=MASK, says="a forbidden score becomes 0, and exp(0) is still a weight")
def mask_with_zero(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores * mask
    return scores.softmax(-1) @ v


@wrong("attention", cell=MASK, says="a forbidden score becomes 0, and exp(0) is still a weight")
def mask_with_a_tiny_number(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e-9)  # meant: -1e9
    return scores.softmax(-1) @ v


@wrong("attention", cell=MASK, says="the rows of the mask are the queries, not the keys")
def mask_transposed(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask.transpose(-2, -1), -math.inf)
    return scores.softmax(-1) @ v


@wrong("attention", cell=MASK, says="the mask is added to the scores as 0 and 1")
def mask_added(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1) @ v


@wrong("attention", cell=MASK, says="the -infinity comes after the softmax")
def infinite_after_softmax(q, k, v, mask=None):
    weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, float("-inf"))
    return weights @ v


@wrong("attention", cell=MASK, says="a mask of numbers: expected TypeError, but it returned")
def mask_of_numbers_taken(q, k, v, mask=None):
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError("shapes do not fit")
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -math.inf)
    return scores.softmax(-1) @ v


@right("attention")
def by_loops(q, k, v, mask=None):
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError("shapes do not fit")
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError("not a boolean mask")
    lead, (T, K), S, W = q.shape[:-2], q.shape[-2:], k.shape[-2], v.shape[-1]
    allowed = torch.ones(T, S, dtype=torch.bool) if mask is None else mask
    allowed = allowed.expand(*lead, T, S).reshape(-1, T, S)
    q, k, v = q.reshape(-1, T, K), k.reshape(-1, S, K), v.reshape(-1, S, W)
    answer = torch.zeros(len(q), T, W)
    for b in range(len(q)):
        for t in range(T):
            seen = [s for s in range(S) if allowed[b, t, s]]
            scores = [float(q[b, t] @ k[b, s]) / math.sqrt(K) for s in seen]
            weights = [math.exp(score - max(scores)) for score in scores]
            for s, weight in zip(seen, weights, strict=True):
                answer[b, t] += weight / sum(weights) * v[b, s]
    return answer.reshape(*lead, T, W)


@right("attention")
def by_numpy(q, k, v, mask=None):
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError("shapes do not fit")
    if mask is not None and mask.dtype is not torch.bool:
        raise TypeError("not a boolean mask")
    a, b, c = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    scores = np.einsum("...tk,...sk->...ts", a, b) / np.sqrt(a.shape[-1])
    if mask is not None:
        scores = np.where(mask.numpy(), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return torch.from_numpy(np.einsum("...ts,...sw->...tw", weights, c)).to(q.dtype)


@right("attention")
def by_large_negative_numbers(q, k, v, mask=None):
    if q.size(-1) != k.size(-1):
        raise ValueError("q and k differ in width")
    if k.size(-2) != v.size(-2):
        raise ValueError("k and v differ in length")
    scores = torch.matmul(q * q.size(-1) ** -0.5, k.transpose(-1, -2))
    if mask is not None:
        if mask.dtype != torch.bool:
            raise TypeError("not a boolean mask")
        scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
    return torch.matmul(torch.softmax(scores, dim=-1), v)


@right("attention")
def by_renormalizing(q, k, v, mask=None):
    """The mask after the softmax, with the weights made to add up to 1 again; in float64."""
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError("shapes do not fit")
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError("not a boolean mask")
    scores = (q.double() @ k.double().mT) / q.shape[-1] ** 0.5
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    if mask is not None:
        weights = weights * mask
    return (weights / weights.sum(-1, keepdim=True) @ v.double()).to(v.dtype)


# Task 2: rotate ---------------------------------------------------------------------------------

TURN, AXES = "rotate-hidden-turn", "rotate-hidden-axes"


@wrong("rotate", cell=TURN, says="pairs turn the other way round")
def clockwise(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos + odd * sin, odd * cos - even * sin), -1).flatten(-2)


@wrong("rotate", cell=TURN, says="pairs are neighbours, 0 with 1; these are half a width apart")
def halves(x, base=10_000.0):
    """As LLaMA's code does it: a permutation of the paper's pairs, and another convention."""
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()
    one, two = x.chunk(2, -1)
    return x * cos + torch.cat((-two, one), -1) * sin


@wrong("rotate", cell=TURN, says="the pairs come back unzipped, first all first coordinates")
def unzipped(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.cat((even * cos - odd * sin, even * sin + odd * cos), -1)


@wrong("rotate", cell=TURN, says="positions start at 0, not at 1")
def positions_from_one(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(1, T + 1), base ** (-torch.arange(0, K, 2) / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


@wrong("rotate", cell=TURN, says="the exponent is 2i / K for pair i, not i / K")
def exponent_halved(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(K // 2) / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


@wrong("rotate", cell=TURN, says="the exponent is 2i / K for pair i, not 4i / K")
def exponent_doubled(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), base ** (-2 * torch.arange(0, K, 2) / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


@wrong("rotate", cell=TURN, says="all pairs turn at the same speed")
def one_speed(x, base=10_000.0):
    angles = torch.arange(x.shape[-2])[:, None].float()
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


@wrong("rotate", cell=TURN, says="later pairs turn faster; they must turn slower")
def faster_and_faster(x, base=10_000.0):
    T, K = x.shape[-2:]
    speeds = base ** (torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = torch.outer(torch.arange(T, dtype=torch.float64), speeds)
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


@wrong("rotate", cell=TURN, says="the base is ignored")
def base_ignored(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), 10_000 ** (-torch.arange(0, K, 2) / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


@wrong("rotate", cell=TURN, says="these are mirror images: one of the two sines needs a minus")
def mirrored(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos + odd * sin, even * sin - odd * cos), -1).flatten(-2)


@wrong("rotate", cell=TURN, says="both sines have the same sign: this is no turn")
def sign_forgotten(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos + odd * sin, even * sin + odd * cos), -1).flatten(-2)


@wrong("rotate", cell=TURN, says="positions are added; the pairs must be turned")
def added(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    return x + torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)


@wrong("rotate", cell=TURN, says="the second coordinate is made from the first one after its turn")
def overwritten(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    cos, sin = angles.cos(), angles.sin()
    turned = x.clone()
    turned[..., 0::2] = turned[..., 0::2] * cos - turned[..., 1::2] * sin
    turned[..., 1::2] = turned[..., 0::2] * sin + turned[..., 1::2] * cos
    return turned


@wrong("rotate", cell=AXES, says="positions are counted along axis -3; they go along axis -2")
def heads_last(x, base=10_000.0):
    """Made for the layout (B, T, N, K)."""
    K = x.shape[-1]
    T = x.shape[-3] if x.dim() > 2 else x.shape[0]
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    if x.dim() > 2:
        angles = angles[:, None, :]
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


@wrong("rotate", cell=AXES, says="positions go on counting from one row of the batch to the next")
def counting_on(x, base=10_000.0):
    rows = x.reshape(-1, x.shape[-1])
    T, K = rows.shape
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = rows[:, 0::2], rows[:, 1::2]
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1)
    return turned.reshape(x.shape)


@wrong("rotate", cell=AXES, says="positions are counted along axis 0; they go along axis -2")
def along_axis_zero(x, base=10_000.0):
    K = x.shape[-1]
    speeds = base ** (-torch.arange(0, K, 2) / K)
    rows = []
    for t, row in enumerate(x):
        cos, sin = (t * speeds).cos(), (t * speeds).sin()
        even, odd = row[..., 0::2], row[..., 1::2]
        rows.append(torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2))
    return torch.stack(rows)


@wrong("rotate", cell=AXES, says="x is float32, the answer is float64: give it the dtype of x")
def widened(x, base=10_000.0):
    T, K = x.shape[-2:]
    if K % 2:
        raise ValueError("odd width")
    pairs = torch.arange(0, K, 2, dtype=torch.float64)
    angles = torch.outer(torch.arange(T, dtype=torch.float64), base ** (-pairs / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


@wrong("rotate", cell=AXES, says="an odd width: expected ValueError")
def odd_unchecked(x, base=10_000.0):
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


@right("rotate")
def turned_by_loops(x, base=10_000.0):
    T, K = x.shape[-2], x.shape[-1]
    if K % 2 == 1:
        raise ValueError("odd width")
    turned = torch.empty_like(x)
    for t in range(T):
        for i in range(K // 2):
            angle = t / base ** (2 * i / K)
            a, b = x[..., t, 2 * i], x[..., t, 2 * i + 1]
            turned[..., t, 2 * i] = a * math.cos(angle) - b * math.sin(angle)
            turned[..., t, 2 * i + 1] = a * math.sin(angle) + b * math.cos(angle)
    return turned


@right("rotate")
def turned_as_complex_numbers(x, base=10_000.0):
    T, K = x.shape[-2:]
    if K % 2:
        raise ValueError("odd width")
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, K, 2) / K))
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], K // 2, 2).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


@right("rotate")
def turned_by_matrices(x, base=10_000.0):
    """One block-diagonal matrix (K, K) for each position, by einsum."""
    T, K = x.shape[-2:]
    if K % 2:
        raise ValueError("odd width")
    matrices = []
    for t in range(T):
        blocks = []
        for i in range(K // 2):
            c, s = math.cos(t * base ** (-2 * i / K)), math.sin(t * base ** (-2 * i / K))
            blocks.append(torch.tensor([[c, -s], [s, c]]))
        matrices.append(torch.block_diag(*blocks))
    return torch.einsum("tij,...tj->...ti", torch.stack(matrices), x)


@right("rotate")
def turned_by_numpy(x, base=10_000.0):
    T, K = x.shape[-2:]
    if K % 2:
        raise ValueError("odd width")
    a = x.numpy().astype(np.float64)
    angles = np.repeat(np.arange(T)[:, None] * base ** (-np.arange(0, K, 2) / K), 2, axis=-1)
    quarter = np.stack((-a[..., 1::2], a[..., 0::2]), -1).reshape(a.shape)
    return torch.from_numpy(a * np.cos(angles) + quarter * np.sin(angles)).to(x.dtype)


# Task 3: MultiHeadAttention ---------------------------------------------------------------------

HEADS, ORDER = "MultiHeadAttention-hidden-heads", "MultiHeadAttention-hidden-order"
CONTEXT = "MultiHeadAttention-hidden-context"

# The first wrong answer is written in full; the others show only what is wrong about them.


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="the heads are cut out of the time axis",
)
class cut_out_of_time(nn.Module):
    def __init__(self, D, N, *, causal=False, rotary=False):
        super().__init__()
        if D % N:
            raise ValueError(f"{N} heads cannot share a width of {D} evenly")
        self.N, self.causal, self.rotary = N, causal, rotary
        self.query, self.key = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)
        self.value, self.output = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)

    def _split(self, x):
        B, T, D = x.shape
        return x.reshape(B, self.N, T, D // self.N)

    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x if context is None else context))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, causal_mask(x.shape[1]) if self.causal else None

    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x if context is None else context))
        return self.output(attention(q, k, v, mask).transpose(1, 2).flatten(2))

    def weights(self, x, context=None):
        q, k, mask = self._asked(x, context)
        one_hot = torch.eye(k.shape[2]).expand(*k.shape[:2], -1, -1)
        return attention(q, k, one_hot, mask)


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="neither in the split nor in the join",
)
class cut_and_joined_by_reshape(library.MultiHeadAttention):
    def _split(self, x):
        B, T, D = x.shape
        return x.reshape(B, self.N, T, D // self.N)

    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x if context is None else context))
        return self.output(attention(q, k, v, mask).reshape(x.shape))


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="the heads are joined without swapping the axes back",
)
class joined_without_swapping(library.MultiHeadAttention):
    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x if context is None else context))
        return self.output(attention(q, k, v, mask).reshape(x.shape))


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="head n takes every N-th number; it must take K neighbours",
)
class woven(library.MultiHeadAttention):
    def _split(self, x):
        return x.unflatten(-1, (-1, self.N)).permute(0, 3, 1, 2)


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="head n takes every N-th number; it must take K neighbours, in the join too",
)
class woven_and_unwoven(library.MultiHeadAttention):
    def _split(self, x):
        return x.unflatten(-1, (-1, self.N)).permute(0, 3, 1, 2)

    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x if context is None else context))
        return self.output(attention(q, k, v, mask).permute(0, 2, 3, 1).flatten(2))


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="this is a single head of width D",
)
class single_head(library.MultiHeadAttention):
    def _split(self, x):
        return x[:, None]


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="the map `output` is missing",
)
class no_output_map(library.MultiHeadAttention):
    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x if context is None else context))
        return attention(q, k, v, mask).transpose(1, 2).flatten(2)


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="the scores are divided by sqrt(D); the root is of the width of a head",
)
class root_of_whole_width(library.MultiHeadAttention):
    def forward(self, x, context=None):
        v = self._split(self.value(x if context is None else context))
        return self.output((self.weights(x, context) @ v).transpose(1, 2).flatten(2))

    def weights(self, x, context=None):
        q, k, mask = self._asked(x, context)
        scores = q @ k.mT / math.sqrt(x.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        return scores.softmax(-1)


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="the values do not go through the map `value`",
)
class values_not_mapped(library.MultiHeadAttention):
    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(x if context is None else context)
        return self.output(attention(q, k, v, mask).transpose(1, 2).flatten(2))


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="the keys come from the map `query`",
)
class keys_by_query_map(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x))
        k = self._split(self.query(x if context is None else context))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, causal_mask(x.shape[1]) if self.causal else None


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="the heads are averaged; each has its own table",
)
class weights_averaged(library.MultiHeadAttention):
    def weights(self, x, context=None):
        q, k, mask = self._asked(x, context)
        one_hot = torch.eye(k.shape[2]).expand(*k.shape[:2], -1, -1)
        return attention(q, k, one_hot, mask).mean(1)


@wrong(
    "MultiHeadAttention",
    cell=HEADS,
    says="these are scores: the softmax is missing",
)
class scores_for_weights(library.MultiHeadAttention):
    def weights(self, x, context=None):
        q, k, mask = self._asked(x, context)
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        return scores if mask is None else scores.masked_fill(~mask, -math.inf)


@wrong(
    "MultiHeadAttention",
    cell=ORDER,
    says="`causal` has no effect",
)
class never_causal(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x if context is None else context))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, None


@wrong(
    "MultiHeadAttention",
    cell=ORDER,
    says="position t must see itself too",
)
class blind_to_itself(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x if context is None else context))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, causal_mask(x.shape[1]).tril(-1) if self.causal else None


@wrong(
    "MultiHeadAttention",
    cell=ORDER,
    says="each position sees the later ones in place of the earlier",
)
class sees_the_future_only(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x if context is None else context))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, torch.ones(x.shape[1], x.shape[1]).triu().bool() if self.causal else None


@wrong(
    "MultiHeadAttention",
    cell=ORDER,
    says="each position sees one position too many, the next",
)
class sees_one_too_many(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x if context is None else context))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, torch.ones(x.shape[1], x.shape[1]).tril(1).bool() if self.causal else None


@wrong(
    "MultiHeadAttention",
    cell=ORDER,
    says="`causal` has no effect",
)
class weights_not_causal(library.MultiHeadAttention):
    def weights(self, x, context=None):
        q, k, mask = self._asked(x, context)
        one_hot = torch.eye(k.shape[2]).expand(*k.shape[:2], -1, -1)
        return attention(q, k, one_hot)


@wrong(
    "MultiHeadAttention",
    cell=ORDER,
    says="`rotary` has no effect",
)
class never_rotary(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x if context is None else context))
        return q, k, causal_mask(x.shape[1]) if self.causal else None


@wrong(
    "MultiHeadAttention",
    cell=ORDER,
    says="the keys are not turned",
)
class queries_turned_only(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x if context is None else context))
        if self.rotary:
            q = rotate(q)
        return q, k, causal_mask(x.shape[1]) if self.causal else None


@wrong(
    "MultiHeadAttention",
    cell=ORDER,
    says="turned before the split",
)
class turned_before_the_split(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q, k = self.query(x), self.key(x if context is None else context)
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return self._split(q), self._split(k), causal_mask(x.shape[1]) if self.causal else None


@wrong(
    "MultiHeadAttention",
    cell=ORDER,
    says="turned by the number of the head",
)
class turned_by_head(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self.query(x).unflatten(-1, (self.N, -1))
        k = self.key(x if context is None else context).unflatten(-1, (self.N, -1))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        mask = causal_mask(x.shape[1]) if self.causal else None
        return q.transpose(1, 2), k.transpose(1, 2), mask


@wrong(
    "MultiHeadAttention",
    cell=ORDER,
    says="the values are turned too",
)
class values_turned_too(library.MultiHeadAttention):
    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x if context is None else context))
        if self.rotary:
            v = rotate(v)
        return self.output(attention(q, k, v, mask).transpose(1, 2).flatten(2))


@wrong(
    "MultiHeadAttention",
    cell=CONTEXT,
    says="the context is ignored",
)
class context_ignored(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, causal_mask(x.shape[1]) if self.causal else None

    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x))
        return self.output(attention(q, k, v, mask).transpose(1, 2).flatten(2))


@wrong(
    "MultiHeadAttention",
    cell=CONTEXT,
    says="the values come from x; they must come from the context",
)
class values_from_x(library.MultiHeadAttention):
    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x))
        return self.output(attention(q, k, v, mask).transpose(1, 2).flatten(2))


@wrong(
    "MultiHeadAttention",
    cell=CONTEXT,
    says="the keys come from x; they must come from the context",
)
class keys_from_x(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, causal_mask(x.shape[1]) if self.causal else None


@wrong(
    "MultiHeadAttention",
    cell=CONTEXT,
    says="x and the context have changed places",
)
class places_changed(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        q = self._split(self.query(x if context is None else context))
        k = self._split(self.key(x))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, causal_mask(x.shape[1]) if self.causal else None

    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x))
        return self.output(attention(q, k, v, mask).transpose(1, 2).flatten(2))


@wrong(
    "MultiHeadAttention",
    cell=CONTEXT,
    says="the keys are x and the context together",
)
class both_remembered(library.MultiHeadAttention):
    def _asked(self, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        context = x if context is None else torch.cat((x, context), 1)
        q = self._split(self.query(x))
        k = self._split(self.key(context))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, causal_mask(x.shape[1]) if self.causal else None

    def forward(self, x, context=None):
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x if context is None else torch.cat((x, context), 1)))
        return self.output(attention(q, k, v, mask).transpose(1, 2).flatten(2))


@wrong(
    "MultiHeadAttention",
    cell=CONTEXT,
    says="causal with a context: expected ValueError, but it returned",
)
class causal_with_a_context(library.MultiHeadAttention):
    def _asked(self, x, context):
        q = self._split(self.query(x))
        k = self._split(self.key(x if context is None else context))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, causal_mask(x.shape[1]) if self.causal else None


@right("MultiHeadAttention")
class HeadByHead(nn.Module):
    """A loop over the heads, on slices of the maps; the softmax written out."""

    def __init__(self, D, N, *, causal=False, rotary=False):
        super().__init__()
        if D % N:
            raise ValueError(f"{N} heads cannot share a width of {D} evenly")
        self.N, self.causal, self.rotary = N, causal, rotary
        self.query, self.key = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)
        self.value, self.output = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)

    def _head(self, n, x, context):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        K = x.shape[-1] // self.N
        own = slice(n * K, (n + 1) * K)
        source = x if context is None else context
        q = torch.matmul(x, self.query.weight[own].t())
        k = torch.matmul(source, self.key.weight[own].t())
        if self.rotary:
            q, k = rotate(q), rotate(k)
        scores = torch.bmm(q, k.transpose(1, 2)) / K**0.5
        if self.causal:
            later = torch.triu(torch.ones_like(scores), diagonal=1)
            scores = scores - 1e9 * later
        scores = torch.exp(scores - scores.max(dim=-1, keepdim=True).values)
        weights = scores / scores.sum(dim=-1, keepdim=True)
        return weights, torch.bmm(weights, torch.matmul(source, self.value.weight[own].t()))

    def forward(self, x, context=None):
        heads = [self._head(n, x, context)[1] for n in range(self.N)]
        return self.output(torch.cat(heads, dim=-1))

    def weights(self, x, context=None):
        return torch.stack([self._head(n, x, context)[0] for n in range(self.N)], dim=1)


@right("MultiHeadAttention")
class ByEinsum(nn.Module):
    """No axis ever moves: the letters of einsum keep the heads apart; in float64 inside."""

    def __init__(self, D, N, *, causal=False, rotary=False):
        super().__init__()
        if D % N:
            raise ValueError(f"{N} heads cannot share a width of {D} evenly")
        self.N, self.causal, self.rotary = N, causal, rotary
        self.query, self.key = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)
        self.value, self.output = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)

    def weights(self, x, context=None):
        if self.causal and context is not None:
            raise ValueError("causal with a context")
        source = x if context is None else context
        q = self.query(x).double().reshape(*x.shape[:2], self.N, -1)
        k = self.key(source).double().reshape(*source.shape[:2], self.N, -1)
        if self.rotary:
            q, k = (rotate(a.movedim(2, 1)).movedim(1, 2) for a in (q, k))
        scores = torch.einsum("btnk,bsnk->bnts", q, k) * q.shape[-1] ** -0.5
        if self.causal:
            t = torch.arange(x.shape[1])
            scores = torch.where(t[:, None] >= t[None, :], scores, -torch.inf)
        return torch.softmax(scores, -1).to(x.dtype)

    def forward(self, x, context=None):
        v = self.value(x if context is None else context)
        v = v.reshape(*v.shape[:2], self.N, -1)
        mixed = torch.einsum("bnts,bsnk->btnk", self.weights(x, context), v)
        return self.output(mixed.reshape(x.shape))


@right("MultiHeadAttention")
class ByChunks(nn.Module):
    """Heads as a new axis made by chunk and stack; uses the student's attention."""

    def __init__(self, D, N, *, causal=False, rotary=False):
        super().__init__()
        if D % N:
            raise ValueError(f"{N} heads cannot share a width of {D} evenly")
        self.N, self.causal, self.rotary = N, causal, rotary
        self.query, self.key = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)
        self.value, self.output = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)

    def _heads(self, a):
        return torch.stack(a.chunk(self.N, dim=-1), dim=1)

    def _ask(self, x, context, v):
        if context is None:
            context = x
        elif self.causal:
            raise ValueError("causal with a context")
        q, k = self._heads(self.query(x)), self._heads(self.key(context))
        if self.rotary:
            q = rotate(q)
            k = rotate(k)
        mask = None
        if self.causal:
            mask = torch.tril(torch.ones(x.shape[1], x.shape[1])) > 0
        return attention(q, k, v, mask)

    def forward(self, x, context=None):
        v = self._heads(self.value(x if context is None else context))
        return self.output(torch.cat(self._ask(x, context, v).unbind(1), dim=-1))

    def weights(self, x, context=None):
        B, S = (x if context is None else context).shape[:2]
        return self._ask(x, context, torch.eye(S).repeat(B, self.N, 1, 1))


@right("MultiHeadAttention")
class HeadsInTheBatch(nn.Module):
    """Heads folded into the batch axis, as fused kernels want them."""

    def __init__(self, D, N, *, causal=False, rotary=False):
        super().__init__()
        if D % N:
            raise ValueError(f"{N} heads cannot share a width of {D} evenly")
        self.N, self.causal, self.rotary = N, causal, rotary
        self.query, self.key = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)
        self.value, self.output = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)

    def _fold(self, a):
        B, T, D = a.shape
        a = a.view(B, T, self.N, D // self.N).permute(0, 2, 1, 3)
        return a.contiguous().view(B * self.N, T, D // self.N)

    def weights(self, x, context=None):
        if context is not None and self.causal:
            raise ValueError("causal with a context")
        source = context if context is not None else x
        q, k = self._fold(self.query(x)), self._fold(self.key(source))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        scores = torch.baddbmm(
            torch.zeros(1), q, k.transpose(1, 2), beta=0.0, alpha=1 / math.sqrt(q.shape[-1])
        )
        if self.causal:
            scores += torch.full(scores.shape[1:], -math.inf).triu(1)
        return scores.softmax(-1).view(x.shape[0], self.N, x.shape[1], source.shape[1])

    def forward(self, x, context=None):
        v = self._fold(self.value(x if context is None else context))
        mixed = torch.bmm(self.weights(x, context).flatten(0, 1), v)
        B, T, D = x.shape
        return self.output(mixed.view(B, self.N, T, -1).permute(0, 2, 1, 3).reshape(B, T, D))


# Task 4: causal_heads_repaired ------------------------------------------------------------------

REPAIR, FUTURE = "causal_heads_repaired-hidden-values", "causal_heads_repaired-hidden-future"


@wrong(
    "causal_heads_repaired",
    cell=FUTURE,
    says="the future still leaks",
)
def not_repaired(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, N, T, K) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="this is the buggy answer",
)
def not_repaired_but_doubly_masked(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, N, T, K) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1).tril()
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="the heads are cut out of the time axis, and joined the same way",
)
def both_by_reshape(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, N, T, K) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="the heads are joined without swapping the axes back",
)
def join_broken_instead(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="head n takes every N-th number; it must take K neighbours",
)
def every_nth_number(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, K, N).movedim(-1, 1) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="head n takes every N-th number, in the join too",
)
def every_nth_number_twice(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, K, N).movedim(-1, 1) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.movedim(1, -1).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="this is a single head",
)
def heads_given_up(x, query, key, value, output, N):
    B, T, D = x.shape
    N, K = 1, D
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="position t must see itself too",
)
def itself_hidden_too(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(0)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="each position sees the later ones in place of the earlier",
)
def past_hidden(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).tril(-1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="the mask is gone",
)
def mask_dropped(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="the mask comes after the softmax",
)
def mask_moved_behind(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.softmax(-1).tril()
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="a forbidden score becomes 0, and exp(0) is still a weight",
)
def masked_with_zero(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, 0.0).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="the scores are divided by sqrt(D); the root is of the width of a head",
)
def root_of_model_width(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(D)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="the scores are not divided by sqrt(K)",
)
def root_lost(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="the softmax runs over the queries; it must run over the keys",
)
def softmax_down_the_queries(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-2)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="x is delayed by a position",
)
def text_delayed(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    x = torch.cat((torch.zeros(B, 1, D), x[:, :-1]), 1)
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


@wrong(
    "causal_heads_repaired",
    cell=REPAIR,
    says="the map `output` is missing",
)
def output_lost(x, query, key, value, output, N):
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ m.T).reshape(B, T, N, K).transpose(1, 2) for m in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D)


@right("causal_heads_repaired")
def head_after_head(x, query, key, value, output, N):
    K = x.shape[-1] // N
    heads = []
    for n in range(N):
        own = slice(n * K, (n + 1) * K)
        q, k, v = x @ query[own].T, x @ key[own].T, x @ value[own].T
        scores = q @ k.transpose(1, 2) / K**0.5
        scores = scores + torch.full((x.shape[1], x.shape[1]), -math.inf).triu(1)
        heads.append(scores.softmax(-1) @ v)
    return torch.cat(heads, -1) @ output.T


@right("causal_heads_repaired")
def prefix_after_prefix(x, query, key, value, output, N):
    """Position t from the text that ends at t: no mask at all."""
    B, T, D = x.shape
    rows = []
    for t in range(T):
        q = (x[:, t] @ query.T).reshape(B, N, D // N)
        k = (x[:, : t + 1] @ key.T).reshape(B, t + 1, N, D // N)
        v = (x[:, : t + 1] @ value.T).reshape(B, t + 1, N, D // N)
        scores = torch.einsum("bnk,bsnk->bns", q, k) / math.sqrt(D // N)
        rows.append(torch.einsum("bns,bsnk->bnk", scores.softmax(-1), v).reshape(B, D))
    return torch.stack(rows, 1) @ output.T


@right("causal_heads_repaired")
def repaired_in_numpy(x, query, key, value, output, N):
    x, query, key, value, output = (np.asarray(a, float) for a in (x, query, key, value, output))
    B, T, D = x.shape
    q, k, v = (np.moveaxis((x @ m.T).reshape(B, T, N, -1), 2, 1) for m in (query, key, value))
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(D / N)
    weights = np.exp(scores - scores.max(-1, keepdims=True)) * np.tri(T)
    weights /= weights.sum(-1, keepdims=True)
    mixed = np.moveaxis(weights @ v, 1, 2).reshape(B, T, D)
    return torch.tensor(mixed @ output.T, dtype=torch.float32)


@right("causal_heads_repaired")
def with_the_task_before(x, query, key, value, output, N):
    def cut(m):
        return torch.stack((x @ m.t()).split(x.shape[-1] // N, dim=-1), dim=1)

    mixed = attention(cut(query), cut(key), cut(value), causal_mask(x.shape[1]))
    return torch.cat(mixed.unbind(1), -1) @ output.t()
