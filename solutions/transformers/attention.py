# ---
# jupyter:
#   fmbook:
#     forbidden:
#     - torch.nn.functional.scaled_dot_product_attention
#     - torch.nn.functional.multi_head_attention_forward
#     - torch.nn.MultiheadAttention
#     - fmbook.transformers.attention.attention
#     - fmbook.transformers.attention.rotate
#     - fmbook.transformers.attention._angles
#     - fmbook.transformers.attention.MultiHeadAttention
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise: attention
#
# You rebuild the core of [the chapter](../../chapters/transformers/attention.ipynb) with the chapter closed: attention, rotary
# positions, many heads, and the repair of a model that cheats. At the end the chapter's experiment runs on your code.
#
# **19 points**, **about 95 minutes**, four tasks and one written answer.
# [Open in Colab](https://colab.research.google.com/github/fmbook/fmbook/blob/main/exercises/transformers/attention.ipynb).
#
# **How it works.** Each task has a cell to write in, a free cell to play in, and checks. A check is silent when it passes and
# names the mistake when it knows it. The checks that you see carry no points; those that give the points have the same contract
# and other numbers. Their inputs are fresh at every run.
#
# **What you may use.** Python, numpy, torch and what the chapter has built up to each task. Not allowed, because they are the answer:
# `F.scaled_dot_product_attention`, `F.multi_head_attention_forward`, `nn.MultiheadAttention`, and the library's own `attention`,
# `rotate` and `MultiHeadAttention`.
#
# **Letters.** `B` batch, `T` queries (time steps), `S` keys, `D` width of the model, `N` heads, `K` width of a head. `...` stands
# for any number of leading axes, also none.

# %% tags=["hide-cell"]
# In Colab this installs the book's library; anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet --no-deps "git+https://github.com/fmbook/fmbook@v0.1.0"

# %%
import math

import numpy as np
import torch
from torch import Tensor, nn

import fmbook.transformers.attention as library
from fmbook.checks import expect, expect_raises, rng
from fmbook.transformers.attention import causal_mask


def normal(generator: np.random.Generator, *shape: int) -> Tensor:
    """Normal random numbers of this shape, as torch.float32: for the checks, and for you."""
    return torch.tensor(generator.standard_normal(shape), dtype=torch.float32)


# %% [markdown]
# ## Task 1: attention (4 points, difficulty 1, 15 minutes)
#
# One function carries all of the chapter: every query asks which keys fit it and takes the mean of their values.
#
# **Contract.** `attention(q, k, v, mask=None)`
#
# - takes `q` (..., T, K), `k` (..., S, K), `v` (..., S, W); the values may have a width `W` of their own;
# - returns (..., T, W): row $t$ is the mean of the rows of `v` with the weights
#   $\operatorname{softmax}_s(q_t \cdot k_s / \sqrt{K})$, a softmax over the keys;
# - `mask` is boolean, broadcasts to (..., T, S) and is True where a query may attend. A forbidden key has the weight 0, and the
#   weights of the others add up to 1. (In the checks every query may attend to something.)
# - scores in the tens of thousands must not overflow;
# - raises `ValueError` if `q` and `k` differ in width or `k` and `v` in length, `TypeError` if the mask is not boolean;
# - changes none of its arguments.
#
# **Example.** One query of width $K = 4$, so that $\sqrt{K} = 2$: `q = [[2, 0, 0, 0]]`, `k = [[log 3, 0, 0, 0], [0, 0, 0, 0]]`,
# `v = [[0], [4]]`. The scores are $\log 3$ and $0$, the weights $3/4$ and $1/4$, the answer `[[1]]`.
#
# <details><summary>Hint 1: a question</summary>
#
# For one query and one key you need one number. How large is the table of these numbers for T queries and S keys, and along which of its
# axes must the weights add up to 1?
#
# </details>
#
# <details><summary>Hint 2: the formula with shapes</summary>
#
# scores (..., T, S) $= q\,k^\top / \sqrt{K}$; where the mask is False the score becomes $-\infty$; weights (..., T, S) = softmax over the
# last axis; answer (..., T, W) = weights times `v`. `torch.einsum("...tk,...sk->...ts", q, k)` is the first product.
#
# </details>
#
# <details><summary>Hint 3: pseudocode</summary>
#
# ```text
# if widths of q and k differ, or lengths of k and v: raise ValueError
# if there is a mask and its dtype is not torch.bool: raise TypeError
# scores = every query times every key, over the root of the width
# if there is a mask: scores = scores, but -infinity where it is False      (masked_fill makes a new tensor)
# weights = softmax of scores over the last axis
# return weights times v
# ```
#
# </details>

