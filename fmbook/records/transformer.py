"""GPTs on Shakespeare and on an encyclopedia, beside Hugging Face's GPT-2 and beside an LSTM.

Left out: any search for the best sizes, more than a minute of training, and a second language.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from statistics import mean
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmbook import data
from fmbook.precision import half
from fmbook.records.lstm import LAYERS, new_text_model
from fmbook.records.rnn import HELD_OUT, seeded
from fmbook.records.rnn import bits as recurrent_bits
from fmbook.records.rnn import corpus as characters
from fmbook.records.rnn import learn as recurrent_learn
from fmbook.train import train
from fmbook.transformers.tokenizer import Tokenizer, learn_merges
from fmbook.transformers.transformer import GPT, Sizes

__all__ = [
    "SIZES",
    "Clock",
    "Corpus",
    "additions",
    "batches",
    "beyond",
    "bits",
    "clock_learned",
    "corpus",
    "gradients",
    "learn",
    "new_model",
    "optimizer_of",
    "point",
    "run",
    "small",
    "who_reads",
]

SEEDS, SECONDS, CHARACTER_SECONDS = range(3), 60.0, 30.0
SIZES = Sizes(V=1024, D=128, N=4, layers=4, context=64)
B, RATE, POINTS = 16, 6e-3, 12
NORM_STEPS, PLACE_STEPS, NORM_RATE = 80, 150, 6e-3
POSITIONS = ("none", "learned", "sinusoidal", "rotary")


@dataclass(frozen=True)
class Corpus:
    """Token ids to learn from, ids held out, how many characters those are, and the tokenizer."""

    learned: Tensor
    held: Tensor
    characters: int
    tokenizer: Tokenizer


@cache
def corpus(name: str) -> Corpus:
    """Shakespeare without three plays, or the encyclopedia without each twentieth page, in 1k BPE.

    Held out are 100,000 characters of what was left out; merges are learned from the rest alone.
    """
    if name == "shakespeare":
        parts = list(data.shakespeare().items())
        kept = [text for work, text in parts if not any(play in work for play in HELD_OUT)]
        left = [text for work, text in parts if any(play in work for play in HELD_OUT)]
    else:
        pages = [f"{p.title}\n{p.text}\n\n" for p in data.encyclopedia()]
        kept = [page for i, page in enumerate(pages) if i % 20]
        left = pages[::20]
    text, held = "".join(kept), "".join(left)[:100_000]
    tokenizer = Tokenizer(learn_merges(text[:2_000_000], 768))
    ids = [torch.tensor(tokenizer.encode(part), dtype=torch.int32) for part in (text, held)]
    return Corpus(ids[0], ids[1], len(held), tokenizer)


def new_model(seed: int, sizes: Sizes = SIZES) -> GPT:
    """A GPT before training: 1.05 M parameters, unless other sizes are given."""
    return cast(GPT, seeded(lambda: GPT(sizes), seed))


def batches(tokens: Tensor, seed: int, B: int = B, T: int = 64) -> Iterator[Tensor]:
    """Windows (B, T + 1) of a text from random places, without end."""
    generator, reach = torch.Generator().manual_seed(seed), torch.arange(T + 1)
    for _ in count():
        places = torch.randint(len(tokens) - T, (B, 1), generator=generator)
        yield tokens[places + reach].long()


def next_token_loss(model: Callable[[Tensor], Tensor], on: bool, windows: Tensor) -> Tensor:
    """Cross-entropy of each next token of (B, T + 1), in nats; `on` is the switch of `half`."""
    with half(on, windows.device):
        logits = model(windows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten())


def optimizer_of(model: nn.Module, rate: float = RATE) -> torch.optim.Optimizer:
    """AdamW on all weights, with a short memory of squares and a decay of 0.1."""
    return torch.optim.AdamW(
        model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )


def learn(
    model: Any,
    windows: Iterable[Tensor],
    seconds: float,
    *,
    rate: float = RATE,
    on: bool = False,
    warm: int = 20,
) -> Iterator[tuple[int, float, float]]:
    """Train for some CPU-seconds: yields (steps taken, CPU-seconds of its own so far, nats).

    The rate rises over `warm` steps and falls in a line to a twentieth. Seconds that others use
    between two steps do not count, so that competitors can take turns.
    """
    optimizer = optimizer_of(model, rate / warm)
    steps, used = train(windows, partial(next_token_loss, model, on), optimizer), 0.0
    while used < seconds:
        done = used / seconds
        began = time.process_time()
        step, loss = next(steps)
        used += time.process_time() - began
        yield step + 1, used, loss
        optimizer.param_groups[0]["lr"] = rate * min((step + 2) / warm, 1, max(0.05, 1 - done))


@torch.no_grad()
def bits(model: Callable[[Tensor], Tensor], tokens: Tensor, characters: int, T: int = 64) -> float:
    """Bits per character of a held-out text, in windows that overlap by half.

    Of each window the second half counts: every token is predicted from at least T / 2 others.
    """
    windows, total = tokens.long().unfold(0, T + 1, T // 2), 0.0
    for part in windows.split(32):
        logits = model(part[:, :-1])
        losses = F.cross_entropy(logits.mT, part[:, 1:], reduction="none")
        total += losses[:, T // 2 :].sum().item()
    counted = T // 2 * len(windows)
    return total / counted / math.log(2) * len(tokens) / characters


class HuggingFace(nn.Module):
    """GPT-2 as Hugging Face has it, with the same sizes: tokens (B, T) -> logits (B, T, V)."""

    def __init__(self, sizes: Sizes = SIZES) -> None:
        from transformers import GPT2Config, GPT2LMHeadModel

        super().__init__()
        config = GPT2Config(
            vocab_size=sizes.V,
            n_positions=sizes.context,
            n_embd=sizes.D,
            n_layer=sizes.layers,
            n_head=sizes.N,
            bos_token_id=0,
            eos_token_id=0,
        )
        self.model = GPT2LMHeadModel(config)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens).logits
        return logits


def followed(runs: dict[str, Iterator[tuple[int, float, float]]]) -> dict[str, dict[str, Any]]:
    """Runs that take turns, a step each, until all have ended: steps, CPU-seconds and curves."""
    seen: dict[str, list[tuple[int, float, float]]] = {name: [] for name in runs}
    going = dict(runs)
    while going:
        for name in list(going):
            if (now := next(going[name], None)) is None:
                del going[name]
            else:
                seen[name].append(now)
    return {name: drawn(found) for name, found in seen.items()}


def drawn(found: list[tuple[int, float, float]]) -> dict[str, Any]:
    """A run at twelve points: mean loss of each twelfth, and the step and second at its end."""
    ends = [math.ceil(len(found) * (i + 1) / POINTS) for i in range(POINTS)]
    starts = [0, *(end - 1 for end in ends[:-1])]
    return {
        "steps": [found[end - 1][0] for end in ends],
        "cpu_seconds": [round(found[end - 1][1], 1) for end in ends],
        "loss": [
            round(mean(loss for *_, loss in found[start:end]), 3)
            for start, end in zip(starts, ends, strict=True)
        ],
    }


def raced(name: str, seed: int, kinds: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Models on one corpus, in turns: ours in float32, ours with the switch, Hugging Face's."""
    text = corpus(name)
    models: dict[str, Any] = {
        kind: seeded(HuggingFace, seed) if kind == "hugging_face" else new_model(seed)
        for kind in kinds
    }
    found = followed(
        {
            kind: learn(model, batches(text.learned, seed), SECONDS, on=kind == "half")
            for kind, model in models.items()
        }
    )
    for kind, model in models.items():
        found[kind]["bits"] = round(bits(model.eval(), text.held, text.characters), 3)
        used = found[kind]["cpu_seconds"][-1]
        found[kind]["tokens_per_second"] = round(B * 64 * found[kind]["steps"][-1] / used)
    return found


