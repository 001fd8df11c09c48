"""Digits by diffusion: what the network predicts, how it is sampled, and guidance, over seeds.

Left out: longer training, solvers of higher order, any search for better sizes.
Convolutions run in bfloat16, which pays where the processor has instructions for it; else set HALF
to False: the results are the same, the seconds are not.
"""

import hashlib
import io
import re
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fmbook.diffusion.diffusion import Process, UNet
from fmbook.generation.gan import frechet_distance, moving_average
from fmbook.records.convolution import digit_split
from fmbook.records.gan import digits, images_of
from fmbook.train import train
from fmbook.vision.convolution import digit_reader

__all__ = [
    "KINDS",
    "MAIN",
    "batches",
    "distance",
    "fit",
    "images_of",
    "judged",
    "labels_for",
    "new_model",
    "noise",
    "pictures",
    "point",
    "run",
    "stored",
]

SEEDS, SHORT, MIDDLE, LONG, B = range(3), 150, 500, 1000, 64
SCALES = (1.0, 1.3, 2.0)
HALF = True
ROOT = Path(__file__).parent.parent
FILE, CARD = ROOT / "checkpoints" / "digit_diffuser.npz", ROOT / "diffusion" / "digit_diffuser.toml"
KINDS = {target: Process(target=target) for target in ("data", "velocity", "noise")}
MAIN = Process(scale=1.3, middle=True)
EVEN = Process(scale=1.4)  # the same, but all times alike; at the scale that is best for it
MINUTES = {1: 750, 2: 1500}  # CPU-minutes and the steps that they hold
WALKS = {  # ways back for a network that predicts noise on DDPM's own path
    "ddim_10": Process(path="linear", target="noise", steps=10),
    "ddpm_10": Process(path="linear", target="noise", steps=10, fresh=True),
    "ddpm_100": Process(path="linear", target="noise", steps=100, fresh=True),
}
Digits = tuple[Tensor, Tensor]


