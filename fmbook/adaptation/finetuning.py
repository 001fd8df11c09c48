"""Fine-tuning: a model that was trained to continue texts is made to tell kinds of texts apart.

Frozen features, full fine-tuning, continued pre-training, and low-rank updates beside frozen
weights (LoRA) with their merge. Left out: adapters between layers, prefixes, quantized weights
(QLoRA), and labels for single tokens.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmbook.precision import half
from fmbook.train import train
from fmbook.transformers.tokenizer import Tokenizer
from fmbook.transformers.transformer import GPT

M = TypeVar("M", bound=nn.Module)

__all__ = ["Classifier", "LoRA", "adapt", "energy_rank", "lora", "merged", "padded", "pooled"]


def padded(tokenizer: Tokenizer, texts: Sequence[str], T: int) -> tuple[Tensor, Tensor]:
    """The first tokens of each text, with the tokenizer's last piece before them and padding after.

    Returns tokens (B, T), and `real` (B, T), which is False for padding.

    Source: radford2018improving, section 3.3 (a start token before each text).

    >>> tokenizer = Tokenizer([], special=["<end>"])
    >>> tokens, real = padded(tokenizer, ["ab", ""], 4)
    >>> tokens.tolist()
    [[256, 97, 98, 0], [256, 0, 0, 0]]
    >>> real.sum(1).tolist()
    [3, 1]
    """
    first = len(tokenizer) - 1
    rows = [[first, *tokenizer.encode(text[: 8 * T])][:T] for text in texts]
    tokens = torch.tensor([row + [0] * (T - len(row)) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return tokens, torch.arange(T) < lengths[:, None]


def pooled(states: Tensor, real: Tensor) -> Tensor:
    """The mean state of each text over its real tokens: (B, T, D), (B, T) -> (B, D).

    Source: reimers2019sentence, section 3 (the mean beats the first token).

    >>> states = torch.tensor([[[1.0], [3.0], [50.0]]])
    >>> pooled(states, torch.tensor([[True, True, False]])).item()
    2.0
    """
    weights = real.to(states.dtype) / real.sum(1, keepdim=True)
    return torch.einsum("btd,bt->bd", states, weights)


class Classifier(nn.Module):
    """A pre-trained body under a fresh head: tokens (B, T), real (B, T) -> logits (B, classes).

    The head starts at 0, so that at first no class is preferred. With `bf16` its products are in
    half precision, switched on anew for each batch: while the switch is on, torch keeps the
    weights that it has rounded, and would not notice a step.

    Source: radford2018improving, section 3.2.

    >>> from fmbook.transformers.transformer import Sizes
    >>> body = GPT(Sizes(V=9, D=8, N=2, layers=1, context=16))
    >>> tokens = torch.zeros(3, 5).long()
    >>> Classifier(body, 2)(tokens, tokens == 0).tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self, body: GPT, classes: int) -> None:
        super().__init__()
        self.body, self.head, self.bf16 = body, nn.Linear(body.sizes.D, classes), False
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        with half(self.bf16, tokens.device):
            logits: Tensor = self.head(pooled(self.body.states(tokens), real))
        return logits.float()


