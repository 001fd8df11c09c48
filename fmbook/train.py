"""Training as one generator of losses: the caller logs, plots, evaluates and stops.

Left out: callbacks, checkpointing, schedules. A schedule is a loop body that sets the rate.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["train"]


def train(
    batches: Iterable[Any],
    loss_of: "Callable[[Any], torch.Tensor]",
    optimizer: "torch.optim.Optimizer",
    *,
    progress: bool = False,
) -> Iterator[tuple[int, float]]:
    """Take one step a batch and yield (step, loss), the loss a float in the unit of `loss_of`.

    `loss_of(batch)` returns a scalar tensor. The step is taken before its loss is yielded, so a
    caller that stops the loop keeps the step it saw. `progress` shows a bar on a terminal or in a
    notebook, with the time left where the number of batches is known; in a pipe, or where
    $TQDM_DISABLE is set, there is none.

    Raises:
        TypeError: the loss is no tensor.
        ValueError: the loss is no scalar, or no longer finite (the message says at which step).

    >>> import torch
    >>> w = torch.tensor(3.0, requires_grad=True)
    >>> steps = train(range(3), lambda _: w**2, torch.optim.SGD([w], lr=0.5))
    >>> [(step, loss) for step, loss in steps]
    [(0, 9.0), (1, 0.0), (2, 0.0)]
    """
    import torch

    for step, batch in enumerate(_with_bar(batches) if progress else batches):
        loss = loss_of(batch)
        if not isinstance(loss, torch.Tensor):
            raise TypeError(f"loss_of must return a scalar tensor, got {type(loss).__name__}")
        if loss.ndim:
            raise ValueError(f"loss_of must return a scalar, got shape {tuple(loss.shape)}")
        value = loss.item()
        if not math.isfinite(value):
            raise ValueError(
                f"the loss is {value} at step {step}: lower the rate, or clip gradients"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield step, value


def _with_bar(batches: Iterable[Any]) -> Iterable[Any]:
    from tqdm.auto import tqdm
    from tqdm.notebook import tqdm as notebook_bar

    seen = issubclass(tqdm, notebook_bar) or sys.stderr.isatty()
    return tqdm(batches, leave=False) if seen else batches