def spelled(seed: int) -> dict[str, dict[str, Any]]:
    """A GPT on characters, four windows of 128 a step; then an LSTM for as long.

    Losses are bits per character; the LSTM is that of the recipe `lstm`, which reads on and on.
    """
    learned, held, known = characters()
    gpt = new_model(seed, Sizes(V=len(known), D=128, N=4, layers=4, context=128))
    windows = batches(learned, seed, B=4, T=128)
    found = followed({"gpt": learn(gpt, windows, CHARACTER_SECONDS, rate=4e-3)})
    found["gpt"]["loss"] = [round(loss / math.log(2), 3) for loss in found["gpt"]["loss"]]
    found["gpt"]["bits"] = round(bits(gpt, held[:100_000], 100_000, T=128), 3)
    lstm = new_text_model(LAYERS["lstm"], seed)
    found |= followed({"lstm": recurrent_learn(lstm, CHARACTER_SECONDS, seed)})
    found["lstm"]["bits"] = round(recurrent_bits(lstm), 3)
    return found


def small(layers: int, norm: str, positions: str, seed: int) -> GPT:
    """A GPT on characters that trains in seconds: 64 wide, 2 heads."""
    V = len(characters()[2])
    sizes = Sizes(V=V, D=64, N=2, layers=layers, context=256, norm=norm, positions=positions)
    return new_model(seed, sizes)


