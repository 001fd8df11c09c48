"""Adversarial networks: one network makes images, another tells them from real ones; both learn.

Left out: labels (each image comes from noise alone), gradient penalties, larger images, and every
trick of training that the chapter does not measure.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "Discriminator",
    "Game",
    "Generator",
    "frechet_distance",
    "losses",
    "moving_average",
    "play",
    "spectral_norm",
]

KINDS = ("saturating", "non-saturating", "hinge")
SLOPE = 1.5  # of a layer with spectral norm: with 1, rectifiers in between leave the score too flat


def losses(kind: str, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """What the discriminator and what the generator minimize, given scores of images.

    Shapes: real (B) and fake (B) -> two scalars, in nats where `kind` is "saturating" (the game as
    it is defined) or "non-saturating" (as it is played); for "hinge" in units of the score. A score
    is a log-odds: above 0 means "real".

    Raises:
        ValueError: an unknown kind.

    Source: goodfellow2014generative, equation 1 and section 3; lim2017geometric for the hinge.

    >>> [round(loss.item(), 3) for loss in losses("non-saturating", torch.zeros(4), torch.zeros(4))]
    [1.386, 0.693]
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean()
    caught = F.softplus(fake).mean()  # -log(1 - D(fake)), with D the logistic of the score
    tells = F.softplus(-real).mean() + caught
    return tells, -caught if kind == "saturating" else F.softplus(-fake).mean()


def spectral_norm(weight: Tensor, u: Tensor, steps: int = 1) -> tuple[Tensor, Tensor]:
    """The largest factor by which a matrix (O, I) stretches a vector, by power iteration.

    Starts from a guess u (O) of its left singular vector, and returns the norm and a better guess.
    The gradient flows through the norm, not through the guess.

    Source: miyato2018spectral, algorithm 1.

    >>> sigma, u = spectral_norm(torch.diag(torch.tensor([3.0, 1.0])), torch.ones(2), steps=20)
    >>> round(sigma.item(), 4)
    3.0
    """
    with torch.no_grad():
        for _ in range(steps):
            v = F.normalize(weight.T @ u, dim=0)
            u = F.normalize(weight @ v, dim=0)
    return u @ weight @ v, u


class _Spectral(nn.Module):
    """A layer's weight, given a spectral norm of `SLOPE` (for `nn.utils.parametrize`)."""

    u: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        u = F.normalize(torch.randn(len(weight)), dim=0)
        self.register_buffer("u", spectral_norm(weight.detach().flatten(1), u, 15)[1])

    def forward(self, weight: Tensor) -> Tensor:
        sigma, u = spectral_norm(weight.flatten(1), self.u)
        if self.training:
            self.u.copy_(u)
        return weight * (SLOPE / sigma)


class Generator(nn.Module):
    """Noise (B, Z) to images (B, 1, 28, 28) with values in 0 to 1: from 7 x 7 maps to 14, to 28.

    A dense layer, a strided transposed convolution and one of four channels, each a pixel of every
    2 x 2 block; batch norm and rectifiers between them, `width` channels before the last. In
    training it normalizes by the batch, in evaluation by what it has seen.

    Source: radford2015unsupervised, section 3; shi2016real (the blocks).

    >>> Generator(Z=8)(torch.zeros(5, 8)).shape
    torch.Size([5, 1, 28, 28])
    """

    def __init__(self, Z: int = 64, width: int = 16) -> None:
        super().__init__()
        self.Z = Z
        self.start = nn.Linear(Z, 4 * width * 49, bias=False)
        self.grow = nn.Sequential(
            nn.Unflatten(1, (4 * width, 7, 7)),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * width, width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 4, 3, padding=1),
            nn.PixelShuffle(2),  # on CPUs far faster than a convolution to or from one channel
        )

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.grow(self.start(z)))


