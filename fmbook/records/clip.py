"""Two towers on coloured digits, on scenes that are counted and negated, and on named emoji.

Left out: larger towers and batches, real photographs, and any search for better sizes.
"""

import hashlib
import io
import math
import time
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fmbook.emoji import emoji
from fmbook.multimodal.clip import (
    CLIP,
    ImageTower,
    TextTower,
    Words,
    contrastive_loss,
    modality_gap,
    recall,
    zero_shot,
)
from fmbook.records.convolution import digit_split
from fmbook.train import train
from fmbook.transformers.transformer import Sizes

__all__ = [
    "COLOURS",
    "DIGITS",
    "KINDS",
    "THINGS",
    "caption",
    "coloured",
    "digit_batches",
    "digit_model",
    "digit_scores",
    "emoji_model",
    "emoji_split",
    "fit",
    "gap_of",
    "never_together",
    "pictures",
    "point",
    "run",
    "scene",
    "scene_scores",
    "test_digits",
    "wiggled",
]

SEEDS, STEPS, EVERY, SHORT = range(3), 700, 100, 100
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
COLOURS = {
    "red": (1.0, 0.15, 0.15), "green": (0.1, 0.8, 0.2), "blue": (0.2, 0.35, 1.0),
    "yellow": (1.0, 0.9, 0.1), "purple": (0.65, 0.2, 0.85), "white": (1.0, 1.0, 1.0),
}  # fmt: skip
KINDS = ("a {colour} {digit}", "a {digit} in {colour}", "{colour} {digit}")
TEMPERATURES = (0.01, None, 1.0)  # kept fixed; None: learned
THINGS = ["red apple", "automobile", "key", "star", "evergreen tree", "fish", "dog face", "banana",
          "red heart", "umbrella", "hammer", "cat face"]  # fmt: skip
NAMES = ["apple", "car", "key", "star", "tree", "fish", "dog", "banana", "heart", "umbrella",
         "hammer", "cat"]  # fmt: skip
COUNTS = ["one", "two", "three", "four"]
SHARES = {"rare": 0.02, "frequent": 0.8}  # of captions that count, and that negate
EMOJI_STEPS, HELD = 1000, 100
CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "emoji_clip.npz"
Pairs = tuple[Tensor, list[str]]


