"""The book's own trained language models: weights, tokenizer, card and curve, verified when read.

Of each model NAME this folder holds `NAME.safetensors` (float16), `NAME.tokenizer.json`,
`NAME.curve.json` and its card `NAME.toml`, which gives the sha256 of the other three. `make
checkpoints` makes them. Left out: training (see `fmbook.pretraining`), and downloads of any kind.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fmbook.transformers.tokenizer import Tokenizer
from fmbook.transformers.transformer import GPT, Sizes

__all__ = ["LARGEST", "CheckpointError", "card", "curve", "load", "names", "pack", "unpack"]

FOLDER = Path(__file__).parent
LARGEST = 5_000_000  # bytes of weights that the book ships for a model


class CheckpointError(ValueError):
    """A stored model is missing, or is not what its card says."""


def names(folder: Path = FOLDER) -> list[str]:
    """The models that are stored here, by the names of their cards."""
    return sorted(file.stem for file in folder.glob("*.toml"))


def card(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """What a model is: its sizes, recipe, quality, data and limits, and the sha256 of its files.

    Raises:
        CheckpointError: there is no such model.
    """
    file = folder / f"{name}.toml"
    if not file.is_file():
        known = ", ".join(names(folder)) or "none"
        raise CheckpointError(f"no checkpoint {name!r} (there is: {known}): run `make checkpoints`")
    return tomllib.loads(file.read_text("utf8"))


def _verified(name: str, ending: str, folder: Path) -> bytes:
    """The content of one file of a model, if it is the one of its card."""
    file = folder / f"{name}.{ending}"
    wanted = card(name, folder)["sha256"].get(ending)
    if not file.is_file():
        raise CheckpointError(f"{file.name} is missing: run `make checkpoints`")
    raw = file.read_bytes()
    if hashlib.sha256(raw).hexdigest() != wanted:
        raise CheckpointError(f"{file.name} is not the file of {name}.toml (its sha256 differs)")
    return raw


def load(name: str = "bookworm", folder: Path = FOLDER) -> tuple[GPT, Tokenizer]:
    """A stored model, on the CPU and ready to be used or trained on, and its tokenizer.

    Raises:
        CheckpointError: there is no such model, or a file is not what its card says.

    >>> model, tokenizer = load()
    >>> tokenizer.decode(tokenizer.encode("To be, or not to be"))
    'To be, or not to be'
    >>> model(torch.tensor([tokenizer.encode("To be")])).shape[-1] == len(tokenizer)
    True
    """
    model = GPT(Sizes(**card(name, folder)["sizes"]))
    unpack(model, _verified(name, "safetensors", folder))
    tokenizer = Tokenizer.from_json(_verified(name, "tokenizer.json", folder).decode())
    return model.eval(), tokenizer


def curve(name: str = "bookworm", folder: Path = FOLDER) -> dict[str, Any]:
    """The training of a stored model: two lists, `step` and `loss` (nats a token).

    Raises:
        CheckpointError: there is no such model, or the file is not what its card says.

    >>> found = curve()
    >>> found["loss"][0] > 1.5 * found["loss"][-1]
    True
    """
    return dict(json.loads(_verified(name, "curve.json", folder)))


def pack(model: nn.Module) -> bytes:
    """A model's weights as safetensors in float16; a tensor with two names is stored once."""
    from safetensors.torch import save

    seen: dict[int, torch.Tensor] = {}
    stored = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen[id(tensor)] = tensor
            stored[name] = tensor.detach().cpu().half().contiguous()
    return save(stored)


def unpack(model: nn.Module, raw: bytes) -> None:
    """Put stored weights into a model of the same sizes, in the model's own number format.

    Raises:
        CheckpointError: names or shapes of the weights are not the model's.
    """
    from safetensors.torch import load as read

    stored, wanted = read(raw), model.state_dict(keep_vars=True)
    held = {id(wanted[name]) for name in stored if name in wanted}
    missing = [name for name, tensor in wanted.items() if id(tensor) not in held]
    strange = [name for name in stored if name not in wanted]
    wrong = [n for n in stored if n in wanted and stored[n].shape != wanted[n].shape]
    if missing or strange or wrong:
        raise CheckpointError(f"weights lack {missing}, have {strange}, differ in shape {wrong}")
    model.load_state_dict(stored, strict=False)
