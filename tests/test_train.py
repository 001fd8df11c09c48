"""Training is one generator of losses; the caller does the rest."""

import io
import math
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from fmbook.train import train


def problem(rate: float = 0.1) -> tuple[torch.Tensor, torch.optim.Optimizer]:
    weight = torch.tensor(3.0, requires_grad=True)
    return weight, torch.optim.SGD([weight], lr=rate)


def test_it_descends_as_by_hand() -> None:
    weight, optimizer = problem()
    by_hand, losses = 3.0, []
    for _ in range(5):
        losses.append(by_hand**2)
        by_hand -= 0.1 * 2 * by_hand
    assert [loss for _, loss in train(range(5), lambda _: weight**2, optimizer)] == pytest.approx(
        losses
    )
    assert weight.item() == pytest.approx(by_hand)


def test_steps_count_from_0_and_losses_are_floats_of_their_batch() -> None:
    weight, optimizer = problem()
    out = list(train([1.0, 2.0, 3.0], lambda batch: weight * 0 + batch, optimizer))
    assert out == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert all(type(loss) is float for _, loss in out)


def test_nothing_happens_before_it_is_asked() -> None:
    weight, optimizer = problem()
    seen: list[int] = []

    def batches() -> Iterator[int]:
        for batch in range(10):
            seen.append(batch)
            yield batch

    steps = train(batches(), lambda _: weight**2, optimizer)
    assert (seen, weight.item()) == ([], 3.0)
    next(steps)
    assert seen == [0]


def test_a_caller_that_stops_keeps_the_step_it_saw() -> None:
    weight, optimizer = problem()
    for step, _ in train(iter(int, 1), lambda _: weight**2, optimizer):  # batches without end
        if step == 2:
            break
    assert weight.item() == pytest.approx(3 * 0.8**3)


def test_gradients_of_former_steps_do_not_add_up() -> None:
    weight, optimizer = problem()
    (weight * 1000).backward()
    next(train([0], lambda _: weight * 1.0, optimizer))
    assert weight.item() == pytest.approx(2.9)


def test_the_caller_may_set_the_rate_between_steps() -> None:
    weight, optimizer = problem()
    for _ in train(range(3), lambda _: weight * 1.0, optimizer):
        optimizer.param_groups[0]["lr"] = 0.0
    assert weight.item() == pytest.approx(2.9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_before_its_step(bad: float) -> None:
    weight, optimizer = problem()
    steps = train([1.0, bad], lambda batch: weight * batch, optimizer)
    next(steps)
    before = weight.item()
    with pytest.raises(ValueError, match=rf"the loss is {bad} at step 1: lower the rate"):
        next(steps)
    assert weight.item() == before


@pytest.mark.parametrize("shape", [(1,), (2, 3), (0,)])
def test_a_loss_that_is_no_scalar_is_refused(shape: tuple[int, ...]) -> None:
    weight, optimizer = problem()
    with pytest.raises(ValueError, match=rf"must return a scalar, got shape \({shape[0]},"):
        next(train([0], lambda _: weight * torch.ones(shape), optimizer))


@pytest.mark.parametrize("loss", [1.0, None, "1"])
def test_a_loss_that_is_no_tensor_is_refused(loss: Any) -> None:
    _, optimizer = problem()
    with pytest.raises(TypeError, match="must return a scalar tensor, got"):
        next(train([0], lambda _: loss, optimizer))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_on_a_terminal_and_not_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        weight, optimizer = problem()
        monkeypatch.setattr(sys, "stderr", stream)
        steps = list(train(range(3), lambda _, w=weight: w**2, optimizer, progress=True))  # type: ignore[misc]
        assert len(steps) == 3
        assert ("/3" in stream.getvalue()) == shown


def test_a_bar_of_an_early_stop_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    from tqdm import tqdm

    monkeypatch.setattr(sys, "stderr", Terminal())
    weight, optimizer = problem()
    steps = train(range(3), lambda _: weight**2, optimizer, progress=True)
    next(steps)
    assert len(tqdm._instances) == 1
    steps.close()  # type: ignore[attr-defined]
    assert len(tqdm._instances) == 0


def test_without_progress_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    weight, optimizer = problem()
    list(train(range(3), lambda _: weight**2, optimizer))
    assert capsys.readouterr() == ("", "")