# %% nbgrader={"schema_version": 3, "grade": false, "solution": true, "locked": false, "task": false, "grade_id": "attention"}
def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention: each query takes the mean of the values, weighted by its keys.

    Shapes: q (..., T, K), k (..., S, K), v (..., S, any width) -> (..., T, that width). `mask` is
    boolean, broadcasts to (..., T, S), and is True where a query may attend.
    """
    ### BEGIN SOLUTION
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
        raise ValueError(f"expected q (..., T, K), k (..., S, K), v (..., S, width), got {shapes}")
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError(f"the mask must be boolean, True where allowed, got {mask.dtype}")
    scores = torch.einsum("...tk,...sk->...ts", q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return torch.einsum("...ts,...sk->...tk", scores.softmax(-1), v)
    ### END SOLUTION


# %% [markdown]
# *Play.* Each word is described by two numbers: is it a noun, is it singular. "was" looks for both. Which word is nearer to "was", and
# which one does it find? Values that are one-hot rows show the weights themselves.

# %%
words = "the cat that chased the dogs was tired".split()
described = {"cat": [1.0, 1.0], "dogs": [1.0, 0.0]}
k = torch.tensor([described.get(word, [0.0, 0.0]) for word in words])
found = attention(torch.tensor([[3.0, 3.0]]), k, torch.eye(len(words)))[0]
for word, weight in zip(words, found.tolist(), strict=True):
    print(f"{word:>8} {weight:.2f} {'#' * round(40 * weight)}")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "attention-check-example"}
# The example of the contract.
expect(
    attention(
        torch.tensor([[2.0, 0, 0, 0]]),
        torch.tensor([[math.log(3), 0, 0, 0], [0, 0, 0, 0]]),
        torch.tensor([[0.0], [4.0]]),
    ),
    torch.tensor([[1.0]]),
    what="the example",
    mistakes={
        "the scores are not divided by sqrt(K)": torch.tensor([[0.4]]),
        "the scores are divided by K, not by sqrt(K)": torch.tensor([[1.4641016]]),
        "the scores are multiplied by sqrt(K), not divided": torch.tensor([[0.0487805]]),
        "the softmax runs over the queries; it must run over the keys": torch.tensor([[4.0]]),
        "there is no softmax: the scores themselves are the weights": torch.tensor([[0.0]]),
    },
)

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "attention-check-mean"}
# An answer is a mean: where all values are 1, so is every answer.
draw = rng()
q, k = normal(draw, 3, 6), normal(draw, 5, 6)
expect(attention(q, k, torch.ones(5, 2)), torch.ones(3, 2), what="the mean of ones")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "attention-check-shuffle"}
# Keys have no order: shuffled together with their values they give the same answer.
draw = rng()
q, k, v = normal(draw, 3, 6), normal(draw, 5, 6), normal(draw, 5, 2)
order = torch.tensor(draw.permutation(5))
expect(attention(q, k[order], v[order]), attention(q, k, v), what="with the keys shuffled")
expect(list(attention(q, k, v).shape), [3, 2], what="the shape for T = 3, S = 5, W = 2")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "attention-check-leading-axes"}
# With leading axes, each of the B x N pieces is an attention of its own.
draw = rng()
q, k, v = normal(draw, 2, 3, 4, 6), normal(draw, 2, 3, 5, 6), normal(draw, 2, 3, 5, 7)
together = attention(q, k, v)
expect(together[1, 2], attention(q[1, 2], k[1, 2], v[1, 2]), what="the piece [1, 2] of (2, 3)")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "attention-check-mask"}
# A masked key is as good as absent. The scores are log 3, 0 and log 6; the third key is forbidden.
expect(
    attention(
        torch.tensor([[2.0, 0, 0, 0]]),
        torch.tensor([[math.log(3), 0, 0, 0], [0, 0, 0, 0], [math.log(6), 0, 0, 0]]),
        torch.tensor([[0.0], [4.0], [8.0]]),
        torch.tensor([[True, True, False]]),
    ),
    torch.tensor([[1.0]]),
    what="three keys, the third forbidden",
    mistakes={
        "the mask is ignored": torch.tensor([[5.2]]),
        "the mask is turned round: True means that a query may attend": torch.tensor([[8.0]]),
        "the weights no longer add up to 1: mask before the softmax": torch.tensor([[0.4]]),
        "a forbidden score becomes 0, and exp(0) is still a weight": torch.tensor([[2.4]]),
    },
)

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "attention-check-large"}
# Scores of 20,000 and 0: the query takes the value of its key, and nothing overflows.
q, v = 200 * torch.eye(4), torch.arange(4.0)[:, None]
expect(
    attention(q, q, v),
    v,
    what="scores of 20,000",
    mistakes={"exp overflows: subtract the largest score first": torch.full((4, 1), math.nan)},
)

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "attention-check-errors"}
# What does not fit is refused.
q, k, v = torch.ones(3, 4), torch.ones(5, 4), torch.ones(5, 2)
expect_raises(ValueError, attention, q[:, :3], k, v, what="queries of width 3, keys of width 4")
expect_raises(ValueError, attention, q, k, v[:4], what="5 keys, 4 values")
expect_raises(TypeError, attention, q, k, v, torch.ones(3, 5), what="a mask of numbers")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "grade_id": "attention-hidden-values"}
# Without a mask: fresh numbers, other sizes, leading axes, large scores, errors.
### BEGIN HIDDEN TESTS
draw = rng()
S, K, W = int(draw.integers(4, 6)), int(draw.integers(6, 9)), int(draw.integers(9, 12))
lead, T = (2, 3), int(draw.integers(6, 8))


def slips(q: Tensor, k: Tensor, v: Tensor) -> dict:
    scores = q @ k.mT
    root = math.sqrt(q.shape[-1])

    def mixed(divisor: float, axis: int = -1) -> Tensor:
        return (scores / divisor).softmax(axis) @ v

    return {
        "the scores are not divided by sqrt(K)": lambda: mixed(1),
        "the scores are divided by K, not by sqrt(K)": lambda: mixed(root**2),
        "the scores are multiplied by sqrt(K), not divided": lambda: mixed(1 / root),
        "the scores are divided by sqrt(S); the root is of the width": lambda: mixed(
            math.sqrt(k.shape[-2])
        ),
        "the scores are divided by the root of the width of v; it must be that of q and k": (
            lambda: mixed(math.sqrt(v.shape[-1]))
        ),
        "the softmax runs over the queries; it must run over the keys": lambda: mixed(root, -2),
        "the softmax runs over axis 1, which is the keys only without leading axes": lambda: mixed(
            root, 1
        ),
        "one softmax over the whole table; each query needs its own": lambda: (
            (scores / root).flatten(-2).softmax(-1).view_as(scores) @ v
        ),
        "there is no softmax: the scores themselves are the weights": lambda: scores / root @ v,
        "the division by sqrt(K) comes after the softmax": lambda: scores.softmax(-1) / root @ v,
        "the answer is a mean of the keys; it must be of the values": lambda: (
            (scores / root).softmax(-1) @ k
        ),
        "queries and keys have changed places": lambda: (scores.mT / root).softmax(-1) @ v,
    }


for axes, t in (((), S), (lead, T), ((2,), T)):
    q, k, v = normal(draw, *axes, t, K), normal(draw, *axes, S, K), normal(draw, *axes, S, W)
    want = ((q.double() @ k.double().mT / math.sqrt(K)).softmax(-1) @ v.double()).float()
    what = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    expect(attention(q, k, v), want, what=what, mistakes=slips(q, k, v))
    turned = [x.mT.contiguous().mT for x in (q, k, v)]  # the same numbers, not contiguous
    expect(attention(*turned), want, what=f"{what}, not contiguous")
order, v = torch.tensor(draw.permutation(6)), normal(draw, 6, 2)
expect(
    attention(200 * torch.eye(6)[order], 200 * torch.eye(6), v),
    v[order],
    what="large scores",
    mistakes={"exp overflows: subtract the largest score first": torch.full((6, 2), math.nan)},
)
q, k = normal(draw, T, K), normal(draw, S, K)
expect_raises(ValueError, attention, q[:, 1:], k, k, what="q and k of different widths")
expect_raises(ValueError, attention, q, k, k[1:], what="k and v of different lengths")
### END HIDDEN TESTS

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "grade_id": "attention-hidden-mask"}
# With a mask: fresh numbers and masks, masks that broadcast, a mask of numbers refused.
### BEGIN HIDDEN TESTS
draw = rng()
S, K = int(draw.integers(5, 8)), int(draw.integers(4, 8))


def some_mask(T: int, S: int) -> Tensor:
    allowed = draw.random((T, S)) < 0.5
    for t in range(T):  # every query may attend to something, but not to everything
        allowed[t, (t + 1) % S], allowed[t, (t + 2) % S] = True, False
    allowed[1, 0] = False  # allowed[0, 1] is True, so the mask is not symmetric
    return torch.tensor(allowed)


def masked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = q.double() @ k.double().mT / math.sqrt(q.shape[-1])
    return (scores.masked_fill(~mask, -math.inf).softmax(-1) @ v.double()).float()


def slips(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> dict:
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return {
        "the mask is ignored": lambda: scores.softmax(-1) @ v,
        "the mask is turned round: True means that a query may attend": lambda: masked(
            q, k, v, ~mask
        ),
        "the weights no longer add up to 1: mask before the softmax": lambda: (
            scores.softmax(-1) * mask @ v
        ),
        "a forbidden score becomes 0, and exp(0) is still a weight": lambda: (
            (scores * mask).softmax(-1) @ v
        ),
        "the rows of the mask are the queries, not the keys": lambda: masked(q, k, v, mask.mT),
        "the mask is added to the scores as 0 and 1": lambda: (
            (scores + mask.float()).softmax(-1) @ v
        ),
        "the -infinity comes after the softmax": lambda: (
            scores.softmax(-1).masked_fill(~mask, -math.inf) @ v
        ),
    }


for axes, T, own in (((), S, ()), ((2, 3), S + 2, ()), ((2, 3), S + 1, (2, 1))):
    q, k, v = normal(draw, *axes, T, K), normal(draw, *axes, S, K), normal(draw, *axes, S, 3)
    mask = torch.stack([some_mask(T, S) for _ in range(math.prod(own))]).reshape(*own, T, S)
    what = f"q {tuple(q.shape)}, k {tuple(k.shape)}, mask {tuple(mask.shape)}"
    expect(
        attention(q, k, v, mask), masked(q, k, v, mask), what=what, mistakes=slips(q, k, v, mask)
    )
one = some_mask(S, S)[:1]
expect(attention(q, k, v, one), masked(q, k, v, one), what="a mask (1, S) for all queries")
expect_raises(TypeError, attention, q, k, v, mask.float(), what="a mask of numbers")
### END HIDDEN TESTS

# %% [markdown]
# ## Task 2: rotary positions (3 points, difficulty 2, 20 minutes)
#
# Attention does not see order. Turning queries and keys by an angle that grows with their position lets a score know how far apart the two
# are, and nothing else.
#
# **Contract.** `rotate(x, base=10_000.0)`
#
# - takes `x` (..., T, K); the position $t$ counts 0, 1, ..., T - 1 along the axis before the last, whatever the leading axes;
# - the pairs are neighbours: numbers $2i$ and $2i + 1$ of the last axis are the two coordinates of pair $i$, for $i = 0, ..., K/2 - 1$;
# - turns pair $i$ at position $t$ by the angle $t \cdot \text{base}^{-2i/K}$ in radians, counter-clockwise: from the first coordinate
#   towards the second;
# - returns a new tensor of the shape and dtype of `x`, each pair where it was;
# - raises `ValueError` if K is odd.
#
# The library does it in two steps, and so do you: `_angles` makes the table of angles, `rotate` turns. (Only `rotate` is checked.)
#
# **Example.** With base 100 and $K = 4$ the pairs turn by 1 and by $100^{-2/4} = 0.1$ radians a position. `rotate` of three rows
# `[1, 0, 1, 0]` has the rows `[1, 0, 1, 0]`, `[cos 1, sin 1, cos 0.1, sin 0.1]` = `[0.5403, 0.8415, 0.9950, 0.0998]` and
# `[cos 2, sin 2, cos 0.2, sin 0.2]`.
#
# <details><summary>Hint 1: a question</summary>
#
# Where does the point (1, 0) go when you turn it by the angle a? And (0, 1)? Every other point is a sum of these two.
#
# </details>
#
# <details><summary>Hint 2: the formula with shapes</summary>
#
# With the angle $a$: $(x, y) \to (x \cos a - y \sin a,\; x \sin a + y \cos a)$. The angles are a table (T, K/2): the outer product of the
# positions and of the speeds $\text{base}^{-2i/K}$. `x[..., 0::2]` (..., T, K/2) holds all first coordinates, `x[..., 1::2]` all second
# ones.
#
# </details>
#
# <details><summary>Hint 3: pseudocode</summary>
#
# ```text
# angles = outer product of 0 .. T - 1 and base ** (-[0, 2, 4, ...] / K)      (T, K/2), in float64
# cos, sin = of the angles, in the dtype of x
# first, second = x[..., 0::2], x[..., 1::2]
# stack (first * cos - second * sin, first * sin + second * cos) along a new last axis: (..., T, K/2, 2)
# flatten the last two axes: (..., T, K)
# ```
#
# </details>

# %% nbgrader={"schema_version": 3, "grade": false, "solution": true, "locked": false, "task": false, "grade_id": "rotate"}
def _angles(T: int, width: int, base: float) -> Tensor:
    """Angle of pair i at position t, t / base^(2i / width) in radians: (T, width / 2), float64."""
    ### BEGIN SOLUTION
    if width % 2:
        raise ValueError(f"positions turn pairs of numbers: the width must be even, got {width}")
    pairs = torch.arange(0, width, 2, dtype=torch.float64)
    return torch.outer(torch.arange(T, dtype=torch.float64), base ** (-pairs / width))
    ### END SOLUTION


def rotate(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotary positions: turn the neighbouring pairs of x (..., T, K) by their position's angles."""
    ### BEGIN SOLUTION
    angles = _angles(x.shape[-2], x.shape[-1], base)
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)
    ### END SOLUTION


