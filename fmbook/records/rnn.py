"""Plain recurrent networks beside windows on Shakespeare's characters, and at remembering a bit.

Left out: gates (see the recipe `lstm`), and any search for the best sizes and rates.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import cycle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmbook import data
from fmbook.sequences.rnn import RNN, CharacterModel, clip, remember, streams
from fmbook.train import train

__all__ = [
    "HELD_OUT",
    "Window",
    "bits",
    "clipping",
    "corpus",
    "detached",
    "latch",
    "learn",
    "measured",
    "point",
    "run",
    "seeded",
]

HELD_OUT = ("hamlet", "macbeth", "twelfth_night")
SEEDS, WINDOWS, SECONDS, STEPS = range(3), (2, 4, 8, 16, 32), 14.0, 1_000
LENGTHS, LATCH_SEEDS = (5, 10, 20, 30, 40), range(5)


@cache
def corpus() -> tuple[Tensor, Tensor, str]:
    """Shakespeare as character numbers: 39 works, the three held out, and the characters."""
    works = data.shakespeare()
    characters = "".join(sorted(set("".join(works.values()))))
    number = {character: i for i, character in enumerate(characters)}
    held = [name for name in works if any(play in name for play in HELD_OUT)]
    parts = [
        torch.tensor([number[c] for n, text in works.items() if (n in held) == kind for c in text])
        for kind in (False, True)
    ]
    return parts[0], parts[1], characters


class Window(nn.Module):
    """The last `size` tokens of (B, T) -> logits (B, T - size + 1, V): a perceptron, no state."""

    def __init__(self, size: int, V: int, M: int = 16, F: int = 256) -> None:
        super().__init__()
        self.size, self.embedding = size, nn.Embedding(V, M)
        self.hidden, self.readout = nn.Linear(size * M, F), nn.Linear(F, V)

    def forward(self, tokens: Tensor, state: None = None) -> tuple[Tensor, None]:
        seen = self.embedding(tokens.unfold(1, self.size, 1)).flatten(-2)
        return self.readout(torch.relu(self.hidden(seen))), None


def nats(model: nn.Module, x: Tensor, y: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Mean loss of the next character of (B, T), and the state after it; a window skips its rim."""
    logits, state = model(x, state)
    y = y[:, -logits.shape[1] :]
    return F.cross_entropy(logits.flatten(0, 1), y.flatten()), state


@torch.no_grad()
def bits(model: nn.Module, length: int = 100_000) -> float:
    """Bits per character on the held-out plays, read with the state carried along."""
    x, y = streams(corpus()[1][: length + 1], 20, 250)
    total, state = 0.0, None
    for inputs, targets in zip(x, y, strict=True):
        loss, state = nats(model, inputs, targets, state)
        total += loss.item() / len(x) / math.log(2)
    return total


def clipping(limit: float) -> Callable[..., None]:
    """What an optimizer does before each step: clip all gradients to a common length."""

    def clip_all(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        held = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter, gradient in zip(held, clip([p.grad for p in held], limit), strict=True):
            parameter.grad = gradient

    return clip_all


def detached(state: Any) -> Any:
    """A state without its past: the gradient ends here. A state is a tensor, a tuple, or None."""
    if isinstance(state, tuple):
        return tuple(detached(part) for part in state)
    return None if state is None else state.detach()


def learn(
    model: nn.Module, seconds: float, seed: int, rate: float = 6e-3, T: int = 32
) -> Iterator[tuple[int, float, float]]:
    """Train on Shakespeare for some CPU-seconds: yields (step, CPU-seconds so far, bits)."""
    generator, state = torch.Generator().manual_seed(seed), None
    start = int(torch.randint(10_000, (), generator=generator))
    x, y = streams(corpus()[0][start:], 32, T)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        nonlocal state
        loss, after = nats(model, *batch, state)
        state = detached(after)
        return loss

    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, fused=True)
    optimizer.register_step_pre_hook(clipping(1.0))
    began = time.process_time()
    for step, loss in train(cycle(zip(x, y, strict=True)), loss_of, optimizer):
        used = time.process_time() - began
        yield step, used, loss / math.log(2)
        if used > seconds:
            return
        optimizer.param_groups[0]["lr"] = rate * max(0.05, 1 - used / seconds)


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A model with weights of this seed; leaves torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def measured(make: Callable[[], nn.Module], seconds: float, seed: int) -> dict[str, float]:
    """Train a model on text, and say what it reached, in how many steps and CPU-seconds."""
    model = seeded(make, seed)
    rim = model.size - 1 if isinstance(model, Window) else 0  # read, and not predicted
    step, used, _ = list(learn(model, seconds, seed, T=32 + rim))[-1]
    return {"bits": round(bits(model), 3), "steps": step + 1, "cpu_seconds": round(used, 1)}


