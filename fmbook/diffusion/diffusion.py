"""Diffusion: images drown in noise by a formula, and a network learns the way back.

One formula serves every kind: DDPM, DDIM and flow matching differ in the path, in what the network
predicts, and in how much fresh noise a step adds. Left out: likelihoods, learned variances, solvers
of higher order, attention within the U-Net, latent spaces, text.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Process", "UNet", "estimates", "guided", "noised", "schedule", "step"]

PATHS = ("flow", "cosine", "linear")
TARGETS = ("noise", "data", "velocity")
NOBODY = 10  # the label that says nothing
Pair = tuple[Tensor, Tensor]
Network = Callable[[Tensor, Tensor, Tensor], Tensor]  # noisy images, times and labels -> images


def schedule(path: str, t: Tensor) -> Pair:
    """How much of the data and how much noise a noisy image holds at times t (B), from 0 to 1.

    Returns alpha (B) and sigma (B). "flow" is a straight line; "cosine" and "linear" keep
    alpha^2 + sigma^2 = 1, "linear" being the limit of Ho's thousand steps, whose variances grow
    from 1e-4 to 0.02.

    Raises:
        ValueError: an unknown path.

    Source: ho2020denoising, section 4 (linear); lipman2022flow, example II (flow, there from noise
    to data); nichol2021improved, section 3.2 (cosine, there with a small offset).

    >>> schedule("flow", torch.tensor([0.25]))
    (tensor([0.7500]), tensor([0.2500]))
    """
    if path == "flow":
        return 1 - t, t
    if path == "cosine":
        return (torch.pi / 2 * t).cos(), (torch.pi / 2 * t).sin()
    if path == "linear":
        alpha = (-0.05 * t - 4.975 * t.square()).exp()
        return alpha, (1 - alpha.square()).sqrt()
    raise ValueError(f"path must be one of {', '.join(PATHS)}, got {path!r}")


def noised(data: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The noisy images, in one go: alpha * data + sigma * noise.

    Shapes: data and noise (B, C, H, W), alpha and sigma (B), a number for each image.

    Source: sohldickstein2015deep, section 2.1; ho2020denoising, equation 4.

    >>> data, noise = torch.ones(1, 1, 1, 1), -torch.ones(1, 1, 1, 1)
    >>> noised(data, noise, torch.tensor([0.8]), torch.tensor([0.6])).item()
    0.19999998807907104
    """
    return alpha.view(-1, 1, 1, 1) * data + sigma.view(-1, 1, 1, 1) * noise


def estimates(target: str, predicted: Tensor, noisy: Tensor, alpha: Tensor, sigma: Tensor) -> Pair:
    """What a prediction says of the data and of the noise, both (B, C, H, W).

    `predicted` is the noise, the data, or the velocity noise - data; alpha and sigma (B) belong to
    `noisy`. The data are clipped to -1 to 1, and the noise follows from what is left.

    Raises:
        ValueError: an unknown target.

    Source: ho2020denoising, equation 15 (noise); salimans2022progressive, section 4 (all three).

    >>> noisy, half = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0.5])
    >>> [x.item() for x in estimates("velocity", torch.zeros(1, 1, 1, 1), noisy, half, half)]
    [0.5, 0.5]
    """
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
    a, s = alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    if target == "noise":
        data = (noisy - s * predicted) / a.clamp(min=1e-3)  # at the start there is no data to see
    else:
        data = predicted if target == "data" else (noisy - s * predicted) / (a + s)
    data = data.clamp(-1, 1)
    return data, (noisy - a * data) / s


