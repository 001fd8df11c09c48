"""Recurrent networks: at each step one small network reads the input and its own last state.

Left out: several layers, reading in both directions, and gates (see the stem `lstm`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "RNN",
    "CharacterModel",
    "clip",
    "influence",
    "remember",
    "streams",
    "through_time",
    "unroll",
]


def unroll(x: Tensor, W: Tensor, U: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """The states of a plain recurrent network, h_t = tanh(W h_{t-1} + U x_t + b), at all steps.

    Shapes: x (B, T, M) with M the width of an input, W (D, D), U (D, M), b (D,), and the state h
    (B, D) before the first step -> (B, T, D). The same W, U and b serve every step.

    Source: elman1990finding, figure 2 (states are copied back as inputs of the next step).

    >>> one, x = torch.ones(1, 1), torch.tensor([[[1.0], [0.0], [0.0]]])
    >>> unroll(x, 0.5 * one, one, torch.zeros(1), torch.zeros(1, 1)).flatten()
    tensor([0.7616, 0.3634, 0.1797])
    """
    states = []
    for drive in (x @ U.T + b).unbind(1):  # what needs no state is one product for all steps
        h = torch.tanh(drive + h @ W.T)
        states.append(h)
    return torch.stack(states, 1)


def through_time(
    x: Tensor, W: Tensor, U: Tensor, b: Tensor, h: Tensor, upstream: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Backpropagation through time: the gradients of a loss in x, W, U, b and h, by hand.

    `upstream` (B, T, D) is the gradient that reaches each state from the loss directly; what
    reaches it by way of later states is this function's work. All else as in `unroll`; each
    gradient has the shape of its argument.

    Source: werbos1990backpropagation; pascanu2013on, equations 3 to 5.

    >>> x, one = torch.tensor([[[1.0], [0.0]]]), torch.ones(1, 1)
    >>> on_the_last = torch.tensor([[[0.0], [1.0]]])
    >>> through_time(x, one, one, torch.zeros(1), torch.zeros(1, 1), on_the_last)[0].flatten()
    tensor([0.2469, 0.5878])
    """
    states = unroll(x, W, U, b, h)
    before = torch.cat((h[:, None], states[:, :-1]), 1)
    delta, deltas = torch.zeros_like(h), []  # the gradient at the argument of each tanh
    for state, direct in zip(states.unbind(1)[::-1], upstream.unbind(1)[::-1], strict=True):
        delta = (direct + delta @ W) * (1 - state**2)
        deltas.append(delta)
    all_steps = torch.stack(deltas[::-1], 1)
    in_W = torch.einsum("btd,bte->de", all_steps, before)
    in_U = torch.einsum("btd,btm->dm", all_steps, x)
    return all_steps @ U, in_W, in_U, all_steps.sum((0, 1)), all_steps[:, 0] @ W


