"""Multilayer perceptrons on "one, but not both", on digits and on the mailbox, over seeds.

Left out: convolution, dropout and normalization, more than a few minutes of training.
"""

import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fmbook import data
from fmbook.features.logistic_regression import Scale, describe
from fmbook.features.naive_bayes import quality, split, threshold, words
from fmbook.gradients.autograd import Variable, gradients
from fmbook.gradients.mlp import (
    SGD,
    Adam,
    AdamW,
    cross_entropy,
    forward,
    initial,
    minibatches,
)

__all__ = [
    "BOTH",
    "EITHER",
    "ILLNESSES",
    "accuracy",
    "descend",
    "digits",
    "illness",
    "learned",
    "mail_filter",
    "mailbox",
    "periods",
    "point",
    "run",
    "said",
    "scores",
    "shuffled",
    "solves",
    "spread",
    "start",
    "table",
    "tables",
    "tensors",
    "wrong",
]

SEEDS = range(3)
BOTH = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
EITHER = np.array([0, 1, 1, 0])  # one of the two, but not both
Digits = tuple[Tensor, Tensor, Tensor, Tensor]


def solves(width: int, seed: int, steps: int = 200) -> bool:
    """Whether a hidden layer of this width learns "one, but not both" from a random start."""
    parameters = initial((2, width, 2), np.random.default_rng(seed))
    rule = Adam(0.05)
    state = rule.start(parameters)
    for _ in range(steps):
        now = [Variable(p) for p in parameters]
        loss = cross_entropy(forward(now, Variable(BOTH)), EITHER)
        parameters, state = rule.step(parameters, gradients(loss, now), state)
    return bool((forward(now, Variable(BOTH)).data.argmax(-1) == EITHER).all())


@cache
def digits(seed: int) -> Digits:
    """8,000 images (B, 784) and labels (B,) to learn from, and 2,000 held out, at random."""
    images, labels = data.digits()
    order = np.random.default_rng(seed).permutation(len(images))
    x, y = torch.tensor(images.reshape(-1, 784)[order]), torch.tensor(labels[order])
    return x[:8000], y[:8000], x[8000:], y[8000:]


def tensors(parameters: list[Any], scale: float = 1.0) -> list[Tensor]:
    """Parameters as PyTorch's float32, the weights scaled."""
    return [torch.tensor(p * (scale if p.ndim > 1 else 1), dtype=torch.float32) for p in parameters]


def start(seed: int, *widths: int, scale: float = 1.0) -> list[Tensor]:
    """Random parameters of a network with hidden layers of these widths, for digits."""
    return tensors(initial((784, *widths, 10), np.random.default_rng(seed)), scale)


def descend(
    parameters: list[Tensor], rule: SGD | Adam, x: Tensor, y: Tensor, batches: Any
) -> Iterator[tuple[float, list[Tensor]]]:
    """One step for each batch of numbers of examples: the loss before it, the parameters after."""
    state: Any = rule.start(parameters)
    for batch in batches:
        now = [p.detach().requires_grad_() for p in parameters]
        loss = cross_entropy(forward(now, x[batch]), y[batch])
        found = torch.autograd.grad(loss, now)
        with torch.no_grad():
            parameters, state = rule.step(now, found, state)
        yield loss.item(), parameters


def shuffled(n: int, steps: int, seed: int, size: int = 64) -> Iterator[Any]:
    """So many minibatches, in a new order each epoch."""
    rng, taken = np.random.default_rng(1_000 + seed), 0
    while True:
        for batch in minibatches(n, size, rng):
            if taken == steps:
                return
            taken += 1
            yield batch


def learned(*arguments: Any) -> list[Tensor]:
    """The parameters at the end of a descent."""
    for _, parameters in descend(*arguments):
        last = parameters
    return last


@torch.no_grad()
def accuracy(parameters: list[Tensor], x: Tensor, y: Tensor) -> float:
    """The share of examples whose highest score is at the right class."""
    return float((forward(parameters, x).argmax(-1) == y).float().mean())


