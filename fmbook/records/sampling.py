"""How the book's own small model writes under each rule of decoding, over seeds, and how fast.

Left out: readers who judge what it writes, and any training (see `fmbook.pretraining`).
"""

import math
import re
import time
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice, pairwise
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from fmbook import checkpoints
from fmbook.pretraining import corpus, pages
from fmbook.transformers.sampling import Decoding, KVCache, beam_search, entropy, generate
from fmbook.transformers.tokenizer import Tokenizer
from fmbook.transformers.transformer import GPT, Sizes

__all__ = [
    "Judge",
    "clock",
    "judge",
    "openings",
    "point",
    "prompted",
    "repeated",
    "run",
    "surprise",
    "titles",
    "writer",
    "written",
]

SEEDS, TEXTS, READ, WRITTEN = range(3), 24, 16, 96
RULES: dict[str, dict[Any, Decoding]] = {
    "temperature": {t: Decoding(temperature=t) for t in (0.3, 0.5, 0.7, 1.0, 1.3)},
    "top-k": {k: Decoding(k=k) for k in (2, 10, 40, 300)},
    "top-p": {p: Decoding(p=p) for p in (0.3, 0.5, 0.7, 0.9)},
    "penalty": {
        penalty: Decoding(temperature=0, penalty=penalty) for penalty in (1.0, 1.1, 1.3, 2.0)
    },
}


@cache
def writer() -> tuple[GPT, Tokenizer]:
    """The book's own GPT, on the CPU, and its tokenizer."""
    return checkpoints.load()


def prompted(text: str) -> Tensor:
    """A text as the model reads the beginning of one, with END in front: (1, T)."""
    tokenizer = writer()[1]
    return torch.tensor([[len(tokenizer) - 1, *tokenizer.encode(text)]])


def openings(seed: int) -> tuple[Tensor, Tensor]:
    """Beginnings of held-out pages, (24, 16) with END in front, and how people went on (24, 96)."""
    tokenizer = writer()[1]
    rows = [[len(tokenizer) - 1, *tokenizer.encode(page.text)] for page in pages()[1]]
    rows = [row[: READ + WRITTEN] for row in rows if len(row) >= READ + WRITTEN]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:TEXTS]
    table = torch.tensor(rows)[order]
    return table[:, :READ], table[:, READ:]


def written(
    model: GPT, tokens: Tensor, decoding: Decoding, seed: int, length: int = WRITTEN
) -> Tensor:
    """What the model goes on with: tokens (B, T) -> (B, length); END is never said."""
    cache = KVCache(model.sizes.layers, tokens.shape[1] + length)

    def without_end(*arguments: Any) -> Tensor:
        logits: Tensor = model(*arguments)
        logits[..., -1] = -1e4
        return logits

    generator = torch.Generator().manual_seed(seed)
    drawn = generate(without_end, tokens, decoding, generator, cache)
    return torch.stack(list(islice(drawn, length)), 1)


