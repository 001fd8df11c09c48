"""One thread a process, set before torch loads: two workers share the machine, and banks fork."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `gpu` runs where CUDA is, and is skipped with a sentence elsewhere."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("this machine has no CUDA device to train on")