@torch.no_grad()
def spread(scale: float, layers: int = 10, seed: int = 0) -> list[float]:
    """The standard deviation of what each layer of 128 units puts out for digits, untrained."""
    x, found = digits(seed)[0][:500], []
    *hidden, _, _ = start(seed, *[128] * layers, scale=scale)
    for W in hidden[::2]:
        x = (x @ W).relu()
        found.append(x.std().item())
    return found


class Forgetful:
    """A rule whose gradients are never cleared: each step adds to all before it."""

    def __init__(self, rule: SGD) -> None:
        self.rule = rule

    def start(self, parameters: list[Tensor]) -> Any:
        return [0 * p for p in parameters], self.rule.start(parameters)

    def step(self, parameters: list[Tensor], found: Any, state: Any) -> Any:
        total = [a + b for a, b in zip(state[0], found, strict=True)]
        moved, inner = self.rule.step(parameters, total, state[1])
        return moved, (total, inner)


ILLNESSES = (
    "healthy",
    "rate / 100",
    "rate x 15",
    "rate x 40",
    "weights all zero",
    "sorted by label",
    "never cleared",
    "300 images",
)


def illness(name: str, seed: int, steps: int = 400) -> dict[str, list[float]]:
    """The training losses of a network with one thing wrong, and every tenth held-out loss."""
    x, y, held_x, held_y = digits(seed)
    rates = {"rate / 100": 0.001, "rate x 15": 1.5, "rate x 40": 4.0}
    rule: Any = SGD(rates.get(name, 0.1))
    if name == "never cleared":
        rule = Forgetful(rule)
    if name == "300 images":
        x, y = x[:300], y[:300]
    batches: Any = shuffled(len(x), steps, seed)
    if name == "sorted by label":
        order = torch.argsort(y, stable=True)
        batches = (order[k % 125 * 64 :][:64] for k in range(steps))
    scale = 0.0 if name == "weights all zero" else 1.0
    losses, held = [], []
    for k, (loss, parameters) in enumerate(
        descend(start(seed, 128, scale=scale), rule, x, y, batches)
    ):
        losses.append(round(loss, 3))
        if k % 10 == 9:
            with torch.no_grad():
                held.append(round(cross_entropy(forward(parameters, held_x), held_y).item(), 3))
    share = round(accuracy(parameters, held_x, held_y), 4)
    return {"training": losses, "held": held, "accuracy": [share]}


RULES: dict[str, tuple[type, tuple[float, ...], dict[str, float]]] = {
    "SGD": (SGD, (0.03, 0.1, 0.3, 1.0), {}),
    "momentum": (SGD, (0.01, 0.03, 0.1, 0.3), {"momentum": 0.9}),
    "Adam": (Adam, (3e-4, 1e-3, 3e-3, 1e-2), {}),
    "AdamW": (AdamW, (3e-4, 1e-3, 3e-3, 1e-2), {"decay": 0.1}),
}


def race(name: str, steps: int = 375) -> dict[str, Any]:
    """A rule's best rate of four, by its loss on digits, and with it the losses over seeds."""
    kind, rates, more = RULES[name]

    def losses(rate: float, seed: int) -> tuple[list[float], float]:
        x, y, held_x, held_y = digits(seed)
        batches = shuffled(len(x), steps, seed)
        runs = list(descend(start(seed, 128), kind(rate, **more), x, y, batches))
        means, parameters = (
            np.array([loss for loss, _ in runs]).reshape(-1, 25).mean(1),
            runs[-1][1],
        )
        return [round(v, 4) for v in means.tolist()], accuracy(parameters, held_x, held_y)

    tried = {rate: losses(rate, 99)[0][-1] for rate in rates}
    best = min(tried, key=lambda rate: tried[rate])
    runs = [losses(best, seed) for seed in SEEDS]
    return {
        "rate": best,
        "tried": {str(rate): loss for rate, loss in tried.items()},
        "losses": [curve for curve, _ in runs],
        "accuracy": [round(share, 4) for _, share in runs],
    }


