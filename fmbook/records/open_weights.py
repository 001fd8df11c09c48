"""SmolLM2 in our modules: how it reads two kinds of text, what it knows by heart, and its speed.

Left out: benchmarks with published scores, and anything but greedy answers. There are no seeds:
what varies is the sample of text, or the wording of a question.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F

from fmbook import data, weights
from fmbook.transformers.open_weights import Chat
from fmbook.transformers.sampling import Decoding, KVCache, generate

__all__ = ["HELD_OUT", "WORDINGS", "answers", "chat", "number", "point", "read", "run", "samples"]

HELD_OUT = ("hamlet", "macbeth", "twelfth_night")  # the plays that the book's models do not see
WINDOW = {"encyclopedia": 128, "plays": 384}  # tokens that are read at once
PAGES, SCENES = 8, 3  # texts a sample
WORDINGS = (
    ("What is {a} x {b}?", "{a} x {b} = "),
    ("What is {a} times {b}?", "{a} times {b} is "),
    ("Compute {a} * {b}.", "{a} * {b} = "),
)
GREEDY = Decoding(temperature=0)
NEW, PAIRS = 24, 5  # tokens a race, and how often both run it


@cache
def chat() -> Chat:
    """The assistant, read once."""
    return Chat.read(weights.smollm2())


def samples(kind: str) -> list[list[str]]:
    """Three samples of text: of pages of the encyclopedia that are long enough, or of the plays."""
    if kind == "plays":
        works = data.shakespeare()
        texts = [next(works[name] for name in works if play in name) for play in HELD_OUT]
        step = 30_000  # characters: past the front matter, and far from each other
        return [[text[i * step :][:2_500] for i in range(1, SCENES + 1)] for text in texts]
    pages = [page.text for page in data.encyclopedia() if len(page.text) > 700]
    chosen = pages[:: len(pages) // (3 * PAGES)]
    return [chosen[i : 3 * PAGES : 3] for i in range(3)]


@torch.no_grad()
def read(text: str, window: int) -> tuple[list[float], int]:
    """Bits that each of a text's first tokens costs, but the first, and their characters."""
    ids = chat().tokenizer.encode(text)[:window]
    tokens = torch.tensor([ids])
    nats = F.cross_entropy(chat().model(tokens)[0, :-1], tokens[0, 1:], reduction="none")
    return (nats / math.log(2)).tolist(), len(chat().tokenizer.decode(ids[1:]))


def answers(asked: Sequence[tuple[str, str]], length: int) -> list[str]:
    """How each (question, begun answer) goes on, greedily: what they share is read once."""
    model, tokenizer = chat().model, chat().tokenizer
    prompts = [chat().prompt(question) + begun for question, begun in asked]
    ids = [tokenizer.encode(prompt, special=True) for prompt in prompts]
    same = [len(set(column)) == 1 for column in zip(*ids, strict=False)]
    shared = min([*same, False].index(False), len(same) - 1)
    alike, said = defaultdict(list), [""] * len(ids)
    for i, tokens in enumerate(ids):
        alike[len(tokens)].append(i)
    for n, group in alike.items():
        cache = KVCache(model.sizes.layers, n + length)
        next(generate(model, torch.tensor([ids[0][:shared]]), GREEDY, cache=cache))
        cache.select(torch.zeros(len(group), dtype=torch.long))
        rest = torch.tensor([ids[i][shared:] for i in group])
        drawn = islice(generate(model, rest, GREEDY, cache=cache), length)
        for i, row in zip(group, torch.stack(list(drawn), 1).tolist(), strict=True):
            said[i] = tokenizer.decode(row)
    return said


def number(said: str) -> int:
    """The number with which an answer begins, or -1."""
    digits = said[: len(said) - len(said.lstrip("0123456789"))]
    return int(digits or -1)


def by_heart() -> list[list[list[int]]]:
    """What it takes a times b for, by wording, a and b from 1 to 12."""
    tables = []
    for question, begun in WORDINGS:
        both = [(a, b) for a in range(1, 13) for b in range(1, 13)]
        asked = [(question.format(a=a, b=b), begun.format(a=a, b=b)) for a, b in both]
        found = [number(said) for said in answers(asked, 4)]
        tables.append([found[12 * i : 12 * i + 12] for i in range(12)])
    return tables


def reading(kind: str) -> dict[str, Any]:
    """Bits a token at each place, a character, and perplexity a token, sample by sample."""
    rows: dict[str, Any] = {"by_place": [], "bits_per_character": [], "perplexity": []}
    for texts in samples(kind):
        both = [read(text, WINDOW[kind]) for text in texts]
        total, tokens = sum(sum(bits) for bits, _ in both), sum(len(bits) for bits, _ in both)
        places = zip(*(bits for bits, _ in both), strict=False)
        rows["by_place"].append([round(sum(at) / len(at), 3) for at in places])
        rows["bits_per_character"].append(round(total / sum(n for _, n in both), 3))
        rows["perplexity"].append(round(2 ** (total / tokens), 2))
    return rows


def race() -> Iterator[tuple[float, float]]:
    """CPU-milliseconds a token, ours and transformers', in turns, greedy, one thread, float32."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    with TemporaryDirectory() as folder:
        (Path(folder) / "model.gguf").write_bytes(weights.smollm2())
        theirs = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file="model.gguf", dtype=torch.float32
        )
    tokens = chat().tokens("Tell me a story about a fox who learns to read.")
    wanted = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False}

    def ours() -> list[int]:
        cache = KVCache(chat().model.sizes.layers, tokens.shape[1] + NEW)
        drawn = generate(chat().model.last, tokens, GREEDY, cache=cache)
        return [int(token) for token in islice(drawn, NEW)]

    def peers() -> list[int]:
        said = theirs.generate(tokens, attention_mask=torch.ones_like(tokens), **wanted)
        return [int(token) for token in said[0, tokens.shape[1] :]]

    if ours() != peers():
        raise ValueError("the two say different things: the race compares nothing")
    for _ in range(PAIRS):
        taken = []
        for run in (ours, peers):
            start = time.process_time()
            run()
            taken.append(1_000 * (time.process_time() - start) / NEW)
        yield round(taken[0], 2), round(taken[1], 2)


def run() -> dict[str, Any]:
    """Everything, on one thread."""
    torch.set_num_threads(1)
    return {
        "encyclopedia": reading("encyclopedia"),
        "plays": reading("plays"),
        "by_heart": by_heart(),
        "race": list(race()),
    }


def point() -> tuple[float, float, float]:
    """The perplexity of the first sample of the encyclopedia."""
    from fmbook.records import load

    texts = samples("encyclopedia")[0]
    bits = [bit for text in texts for bit in read(text, WINDOW["encyclopedia"])[0]]
    recorded = load("open_weights")["encyclopedia"]["perplexity"][0]
    return 2 ** (sum(bits) / len(bits)), recorded, 0.05
