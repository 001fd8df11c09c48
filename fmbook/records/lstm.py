"""Gated and plain recurrent networks on characters, at remembering, at copying, and on the mail.

Left out: any search for the best sizes and rates; larger or deeper networks.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from statistics import mean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmbook import data
from fmbook.features.naive_bayes import quality, split, threshold
from fmbook.records.rnn import bits, clipping, corpus, latch, learn, seeded
from fmbook.sequences.lstm import GRU, LSTM, copy_text
from fmbook.sequences.rnn import RNN, CharacterModel
from fmbook.train import train

__all__ = ["COPY_LENGTHS", "copied", "new_text_model", "point", "run", "trained_to_copy"]

SEEDS, SECONDS, PATIENCE = range(3), 30.0, 200
Layer = Callable[[int, int], nn.Module]
LAYERS: dict[str, Layer] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
BIASES = {0.0: (20, 40), 1.0: (20, 40), 3.0: (20, 40, 80), 5.0: (80, 160)}  # bias: lengths
KEEPS = {0.0: (20, 40), 1.0: (20, 40), 3.0: (20, 40, 80, 160)}  # the same for GRU
COPY_LENGTHS, COPY_WIDTHS, COPY_STEPS = (1, 2, 4, 6, 8, 12, 16, 24, 32), (32, 128), 700
WORDS, READ = 4_000, 100  # of the mail: kinds of words, and words read


def new_text_model(layer: Layer, seed: int) -> nn.Module:
    """The model of characters before training: 256 units, as in the chapter before."""
    V = len(corpus()[2])
    return seeded(lambda: CharacterModel(V, 64, 256, layer), seed)


def followed(layer: Layer, seed: int) -> dict[str, Any]:
    """Train on text: bits on the held-out plays, steps, CPU-seconds, and the training curve."""
    model, seen = new_text_model(layer, seed), []
    for _, used, loss in learn(model, SECONDS, seed):
        seen.append((used, loss))
    tenths = [[x for t, x in seen if i <= 10 * t / SECONDS < i + 1] for i in range(10)]
    return {
        "bits": round(bits(model), 3),
        "steps": len(seen),
        "cpu_seconds": round(seen[-1][0], 1),
        "curve": [round(mean(tenth), 3) for tenth in tenths],
    }


def trained_to_copy(D: int, seed: int, steps: int = COPY_STEPS, most: int = 12) -> nn.Module:
    """An LSTM of width D, trained to say up to `most` random tokens of 8 kinds again."""
    make = partial(CharacterModel, 9, 16, D, partial(LSTM, forget=2.0))
    model, generator = seeded(make, seed), torch.Generator().manual_seed(seed)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(steps):
            n = int(torch.randint(1, most + 1, (), generator=generator))
            yield copy_text(64, n, 8, generator)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        said = model(batch[0])[0][:, batch[1].shape[1] :]
        return F.cross_entropy(said.flatten(0, 1), batch[1].flatten())

    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0, fused=True)
    optimizer.register_step_pre_hook(clipping(1.0))
    for step, _ in train(batches(), loss_of, optimizer):
        optimizer.param_groups[0]["lr"] = 5e-3 * max(0.02, 1 - step / steps)
    return model


@torch.no_grad()
def copied(model: nn.Module, n: int) -> float:
    """The share of n tokens that a model says again rightly, over 200 texts."""
    x, y = copy_text(200, n, 8, torch.Generator().manual_seed(1_000))
    return float((model(x)[0][:, n:, :8].argmax(-1) == y).float().mean())


class Filter(nn.Module):
    """Words (B, T) -> log-odds of spam (B,): the mean of an LSTM's states, weighed."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(WORDS, 32), LSTM(32, 64)
        self.readout = nn.Linear(64, 1)

    def forward(self, words: Tensor) -> Tensor:
        odds: Tensor = self.readout(self.layer(self.embedding(words))[0].mean(1))
        return odds[:, 0]


@cache
def periods() -> tuple[list[data.Mail], list[data.Mail]]:
    """The mail of 2002 before September, and from then on."""
    mails = data.mail()
    earlier = [m for m in mails if m.date and "2002-01" <= m.date < "2002-09"]
    return earlier, [m for m in mails if m.date and "2002-09" <= m.date < "2003"]


@cache
def words_of(text: str) -> tuple[str, ...]:
    """The first words, numbers and marks of a text."""
    return tuple(re.findall(r"[a-z]+|\d+|[^\w\s]", text.lower())[:READ])