class RNN(nn.Module):
    """A plain recurrent layer: inputs (B, T, M) -> the states (B, T, D) and the last one (B, D).

    Source: elman1990finding, figure 2.

    >>> states, last = RNN(3, 5)(torch.zeros(2, 7, 3))
    >>> states.shape, last.shape
    (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    def __init__(self, M: int, D: int) -> None:
        super().__init__()
        self.recurrent, self.input = nn.Linear(D, D, bias=False), nn.Linear(M, D)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        W, U, b = self.recurrent.weight, self.input.weight, self.input.bias
        h = x.new_zeros(len(x), len(W)) if state is None else state
        states = unroll(x, W, U, b, h)
        return states, states[:, -1]


class CharacterModel(nn.Module):
    """Tokens (B, T) and a state -> logits (B, T, V) of each next token, and the state after them.

    `layer(M, D)` makes the recurrent layer: inputs (B, T, M) and a state -> states (B, T, D) and
    the state after them. Without a state the text begins.

    Source: mikolov2010recurrent, section 2 (there words, and a logistic).

    >>> logits, state = CharacterModel(V=84, M=8, D=16, layer=RNN)(torch.zeros(2, 5).long())
    >>> logits.shape, state.shape
    (torch.Size([2, 5, 84]), torch.Size([2, 16]))
    """

    def __init__(self, V: int, M: int, D: int, layer: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(V, M), layer(M, D)
        self.readout = nn.Linear(D, V)

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        states, state = self.layer(self.embedding(tokens), state)
        return self.readout(states), state


def streams(tokens: Tensor, B: int, T: int) -> tuple[Tensor, Tensor]:
    """Cut one long text (length,) into B texts side by side, read in n windows (B, T) each.

    Returns inputs and targets, both (n, B, T); a target is the token after its input. Row b of
    window i + 1 goes on where row b of window i ends, so that a state may be carried over. What
    does not fill a window is dropped.

    Raises:
        ValueError: the text does not fill one window.

    Source: mikolov2010recurrent, section 2 (targets are the next word).

    >>> x, y = streams(torch.arange(9), B=2, T=2)
    >>> x.tolist(), y[0].tolist()
    ([[[0, 1], [4, 5]], [[2, 3], [6, 7]]], [[1, 2], [5, 6]])
    """
    n = (len(tokens) - 1) // (B * T)
    if n < 1:
        raise ValueError(f"{B} rows of {T} need {B * T + 1} tokens, got {len(tokens)}")
    inputs, targets = tokens[: n * B * T], tokens[1 : n * B * T + 1]
    x, y = (part.reshape(B, n, T).transpose(0, 1) for part in (inputs, targets))
    return x, y


def clip(gradients: Sequence[Tensor], limit: float) -> list[Tensor]:
    """The gradients, all shrunk by one factor if their common length exceeds `limit`.

    The direction stays. Takes and returns tensors of any shapes (..., D).

    Raises:
        ValueError: the limit is not positive.

    Source: pascanu2013on, algorithm 1.

    >>> clip([torch.tensor([3.0]), torch.tensor([[4.0]])], limit=1.0)
    [tensor([0.6000]), tensor([[0.8000]])]
    """
    if not limit > 0:
        raise ValueError(f"the limit must be positive, got {limit}")
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    return [gradient * (limit / norm) if norm > limit else gradient for gradient in gradients]


def influence(layer: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    """How much the last state of a layer depends on its input k steps back, for k = 0 on: (T,).

    For x (B, T, M): the length of the gradient of the last state, along a random direction, in the
    input k steps before, as a mean over the batch.

    Source: pascanu2013on, section 2 (temporal components of the gradient).

    >>> influence(RNN(3, 5), torch.zeros(2, 7, 3), torch.Generator().manual_seed(0)).shape
    torch.Size([7])
    """
    x = x.detach().requires_grad_()
    last = layer(x)[0][:, -1]
    along = torch.randn(last.shape, generator=generator).to(last)
    (gradient,) = torch.autograd.grad((last * along).sum(), x)
    by_step: Tensor = gradient.norm(dim=-1).mean(0)
    return by_step.flip(0)


def remember(B: int, T: int, generator: torch.Generator, kinds: int = 2) -> tuple[Tensor, Tensor]:
    """A task for the memory: tokens (B, T), of which only the first counts, and that one (B,).

    The first token is one of 0 to `kinds` - 1; all later ones are noise, of `kinds` to
    2 `kinds` - 1. To be named after T tokens: the first.

    Raises:
        ValueError: there is nothing to read, or nothing to tell apart.

    Source: bengio1994learning, section II (there noise of real numbers).

    >>> tokens, first = remember(2, 5, torch.Generator().manual_seed(0))
    >>> tokens.shape, first.shape
    (torch.Size([2, 5]), torch.Size([2]))
    """
    if T < 1 or kinds < 2:
        raise ValueError(f"expected T from 1 and kinds from 2 on, got {T} and {kinds}")
    tokens = torch.randint(kinds, 2 * kinds, (B, T), generator=generator)
    first = torch.randint(kinds, (B,), generator=generator)
    tokens[:, 0] = first
    return tokens, first
