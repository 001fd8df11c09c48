"""Reading digits: LeNet beside a fully connected network of its size, over seeds.

Left out: ensembles, larger networks, and the 60,000 other digits of MNIST.
"""

import io
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmbook import data
from fmbook.train import train
from fmbook.vision.convolution import LeNet, shift

__all__ = [
    "accuracy",
    "batches",
    "digit_split",
    "fit",
    "new_model",
    "point",
    "run",
    "shuffled",
    "store_reader",
    "wiggled",
]

SEEDS, STEPS, LONG, SHIFTS = range(3), 600, 2500, range(9)
READER_STEPS = 4000
DECIDED = ["scanned, centred and scaled digits", "layers and their sizes", "steps and rates"]
Digits = tuple[Tensor, Tensor]


def digit_split() -> tuple[Digits, Digits]:
    """The digits as 8,000 to learn from and 2,000 to test on: images (B, 1, 28, 28), labels (B)."""
    images, labels = data.digits()
    order = np.random.default_rng(0).permutation(len(labels))
    pairs = [(torch.tensor(images[o])[:, None], torch.tensor(labels[o])) for o in
             (order[:8000], order[8000:])]  # fmt: skip
    return pairs[0], pairs[1]


def shuffled(digits: Digits) -> Digits:
    """The same digits with their pixels in another order, one order for all images."""
    order = torch.tensor(np.random.default_rng(1).permutation(28 * 28))
    return digits[0].flatten(1)[:, order].reshape(-1, 1, 28, 28), digits[1]


def wiggled(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned by up to 6 degrees, scaled by up to 5 %, moved by up to 1 pixel."""
    turn, scale, right, down = (torch.rand(4, len(images), generator=generator) - 0.5).split(1)
    turn, scale = 0.2 * turn[0], 1 + 0.1 * scale[0]
    rows = (
        torch.stack((scale * turn.cos(), -scale * turn.sin(), right[0] / 7), 1),
        torch.stack((scale * turn.sin(), scale * turn.cos(), down[0] / 7), 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def batches(digits: Digits, seed: int, steps: int, wiggle: bool = False) -> Iterator[Digits]:
    """Batches of 64 digits, drawn with replacement; wiggled if so asked."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(len(digits[1]), (64,), generator=generator)
        images = digits[0][chosen]
        yield wiggled(images, generator) if wiggle else images, digits[1][chosen]


def new_model(kind: str, seed: int) -> nn.Module:
    """A LeNet, or a fully connected network of about its size ("mlp"), before training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "lenet":
            return LeNet()
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 77), nn.ReLU(), nn.Linear(77, 10))


@torch.no_grad()
def accuracy(model: nn.Module, digits: Digits) -> float:
    """The share of digits that the model reads right."""
    return (model(digits[0]).argmax(1) == digits[1]).float().mean().item()  # type: ignore[no-any-return]


def fit(
    model: nn.Module, digits: Digits, seed: int, steps: int = STEPS, wiggle: bool = False
) -> Iterator[tuple[int, float]]:
    """Train by AdamW; the rate rises for a seventh of the steps, then falls: (step, loss)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=steps + 1, pct_start=0.15
    )

    def loss_of(batch: Digits) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    for step, loss in train(batches(digits, seed, steps, wiggle), loss_of, optimizer):
        rate.step()
        yield step, loss


def reading(kind: str, seed: int, split: tuple[Digits, Digits], steps: int, wiggle: bool) -> Any:
    """One model's accuracy on the way and on digits moved to the right, and its CPU-seconds."""
    model, seconds = new_model(kind, seed), 0.0
    learnt, test = split
    found: dict[str, Any] = {"steps": [], "accuracy": [], "seconds": []}
    start = time.process_time()
    for step, _ in fit(model, learnt, seed, steps, wiggle):
        if (step + 1) % (steps // 10) == 0:
            seconds += time.process_time() - start
            found["steps"].append(step + 1)
            found["seconds"].append(round(seconds, 2))
            found["accuracy"].append(round(accuracy(model, test), 4))
            start = time.process_time()
    moved = [accuracy(model, (shift(test[0], 0, n), test[1])) for n in SHIFTS]
    return found | {"moved": [round(share, 4) for share in moved]}


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What the ledger keeps of the two readers, means over the seeds."""
    kept = []
    for kind, method, failure in (
        ("lenet_long", "LeNet", "a digit moved by 6 pixels is read as another"),
        ("mlp", "multilayer perceptron", "a digit moved by 2 pixels is read as another"),
    ):
        runs = found[kind]
        model = new_model("mlp" if kind == "mlp" else "lenet", 0)
        kept.append({
            "task": "digits",
            "method": method,
            "quality": {"accuracy": round(float(np.mean([r["accuracy"][-1] for r in runs])), 4)},
            "cpu_seconds": round(float(np.mean([r["seconds"][-1] for r in runs])), 1),
            "parameters": sum(p.numel() for p in model.parameters()),
            "module": (
                "fmbook.vision.convolution" if kind == "lenet_long" else "fmbook.gradients.mlp"
            ),
            "decisions": DECIDED + ["small turns and shifts keep a digit"] * (kind != "mlp"),
            "failures": [failure],
        })  # fmt: skip
    return kept


def run() -> dict[str, Any]:
    """Both networks on digits as they are, wiggled, and with shuffled pixels; LeNet also longer."""
    split = digit_split()
    mixed = shuffled(split[0]), shuffled(split[1])
    plans = {
        "lenet": ("lenet", split, STEPS, False),
        "mlp": ("mlp", split, STEPS, False),
        "lenet_shuffled": ("lenet", mixed, STEPS, False),
        "mlp_shuffled": ("mlp", mixed, STEPS, False),
        "mlp_wiggled": ("mlp", split, LONG, True),
        "lenet_long": ("lenet", split, LONG, True),
    }
    found: dict[str, Any] = {
        name: [reading(kind, seed, digits, steps, wiggle) for seed in SEEDS]
        for name, (kind, digits, steps, wiggle) in plans.items()
    }
    return found | {"ledger": rows(found)}


def point() -> tuple[float, float, float]:
    """The accuracy of the first small run of the fully connected network."""
    from fmbook.records import load

    again = reading("mlp", 0, digit_split(), STEPS, False)
    return again["accuracy"][-1], load("convolution")["mlp"][0]["accuracy"][-1], 0.01


def store_reader(folder: Path) -> str:
    """Train the book's reader of digits, store its weights, and return what its card must say."""
    model = new_model("lenet", 0)
    for _ in fit(model, digit_split()[0], 0, READER_STEPS, wiggle=True):
        pass
    weights = {name: w.numpy().astype(np.float16) for name, w in model.state_dict().items()}
    raw = io.BytesIO()
    np.savez(raw, **weights)
    (folder / "digit_reader.npz").write_bytes(raw.getvalue())
    return sha256(raw.getvalue()).hexdigest()