class Both:
    """Two optimizers as one: Muon for the inner matrices, AdamW for the rest."""

    def __init__(self, model: nn.Module) -> None:
        inner = [
            w for name, w in model.named_parameters() if ".first." in name or ".second." in name
        ]
        matrices = [w for w in inner if w.ndim == 2]
        rest = [w for w in model.parameters() if not any(w is m for m in matrices)]
        self.parts = (
            torch.optim.Muon(matrices, lr=0.06, momentum=0.95, weight_decay=0.0),
            torch.optim.AdamW(rest, lr=2e-3, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
        )
        self.rates = [part.param_groups[0]["lr"] for part in self.parts]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def slow(self, share: float) -> None:
        """Set both rates to a share of what they were."""
        for part, rate in zip(self.parts, self.rates, strict=True):
            part.param_groups[0]["lr"] = share * rate


def half(model: nn.Module) -> Any:
    """The model with its convolutions and matrix products in bfloat16, if HALF."""

    def run(noisy: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(noisy.device.type, torch.bfloat16, enabled=HALF):
            return model(noisy, t, labels)  # type: ignore[no-any-return]

    return run


def new_model(seed: int) -> UNet:
    """A U-Net before training; leaves torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet()


def batches(seed: int, steps: int) -> Iterator[Digits]:
    """Batches of 64 digits, -1 to 1, with their labels, drawn with replacement."""
    (images, labels), _ = digit_split()
    chance = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(len(labels), (B,), generator=chance)
        yield 2 * images[chosen] - 1, labels[chosen]


def fit(model: nn.Module, process: Process, seed: int, steps: int) -> Iterator[tuple[float, Any]]:
    """Train; the rate falls from the middle on. Yields the loss and the averaged weights."""
    both, chance = Both(model), torch.Generator().manual_seed(1_000 + seed)
    average = {name: w.clone() for name, w in model.state_dict().items()}

    def loss_of(batch: Digits) -> Tensor:
        return process.loss(half(model), *batch, chance)

    for n, loss in train(batches(seed, steps), loss_of, both):  # type: ignore[arg-type]
        average = moving_average(average, model.state_dict(), min(0.99, (n + 1) / (n + 10)))
        both.slow(min(1.0, (n + 2) / 20, 2 * (steps - n) / steps))
        yield loss, average


def noise(seed: int, n: int) -> Tensor:
    """Noise (n, 1, 28, 28) to start from, always the same."""
    return torch.randn(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def labels_for(n: int) -> Tensor:
    """Labels (n): 0 to 9, again and again."""
    return torch.arange(n) % 10


def pictures(
    state: Mapping[str, Tensor],
    process: Process,
    start: Tensor,
    labels: Tensor,
    *,
    seed: int = 7,
    known: Digits | None = None,
) -> Tensor:
    """The images (B, 1, 28, 28), 0 to 1, that weights make of noise; 250 at a time."""
    model = UNet()
    model.load_state_dict(dict(state))
    chance, made = torch.Generator().manual_seed(seed), []
    for some, names in zip(start.split(250), labels.split(250), strict=True):
        *_, (last, _) = process.sample(half(model), some, names, chance, known)
        made.append(last)
    return (torch.cat(made).clamp(-1, 1) + 1) / 2


@torch.no_grad()
def judged(images: Tensor, labels: Tensor) -> dict[str, float]:
    """The distance to the 2,000 test digits, and how often the reader sees the label asked for."""
    agree = (digit_reader()(images).argmax(1) == labels).float().mean().item()
    return {"distance": round(distance(images), 1), "agreement": round(agree, 3)}


@torch.no_grad()
def distance(images: Tensor) -> float:
    """The Frechet distance to the 2,000 test digits: as the adversarial chapter measures it."""
    return frechet_distance(digit_reader().features(images), digits()[2])


def judge(state: Mapping[str, Tensor], process: Process, n: int = 2000) -> dict[str, float]:
    """What 2,000 images, 200 of each digit, are worth."""
    return judged(pictures(state, process, noise(99, n), labels_for(n)), labels_for(n))


def short(seed: int, kind: str) -> dict[str, Any]:
    """A short training on one path with one target, and what its images are worth."""
    start = time.process_time()
    *_, (_, average) = fit(new_model(seed), KINDS[kind], seed, SHORT)
    seconds = round(time.process_time() - start, 1)
    return {**judge(average, KINDS[kind]), "cpu_seconds": seconds}


def walked(seed: int) -> dict[str, dict[str, float]]:
    """A short training as DDPM does it, and what each way back makes of it."""
    *_, (_, average) = fit(new_model(seed), WALKS["ddpm_10"], seed, SHORT)
    return {way: judge(average, process) for way, process in WALKS.items()}


def within(minutes: int, process: Process, seed: int) -> dict[str, float]:
    """A training of as many steps as some CPU-minutes hold, and its worth at the end."""
    steps, start = MINUTES[minutes], time.process_time()
    *_, (_, average) = fit(new_model(seed), process, seed, steps)
    seconds = round(time.process_time() - start, 1)
    return {"steps": steps, "cpu_seconds": seconds, **judge(average, process)}


def long(seed: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The main recipe: its worth in the middle and at the end, there by the scale of guidance."""
    seconds, start = 0.0, time.process_time()
    found: dict[str, Any] = {"steps": [], "cpu_seconds": [], "distance": [], "agreement": []}
    for n, (_, average) in enumerate(fit(new_model(seed), MAIN, seed, LONG), start=1):
        if n in (MIDDLE, LONG):
            seconds += time.process_time() - start
            worth = judge(average, MAIN)
            for name, value in {"steps": n, "cpu_seconds": round(seconds, 1), **worth}.items():
                found[name].append(value)
            start = time.process_time()
    last = {"distance": found["distance"][-1], "agreement": found["agreement"][-1]}
    scales = {s: judge(average, replace(MAIN, scale=s)) for s in SCALES if s != MAIN.scale}
    scales[MAIN.scale] = last
    return found | {"scales": {f"{scale:g}": scales[scale] for scale in SCALES}}, average


def store(state: Mapping[str, Tensor]) -> None:
    """Keep the weights in 16 bits beside the book's other checkpoints, and say so on their card."""
    raw = io.BytesIO()
    kept = {name: w.half().numpy() for name, w in state.items() if name != "pitch"}
    np.savez(raw, **kept)  # type: ignore[arg-type]
    FILE.write_bytes(raw.getvalue())
    digest = hashlib.sha256(raw.getvalue()).hexdigest()
    said = re.sub("(?m)^sha256 = .*", f'sha256 = "{digest}"', CARD.read_text("utf8"))
    CARD.write_text(said, "utf8")


def stored() -> UNet:
    """The network of seed 0 after its long training, as its card describes it.

    Raises:
        ValueError: the file is not that of its card.
    """
    raw = FILE.read_bytes()
    card = tomllib.loads(CARD.read_text("utf8"))
    if hashlib.sha256(raw).hexdigest() != card["sha256"]:
        raise ValueError("checkpoints/digit_diffuser.npz is not the file of its card")
    model = UNet()
    with np.load(io.BytesIO(raw)) as kept:
        weights = {name: torch.tensor(kept[name], dtype=torch.float32) for name in kept.files}
    model.load_state_dict(weights | {"pitch": model.pitch})
    return model.eval().requires_grad_(False)


def row(mains: list[dict[str, Any]]) -> dict[str, Any]:
    """What the ledger keeps of the long trainings."""
    return {
        "task": "digits",
        "method": "diffusion (flow matching)",
        "quality": {
            "frechet_distance": round(float(np.mean([one["distance"][-1] for one in mains])), 1)
        },
        "cpu_seconds": round(float(np.mean([one["cpu_seconds"][-1] for one in mains])), 1),
        "parameters": sum(p.numel() for p in new_model(0).parameters()),
        "module": "fmbook.diffusion.diffusion",
        "decisions": ["a path to noise, what is predicted on it and at which times",
                      "the shape of the network",
                      "rates, steps of training and of sampling, the scale of guidance"],
        "failures": ["a stroke too many or too few, so that a digit is read as another"],
    }  # fmt: skip


def run() -> dict[str, Any]:
    """Short, long and timed trainings for each seed; stores the long one's network of seed 0."""
    mains = []
    for seed in SEEDS:
        found, average = long(seed)
        mains.append(found)
        if seed == 0:
            store(average)
    return {
        "main": mains,
        "short": {kind: [short(seed, kind) for seed in SEEDS] for kind in KINDS},
        "minutes": {n: [within(n, MAIN, seed) for seed in SEEDS] for n in MINUTES},
        "even": [within(1, EVEN, seed) for seed in SEEDS],
        "walks": [walked(seed) for seed in SEEDS],
        "ledger": [row(mains)],
    }


def point() -> tuple[float, float, float]:
    """How often the reader sees the digit asked for, of 1,000 by the stored network."""
    from fmbook.records import load

    again = judge(stored().state_dict(), MAIN, 1000)["agreement"]
    return again, load("diffusion")["main"][0]["agreement"][-1], 0.04