def filtered(learned: list[data.Mail], seed: int) -> Callable[[list[data.Mail]], list[float]]:
    """A filter that learned from these mails, three times through: mails -> log-odds of spam."""
    counts = Counter(word for m in learned for word in words_of(m.text))
    number = {word: i + 2 for i, (word, _) in enumerate(counts.most_common(WORDS - 2))}

    def numbers(mails: list[data.Mail]) -> Tensor:
        rows = [[number.get(word, 1) for word in words_of(m.text)] for m in mails]
        return torch.tensor([row + [0] * (READ - len(row)) for row in rows])

    model, generator = seeded(Filter, seed), torch.Generator().manual_seed(seed)
    x, y = numbers(learned), torch.tensor([float(m.spam) for m in learned])
    orders = (torch.randperm(len(x), generator=generator).split(32) for _ in range(3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01, fused=True)
    optimizer.register_step_pre_hook(clipping(1.0))

    def loss_of(i: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(x[i]), y[i])

    for _ in train((i for order in orders for i in order), loss_of, optimizer):
        pass

    def scores(mails: list[data.Mail]) -> list[float]:
        with torch.no_grad():
            parts = [model(part) for part in numbers(mails).split(200)]
        return [float(score) for part in parts for score in part]

    return scores


def spam_row() -> dict[str, Any]:
    """The ledger's row of an LSTM on the mail; one threshold from all held-out mail."""
    earlier, later = periods()
    held, labels, there, seconds = [], [], [], []
    for seed in SEEDS:
        learned, rest = split(earlier, seed)
        began = time.process_time()
        scores = filtered(learned, seed)
        seconds.append(time.process_time() - began)
        held += scores(rest)
        labels += [m.spam for m in rest]
        there.append(scores(later))
    cut = threshold(held, labels)
    rows = [quality(each, later, cut) for each in there]
    return {
        "task": "spam",
        "method": "LSTM",
        "module": "fmbook.sequences.lstm",
        "quality": {key: round(mean(row[key] for row in rows), 3) for key in rows[0]},
        "cpu_seconds": round(mean(seconds), 1),
        "parameters": sum(p.numel() for p in Filter().parameters()),
        "decisions": [
            "a label for each mail, spam or not",
            f"the first {READ} words, {WORDS:,} kinds of them",
            "sizes, rate, and three times through the mail",
        ],
        "failures": [
            "Nothing after its first words is read.",
            "Words that were rare in the earlier mail are one word to it.",
            "Gives no reason for a verdict that a person could check.",
        ],
    }


def text_row(method: str, name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The ledger's row of a gated network on characters."""
    model = new_text_model(LAYERS[name], 0)
    return {
        "task": "characters",
        "method": method,
        "module": "fmbook.sequences.lstm",
        "quality": {"bits_per_character": round(mean(f["bits"] for f in found), 2)},
        "cpu_seconds": round(mean(f["cpu_seconds"] for f in found), 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "decisions": ["characters as tokens", "sizes", "learning rate", "the bias of one gate"],
        "failures": [
            "Spells words and lays out scenes, and means nothing by them.",
            "Names do not last: what was said pages ago is gone.",
        ],
    }


def run() -> dict[str, Any]:
    """Text, the latch at several biases, copying, and the ledger's rows."""
    torch.set_num_threads(1)
    turns = [{name: followed(layer, s) for name, layer in LAYERS.items()} for s in SEEDS]
    text = {name: [turn[name] for turn in turns] for name in LAYERS}
    latches: dict[str, Any] = {}
    for kind, table in (("lstm", BIASES), ("gru", KEEPS)):
        for bias, lengths in table.items():
            made: Layer = partial(LSTM, forget=bias) if kind == "lstm" else partial(GRU, keep=bias)
            steps = {T: [latch(made, T, seed, PATIENCE) for seed in SEEDS] for T in lengths}
            latches[f"{kind} {bias:g}"] = {str(T): found for T, found in steps.items()}
    models = {D: [trained_to_copy(D, seed) for seed in SEEDS] for D in COPY_WIDTHS}
    copies = {
        str(D): [[round(copied(model, n), 3) for n in COPY_LENGTHS] for model in found]
        for D, found in models.items()
    }
    rows = [text_row("LSTM", "lstm", text["lstm"]), text_row("GRU", "gru", text["gru"])]
    return {"text": text, "latch": latches, "copy": copies, "ledger": [*rows, spam_row()]}


def point() -> tuple[float, float, float]:
    """The step after which the first LSTM with forget bias 3 remembers a bit for 40 steps."""
    from fmbook.records import load

    recorded = load("lstm")["latch"]["lstm 3"]["40"][0]
    return latch(partial(LSTM, forget=3.0), 40, 0, PATIENCE) or math.inf, recorded, 15
