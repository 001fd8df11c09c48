"""Answers to the exercise on recurrent networks: wrong ones with what catches them, right ones."""

import importlib
import math

import numpy as np
import torch

from tests.bank import right, wrong

# What a student's notebook has by task 3: not an import, so that it is not typed into the answers.
unroll = importlib.import_module("fmbook.sequences.rnn").unroll

# Task 1: unroll ---------------------------------------------------------------------------------

VALUES, CARRY = "unroll-hidden-values", "unroll-hidden-carry"


@wrong("unroll", cell=VALUES, says="there is no tanh")
def linear(x, W, U, b, h):
    states = []
    for t in range(x.shape[1]):
        h = x[:, t] @ U.T + b + h @ W.T
        states.append(h)
    return torch.stack(states, 1)


@wrong("unroll", cell=VALUES, says="the tanh is a sigmoid")
def logistic(x, W, U, b, h):
    states = []
    for t in range(x.shape[1]):
        h = torch.sigmoid(x[:, t] @ U.T + b + h @ W.T)
        states.append(h)
    return torch.stack(states, 1)


@wrong("unroll", cell=VALUES, says="the tanh is a relu")
def rectified(x, W, U, b, h):
    states = []
    for t in range(x.shape[1]):
        h = torch.relu(x[:, t] @ U.T + b + h @ W.T)
        states.append(h)
    return torch.stack(states, 1)


@wrong("unroll", cell=VALUES, says="W is used the wrong way round")
def transposed(x, W, U, b, h):
    states = []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ U.T + b + h @ W)
        states.append(h)
    return torch.stack(states, 1)


@wrong("unroll", cell=VALUES, says="the bias is missing")
def unbiased(x, W, U, b, h):
    states = []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ U.T + h @ W.T)
        states.append(h)
    return torch.stack(states, 1)


@wrong("unroll", cell=VALUES, says="the bias is added twice")
def biased_twice(x, W, U, b, h):
    states = []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ U.T + b + h @ W.T + b)
        states.append(h)
    return torch.stack(states, 1)


@wrong("unroll", cell=VALUES, says="the inputs are missing")
def deaf(x, W, U, b, h):
    states = []
    for _ in range(x.shape[1]):
        h = torch.tanh(b + h @ W.T)
        states.append(h)
    return torch.stack(states, 1)


@wrong("unroll", cell=VALUES, says="there is no recurrence")
def perceptron(x, W, U, b, h):
    return torch.tanh(x @ U.T + b)


@wrong("unroll", cell=VALUES, says="the state is not carried on")
def state_dropped(x, W, U, b, h):
    states = []
    for t in range(x.shape[1]):
        states.append(torch.tanh(x[:, t] @ U.T + b + h @ W.T))
    return torch.stack(states, 1)


@wrong("unroll", cell=VALUES, says="these are the states before their steps")
def too_early(x, W, U, b, h):
    states = []
    for t in range(x.shape[1]):
        states.append(h)
        h = torch.tanh(x[:, t] @ U.T + b + h @ W.T)
    return torch.stack(states, 1)


@wrong("unroll", cell=VALUES, says="the text is read from its end")
def backwards(x, W, U, b, h):
    states = []
    for t in reversed(range(x.shape[1])):
        h = torch.tanh(x[:, t] @ U.T + b + h @ W.T)
        states.append(h)
    return torch.stack(states, 1)


@wrong("unroll", cell=VALUES, says="the states are stacked along axis 0")
def stacked_first(x, W, U, b, h):
    states = []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ U.T + b + h @ W.T)
        states.append(h)
    return torch.stack(states)


@wrong("unroll", cell=VALUES, says="only the last state is returned")
def only_the_last(x, W, U, b, h):
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ U.T + b + h @ W.T)
    return h


@wrong("unroll", cell=CARRY, says="the h given is ignored")
def starts_afresh(x, W, U, b, h):
    states, h = [], torch.zeros_like(h)
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ U.T + b + h @ W.T)
        states.append(h)
    return torch.stack(states, 1)


