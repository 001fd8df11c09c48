"""Logistic regression: slopes by finite differences, scikit-learn's optimum, and no leak."""

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbook import data
from fmbook.features.logistic_regression import (
    LogisticRegression,
    Scale,
    descend,
    describe,
    gradient,
    loss,
    roc,
    sigmoid,
)
from fmbook.records import logistic_regression as recipe

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10_000)


def problem(seed: int, mails: int = 12, features: int = 4) -> tuple[Any, Any, Any]:
    """Weights, features with a first column of ones, labels of both kinds."""
    draw = np.random.default_rng(seed)
    x = np.hstack([np.ones((mails, 1)), draw.normal(size=(mails, features))])
    y = draw.permutation(np.arange(mails) % 2).astype(float)
    return draw.normal(size=features + 1), x, y


def letter(body: str = "", **headers: str) -> Any:
    head = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(
        headers=head, body=body, subject=head.get("subject", ""), sender=head.get("from", "")
    )


# --- oracle: what others compute


@few
@given(seeds, st.floats(0, 2))
def test_the_gradient_is_what_finite_differences_say(seed: int, l2: float) -> None:
    weights, x, y = problem(seed)
    slopes = gradient(weights, x, y, l2)
    for f in range(len(weights)):
        step = np.eye(len(weights))[f] * 1e-5
        rise = loss(weights + step, x, y, l2) - loss(weights - step, x, y, l2)
        assert slopes[f] == pytest.approx(rise / 2e-5, abs=1e-7)


def test_training_ends_where_scikit_learn_ends() -> None:
    from sklearn.linear_model import LogisticRegression as Theirs

    _, x, y = problem(3, mails=80)
    theirs = Theirs(C=1 / (0.1 * len(y)), tol=1e-10, max_iter=1000).fit(x[:, 1:], y)
    *_, mine = descend(lambda w: gradient(w, x, y, 0.1), np.zeros(5), 0.5, 3000)
    np.testing.assert_allclose(mine, [*theirs.intercept_, *theirs.coef_[0]], atol=1e-5)


@few
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_curve_is_scikit_learns(rows: list[tuple[int, bool]]) -> None:
    from sklearn.metrics import roc_curve

    scores, labels = [s for s, _ in rows], [y for _, y in rows]
    if 0 < sum(labels) < len(labels):
        alarms, recall, _ = roc_curve(labels, scores, drop_intermediate=False)
        np.testing.assert_allclose(roc(scores, labels), list(zip(alarms, recall, strict=True)))


def test_loss_and_gradient_agree_with_torch() -> None:
    import torch

    weights, x, y = problem(5)
    w = torch.tensor(weights, requires_grad=True)
    score = torch.tensor(x) @ w
    value = torch.nn.functional.binary_cross_entropy_with_logits(score, torch.tensor(y))
    value = value + 0.3 / 2 * (w[1:] ** 2).sum()
    value.backward()
    assert loss(weights, x, y, 0.3) == pytest.approx(value.item(), abs=1e-12)
    np.testing.assert_allclose(gradient(weights, x, y, 0.3), w.grad.numpy(), atol=1e-12)


# --- property: what holds for all inputs


@few
@given(seeds, st.floats(0.01, 1))
def test_the_loss_is_a_bowl(seed: int, l2: float) -> None:
    a, x, y = problem(seed)
    b = problem(seed + 1)[0]
    middle = loss((a + b) / 2, x, y, l2)
    assert middle <= (loss(a, x, y, l2) + loss(b, x, y, l2)) / 2 + 1e-12


@few
@given(seeds)
def test_every_step_at_the_librarys_rate_goes_down(seed: int) -> None:
    _, x, y = problem(seed)
    rate = 1.9 / (np.linalg.norm(x, 2) ** 2 / (4 * len(y)) + 0.1)
    path = [
        loss(w, x, y, 0.1) for w in descend(lambda w: gradient(w, x, y, 0.1), np.zeros(5), rate, 30)
    ]
    assert all(later <= before + 1e-12 for before, later in pairwise(path))


def test_two_equal_features_share_the_weight_of_one() -> None:
    rows = [{"a": float(v)} for v in (0, 1, 2, 3, 4, 5)]
    labels = [False, False, True, False, True, True]
    one = LogisticRegression.learn(rows, labels, ["a"], 0.02)
    both = LogisticRegression.learn([r | {"b": r["a"]} for r in rows], labels, ["a", "b"], 0.01)
    assert both.weights[1] == pytest.approx(both.weights[2])
    assert 2 * both.weights[1] == pytest.approx(one.weights[1], rel=0.3)


def test_a_mail_held_out_does_not_change_the_scale() -> None:
    scale = Scale.learn([{"a": 1.0}, {"a": 3.0}], ["a"])
    alone, among = scale.matrix([{"a": 9.0}]), scale.matrix([{"a": 9.0}, {"a": -100.0}])
    np.testing.assert_array_equal(alone[0], among[0])