def new_model(words: Words, seed: int, temperature: float = 0.07) -> CLIP:
    """Both towers before training, 32 numbers wide at the end; torch's generator stays as it was.

    Embeddings start small: a word that is met once should not outweigh what is learned.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = Sizes(V=len(words), D=64, N=2, layers=1, context=16)
        model = CLIP(ImageTower(D=32), TextTower(sizes, D=32), temperature)
        torch.nn.init.normal_(model.text.encoder.embedding.weight, std=0.1)  # type: ignore
    return model


def fit(
    model: CLIP, words: Words, batches: Iterable[Pairs], steps: int, *, learn: bool = True
) -> Iterator[tuple[int, float]]:
    """Train on batches of images (B, 3, H, W) and captions, the temperature too unless told not to.

    The rate rises for 20 steps and falls to 0 along a cosine. Yields (step, loss in nats).
    """
    model.log_scale.requires_grad_(learn)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1, fused=True)

    def loss_of(batch: Pairs) -> Tensor:
        images, captions = batch
        texts = model.texts(words.ids(captions))
        return contrastive_loss(model.images(images), texts, model.temperature)

    def paced() -> Iterator[Pairs]:
        for step, batch in enumerate(batches):
            rate = 3e-3 * min(1, (step + 1) / 20) * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.param_groups[0]["lr"] = rate
            yield batch

    yield from train(paced(), loss_of, optimizer)


# Coloured digits: ten digits, six colours, sixty captions, twelve of which are never shown -------


def never_together() -> set[tuple[int, int]]:
    """The 12 of 60 pairs (digit, colour) that no training image shows; each digit has others."""
    return {(d, c) for d in range(10) for c in range(len(COLOURS)) if (d + 2 * c) % 5 == 0}


def caption(digit: int, colour: int, kind: int = 0) -> str:
    """What is said of a digit: "a red seven", "a seven in red" or "red seven"."""
    return KINDS[kind].format(digit=DIGITS[digit], colour=list(COLOURS)[colour])


def coloured(images: Tensor, colours: Tensor) -> Tensor:
    """Grey digits (B, 1, H, W) as light of these colours (B): (B, 3, H, W)."""
    return images * torch.tensor(list(COLOURS.values()))[colours][:, :, None, None]


def digit_batches(seed: int, steps: int, size: int = 128) -> Iterator[Pairs]:
    """Batches of coloured digits with captions of three kinds, none of a pair never to be shown."""
    (images, labels), _ = digit_split()
    generator, hidden = torch.Generator().manual_seed(seed), never_together()
    may = torch.tensor([[(d, c) not in hidden for c in range(len(COLOURS))] for d in range(10)])
    for _ in range(steps):
        chosen = torch.randint(len(labels), (size,), generator=generator)
        digits = labels[chosen]
        colours = torch.multinomial(may[digits].float(), 1, generator=generator)[:, 0]
        kinds = torch.randint(len(KINDS), (size,), generator=generator)
        rows = zip(digits.tolist(), colours.tolist(), kinds.tolist(), strict=True)
        yield coloured(images[chosen], colours), [caption(*row) for row in rows]


def digit_model(seed: int, temperature: float = 0.07) -> tuple[CLIP, Words]:
    """The model for coloured digits before training, and its words."""
    every = [caption(d, c, k) for d in range(10) for c in range(6) for k in range(len(KINDS))]
    words = Words(every)
    return new_model(words, seed, temperature), words


@cache
def test_digits() -> tuple[Tensor, Tensor, Tensor]:
    """The 2,000 test digits in all colours: images (2000, 3, 28, 28), digits and colours (2000)."""
    _, (images, digits) = digit_split()
    colours = torch.randint(6, (len(digits),), generator=torch.Generator().manual_seed(9))
    return coloured(images, colours), digits, colours


@torch.no_grad()
def digit_scores(model: CLIP, words: Words) -> dict[str, float]:
    """Shares right: among 60 captions on pairs shown and never shown; by digit, by colour alone."""
    images, digits, colours = test_digits()
    seen = model.images(images)
    pairs, never = zip(digits.tolist(), colours.tolist(), strict=True), never_together()
    hidden = torch.tensor([pair in never for pair in pairs])
    every = [caption(d, c) for d in range(10) for c in range(6)]
    right = zero_shot(seen, model.texts(words.ids(every))[:, None]) == 6 * digits + colours

    def by_name(names: list[str], truth: Tensor) -> float:
        prompts = model.texts(words.ids([f"a {name}" for name in names]))[:, None]
        return (zero_shot(seen, prompts) == truth).float().mean().item()

    shares = {
        "shown": right[~hidden].float().mean().item(),
        "never": right[hidden].float().mean().item(),
        "digit": by_name(DIGITS, digits),
        "colour": by_name(list(COLOURS), colours),
    }
    return {name: round(share, 4) for name, share in shares.items()}


@torch.no_grad()
def gap_of(model: CLIP, words: Words) -> float:
    """The modality gap between 2,000 test digits and their captions."""
    images, digits, colours = test_digits()
    said = [caption(*pair) for pair in zip(digits.tolist(), colours.tolist(), strict=True)]
    return round(modality_gap(model.images(images), model.texts(words.ids(said))), 4)


def digit_run(seed: int, steps: int, fixed: float | None = None) -> dict[str, Any]:
    """Scores, gap and temperature every 100 steps; `fixed` keeps the temperature where it is."""
    model, words = digit_model(seed, fixed or 0.07)
    found: dict[str, Any] = {"steps": [0], "gap": [gap_of(model, words)], "scores": [],
                             "temperature": [round(model.temperature.item(), 4)]}  # fmt: skip
    seconds, start = 0.0, time.process_time()
    for step, _ in fit(model, words, digit_batches(seed, steps), steps, learn=fixed is None):
        if (step + 1) % EVERY == 0:
            seconds += time.process_time() - start
            found["steps"].append(step + 1)
            found["scores"].append(digit_scores(model, words))
            found["gap"].append(gap_of(model, words))
            found["temperature"].append(round(model.temperature.item(), 4))
            start = time.process_time()
    return found | {"cpu_seconds": round(seconds, 1)}


# Scenes: up to four things on a sheet, counted and negated in few or in many captions -----------


@cache
def things() -> Tensor:
    """Twelve emoji as ink on black (12, 3, 16, 16), in the order of NAMES."""
    images, names = emoji()
    chosen = torch.tensor(images[[names.index(thing) for thing in THINGS]])
    return F.avg_pool2d(1 - chosen, 2)


def scene(kinds: list[int], generator: torch.Generator) -> Tensor:
    """A sheet (3, 32, 32) with each of these things, up to four, in a quarter of its own."""
    sheet = torch.zeros(3, 2, 16, 2, 16)
    places = torch.randperm(4, generator=generator)
    for place, kind in zip(places.tolist(), kinds, strict=False):
        across, down = torch.randint(-1, 2, (2,), generator=generator).tolist()
        sheet[:, place // 2, :, place % 2] = things()[kind].roll((across, down), (1, 2))
    return sheet.reshape(3, 32, 32)


def scene_batch(generator: torch.Generator, share: float, size: int = 48) -> Pairs:
    """Half the sheets hold one to four of a thing, half two different ones; captions say which.

    A `share` of the captions counts ("two key"), or says what is not there ("key without dog").
    """
    sheets, captions = [], []
    for row in range(size):
        a, b = torch.randperm(len(NAMES), generator=generator)[:2].tolist()
        n = int(torch.randint(4, (), generator=generator))
        more = bool(torch.rand((), generator=generator) < share)
        if row % 2:
            sheets.append(scene([a] * (n + 1), generator))
            counted, denied = f"{COUNTS[n]} {NAMES[a]}", f"{NAMES[a]} without {NAMES[b]}"
            captions.append((denied if row % 4 == 1 else counted) if more else NAMES[a])
        else:
            sheets.append(scene([a, b], generator))
            captions.append(f"{NAMES[a]} and {NAMES[b]}")
    return torch.stack(sheets), captions


@torch.no_grad()
def scene_scores(model: CLIP, words: Words) -> dict[str, float]:
    """Shares right of 480 questions each: name the thing, count it, prefer the sheet without b."""
    fresh = torch.Generator().manual_seed(77)
    found = {"name": 0.0, "count": 0.0, "without": 0.0}
    names = model.texts(words.ids(NAMES))
    for a in range(len(NAMES)):
        n = torch.arange(40) % 4
        sheets = model.images(torch.stack([scene([a] * (int(k) + 1), fresh) for k in n]))
        counted = model.texts(words.ids([f"{count} {NAMES[a]}" for count in COUNTS]))
        found["name"] += ((sheets @ names.T).argmax(1) == a).float().mean().item() / 12
        found["count"] += ((sheets @ counted.T).argmax(1) == n).float().mean().item() / 12
        others = [b for b in range(len(NAMES)) if b != a for _ in range(4)][:40]
        alone = model.images(torch.stack([scene([a], fresh) for _ in others]))
        both = model.images(torch.stack([scene([a, b], fresh) for b in others]))
        asked = model.texts(words.ids([f"{NAMES[a]} without {NAMES[b]}" for b in others]))
        better = (alone * asked).sum(1) > (both * asked).sum(1)
        found["without"] += better.float().mean().item() / 12
    return {name: round(share, 3) for name, share in found.items()}


def scene_run(seed: int, share: float, steps: int = 300) -> dict[str, Any]:
    """What a model can name, count and leave out whose captions rarely or often do."""
    words, start = Words([*NAMES, *COUNTS, "without and"]), time.process_time()
    model, generator = new_model(words, seed), torch.Generator().manual_seed(seed)
    batches = (scene_batch(generator, share) for _ in range(steps))
    for _ in fit(model, words, batches, steps):
        pass
    seconds = round(time.process_time() - start, 1)
    return scene_scores(model, words) | {"cpu_seconds": seconds}


# Emoji with their names --------------------------------------------------------------------------


@cache
def pictures() -> tuple[Tensor, list[str]]:
    """The 1,400 emoji as ink on black (1400, 3, 32, 32), and their names."""
    images, names = emoji()
    return 1 - torch.tensor(images), names


@cache
def emoji_split() -> tuple[list[int], list[int]]:
    """Numbers of the emoji to learn from, and of 100 whose every word at least two others have."""
    names = [set(Words.split(name)) for name in pictures()[1]]
    left = {word: sum(word in name for name in names) for name in names for word in name}
    held: list[int] = []
    for number in np.random.default_rng(0).permutation(len(names)).tolist():
        own = names[number]
        if len(held) < HELD and len(own) > 1 and all(left[word] > 2 for word in own):
            held.append(number)
            left |= {word: left[word] - 1 for word in own}
    return sorted(set(range(len(names))) - set(held)), held


def wiggled(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture scaled and sheared by up to 10 %, moved by up to 2 pixels."""
    grow, shear, right, down = (torch.rand(4, len(images), generator=generator) - 0.5).unbind()
    rows = (
        torch.stack((1 + 0.2 * grow, 0.2 * shear, 0.25 * right), 1),
        torch.stack((-0.2 * shear, 1 + 0.2 * grow, 0.25 * down), 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def emoji_batches(seed: int, steps: int) -> Iterator[Pairs]:
    """Batches of 128 wiggled emoji; of three words of a name one is left out, never the first."""
    (images, names), generator = pictures(), torch.Generator().manual_seed(seed)
    learn = torch.tensor(emoji_split()[0])
    for _ in range(steps):
        chosen = learn[torch.randint(len(learn), (128,), generator=generator)]
        captions = []
        for number in chosen.tolist():
            first, *rest = Words.split(names[number])
            kept = torch.rand(len(rest), generator=generator) > 0.3
            captions.append(" ".join([first, *(w for w, k in zip(rest, kept, strict=True) if k)]))
        yield wiggled(images[chosen], generator), captions


@torch.no_grad()
def emoji_scores(model: CLIP, words: Words) -> dict[str, Any]:
    """Recall at 1, 5 and 10, [of images, of texts], of all learned emoji and of the 100 others."""
    images, names = pictures()
    found: dict[str, Any] = {}
    for part, numbers in zip(("learned", "held"), emoji_split(), strict=True):
        seen = model.images(images[numbers])
        said = model.texts(words.ids([names[number] for number in numbers]))
        found[part] = {str(k): [round(x, 3) for x in recall(seen, said, k)] for k in (1, 5, 10)}
        found[f"{part}_gap"] = round(modality_gap(seen, said), 3)
    return found


def emoji_run(seed: int) -> tuple[dict[str, Any], CLIP]:
    """What is found among the emoji learned and held out, and the model."""
    words, start = Words(pictures()[1]), time.process_time()
    model = new_model(words, seed)
    for _ in fit(model, words, emoji_batches(seed, EMOJI_STEPS), EMOJI_STEPS):
        pass
    seconds = round(time.process_time() - start, 1)
    scores = emoji_scores(model, words)
    temperature = round(model.temperature.item(), 4)
    return scores | {"cpu_seconds": seconds, "temperature": temperature}, model


def store(model: CLIP) -> str:
    """Write a model's weights in 16 bits; returns the sha256 for its card."""
    with CHECKPOINT.open("wb") as file:
        weights = {name: w.detach().half().numpy() for name, w in model.state_dict().items()}
        np.savez_compressed(file, **weights)
    return hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest()


@cache
def emoji_model() -> tuple[CLIP, Words]:
    """The trained model of the first seed, as it is stored with the book, and its words.

    Raises:
        ValueError: the stored weights are not those of its card.
    """
    root = resources.files("fmbook")
    card = tomllib.loads((root / "multimodal" / "emoji_clip.toml").read_text("utf8"))
    raw = (root / "checkpoints" / "emoji_clip.npz").read_bytes()
    if hashlib.sha256(raw).hexdigest() != card["sha256"]:
        raise ValueError("checkpoints/emoji_clip.npz is not the file of multimodal/emoji_clip.toml")
    words = Words(pictures()[1])
    model = new_model(words, 0)
    with np.load(io.BytesIO(raw)) as stored:
        weights = {n: torch.tensor(stored[n], dtype=torch.float32) for n in stored.files}
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False), words


def run() -> dict[str, Any]:
    """All seeds, one after the other; the first one's emoji model is stored beside the record."""
    emojis = [emoji_run(seed) for seed in SEEDS]
    return {
        "emoji": [found for found, _ in emojis],
        "checkpoint": store(emojis[0][1]),
        "digits": [digit_run(seed, STEPS) for seed in SEEDS],
        "temperatures": {
            str(fixed or "learned"): [digit_run(seed, SHORT, fixed) for seed in SEEDS]
            for fixed in TEMPERATURES
        },
        "scenes": {
            name: [scene_run(seed, share) for seed in SEEDS] for name, share in SHARES.items()
        },
    }


def point() -> tuple[float, float, float]:
    """The share right among 60 captions, on pairs shown, after the 100 steps of a short run."""
    from fmbook.records import load

    recorded = load("clip")["temperatures"]["1.0"][0]["scores"][0]["shown"]
    return digit_run(0, EVERY, 1.0)["scores"][0]["shown"], recorded, 0.15