@right("unroll")
def number_by_number(x, W, U, b, h):
    x, W, U, b, h = (a.tolist() for a in (x, W, U, b, h))
    answer = []
    for text, state in zip(x, h, strict=True):
        states = []
        for seen in text:
            state = [
                math.tanh(
                    sum(w * s for w, s in zip(W[d], state, strict=True))
                    + sum(u * m for u, m in zip(U[d], seen, strict=True))
                    + b[d]
                )
                for d in range(len(b))
            ]
            states.append(state)
        answer.append(states)
    return torch.tensor(answer, dtype=torch.float64)


@right("unroll")
def one_matrix_for_both(x, W, U, b, h):
    both, states = torch.cat((W, U), 1), torch.empty(*x.shape[:2], len(b), dtype=x.dtype)
    for t in range(x.shape[1]):
        h = (torch.cat((h, x[:, t]), 1) @ both.T + b).tanh()
        states[:, t] = h
    return states


@right("unroll")
def in_numpy(x, W, U, b, h):
    x, W, U, b, h = (a.numpy() for a in (x, W, U, b, h))
    states = np.zeros((*x.shape[:2], len(b)))
    for t in range(x.shape[1]):
        h = states[:, t] = np.tanh(x[:, t] @ U.T + h @ W.T + b)
    return torch.from_numpy(states)


@right("unroll")
def by_recursion(x, W, U, b, h):
    if x.shape[1] == 0:
        return h.new_zeros(len(h), 0, len(b))
    h = torch.tanh(torch.addmm(b, x[:, 0], U.mT) + torch.mm(h, W.mT))
    rest = [h[:, None]]
    for t in range(1, x.shape[1]):
        rest.append(torch.tanh(x[:, t : t + 1] @ U.mT + rest[-1] @ W.mT + b))
    return torch.cat(rest, 1)


# Task 2: clip -----------------------------------------------------------------------------------

LONG, SHORT = "clip-hidden-long", "clip-hidden-short"