def readers(seed: int, epochs: int = 12) -> dict[str, Any]:
    """Held-out accuracy on digits, and CPU-seconds, without a hidden layer and with one or two."""
    found = {}
    for name, widths in (("none", ()), ("128", (128,)), ("128, 128", (128, 128))):
        x, y, held_x, held_y = digits(seed)
        began = time.process_time()
        batches = shuffled(len(x), epochs * 125, seed)
        parameters = learned(start(seed, *widths), AdamW(1e-3, decay=0.1), x, y, batches)
        seconds = time.process_time() - began
        share = accuracy(parameters, held_x, held_y)
        found[name] = [round(share, 4), round(seconds, 2), sum(p.numel() for p in parameters)]
    return found


@cache
def periods() -> tuple[list[data.Mail], list[data.Mail]]:
    """The mail of 2002 before September, and from then on."""
    mails = data.mail()
    earlier = [m for m in mails if m.date and "2002-01" <= m.date < "2002-09"]
    return earlier, [m for m in mails if m.date and "2002-09" <= m.date < "2003"]


@cache
def said() -> dict[str, frozenset[str]]:
    """The different words of each mail, by its id."""
    return {m.id: frozenset(words(m.text)) for part in periods() for m in part}


@cache
def described() -> dict[str, dict[str, float]]:
    """The hand-made features of each mail, by its id."""
    return {m.id: describe(m) for part in periods() for m in part}


def table(mails: list[data.Mail], held: dict[str, frozenset[str]], vocabulary: list[str]) -> Tensor:
    """Which words of a vocabulary each mail holds, as 0 and 1: (mails, vocabulary)."""
    place = {word: n for n, word in enumerate(vocabulary)}
    found = np.zeros((len(mails), len(vocabulary)), dtype=np.float32)
    for row, mail in zip(found, mails, strict=True):
        row[[place[word] for word in held[mail.id] if word in place]] = 1
    return torch.from_numpy(found)


def tables(seed: int, of: str = "words") -> dict[str, Any]:
    """Learned, held-out and later mail as (mails, tables), and what their columns stand for.

    Of "words": the 2,000 that most learned mails hold; of "features": the hand-made ones, scaled.
    """
    learned, held = split(periods()[0], seed)
    parts = {"learned": learned, "held": held, "later": periods()[1]}
    if of == "features":
        names = sorted(next(iter(described().values())))
        scale = Scale.learn([described()[m.id] for m in learned], names)

        def made(mails: list[data.Mail]) -> Tensor:
            scaled = scale.matrix([described()[m.id] for m in mails])[:, 1:]
            return torch.tensor(scaled, dtype=torch.float32)

    else:
        counts = Counter(word for m in learned for word in sorted(said()[m.id]))
        names = [word for word, _ in counts.most_common(2000)]

        def made(mails: list[data.Mail]) -> Tensor:
            return table(mails, said(), names)

    return {"vocabulary": names, **{name: (mails, made(mails)) for name, mails in parts.items()}}


