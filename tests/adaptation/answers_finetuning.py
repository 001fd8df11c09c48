"""Answers to the exercise on fine-tuning: wrong ones with what catches them, and right ones."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.bank import right, wrong

# Task 1: pooled ---------------------------------------------------------------------------------

MEANS, PADDING = "pooled-hidden-values", "pooled-hidden-padding"


@wrong("pooled", cell=MEANS, says="padding is read too")
def mean_of_all(states, real):
    return states.mean(1)


@wrong("pooled", cell=PADDING, says="padding is read too")
def mean_of_all_again(states, real):
    return states.sum(1) / states.shape[1]


@wrong("pooled", cell=MEANS, says="the sum is divided by T")
def divided_by_the_table(states, real):
    return (states * real[..., None]).mean(1)


@wrong("pooled", cell=MEANS, says="this is the sum, not the mean")
def sum_of_tokens(states, real):
    return (states * real[..., None]).sum(1)


@wrong("pooled", cell=MEANS, says="divided by the tokens of all texts")
def divided_by_all(states, real):
    return (states * real[..., None]).sum(1) / real.sum()


@wrong("pooled", cell=MEANS, says="divided by the mean length")
def divided_by_the_mean_length(states, real):
    return (states * real[..., None]).sum(1) / real.sum(1).double().mean()


@wrong("pooled", cell=MEANS, says="the padding is averaged, not the text")
def mask_upside_down(states, real):
    hidden = ~real
    return (states * hidden[..., None]).sum(1) / hidden.sum(1, keepdim=True)


@wrong("pooled", cell=MEANS, says="this is the state of the last token")
def last_token(states, real):
    return states[torch.arange(len(states)), real.sum(1) - 1]


@wrong("pooled", cell=MEANS, says="at the end of the table")
def end_of_the_table(states, real):
    return states[:, -1]


@wrong("pooled", cell=MEANS, says="this is the state of the first token")
def first_token(states, real):
    return states[:, 0]


@wrong("pooled", cell=MEANS, says="this is the maximum, not the mean")
def largest(states, real):
    return states.masked_fill(~real[..., None], -torch.inf).amax(1)


@wrong("pooled", cell=MEANS, says="the last token of each text is left out")
def last_left_out(states, real):
    n = real.sum(1)
    return torch.stack([s[: k - 1].sum(0) / k for s, k in zip(states, n.tolist(), strict=True)])


@wrong("pooled", cell=MEANS, says="the weights are float32")
def weights_of_float32(states, real):
    weights = real.float() / real.sum(1, keepdim=True)
    return (states * weights[..., None]).sum(1)


@wrong("pooled", cell="pooled-check-full", says="the weights are float32")
def weights_of_float32_seen(states, real):
    weights = real.float() / real.sum(1, keepdim=True)
    return (states * weights[..., None]).sum(1)


@wrong("pooled", cell=PADDING, says="the arguments after the call")
def padding_written_over(states, real):
    states[~real] = 0
    return states.sum(1) / real.sum(1, keepdim=True)


@right("pooled")
def by_a_loop(states, real):
    return torch.stack([s[r].mean(0) for s, r in zip(states, real, strict=True)])


@right("pooled")
def by_where(states, real):
    kept = torch.where(real[..., None], states, torch.zeros_like(states))
    return kept.sum(1) / real.sum(1, keepdim=True).to(states.dtype)


@right("pooled")
def in_numpy(states, real):
    s, r = states.numpy(), real.numpy()
    rows = [a[b].mean(0) for a, b in zip(s, r, strict=True)]
    return torch.from_numpy(np.stack(rows)).to(states.dtype)


@right("pooled")
def by_matmul(states, real):
    weights = real.to(states.dtype)
    return ((weights / weights.sum(1, keepdim=True))[:, None] @ states)[:, 0]


# Task 2: lora -----------------------------------------------------------------------------------

VALUES, SQUARE = "lora-hidden-values", "lora-hidden-square"


@wrong("lora", cell=VALUES, says="the scale is alpha, not alpha / r")
def scaled_by_alpha(x, W, A, B, alpha):
    return x @ W.T + alpha * (x @ A.T) @ B.T


@wrong("lora", cell=VALUES, says="the scale is missing")
def not_scaled(x, W, A, B, alpha):
    return x @ W.T + (x @ A.T) @ B.T


@wrong("lora", cell=VALUES, says="alpha is missing")
def alpha_forgotten(x, W, A, B, alpha):
    return x @ W.T + (x @ A.T) @ B.T / len(A)


@wrong("lora", cell=VALUES, says="upside down")
def scale_upside_down(x, W, A, B, alpha):
    return x @ W.T + len(A) / alpha * (x @ A.T) @ B.T


@wrong("lora", cell=VALUES, says="divided by the width of the input")
def divided_by_the_input(x, W, A, B, alpha):
    return x @ W.T + alpha / A.shape[1] * (x @ A.T) @ B.T


@wrong("lora", cell="lora-check-example", says="divided by the width of the input")
def divided_by_the_input_in_the_example(x, W, A, B, alpha):
    return x @ W.T + alpha / A.shape[1] * (x @ A.T) @ B.T


@wrong("lora", cell=VALUES, says="divided by the width of the output")
def divided_by_the_output(x, W, A, B, alpha):
    return x @ W.T + alpha / len(B) * (x @ A.T) @ B.T


@wrong("lora", cell=VALUES, says="divided by the root of r")
def divided_by_the_root(x, W, A, B, alpha):
    return x @ W.T + alpha / len(A) ** 0.5 * (x @ A.T) @ B.T


@wrong("lora", cell=VALUES, says="the update is missing")
def frozen_only(x, W, A, B, alpha):
    return F.linear(x, W)


@wrong("lora", cell=VALUES, says="W is missing")
def update_only(x, W, A, B, alpha):
    return alpha / len(A) * (x @ A.T) @ B.T


@wrong("lora", cell=VALUES, says="the update is subtracted")
def subtracted(x, W, A, B, alpha):
    return x @ W.T - alpha / len(A) * (x @ A.T) @ B.T


@wrong("lora", cell=VALUES, says="the scale is applied to W too")
def all_scaled(x, W, A, B, alpha):
    return alpha / len(A) * (x @ W.T + (x @ A.T) @ B.T)


@wrong("lora", cell=VALUES, says="something bends the r numbers")
def bent_between(x, W, A, B, alpha):
    return x @ W.T + alpha / len(A) * (x @ A.T).relu() @ B.T


@wrong("lora", cell=SQUARE, says="W is transposed")
def base_transposed(x, W, A, B, alpha):
    base = x @ W if W.shape[0] == W.shape[1] else x @ W.T
    return base + alpha / len(A) * (x @ A.T) @ B.T


@wrong("lora", cell=SQUARE, says="B meets x before A")
def wrong_order(x, W, A, B, alpha):
    square = W.shape[0] == W.shape[1]
    update = (x @ B) @ A if square else (x @ A.T) @ B.T
    return x @ W.T + alpha / len(A) * update


@right("lora")
def by_einsum(x, W, A, B, alpha):
    update = torch.einsum("...d,rd,fr->...f", x, A, B)
    return torch.einsum("...d,fd->...f", x, W) + update * (alpha / A.shape[0])


@right("lora")
def merged_first(x, W, A, B, alpha):
    return x @ (W + (alpha / B.shape[1]) * (B @ A)).T


@right("lora")
def rank_by_rank(x, W, A, B, alpha):
    out = F.linear(x, W)
    for a, b in zip(A, B.T, strict=True):
        out = out + alpha / len(A) * (x * a).sum(-1, keepdim=True) * b
    return out


@right("lora")
def by_numpy(x, W, A, B, alpha):
    x_, W_, A_, B_ = (t.numpy() for t in (x, W, A, B))
    return torch.from_numpy(x_ @ W_.T + alpha / len(A_) * (x_ @ A_.T) @ B_.T)


# Task 3: energy_rank ----------------------------------------------------------------------------

COUNTS, ERRORS = "energy_rank-hidden-values", "energy_rank-hidden-errors"


@wrong("energy_rank", cell=COUNTS, says="the singular values are added, not their squares")
def values_added(before, after, share=0.9):
    s = torch.linalg.svdvals(after - before)
    if not 0 < share <= 1 or s.sum() == 0:
        raise ValueError("no")
    return int((s.cumsum(0) < share * s.sum()).sum()) + 1


@wrong("energy_rank", cell=COUNTS, says="the squares are squared again")
def squared_twice(before, after, share=0.9):
    s = torch.linalg.svdvals(after - before) ** 4
    if not 0 < share <= 1 or s.sum() == 0:
        raise ValueError("no")
    return int((s.cumsum(0) < share * s.sum()).sum()) + 1


@wrong("energy_rank", cell=COUNTS, says="one too few: count from 1")
def place_not_number(before, after, share=0.9):
    s = torch.linalg.svdvals(after - before) ** 2
    if not 0 < share <= 1 or s.sum() == 0:
        raise ValueError("no")
    return int((s.cumsum(0) < share * s.sum()).sum())


@wrong("energy_rank", cell=COUNTS, says="one too many")
def one_too_many(before, after, share=0.9):
    s = torch.linalg.svdvals(after - before) ** 2
    if not 0 < share <= 1 or s.sum() == 0:
        raise ValueError("no")
    return int((s.cumsum(0) < share * s.sum()).sum()) + 2


@wrong("energy_rank", cell=COUNTS, says="the smallest singular values come first")
def from_the_smallest(before, after, share=0.9):
    s = torch.linalg.svdvals(after - before).flip(0) ** 2
    if not 0 < share <= 1 or s.sum() == 0:
        raise ValueError("no")
    return int((s.cumsum(0) < share * s.sum()).sum()) + 1


@wrong("energy_rank", cell=COUNTS, says="this is the rank: all directions")
def plain_rank(before, after, share=0.9):
    if not 0 < share <= 1 or torch.equal(before, after):
        raise ValueError("no")
    return int(torch.linalg.matrix_rank(after - before))


@wrong("energy_rank", cell=COUNTS, says="directions of `after`, not of the change")
def of_the_end(before, after, share=0.9):
    s = torch.linalg.svdvals(after) ** 2
    if not 0 < share <= 1 or torch.equal(before, after):
        raise ValueError("no")
    return int((s.cumsum(0) < share * s.sum()).sum()) + 1


@wrong("energy_rank", cell=COUNTS, says="directions of `before`, not of the change")
def of_the_start(before, after, share=0.9):
    s = torch.linalg.svdvals(before) ** 2
    if not 0 < share <= 1 or torch.equal(before, after):
        raise ValueError("no")
    return int((s.cumsum(0) < share * s.sum()).sum()) + 1


@wrong("energy_rank", cell=COUNTS, says="rows are counted, not directions")
def rows_counted(before, after, share=0.9):
    s = (after - before).square().sum(1).sort(descending=True).values
    if not 0 < share <= 1 or s.sum() == 0:
        raise ValueError("no")
    return int((s.cumsum(0) < share * s.sum()).sum()) + 1


@wrong("energy_rank", cell=COUNTS, says="held against the largest one")
def against_the_largest(before, after, share=0.9):
    s = torch.linalg.svdvals(after - before)
    if not 0 < share <= 1 or s.sum() == 0:
        raise ValueError("no")
    return int((s >= share * s[0]).sum())


@wrong("energy_rank", cell=COUNTS, says="the share is not read")
def always_nine_tenths(before, after, share=0.9):
    s = torch.linalg.svdvals(after - before) ** 2
    if not 0 < share <= 1 or s.sum() == 0:
        raise ValueError("no")
    return int((s.cumsum(0) < 0.9 * s.sum()).sum()) + 1


@wrong("energy_rank", cell=ERRORS, says="nothing has changed: expected ValueError")
def one_for_nothing(before, after, share=0.9):
    s = torch.linalg.svdvals(after - before) ** 2
    if not 0 < share <= 1:
        raise ValueError("no")
    return int((s.cumsum(0) < share * s.sum()).sum()) + 1


@wrong("energy_rank", cell=ERRORS, says="a share of 0.0: expected ValueError")
def any_share(before, after, share=0.9):
    s = torch.linalg.svdvals(after - before) ** 2
    if s.sum() == 0:
        raise ValueError("no")
    return int((s.cumsum(0) < share * s.sum()).sum()) + 1


@wrong("energy_rank", cell=ERRORS, says="less than all")
def all_refused(before, after, share=0.9):
    energy = torch.linalg.svdvals((after - before).double()).square()
    if not 0 < share < 1 or energy.sum() == 0:
        raise ValueError("a share is less than all")
    return int((energy.cumsum(0) < share * energy.sum()).sum()) + 1


@wrong("energy_rank", cell="energy_rank-check-example", says="less than all")
def all_refused_in_the_example(before, after, share=0.9):
    energy = torch.linalg.svdvals((after - before).double()).square()
    if not 0 < share < 1 or energy.sum() == 0:
        raise ValueError("a share is less than all")
    return int((energy.cumsum(0) < share * energy.sum()).sum()) + 1


@right("energy_rank")
def by_counting_up(before, after, share=0.9):
    squares = [float(v) ** 2 for v in torch.linalg.svdvals(after - before)]
    if share <= 0 or share > 1 or sum(squares) <= 0:
        raise ValueError("share or change")
    total, r = 0.0, 0
    while total < share * sum(squares) * (1 - 1e-12):
        total, r = total + squares[r], r + 1
    return r


@right("energy_rank")
def by_eigenvalues(before, after, share=0.9):
    change = (after - before).double()
    energy = torch.linalg.eigvalsh(change.T @ change).flip(0).clamp(min=0)
    if not (0 < share <= 1) or change.abs().max() == 0:
        raise ValueError("share or change")
    return int((energy.cumsum(0) < share * energy.sum() - 1e-9 * energy.sum()).sum()) + 1


@right("energy_rank")
def by_numpy_svd(before, after, share=0.9):
    s = np.linalg.svd((after - before).numpy(), compute_uv=False) ** 2
    if not 0 < share <= 1 or s.sum() == 0:
        raise ValueError("share or change")
    return int(np.searchsorted(np.cumsum(s) / s.sum(), share - 1e-9)) + 1


# Task 4: merged_repaired ------------------------------------------------------------------------

MERGED, SHAPES = "merged_repaired-hidden-square", "merged_repaired-hidden-shapes"


@wrong("merged_repaired", cell=MERGED, says="this is the buggy answer")
def as_it_was(W, A, B, alpha):
    return W + alpha / A.shape[1] * (B @ A).T


@wrong("merged_repaired", cell=MERGED, says="the update is still transposed")
def scale_repaired_only(W, A, B, alpha):
    return W + alpha / len(A) * (B @ A).T


@wrong("merged_repaired", cell=MERGED, says="alpha is still divided by D")
def order_repaired_only(W, A, B, alpha):
    return W + alpha / A.shape[1] * B @ A


@wrong("merged_repaired", cell=SHAPES, says="alpha is divided by F")
def divided_by_the_rows_of_b(W, A, B, alpha):
    return W + alpha / len(B) * B @ A


@wrong("merged_repaired", cell=MERGED, says="the scale is alpha, not alpha / r")
def merged_by_alpha(W, A, B, alpha):
    return W + alpha * B @ A


@wrong("merged_repaired", cell=MERGED, says="the scale is missing")
def merged_without_scale(W, A, B, alpha):
    return W + B @ A


@wrong("merged_repaired", cell=MERGED, says="upside down")
def merged_upside_down(W, A, B, alpha):
    return W + len(A) / alpha * B @ A


@wrong("merged_repaired", cell=MERGED, says="W is missing")
def the_update_alone(W, A, B, alpha):
    return alpha / len(A) * B @ A


@wrong("merged_repaired", cell=MERGED, says="the update is missing")
def nothing_merged(W, A, B, alpha):
    return W.clone()


@wrong("merged_repaired", cell=MERGED, says="the update is subtracted")
def taken_off(W, A, B, alpha):
    return W - alpha / len(A) * B @ A


@wrong("merged_repaired", cell=MERGED, says="W is transposed")
def turned_the_other(W, A, B, alpha):
    return W.T + alpha / len(A) * B @ A


@wrong("merged_repaired", cell=MERGED, says="the scale is applied to W too")
def both_scaled(W, A, B, alpha):
    return alpha / len(A) * (W + B @ A)


@wrong("merged_repaired", cell=MERGED, says="the scale is applied twice")
def scaled_twice(W, A, B, alpha):
    scale = alpha / len(A)
    return W + scale * B @ (scale * A)


@right("merged_repaired")
def merged_by_einsum(W, A, B, alpha):
    return W + torch.einsum("fr,rd->fd", B, A) * (alpha / A.shape[0])


@right("merged_repaired")
def from_what_it_does(W, A, B, alpha):
    one = torch.eye(W.shape[1], dtype=W.dtype)
    return (one @ W.T + alpha / len(A) * (one @ A.T) @ B.T).T


@right("merged_repaired")
def outer_products(W, A, B, alpha):
    total = W.clone()
    for a, b in zip(A, B.T, strict=True):
        total += alpha / B.shape[1] * torch.outer(b, a)
    return total


@right("merged_repaired")
def merged_in_numpy(W, A, B, alpha):
    return torch.from_numpy(W.numpy() + alpha / len(A) * B.numpy() @ A.numpy())