@few
@given(seeds)
def test_evidence_and_bias_add_up_to_the_score(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows = [{"a": float(a), "b": float(b)} for a, b in draw.normal(size=(8, 2))]
    model = LogisticRegression.learn(rows, [i % 2 == 0 for i in range(8)], ["a", "b"], 0.1)
    total = model.weights[0] + sum(added for *_, added in model.evidence(rows[0]))
    assert total == pytest.approx(float(model.score(rows)[0]))


def test_descending_changes_nothing_that_it_is_given() -> None:
    weights, x, y = problem(1)
    before = weights.copy()
    list(descend(lambda w: gradient(w, x, y, 0.5), weights, 0.3, 5))
    np.testing.assert_array_equal(weights, before)


# --- worked example: numbers one can do by hand


def test_one_step_from_zero() -> None:
    x = np.array([[1.0, 1, 1], [1, 1, 1], [1, -1, -1], [1, -1, -1]])
    y = np.array([1.0, 1, 0, 0])
    slope = gradient(np.zeros(3), x, y, 0.0)
    np.testing.assert_allclose(slope, [0, -0.5, -0.5])
    assert sigmoid(x[:1] @ (-2 * slope))[0] == pytest.approx(1 / (1 + math.exp(-2)))


def test_a_curve_by_hand() -> None:
    assert roc([2, 2, 1], [True, False, True]) == [(0, 0), (1, 0.5), (1, 1)]


def test_a_mail_is_described() -> None:
    seen = describe(
        letter(
            'Click <a href="http://10.0.0.1/x">HERE NOW!!!</a> for YOUR FREE credit',
            subject="RE: $$$",
            to="undisclosed-recipients:;",
            date="Fri, 5 Jul 2002 14:00:00 -1900",
            message_id="<1@mx.example.com>",
            reply_to="other@example.org",
            **{"from": "bob99@mail.example.com"},
        )
    )
    yes = {name for name, value in seen.items() if value == 1.0}
    assert yes >= {
        "links: bare numbers",
        "hour: impossible zone",
        "hour: working hours",
        "sender: digits in address",
        "sender: own machine",
        "sender: answers go elsewhere",
        "sender: hides recipients",
        "punctuation: answer in subject",
        "html: any",
    }
    assert seen["phrases: promise"] > 0 < seen["phrases: money"]
    assert len(seen) == 36


def test_a_usual_clock_is_nothing_special() -> None:
    seen = describe(letter(date="Mon, 1 Jul 2002 20:15:00 -0700"))
    assert not any(value for name, value in seen.items() if name.startswith("hour"))


def test_the_scale_is_mean_and_spread() -> None:
    scale = Scale.learn([{"a": 1.0}, {"a": 5.0}], ["a"])
    np.testing.assert_allclose(scale.matrix([{"a": 9.0}]), [[1.0, 3.0]])


def test_learning_settles_even_where_features_say_the_same() -> None:
    draw = np.random.default_rng(0)
    cause = draw.normal(size=60)
    names = [f"f{i}" for i in range(30)]
    rows = [dict(zip(names, c + 0.1 * draw.normal(size=30), strict=True)) for c in cause]
    labels = [bool(c + 0.5 * draw.normal() > 0) for c in cause]
    model = LogisticRegression.learn(rows, labels, names, 1.0)
    x, y = model.scale.matrix(rows), np.array(labels, dtype=float)
    *_, best = descend(lambda w: gradient(w, x, y, 1.0), np.zeros(31), 0.05, 5000)
    assert loss(model.weights, x, y, 1.0) == pytest.approx(loss(best, x, y, 1.0), abs=1e-4)


# --- limit: the edges


def test_an_empty_mail_has_all_features() -> None:
    seen = describe(letter())
    assert len(seen) == 36
    assert all(math.isfinite(value) for value in seen.values())


def test_scores_of_any_size_are_probabilities_and_losses() -> None:
    x, far = np.array([[1.0]]), np.array([5000.0])
    assert sigmoid(far)[0] == 1.0
    assert loss(-far, x, np.array([1.0]), 0.0) == 5000.0
    assert loss(far, x, np.array([1.0]), 0.0) == 0.0
    assert gradient(-far, x, np.array([1.0]), 0.0)[0] == -1.0


def test_a_feature_that_never_changes_has_no_say() -> None:
    rows = [{"a": float(i), "b": 7.0} for i in range(6)]
    model = LogisticRegression.learn(rows, [i > 2 for i in range(6)], ["a", "b"], 0.1)
    assert model.weights[2] == 0
    assert np.isfinite(model.score([{"a": 1.0, "b": 8.0}])).all()


def test_a_missing_feature_is_zero_and_no_rows_have_no_scores() -> None:
    scale = Scale.learn([{"a": 1.0}, {}], ["a", "b"])
    np.testing.assert_array_equal(scale.mean, [0.5, 0.0])
    assert scale.matrix([]).shape == (0, 3)


@pytest.mark.parametrize("labels", [[True], [False, False], []])
def test_a_curve_needs_both_kinds(labels: list[bool]) -> None:
    with pytest.raises(ValueError, match="need both classes"):
        roc([1.0] * len(labels), labels)


# --- the mail


def test_an_impossible_zone_is_spam_in_all_of_the_mail() -> None:
    mails = [m for m in data.mail()[::3] if describe(m)["hour: impossible zone"]]
    assert len(mails) > 50
    assert all(m.spam for m in mails)


def test_hand_made_features_alone_find_most_spam() -> None:
    learned, held = recipe.split(recipe.periods()[0][::3], 0)
    names = list(describe(learned[0]))
    rows = [[describe(m) for m in part] for part in (learned, held)]
    model = LogisticRegression.learn(rows[0], [m.spam for m in learned], names, 0.03)
    found = recipe.quality(model.score(rows[1]).tolist(), held, 0.0)
    assert found["recall"] > 0.8
    assert found["false_alarms"] < 0.1


def test_the_ledger_row_is_there() -> None:
    (row,) = recipe.records.load("logistic_regression")["ledger"]
    assert (row["task"], row["method"]) == ("spam", "logistic regression")
    assert row["parameters"] == 1037
    assert row["in_domain"]["false_alarms"] <= 0.0105
