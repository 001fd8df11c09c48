"""Convolution: the same small pattern is looked for at every place of an image.

Left out: dilation, groups, rectangular kernels, and faster ways than one matrix product (Winograd,
FFT). The reader of digits that later chapters measure with is trained here and stored with the
book: `digit_reader.toml` is its card.
"""

import hashlib
import io
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "LeNet",
    "convolve",
    "digit_reader",
    "max_pool",
    "patches",
    "receptive_field",
    "shift",
]


def patches(images: Tensor, size: int, stride: int = 1, padding: int = 0) -> Tensor:
    """Every patch of size x size pixels as a column (im2col): (B, C, H, W) -> (B, C size size, P).

    Around each image lie `padding` pixels of 0; neighbouring patches lie `stride` pixels apart.
    The P places come row by row; within a column, channel by channel, then row by row.

    Raises:
        ValueError: not even one patch fits.

    Source: chellapilla2006high, abstract (unrolled convolution).

    >>> patches(torch.arange(9.0).reshape(1, 1, 3, 3), size=2)[0].T.int().tolist()
    [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]
    """
    framed = F.pad(images, (padding,) * 4)
    if min(framed.shape[-2:]) < size:
        raise ValueError(f"a {size} x {size} patch does not fit into {tuple(framed.shape[-2:])}")
    windows = framed.unfold(2, size, stride).unfold(3, size, stride)  # (B, C, H', W', size, size)
    return windows.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


def convolve(
    images: Tensor,
    kernels: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
) -> Tensor:
    """Compare every patch with every kernel by a dot product, and add a bias for each kernel.

    Shapes: images (B, C, H, W), kernels (O, C, size, size), bias (O) -> (B, O, H', W') with
    H' = (H + 2 padding - size) // stride + 1, and W' alike. The kernel is not turned round
    (mathematics calls this a cross-correlation).

    Raises:
        ValueError: images and kernels differ in channels, or no patch fits.

    Source: lecun1998gradient, section II.A; as a matrix product, chellapilla2006high.

    >>> convolve(torch.ones(1, 1, 5, 5), torch.ones(2, 1, 3, 3)).shape
    torch.Size([1, 2, 3, 3])
    """
    if images.shape[1] != kernels.shape[1]:
        shapes = f"{tuple(images.shape)} and {tuple(kernels.shape)}"
        raise ValueError(
            f"expected images (B, C, H, W) and kernels (O, C, size, size), got {shapes}"
        )
    size = kernels.shape[-1]
    columns = patches(images, size, stride, padding)
    maps = torch.einsum("op,bpl->bol", kernels.flatten(1), columns)
    rows = (images.shape[2] + 2 * padding - size) // stride + 1
    maps = maps.unflatten(-1, (rows, -1))
    return maps if bias is None else maps + bias[:, None, None]  # type: ignore[no-any-return]


def max_pool(images: Tensor, size: int) -> Tensor:
    """The largest value of each size x size block: (B, C, H, W) -> (B, C, H // size, W // size).

    What does not fill a block at the right and the lower edge is dropped.

    Raises:
        ValueError: the image is smaller than one block.

    Source: krizhevsky2012imagenet, section 3.4 (there with blocks that overlap).

    >>> max_pool(torch.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0].int().tolist()
    [[5, 7], [13, 15]]
    """
    rows, columns = images.shape[2] // size, images.shape[3] // size
    if not rows or not columns:
        raise ValueError(f"a block of {size} x {size} does not fit into {tuple(images.shape)}")
    whole = images[:, :, : rows * size, : columns * size]
    return whole.unflatten(2, (rows, size)).unflatten(4, (columns, size)).amax((3, 5))  # type: ignore[no-any-return]


def receptive_field(layers: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """How many pixels one unit sees after these layers, and how many lie between two neighbours.

    Each layer is (size, stride), from the image on; both answers are in pixels along one axis.

    Source: araujo2019computing, on networks with a single path.

    >>> receptive_field([(5, 1), (2, 2)])
    (6, 2)
    """
    field, jump = 1, 1
    for size, stride in layers:
        field += (size - 1) * jump
        jump *= stride
    return field, jump


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """Move images (..., H, W) by whole pixels; what leaves is lost, what enters is 0.

    Source: lecun1998gradient, section II.A (invariance to shifts).

    >>> shift(torch.tensor([[1, 2], [3, 4]]), 1, 0).tolist()
    [[0, 0], [1, 2]]
    """
    H, W = images.shape[-2:]
    wide = F.pad(images, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
    top, left = max(-down, 0), max(-right, 0)
    return wide[..., top : top + H, left : left + W]


class LeNet(nn.Module):
    """LeNet-5 in today's words: images (B, 1, 28, 28) -> logits (B, 10).

    Convolution, max pooling, convolution, max pooling, two hidden layers, readout. Of 1998 are the
    sizes; rectifiers, pooling by the maximum and the plain readout are later. What computes the
    layers can be chosen: torch's kernels, or the book's `convolve` and `max_pool`.

    Source: lecun1998gradient, section II.B and figure 2.

    >>> model = LeNet()
    >>> model(torch.zeros(3, 1, 28, 28)).shape, model.features(torch.zeros(3, 1, 28, 28)).shape
    (torch.Size([3, 10]), torch.Size([3, 84]))
    """

    def __init__(
        self,
        convolution: Callable[..., Tensor] = F.conv2d,
        pooling: Callable[..., Tensor] = F.max_pool2d,
    ) -> None:
        super().__init__()
        self.convolution, self.pooling = convolution, pooling
        self.first, self.second = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)  # they hold the weights
        self.hidden, self.last = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84)
        self.readout = nn.Linear(84, 10)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the two convolutions find: (B, 6, 28, 28) and (B, 16, 10, 10), none below 0."""
        first = self.convolution(images, self.first.weight, self.first.bias, padding=2).relu()
        second = self.convolution(self.pooling(first, 2), self.second.weight, self.second.bias)
        return first, second.relu()

    def features(self, images: Tensor) -> Tensor:
        """The 84 numbers (B, 84) from which the readout decides."""
        seen = self.pooling(self.maps(images)[1], 2).flatten(1)
        return torch.relu(self.last(torch.relu(self.hidden(seen))))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.features(images))
        return logits


@cache
def digit_reader() -> LeNet:
    """The book's trained reader of digits, the same everywhere: a measure must not change.

    Raises:
        ValueError: the stored weights are not those of its card.

    Source: lecun1998gradient, section II.B; trained by `fmbook/records/convolution.py`.

    >>> digit_reader()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    root = resources.files("fmbook")
    card = tomllib.loads((root / "vision" / "digit_reader.toml").read_text("utf8"))
    raw = (root / "checkpoints" / "digit_reader.npz").read_bytes()
    if hashlib.sha256(raw).hexdigest() != card["sha256"]:
        raise ValueError("checkpoints/digit_reader.npz is not the file of vision/digit_reader.toml")
    with np.load(io.BytesIO(raw)) as stored:
        weights = {name: torch.tensor(stored[name], dtype=torch.float32) for name in stored.files}
    model = LeNet()
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)