# %% [markdown]
# *Play.* Eight pairs that all start at 0 degrees: where does each point after 0, 1, 10 and 100 steps? The fast pairs tell neighbours apart, the slow
# ones tell near from far.

# %%
turned = rotate(torch.tensor([1.0, 0.0]).repeat(101, 8)).unflatten(-1, (8, 2))
degrees = torch.rad2deg(torch.atan2(turned[..., 1], turned[..., 0])) % 360
for t in (0, 1, 10, 100):
    print(f"t = {t:3}:", " ".join(f"{angle:6.1f}" for angle in degrees[t].tolist()))

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "rotate-check-example"}
# The example of the contract, to four digits.
expect(
    rotate(torch.tensor([[1.0, 0, 1, 0]] * 3), 100.0)[1],
    torch.tensor([0.5403, 0.8415, 0.9950, 0.0998]),
    what="the example at t = 1",
    tolerance=1e-4,
    mistakes={
        "pairs turn the other way round": torch.tensor([0.5403, -0.8415, 0.9950, -0.0998]),
        "pairs are neighbours, 0 with 1; these are half a width apart": torch.tensor(
            [-0.3012, 0.0, 1.3818, 0.0]
        ),
        "the pairs come back unzipped, first all first coordinates": torch.tensor(
            [0.5403, 0.9950, 0.8415, 0.0998]
        ),
        "positions start at 0, not at 1": torch.tensor([-0.4161, 0.9093, 0.9801, 0.1987]),
        "the exponent is 2i / K for pair i, not i / K": torch.tensor(
            [0.5403, 0.8415, 0.9504, 0.3110]
        ),
        "all pairs turn at the same speed": torch.tensor([0.5403, 0.8415, 0.5403, 0.8415]),
        "later pairs turn faster; they must turn slower": torch.tensor(
            [0.5403, 0.8415, -0.8391, -0.5440]
        ),
    },
)

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "rotate-check-length"}
# Turning changes no length: neither of a pair, nor of the whole.
x = normal(rng(), 9, 6)
lengths = rotate(x).unflatten(-1, (3, 2)).norm(dim=-1)
expect(lengths, x.unflatten(-1, (3, 2)).norm(dim=-1), what="the lengths of the pairs")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "rotate-check-distance"}
# The score of a query at t and a key at s depends on t - s only: every diagonal holds one number.
draw = rng()
q, k = normal(draw, 1, 6).expand(5, 6), normal(draw, 1, 6).expand(5, 6)
scores = rotate(q) @ rotate(k).mT
expect(scores[1:, 1:], scores[:-1, :-1], what="scores one step later")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "rotate-check-leading-axes"}
# Leading axes change nothing: positions are counted along the axis before the last.
x = normal(rng(), 2, 3, 5, 4)
turned = rotate(x)
expect(turned[1, 2], rotate(x[1, 2]), what="the piece [1, 2] of (2, 3)")
expect(turned[..., 0, :], x[..., 0, :], what="position 0, which stays where it is")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "rotate-check-odd"}
# An odd width has no pairs.
expect_raises(ValueError, rotate, torch.ones(3, 5), what="a width of 5")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "grade_id": "rotate-hidden-turn"}
# Fresh numbers, widths and bases, in two axes.
### BEGIN HIDDEN TESTS
draw = rng()


