"""Induction heads: attention-only models of one and of two layers learn to copy, over seeds.

Left out: longer training, and larger models.
"""

import copy
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fmbook.train import train
from fmbook.transformers.attention import AttentionOnly, head_scores, repeated_tokens

__all__ = ["batches", "copy_loss", "falls", "new_model", "point", "run", "without"]

SEEDS, STEPS, EVERY = range(5), 400, 10


def batches(seed: int, steps: int, periods: tuple[int, int] = (8, 24)) -> Iterator[Tensor]:
    """Batches (32, 2 period) of random tokens said twice, each with a period drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        period = int(torch.randint(periods[0], periods[1] + 1, (), generator=generator))
        yield repeated_tokens(32, period, 64, generator)


def copy_loss(model: AttentionOnly, tokens: Tensor) -> Tensor:
    """Cross-entropy in nats a token, over the second half: what can be known is the copy."""
    period = tokens.shape[1] // 2
    logits = model(tokens)[:, period:-1]
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, period + 1 :].flatten())


def new_model(seed: int, layers: int) -> AttentionOnly:
    """The experiment's model before training; leaves torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AttentionOnly(V=64, D=64, N=2, layers=layers)


def without(model: AttentionOnly, heads: Iterable[tuple[int, int]]) -> AttentionOnly:
    """A copy of a model in which some heads, each (layer, number) from 0 on, write nothing."""
    hurt = copy.deepcopy(model)
    for layer, n in heads:
        output: Any = hurt.attentions[layer].output
        output.weight.data[:, 32 * n : 32 * n + 32] = 0.0
    return hurt


@torch.no_grad()
def removals(model: AttentionOnly, tokens: Tensor) -> dict[str, Any]:
    """The loss without each head alone [layer][head], and without each layer's heads [layer]."""
    layers, heads = range(len(model.attentions)), range(2)

    def loss(removed: list[tuple[int, int]]) -> float:
        return round(copy_loss(without(model, removed), tokens).item(), 3)

    return {
        "without_head": [[loss([(layer, n)]) for n in heads] for layer in layers],
        "without_layer": [loss([(layer, n) for n in heads]) for layer in layers],
    }


def curves(
    seed: int, layers: int, periods: tuple[int, int] = (8, 24), steps: int = STEPS
) -> dict[str, Any]:
    """Mean loss and head scores of every tenth step, CPU-seconds, and the losses without heads."""
    model, window, start = new_model(seed, layers), [], time.process_time()
    held_out = repeated_tokens(32, 16, 64, torch.Generator().manual_seed(1_000 + seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3, weight_decay=0.0, fused=True)
    found: dict[str, Any] = {"loss": [], "previous": [], "induction": []}
    steps_of = train(batches(seed, steps, periods), lambda x: copy_loss(model, x), optimizer)
    for _, loss in steps_of:
        window.append(loss)
        if len(window) == EVERY:
            previous, induction = head_scores(model.weights(held_out), 16)
            found["loss"].append(round(sum(window) / EVERY, 3))
            for name, score in (("previous", previous), ("induction", induction)):
                found[name].append([[round(x, 3) for x in row] for row in score.mean(1).tolist()])
            window = []
    found["cpu_seconds"] = round(time.process_time() - start, 1)
    return found | removals(model, held_out)


def falls(losses: list[float], below: float = 2.0) -> int:
    """The first step by which the mean loss is below `below` nats, or -1."""
    return next((EVERY * (i + 1) for i, loss in enumerate(losses) if loss < below), -1)


def run() -> dict[str, Any]:
    """Both depths with changing periods, and one layer where the period is always 16."""
    return {
        "steps": [EVERY * (i + 1) for i in range(STEPS // EVERY)],
        "one_layer": [curves(seed, 1) for seed in SEEDS],
        "two_layers": [curves(seed, 2) for seed in SEEDS],
        "one_layer_fixed": [curves(seed, 1, (16, 16)) for seed in SEEDS],
    }


def point() -> tuple[float, float, float]:
    """The step by which the first two-layer model has fallen below 2 nats."""
    from fmbook.records import load

    recorded = falls(load("attention")["two_layers"][0]["loss"])
    return falls(curves(0, 2, steps=recorded + 60)["loss"]), recorded, 40
