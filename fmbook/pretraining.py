"""Pre-training: the recipe of the book's own language model, on one process or on many.

Each step draws its texts from the seed and from its own number. So a run that was killed goes on as
if nothing had happened, and many processes read together what one would have read. Left out:
splitting one model over several devices, and corpora that do not fit into memory.
"""

import hashlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from fmbook import data
from fmbook.device import device
from fmbook.precision import half
from fmbook.train import train
from fmbook.transformers.tokenizer import Tokenizer, learn_merges
from fmbook.transformers.transformer import GPT, Sizes

__all__ = [
    "END",
    "PLAYS",
    "RECIPES",
    "Recipe",
    "State",
    "bits",
    "corpus",
    "crops",
    "new_tokenizer",
    "pages",
    "pretrain",
    "processes",
    "resume",
    "save",
    "stream",
]

PLAYS = ("hamlet", "macbeth", "twelfth_night")  # held out, as in the chapters on recurrent nets
END = "<|end|>"  # stands between two texts


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides what a pre-training gives: sizes, texts a step, steps, rates, seed."""

    sizes: Sizes
    batch: int  # texts of `sizes.context` tokens a step, all processes together
    steps: int
    rate: float = 3e-3
    warmup: int = 100
    decay: float = 0.1
    seed: int = 0
    bf16: bool = False

    def __post_init__(self) -> None:
        if min(self.batch, self.steps, self.rate) <= 0 or not 0 <= self.warmup <= self.steps:
            raise ValueError(f"need texts, steps and a rate above 0, a warm-up within, got {self}")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: up along a line, level, and down over the last 3 tenths.

        As long as it is level nothing depends on `steps`: a run can be made longer until then.
        """
        left = (self.steps - step) / (0.3 * self.steps)
        return self.rate * min((step + 1) / max(1, self.warmup), max(0.02, min(1.0, left)))


RECIPES = {
    # a quarter of an hour of one core; this one is shipped
    "bookworm": Recipe(
        sizes=Sizes(V=2048, D=128, N=4, layers=4, context=128), batch=16, steps=5_000, bf16=True
    ),
    # a few seconds, to try the machinery
    "trial": Recipe(
        sizes=Sizes(V=320, D=16, N=2, layers=1, context=32), batch=8, steps=300, warmup=10
    ),
    # the same for one GPU or several, under torchrun: twice the parameters, many times the reading
    "bookworm_long": Recipe(
        sizes=Sizes(V=2048, D=192, N=6, layers=4, context=256),
        batch=128,
        steps=20_000,
        rate=2e-3,
        warmup=500,
        bf16=True,
    ),
}


def pages() -> tuple[list[data.Page], list[data.Page]]:
    """The encyclopedia's pages to learn from, and a ninth that is held out, chosen by title.

    Lists of what a word may refer to are in neither. The held-out pages are those on which the
    book tests topics, so no model of the book may read them.
    """
    kept = [page for page in data.encyclopedia() if "may refer to" not in page.text]

    def held(page: data.Page) -> bool:
        return hashlib.sha256(page.title.encode()).digest()[0] % 9 == 0

    return [p for p in kept if not held(p)], [p for p in kept if held(p)]


def corpus() -> tuple[list[str], dict[str, list[str]]]:
    """The texts to learn from, works and pages, and those held out, by where they are from."""
    works, (learned, held) = data.shakespeare(), pages()
    texts = [text for name, text in works.items() if name not in PLAYS]
    rest = {"shakespeare": [works[name] for name in PLAYS], "encyclopedia": [p.text for p in held]}
    return texts + [page.text for page in learned], rest


def new_tokenizer(texts: Sequence[str], V: int) -> Tokenizer:
    """A byte-level tokenizer of V pieces, learned from these texts; the last piece is END."""
    return Tokenizer(learn_merges("\n".join(texts), V - 257), special=(END,))


def stream(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """All texts as one row of token numbers (T,), with END before each and at the end."""
    end = len(tokenizer) - 1
    ids = [i for text in texts for i in (end, *tokenizer.encode(text))]
    return torch.tensor([*ids, end])


def crops(tokens: Tensor, recipe: Recipe, step: int) -> tuple[Tensor, Tensor]:
    """The texts of a step: inputs and next tokens, each (B, T); of many processes, this one's."""
    rank, world = _place()
    generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + step)
    T = recipe.sizes.context
    starts = torch.randint(len(tokens) - T, (recipe.batch,), generator=generator)[rank::world]
    rows = tokens[starts[:, None] + torch.arange(T + 1)].to(device())
    return rows[:, :-1], rows[:, 1:]