@torch.no_grad()
def surprise(model: GPT, tokens: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
    """Bits of surprise at each token of `more` (B, T), and the entropy before it, in bits."""
    logits = model(torch.cat((tokens, more), 1))[:, tokens.shape[1] - 1 : -1]
    chances = logits.log_softmax(-1).gather(-1, more[..., None])[..., 0]
    return -chances / math.log(2), entropy(logits)


class Judge:
    """Counts what a text has in common with the texts that the writer has read."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.words: set[str] = set()
        self.pairs: set[tuple[str, str]] = set()
        for text in texts:
            words = self.split(text)
            self.words.update(words)
            self.pairs.update(pairwise(words))

    @staticmethod
    def split(text: str) -> list[str]:
        """The words of a text, without the two at its ends, which may be cut."""
        return re.findall(r"[a-z]+", text.lower())[1:-1]

    def __call__(self, texts: Sequence[str]) -> dict[str, float]:
        """The share of words, and of pairs of neighbouring words, that were read before."""
        split = [self.split(text) for text in texts]
        words = [word for text in split for word in text]
        pairs = [pair for text in split for pair in pairwise(text)]
        return {
            "words": round(mean(word in self.words for word in words), 4),
            "pairs": round(mean(pair in self.pairs for pair in pairs), 4),
        }


@cache
def judge() -> Judge:
    """The judge that knows all that the book's own GPT has read."""
    return Judge(corpus()[0])


def repeated(tokens: Tensor) -> float:
    """The share of runs of four tokens in (B, T) that occurred before in the same text."""
    shares = []
    for row in tokens.unfold(1, 4, 1).tolist():
        runs = [tuple(run) for run in row]
        shares.append(1 - len(set(runs)) / len(runs))
    return round(mean(shares), 4)


def measured(tokens: Tensor, more: Tensor) -> dict[str, float]:
    """Surprise and entropy in bits a token, repetition, and what the judge counts."""
    model, tokenizer = writer()
    bits, unsure = surprise(model, tokens, more)
    said = judge()([tokenizer.decode(row) for row in more.tolist()])
    return {
        "surprise": round(float(bits.mean()), 3),
        "entropy": round(float(unsure.mean()), 3),
        "repeated": repeated(more),
        **said,
    }


def quality(seed: int) -> dict[str, Any]:
    """People, every rule with every setting, and beams, on the same beginnings."""
    model, (tokens, human) = writer()[0], openings(seed)
    found: dict[str, Any] = {"people": measured(tokens, human)}
    for rule, settings in RULES.items():
        found[rule] = [
            measured(tokens, written(model, tokens, decoding, seed))
            for decoding in settings.values()
        ]
    found["beam"] = []
    for width in (4, 16):
        texts = []
        for row in tokens[:5]:
            cache = KVCache(model.sizes.layers, READ + WRITTEN)
            texts.append(beam_search(model, row, width, WRITTEN, cache)[0][0])
        found["beam"].append(measured(tokens[:5], torch.stack(texts)))
    return found


def clock(steps: Iterator[Any], count: int) -> float:
    """CPU-seconds that an iterator takes for so many of its items."""
    began = time.process_time()
    for _ in islice(steps, count):
        pass
    return time.process_time() - began


def speeds(B: int, length: int = 150, repeats: int = 12, uncached: bool = True) -> dict[str, Any]:
    """Tokens a CPU-second with a cache, without, and by Hugging Face's `generate`, taking turns.

    The rates are those of each one's fastest turn: other work on the machine only slows a turn.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes, prompt = Sizes(V=1024, D=128, N=4, layers=4, context=512), torch.zeros(B, 8).long()
    ours = GPT(sizes).eval()
    settings = GPT2Config(
        vocab_size=sizes.V, n_positions=sizes.context, n_embd=sizes.D, n_layer=sizes.layers,
        n_head=sizes.N, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    theirs = GPT2LMHeadModel(settings).eval()

    def peer() -> Iterator[Any]:
        with torch.no_grad():
            yield theirs.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=length,
                min_new_tokens=length, do_sample=True, top_k=None, pad_token_id=0,
            )  # fmt: skip

    found: dict[str, list[float]] = {"cache": [], "no_cache": [], "peer": []}
    for _ in range(repeats):
        cache, generator = KVCache(sizes.layers, sizes.context), torch.Generator().manual_seed(0)
        drawn = generate(ours, prompt, Decoding(), generator, cache)
        found["cache"].append(B * length / clock(drawn, length))
        found["peer"].append(B * length / clock(peer(), 1))
        if uncached and len(found["no_cache"]) < 2:
            slow = generate(ours, prompt, Decoding(), generator)
            found["no_cache"].append(B * length / clock(slow, length))
    ratios = [a / b for a, b in zip(found["cache"], found["peer"], strict=True)]
    return {
        **{name: round(max(rates)) for name, rates in found.items() if rates},
        "by_peer": round(max(found["cache"]) / max(found["peer"]), 2),
        "turns": [round(ratio, 2) for ratio in ratios],
    }


def titles(seed: int, count: int = 150) -> dict[str, list[str]]:
    """Beginnings such as "Ada Lovelace was a": of pages read, pages held out, and invented names.

    An invented name is made of the halves of two names, at their middle vowels.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[str]] = {}
    for kind, group in zip(("read", "held out"), pages(), strict=True):
        matches = [re.match(r"([A-Z][a-z]+ [A-Z][a-z]+) (is|was) an?(?= )", p.text) for p in group]
        known = [match for match in matches if match]
        order = torch.randperm(len(known), generator=generator).tolist()[:count]
        found[kind] = [known[i][0] for i in order]
    found["invented"] = []
    for one, other in zip(found["read"], found["read"][1:] + found["read"][:1], strict=True):
        words = [w[: len(w) // 2 + 1] + x[len(x) // 2 + 1 :] for w, x in
                 zip(one.split()[:2], other.split()[1::-1], strict=True)]  # fmt: skip
        found["invented"].append(" ".join([*(w.capitalize() for w in words), *one.split()[2:]]))
    return found


@torch.no_grad()
def unknown(seed: int) -> dict[str, Any]:
    """How unsure the model is of the next token after names it read, did not read, or cannot."""
    model = writer()[0]
    found: dict[str, Any] = {}
    for kind, texts in titles(seed).items():
        bits, sure = [], []
        for text in texts:
            logits = model(prompted(text))[0, -1]
            bits.append(entropy(logits).item())
            sure.append(logits.softmax(-1).max().item())
        found[kind] = {"entropy": [round(x, 2) for x in bits], "largest": round(mean(sure), 3)}
    return found


def run() -> dict[str, Any]:
    """Quality over seeds, speed at batches of 1 and 32, and entropies after names."""
    return {
        "settings": {rule: list(settings) for rule, settings in RULES.items()},
        "widths": [4, 16],
        "quality": [quality(seed) for seed in SEEDS],
        "speed": {"1": speeds(1), "32": speeds(32, 100, 3, uncached=False)},
        "unknown": [unknown(seed) for seed in SEEDS],
    }


def point() -> tuple[float, float, float]:
    """The surprise of greedy texts of the first seed, in bits a token: no chance is in it."""
    from fmbook.records import load

    tokens, _ = openings(0)
    model = writer()[0]
    again = surprise(model, tokens, written(model, tokens, Decoding(temperature=0), 0))[0].mean()
    return float(again), load("sampling")["quality"][0]["penalty"][0]["surprise"], 0.1