class Discriminator(nn.Module):
    """Images (B, 1, 28, 28) to scores (B), the log-odds that an image is real.

    Each 2 x 2 block of pixels becomes four channels; two strided convolutions and two dense layers
    follow. `spectral` gives each weight a spectral norm of `SLOPE`.

    Source: radford2015unsupervised, section 3; miyato2018spectral, section 2.1.

    >>> Discriminator(spectral=True)(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5])
    """

    def __init__(self, width: int = 16, *, spectral: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(4, width, 4, stride=2, padding=1),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.Linear(2 * width * 16, 64),
            nn.Linear(64, 1),
        ]
        for layer in layers if spectral else []:
            weight = layer.get_parameter("weight")
            nn.utils.parametrize.register_parametrization(layer, "weight", _Spectral(weight))
        self.layers = nn.ModuleList(layers)

    def forward(self, images: Tensor) -> Tensor:
        first, second, hidden, last = self.layers
        x = F.leaky_relu(first(F.pixel_unshuffle(images, 2)), 0.2)
        x = F.leaky_relu(second(x), 0.2)
        scores: Tensor = last(F.leaky_relu(hidden(x.flatten(1)), 0.2))
        return scores.squeeze(1)


@dataclass(frozen=True, kw_only=True)
class Game:
    """How a game is played: the kind of its losses, both players' rates, and Adam's memory.

    Raises:
        ValueError: an unknown kind, or a rate that is not above 0.

    Source: gulrajani2017improved, algorithm 1 (these betas: the first, 0, keeps nothing of older
    slopes, for the opponent has moved on); heusel2017gans (two rates).

    >>> Game(kind="saturating").rates
    (0.004, 0.004)
    """

    kind: str = "hinge"
    rates: tuple[float, float] = (4e-3, 4e-3)  # generator, discriminator
    betas: tuple[float, float] = (0.0, 0.9)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if min(self.rates) <= 0:
            raise ValueError(f"rates must be above 0, got {self.rates}")


def play(
    players: tuple[Any, Any],
    batches: Iterable[Tensor],
    game: Game,
    noise: torch.Generator,
) -> Iterator[tuple[float, float]]:
    """One round a batch (B, ...) of real data, yielding both losses: discriminator's, generator's.

    In a round the generator (with its width of noise in `Z`) makes B fakes, the discriminator takes
    a step on both, then the generator takes one on what the discriminator now says of its fakes.

    Source: goodfellow2014generative, algorithm 1 with k = 1.

    >>> players = Generator(Z=8), Discriminator()
    >>> rounds = play(players, [torch.rand(4, 1, 28, 28)] * 2, Game(), torch.Generator())
    >>> len(list(rounds))
    2
    """
    generator, discriminator = players
    steps = [
        torch.optim.Adam(player.parameters(), lr=rate, betas=game.betas, fused=True)
        for player, rate in zip(players, game.rates, strict=True)
    ]
    for real in batches:
        fake = generator(torch.randn(len(real), generator.Z, generator=noise))
        scores = discriminator(torch.cat((real, fake.detach()))).chunk(2)
        told = losses(game.kind, *scores)[0]
        steps[1].zero_grad()
        told.backward()
        steps[1].step()
        discriminator.requires_grad_(False)  # the judge stands still while the maker learns
        fooled = losses(game.kind, scores[0].detach(), discriminator(fake))[1]
        steps[0].zero_grad()
        fooled.backward()
        steps[0].step()
        discriminator.requires_grad_(True)
        yield told.item(), fooled.item()


def moving_average(
    average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float
) -> dict[str, Tensor]:
    """The exponential moving average of a model's state, one step on; whole numbers are copied.

    Each tensor keeps its shape, such as (O, I): decay * average + (1 - decay) * weights.

    Raises:
        ValueError: decay is not from 0 to 1.

    Source: yazici2018unusual, section 3.

    >>> moving_average({"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}, 0.75)
    {'w': tensor([1.5000])}
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be from 0 to 1, got {decay}")
    return {
        name: torch.lerp(new, average[name], decay) if new.is_floating_point() else new.clone()
        for name, new in weights.items()
    }


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The distance of two clouds of features (n, D) and (m, D), each taken for a Gaussian.

    The squared distance of the means, plus the trace of S + T - 2 (S T)^(1/2) for the covariances
    S and T, each (D, D). In squared units of the features.

    Raises:
        ValueError: the widths differ, or a cloud has fewer than two points.

    Source: dowson1982frechet; heusel2017gans, "Performance Measure" (there as FID).

    >>> cloud = torch.tensor([[0.0], [2.0]])
    >>> frechet_distance(cloud, cloud + 3)
    9.0
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"expected (n, D) and (m, D), got {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = a.double(), b.double()
    S, T = torch.atleast_2d(a.T.cov()), torch.atleast_2d(b.T.cov())
    values, vectors = torch.linalg.eigh(S)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ T @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + S.trace() + T.trace() - 2 * cross)