@dataclass
class State:
    """A pre-training under way."""

    recipe: Recipe
    model: GPT
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0  # of this process, over all its lives
    curve: list[tuple[int, float]] = field(default_factory=list)  # step, mean loss since the last


def _fresh(recipe: Recipe) -> State:
    """A pre-training before its first step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = GPT(recipe.sizes)
    block: Any
    for block in model.blocks:  # at the start no block adds anything to the stream
        torch.nn.init.zeros_(block.attention.output.weight)
        torch.nn.init.zeros_(block.feed_forward.down.weight)
    model = model.to(device())
    matrices = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": recipe.decay},
        {"params": rest},
    ]
    optimizer = torch.optim.AdamW(
        groups, recipe.rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
    return State(recipe, model, optimizer)


def resume(recipe: Recipe, file: Path) -> State:
    """The state in a file, or a fresh one if there is none.

    Raises:
        ValueError: the file was written by another recipe.
    """
    state = _fresh(recipe)
    if file.is_file():
        held = torch.load(file, map_location=device(), weights_only=True)
        if held["recipe"] != asdict(recipe):
            raise ValueError(f"{file} was written by another recipe: remove it to begin anew")
        state.model.load_state_dict(held["model"])
        state.optimizer.load_state_dict(held["optimizer"])
        state.step, state.seconds = held["step"], held["seconds"]
        state.curve = [(step, loss) for step, loss in held["curve"]]
    return state


def save(state: State, file: Path) -> None:
    """Write a state, first beside its place: a kill at any moment leaves a whole file."""
    if _place()[0]:
        return  # all processes hold the same
    aside = file.with_suffix(".aside")
    held = {
        "recipe": asdict(state.recipe),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
        "curve": state.curve,
    }
    torch.save(held, aside)
    os.replace(aside, file)


def pretrain(state: State, tokens: Tensor) -> Iterator[tuple[int, float]]:
    """Go on from a state to the recipe's last step: yields (steps done, loss in nats a token).

    The loss is the mean over all processes. Whoever asks for the next step may save first.
    """
    recipe, model, optimizer = state.recipe, state.model, state.optimizer

    def loss_of(step: int) -> Tensor:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate_at(step)
        x, y = crops(tokens, recipe, step)
        with half(recipe.bf16, x.device):
            return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    def before_step(*_: Any) -> None:
        _average([p.grad for p in model.parameters() if p.grad is not None])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    hook, began = optimizer.register_step_pre_hook(before_step), time.process_time()
    for _, loss in train(range(state.step, recipe.steps), loss_of, optimizer):
        mean = torch.tensor([loss], device=device())
        _average([mean])
        state.step += 1
        now = time.process_time()
        state.seconds, began = state.seconds + now - began, now
        yield state.step, mean.item()
    hook.remove()


@torch.no_grad()
def bits(model: GPT, tokenizer: Tokenizer, texts: Sequence[str], most: int = 10**9) -> float:
    """Bits per character on texts, read in windows of the model's context; at most `most` tokens.

    The windows do not overlap: the first token of each is read, and only predicted as the last
    one of the window before.
    """
    tokens, T = stream(tokenizer, texts)[: most + 1], model.sizes.context
    whole = (len(tokens) - 1) // T * T
    x, y = tokens[:whole].view(-1, T), tokens[1 : whole + 1].view(-1, T)
    place = next(model.parameters()).device
    nats = 0.0
    for inputs, targets in zip(x.split(32), y.split(32), strict=True):
        logits = model(inputs.to(place)).float().flatten(0, 1)
        nats += F.cross_entropy(logits, targets.to(place).flatten(), reduction="sum").item()
    said = tokenizer.decode([i for i in y.flatten().tolist() if i != len(tokenizer) - 1])
    return nats / math.log(2) / len(said)


@contextmanager
def processes() -> Iterator[tuple[int, int]]:
    """Join the processes that torchrun started, if it did: (this one's number, how many)."""
    many = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if many:
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield _place()
    finally:
        if many:
            dist.destroy_process_group()


def _place() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over the processes, in one message."""
    if dist.is_initialized():
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        parts = (flat / dist.get_world_size()).split([t.numel() for t in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))
