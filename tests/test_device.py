"""Where tensors live is chosen once: CUDA, then MPS, then the CPU, unless the reader says."""

from typing import Any

import pytest
import torch

from fmbook.device import device


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FMBOOK_DEVICE", raising=False)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_cuda_comes_before_mps_before_cpu(
    cuda: bool, mps: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device() == torch.device(chosen)


def test_the_variable_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("FMBOOK_DEVICE", "cpu")
    assert device() == torch.device("cpu")
    monkeypatch.setenv("FMBOOK_DEVICE", "")
    assert device() == torch.device("cuda")


@pytest.mark.parametrize(
    "wanted", ["gpu", "CPU", "cpu ", "cuda:99", "meta", "xla", "hpu", "privateuseone", "x" * 9999]
)
def test_a_device_that_is_not_here_is_an_error_that_says_what_to_do(
    wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMBOOK_DEVICE", wanted)
    with pytest.raises(ValueError, match="set it to cuda, mps or cpu, or unset it") as caught:
        device()
    assert len(str(caught.value).replace(wanted, "")) < 300


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AssertionError(), r"\(AssertionError\)"),
        (RuntimeError("no driver\nand a page of C++"), r"\(no driver\)"),
        (NotImplementedError("backends, " * 100), r"\((backends, ){10}\)"),
    ],
)
def test_a_device_that_fails_is_quoted_in_brief(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(torch, "empty", fail)
    monkeypatch.setenv("FMBOOK_DEVICE", "cuda")
    with pytest.raises(ValueError, match=f"cannot be used here {said}"):
        device()