def step(data: Tensor, noise: Tensor, before: Pair, after: Pair, fresh: Tensor | None) -> Tensor:
    """One step towards the data: what is known is mixed anew, with less noise.

    `data` and `noise` (B, C, H, W) are estimates; `before` and `after` are (alpha, sigma), each
    (B). Without `fresh` noise (B, C, H, W) the step is DDIM's, and on the path "flow" Euler's; with
    it DDPM's: part of the noise is thrown away and replaced.

    Source: song2020denoising, equations 12 and 16 (eta is 0 or 1); ho2020denoising, equation 7.

    >>> one, pair = torch.ones(1, 1, 1, 1), (torch.tensor([0.5]), torch.tensor([0.5]))
    >>> step(one, one, pair, (torch.tensor([1.0]), torch.tensor([0.0])), None).item()
    1.0
    """
    (a, s), (alpha, sigma) = ([x.view(-1, 1, 1, 1) for x in pair] for pair in (before, after))
    if fresh is None:
        return alpha * data + sigma * noise
    kept = a * sigma.square() / (alpha * s)
    replaced = (sigma.square() - kept.square()).clamp(min=0).sqrt()
    return alpha * data + kept * noise + replaced * fresh


def guided(model: Network, noisy: Tensor, t: Tensor, labels: Tensor, scale: float) -> Tensor:
    """The prediction with labels, pushed away from the one without: free + scale (told - free).

    Shapes: noisy (B, C, H, W), t (B), labels (B) -> (B, C, H, W). A scale of 1 is the network as it
    is, and costs half.

    Source: ho2022classifier, equation 6 (where w is scale - 1).

    >>> model = lambda noisy, t, labels: labels.view(-1, 1, 1, 1).float()
    >>> guided(model, torch.zeros(1, 1, 1, 1), torch.ones(1), torch.tensor([4]), 2.0).item()
    -2.0
    """
    if scale == 1:
        return model(noisy, t, labels).float()
    both = torch.cat((labels, torch.full_like(labels, NOBODY)))
    told, free = model(noisy.repeat(2, 1, 1, 1), t.repeat(2), both).float().chunk(2)
    return free + scale * (told - free)


@dataclass(frozen=True, kw_only=True)
class Process:
    """A path from data to noise, what the network predicts on it, and how it is walked back.

    `steps` many, each guided by `scale`, with fresh noise if `fresh`. Training meets all times
    alike, or those of the middle more often, if `middle`. Images hold -1 to 1.

    Raises:
        ValueError: an unknown path or target, or fewer than one step.

    Source: ho2020denoising, algorithms 1 and 2; lipman2022flow, equation 9; ho2022classifier,
    algorithms 1 and 2; lugmayr2022repaint, equation 8 (known pixels); esser2024scaling, section
    3.1 (the middle: there the logit-normal density with mean 0 and deviation 1).

    >>> Process(target="noise", fresh=True).path
    'flow'
    """

    path: str = "flow"
    target: str = "data"
    steps: int = 10
    scale: float = 1.0
    fresh: bool = False
    middle: bool = False

    def __post_init__(self) -> None:
        schedule(self.path, torch.zeros(1))
        if self.target not in TARGETS or self.steps < 1:
            raise ValueError(f"need one of {TARGETS} and a step, got {self.target}, {self.steps}")

    def times(self, n: int, chance: torch.Generator, device: torch.device) -> Tensor:
        """The times (n), 0 to 1, of a batch of training."""
        if self.middle:
            return torch.randn(n, generator=chance, device=device).sigmoid()
        return torch.rand(n, generator=chance, device=device)

    def loss(self, model: Network, data: Tensor, labels: Tensor, chance: torch.Generator) -> Tensor:
        """The mean squared error at random times; every tenth label is withheld (a scalar)."""
        t = self.times(len(data), chance, data.device).clamp(min=1e-3)
        noise = torch.randn(data.shape, generator=chance, device=data.device)
        hide = torch.rand(len(data), generator=chance, device=data.device) < 0.1
        alpha, sigma = schedule(self.path, t)
        predicted = model(noised(data, noise, alpha, sigma), t, labels.masked_fill(hide, NOBODY))
        wanted = {"noise": noise, "data": data, "velocity": noise - data}[self.target]
        return F.mse_loss(predicted.float(), wanted)

    @torch.no_grad()
    def sample(
        self,
        model: Network,
        noisy: Tensor,
        labels: Tensor,
        chance: torch.Generator | None = None,
        known: Pair | None = None,
    ) -> Iterator[Pair]:
        """From noise (B, C, H, W) to images, yielding after each step what is there and the guess.

        `known` is images and a mask, both (B, C, H, W): where the mask is true, each step puts in
        the known pixels, with as much noise as the rest has.
        """
        times = torch.linspace(1, 0, self.steps + 1, device=noisy.device)
        draw = partial(torch.randn, noisy.shape, generator=chance, device=noisy.device)
        for now, later in pairwise(times[:, None].expand(-1, len(noisy))):
            before, after = schedule(self.path, now), schedule(self.path, later)
            predicted = guided(model, noisy, now, labels, self.scale)
            data, noise = estimates(self.target, predicted, noisy, *before)
            noisy = step(data, noise, before, after, draw() if self.fresh else None)
            if known is not None:
                noisy = torch.where(known[1], noised(known[0], draw(), *after), noisy)
            yield noisy, data


