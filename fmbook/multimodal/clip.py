"""Contrastive pre-training: a picture and its caption are led to the same place in one space.

Left out: patches instead of convolutions, subwords, losses that judge each pair alone, embeddings
gathered from many machines, and whatever writes a caption.
"""

import math
import re
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmbook.transformers.transformer import Encoder, Sizes

__all__ = [
    "CLIP",
    "ImageTower",
    "TextTower",
    "Words",
    "contrastive_loss",
    "modality_gap",
    "recall",
    "zero_shot",
]

PADDING, UNKNOWN = 0, 1


class Words:
    """A vocabulary of whole words, lower case: short names need no subwords.

    Source: radford2021learning, section 2.4 (there 49,152 subwords, lower case too).

    >>> words = Words(["a red seven"])
    >>> words.ids(["Seven, red!", "a blue one, a red one"])  # (B, T)
    tensor([[4, 3, 0, 0, 0, 0],
            [2, 1, 1, 2, 3, 1]])
    """

    def __init__(self, captions: Iterable[str]) -> None:
        known = sorted({word for caption in captions for word in self.split(caption)})
        self.numbers = {word: number for number, word in enumerate(known, start=UNKNOWN + 1)}

    def __len__(self) -> int:
        return len(self.numbers) + UNKNOWN + 1

    @staticmethod
    def split(caption: str) -> list[str]:
        """The words of a caption: runs of letters or digits."""
        return re.findall(r"[^\W_]+", caption.lower())

    def ids(self, captions: Sequence[str]) -> Tensor:
        """Captions as numbers (B, T): 0 is padding, 1 a word that was never seen.

        Raises:
            ValueError: a caption has no words, and so no mean of them.
        """
        rows = [[self.numbers.get(w, UNKNOWN) for w in self.split(c)] for c in captions]
        if not all(rows):
            raise ValueError(f"caption {[not row for row in rows].index(True)} has no words")
        tensors = [torch.tensor(row) for row in rows]
        return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=PADDING)


class ImageTower(nn.Module):
    """Three convolutions of stride 2, then a projection: images (B, C, H, W) -> (B, D).

    H and W must be 25 to 32, which leaves maps of 4 x 4.

    Source: radford2021learning, section 2.4 (there a ResNet or a vision transformer).

    >>> ImageTower(D=32)(torch.zeros(2, 3, 28, 28)).shape
    torch.Size([2, 32])
    """

    def __init__(self, D: int, C: int = 3, width: int = 16) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            *(nn.Conv2d(C, width, 5, stride=2, padding=2), nn.ReLU()),
            *(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), nn.ReLU()),
        )
        self.project = nn.Linear(4 * width * 4 * 4, D)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.project(self.maps(images).flatten(1))
        return out