def turned(x: Tensor, base: float, power: float = 2.0, start: int = 0, way: int = 1) -> Tensor:
    T, K = x.shape[-2:]
    speeds = base ** (-power * torch.arange(K // 2, dtype=torch.float64) / K)
    angles = way * torch.outer(torch.arange(start, T + start, dtype=torch.float64), speeds)
    pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
    pairs = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(pairs).flatten(-2).float()


def slips(x: Tensor, base: float) -> dict:
    K = x.shape[-1]
    first, second = torch.arange(0, K, 2), torch.arange(1, K, 2)
    zipped = torch.arange(K).view(2, -1).T.flatten()  # 0, K/2, 1, K/2 + 1, ...
    unzipped = torch.cat((first, second))
    mirror = torch.ones(K).index_fill(0, second, -1)
    swapped = torch.stack((second, first), -1).flatten()
    east = torch.zeros(K).index_fill(0, first, 1).expand_as(x)
    cos = turned(east, base)[..., first].repeat_interleave(2, -1)
    sin = turned(east, base)[..., second].repeat_interleave(2, -1)
    late = turned(x, base)
    late[..., second] = late[..., first] * sin[..., first] + x[..., second] * cos[..., first]
    return {
        "pairs turn the other way round": lambda: turned(x, base, way=-1),
        "pairs are neighbours, 0 with 1; these are half a width apart": lambda: turned(
            x[..., zipped], base
        )[..., unzipped],
        "the pairs come back unzipped, first all first coordinates": lambda: turned(x, base)[
            ..., unzipped
        ],
        "positions start at 0, not at 1": lambda: turned(x, base, start=1),
        "the exponent is 2i / K for pair i, not i / K": lambda: turned(x, base, power=1),
        "the exponent is 2i / K for pair i, not 4i / K": lambda: turned(x, base, power=4),
        "all pairs turn at the same speed": lambda: turned(x, base, power=0),
        "later pairs turn faster; they must turn slower": lambda: turned(x, base, power=-2),
        "the base is ignored": lambda: turned(x, 10_000.0),
        "these are mirror images: one of the two sines needs a minus": lambda: (
            turned(x, base, way=-1) * mirror
        ),
        "both sines have the same sign: this is no turn": lambda: x * cos + x[..., swapped] * sin,
        "positions are added; the pairs must be turned": lambda: (
            x + turned(east, base)[..., swapped]
        ),
        "the second coordinate is made from the first one after its turn": lambda: late,
    }


for base, T in ((float(draw.uniform(4, 8)), 5), (10_000.0, int(draw.integers(6, 12)))):
    x = normal(draw, T, 2 * int(draw.integers(3, 6)))
    what = f"x {tuple(x.shape)}, base {base:.4g}"
    expect(rotate(x, base), turned(x, base), what=what, mistakes=slips(x, base))
expect(rotate(x), turned(x, 10_000.0), what=f"x {tuple(x.shape)}, the base not given")
### END HIDDEN TESTS

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 1, "grade_id": "rotate-hidden-axes"}
# Leading axes, memory in any order, the dtype, odd widths.
### BEGIN HIDDEN TESTS
draw = rng()


def turned(x: Tensor) -> Tensor:
    T, K = x.shape[-2:]
    speeds = 10_000.0 ** (-2 * torch.arange(K // 2, dtype=torch.float64) / K)
    angles = torch.outer(torch.arange(T, dtype=torch.float64), speeds)
    pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
    pairs = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(pairs).flatten(-2).float()


x = normal(draw, 2, 3, int(draw.integers(4, 8)), 2 * int(draw.integers(3, 6)))
expect(
    rotate(x),
    turned(x),
    what=f"x {tuple(x.shape)}",
    mistakes={
        "positions are counted along axis -3; they go along axis -2": lambda: turned(
            x.transpose(-3, -2)
        ).transpose(-3, -2),
        "positions go on counting from one row of the batch to the next": lambda: turned(
            x.flatten(0, -2)
        ).view_as(x),
        "positions are counted along axis 0; they go along axis -2": lambda: turned(
            x.transpose(0, -2)
        ).transpose(0, -2),
    },
)
expect(rotate(x[:, :2].mT.contiguous().mT), turned(x[:, :2]), what="x not contiguous in memory")
expect(
    str(rotate(x).dtype),
    "torch.float32",
    what="the dtype of the answer",
    mistakes={"x is float32, the answer is float64: give it the dtype of x": "torch.float64"},
)
expect_raises(ValueError, rotate, x[..., 1:], what="an odd width")
### END HIDDEN TESTS

# %% [markdown]
# ## Task 3: many heads (5 points, difficulty 3, 30 minutes)
#
# One softmax gives one mean. N heads ask N questions at once, each on its own K = D / N numbers of every position.
#
# **Contract.** `MultiHeadAttention(D, N, *, causal=False, rotary=False)`, a module whose constructor is given: four bias-free linear
# maps `query`, `key`, `value`, `output` from D to D. You write what it does:
#
# - `_split(x)` cuts (B, T, D) into heads (B, N, T, K): head $n$ gets the numbers $nK$ to $(n + 1)K - 1$ of every position;
# - `_asked(x, context)` returns queries (B, N, T, K), keys (B, N, S, K) and the mask (None where everything is allowed);
# - `forward(x, context=None)` returns (B, T, D): the heads' answers side by side again, in the same order, through `output`;
# - `weights(x, context=None)` returns (B, N, T, S): who attends to whom, no map of the values involved;
# - with a `context` (B, S, D), queries come from x, and keys and values from the context; S and T may differ;
# - `causal` lets position $t$ attend to positions 0 to $t$, itself included;
# - `rotary` turns the queries and the keys of each head, after the split, and never the values;
# - raises `ValueError` if a causal one gets a context.
#
# Use your `attention` and `rotate`, and `causal_mask(T)` of the library. The checks look at `forward` and `weights` only, and lend your class
# the library's `attention` and `rotate`, so that a slip in task 1 or 2 costs its points once.
#
# **Example.** With D = 2, N = 2, all four maps the identity and x of two positions `[[0, 5], [0, 5]]`, all scores in a head are equal, so each head
# takes plain means: head 0 of 0 and 0, head 1 of 5 and 5, and the answer is x again.
#
# <details><summary>Hint 1: a question</summary>
#
# A position's D numbers lie side by side in memory. In which shape do N groups of K of them become visible without any number moving, and
# which two axes have to change places then?
#
# </details>
#
# <details><summary>Hint 2: the formula with shapes</summary>
#
# Split: (B, T, D) -> (B, T, N, K) -> (B, N, T, K). Join, the same way back: (B, N, T, K) -> (B, T, N, K) -> (B, T, D). Head $n$ is
# $\operatorname{attention}(q_n, k_n, v_n)$, and a mask (T, T) broadcasts over B and N. For `weights`: what does attention return for values that are
# one-hot rows?
#
# </details>
#
# <details><summary>Hint 3: pseudocode</summary>
#
# ```text
# _split:   unflatten the last axis into (N, K); swap axes -3 and -2
# _asked:   refuse causal with a context
#           q = split of query(x); k = split of key(x, or of the context if there is one)
#           if rotary: turn q and k
#           return q, k, and causal_mask(T) or None
# forward:  v = split of value(x, or of the context)
#           attention(q, k, v, mask), swap axes -3 and -2, flatten the last two, output(...)
# weights:  attention(q, k, one-hot rows (S, S) for every B and N, mask)
# ```
#
# </details>

# %% nbgrader={"schema_version": 3, "grade": false, "solution": true, "locked": false, "task": false, "grade_id": "MultiHeadAttention"}
class MultiHeadAttention(nn.Module):
    """N attentions side by side, each on its own K = D / N wide view of x (B, T, D) -> (B, T, D).

    With `context` (B, S, D) the queries come from x, keys and values from the context
    (cross-attention). `causal` hides later positions; `rotary` turns queries and keys.
    """

    def __init__(self, D: int, N: int, *, causal: bool = False, rotary: bool = False) -> None:
        super().__init__()
        if D % N:
            raise ValueError(f"{N} heads cannot share a width of {D} evenly")
        self.N, self.causal, self.rotary = N, causal, rotary
        self.query, self.key = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)
        self.value, self.output = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        ### BEGIN SOLUTION
        K = x.shape[-1] // self.N
        heads: Tensor = x.unflatten(-1, (self.N, K))
        return heads.transpose(-3, -2)  # (B, T, D) -> (B, N, T, K)
        ### END SOLUTION

    def _asked(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        ### BEGIN SOLUTION
        if self.causal and context is not None:
            raise ValueError("causal attention has no order between x and a context")
        q = self._split(self.query(x))
        k = self._split(self.key(x if context is None else context))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return q, k, causal_mask(x.shape[-2]).to(x.device) if self.causal else None
        ### END SOLUTION

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        ### BEGIN SOLUTION
        q, k, mask = self._asked(x, context)
        v = self._split(self.value(x if context is None else context))
        mixed = attention(q, k, v, mask)  # (B, N, T, K)
        output: Tensor = self.output(mixed.transpose(-3, -2).flatten(-2))
        return output
        ### END SOLUTION

    def weights(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Who attends to whom, (B, N, T, S): what attention returns for values that are one-hot."""
        ### BEGIN SOLUTION
        q, k, mask = self._asked(x, context)
        one_hot = torch.eye(k.shape[-2]).to(k).expand(*k.shape[:-1], k.shape[-2])
        return attention(q, k, one_hot, mask)
        ### END SOLUTION


# %% [markdown]
# *Play.* Two fresh heads look at five random positions: one table a head, queries down, keys across. What does the upper right triangle say?

# %%
heads = MultiHeadAttention(8, 2, causal=True, rotary=True)
for n, table in enumerate(heads.weights(3 * torch.randn(1, 5, 8))[0].tolist()):
    print(f"head {n}")
    for row in table:
        print("   ", " ".join(f"{weight:.2f}" for weight in row))

# %% tags=["needed"] nbgrader={"schema_version": 3, "grade": false, "solution": false, "locked": true, "task": false, "grade_id": "MultiHeadAttention-adapter"}
# The checks talk to your class through this function; `maps` are its four matrices.
KIND = {"": {}, "causal": {"causal": True}, "rotary": {"rotary": True}}
KIND["causal rotary"] = KIND["causal"] | KIND["rotary"]


def heads_answer(ask: str, N: int, kind: str, maps: list, x: Tensor, context: Tensor | None = None):
    """What `forward` or `weights` of N heads of this kind says, with the library's parts lent."""
    own = {name: globals().get(name) for name in ("attention", "rotate")}
    globals().update(attention=library.attention, rotate=library.rotate)
    try:
        heads = MultiHeadAttention(x.shape[-1], N, **KIND[kind])
        names = ("query.weight", "key.weight", "value.weight", "output.weight")
        heads.load_state_dict(dict(zip(names, maps, strict=True)))
        with torch.no_grad():
            given = (x,) if context is None else (x, context)
            return heads.weights(*given) if ask == "weights" else heads(*given)
    finally:
        globals().update(own)


# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "MultiHeadAttention-check-mean"}
# Queries of zero like all keys alike: each head takes the plain mean, so the answer is the mean of x.
x, one = torch.arange(8.0).reshape(1, 2, 4), torch.eye(4)
expect(
    heads_answer("forward", 2, "", [0 * one, one, one, one], x),
    torch.tensor([[[2.0, 3.0, 4.0, 5.0]] * 2]),
    what="the mean of [0, 1, 2, 3] and [4, 5, 6, 7], by 2 heads",
    mistakes={
        "the heads are cut out of the time axis: a reshape does not swap axes": torch.tensor(
            [[[1.0, 2.0, 5.0, 6.0]] * 2]
        ),
        "the heads are joined without swapping the axes back": torch.tensor(
            [[[2.0, 3.0, 2.0, 3.0], [4.0, 5.0, 4.0, 5.0]]]
        ),
    },
)

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "MultiHeadAttention-check-output"}
# The joined heads go through the map `output`.
x, one = torch.arange(8.0).reshape(1, 2, 4), torch.eye(4)
expect(
    heads_answer("forward", 2, "", [0 * one, one, one, 3 * one], x),
    torch.tensor([[[6.0, 9.0, 12.0, 15.0]] * 2]),
    what="the same mean with 3 times the identity as output map",
    mistakes={"the map `output` is missing": torch.tensor([[[2.0, 3.0, 4.0, 5.0]] * 2])},
)

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "MultiHeadAttention-check-own-numbers"}
# Head 1 asks with its own numbers only: a change in those of head 0 does not touch its weights.
draw = rng()
x, query, one = normal(draw, 1, 5, 6), normal(draw, 6, 6), torch.eye(6)
other = query.clone()
other[:3] = normal(draw, 3, 6)  # the rows that make the queries of head 0
before = heads_answer("weights", 2, "", [query, one, one, one], x)
after = heads_answer("weights", 2, "", [other, one, one, one], x)
expect(list(after.shape), [1, 2, 5, 5], what="the shape of the weights, (B, N, T, S)")
expect(after[:, 1], before[:, 1], what="the weights of head 1 after a change in head 0")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "MultiHeadAttention-check-causal"}
# Causal, and all allowed keys alike: each position takes the mean of what it has seen so far.
x, one = torch.tensor([[[1.0, 10], [3, 30], [8, 80]]]), torch.eye(2)
expect(
    heads_answer("forward", 2, "causal", [0 * one, one, one, one], x),
    torch.tensor([[[1.0, 10], [2, 20], [4, 40]]]),
    what="the running mean of 1, 3, 8 and of 10, 30, 80",
    mistakes={
        "`causal` has no effect": torch.tensor([[[4.0, 40]] * 3]),
        "position t must see itself too": torch.tensor(
            [[[math.nan, math.nan], [1, 10], [2, 20]]]
        ),
        "each position sees the later ones in place of the earlier": torch.tensor(
            [[[4.0, 40], [5.5, 55], [8, 80]]]
        ),
    },
)

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "MultiHeadAttention-check-rotary"}
# With the same x everywhere, rotary weights depend on the distance only, and the values do not turn.
draw = rng()
x, one = normal(draw, 1, 1, 8).expand(1, 5, 8), torch.eye(8)
query = normal(draw, 8, 8) / 8
scores = heads_answer("weights", 2, "rotary", [query, one, one, one], x).log()
steps = scores[..., 1:] - scores[..., :-1]  # what a key has more than its left neighbour
expect(steps[..., 1:, 1:], steps[..., :-1, :-1], what="log weights, key against key, one on")
answer = heads_answer("forward", 2, "rotary", [query, one, one, one], x)
expect(answer, x, what="the mean of values that are all the same")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "MultiHeadAttention-check-context"}
# With a context of 3 positions, 2 queries take the mean of the context; causal makes no sense there.
x, context, one = torch.zeros(1, 2, 4), torch.arange(12.0).reshape(1, 3, 4), torch.eye(4)
expect(
    heads_answer("forward", 2, "", [one, one, one, one], x, context),
    torch.tensor([[[4.0, 5, 6, 7]] * 2]),
    what="the mean of the context",
    mistakes={"the context is ignored": x},
)
arguments = ("forward", 2, "causal", [one, one, one, one], x, context)
expect_raises(ValueError, heads_answer, *arguments, what="causal with a context")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "grade_id": "MultiHeadAttention-hidden-heads"}
# Fresh numbers and sizes: the split, the maps, the join, the weights; also one head, and D heads.
### BEGIN HIDDEN TESTS
draw = rng()
B, N, K, T = 2, int(draw.integers(2, 4)), int(draw.integers(4, 6)), 6
D = N * K
maps = [normal(draw, D, D) / math.sqrt(D) for _ in range(4)]
x = normal(draw, T, B, D).transpose(0, 1)  # not contiguous in memory