def trained(model: GPT, seed: int, steps: int, rate: float, T: int = 64, warm: int = 1) -> float:
    """Train a small GPT for some steps of 16 windows; returns its bits over the last 30 steps."""
    runs = learn(model, batches(characters()[0], seed, 16, T), math.inf, rate=rate, warm=warm)
    last = [loss for _, (_, _, loss) in zip(range(steps), runs, strict=False)][-30:]
    return round(mean(last) / math.log(2), 3)


@torch.no_grad()
def beyond(model: GPT, T: int = 192, parts: int = 6) -> list[float]:
    """Bits per character by place in windows of T, a mean for each sixth of them."""
    windows = characters()[1][: 64 * (T + 1)].view(64, T + 1)
    losses = F.cross_entropy(model(windows[:, :-1]).mT, windows[:, 1:], reduction="none")
    return [round(part.mean().item() / math.log(2), 3) for part in losses.chunk(parts, 1)]


def norms() -> dict[str, list[float]]:
    """Bits after 80 steps of 8 layers without a warm-up, by where the norms stand, over seeds."""
    return {
        norm: [trained(small(8, norm, "rotary", s), s, NORM_STEPS, NORM_RATE, T=32) for s in SEEDS]
        for norm in ("pre", "post")
    }


def places() -> dict[str, list[list[float]]]:
    """By kind of positions and seed: bits per character by place, trained on 64, read on 192."""
    found: dict[str, list[list[float]]] = {}
    for positions in POSITIONS:
        models = [small(2, "pre", positions, seed) for seed in SEEDS]
        for seed, model in zip(SEEDS, models, strict=True):
            trained(model, seed, PLACE_STEPS, 6e-3, warm=20)
        found[positions] = [beyond(model) for model in models]
    return found