class TextTower(nn.Module):
    """A transformer's encoder, the mean of its states over the words, a projection.

    Tokens (B, T), 0 for padding -> (B, D). `sizes` are the encoder's.

    Source: radford2021learning, section 2.4 (there the state at the end token, causal).

    >>> tower = TextTower(Sizes(V=9, D=8, N=2, layers=1, context=16), D=32)
    >>> tower(torch.tensor([[4, 3, 0], [2, 5, 6]])).shape
    torch.Size([2, 32])
    """

    def __init__(self, sizes: Sizes, D: int) -> None:
        super().__init__()
        self.encoder = Encoder(sizes)
        self.project = nn.Linear(sizes.D, D, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        real = tokens != PADDING
        states = self.encoder(tokens, real) * real[..., None]
        out: Tensor = self.project(states.sum(1) / real.sum(1, keepdim=True))
        return out


class CLIP(nn.Module):
    """Two towers that end in one space, and the temperature by which their match is judged.

    The temperature is learned as the logarithm of its inverse, and never falls below 0.01.

    Raises:
        ValueError: the temperature is not positive.

    Source: radford2021learning, figure 3 and section 2.5.

    >>> text = TextTower(Sizes(V=9, D=8, N=2, layers=1, context=16), D=32)
    >>> model = CLIP(ImageTower(D=32), text)
    >>> model(torch.zeros(2, 3, 28, 28), torch.tensor([[4, 3], [2, 5]])).shape  # (B, B)
    torch.Size([2, 2])
    """

    def __init__(self, image: nn.Module, text: nn.Module, temperature: float = 0.07) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"the temperature must be positive, got {temperature}")
        self.image, self.text = image, text
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    @property
    def temperature(self) -> Tensor:
        """What similarities are divided by, a scalar."""
        return (-self.log_scale).exp().clamp(min=0.01)

    def images(self, images: Tensor) -> Tensor:
        """Unit vectors (B, D) of images (B, C, H, W)."""
        return F.normalize(self.image(images), dim=-1)

    def texts(self, tokens: Tensor) -> Tensor:
        """Unit vectors (B, D) of tokens (B, T)."""
        return F.normalize(self.text(tokens), dim=-1)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, B): how well each image (row) fits each text (column)."""
        return self.images(images) @ self.texts(tokens).T / self.temperature


def contrastive_loss(images: Tensor, texts: Tensor, temperature: float | Tensor) -> Tensor:
    """Cross-entropy in nats of finding one's partner in the batch, the mean of both directions.

    Shapes: images (B, D) and texts (B, D), row i of one belonging to row i of the other -> scalar.
    Their lengths do not matter: only the angle is compared.

    Raises:
        ValueError: the shapes differ, or are not (B, D).

    Source: radford2021learning, figure 3; oord2018representation, equation 4 (InfoNCE).

    >>> contrastive_loss(torch.eye(2), torch.eye(2), temperature=1.0)
    tensor(0.3133)
    """
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError(f"expected (B, D) twice, got {tuple(images.shape)}, {tuple(texts.shape)}")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def zero_shot(images: Tensor, prompts: Tensor) -> Tensor:
    """The class (B) whose prompts lie nearest to each image: a classifier made of words.

    Shapes: images (B, D), prompts (classes, P, D): P texts a class, whose directions are averaged.

    Raises:
        ValueError: prompts are not (classes, P, D), or the widths differ.

    Source: radford2021learning, sections 3.1.2 and 3.1.4 (prompts averaged in embedding space).

    >>> zero_shot(torch.eye(2), torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]]))
    tensor([1, 0])
    """
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        shapes = f"{tuple(images.shape)} and {tuple(prompts.shape)}"
        raise ValueError(f"expected images (B, D) and prompts (classes, P, D), got {shapes}")
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)
    return torch.einsum("bd,cd->bc", F.normalize(images, dim=-1), classes).argmax(1)


def recall(images: Tensor, texts: Tensor, k: int) -> tuple[float, float]:
    """How often the partner is among the k nearest: of an image's texts, of a text's images.

    Shapes: images (B, D) and texts (B, D), row i belonging to row i. Whoever is exactly as near as
    the partner counts as nearer: a model that sends all to one point finds nothing.

    Raises:
        ValueError: the shapes differ, or k is below 1.

    Source: jia2021scaling, abstract (retrieval both ways on Flickr30K and MSCOCO).

    >>> recall(torch.eye(3), torch.eye(3).roll(1, 0), k=1)
    (0.0, 0.0)
    """
    if images.shape != texts.shape or k < 1:
        shapes = f"{tuple(images.shape)} and {tuple(texts.shape)}"
        raise ValueError(f"expected two (B, D) and k from 1 on, got {shapes} and {k}")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = scores.diagonal()
    of_images = ((scores >= own[:, None]).sum(1) <= k).float().mean()
    of_texts = ((scores >= own[None, :]).sum(0) <= k).float().mean()
    return of_images.item(), of_texts.item()


def modality_gap(images: Tensor, texts: Tensor) -> float:
    """How far the centre of the images' unit vectors lies from that of the texts', from 0 to 2.

    Shapes: images (B, D), texts (B, D); the two numbers B may differ.

    Source: liang2022mind, section 4.2.

    >>> modality_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[-3.0, 0.0]]))
    2.0
    """
    centres = [F.normalize(x, dim=1).mean(0) for x in (images, texts)]
    return float((centres[0] - centres[1]).norm())