def slips(N: int) -> dict:
    K = D // N
    q, k, v = (x @ matrix.T for matrix in maps[:3])
    cuts = {  # head n from (B, T, D), and back
        "right": (lambda a: a.unflatten(-1, (N, K)).transpose(1, 2), lambda a: a.transpose(1, 2)),
        "time": (lambda a: a.reshape(B, N, T, K), lambda a: a),
        "woven": (lambda a: a.unflatten(-1, (K, N)).movedim(-1, 1), lambda a: a.movedim(1, -1)),
    }

    def scores(cut: str = "right", q: Tensor = q, k: Tensor = k, width: int = K) -> Tensor:
        return cuts[cut][0](q) @ cuts[cut][0](k).mT / math.sqrt(width)

    def table(*cut: str, **how) -> Tensor:
        return scores(*cut, **how).softmax(-1)

    def joined(cut: str = "right", join: str = "right", v: Tensor = v, **how) -> Tensor:
        return cuts[join][1](table(cut, **how) @ cuts[cut][0](v)).reshape(B, T, D)

    def answer(*cut_and_join: str, **how) -> Tensor:
        return joined(*cut_and_join, **how) @ maps[3].T

    whole = (q @ k.mT / math.sqrt(D)).softmax(-1)
    across = "the heads are cut out of the time axis: a reshape does not swap axes"
    woven = "head n takes every N-th number; it must take K neighbours"
    return {
        "right": (answer(), table()),
        "forward": {
            across: lambda: answer("time"),
            across + ", neither in the split nor in the join": lambda: answer("time", "time"),
            "the heads are joined without swapping the axes back": lambda: answer(join="time"),
            woven: lambda: answer("woven"),
            woven + ", in the join too": lambda: answer("woven", "woven"),
            "this is a single head of width D": lambda: whole @ v @ maps[3].T,
            "the scores are divided by sqrt(D); the root is of the width of a head": lambda: answer(
                width=D
            ),
            "the map `output` is missing": joined,
            "the values do not go through the map `value`": lambda: answer(v=x),
            "the keys come from the map `query`": lambda: answer(k=q),
            "the queries come from the map `key`": lambda: answer(q=k),
            "queries and keys have changed places": lambda: answer(q=k, k=q),
        },
        "weights": {
            across: lambda: table("time"),
            woven: lambda: table("woven"),
            "the heads are averaged; each has its own table": lambda: table().mean(1),
            "this is a single head of width D": lambda: whole[:, None],
            "these are scores: the softmax is missing": scores,
            "the keys come from the map `query`": lambda: table(k=q),
            "queries and keys have changed places": lambda: table(q=k, k=q),
        },
    }


