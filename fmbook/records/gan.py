"""The adversarial game on digits, cure by cure and over seeds, and mode collapse on a ring.

Left out: labels, longer training than a minute or two, and any search for better sizes.
"""

import base64
import time
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fmbook.generation.gan import (
    Discriminator,
    Game,
    Generator,
    frechet_distance,
    moving_average,
    play,
)
from fmbook.records.convolution import digit_split
from fmbook.vision.convolution import digit_reader

__all__ = [
    "CURES",
    "WITHOUT",
    "distance",
    "images_of",
    "modes",
    "new_players",
    "packed",
    "point",
    "real_batches",
    "ring",
    "ring_game",
    "run",
    "samples",
    "walk",
]

SEEDS, EVERY = range(3), 150
LONG = 2250  # rounds: within a minute of one core, even of a busy one
PLAIN = Game(kind="non-saturating")
CURES = {  # how it is played, spectral norm, rounds: each adds one; the average is in all
    "plain": (PLAIN, False, 600),
    "spectral": (PLAIN, True, 600),
    "hinge": (Game(), True, LONG),
}
WITHOUT = {  # the last game with one setting of its optimizers changed
    "memory": (Game(betas=(0.5, 0.99)), True, 600),
    "slow": (Game(rates=(1e-3, 1e-3)), True, 600),
}


@cache
def digits() -> tuple[Tensor, Tensor, Tensor]:
    """Images to learn from, test images, and what the reader sees in those (2000, 84)."""
    (images, _), (test, _) = digit_split()
    with torch.no_grad():
        return images, test, digit_reader().features(test)


def real_batches(seed: int, rounds: int) -> Iterator[Tensor]:
    """Batches of 32 real digits (32, 1, 28, 28), drawn with replacement."""
    images, generator = digits()[0], torch.Generator().manual_seed(seed)
    for _ in range(rounds):
        yield images[torch.randint(len(images), (32,), generator=generator)]


def new_players(seed: int, spectral: bool) -> tuple[Generator, Discriminator]:
    """Both networks before the first round; leaves torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(), Discriminator(spectral=spectral)


@torch.no_grad()
def samples(state: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """The images (B, 1, 28, 28) that a generator with these weights makes of noise z (B, Z)."""
    generator = Generator(Z=z.shape[1])
    generator.load_state_dict(dict(state))
    return generator.eval()(z)  # type: ignore[no-any-return]


@torch.no_grad()
def distance(images: Tensor) -> float:
    """The Frechet distance of images to the 2,000 test digits, in the reader's features."""
    return frechet_distance(digit_reader().features(images), digits()[2])


def noise(seed: int, n: int = 2000) -> Tensor:
    """Noise (n, 64) for measuring, always the same."""
    return torch.randn(n, 64, generator=torch.Generator().manual_seed(seed))