class _Conv(nn.Module):
    """A 3 x 3 convolution that keeps its weight as a matrix (O, 9 I), as optimizers like it."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.randn(outputs, 9 * inputs) / (9 * inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.unflatten(1, (-1, 3, 3))
        return F.conv2d(x, weight, self.bias, self.stride, padding=1)


class _Block(nn.Module):
    """Two convolutions beside a shortcut; time and label scale and shift what is in between."""

    def __init__(self, inputs: int, outputs: int, told: int) -> None:
        super().__init__()
        self.first, self.second = _Conv(inputs, outputs), _Conv(outputs, outputs)
        self.tell = nn.Linear(told, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.second.weight)  # each block starts as its shortcut

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.tell(told)[:, :, None, None].chunk(2, 1)
        h = self.first(F.silu(x)) * (1 + scale) + shift
        return self.skip(x) + self.second(F.silu(h))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Noisy images (B, 1, 28, 28), times (B) and labels (B) to a prediction (B, 1, 28, 28).

    Each 2 x 2 block of pixels becomes four channels; a block at 14 x 14 with `width` channels, two
    at 7 x 7 with `inner`, and one at 14 x 14 that also sees what the first one made. Label 10 says
    nothing. There is no normalization: on CPUs it would take as long as the convolutions.

    Source: ronneberger2015unet, section 2; ho2020denoising, appendix B; shi2016real (the blocks).

    >>> UNet(8, 16)(torch.zeros(5, 1, 28, 28), torch.zeros(5), torch.arange(5)).shape
    torch.Size([5, 1, 28, 28])
    """

    pitch: Tensor

    def __init__(self, width: int = 32, inner: int = 96, classes: int = 10) -> None:
        super().__init__()
        told = 2 * width
        self.register_buffer("pitch", torch.linspace(0, 6, width // 2).exp())
        self.time = nn.Sequential(nn.Linear(width, told), nn.SiLU(), nn.Linear(told, told))
        self.label = nn.Embedding(classes + 1, told)
        self.enter, self.down = _Conv(4, width), _Block(width, width, told)
        self.halve = _Conv(width, inner, stride=2)
        self.middle = nn.ModuleList(_Block(inner, inner, told) for _ in range(2))
        self.widen = nn.ConvTranspose2d(inner, width, 2, stride=2)
        self.up, self.leave = _Block(2 * width, width, told), _Conv(width, 4)
        nn.init.zeros_(self.leave.weight)

    def forward(self, noisy: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        waves = t[:, None] * self.pitch
        told = F.silu(self.time(torch.cat((waves.sin(), waves.cos()), 1)) + self.label(labels))
        x = F.pixel_unshuffle(noisy, 2).contiguous(memory_format=torch.channels_last)
        wide = self.down(self.enter(x), told)
        h = self.halve(wide)
        for block in self.middle:
            h = block(h, told)
        h = self.up(torch.cat((self.widen(h), wide), 1), told)
        return F.pixel_shuffle(self.leave(F.silu(h)), 2)
