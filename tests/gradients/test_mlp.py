"""Perceptrons and networks: oracles (PyTorch), properties, examples by hand, limits, the record."""

from statistics import mean

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbook import records
from fmbook.gradients.autograd import Variable, gradients, numerical_gradient
from fmbook.gradients.mlp import (
    SGD,
    Adam,
    AdamW,
    cross_entropy,
    forward,
    initial,
    minibatches,
    perceptron,
)
from fmbook.records import mlp as recipe
from fmbook.widgets import DescentExplorer

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=30, deadline=None)
ALT = "What the widget shows, said in a sentence."


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def same(a, b, tolerance: float = 1e-10) -> None:
    assert np.shape(a) == np.shape(b)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# --- oracles


@few
@given(st.integers(1, 6), st.integers(2, 5), seeds)
def test_cross_entropy_is_pytorchs_on_both_kinds_of_arrays(B: int, V: int, seed: int) -> None:
    z, labels = 3 * normal(B, V, seed=seed), np.random.default_rng(seed).integers(0, V, B)
    ours, theirs = Variable(z), torch.tensor(z, requires_grad=True)
    wanted = F.cross_entropy(theirs, torch.tensor(labels))
    (slope,) = torch.autograd.grad(wanted, theirs)
    loss = cross_entropy(ours, labels)
    same(loss.data, wanted.item())
    same(gradients(loss, [ours])[0], slope.numpy())
    again = cross_entropy(theirs, torch.tensor(labels))
    same(again.item(), wanted.item())
    same(torch.autograd.grad(again, theirs)[0].numpy(), slope.numpy())


def test_a_network_has_the_same_gradients_on_our_arrays_and_on_pytorchs() -> None:
    x, labels = normal(7, 5), np.arange(7) % 3
    parameters = initial((5, 6, 4, 3), np.random.default_rng(0))
    ours = [Variable(p) for p in parameters]
    theirs = [torch.tensor(p, requires_grad=True) for p in parameters]
    found = gradients(cross_entropy(forward(ours, Variable(x)), labels), ours)
    loss = cross_entropy(forward(theirs, torch.tensor(x)), torch.tensor(labels))
    for a, b in zip(found, torch.autograd.grad(loss, theirs), strict=True):
        same(a, b.numpy())

    def loss_of(W: np.ndarray) -> float:
        return cross_entropy(
            forward([Variable(p) for p in (W, *parameters[1:])], Variable(x)), labels
        ).data.item()

    same(found[0], numerical_gradient(loss_of, parameters[0]), 1e-6)