def mail_filter(known: dict[str, Any], hidden: tuple[int, ...], seed: int) -> list[Tensor]:
    """A network from a table to two scores, ham and spam, with these hidden layers.

    A table of few columns takes more epochs, and needs less decay.
    """
    mails, x = known["learned"]
    y = torch.tensor([int(m.spam) for m in mails])
    begin = tensors(initial((x.shape[1], *hidden, 2), np.random.default_rng(seed)))
    epochs, decay = (60, 0.01) if x.shape[1] < 100 else (10, 1.0)
    batches = shuffled(len(x), epochs * (len(x) // 64), seed)
    return learned(begin, AdamW(1e-3, decay=decay), x, y, batches)


@torch.no_grad()
def scores(parameters: list[Tensor], x: Tensor) -> list[float]:
    """How far the score of spam is above that of ham, in nats."""
    ham, spam = forward(parameters, x).T
    return [float(score) for score in spam - ham]


def wrong(found: list[float], mails: list[data.Mail]) -> float:
    """The share of mails on the wrong side of 0."""
    return mean(float((s > 0) != m.spam) for s, m in zip(found, mails, strict=True))


def mailbox(of: str, hidden: tuple[int, ...], seeds: range) -> dict[str, Any]:
    """Errors on held-out and on later mail; the quality on later mail at 1 % held-out alarms."""
    found: dict[str, Any] = {"held": [], "later": []}
    claimed: list[float] = []
    labels: list[bool] = []
    there, seconds = [], 0.0
    for seed in seeds:
        known = tables(seed, of)
        began = time.process_time()
        parameters = mail_filter(known, hidden, seed)
        seconds += time.process_time() - began
        for name in ("held", "later"):
            mails, x = known[name]
            found[name].append(round(wrong(scores(parameters, x), mails), 4))
        mails, x = known["held"]
        claimed += scores(parameters, x)
        labels += [m.spam for m in mails]
        there.append(scores(parameters, known["later"][1]))
    cut = threshold(claimed, labels)
    rows = [quality(each, periods()[1], cut) for each in there]
    return {
        **found,
        "cpu_seconds": round(seconds / len(seeds), 2),
        "quality": {key: round(mean(row[key] for row in rows), 3) for key in rows[0]},
        "parameters": sum(p.numel() for p in parameters),
    }


def ledger(mail: dict[str, Any], reader: list[list[float]]) -> list[dict[str, Any]]:
    """Two rows: the mailbox with one hidden layer, and digits with one."""
    module = "fmbook.gradients.mlp"
    filtering = {
        "task": "spam",
        "method": "multilayer perceptron",
        "module": module,
        "quality": mail["quality"],
        "cpu_seconds": mail["cpu_seconds"],
        "parameters": mail["parameters"],
        "decisions": [
            "a label for each mail, spam or not",
            "that the 2,000 most frequent words matter, and their order does not",
            "the number and width of layers, the rule, its rate and its decay",
        ],
        "failures": [
            "Knows the earlier mail better than a linear score does, and the later mail worse.",
            "Good newsletters in HTML are flagged.",
            "Gives no reason for a verdict that a person could check.",
        ],
    }
    reading = {
        "task": "digits",
        "method": "multilayer perceptron",
        "module": module,
        "quality": {"accuracy": round(mean(row[0] for row in reader), 3)},
        "cpu_seconds": round(mean(row[1] for row in reader), 1),
        "parameters": int(reader[0][2]),
        "decisions": [
            "a label for each image",
            "one hidden layer of 128 units, the rule, its rate and its decay",
        ],
        "failures": ["A digit moved by a few pixels is a new picture to it."],
    }
    return [filtering, reading]


def run() -> dict[str, Any]:
    """All experiments of the chapter, over seeds."""
    torch.set_num_threads(1)
    kinds = {
        "features": ("features", ()),
        "features, hidden": ("features", (64,)),
        "words": ("words", ()),
        "words, hidden": ("words", (64,)),
        "words, two hidden": ("words", (64, 64)),
    }
    filters = {name: mailbox(*kind, range(5)) for name, kind in kinds.items()}
    reading = [readers(seed) for seed in SEEDS]
    widths = (2, 3, 4, 8, 16)
    return {
        "widths": widths,
        "solved": [
            [mean(map(float, (solves(w, s + 20 * k) for s in range(20)))) for w in widths]
            for k in SEEDS
        ],
        "spread": {
            str(scale): [spread(scale, seed=seed) for seed in SEEDS] for scale in (0.5, 1.0, 2.0)
        },
        "rules": {name: race(name) for name in RULES},
        "illnesses": {name: [illness(name, seed) for seed in SEEDS] for name in ILLNESSES},
        "digits": {name: [found[name] for found in reading] for name in reading[0]},
        "mailbox": filters,
        "ledger": ledger(filters["words, hidden"], [found["128"] for found in reading]),
    }


def point() -> tuple[float, float, float]:
    """The share of digits read right with one hidden layer, on the first split."""
    from fmbook.records import load

    x, y, held_x, held_y = digits(0)
    batches = shuffled(len(x), 12 * 125, 0)
    parameters = learned(start(0, 128), AdamW(1e-3, decay=0.1), x, y, batches)
    return accuracy(parameters, held_x, held_y), load("mlp")["digits"]["128"][0][0], 0.01
