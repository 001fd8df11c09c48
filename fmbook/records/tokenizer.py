"""The same recurrent network on bytes and on pieces, at equal cost; and our tokenizer's peers.

Left out: any search for the best sizes and rates; other networks.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

from fmbook import data
from fmbook.records.rnn import HELD_OUT, clipping, detached, nats, seeded
from fmbook.sequences.rnn import RNN, CharacterModel, streams
from fmbook.train import train
from fmbook.transformers.tokenizer import Tokenizer, learn_merges
from fmbook.vocabularies import to_symbols

__all__ = ["characters", "peers", "point", "run", "texts", "tokenizer"]

SEEDS, MERGES, SECONDS, READ = range(3), (0, 250, 1_000, 4_000), 14.0, 100_000
LEARNED_ON, TURNS = 1_000_000, 5  # characters; how often each peer has its turn


@cache
def texts() -> tuple[str, str]:
    """Shakespeare's works to learn from, and the three held out."""
    works = data.shakespeare().items()
    held = [any(play in name for play in HELD_OUT) for name, _ in works]
    both = [
        [text for (_, text), h in zip(works, held, strict=True) if h == kind] for kind in (0, 1)
    ]
    return "".join(both[0]), "".join(both[1])


@cache
def tokenizer(merges: int) -> Tokenizer:
    """The tokenizer with so many merges, learned on the first million characters."""
    return Tokenizer(learn_merges(texts()[0][:LEARNED_ON], merges))


@cache
def encoded(merges: int) -> tuple[Tensor, Tensor]:
    """The works and the first of the held-out text, as ids."""
    learned, held = texts()
    ids = [tokenizer(merges).encode(text) for text in (learned, held[:READ])]
    return torch.tensor(ids[0]), torch.tensor(ids[1])


def characters(tokens: Tensor, merges: int) -> int:
    """How many characters some ids stand for: bytes that do not go on with a character."""
    pieces = tokenizer(merges).pieces
    return sum(byte & 0xC0 != 0x80 for id in tokens.flatten().tolist() for byte in pieces[id])


def new_model(merges: int, seed: int) -> nn.Module:
    """The plain recurrent network of the chapter `rnn`, for this vocabulary."""
    V = len(tokenizer(merges))
    return seeded(lambda: CharacterModel(V, 64, 256, RNN), seed)


def learn(model: nn.Module, merges: int, seed: int, seconds: float) -> Iterator[float]:
    """Train for some CPU-seconds, 32 pieces at a time: yields the CPU-seconds used so far."""
    generator, state = torch.Generator().manual_seed(seed), None
    start = int(torch.randint(3_000, (), generator=generator))
    x, y = streams(encoded(merges)[0][start:], 32, 32)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        nonlocal state
        loss, after = nats(model, *batch, state)
        state = detached(after)
        return loss

    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3, weight_decay=0.0, fused=True)
    optimizer.register_step_pre_hook(clipping(1.0))
    began = time.process_time()
    for _ in train(cycle(zip(x, y, strict=True)), loss_of, optimizer):
        used = time.process_time() - began
        yield used
        if used > seconds:
            return
        optimizer.param_groups[0]["lr"] = 6e-3 * max(0.05, 1 - used / seconds)


@torch.no_grad()
def bits(model: nn.Module, merges: int) -> float:
    """Bits per character on the held-out text, read with the state carried along."""
    x, y = streams(encoded(merges)[1], 20, 50)
    total, state = 0.0, None
    for inputs, targets in zip(x, y, strict=True):
        loss, state = nats(model, inputs, targets, state)
        total += loss.item() * targets.numel() / math.log(2)
    return total / characters(y, merges)


def reached(merges: int, seed: int) -> dict[str, float]:
    """What one training reached: bits per character, characters read, parameters, CPU-seconds."""
    model = new_model(merges, seed)
    seen = list(learn(model, merges, seed, SECONDS))
    ids = encoded(merges)[1]
    return {
        "bits": round(bits(model, merges), 3),
        "read": round(len(seen) * 32 * 32 * characters(ids, merges) / len(ids)),
        "parameters": sum(p.numel() for p in model.parameters()),
        "cpu_seconds": round(seen[-1], 1),
    }