RULES = {
    "SGD": (SGD(0.1), torch.optim.SGD, {"lr": 0.1}),
    "momentum": (SGD(0.1, momentum=0.9), torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "Adam": (
        Adam(0.1, beta1=0.8, beta2=0.95, eps=1e-3),
        torch.optim.Adam,
        {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3},
    ),
    "AdamW": (AdamW(0.1, decay=0.5), torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.5}),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("ours_in", ["numpy", "torch"])
def test_rules_step_as_pytorchs_do(name: str, ours_in: str) -> None:
    rule, kind, how = RULES[name]
    begin = [normal(3, 2), normal(2, seed=1)]
    make = torch.tensor if ours_in == "torch" else np.array
    w = [make(p) for p in begin]
    theirs = [torch.tensor(p, requires_grad=True) for p in begin]
    state, optimizer = rule.start(w), kind(theirs, **how)
    for step in range(20):
        found = [normal(*p.shape, seed=10 * step + k) for k, p in enumerate(begin)]
        w, state = rule.step(w, [make(g) for g in found], state)
        for p, g in zip(theirs, found, strict=True):
            p.grad = torch.tensor(g)
        optimizer.step()
    for a, b in zip(w, theirs, strict=True):
        same(np.asarray(a), b.detach().numpy())


# --- properties


@few
@given(st.integers(1, 4), seeds)
def test_a_perceptron_ends_where_a_line_separates_and_is_then_right(D: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, side = rng.integers(-4, 5, (15, D)).astype(float), rng.integers(1, 4, D)
    y = np.where(X @ side - 0.5 > 0, 1, -1)
    w, mistakes = perceptron(X, y, epochs=5000)
    assert mistakes[-1] == 0
    assert (y * (X @ w[:-1] + w[-1]) > 0).all()


@few
@given(st.integers(2, 9), seeds)
def test_batches_hold_each_example_at_most_once_in_a_new_order(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    taken = np.concatenate(list(minibatches(n, 2, rng)))
    assert len(taken) == n // 2 * 2
    assert len(set(taken.tolist())) == len(taken)


@few
@given(st.floats(1e-3, 1e3), seeds)
def test_adams_path_does_not_depend_on_the_unit_of_the_loss(unit: float, seed: int) -> None:
    steps = normal(10, 4, seed=seed)
    ends = []
    for scale in (1.0, unit):
        rule, w = Adam(0.1, eps=1e-30), [np.zeros(4)]
        state = rule.start(w)
        for g in steps:
            w, state = rule.step(w, [scale * g], state)
        ends.append(w[0])
    same(ends[0], ends[1], 1e-7)


def test_steps_change_nothing_that_was_given() -> None:
    for rule in (SGD(0.1, momentum=0.9), Adam(0.1), AdamW(0.1)):
        w, g = [np.ones(3)], [np.ones(3)]
        state = rule.start(w)
        _, state = rule.step(w, g, state)
        first = rule.step(w, g, state)[0]
        assert (rule.step(w, g, state)[0][0] == first[0]).all()
        assert (w[0] == 1).all()
        assert (g[0] == 1).all()


@few
@given(st.integers(1, 5), seeds)
def test_he_keeps_a_signal_level_through_relu(layers: int, seed: int) -> None:
    widths = (400,) * (layers + 1)
    x = normal(200, 400, seed=seed)
    begun = np.sqrt((x**2).mean())
    for W in initial(widths, np.random.default_rng(seed))[::2]:
        x = np.maximum(x @ W, 0)
    assert 0.4 < np.sqrt((x**2).mean()) / begun < 2.5


def test_units_that_begin_alike_stay_alike() -> None:
    w = [np.full((3, 4), 0.2), np.zeros(4), np.full((4, 2), 0.1), np.zeros(2)]
    x, labels = normal(9, 3), np.arange(9) % 2
    for _ in range(5):
        now = [Variable(p) for p in w]
        found = gradients(cross_entropy(forward(now, Variable(x)), labels), now)
        w = [p - 0.1 * g for p, g in zip(w, found, strict=True)]
    same(w[0], np.repeat(w[0][:, :1], 4, axis=1))


# --- worked examples: numbers that one can do by hand


def test_two_hidden_units_for_one_but_not_both() -> None:
    by_hand = [np.ones((2, 2)), np.array([0.0, -1.0]), np.array([[1.0], [-2.0]]), np.zeros(1)]
    same(forward(by_hand, Variable(recipe.BOTH)).data.ravel(), recipe.EITHER.astype(float))


def test_the_perceptron_by_hand() -> None:
    w, mistakes = perceptron(np.array([[2.0], [-1.0]]), np.array([1, -1]), 10)
    assert w.tolist() == [2.0, 1.0]
    assert mistakes == [1, 0]


def test_no_perceptron_does_one_but_not_both() -> None:
    assert min(perceptron(recipe.BOTH, np.array([-1, 1, 1, -1]), 50)[1]) > 0


def test_a_loss_by_hand() -> None:
    z = Variable([[np.log(3), 0.0]])
    loss = cross_entropy(z, np.array([0]))
    same(loss.data, np.log(4 / 3))
    same(gradients(loss, [z])[0], np.array([[-0.25, 0.25]]))


def test_momentum_by_hand() -> None:
    rule = SGD(0.1, momentum=0.5)
    w, state = rule.step([np.array(1.0)], [2.0], rule.start([np.array(1.0)]))
    w, _ = rule.step(w, [2.0], state)
    same(w[0], 1 - 0.2 - 0.3)


def test_adamw_shrinks_without_a_gradient() -> None:
    rule = AdamW(0.1, decay=0.5)
    w, _ = rule.step([np.array(1.0)], [0.0], rule.start([np.array(1.0)]))
    same(w[0], 0.95)


# --- limits


def test_large_scores_do_not_overflow() -> None:
    z = Variable([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]])
    loss = cross_entropy(z, np.array([2, 0]))
    same(loss.data, (2e4 + np.log(3)) / 2, 1e-9)
    assert np.isfinite(gradients(loss, [z])[0]).all()
    assert torch.isfinite(cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([1])))


def test_a_network_without_hidden_layers_is_a_linear_score() -> None:
    x, (W, b) = normal(4, 3), (normal(3, 2, seed=1), normal(2, seed=2))
    same(forward([W, b], Variable(x)).data, x @ W + b)


def test_one_batch_of_everything_and_what_is_left_over() -> None:
    assert [len(part) for part in minibatches(5, 5, np.random.default_rng(0))] == [5]
    assert [len(part) for part in minibatches(5, 2, np.random.default_rng(0))] == [2, 2]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: perceptron(np.ones((2, 1)), np.array([0, 1]), 3), r"-1 or 1, got \[0 1\]"),
        (lambda: list(minibatches(4, 5, np.random.default_rng(0))), "1 to 4 examples, got 5"),
        (lambda: list(minibatches(4, 0, np.random.default_rng(0))), "1 to 4 examples, got 0"),
        (lambda: SGD(0.0), "rate above 0"),
        (lambda: SGD(0.1, momentum=1.0), "momentum"),
        (lambda: Adam(0.1, beta2=1.0), "betas"),
        (lambda: Adam(-0.1), "rate"),
        (lambda: AdamW(0.1, decay=-1.0), "decay of 0 or more"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given(wrong, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


# --- the record


def test_the_record_is_of_this_code() -> None:
    assert not records.stale("mlp"), "run `make records`"


def test_the_record_says_what_the_chapter_says() -> None:
    record = records.load("mlp")
    none, one = ([run[0] for run in record["digits"][key]] for key in ("none", "128"))
    assert max(none) < min(one)
    box = record["mailbox"]
    for known in ("words", "features"):
        linear, hidden = box[known], box[f"{known}, hidden"]
        assert mean(hidden["held"]) < mean(linear["held"])
        assert mean(hidden["later"]) > 1.1 * mean(linear["later"])
    assert set(record["illnesses"]) == set(recipe.ILLNESSES)


def test_the_ledgers_rows_are_complete() -> None:
    keys = {
        "task",
        "method",
        "quality",
        "cpu_seconds",
        "parameters",
        "module",
        "decisions",
        "failures",
    }
    rows = records.load("mlp")["ledger"]
    assert [row["task"] for row in rows] == ["spam", "digits"]
    assert all(keys <= set(row) for row in rows)
    assert set(rows[0]["quality"]) == {"precision", "recall", "false_alarms", "false_alarms_hard"}
    assert 0.9 < rows[1]["quality"]["accuracy"] < 1


def test_a_point_of_the_record_comes_out_again() -> None:
    repeated, recorded, band = recipe.point()
    assert abs(repeated - recorded) <= band


# --- the widget


def test_the_valley_keeps_its_paths_and_checks_them() -> None:
    paths = {"SGD": {0.1: [(1.0, 1.0), (0.9, 0.5)], 9.0: [(1.0, 1.0), (1e9, -1e9)]}}
    widget = DescentExplorer((1.0, 5.0), paths, alt=ALT)
    assert widget.rules[0]["paths"][1][1] == [1e4, -1e4]
    assert widget.step == 1
    assert len(widget.html().encode()) < 45_000
    for bad in ({}, {"SGD": {}}, {"SGD": {0.1: [(1.0, 1.0)], 0.2: [(1.0, 1.0)] * 2}}):
        with pytest.raises(ValueError, match="paths of one length"):
            DescentExplorer((1.0, 5.0), bad, alt=ALT)
