"""Naive Bayes: what Bayes' rule, scikit-learn and a promise of false alarms demand of it."""

import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbook import data
from fmbook.features.naive_bayes import (
    NaiveBayes,
    learn,
    log_odds,
    quality,
    reliability,
    split,
    threshold,
    words,
)
from fmbook.records import naive_bayes as recipe

few = settings(max_examples=40, deadline=None)
counts = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), max_size=6)
bags = st.lists(counts, min_size=2, max_size=8)


def labelled(boxes: list[dict[str, int]]) -> list[bool]:
    """Both kinds among any two mails or more."""
    return [i % 2 == 0 for i in range(len(boxes))]


# --- oracle: what others compute


@few
@given(bags, counts, st.floats(0.01, 5))
def test_scores_and_probabilities_are_scikit_learns(
    boxes: list[dict[str, int]], new: dict[str, int], alpha: float
) -> None:
    from sklearn.naive_bayes import MultinomialNB

    if not any(boxes):
        return
    labels, vocabulary = labelled(boxes), sorted({word for bag in boxes for word in bag})
    table = np.array([[bag.get(word, 0) for word in vocabulary] for bag in boxes])
    theirs = MultinomialNB(alpha=alpha).fit(table, labels)
    row = np.array([[new.get(word, 0) for word in vocabulary]])
    ham, spam = theirs.predict_joint_log_proba(row)[0]
    mine = learn(boxes, labels, alpha)
    assert mine.score(new) == pytest.approx(spam - ham, abs=1e-9)
    assert mine.probability(new) == pytest.approx(theirs.predict_proba(row)[0, 1], abs=1e-12)


def test_bayes_rule_by_enumeration() -> None:
    """The probability is the share of spam among all ways to draw this sequence of words."""
    mine = learn([Counter("aab"), Counter("b"), Counter("bc")], [True, True, False], alpha=0.5)
    spam = {"a": 2.5 / 5.5, "b": 2.5 / 5.5, "c": 0.5 / 5.5}
    ham = {"a": 0.5 / 3.5, "b": 1.5 / 3.5, "c": 1.5 / 3.5}
    joint = 2 / 3 * spam["a"] * spam["c"], 1 / 3 * ham["a"] * ham["c"]
    assert mine.probability(Counter("ac")) == pytest.approx(joint[0] / sum(joint))


@few
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.booleans()), min_size=2, max_size=40),
    st.floats(0, 0.99),
)
def test_the_threshold_is_the_lowest_score_that_keeps_the_promise(
    rows: list[tuple[float, bool]], share: float
) -> None:
    scores, labels = [s for s, _ in rows], [y for _, y in rows]
    good = [s for s, y in rows if not y]
    if good:
        cut = threshold(scores, labels, share)
        assert cut == min(t for t in good if sum(s > t for s in good) <= share * len(good) + 1e-9)


# --- property: what holds for all inputs


@few
@given(bags, counts)
def test_order_of_mails_and_of_words_does_not_matter(
    boxes: list[dict[str, int]], new: dict[str, int]
) -> None:
    labels = labelled(boxes)
    turned = [dict(reversed(bag.items())) for bag in reversed(boxes)]
    a, b = learn(boxes, labels), learn(turned, labels[::-1])
    assert a.score(new) == pytest.approx(b.score(new), abs=1e-12)


@few
@given(counts, counts, st.floats(0.01, 5))
def test_exchanging_the_classes_changes_every_sign(
    spam: dict[str, int], ham: dict[str, int], alpha: float
) -> None:
    there, back = log_odds(spam, ham, alpha), log_odds(ham, spam, alpha)
    assert there.keys() == back.keys() == spam.keys() | ham.keys()
    assert all(there[word] == pytest.approx(-back[word], abs=1e-12) for word in there)


@few
@given(counts, counts, st.floats(0.01, 5))
def test_the_smoothed_shares_of_each_side_sum_to_one(
    spam: dict[str, int], ham: dict[str, int], alpha: float
) -> None:
    weights = log_odds(spam, ham, alpha)
    if weights:
        total = sum(ham.values()) + alpha * len(weights)
        shares = {word: (ham.get(word, 0) + alpha) / total for word in weights}
        assert sum(shares.values()) == pytest.approx(1)
        assert sum(shares[w] * math.exp(weights[w]) for w in weights) == pytest.approx(1)


@few
@given(bags, counts)
def test_evidence_adds_up_to_the_score(boxes: list[dict[str, int]], new: dict[str, int]) -> None:
    model = learn(boxes, labelled(boxes))
    rows = model.evidence(new)
    assert model.prior + sum(added for *_, added in rows) == pytest.approx(model.score(new))
    assert [abs(added) for *_, added in rows] == sorted((abs(r[2]) for r in rows), reverse=True)


@few
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40), st.integers(1, 12))
def test_a_reliability_table_loses_no_claim(rows: list[tuple[float, bool]], bins: int) -> None:
    claims, labels = [p for p, _ in rows], [y for _, y in rows]
    table = reliability(claims, labels, bins)
    assert sum(n for *_, n in table) == len(rows)
    assert sum(p * n for p, _, n in table) == pytest.approx(sum(claims))
    assert sum(y * n for _, y, n in table) == pytest.approx(sum(labels))
    assert [p for p, *_ in table] == sorted(p for p, *_ in table)


def test_saying_everything_twice_keeps_the_verdict_and_doubles_the_evidence() -> None:
    model = NaiveBayes({"a": 1.5, "b": -2.0}, prior=0.0)
    once, twice = Counter("aab"), Counter("aabaab")
    assert model.score(twice) == 2 * model.score(once)


