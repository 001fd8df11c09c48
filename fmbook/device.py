"""Where tensors live: one choice for the whole book. Left out: several devices at once."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["device"]


def device() -> "torch.device":
    """CUDA if there is one, else Apple's MPS, else the CPU; $FMBOOK_DEVICE overrides.

    Raises:
        ValueError: $FMBOOK_DEVICE names no device that this machine has.

    >>> device().type in ("cuda", "mps", "cpu")
    True
    """
    import torch

    wanted = os.environ.get("FMBOOK_DEVICE")
    if wanted:
        try:
            torch.empty(0, device=wanted)
            return torch.device(wanted)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(
                f"FMBOOK_DEVICE={wanted!r} cannot be used here ({str(error).splitlines()[0]}): "
                "set it to cuda, mps or cpu, or unset it"
            ) from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