for n in (N, 1, D):
    known = slips(n)
    what = f"{n} heads, x {tuple(x.shape)}"
    got = heads_answer("forward", n, "", maps, x)
    expect(got, known["right"][0], what=what, mistakes=known["forward"])
    got = heads_answer("weights", n, "", maps, x)
    expect(got, known["right"][1], what=f"weights of {what}", mistakes=known["weights"])
### END HIDDEN TESTS

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "grade_id": "MultiHeadAttention-hidden-order"}
# Causal, rotary and both, with fresh numbers: the answers and the weights.
### BEGIN HIDDEN TESTS
draw = rng()
B, N, K, T = 2, int(draw.integers(2, 4)), 2 * int(draw.integers(2, 4)), int(draw.integers(5, 8))
D = N * K
maps = [normal(draw, D, D) / math.sqrt(D) for _ in range(4)]
x = normal(draw, B, T, D)
q, k, v = (x @ matrix.T for matrix in maps[:3])
past = torch.ones(T, T, dtype=torch.bool).tril()
everything = torch.ones_like(past)


def split(a: Tensor) -> Tensor:
    return a.unflatten(-1, (N, K)).transpose(1, 2)


def turned(a: Tensor) -> Tensor:  # by the position on axis -2
    speeds = 10_000.0 ** (-torch.arange(0, a.shape[-1], 2, dtype=torch.float64) / a.shape[-1])
    angles = torch.outer(torch.arange(a.shape[-2], dtype=torch.float64), speeds)
    pairs = torch.view_as_complex(a.double().unflatten(-1, (-1, 2)).contiguous())
    pairs = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(pairs).flatten(-2).float()


def table(q: Tensor, k: Tensor, allowed: Tensor) -> Tensor:
    return (q @ k.mT / math.sqrt(K)).masked_fill(~allowed, -math.inf).softmax(-1)


def answer(q: Tensor, k: Tensor, allowed: Tensor, v: Tensor = split(v)) -> Tensor:
    return (table(q, k, allowed) @ v).transpose(1, 2).flatten(-2) @ maps[3].T


plain, both = (split(q), split(k)), (turned(split(q)), turned(split(k)))
slips = {
    "causal": {
        "`causal` has no effect": lambda: (*plain, everything),
        "position t must see itself too": lambda: (*plain, past.tril(-1)),
        "each position sees the later ones in place of the earlier": lambda: (*plain, past.mT),
        "each position sees one position too many, the next": lambda: (*plain, everything.tril(1)),
    },
    "rotary": {
        "`rotary` has no effect": lambda: (*plain, everything),
        "the keys are not turned": lambda: (both[0], plain[1], everything),
        "the queries are not turned": lambda: (plain[0], both[1], everything),
        "turned before the split, where all heads but the first have only slow pairs": lambda: (
            *(split(turned(a)) for a in (q, k)),
            everything,
        ),
        "turned by the number of the head: split first, so that axis -2 is time": lambda: (
            *(turned(a.unflatten(-1, (N, K))).transpose(1, 2) for a in (q, k)),
            everything,
        ),
    },
    "causal rotary": {
        "`causal` has no effect": lambda: (*both, everything),
        "`rotary` has no effect": lambda: (*plain, past),
    },
}
right = {
    "causal": (*plain, past),
    "rotary": (*both, everything),
    "causal rotary": (*both, past),
}
for kind, parts in right.items():
    mistakes = {name: lambda slip=slip: answer(*slip()) for name, slip in slips[kind].items()}
    if kind == "rotary":
        mistakes["the values are turned too"] = lambda: answer(*both, everything, turned(split(v)))
    what = f"{kind}, {N} heads, x {tuple(x.shape)}"
    expect(heads_answer("forward", N, kind, maps, x), answer(*parts), what=what, mistakes=mistakes)
    mistakes = {name: lambda slip=slip: table(*slip()) for name, slip in slips[kind].items()}
    weights = heads_answer("weights", N, kind, maps, x)
    expect(weights, table(*parts), what=f"weights, {what}", mistakes=mistakes)
### END HIDDEN TESTS

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 1, "grade_id": "MultiHeadAttention-hidden-context"}
# A context of the same length and of another, with fresh numbers; causal with a context refused.
### BEGIN HIDDEN TESTS
draw = rng()
B, N, K, T = 2, 2, 2 * int(draw.integers(2, 4)), int(draw.integers(4, 7))
D = N * K
maps = [normal(draw, D, D) / math.sqrt(D) for _ in range(4)]
x = normal(draw, B, T, D)


def table(asking: Tensor, asked: Tensor) -> Tensor:
    q, k = (
        (a @ m.T).unflatten(-1, (N, K)).transpose(1, 2)
        for a, m in zip((asking, asked), maps, strict=False)
    )
    return (q @ k.mT / math.sqrt(K)).softmax(-1)


def answer(asking: Tensor, asked: Tensor, holding: Tensor) -> Tensor:
    v = (holding @ maps[2].T).unflatten(-1, (N, K)).transpose(1, 2)
    return (table(asking, asked) @ v).transpose(1, 2).flatten(-2) @ maps[3].T