def latch(
    layer: Callable[[int, int], nn.Module], T: int, seed: int, steps: int = STEPS
) -> int | None:
    """Train a layer of 64 units to remember one bit for T steps; the step at which it can, or None.

    It can when the last 10 batches of 64 hold at most 3 mistakes.
    """
    model = seeded(lambda: CharacterModel(V=4, M=16, D=64, layer=layer), seed)
    generator, right = torch.Generator().manual_seed(seed), []

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        logits = model(batch[0])[0][:, -1, :2]
        right.append(int((logits.argmax(-1) == batch[1]).sum()))
        return F.cross_entropy(logits, batch[1])

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0, fused=True)
    optimizer.register_step_pre_hook(clipping(1.0))
    batches = (remember(64, T, generator) for _ in range(steps))
    for step, _ in train(batches, loss_of, optimizer):
        if sum(right[-10:]) >= 637:
            return step + 1
    return None


def ledger(runs: dict[str, list[dict[str, float]]], best: int) -> list[dict[str, Any]]:
    """Rows for the ledger of the book: a window of the best size, and the recurrent network."""
    V = len(corpus()[2])
    rows = []
    for method, model, found in (
        (f"window of {best} characters", Window(best, V), runs[str(best)]),
        ("recurrent network", CharacterModel(V, 64, 256, RNN), runs["rnn"]),
    ):
        means = {k: sum(f[k] for f in found) / len(found) for k in ("bits", "cpu_seconds")}
        failure = "blind beyond its window" if "window" in method else "forgets after some words"
        rows.append(
            {
                "task": "characters",
                "method": method,
                "quality": {"bits_per_character": round(means["bits"], 2)},
                "cpu_seconds": round(means["cpu_seconds"], 1),
                "parameters": sum(p.numel() for p in model.parameters()),
                "module": "fmbook.sequences.rnn",
                "decisions": ["characters as tokens", "sizes", "learning rate", "clipping at 1"],
                "failures": [f"{failure}: names and plots do not last"],
            }
        )
    return rows


def run() -> dict[str, Any]:
    """Windows and a recurrent network on text; how long the latter remembers a bit."""
    V = len(corpus()[2])
    models: dict[str, Callable[[], nn.Module]] = {str(n): partial(Window, n, V) for n in WINDOWS}
    models |= {"rnn": partial(CharacterModel, V, 64, 256, RNN)}
    text = {name: [measured(new, SECONDS, s) for s in SEEDS] for name, new in models.items()}
    best = min(WINDOWS, key=lambda n: sum(found["bits"] for found in text[str(n)]))
    return {
        "text": text,
        "latch": {str(T): [latch(RNN, T, seed) for seed in LATCH_SEEDS] for T in LENGTHS},
        "ledger": ledger(text, best),
    }


def point() -> tuple[float, float, float]:
    """The steps after which the first network can remember a bit for ten steps."""
    from fmbook.records import load

    recorded = load("rnn")["latch"]["10"][0]
    return latch(RNN, 10, 0) or STEPS, recorded, 60