def test_a_split_is_a_partition_that_depends_on_the_seed_alone() -> None:
    learned, held = split(range(100), 3)
    assert (len(learned), len(held)) == (80, 20)
    assert sorted(learned + held) == list(range(100))
    assert (learned, held) == split(range(100), 3) != split(range(100), 4)
    assert learned != sorted(learned)


# --- worked example: numbers one can do by hand


def test_win_money_at_lunch() -> None:
    tiny = ["win money now", "money money win", "lunch now", "money for lunch today"]
    model = learn([Counter(words(text)) for text in tiny], [True, True, False, False])
    factors = {word: math.exp(weight) for word, weight in model.weights.items()}
    by_hand = {"win": 3, "money": 2, "now": 1, "lunch": 1 / 3, "for": 1 / 2, "today": 1 / 2}
    assert factors == pytest.approx(by_hand)
    assert model.prior == 0
    assert model.probability(Counter(words("Win money at lunch!"))) == pytest.approx(2 / 3)


def test_words_are_runs_of_letters() -> None:
    assert words("Don't PAY $100, e-mail\nM0rtgage=20 <FONT>é") == (
        ["don", "t", "pay", "e", "mail", "m", "rtgage", "font"]
    )


def test_the_prior_counts_mails_not_words() -> None:
    model = learn(
        [Counter("aaaaaaaaa"), Counter("b"), Counter("c"), Counter("d")], [True] + 3 * [False]
    )
    assert model.prior == pytest.approx(math.log(1 / 3))


def test_quality_by_hand() -> None:
    kinds = ["spam-1", "spam-2", "easy-ham-1", "easy-ham-2", "hard-ham-1", "hard-ham-1"]
    box = [SimpleNamespace(spam=k.startswith("spam"), group=k) for k in kinds]
    found = quality([3.0, 0.0, 2.0, -1.0, 1.0, -5.0], box, threshold=0.0)
    wanted = {
        "precision": 1 / 3,
        "recall": 1 / 2,
        "false_alarms": 1 / 2,
        "false_alarms_hard": 1 / 2,
    }
    assert found == pytest.approx(wanted)


# --- limit: the edges


def test_a_score_far_from_zero_is_a_probability_still() -> None:
    model = NaiveBayes({"up": 1.0, "down": -1.0}, prior=0.0)
    assert model.probability({"up": 100_000}) == 1.0
    assert model.probability({"down": 100_000}) == 0.0
    assert model.probability({}) == 0.5


def test_no_words_have_no_weights() -> None:
    assert log_odds({}, {}) == {}
    assert learn([{}, {}], [True, False]).score({"a": 1}) == 0.0


def test_a_mail_of_unknown_words_has_the_prior() -> None:
    model = learn([Counter("a"), Counter("b"), Counter("c")], [True, False, False])
    assert model.score({"never": 7}) == model.score({}) == model.prior


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_one_kind_of_mail_teaches_nothing(labels: list[bool]) -> None:
    with pytest.raises(ValueError, match="need spam and ham"):
        learn([Counter("a")] * len(labels), labels)


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan])
def test_alpha_must_be_above_zero(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must be above 0"):
        log_odds({"a": 1}, {"b": 1}, alpha)


@pytest.mark.parametrize(
    ("probabilities", "bins"), [([1.1], 4), ([-0.1], 4), ([math.nan], 4), ([0.5], 0)]
)
def test_what_is_no_probability_is_refused(probabilities: list[float], bins: int) -> None:
    with pytest.raises(ValueError, match=r"need probabilities in 0\.\.1"):
        reliability(probabilities, [True], bins)


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_an_impossible_promise_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="need good mail"):
        threshold([1.0], [False], share)


def test_without_good_mail_there_is_no_threshold() -> None:
    with pytest.raises(ValueError, match="got 0"):
        threshold([1.0], [True])


def test_lengths_must_agree() -> None:
    for call in (
        lambda: learn([Counter("a")], [True, False]),
        lambda: reliability([0.5], []),
        lambda: threshold([0.5], []),
    ):
        with pytest.raises(ValueError, match="zip"):
            call()


# --- the mail


@pytest.fixture(scope="module")
def part() -> tuple[list[data.Mail], list[data.Mail]]:
    earlier, later = recipe.periods()
    return split(earlier[::3], 0)[0], later[::4]


def test_it_beats_the_rules_on_later_mail_from_a_third_of_the_labels(
    part: tuple[list[data.Mail], list[data.Mail]],
) -> None:
    learned, later = part
    score, certainty = recipe.bayes(learned), recipe.Knowledge.read("spam")
    found = quality([score(m) for m in later], later, 0.0)
    beaten = [certainty.judge(m).certainty(("spam",)) for m in later]
    assert recipe.f_score(found) > recipe.f_score(quality(beaten, later, recipe.THRESHOLD)) + 0.03


def test_same_verdicts_as_scikit_learn_from_the_text_on(
    part: tuple[list[data.Mail], list[data.Mail]],
) -> None:
    mine, theirs = recipe.ours(*part), recipe.theirs(*part)
    np.testing.assert_allclose(mine[2], theirs[2], rtol=1e-9, atol=1e-6)


def test_the_ledger_has_the_rows_that_it_should() -> None:
    rows: list[dict[str, Any]] = recipe.records.load("naive_bayes")["ledger"]
    assert [row["method"] for row in rows] == ["rules", "naive Bayes"]
    wanted = {"precision", "recall", "false_alarms", "false_alarms_hard"}
    for row in rows:
        assert row["task"] == "spam"
        assert set(row["quality"]) == set(row["in_domain"]) == wanted
        assert row["in_domain"]["false_alarms"] <= 0.0105
        assert row["decisions"]
        assert row["failures"]
        assert row["parameters"] > 0 <= row["cpu_seconds"]