def lora(x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """A linear map and a low-rank update beside it: x (..., D) -> (..., F).

    W (F, D) is what pre-training left, A (r, D) and B (F, r) are what is learned; the update is
    scaled by alpha / r, so that its size does not hang on the choice of r.

    Source: hu2021lora, equation 3 and section 4.1.

    >>> W, A, B = torch.eye(2), torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0], [2.0]])
    >>> lora(torch.tensor([3.0, 4.0]), W, A, B, alpha=0.5).tolist()
    [3.0, 11.0]
    """
    return F.linear(x, W) + alpha / len(A) * F.linear(F.linear(x, A), B)


def merged(W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """The one matrix (F, D) that does what W (F, D), A (r, D) and B (F, r) do together.

    Source: hu2021lora, section 4.1 (no additional inference latency).

    >>> merged(torch.eye(2), torch.ones(1, 2), torch.tensor([[0.0], [2.0]]), alpha=0.5).tolist()
    [[1.0, 0.0], [1.0, 2.0]]
    """
    return W + alpha / len(A) * B @ A


def energy_rank(before: Tensor, after: Tensor, share: float = 0.9) -> int:
    """How many directions hold this share of what training changed in a matrix (F, D).

    The smallest r such that the r largest singular values of the change have at least `share` of
    the sum of squares of all.

    Raises:
        ValueError: the share is not in 0 to 1, or nothing has changed.

    Source: hu2021lora, section 7.2 and 7.3 (on the rank of updates).

    >>> energy_rank(torch.zeros(3, 3), torch.diag(torch.tensor([3.0, 1.0, 0.0])), 0.95)
    2
    """
    energy = torch.linalg.svdvals((after - before).double()).square()
    if not 0 < share <= 1 or not energy.sum() > 0:
        raise ValueError(f"need a share in 0..1 and a change, got {share} and {energy.sum():g}")
    reached = energy.cumsum(0) >= share * energy.sum() * (1 - 1e-12)
    return int(reached.int().argmax()) + 1


class LoRA(nn.Module):
    """A frozen linear layer with a low-rank update beside it: x (..., D) -> (..., F).

    A starts random and B at 0: at first the layer does what it did before. `within` puts such
    layers into a copy of a model, `merge` takes them out of a copy again.

    Source: hu2021lora, section 4.1 and figure 1.

    >>> layer = nn.Linear(4, 3, bias=False)
    >>> x = torch.randn(2, 4)
    >>> torch.equal(LoRA(layer, r=2, alpha=4)(x), layer(x))
    True
    """

    def __init__(self, layer: nn.Linear, r: int, alpha: float) -> None:
        super().__init__()
        self.weight, self.alpha = nn.Parameter(layer.weight.detach(), requires_grad=False), alpha
        drawn = torch.randn(r, layer.in_features, device=layer.weight.device)
        self.A = nn.Parameter(drawn / layer.in_features**0.5)
        self.B = nn.Parameter(layer.weight.new_zeros(layer.out_features, r))

    def forward(self, x: Tensor) -> Tensor:
        return lora(x, self.weight, self.A, self.B, self.alpha)

    @staticmethod
    def within(model: M, r: int, alpha: float, names: Sequence[str] = ("query", "value")) -> M:
        """A frozen copy of a model with such a layer for each bias-free linear one so named."""
        model = copy.deepcopy(model).requires_grad_(False)
        return _replaced(
            model,
            lambda name, part: (
                LoRA(part, r, alpha) if isinstance(part, nn.Linear) and name in names else None
            ),
        )

    @staticmethod
    def merge(model: M) -> M:
        """A copy in which each such layer is one plain linear layer again, as fast as before."""

        def plain(_: str, part: nn.Module) -> nn.Module | None:
            if not isinstance(part, LoRA):
                return None
            layer = nn.Linear(part.A.shape[1], part.B.shape[0], bias=False)
            layer.weight.data = merged(part.weight, part.A, part.B, part.alpha).detach()
            return layer

        return _replaced(copy.deepcopy(model), plain)


def _replaced(model: M, change: Callable[[str, nn.Module], nn.Module | None]) -> M:
    """The model with every part for which `change(name, part)` has another one."""
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            new = change(name, part)
            if new is not None:
                setattr(parent, name, new)
    return model


def adapt(
    model: Classifier,
    examples: tuple[Tensor, Tensor, Tensor],
    steps: int,
    rate: float,
    generator: torch.Generator,
    batch: int = 16,
) -> Iterator[tuple[int, float]]:
    """Train what is not frozen on tokens (B, T), real (B, T), labels (B,): yields (step, loss).

    The rate rises over the first tenth of the steps and falls along a line to 0. The head, which
    knows nothing yet, learns ten times as fast as the body.

    Source: howard2018universal, section 3.2 (slanted rates; rates by layer).

    >>> from fmbook.transformers.transformer import Sizes
    >>> model = Classifier(GPT(Sizes(V=9, D=8, N=2, layers=1, context=16)), 2)
    >>> tokens, labels = torch.tensor([[1, 2], [3, 4]]), torch.tensor([0, 1])
    >>> seen = adapt(model, (tokens, tokens > 0, labels), 20, 0.01, torch.Generator())
    >>> losses = [loss for _, loss in seen]
    >>> losses[-1] < 0.1 * losses[0]
    True
    """
    tokens, real, labels = examples
    body = [p for p in model.body.parameters() if p.requires_grad]
    groups = [{"params": body, "lr": rate}, {"params": model.head.parameters(), "lr": 10 * rate}]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=0.01, fused=True)
    shape = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min((n + 1) / max(1, 0.1 * steps), (steps - n) / steps)
    )

    def loss_of(i: Tensor) -> Tensor:
        return F.cross_entropy(model(tokens[i], real[i]), labels[i])

    def drawn() -> Iterator[Tensor]:
        for _ in range(steps):
            yield torch.randperm(len(labels), generator=generator)[:batch]

    for step, loss in train(drawn(), loss_of, optimizer):
        shape.step()
        yield step, loss
