"""How a small language model writes under each rule of decoding, over seeds, and how fast.

The writer is a GPT that read the encyclopedia for about two minutes; `store_writer` trains it.
Left out: any search for its best sizes and rates, and readers who judge what it writes.
"""

import hashlib
import math
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fmbook import data
from fmbook.precision import half
from fmbook.train import train
from fmbook.transformers.tokenizer import Tokenizer, learn_merges
from fmbook.transformers.transformer import GPT, Sizes

__all__ = ["END", "SIZES", "fit", "pages", "stream"]

END = "<|end|>"  # stands between two pages
SIZES = Sizes(V=1024, D=128, N=4, layers=4, context=128)
BATCH, STEPS, WARMUP, RATE = 16, 900, 50, 3e-3


@cache
def pages() -> tuple[tuple[data.Page, ...], tuple[data.Page, ...]]:
    """The encyclopedia's pages to learn from, and a ninth that is held out, chosen by title."""
    kept = [page for page in data.encyclopedia() if "may refer to" not in page.text]
    held = [hashlib.sha256(page.title.encode()).digest()[0] % 9 == 0 for page in kept]
    parts = [tuple(p for p, out in zip(kept, held, strict=True) if out == kind) for kind in (0, 1)]
    return parts[0], parts[1]


def stream(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """All texts as one row of tokens (T,), END before each and at the end."""
    end = len(tokenizer) - 1
    return torch.tensor([*(i for text in texts for i in (end, *tokenizer.encode(text))), end])


def fit(model: GPT, tokens: Tensor, seed: int) -> Iterator[tuple[int, float]]:
    """Train by AdamW on crops of the stream; the rate rises, then falls: (step, loss in nats)."""
    generator, T = torch.Generator().manual_seed(seed), model.sizes.context
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, RATE, betas=(0.9, 0.95), fused=True)
    optimizer.register_step_pre_hook(
        lambda *_: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0) and None
    )

    def loss_of(step: int) -> Tensor:
        done = max(0.0, (step - WARMUP) / (STEPS - WARMUP))
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(
                (step + 1) / WARMUP, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
            )
        starts = torch.randint(len(tokens) - T, (BATCH,), generator=generator)
        rows = tokens[starts[:, None] + torch.arange(T + 1)]
        with half(True):
            logits = model(rows[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())

    yield from train(range(STEPS), loss_of, optimizer)