def contest(seed: int, cure: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """One game: distances of the generator and of its average on the way, and the average."""
    game, spectral, rounds = (CURES | WITHOUT)[cure]
    players = new_players(seed, spectral)
    average, start = players[0].state_dict(), time.process_time()
    found: dict[str, Any] = {"rounds": [], "live": [], "average": [], "told": [], "fooled": []}
    seconds, fresh = 0.0, torch.Generator().manual_seed(1_000 + seed)
    games = play(players, real_batches(seed, rounds), game, fresh)
    for n, (told, fooled) in enumerate(games, start=1):
        average = moving_average(average, players[0].state_dict(), min(0.995, n / (n + 9)))
        if n % EVERY == 0:
            seconds += time.process_time() - start
            found["rounds"].append(n)
            found["live"].append(round(distance(samples(players[0].state_dict(), noise(99))), 1))
            found["average"].append(round(distance(samples(average, noise(99))), 1))
            found["told"].append(round(told, 3))
            found["fooled"].append(round(fooled, 3))
            start = time.process_time()
    return found | {"cpu_seconds": round(seconds, 1)} | census(average), average


def census(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """How many of 2,000 images the reader takes for each digit, and how sure it is on average."""
    sure, digit = digit_reader()(samples(state, noise(98))).softmax(1).max(1)
    return {"digits": digit.bincount(minlength=10).tolist(), "sure": round(sure.mean().item(), 3)}


def packed_images(images: Tensor) -> str:
    """Grey images as text: bytes, compressed, base64."""
    raw = (images * 255).round().byte().numpy().tobytes()
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def images_of(text: str) -> Tensor:
    """The images (B, 28, 28) that `packed_images` made text of."""
    raw = zlib.decompress(base64.b64decode(text))
    return torch.tensor(np.frombuffer(raw, dtype=np.uint8).copy()).reshape(-1, 28, 28) / 255


def walk(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Points (steps, Z) from one noise vector to another along the arc between them."""
    share = torch.linspace(0, 1, steps)[:, None]
    angle = torch.acos(nn.functional.cosine_similarity(start, end, dim=0))
    return (((1 - share) * angle).sin() * start + (share * angle).sin() * end) / angle.sin()


def walks(state: Mapping[str, Tensor]) -> str:
    """Three walks of eleven steps, between noise whose images the reader is surest about."""
    z = noise(97, 300)
    sure, digit = digit_reader()(samples(state, z)).softmax(1).max(1)
    best = [int((sure * (digit == d)).argmax()) for d in digit.bincount().topk(6).indices]
    pairs = zip(best[::2], best[1::2], strict=True)
    return packed_images(samples(state, torch.cat([walk(z[a], z[b], 11) for a, b in pairs])))


def ring(n: int, generator: torch.Generator) -> Tensor:
    """Points (n, 2) from eight small clouds on a circle."""
    angle = torch.randint(8, (n,), generator=generator) * torch.pi / 4
    centres = torch.stack((angle.cos(), angle.sin()), 1)
    return centres + 0.05 * torch.randn(n, 2, generator=generator)


def packed(pack: int) -> nn.Module:
    """A small discriminator that judges `pack` points of the ring together."""
    return nn.Sequential(nn.Unflatten(0, (-1, pack)), nn.Flatten(), *dense(2 * pack, 1))


def dense(inputs: int, outputs: int) -> list[nn.Module]:
    """Two hidden layers of 64 rectifiers."""
    return [nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(),
            nn.Linear(64, outputs)]  # fmt: skip


def modes(points: Tensor) -> int:
    """On how many of the eight clouds at least 1 % of the points lie, within 3 deviations."""
    angle = torch.arange(8) * torch.pi / 4
    away, cloud = torch.cdist(points, torch.stack((angle.cos(), angle.sin()), 1)).min(1)
    return int((cloud[away < 0.15].bincount(minlength=8) >= len(points) / 100).sum())


def ring_game(seed: int, pack: int, rounds: int = 1000) -> tuple[list[int], Tensor]:
    """How many clouds a hasty generator serves at ten marks, and 1,000 of its last points."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        players = nn.Sequential(*dense(2, 2)), packed(pack)
    players[0].Z = 2  # type: ignore[assignment]
    fresh, found = torch.Generator().manual_seed(seed), []
    batches = (ring(64, fresh) for _ in range(rounds))
    z = torch.randn(1000, 2, generator=torch.Generator().manual_seed(99))
    game = Game(kind="non-saturating", rates=(3e-3, 1e-3), betas=(0.5, 0.99))
    for n, _ in enumerate(play(players, batches, game, fresh), start=1):
        if n % (rounds // 10) == 0:
            with torch.no_grad():
                found.append(modes(players[0](z)))
    with torch.no_grad():
        return found, players[0](z)


def floor() -> dict[str, float]:
    """What the distance says of real digits, without their ones, blurred, and of noise."""
    (images, _), (test, truth) = digit_split()
    grey = torch.rand(2000, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    blurred = nn.functional.avg_pool2d(test, 3, 1, 1)
    kinds = {"real": images[:2000], "no ones": test[truth != 1], "blurred": blurred, "noise": grey}
    return {name: round(distance(x), 1) for name, x in kinds.items()}


def seed_of(seed: int) -> dict[str, Any]:
    """Everything that is recorded of one seed."""
    found: dict[str, Any] = {}
    for name in (*WITHOUT, *CURES):
        found[name], average = contest(seed, name)
    found["ring"] = {str(pack): ring_game(seed, pack)[0] for pack in (1, 4)}
    images = {"samples": packed_images(samples(average, noise(96, 40))), "walks": walks(average)}
    return found | (images if seed == 0 else {})


def together(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The seeds side by side, with the ledger's row."""
    names = [*CURES, *WITHOUT, "ring"]
    record: dict[str, Any] = {name: [one[name] for one in found] for name in names}
    last = [one["average"][-1] for one in record["hinge"]]
    row = {
        "task": "digits",
        "method": "adversarial network",
        "quality": {"frechet_distance": round(float(np.mean(last)), 1)},
        "cpu_seconds": round(float(np.mean([one["cpu_seconds"] for one in record["hinge"]])), 1),
        "parameters": sum(p.numel() for p in new_players(0, False)[0].parameters()),
        "module": "fmbook.generation.gan",
        "decisions": ["sizes of two networks", "two rates, the loss, the norm", "when to stop"],
        "failures": ["now and then strokes that are right piece by piece and make no digit"],
    }
    images = {"samples": found[0]["samples"], "walks": found[0]["walks"]}
    return record | images | {"floor": floor(), "ledger": [row]}


def run() -> dict[str, Any]:
    """All seeds, one after the other."""
    return together([seed_of(seed) for seed in SEEDS])


def point() -> tuple[float, float, float]:
    """On how many clouds of the ring the first game with packing ends."""
    from fmbook.records import load

    return ring_game(0, 4)[0][-1], load("gan")["ring"][0]["4"][-1], 3