for S in (T, T + 2):
    context = normal(draw, B, S, D)
    joint = torch.cat((x, context), 1)
    slips = {
        "the context is ignored": (x, x, x),
        "the values come from x; they must come from the context": (x, context, x),
        "the keys come from x; they must come from the context": (x, x, context),
        "x and the context have changed places": (context, x, x),
        "the queries come from the context; they must come from x": (context,) * 3,
        "the keys are x and the context together; with a context they are the context": (
            x,
            joint,
            joint,
        ),
    }
    what = f"x {tuple(x.shape)}, context {tuple(context.shape)}"
    expect(
        heads_answer("forward", N, "", maps, x, context),
        answer(x, context, context),
        what=what,
        mistakes={name: lambda slip=slip: answer(*slip) for name, slip in slips.items()},
    )
    expect(
        heads_answer("weights", N, "", maps, x, context),
        table(x, context),
        what=f"weights, {what}",
        mistakes={name: lambda slip=slip: table(*slip[:2]) for name, slip in slips.items()},
    )
refused = ("forward", N, "causal", maps, x, context[:, :T])
expect_raises(ValueError, heads_answer, *refused, what="causal with a context")
### END HIDDEN TESTS

# %% [markdown]
# ## Task 4: find the bug (4 points, difficulty 3, 20 minutes)
#
# A leak of the future makes training look wonderful and the model useless. A colleague wrote the causal attention below in one function. Its shapes are
# right, its mask is right, every table of weights is triangular and its rows add up to 1. And yet early rows know what comes later.
#
# **Contract.** Write `causal_heads_repaired(x, query, key, value, output, N)`: the same function without the bug.
#
# - `x` (B, T, D); four maps (D, D), used as `nn.Linear` does, `x @ map.T`; N heads of K = D / N neighbouring numbers each; no positions;
# - returns (B, T, D), what `MultiHeadAttention(D, N, causal=True)` returns with these maps;
# - row $t$ of the answer must not change when x changes after $t$;
# - any D that N divides, and T need not be a multiple of N.
#
# **Example.** With D = 2, N = 2, all four maps the identity and x = `[[1, 2], [3, 0]]`: position 0 sees itself only, so row 0 is `[1, 2]`. At
# position 1 head 0 has the query 3, the scores 3 and 9 and so the weights 0.0025 and 0.9975: 2.9951. Head 1 has the query 0, so it weighs its values 2
# and 0 alike: 1. Row 1 is `[2.9951, 1]`. The buggy function says `[1, 3]` for row 0: it knows the 3, which comes later.
#
# <details><summary>Hint 1: a question</summary>
#
# Change the last position of x and see which rows of the answer change; then do it with N = 1. What does a head of the buggy function take for "position
# 0", and where in x do these K numbers stand?
#
# </details>
#
# <details><summary>Hint 2: the formula with shapes</summary>
#
# `reshape` reads the numbers in memory order. For one text, (T, D) as (N, T, K): head 0 gets the first T / N positions, all of their numbers; head 1 the next ones.
# The head's "row t" is then part of position (n T + t) / N, and the mask forbids the wrong things.
#
# </details>
#
# <details><summary>Hint 3: pseudocode</summary>
#
# ```text
# cut:    (B, T, D) -> reshape to (B, T, N, K) -> swap axes 1 and 2 -> (B, N, T, K)
# the rest as it stands
# ```
#
# </details>

# %% tags=["needed"] nbgrader={"schema_version": 3, "grade": false, "solution": false, "locked": true, "task": false, "grade_id": "buggy_causal_heads"}
def buggy_causal_heads(
    x: Tensor, query: Tensor, key: Tensor, value: Tensor, output: Tensor, N: int
) -> Tensor:
    """Causal multi-head self-attention of x (B, T, D) with four maps (D, D), by a colleague."""
    B, T, D = x.shape
    K = D // N
    q, k, v = ((x @ matrix.T).reshape(B, N, T, K) for matrix in (query, key, value))
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T


# %% [markdown]
# *The symptom.* We change the last of six positions and print by how much each row of the answer moves. Only the last may.


# %%
def moved(heads, N: int) -> list[float]:
    """The largest change in each row of an answer when the last of six positions changes."""
    generator = torch.Generator().manual_seed(0)
    x, *maps = (torch.randn(*shape, generator=generator) for shape in [(1, 6, 12)] + [(12, 12)] * 4)
    changed = x.clone()
    changed[:, -1] += 1
    return (heads(changed, *maps, N) - heads(x, *maps, N)).abs().amax((0, 2)).tolist()


for N in (1, 2, 3):
    print(f"buggy, N = {N}:", " ".join(f"{change:6.2f}" for change in moved(buggy_causal_heads, N)))


# %% nbgrader={"schema_version": 3, "grade": false, "solution": true, "locked": false, "task": false, "grade_id": "causal_heads_repaired"}
def causal_heads_repaired(
    x: Tensor, query: Tensor, key: Tensor, value: Tensor, output: Tensor, N: int
) -> Tensor:
    """Causal multi-head self-attention of x (B, T, D) with four maps (D, D)."""
    ### BEGIN SOLUTION
    B, T, D = x.shape
    K = D // N
    q, k, v = (
        (x @ matrix.T).reshape(B, T, N, K).transpose(1, 2) for matrix in (query, key, value)
    )
    scores = torch.einsum("bntk,bnsk->bnts", q, k) / math.sqrt(K)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = torch.einsum("bnts,bnsk->bntk", weights, v)
    return mixed.transpose(1, 2).reshape(B, T, D) @ output.T
    ### END SOLUTION


# %% [markdown]
# *Play.* The same table for your repair.

# %%
for N in (1, 2, 3):
    print(f"repaired, N = {N}:", " ".join(f"{c:6.2f}" for c in moved(causal_heads_repaired, N)))

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "causal_heads_repaired-check-example"}
# The example of the contract.
one = torch.eye(2)
expect(
    causal_heads_repaired(torch.tensor([[[1.0, 2], [3, 0]]]), one, one, one, one, 2),
    torch.tensor([[[1.0, 2.0], [2.9950548, 1.0]]]),
    what="the example",
    mistakes={
        "this is the buggy answer": torch.tensor([[[1.0, 3.0], [1.8807971, 1.5]]]),
        "position t must see itself too": torch.tensor([[[math.nan, math.nan], [1.0, 2.0]]]),
        "this is a single head": torch.tensor([[[1.0, 2.0], [2.9716679, 0.0283321]]]),
    },
)

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "causal_heads_repaired-check-past"}
# The past does not depend on the future: a change at position 3 leaves the rows 0 to 2 alone.
draw = rng()
x, *maps = normal(draw, 2, 5, 6), *(normal(draw, 6, 6) / 2.5 for _ in range(4))
changed = x.clone()
changed[:, 3:] = normal(draw, 2, 2, 6)
before, after = causal_heads_repaired(x, *maps, 3), causal_heads_repaired(changed, *maps, 3)
expect(after[:, :3], before[:, :3], what="rows 0 to 2 after a change at 3")

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "causal_heads_repaired-check-one-head"}
# With one head there was no bug: the repair must not change that.
draw = rng()
x, *maps = normal(draw, 2, 5, 6), *(normal(draw, 6, 6) / 2.5 for _ in range(4))
expect(
    causal_heads_repaired(x, *maps, 1),
    buggy_causal_heads(x, *maps, 1),
    what="one head",
)

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "grade_id": "causal_heads_repaired-hidden-values"}
# Fresh numbers and sizes: the same values as causal multi-head attention.
### BEGIN HIDDEN TESTS
draw = rng()
B, N, K, T = 2, int(draw.integers(2, 4)), int(draw.integers(4, 6)), int(draw.integers(5, 9))
D = N * K
query, key, value, output = maps = [normal(draw, D, D) / math.sqrt(D) for _ in range(4)]
x = normal(draw, T, B, D).transpose(0, 1)  # not contiguous in memory
past = torch.ones(T, T, dtype=torch.bool).tril()
cuts = {  # head n from (B, T, D), and back
    "right": (lambda a: a.unflatten(-1, (N, K)).transpose(1, 2), lambda a: a.transpose(1, 2)),
    "time": (lambda a: a.reshape(B, N, T, K), lambda a: a),
    "woven": (lambda a: a.unflatten(-1, (K, N)).movedim(-1, 1), lambda a: a.movedim(1, -1)),
}


