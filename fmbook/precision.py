"""Half precision behind one switch: products in bfloat16, where the machine is made for them.

Left out: float16 and the scaling of losses that it needs; weights are kept in float32 always.
"""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["half", "half_pays"]


def half(on: bool, where: "torch.device | str" = "cpu") -> "torch.autocast":
    """The switch: inside `with half(True, device):` matrix products run in bfloat16.

    Switched off it is a block without effect, so that one training loop serves both.

    >>> import torch
    >>> with half(True):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    import torch

    return torch.autocast(torch.device(where).type, torch.bfloat16, enabled=on)


def half_pays(where: "torch.device | str" = "cpu", size: int = 512, repeats: int = 6) -> bool:
    """Whether bfloat16 products take less than two thirds of float32's time on this machine.

    Measured here and now, on matrices (size, size): it takes some milliseconds.

    >>> half_pays() in (True, False)
    True
    """
    import torch

    def seconds(dtype: torch.dtype) -> float:
        x = torch.ones(size, size, dtype=dtype, device=where)
        taken = []
        for _ in range(repeats):
            began = time.perf_counter()
            float((x @ x)[0, 0])  # waits for the device
            taken.append(time.perf_counter() - began)
        return min(taken)

    return seconds(torch.bfloat16) < seconds(torch.float32) * 2 / 3