def theirs(mine: Tokenizer) -> Any:
    """Hugging Face's `tokenizers` with our merges and ids."""
    from tokenizers import Regex, models, pre_tokenizers
    from tokenizers import Tokenizer as Rust

    ids = {to_symbols(piece): id for piece, id in mine.vocabulary.items()}
    rust = Rust(models.BPE(ids, [(to_symbols(a), to_symbols(b)) for a, b in mine.merges]))
    split = pre_tokenizers.Split(Regex(mine.pattern), "isolated")
    symbols = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    rust.pre_tokenizer = pre_tokenizers.Sequence([split, symbols])
    return rust


def trained_by_rust(text: str, merges: int) -> Any:
    """Hugging Face's `tokenizers`, which learns its own merges of the same words."""
    from tokenizers import Tokenizer as Rust
    from tokenizers import models, pre_tokenizers, trainers

    rust = Rust(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges, initial_alphabet=alphabet, show_progress=False
    )
    rust.train_from_iterator([text], trainer)
    return rust


def cost(work: Callable[[], Any]) -> float:
    """CPU-seconds of all threads of this process for one piece of work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def peers(turns: int = TURNS) -> dict[str, float]:
    """Median CPU-seconds, ours and the kept libraries' in turns: 4,000 merges of 1 MB, encoding it.

    Encoding begins anew each time: no tokenizer has seen a word before.
    """
    import tiktoken

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread each
    text, mine = texts()[0][:LEARNED_ON], tokenizer(4_000)
    saved = mine.to_json()
    kinds: dict[str, Callable[[], Callable[[], Any]]] = {
        "learn": lambda: lambda: learn_merges(text, 4_000),
        "learn_tokenizers": lambda: lambda: trained_by_rust(text, 4_000),
        "encode": lambda: (lambda new: lambda: new.encode(text))(Tokenizer.from_json(saved)),
        "encode_tokenizers": lambda: (lambda new: lambda: new.encode(text).ids)(theirs(mine)),
        "encode_tiktoken": lambda: (lambda new: lambda: new.encode_ordinary(text))(
            tiktoken.Encoding(
                "ours",
                pat_str=mine.pattern,
                mergeable_ranks=mine.vocabulary,
                special_tokens={},
            )
        ),
    }
    taken = [{name: cost(make()) for name, make in kinds.items()} for _ in range(turns)]
    return {name: round(statistics.median(turn[name] for turn in taken), 3) for name in kinds}


def row(found: list[dict[str, float]]) -> dict[str, Any]:
    """The ledger's row of the network on pieces."""
    return {
        "task": "characters",
        "method": "plain RNN on 1,000 merges",
        "module": "fmbook.transformers.tokenizer",
        "quality": {"bits_per_character": round(statistics.mean(f["bits"] for f in found), 2)},
        "cpu_seconds": round(statistics.mean(f["cpu_seconds"] for f in found), 1),
        "parameters": int(found[0]["parameters"]),
        "decisions": ["how words are cut out", "the number of merges", "sizes", "learning rate"],
        "failures": [
            "Does not see the letters of its pieces.",
            "Numbers and names fall into pieces that say nothing of them.",
        ],
    }


def run() -> dict[str, Any]:
    """Every number of merges over the seeds, in turns; the peers; the ledger's row."""
    torch.set_num_threads(1)
    measured = peers()
    turns = [{merges: reached(merges, seed) for merges in MERGES} for seed in SEEDS]
    text = {str(merges): [turn[merges] for turn in turns] for merges in MERGES}
    return {"text": text, "peers": measured, "ledger": [row(text["1000"])]}


def point() -> tuple[float, float, float]:
    """Bits per character on 1,000 merges, the first seed."""
    from fmbook.records import load

    recorded = load("tokenizer")["text"]["1000"][0]["bits"]
    torch.set_num_threads(1)
    return reached(1_000, 0)["bits"], recorded, 0.2