class Clock(nn.Module):
    """An hour and hours to go, summed in one vector; parts that add to it; logits of 24 hours."""

    def __init__(self, parts: list[nn.Module], norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.hour, self.later = nn.Embedding(24, 32), nn.Embedding(24, 32)
        self.parts, self.readout = nn.ModuleList(parts), nn.Linear(32, 24)
        self.norms = nn.ModuleList(norm(32) for _ in parts)

    def forward(self, hour: Tensor, later: Tensor) -> Tensor:
        x = (self.hour(hour) + self.later(later))[:, None]  # (B, 1, D)
        for norm, part in zip(self.norms, self.parts, strict=True):
            x = x + part(norm(x))
        logits: Tensor = self.readout(x[:, 0])
        return logits


def clock_learned(seed: int, kinds: list[Any], norm: Callable[[int], nn.Module]) -> float:
    """The share of the clock's 576 facts that such parts know after 120 looks at all of them."""
    model = seeded(lambda: Clock([kind() for kind in kinds], norm), seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0, fused=True)
    hour, later = torch.cartesian_prod(torch.arange(24), torch.arange(24)).T
    answer = (hour + later) % 24
    for _ in train(range(120), lambda _: F.cross_entropy(model(hour, later), answer), optimizer):
        pass
    return float((model(hour, later).argmax(-1) == answer).float().mean())


@torch.no_grad()
def who_reads(say: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """1 where an output of (B, T, ...) moves when a token of (B, S) changes, else 0: (T, S)."""
    places = torch.arange(tokens.shape[1])
    moved = [(say(tokens + (places == s)) - say(tokens)).abs().amax((0, 2)) for s in places]
    return (torch.stack(moved, 1) > 1e-6).float()


def gradients(norm: str, gain: float, seed: int) -> list[float]:
    """The gradient's length in each feed-forward of 16 blocks, weights multiplied by `gain`."""
    model = new_model(seed, Sizes(V=84, D=64, N=2, layers=16, context=64, norm=norm))
    scaled = ("value.weight", "output.weight", "up.weight", "down.weight")
    with torch.no_grad():
        for name, weight in model.blocks.named_parameters():
            weight.mul_(gain if name.endswith(scaled) else 1)
    x = torch.randint(84, (8, 33), generator=torch.Generator().manual_seed(seed))
    F.cross_entropy(model(x[:, :-1]).mT, x[:, 1:]).backward()
    blocks: Any = model.blocks
    return [block.feed_forward.down.weight.grad.norm().item() for block in blocks]


@torch.no_grad()
def additions(model: GPT, tokens: Tensor) -> Tensor:
    """What a pre-norm model adds to its stream over tokens (T,): the embedding, then each part's.

    (1 + 2 layers, T, D); their running sum is the stream after each of them.
    """
    added, blocks = [model.embedding(tokens)], cast(Any, model.blocks)
    parts = [part for block in blocks for part in (block.attention, block.feed_forward)]
    hooks = [part.register_forward_hook(lambda *x: added.append(x[-1][0])) for part in parts]
    model(tokens[None])
    for hook in hooks:
        hook.remove()
    return torch.stack(added)


def row(method: str, found: list[dict[str, Any]], model: nn.Module, tokens: str) -> dict[str, Any]:
    """The ledger's row of a GPT on Shakespeare."""
    return {
        "task": "characters",
        "method": method,
        "module": "fmbook.transformers.transformer",
        "quality": {"bits_per_character": round(mean(f["bits"] for f in found), 2)},
        "cpu_seconds": round(mean(f["cpu_seconds"][-1] for f in found), 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "decisions": [tokens, "sizes", "learning rate and its schedule", "rotary positions"],
        "failures": [
            "Blind beyond its window: what was said a page ago is gone.",
            "Writes lines that scan, and means nothing by them.",
        ],
    }


def run() -> dict[str, Any]:
    """Two corpora, the peer, the switch, the LSTM, norms, positions, and the ledger's rows."""
    torch.set_num_threads(1)
    shakespeare = [raced("shakespeare", s, ("ours", "half", "hugging_face")) for s in SEEDS]
    text = [spelled(seed) for seed in SEEDS]
    steady = {"norms": norms(), "places": places()}
    encyclopedia = [raced("encyclopedia", s, ("ours", "half")) for s in SEEDS]
    ours = [found["ours"] for found in shakespeare]
    spelling: Any = new_model(0, Sizes(V=84, D=128, N=4, layers=4, context=128))
    return {
        "shakespeare": shakespeare,
        "encyclopedia": encyclopedia,
        "characters": text,
        **steady,
        "ledger": [
            row("GPT, characters", [f["gpt"] for f in text], spelling, "characters as tokens"),
            row("GPT, byte pairs", ours, new_model(0), "1,024 pieces of byte-pair encoding"),
        ],
    }


def point() -> tuple[float, float, float]:
    """The loss of the first pre-norm model, in bits per character."""
    from fmbook.records import load

    recorded = load("transformer")["norms"]["pre"][0]
    return trained(small(8, "pre", "rotary", 0), 0, NORM_STEPS, NORM_RATE, T=32), recorded, 0.1
