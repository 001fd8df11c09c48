"""Convolution: what the theory says of it, beside torch, by hand, and at its limits."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fmbook import records
from fmbook.records import convolution as recipe
from fmbook.vision import convolution as module
from fmbook.vision.convolution import (
    LeNet,
    convolve,
    digit_reader,
    max_pool,
    patches,
    receptive_field,
    shift,
)
from fmbook.widgets import KernelSlider

few = settings(max_examples=25, deadline=None)
small, strides, paddings = st.integers(1, 3), st.integers(1, 3), st.integers(0, 2)
seeds = st.integers(0, 10_000)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(got: Tensor, want: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(got, want, atol=tolerance, rtol=0)


# --- oracle: what others compute


@few
@given(small, small, st.integers(1, 4), strides, paddings, seeds)
def test_convolution_agrees_with_torch(
    C: int, many: int, size: int, stride: int, padding: int, seed: int
) -> None:
    images, kernels = normal(2, C, 6, 9, seed=seed), normal(many, C, size, size, seed=seed + 1)
    bias = normal(many, seed=seed + 2)
    want = F.conv2d(images, kernels, bias, stride, padding)
    same(convolve(images, kernels, bias, stride, padding), want)
    same(convolve(images, kernels, None, stride, padding), want - bias[:, None, None])


@few
@given(small, st.integers(1, 4), strides, paddings, seeds)
def test_patches_agree_with_torch(C: int, size: int, stride: int, padding: int, seed: int) -> None:
    images = normal(2, C, 6, 9, seed=seed)
    same(patches(images, size, stride, padding), F.unfold(images, size, 1, padding, stride))


@few
@given(st.integers(1, 4), seeds)
def test_pooling_agrees_with_torch(size: int, seed: int) -> None:
    images = normal(2, 3, 7, 9, seed=seed)
    same(max_pool(images, size), F.max_pool2d(images, size))


def test_gradients_agree_with_torch() -> None:
    grads = []
    for way in (convolve, F.conv2d):
        images, kernels = normal(2, 3, 8, 8).requires_grad_(), normal(4, 3, 3, 3).requires_grad_()
        out = way(images, kernels, None, 2, 1)
        (out * normal(*out.shape, seed=5)).sum().backward()
        assert images.grad is not None
        assert kernels.grad is not None
        grads.append((images.grad, kernels.grad))
    for ours, torchs in zip(*grads, strict=True):
        same(ours, torchs)


def test_float32_stays_within_its_measured_error() -> None:
    images, kernels = normal(4, 16, 14, 14), normal(8, 16, 5, 5)
    got = convolve(images.float(), kernels.float())
    assert got.dtype == torch.float32
    same(got.double(), convolve(images, kernels), 2e-4)  # seen: 3e-5


def test_lenet_is_torchs_layers_in_a_row() -> None:
    model, images = LeNet().double(), normal(3, 1, 28, 28)
    x = F.max_pool2d(F.relu(F.conv2d(images, model.first.weight, model.first.bias, padding=2)), 2)
    x = F.max_pool2d(F.relu(model.second(x)), 2).flatten(1)
    x = F.relu(model.last(F.relu(model.hidden(x))))
    same(model.features(images), x)
    same(model(images), model.readout(x))
    ours = LeNet(convolve, max_pool).double()
    ours.load_state_dict(model.state_dict())
    same(ours(images), model(images))


# --- property: what holds for any input


@few
@given(st.integers(-4, 4), st.integers(-4, 4), seeds)
def test_convolution_moves_with_its_input(down: int, right: int, seed: int) -> None:
    images = F.pad(normal(2, 1, 6, 6, seed=seed), (8, 8, 8, 8))
    kernels = normal(3, 1, 3, 3, seed=seed + 1)
    moved = convolve(shift(images, down, right), kernels)
    same(moved, shift(convolve(images, kernels), down, right))


@few
@given(st.integers(-2, 2), seeds)
def test_pooling_moves_with_moves_of_whole_blocks(blocks: int, seed: int) -> None:
    images = F.pad(normal(2, 1, 6, 6, seed=seed), (6, 6, 6, 6))
    same(max_pool(shift(images, 2 * blocks, 0), 2), shift(max_pool(images, 2), blocks, 0))


@few
@given(seeds)
def test_convolution_is_linear_in_images_and_in_kernels(seed: int) -> None:
    (x, y), (w, v) = normal(2, 1, 2, 6, 6, seed=seed), normal(2, 3, 2, 3, 3, seed=seed + 1)
    same(convolve(2 * x + y, w), 2 * convolve(x, w) + convolve(y, w))
    same(convolve(x, w - v), convolve(x, w) - convolve(x, v))


@few
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3))
def test_the_receptive_field_is_where_the_gradient_is(layers: list[tuple[int, int]]) -> None:
    field, jump = receptive_field(layers)
    x = y = torch.zeros(1, 1, 90, 90, requires_grad=True)
    for size, stride in layers:
        y = F.avg_pool2d(y, size, stride)
    (first,) = torch.autograd.grad(y[0, 0, 0, 0], x, retain_graph=True)
    (next_one,) = torch.autograd.grad(y[0, 0, 0, 1], x)
    touched = [(g[0, 0] > 0).any(0).nonzero().flatten() for g in (first, next_one)]
    assert touched[0].max() - touched[0].min() + 1 == field  # a stride may leave holes between
    assert touched[1].min() - touched[0].min() == jump


def test_nothing_changes_its_arguments() -> None:
    images, kernels, bias = normal(2, 3, 6, 6), normal(4, 3, 3, 3), normal(4)
    copies = [x.clone() for x in (images, kernels, bias)]
    convolve(images, kernels, bias, 2, 1)
    max_pool(images, 2)
    shift(images, 1, -2)
    assert all(torch.equal(x, y) for x, y in zip((images, kernels, bias), copies, strict=True))


# --- worked examples


def test_the_chapters_example() -> None:
    image = torch.tensor([[0.0, 0, 3, 3]]).repeat(4, 1)[None, None]
    edge = torch.tensor([[-1.0, 1], [-1, 1]])[None, None]
    assert convolve(image, edge)[0, 0].tolist() == [[0, 6, 0]] * 3


def test_shifts_by_hand() -> None:
    image = torch.arange(1, 5).reshape(2, 2)
    assert shift(image, -1, 0).tolist() == [[3, 4], [0, 0]]
    assert shift(image, 0, 1).tolist() == [[0, 1], [0, 3]]
    assert shift(image, 1, -1).tolist() == [[0, 0], [2, 0]]
    assert shift(image, 0, 0).tolist() == image.tolist()
    assert shift(image, 5, 0).tolist() == [[0, 0], [0, 0]]


def test_lenets_fields_by_hand() -> None:
    layers = [(5, 1), (2, 2), (5, 1), (2, 2)]
    assert [receptive_field(layers[:n]) for n in range(5)] == [
        (1, 1), (5, 1), (6, 2), (14, 2), (16, 4)
    ]  # fmt: skip


# --- limits


def test_a_kernel_of_the_images_size_is_one_dot_product() -> None:
    image, kernel = normal(1, 2, 5, 5), normal(1, 2, 5, 5)
    same(convolve(image, kernel)[0, 0, 0, 0], (image * kernel).sum())


def test_a_kernel_of_one_pixel_mixes_channels() -> None:
    image, kernel = normal(2, 3, 4, 5), normal(6, 3, 1, 1)
    same(convolve(image, kernel), torch.einsum("oc,bchw->bohw", kernel[:, :, 0, 0], image))


def test_no_images_give_no_maps() -> None:
    assert convolve(normal(0, 3, 5, 5), normal(4, 3, 3, 3)).shape == (0, 4, 3, 3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: convolve(normal(2, 3, 5, 5), normal(4, 2, 3, 3)), r"\(2, 3, 5, 5\) and"),
        (lambda: patches(normal(1, 1, 4, 3), 4), r"4 x 4 patch does not fit into \(4, 3\)"),
        (lambda: max_pool(normal(1, 1, 4, 1), 2), "2 x 2 does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given(wrong, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


# --- the reader of digits, and the record


def test_the_reader_of_digits_reads_digits_and_never_changes() -> None:
    reader, (_, test) = digit_reader(), recipe.digit_split()
    assert recipe.accuracy(reader, test) > 0.985
    assert digit_reader() is reader
    assert not [p for p in reader.parameters() if p.requires_grad]


def test_a_reader_with_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.tomllib, "loads", lambda text: {"sha256": "another"})
    digit_reader.cache_clear()
    with pytest.raises(ValueError, match="is not the file of"):
        digit_reader()
    monkeypatch.undo()
    digit_reader.cache_clear()


def test_the_split_keeps_test_digits_out_of_training() -> None:
    (images, labels), (held, truth) = recipe.digit_split()
    assert images.shape == (8000, 1, 28, 28)
    assert held.shape == (2000, 1, 28, 28)
    seen = {x.numpy().tobytes() for x in images}
    assert not [x for x in held if x.numpy().tobytes() in seen]
    assert labels.bincount().min() > 600
    assert truth.bincount().min() > 150


def test_shuffling_loses_nothing_and_wiggling_little() -> None:
    (images, labels), _ = recipe.digit_split()
    mixed, same_labels = recipe.shuffled((images[:50], labels[:50]))
    same(mixed.flatten(1).sort(1).values, images[:50].flatten(1).sort(1).values)
    assert torch.equal(same_labels, labels[:50])
    moved = recipe.wiggled(images[:50], torch.Generator().manual_seed(0))
    ratio = moved.sum((1, 2, 3)) / images[:50].sum((1, 2, 3))
    assert 0.85 < ratio.min() < ratio.max() < 1.15
    assert not torch.equal(moved, images[:50])


def test_the_recipe_of_the_reader_stores_what_its_card_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "READER_STEPS", 5)
    first, again = recipe.store_reader(tmp_path), recipe.store_reader(tmp_path)
    assert first == again
    with np.load(tmp_path / "digit_reader.npz") as stored:
        assert set(stored.files) == set(LeNet().state_dict())


def test_the_record_is_of_this_code() -> None:
    assert not records.stale("convolution"), "run `make records`"


def test_the_record_says_what_the_chapter_says() -> None:
    record = records.load("convolution")
    last = {name: [run["accuracy"][-1] for run in record[name]] for name in
            ("lenet", "mlp", "lenet_long", "mlp_wiggled", "lenet_shuffled")}  # fmt: skip
    assert sum(last["lenet_long"]) / 3 >= 0.985
    assert sum(run["seconds"][-1] for run in record["lenet_long"]) / 3 <= 30
    assert min(last["lenet"]) > max(last["mlp"])
    assert min(last["lenet_long"]) > max(last["mlp_wiggled"])
    assert max(last["lenet_shuffled"]) < min(last["lenet"])
    assert {row["task"] for row in record["ledger"]} == {"digits"}


# --- the widget


def test_a_slider_takes_one_grey_image_and_square_kernels() -> None:
    alt = "A kernel on a small image."
    widget = KernelSlider([[0.0, 1.0], [0.5, 1.0]], {"edge": [[-1, 1], [-1, 1]]}, alt=alt)
    assert list(widget.pixels) == [0, 255, 128, 255]
    assert widget.kernels == [[[-1, 1], [-1, 1]]]
    for image, kernels, says in (
        ([[2.0]], {"one": [[1]]}, "from 0 to 1"),
        ([[[0.5]]], {"one": [[1]]}, r"\(H, W\)"),
        ([[0.5]], {"wide": [[1, 2]]}, "square that fits"),
        ([[0.5]], {"large": [[1, 2], [3, 4]]}, "square that fits"),
        ([[0.5]], {}, "at least one"),
    ):
        with pytest.raises(ValueError, match=says):
            KernelSlider(image, kernels, alt=alt)
    digit = np.linspace(0, 1, 784).reshape(28, 28)
    many = {f"kernel {n}": np.ones((5, 5)) * n for n in range(9)}
    assert len(KernelSlider(digit, many, alt=alt).html().encode()) <= 45_000