def heads(
    cut: str = "right",
    join: str = "right",
    allowed: Tensor = past,
    width: int = K,
    hide: float = -math.inf,
    axis: int = -1,
    x: Tensor = x,
    after: bool = False,
    output: Tensor = output,
) -> Tensor:
    q, k, v = (cuts[cut][0](x @ m.T) for m in (query, key, value))
    scores = q @ k.mT / math.sqrt(width)
    weights = scores.masked_fill(~allowed, hide).softmax(axis)
    if after:
        weights = scores.softmax(-1) * allowed
    return cuts[join][1](weights @ v).reshape(B, T, D) @ output.T


def single() -> Tensor:
    q, k, v = x @ query.T, x @ key.T, x @ value.T
    scores = (q @ k.mT / math.sqrt(D)).masked_fill(~past, -math.inf)
    return scores.softmax(-1) @ v @ output.T


delayed = torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), 1)
expect(
    causal_heads_repaired(x, *maps, N),
    heads(),
    what=f"{N} heads, x {tuple(x.shape)}",
    mistakes={
        "this is the buggy answer": lambda: heads("time"),
        "the heads are cut out of the time axis, and joined the same way": lambda: heads(
            "time", "time"
        ),
        "the heads are joined without swapping the axes back": lambda: heads(join="time"),
        "head n takes every N-th number; it must take K neighbours": lambda: heads("woven"),
        "head n takes every N-th number, in the join too": lambda: heads("woven", "woven"),
        "this is a single head": single,
        "position t must see itself too": lambda: heads(allowed=past.tril(-1)),
        "each position sees the later ones in place of the earlier": lambda: heads(allowed=past.mT),
        "the mask is gone": lambda: heads(allowed=torch.ones_like(past)),
        "the mask comes after the softmax: the sum of the weights knows the future": lambda: heads(
            after=True
        ),
        "a forbidden score becomes 0, and exp(0) is still a weight": lambda: heads(hide=0.0),
        "the scores are divided by sqrt(D); the root is of the width of a head": lambda: heads(
            width=D
        ),
        "the scores are not divided by sqrt(K)": lambda: heads(width=1),
        "the softmax runs over the queries; it must run over the keys": lambda: heads(axis=-2),
        "x is delayed by a position: this hides the future, and the present too": lambda: heads(
            x=delayed
        ),
        "the map `output` is missing": lambda: heads(output=torch.eye(D)),
    },
)
### END HIDDEN TESTS

# %% nbgrader={"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "grade_id": "causal_heads_repaired-hidden-future"}
# Fresh numbers: what stands up to position t is the answer to the text that ends at t.
### BEGIN HIDDEN TESTS
draw = rng()
N, K, T = int(draw.integers(2, 5)), int(draw.integers(2, 5)), int(draw.integers(6, 9))
D, end = N * K, int(draw.integers(2, 5))
maps = [normal(draw, D, D) / math.sqrt(D) for _ in range(4)]
x = normal(draw, 1, T, D)
q, k, v = ((x[:, :end] @ m.T).unflatten(-1, (N, K)).transpose(1, 2) for m in maps[:3])
scores = q @ k.mT / math.sqrt(K)
weights = scores.masked_fill(torch.ones(end, end, dtype=torch.bool).triu(1), -math.inf).softmax(-1)
want = (weights @ v).transpose(1, 2).flatten(-2) @ maps[3].T
long = causal_heads_repaired(x, *maps, N)[:, :end]
expect(
    long,
    want,
    what=f"{N} heads, rows 0 to {end - 1} of {T}",
    mistakes={"the future still leaks": lambda: buggy_causal_heads(x, *maps, N)[:, :end]},
)
### END HIDDEN TESTS

# %% [markdown]
# ## Written answer (3 points, 10 minutes)
#
# Two layers of attention and nothing else learn to continue random tokens that repeat; one layer does not. Explain in at most 150 words
#
# 1. what the two heads do, one in each layer: where each looks, and what it makes of what it finds there (1 point);
# 2. why one layer cannot do it: what can its keys contain, and what would they need to contain (1 point);
# 3. an experiment, and the result of it that would prove your explanation wrong (1 point).
#
# Write it into the next cell. A person grades it.

# %% [markdown] nbgrader={"schema_version": 3, "grade": true, "solution": true, "locked": false, "task": false, "points": 3, "grade_id": "written"}
# *A model answer; a point for each part.*
#
# 1. In the first layer a head looks at the previous token and adds it to its position, which then carries its own token and the one before. In the second
#    layer a head asks with its own token, say A, for positions that carry "A came before", finds the B that followed A the first time, and copies B as its
#    prediction.
# 2. In one layer a key is made of its own token and place only. The key at B does not contain that A came before, so a query "who follows A?" has nothing to
#    match. It can find the earlier A itself, or look a fixed distance back, but the distance differs from text to text.
# 3. Replace the weights of the first layer's previous-token head by equal ones and leave all else alone. The induction score of the second layer must
#    fall to what equal weights give. If it stays, the head in the second layer finds B in another way, and the explanation is wrong. (Or: give a one-layer model
#    keys made of a token and its predecessor. It must now learn the task.)

# %% [markdown]
# ## Your code in the library
#
# The chapter's experiment, on your parts: `fmbook.swap` puts them where the library has its own, for the length of the block. Two layers of your heads
# read random tokens that repeat after 8 to 24 steps, in the second half of which every token can be known. (Graders skip these cells. About 10 CPU-seconds.)

# %% tags=["skip-execution"]
import torch.nn.functional as F

import fmbook
from fmbook import plot
from fmbook.train import train
from fmbook.transformers.attention import AttentionOnly, head_scores, repeated_tokens


def texts(steps: int, generator: torch.Generator):
    """Batches of 32 repeated texts with their period."""
    for _ in range(steps):
        period = int(torch.randint(8, 25, (), generator=generator))
        yield period, repeated_tokens(32, period, 64, generator)


torch.manual_seed(1)
with fmbook.swap(attention=attention, rotate=rotate, MultiHeadAttention=MultiHeadAttention):
    model = AttentionOnly(V=64, D=64, N=4, layers=2)


def loss_of(batch) -> Tensor:
    period, tokens = batch
    logits = model(tokens)[:, period:-1]
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, period + 1 :].flatten())


losses = []
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0, fused=True)
for _, loss in train(texts(500, torch.Generator().manual_seed(1)), loss_of, optimizer):
    losses.append(loss)
    if sum(losses[-10:]) < 10 * 0.3:
        break
print(f"{type(model.attentions[0])}: loss {losses[0]:.2f} -> {losses[-1]:.2f}, {len(losses)} steps")

# %% tags=["skip-execution"]
ax = plot.curve(plot.axes(), range(len(losses)), losses, "two_layers", "your heads")
ax.set(xlabel="training step", ylabel="loss in the second half (nats)", ylim=(0, None))
plot.show(ax, alt="The loss on repeated tokens stays near 4 nats at first, then falls suddenly.");

# %% tags=["skip-execution"]
tokens = repeated_tokens(64, 16, 64, torch.Generator().manual_seed(2))
previous, induction = head_scores(model.weights(tokens).mean(1), 16)
for layer in range(2):
    for head in range(4):
        scores = f"previous token {previous[layer, head]:.2f}, induction {induction[layer, head]:.2f}"
        print(f"layer {layer}, head {head}: {scores}")
assert previous[0].max() > 0.3, "no head of the first layer looks at the previous token"
assert induction[1].max() > 0.3, "no head of the second layer looks behind the earlier occurrence"
