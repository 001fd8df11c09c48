"""Gated recurrent networks: the state has a path of its own, and gates decide what may change it.

Left out: peepholes, several layers, reading in both directions, and dropout.
"""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "GRU",
    "LSTM",
    "copy_text",
    "gates",
    "gru_step",
    "lstm_step",
    "sample",
    "tempered",
]


def lstm_step(drive: Tensor, h: Tensor, c: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
    """One step of a long short-term memory: forget some of the cell, write some, show some.

    Shapes: `drive` (B, 4 D) is what the input says, U x + b; h and c (B, D) are the state shown
    and the cell; W (4 D, D). The four parts of 4 D are input gate, forget gate, candidate, output
    gate, in torch's order. Returns the new h and c.

    Source: hochreiter1997long; gers2000learning (the forget gate).

    >>> one = torch.ones(1, 1)
    >>> closed = torch.tensor([[-100.0, 100.0, 0.0, 100.0]])  # write nothing, forget nothing
    >>> lstm_step(closed, one, 3 * one, torch.zeros(4, 1))[1]
    tensor([[3.]])
    """
    i, f, g, o = torch.addmm(drive, h, W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_step(drive: Tensor, h: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """One step of a gated recurrent unit: stay at the old state, or move to a candidate.

    Shapes: `drive` (B, 3 D), h (B, D), W (3 D, D), b (D,) -> the new h (B, D). The three parts are
    reset gate r, update gate z, candidate n. z is what is kept: h = (1 - z) n + z h. The reset gate
    weighs what the old state says to the candidate, W h + b (torch's form; in the paper r h is
    taken before the matrix).

    Source: cho2014learning, equations 5 to 8.

    >>> keep = torch.tensor([[0.0, 100.0, 0.0]])
    >>> gru_step(keep, torch.tensor([[0.7]]), torch.zeros(3, 1), torch.zeros(1))
    tensor([[0.7000]])
    """
    D = h.shape[-1]
    said = h @ W.T
    r, z = (drive[:, : 2 * D] + said[:, : 2 * D]).sigmoid().chunk(2, -1)
    n = torch.tanh(drive[:, 2 * D :] + r * (said[:, 2 * D :] + b))
    return n + z * (h - n)


class LSTM(nn.Module):
    """A layer of long short-term memory: (B, T, M) -> states (B, T, D), and h and c after them.

    `forget` is the bias with which forget gates begin: at 1 a cell keeps 73 % a step.

    Source: hochreiter1997long; gers2000learning; jozefowicz2015empirical (the bias).

    >>> states, (h, c) = LSTM(3, 5)(torch.zeros(2, 7, 3))
    >>> states.shape, h.shape, c.shape
    (torch.Size([2, 7, 5]), torch.Size([2, 5]), torch.Size([2, 5]))
    """

    def __init__(self, M: int, D: int, forget: float = 1.0) -> None:
        super().__init__()
        self.recurrent, self.input = nn.Linear(D, 4 * D, bias=False), nn.Linear(M, 4 * D)
        with torch.no_grad():
            self.input.bias[D : 2 * D] += forget

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        W = self.recurrent.weight
        h = c = x.new_zeros(len(x), W.shape[1])
        if state is not None:
            h, c = state
        states = []
        for drive in self.input(x).unbind(1):
            h, c = lstm_step(drive, h, c, W)
            states.append(h)
        return torch.stack(states, 1), (h, c)


class GRU(nn.Module):
    """A layer of gated recurrent units: (B, T, M) -> the states (B, T, D) and the last one (B, D).

    `keep` is the bias with which update gates begin: at 1 a unit keeps 73 % a step.

    Source: cho2014learning, section 2.3.

    >>> states, last = GRU(3, 5)(torch.zeros(2, 7, 3))
    >>> states.shape, last.shape
    (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    def __init__(self, M: int, D: int, keep: float = 1.0) -> None:
        super().__init__()
        self.recurrent, self.input = nn.Linear(D, 3 * D, bias=False), nn.Linear(M, 3 * D)
        self.bias = nn.Parameter(torch.zeros(D))  # of what the old state says to the candidate
        with torch.no_grad():
            self.input.bias[D : 2 * D] += keep

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        W, states = self.recurrent.weight, []
        h = x.new_zeros(len(x), W.shape[1]) if state is None else state
        for drive in self.input(x).unbind(1):
            h = gru_step(drive, h, W, self.bias)
            states.append(h)
        return torch.stack(states, 1), h


@torch.no_grad()
def gates(layer: LSTM, x: Tensor) -> dict[str, Tensor]:
    """What an LSTM does while it reads (B, T, M): a table (B, T, D) by name.

    `input`, `forget` and `output` are gates in 0 to 1, `candidate` is in -1 to 1, `cell` is the
    cell after the step, without limits.

    Source: karpathy2015visualizing (cells and gates of trained LSTMs, over text).

    >>> gates(LSTM(3, 5), torch.zeros(2, 7, 3))["forget"].shape
    torch.Size([2, 7, 5])
    """
    W, found = layer.recurrent.weight, []
    h = c = x.new_zeros(len(x), W.shape[1])
    for drive in layer.input(x).unbind(1):
        i, f, g, o = torch.addmm(drive, h, W.T).chunk(4, -1)
        h, c = lstm_step(drive, h, c, W)
        found.append(torch.stack((i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), c)))
    names = ("input", "forget", "candidate", "output", "cell")
    return dict(zip(names, torch.stack(found, 2), strict=True))


def tempered(logits: Tensor, temperature: float) -> Tensor:
    """Probabilities of logits (..., V) at a temperature: below 1 bolder, above 1 more even.

    Raises:
        ValueError: the temperature is not positive.

    Source: ackley1985learning (the temperature of a stochastic choice).

    >>> tempered(torch.tensor([0.0, 1.0]), 0.5)
    tensor([0.1192, 0.8808])
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    return (logits / temperature).softmax(-1)


@torch.no_grad()
def sample(
    model: nn.Module, tokens: Tensor, length: int, temperature: float, generator: torch.Generator
) -> Tensor:
    """Go on with a text: read tokens (B, T), then draw `length` more, each fed back: (B, length).

    `model` maps tokens and a state to logits and a state, so each new token costs one step.

    Raises:
        ValueError: the temperature is not positive.

    Source: graves2013generating (what was drawn is fed back as input).

    >>> from fmbook.sequences.rnn import CharacterModel
    >>> model, start = CharacterModel(V=9, M=4, D=8, layer=LSTM), torch.zeros(2, 3).long()
    >>> sample(model, start, 5, 1.0, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 5])
    """
    logits, state = model(tokens)
    drawn: list[Tensor] = []
    while len(drawn) < length:
        chances = tempered(logits[:, -1], temperature)
        drawn.append(torch.multinomial(chances, 1, generator=generator))
        logits, state = model(drawn[-1], state)
    return torch.cat(drawn, 1) if drawn else tokens[:, :0]


def copy_text(B: int, n: int, kinds: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A task for the size of a memory: say n random tokens after having heard all of them.

    Inputs (B, 2 n): n tokens of 0 to `kinds` - 1, then n times the token `kinds`, which asks.
    Targets (B, n): the tokens again, in order. All that is known of them is in the state.

    Raises:
        ValueError: there is nothing to say.

    Source: graves2014neural (the copy task).

    >>> copy_text(2, 3, 8, torch.Generator().manual_seed(0))[0].shape
    torch.Size([2, 6])
    """
    if n < 1 or kinds < 1:
        raise ValueError(f"expected n and kinds from 1 on, got {n} and {kinds}")
    said = torch.randint(kinds, (B, n), generator=generator)
    return torch.cat((said, torch.full((B, n), kinds)), 1), said