@wrong("clip", cell=LONG, says="nothing is clipped")
def unclipped(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    return list(gradients)


@wrong("clip", cell=LONG, says="each tensor is clipped by itself")
def each_tensor(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    return [g * min(1.0, limit / (float(g.norm()) or 1.0)) for g in gradients]


@wrong("clip", cell=LONG, says="each tensor is brought to the limit by itself")
def each_tensor_to_the_limit(gradients, limit):
    return [g * limit / g.norm() for g in gradients]


@wrong("clip", cell=LONG, says="each number is clipped by itself")
def each_number(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    return [g.clamp(-limit, limit) for g in gradients]


@wrong("clip", cell=LONG, says="divided by the sum of squares")
def root_forgotten(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = sum(float((g**2).sum()) for g in gradients)
    return [g * (limit / norm) if norm > limit else g for g in gradients]


@wrong("clip", cell=LONG, says="the length is the largest number")
def largest_number(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = max(float(g.abs().max()) for g in gradients)
    return [g * (limit / norm) if norm > limit else g for g in gradients]


@wrong("clip", cell=LONG, says="the length is the sum of absolute values")
def sum_of_absolute_values(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = sum(float(g.abs().sum()) for g in gradients)
    return [g * (limit / norm) if norm > limit else g for g in gradients]


@wrong("clip", cell=LONG, says="the length is a root of the mean")
def root_of_the_mean(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = torch.cat([g.flatten() for g in gradients]).square().mean().sqrt().item()
    return [g * (limit / norm) if norm > limit else g for g in gradients]


@wrong("clip", cell=LONG, says="the lengths of the tensors are added up")
def lengths_added(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = sum(float(g.norm()) for g in gradients)
    return [g * (limit / norm) if norm > limit else g for g in gradients]


@wrong("clip", cell=LONG, says="the factor is upside down")
def upside_down(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    return [g * (norm / limit) if norm > limit else g for g in gradients]


@wrong("clip", cell=LONG, says="the length becomes 1, not the limit")
def to_length_one(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    return [g / norm if norm > limit else g for g in gradients]


@wrong("clip", cell=SHORT, says="short gradients are stretched to the limit")
def always_scaled(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients)) or 1.0
    return [g * (limit / norm) for g in gradients]


@wrong("clip", cell=SHORT, says="nothing is clipped: the common length exceeds the limit")
def only_if_a_number_is_large(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    large = any(float(g.abs().max()) > limit for g in gradients)
    return [g * (limit / norm) if large else g for g in gradients]


@wrong("clip", cell=SHORT, says="gradients of zero")
def no_gradient_divides_by_zero(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    return [torch.where(limit / norm < 1, g * (limit / norm), g / norm * norm) for g in gradients]


@wrong("clip", cell=SHORT, says="a limit of 0.0: expected ValueError")
def limit_unchecked(gradients, limit):
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    return [g * (limit / norm) if norm > limit else g for g in gradients]


@wrong("clip", cell=SHORT, says="a limit of nan: expected ValueError")
def not_a_number_taken(gradients, limit):
    if limit <= 0:
        raise ValueError("limit")
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    return [g * (limit / norm) if norm > limit else g for g in gradients]


CHANGED = "the gradients that were given are changed; return new tensors"


@wrong("clip", cell="clip-check-example", says=CHANGED)
def in_place(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    if norm > limit:
        for g in gradients:
            g *= limit / norm
    return gradients


@wrong("clip", cell="clip-hidden-long", says=CHANGED)
def in_place_in_a_list(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    return [g.mul_(min(1.0, limit / max(norm, 1e-300))) for g in gradients]


@right("clip")
def by_one_long_vector(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    factor = torch.clamp(limit / norm.clamp(min=1e-300), max=1.0)
    return [g * factor for g in gradients]


@right("clip")
def in_numpy_clip(gradients, limit):
    if math.isnan(limit) or limit <= 0:
        raise ValueError("limit")
    norm = np.sqrt(sum(np.square(g.numpy()).sum() for g in gradients))
    return [g / max(1.0, norm / limit) for g in gradients]


@right("clip")
def number_by_number_clip(gradients, limit):
    if not limit > 0:
        raise ValueError("limit")
    total = 0.0
    for g in gradients:
        for number in g.flatten().tolist():
            total += number * number
    answer = []
    for g in gradients:
        copy = g.clone()
        if total > limit**2:
            copy *= limit / total**0.5
        answer.append(copy)
    return tuple(answer)


@right("clip")
def length_of_lengths(gradients, limit):
    if not (limit > 0):
        raise ValueError(limit)
    norm = torch.stack([torch.linalg.vector_norm(g.double()) for g in gradients]).norm().item()
    return [g.mul(limit / norm) if norm > limit else g.clone() for g in gradients]


# Task 3: through_time ---------------------------------------------------------------------------

STATES, WEIGHTS = "through_time-hidden-states", "through_time-hidden-weights"


@wrong("through_time", cell=STATES, says="the derivative of the tanh is missing")
def tanh_not_differentiated(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = upstream[:, t] + delta @ W
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        D[:, 0] @ W,
    )


@wrong(
    "through_time", cell=STATES, says="the derivative of the tanh is 1 - state**2, not 1 - state"
)
def square_forgotten(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t])
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        D[:, 0] @ W,
    )


@wrong("through_time", cell=STATES, says="this is the derivative of a sigmoid")
def sigmoids_derivative(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * states[:, t] * (1 - states[:, t])
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        D[:, 0] @ W,
    )


@wrong("through_time", cell=STATES, says="nothing comes back from the next step")
def each_step_for_itself(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    D = upstream * (1 - states**2)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        D[:, 0] @ W,
    )


@wrong("through_time", cell=STATES, says="W is used the wrong way round on the way back")
def forward_weights_on_the_way_back(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W.T) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        D[:, 0] @ W.T,
    )


@wrong("through_time", cell=STATES, says="only the loss of the last step is counted")
def last_loss_only(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = upstream[:, -1] * (1 - states[:, -1] ** 2), []
    deltas.append(delta)
    for t in reversed(range(x.shape[1] - 1)):
        delta = (delta @ W) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        D[:, 0] @ W,
    )


@wrong("through_time", cell=STATES, says="time runs forward")
def time_runs_forward(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in range(x.shape[1]):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.append(delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        D[:, 0] @ W,
    )


@wrong("through_time", cell=STATES, says="the steps are in the wrong order")
def list_not_turned_round(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.append(delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        delta @ W,
    )


@wrong("through_time", cell=STATES, says="the way back to h lacks W")
def h_without_W(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        delta,
    )


@wrong("through_time", cell=STATES, says="h gets nothing")
def h_forgotten(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        torch.zeros_like(h),
    )


@wrong("through_time", cell="through_time-check-example", says="nothing comes back from the next")
def no_step_hears_the_next(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    D = upstream * (1 - states**2)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        D[:, 0] @ W,
    )


@wrong("through_time", cell="through_time-check-example", says="turn the list of deltas round")
def deltas_as_they_were_found(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.append(delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        D[:, 0] @ W,
    )


@wrong("through_time", cell=WEIGHTS, says="delta belongs to the state before its step, not after")
def state_after_the_step(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, states),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        delta @ W,
    )


@wrong("through_time", cell=WEIGHTS, says="before the first step stands h, not zeros")
def begins_with_zeros(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((torch.zeros_like(h)[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        delta @ W,
    )


@wrong("through_time", cell=WEIGHTS, says="the two sides of the product have changed places")
def product_turned_round(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("bte,btd->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum((0, 1)),
        delta @ W,
    )


@wrong("through_time", cell=WEIGHTS, says="only the first step counts")
def weights_from_the_first_step(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    return torch.stack(deltas, 1) @ U, delta.T @ h, delta.T @ x[:, 0], delta.sum(0), delta @ W


@wrong("through_time", cell=WEIGHTS, says="this is a mean over the texts")
def mean_over_texts(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before) / len(x),
        torch.einsum("btd,btm->dm", D, x) / len(x),
        D.mean(0).sum(0),
        delta @ W,
    )


@wrong("through_time", cell=WEIGHTS, says="the first step is left out")
def first_step_left_out(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    in_W = torch.einsum("btd,bte->de", D[:, 1:], states[:, :-1])
    return D @ U, in_W, torch.einsum("btd,btm->dm", D, x), D.sum((0, 1)), delta @ W


@wrong("through_time", cell=WEIGHTS, says="the texts are not added up")
def bias_for_each_step(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []
    for t in reversed(range(x.shape[1])):
        delta = (upstream[:, t] + delta @ W) * (1 - states[:, t] ** 2)
        deltas.insert(0, delta)
    D = torch.stack(deltas, 1)
    return (
        D @ U,
        torch.einsum("btd,bte->de", D, before),
        torch.einsum("btd,btm->dm", D, x),
        D.sum(1),
        delta @ W,
    )


@right("through_time")
def summed_on_the_way(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    in_x, in_W, in_U, in_b = (torch.zeros_like(a) for a in (x, W, U, b))
    back = torch.zeros_like(h)
    for t in range(x.shape[1] - 1, -1, -1):
        delta = (upstream[:, t] + back) * (1 - states[:, t] * states[:, t])
        in_x[:, t] = delta @ U
        in_W += delta.T @ (states[:, t - 1] if t else h)
        in_U += delta.T @ x[:, t]
        in_b += delta.sum(0)
        back = delta @ W
    return [in_x, in_W, in_U, in_b, back]


@right("through_time")
def text_by_text(x, W, U, b, h, upstream):
    states = unroll(x, W, U, b, h)
    in_x, in_h = torch.zeros_like(x), torch.zeros_like(h)
    in_W, in_U, in_b = torch.zeros_like(W), torch.zeros_like(U), torch.zeros_like(b)
    for i in range(len(x)):
        back = torch.zeros_like(b)
        for t in reversed(range(x.shape[1])):
            delta = (upstream[i, t] + back) * (1 - states[i, t] ** 2)
            in_x[i, t] = U.T @ delta
            in_W = in_W + torch.outer(delta, states[i, t - 1] if t > 0 else h[i])
            in_U = in_U + torch.outer(delta, x[i, t])
            in_b = in_b + delta
            back = W.T @ delta
        in_h[i] = back
    return in_x, in_W, in_U, in_b, in_h


@right("through_time")
def in_numpy_back(x, W, U, b, h, upstream):
    x, W, U, b, h, upstream = (a.numpy() for a in (x, W, U, b, h, upstream))
    T, states = x.shape[1], [h]
    for t in range(T):
        states.append(np.tanh(x[:, t] @ U.T + states[-1] @ W.T + b))
    deltas, back = np.zeros((len(x), T, len(b))), np.zeros_like(h)
    for t in range(T)[::-1]:
        deltas[:, t] = (upstream[:, t] + back) * (1 - states[t + 1] ** 2)
        back = deltas[:, t] @ W
    before = np.stack(states[:-1], 1)
    in_W, in_U = (
        np.tensordot(deltas, before, ((0, 1), (0, 1))),
        np.tensordot(deltas, x, ((0, 1), (0, 1))),
    )
    return tuple(map(torch.tensor, (deltas @ U, in_W, in_U, deltas.sum((0, 1)), back)))


# Task 4: streams_repaired -----------------------------------------------------------------------

INPUTS, TARGETS = "streams_repaired-hidden-inputs", "streams_repaired-hidden-targets"


@wrong("streams_repaired", cell=INPUTS, says="this is the buggy answer")
def not_repaired(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    inputs, targets = tokens[: n * B * T], tokens[1 : n * B * T + 1]
    return inputs.reshape(n, B, T), targets.reshape(n, B, T)


@wrong("streams_repaired", cell=TARGETS, says="this is the buggy answer")
def targets_not_repaired(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    inputs, targets = tokens[: n * B * T], tokens[1 : n * B * T + 1]
    return inputs.reshape(B, n, T).transpose(0, 1), targets.reshape(n, B, T)


@wrong("streams_repaired", cell=INPUTS, says="the axes are (B, n, T): swap the first two")
def axes_not_swapped(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    inputs, targets = tokens[: n * B * T], tokens[1 : n * B * T + 1]
    return inputs.reshape(B, n, T), targets.reshape(B, n, T)


@wrong(
    "streams_repaired",
    cell=INPUTS,
    says="neighbours in the text have become neighbours in the batch",
)
def neighbours_in_the_batch(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    inputs, targets = tokens[: n * B * T], tokens[1 : n * B * T + 1]
    return tuple(part.reshape(n, T, B).transpose(1, 2) for part in (inputs, targets))


@wrong("streams_repaired", cell=INPUTS, says="neighbours in the text stand in different windows")
def neighbours_in_windows(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    inputs, targets = tokens[: n * B * T], tokens[1 : n * B * T + 1]
    return tuple(part.reshape(T, B, n).permute(2, 1, 0) for part in (inputs, targets))


@wrong("streams_repaired", cell=INPUTS, says="the order of the windows is turned round")
def windows_turned_round(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    inputs, targets = tokens[: n * B * T], tokens[1 : n * B * T + 1]
    return tuple(part.reshape(B, n, T).transpose(0, 1).flip(0) for part in (inputs, targets))


@wrong("streams_repaired", cell=INPUTS, says="the inputs begin with the second token")
def begins_too_late(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    late = tokens[1 : n * B * T + 1].reshape(B, n, T).transpose(0, 1)
    return late, late.clone()


@wrong("streams_repaired", cell=TARGETS, says="the targets are the inputs")
def targets_are_inputs(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    x = tokens[: n * B * T].reshape(B, n, T).transpose(0, 1)
    return x, x.clone()


@wrong("streams_repaired", cell=TARGETS, says="the window is rolled round")
def targets_rolled(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    x = tokens[: n * B * T].reshape(B, n, T).transpose(0, 1)
    return x, x.roll(-1, 2)


@wrong("streams_repaired", cell=TARGETS, says="a target stands two places after its input")
def two_places_on(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    x = tokens[: n * B * T].reshape(B, n, T).transpose(0, 1)
    return x, tokens.roll(-2)[: n * B * T].reshape(B, n, T).transpose(0, 1)


@wrong("streams_repaired", cell=TARGETS, says="a target is the token before its input")
def targets_before(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    x = tokens[: n * B * T].reshape(B, n, T).transpose(0, 1)
    return x, tokens.roll(1)[: n * B * T].reshape(B, n, T).transpose(0, 1)


@wrong("streams_repaired", cell=TARGETS, says="the last window is missing")
def counts_two_too_many(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    inputs, targets = tokens[: n * B * T], tokens[1 : n * B * T + 1]
    return tuple(part.reshape(B, n, T).transpose(0, 1)[:-1] for part in (inputs, targets))


TARGET_ONLY = "the last token has no next one and is a target only: n = (length - 1) // (B T)"


@wrong("streams_repaired", cell=TARGETS, says=TARGET_ONLY)
def last_target_from_the_start(tokens, B, T):
    n = len(tokens) // (B * T)
    return tuple(
        part[: n * B * T].reshape(B, n, T).transpose(0, 1) for part in (tokens, tokens.roll(-1))
    )


@wrong("streams_repaired", cell="streams_repaired-check-last", says=TARGET_ONLY)
def last_target_made_up(tokens, B, T):
    n = len(tokens) // (B * T)
    targets = torch.cat((tokens[1:], torch.zeros(1, dtype=tokens.dtype)))
    return tuple(part[: n * B * T].reshape(B, n, T).transpose(0, 1) for part in (tokens, targets))


@wrong("streams_repaired", cell="streams_repaired-check-last", says="is invalid for input of size")
def one_window_too_many(tokens, B, T):
    n = len(tokens) // (B * T)
    inputs, targets = tokens[: n * B * T], tokens[1 : n * B * T + 1]
    return tuple(part.reshape(B, n, T).transpose(0, 1) for part in (inputs, targets))


@right("streams_repaired")
def row_after_row(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    x, y = torch.zeros(n, B, T, dtype=torch.long), torch.zeros(n, B, T, dtype=torch.long)
    for i in range(n):
        for row in range(B):
            start = row * n * T + i * T
            x[i, row], y[i, row] = tokens[start : start + T], tokens[start + 1 : start + T + 1]
    return x, y


@right("streams_repaired")
def by_splitting(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    cut = [
        torch.stack([row.reshape(n, T) for row in part[: n * B * T].chunk(B)], 1)
        for part in (tokens, tokens[1:])
    ]
    return cut[0], cut[1]


@right("streams_repaired")
def in_numpy_streams(tokens, B, T):
    tokens = np.asarray(tokens)
    n = (len(tokens) - 1) // (B * T)
    x, y = (np.moveaxis(part[: n * B * T].reshape(B, n, T), 1, 0) for part in (tokens, tokens[1:]))
    return torch.tensor(x.copy()), torch.tensor(y.copy())


@right("streams_repaired")
def by_places(tokens, B, T):
    n = (len(tokens) - 1) // (B * T)
    i, row, t = torch.meshgrid(torch.arange(n), torch.arange(B), torch.arange(T), indexing="ij")
    places = row * n * T + i * T + t
    return tokens[places], tokens[places + 1]
