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
            chosen = torch.device(wanted)
            if chosen.type not in ("cuda", "mps", "cpu"):
                raise RuntimeError("the book runs on cuda, mps or cpu")
            torch.empty(0, device=chosen)
            return chosen
        except (RuntimeError, AssertionError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0][:100]
            raise ValueError(
                f"FMBOOK_DEVICE={wanted!r} cannot be used here ({why}): "
                "set it to cuda, mps or cpu, or unset it"
            ) from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
