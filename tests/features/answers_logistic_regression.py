"""Wrong and right answers to the exercise on logistic regression, as students would write them."""

import math
import statistics
from collections import Counter
from itertools import groupby

import numpy as np

from fmbook.features.logistic_regression import sigmoid
from tests.bank import right, wrong

# loss ---------------------------------------------------------------------------------------------


@wrong("loss", cell="loss-hidden-fresh", says="the penalty is missing")
def without_a_penalty(weights, x, y, l2):
    score = x @ weights
    return float(np.mean(np.logaddexp(0, score) - y * score))


@wrong("loss", cell="loss-hidden-penalty", says="the bias is penalized too")
def penalizes_the_bias(weights, x, y, l2):
    score = x @ weights
    return float(np.mean(np.logaddexp(0, score) - y * score) + l2 / 2 * np.sum(weights**2))


@wrong("loss", cell="loss-hidden-fresh", says="the penalty lacks its half")
def a_whole_penalty(weights, x, y, l2):
    score = x @ weights
    return float(np.mean(np.logaddexp(0, score) - y * score) + l2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-hidden-fresh", says="the penalty takes sizes, not squares")
def penalty_of_sizes(weights, x, y, l2):
    score = x @ weights
    penalty = l2 / 2 * np.sum(np.abs(weights[1:]))
    return float(np.mean(np.logaddexp(0, score) - y * score) + penalty)


@wrong("loss", cell="loss-hidden-fresh", says="the penalty is divided by the number of mails")
def penalty_for_each_mail(weights, x, y, l2):
    score = x @ weights
    parts = np.logaddexp(0, score) - y * score
    return float((np.sum(parts) + l2 / 2 * np.sum(weights[1:] ** 2)) / len(y))


@wrong("loss", cell="loss-hidden-fresh", says="this is the sum over the mails")
def sum_over_mails(weights, x, y, l2):
    score = x @ weights
    return float(np.sum(np.logaddexp(0, score) - y * score) + l2 / 2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-hidden-fresh", says="the labels have changed places")
def labels_turned_round(weights, x, y, l2):
    score = x @ weights
    parts = np.logaddexp(0, score) - (1 - y) * score
    return float(np.mean(parts) + l2 / 2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-hidden-fresh", says="the logarithm is not the natural one")
def in_bits(weights, x, y, l2):
    score = x @ weights
    parts = (np.logaddexp(0, score) - y * score) / np.log(2)
    return float(np.mean(parts) + l2 / 2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-hidden-fresh", says="this is the squared error of the claims")
def squared_error(weights, x, y, l2):
    return float(np.mean((sigmoid(x @ weights) - y) ** 2) + l2 / 2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-hidden-fresh", says="only spam counts")
def only_spam(weights, x, y, l2):
    score = x @ weights
    return float(np.mean(y * np.logaddexp(0, -score)) + l2 / 2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-hidden-fresh", says="the sign is turned round")
def likelihood(weights, x, y, l2):
    score = x @ weights
    return float(np.mean(y * score - np.logaddexp(0, score)) + l2 / 2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-hidden-penalty", says="the last weight is left out of the penalty")
def leaves_the_last_out(weights, x, y, l2):
    score = x @ weights
    return float(np.mean(np.logaddexp(0, score) - y * score) + l2 / 2 * np.sum(weights[:-1] ** 2))


@wrong("loss", cell="loss-hidden-penalty", says="l2 is squared")
def square_of_all(weights, x, y, l2):
    score = x @ weights
    penalty = np.sum((l2 * weights[1:]) ** 2) / 2
    return float(np.mean(np.logaddexp(0, score) - y * score) + penalty)


@wrong("loss", cell="loss-hidden-large", says="must not be rounded first")
def logarithms_of_claims(weights, x, y, l2):
    p = sigmoid(x @ weights)
    with np.errstate(divide="ignore"):
        parts = -np.log(np.where(y == 1, p, 1 - p))
    return float(np.mean(parts) + l2 / 2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-hidden-large", says="there is a NaN")
def exp_over_exp(weights, x, y, l2):
    with np.errstate(all="ignore"):
        e = np.exp(x @ weights)
        p = e / (1 + e)
        parts = -np.log(np.where(y == 1, p, 1 - p))
    return float(np.mean(parts) + l2 / 2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-hidden-large", says="must not be rounded first")
def zero_times_infinity(weights, x, y, l2):
    p = sigmoid(x @ weights)
    with np.errstate(all="ignore"):
        parts = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return float(np.mean(parts) + l2 / 2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-hidden-large", says="e to the power of a large score is too large")
def one_by_one_with_exp(weights, x, y, l2):
    total = 0.0
    for row, label in zip(x, y):
        s = float(row @ weights)
        total += math.log(1 + math.exp(s)) - label * s
    return total / len(y) + l2 / 2 * sum(w**2 for w in weights[1:])


@wrong("loss", cell="loss-hidden-large", says="costs too little")
def clipped_claims(weights, x, y, l2):
    p = np.clip(sigmoid(x @ weights), 1e-15, 1 - 1e-15)
    parts = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return float(np.mean(parts) + l2 / 2 * np.sum(weights[1:] ** 2))


@wrong("loss", cell="loss-check-large", says="a confident mistake costs too little")
def clipped_a_little(weights, x, y, l2):
    p = np.clip(sigmoid(x @ weights), 1e-12, 1 - 1e-12)
    parts = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return float(np.mean(parts) + l2 / 2 * np.sum(weights[1:] ** 2))


@right("loss")
def mail_by_mail(weights, x, y, l2):
    total = 0.0
    for row, label in zip(x.tolist(), y.tolist()):
        s = sum(a * w for a, w in zip(row, weights.tolist()))
        s = s if label else -s
        total += math.log1p(math.exp(-s)) if s > 0 else math.log1p(math.exp(s)) - s
    return total / len(y) + l2 / 2 * sum(w * w for w in weights.tolist()[1:])


@right("loss")
def by_signs(weights, x, y, l2):
    signed = (2 * y - 1) * np.einsum("bf,f->b", x, weights)
    inner = weights * np.r_[0.0, np.ones(len(weights) - 1)]
    return np.logaddexp(0.0, -signed).mean() + 0.5 * l2 * (inner @ inner)


@right("loss")
def by_relu(weights, x, y, l2):
    score = np.dot(x, weights)
    parts = np.maximum(score, 0) - y * score + np.log1p(np.exp(-np.abs(score)))
    return float(parts.sum() / len(parts) + l2 * np.linalg.norm(weights[1:]) ** 2 / 2)


# gradient -----------------------------------------------------------------------------------------


@wrong("gradient", cell="gradient-hidden-fresh", says="the sign is turned round")
def label_minus_claim(weights, x, y, l2):
    penalty = l2 * weights
    penalty[0] = 0.0
    return x.T @ (y - sigmoid(x @ weights)) / len(y) + penalty


@wrong("gradient", cell="gradient-hidden-fresh", says="this is the sum over the mails")
def sum_of_slopes(weights, x, y, l2):
    penalty = l2 * weights
    penalty[0] = 0.0
    return x.T @ (sigmoid(x @ weights) - y) + penalty


@wrong("gradient", cell="gradient-hidden-fresh", says="divided by the number of weights")
def divided_by_weights(weights, x, y, l2):
    penalty = l2 * weights
    penalty[0] = 0.0
    return x.T @ (sigmoid(x @ weights) - y) / len(weights) + penalty


@wrong("gradient", cell="gradient-hidden-fresh", says="that of the score, not of the claim")
def of_least_squares(weights, x, y, l2):
    penalty = l2 * weights
    penalty[0] = 0.0
    return x.T @ (x @ weights - y) / len(y) + penalty


@wrong("gradient", cell="gradient-hidden-fresh", says="the labels are 1 and 0, not 1 and -1")
def labels_of_a_perceptron(weights, x, y, l2):
    penalty = l2 * weights
    penalty[0] = 0.0
    return x.T @ (sigmoid(x @ weights) - (2 * y - 1)) / len(y) + penalty


@wrong("gradient", cell="gradient-hidden-fresh", says="the labels have changed places")
def other_labels(weights, x, y, l2):
    penalty = l2 * weights
    penalty[0] = 0.0
    return x.T @ (sigmoid(x @ weights) - (1 - y)) / len(y) + penalty


@wrong("gradient", cell="gradient-hidden-fresh", says="this is the slope of the squared error")
def of_squared_error(weights, x, y, l2):
    penalty, p = l2 * weights, sigmoid(x @ weights)
    penalty[0] = 0.0
    return x.T @ ((p - y) * p * (1 - p)) / len(y) + penalty


@wrong("gradient", cell="gradient-hidden-fresh", says="the claim was rounded to a verdict")
def of_verdicts(weights, x, y, l2):
    penalty = l2 * weights
    penalty[0] = 0.0
    return x.T @ ((x @ weights > 0) - y) / len(y) + penalty


@wrong("gradient", cell="gradient-hidden-fresh", says="the bias got no slope")
def bias_stands_still(weights, x, y, l2):
    slope = x.T @ (sigmoid(x @ weights) - y) / len(y) + l2 * weights
    slope[0] = 0.0
    return slope


@wrong("gradient", cell="gradient-hidden-fresh", says="was not multiplied with the features")
def mean_error(weights, x, y, l2):
    penalty = l2 * weights
    penalty[0] = 0.0
    return np.full(len(weights), np.mean(sigmoid(x @ weights) - y)) + penalty


@wrong("gradient", cell="gradient-hidden-penalty", says="the penalty is missing")
def no_penalty(weights, x, y, l2):
    return x.T @ (sigmoid(x @ weights) - y) / len(y)


@wrong("gradient", cell="gradient-hidden-penalty", says="the bias is penalized too")
def bias_penalized(weights, x, y, l2):
    return x.T @ (sigmoid(x @ weights) - y) / len(y) + l2 * weights


@wrong("gradient", cell="gradient-hidden-penalty", says="is the weight, not twice the weight")
def twice_the_penalty(weights, x, y, l2):
    penalty = 2 * l2 * weights
    penalty[0] = 0.0
    return x.T @ (sigmoid(x @ weights) - y) / len(y) + penalty


@wrong("gradient", cell="gradient-hidden-penalty", says="is the weight, not half of it")
def half_the_penalty(weights, x, y, l2):
    penalty = l2 / 2 * weights
    penalty[0] = 0.0
    return x.T @ (sigmoid(x @ weights) - y) / len(y) + penalty


@wrong("gradient", cell="gradient-hidden-penalty", says="is not the sign of the weight")
def of_the_sizes(weights, x, y, l2):
    penalty = l2 * np.sign(weights)
    penalty[0] = 0.0
    return x.T @ (sigmoid(x @ weights) - y) / len(y) + penalty


@wrong("gradient", cell="gradient-hidden-penalty", says="divided by the number of mails")
def penalty_divided(weights, x, y, l2):
    penalty = l2 * weights
    penalty[0] = 0.0
    return (x.T @ (sigmoid(x @ weights) - y) + penalty) / len(y)


@wrong("gradient", cell="gradient-hidden-penalty", says="are changed; make a new array")
def penalty_in_place(weights, x, y, l2):
    slope = x.T @ (sigmoid(x @ weights) - y) / len(y)
    weights[0] = 0.0
    return slope + l2 * weights


@wrong("gradient", cell="gradient-hidden-penalty", says="which is one number")
def penalty_added_everywhere(weights, x, y, l2):
    return x.T @ (sigmoid(x @ weights) - y) / len(y) + l2 / 2 * np.sum(weights[1:] ** 2)


@wrong("gradient", cell="gradient-check-arguments", says="are changed; make a new array")
def bias_set_to_zero_in_place(weights, x, y, l2):
    slope = x.T @ (sigmoid(x @ weights) - y) / len(y)
    weights[0] = 0.0
    return slope + l2 * weights


@right("gradient")
def slope_by_slope(weights, x, y, l2):
    found = []
    for f in range(len(weights)):
        slopes = [
            (float(sigmoid(np.array(row @ weights))) - label) * row[f] for row, label in zip(x, y)
        ]
        found.append(sum(slopes) / len(slopes) + (l2 * weights[f] if f else 0.0))
    return np.array(found)


@right("gradient")
def mean_of_rows(weights, x, y, l2):
    error = 1 / (1 + np.exp(-np.einsum("bf,f->b", x, weights))) - y
    mask = np.arange(len(weights)) > 0
    return (error[:, None] * x).mean(axis=0) + l2 * weights * mask


@right("gradient")
def in_fortran_order(weights, x, y, l2):
    x = np.asfortranarray(x)
    slope = np.dot(sigmoid(x.dot(weights)) - y, x) / x.shape[0]
    slope[1:] += l2 * weights[1:]
    return slope


# roc ----------------------------------------------------------------------------------------------


@wrong("roc", cell="roc-hidden-fresh", says="the first pair is (0, 0)")
def without_the_start(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    if not spam or not ham:
        raise ValueError("one kind only")
    points = []
    for t in sorted(set(scores), reverse=True):
        flagged = [y for s, y in zip(scores, labels) if s >= t]
        points.append((flagged.count(False) / ham, flagged.count(True) / spam))
    return points


@wrong("roc", cell="roc-hidden-fresh", says="the last pair is (1, 1)")
def strictly_above(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    if not spam or not ham:
        raise ValueError("one kind only")
    points = []
    for t in sorted(set(scores), reverse=True):
        flagged = [y for s, y in zip(scores, labels) if s > t]
        points.append((flagged.count(False) / ham, flagged.count(True) / spam))
    return points


@wrong("roc", cell="roc-hidden-fresh", says="not the other way round")
def recall_first(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    if not spam or not ham:
        raise ValueError("one kind only")
    points = [(0.0, 0.0)]
    for t in sorted(set(scores), reverse=True):
        flagged = [y for s, y in zip(scores, labels) if s >= t]
        points.append((flagged.count(True) / spam, flagged.count(False) / ham))
    return points


@wrong("roc", cell="roc-hidden-fresh", says="these are counts")
def counts(scores, labels):
    if all(labels) or not any(labels):
        raise ValueError("one kind only")
    points = [(0, 0)]
    for t in sorted(set(scores), reverse=True):
        flagged = [y for s, y in zip(scores, labels) if s >= t]
        points.append((flagged.count(False), flagged.count(True)))
    return points


@wrong("roc", cell="roc-hidden-fresh", says="shares of all mails")
def shares_of_all(scores, labels):
    if all(labels) or not any(labels):
        raise ValueError("one kind only")
    points = [(0.0, 0.0)]
    for t in sorted(set(scores), reverse=True):
        flagged = [y for s, y in zip(scores, labels) if s >= t]
        points.append((flagged.count(False) / len(labels), flagged.count(True) / len(labels)))
    return points


@wrong("roc", cell="roc-hidden-fresh", says="the scores are taken from low to high")
def from_low_to_high(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    if not spam or not ham:
        raise ValueError("one kind only")
    points = [(0.0, 0.0)]
    for t in sorted(set(scores)):
        flagged = [y for s, y in zip(scores, labels) if s <= t]
        points.append((flagged.count(False) / ham, flagged.count(True) / spam))
    return points


@wrong("roc", cell="roc-hidden-fresh", says="so they begin with (0, 0)")
def begins_at_the_end(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    if not spam or not ham:
        raise ValueError("one kind only")
    points = []
    for t in [*sorted(set(scores)), math.inf]:
        flagged = [y for s, y in zip(scores, labels) if s >= t]
        points.append((flagged.count(False) / ham, flagged.count(True) / spam))
    return points


@wrong("roc", cell="roc-hidden-fresh", says="in the order given, not by their score")
def unsorted(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    if not spam or not ham:
        raise ValueError("one kind only")
    points = [(0.0, 0.0)]
    for n in range(1, len(labels) + 1):
        points.append((labels[:n].count(False) / ham, labels[:n].count(True) / spam))
    return points


@wrong("roc", cell="roc-hidden-fresh", says="not among what is flagged")
def share_of_the_flagged(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    if not spam or not ham:
        raise ValueError("one kind only")
    points = [(0.0, 0.0)]
    for t in sorted(set(scores), reverse=True):
        flagged = [y for s, y in zip(scores, labels) if s >= t]
        points.append((flagged.count(False) / len(flagged), flagged.count(True) / spam))
    return points


@wrong("roc", cell="roc-hidden-fresh", says="pairs on a straight line belong to the answer")
def corners_only(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    if not spam or not ham:
        raise ValueError("one kind only")
    points = [(0.0, 0.0)]
    for t in sorted(set(scores), reverse=True):
        flagged = [y for s, y in zip(scores, labels) if s >= t]
        points.append((flagged.count(False) / ham, flagged.count(True) / spam))
    bends = [
        b
        for a, b, c in zip(points, points[1:], points[2:])
        if (a[0] == b[0]) != (b[0] == c[0]) or (a[1] == b[1]) != (b[1] == c[1])
    ]
    return [points[0], *bends, points[-1]]


@wrong("roc", cell="roc-hidden-ties", says="equal scores are flagged in one step")
def one_mail_at_a_time(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    if not spam or not ham:
        raise ValueError("one kind only")
    points, hits, alarms = [(0.0, 0.0)], 0, 0
    for _, y in sorted(zip(scores, labels), key=lambda pair: -pair[0]):
        hits, alarms = hits + y, alarms + (not y)
        points.append((alarms / ham, hits / spam))
    return points


@wrong("roc", cell="roc-hidden-limits", says="no ham: expected ValueError")
def divides_by_at_least_one(scores, labels):
    spam, ham = max(1, sum(labels)), max(1, len(labels) - sum(labels))
    points = [(0.0, 0.0)]
    for t in sorted(set(scores), reverse=True):
        flagged = [y for s, y in zip(scores, labels) if s >= t]
        points.append((flagged.count(False) / ham, flagged.count(True) / spam))
    return points


@wrong("roc", cell="roc-hidden-limits", says="no ham: expected ValueError, got ZeroDivisionError")
def divides_by_zero(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    points = [(0.0, 0.0)]
    for t in sorted(set(scores), reverse=True):
        flagged = [y for s, y in zip(scores, labels) if s >= t]
        points.append((flagged.count(False) / ham, flagged.count(True) / spam))
    return points


@wrong("roc", cell="roc-check-example", says="flag what scores as much or more, not only more")
def what_scores_more(scores, labels):
    spam, ham = sum(labels), len(labels) - sum(labels)
    if not spam or not ham:
        raise ValueError("one kind only")
    points = [(0.0, 0.0)]
    for t in sorted(set(scores), reverse=True):
        flagged = [y for s, y in zip(scores, labels) if s > t]
        points.append((flagged.count(False) / ham, flagged.count(True) / spam))
    return points


@right("roc")
def by_thresholds(scores, labels):
    if len(set(map(bool, labels))) < 2:
        raise ValueError("need spam and ham")
    spam = [s for s, y in zip(scores, labels) if y]
    ham = [s for s, y in zip(scores, labels) if not y]
    return [(0.0, 0.0)] + [
        (sum(s >= t for s in ham) / len(ham), sum(s >= t for s in spam) / len(spam))
        for t in sorted(set(scores), reverse=True)
    ]


@right("roc")
def by_groups(scores, labels):
    spam = sum(bool(y) for y in labels)
    ham = len(labels) - spam
    if spam * ham == 0:
        raise ValueError("need spam and ham")
    ranked = sorted(zip(scores, labels), reverse=True)
    points, seen = [(0.0, 0.0)], Counter()
    for _, group in groupby(ranked, key=lambda pair: pair[0]):
        seen.update(bool(y) for _, y in group)
        points.append((seen[False] / ham, seen[True] / spam))
    return points


@right("roc")
def by_cumulative_sums(scores, labels):
    s, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    if y.size == 0 or y.all() or not y.any():
        raise ValueError("need spam and ham")
    order = np.argsort(-s, kind="stable")
    s, y = s[order], y[order]
    last = np.append(s[1:] != s[:-1], True)
    recall, alarms = np.cumsum(y)[last] / y.sum(), np.cumsum(~y)[last] / (~y).sum()
    return [[0.0, 0.0], *map(list, zip(alarms, recall))]


# standardized_repaired ----------------------------------------------------------------------------


@wrong(
    "standardized_repaired", cell="standardized_repaired-hidden-fresh", says="still come from all"
)
def as_it_was(learned, held):
    every = np.concatenate([learned, held])
    spread = np.where(every.std(axis=0) > 0, every.std(axis=0), 1)
    return (learned - every.mean(axis=0)) / spread, (held - every.mean(axis=0)) / spread


@wrong(
    "standardized_repaired", cell="standardized_repaired-hidden-fresh", says="but the spread still"
)
def spread_of_all(learned, held):
    mean, spread = learned.mean(axis=0), np.concatenate([learned, held]).std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    return (learned - mean) / spread, (held - mean) / spread


@wrong(
    "standardized_repaired", cell="standardized_repaired-hidden-fresh", says="but the mean still"
)
def mean_of_all(learned, held):
    mean, spread = np.concatenate([learned, held]).mean(axis=0), learned.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    return (learned - mean) / spread, (held - mean) / spread


@wrong(
    "standardized_repaired", cell="standardized_repaired-hidden-fresh", says="scale of their own"
)
def a_scale_for_each(learned, held):
    scaled = []
    for part in (learned, held):
        spread = part.std(axis=0) if len(part) else np.ones(part.shape[1])
        mean = part.mean(axis=0) if len(part) else 0
        scaled.append((part - mean) / np.where(spread > 0, spread, 1))
    return tuple(scaled)


@wrong(
    "standardized_repaired", cell="standardized_repaired-hidden-fresh", says="from the held-out mai"
)
def scale_of_the_held_out(learned, held):
    mean, spread = held.mean(axis=0), held.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    return (learned - mean) / spread, (held - mean) / spread


@wrong("standardized_repaired", cell="standardized_repaired-hidden-fresh", says="by the variance")
def divided_by_variance(learned, held):
    mean, spread = learned.mean(axis=0), learned.var(axis=0)
    spread = np.where(spread > 0, spread, 1)
    return (learned - mean) / spread, (held - mean) / spread


@wrong("standardized_repaired", cell="standardized_repaired-hidden-fresh", says="not by B - 1")
def one_degree_less(learned, held):
    mean, spread = learned.mean(axis=0), learned.std(axis=0, ddof=1)
    spread = np.where(spread > 0, spread, 1)
    return (learned - mean) / spread, (held - mean) / spread


@wrong(
    "standardized_repaired", cell="standardized_repaired-hidden-fresh", says="a spread of its own"
)
def one_scale_for_all_columns(learned, held):
    mean, spread = learned.mean(), learned.std()
    return (learned - mean) / spread, (held - mean) / spread


@wrong(
    "standardized_repaired",
    cell="standardized_repaired-hidden-fresh",
    says="from lowest to highest",
)
def lowest_to_highest(learned, held):
    low, width = learned.min(axis=0), np.ptp(learned, axis=0)
    width = np.where(width > 0, width, 1)
    return (learned - low) / width, (held - low) / width


@wrong("standardized_repaired", cell="standardized_repaired-hidden-fresh", says="is not subtracted")
def held_out_only_divided(learned, held):
    mean, spread = learned.mean(axis=0), learned.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    return (learned - mean) / spread, held / spread


@wrong("standardized_repaired", cell="standardized_repaired-hidden-fresh", says="not on the scale")
def held_out_left_alone(learned, held):
    spread = np.where(learned.std(axis=0) > 0, learned.std(axis=0), 1)
    return (learned - learned.mean(axis=0)) / spread, held.copy()


@wrong(
    "standardized_repaired", cell="standardized_repaired-hidden-fresh", says="have changed places"
)
def held_out_first(learned, held):
    mean, spread = learned.mean(axis=0), learned.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    return (held - mean) / spread, (learned - mean) / spread


@wrong(
    "standardized_repaired", cell="standardized_repaired-hidden-fresh", says="arguments afterwards"
)
def in_place(learned, held):
    mean, spread = learned.mean(axis=0), learned.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    learned -= mean
    learned /= spread
    return learned, (held - mean) / spread


@wrong("standardized_repaired", cell="standardized_repaired-hidden-constant", says="division by 0")
def divides_constants_by_zero(learned, held):
    mean, spread = learned.mean(axis=0), learned.std(axis=0)
    return (learned - mean) / spread, (held - mean) / spread


@wrong(
    "standardized_repaired", cell="standardized_repaired-hidden-constant", says="and not set to 0"
)
def constants_become_zero(learned, held):
    mean, spread = learned.mean(axis=0), learned.std(axis=0)
    inverse = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
    return (learned - mean) * inverse, (held - mean) * inverse


@wrong(
    "standardized_repaired",
    cell="standardized_repaired-hidden-constant",
    says="stays among the col",
)
def constants_thrown_out(learned, held):
    keep = learned.std(axis=0) > 0
    mean, spread = learned.mean(axis=0)[keep], learned.std(axis=0)[keep]
    return (learned[:, keep] - mean) / spread, (held[:, keep] - mean) / spread


@wrong("standardized_repaired", cell="standardized_repaired-hidden-constant", says="explode; use 1")
def a_small_number_for_zero(learned, held):
    mean, spread = learned.mean(axis=0), np.maximum(learned.std(axis=0), 1e-8)
    return (learned - mean) / spread, (held - mean) / spread


@wrong("standardized_repaired", cell="standardized_repaired-check-constant", says="0 / 0 is a NaN")
def constants_over_zero(learned, held):
    mean, spread = learned.mean(axis=0), learned.std(axis=0)
    return (learned - mean) / spread, (held - mean) / spread


@wrong(
    "standardized_repaired",
    cell="standardized_repaired-hidden-constant",
    says="rounding left a spread of 1e-17",
)
def one_where_the_spread_is_zero(learned, held):
    mean, spread = learned.mean(axis=0), learned.std(axis=0)
    spread = np.where(spread == 0, 1.0, spread)
    return (learned - mean) / spread, (held - mean) / spread


@wrong(
    "standardized_repaired",
    cell="standardized_repaired-hidden-alone",
    says="a mail alone has no spread of its own",
)
def own_scale_even_for_one(learned, held):
    with np.errstate(all="ignore"):
        return tuple((part - part.mean(axis=0)) / part.std(axis=0) for part in (learned, held))


@right("standardized_repaired")
def column_by_column(learned, held):
    new = [np.empty(part.shape) for part in (learned, held)]
    for f in range(learned.shape[1]):
        column = learned[:, f].tolist()
        mean, spread = statistics.fmean(column), statistics.pstdev(column) or 1.0
        for part, scaled in zip((learned, held), new):
            scaled[:, f] = (part[:, f] - mean) / spread
    return tuple(new)


@right("standardized_repaired")
def with_a_helper(learned, held):
    mean = learned.sum(axis=0) / len(learned)
    spread = np.sqrt(((learned - mean) ** 2).mean(axis=0))
    spread[spread < 1e-12] = 1.0

    def scaled(part):
        return np.divide(part - mean, spread)

    return [scaled(learned), scaled(held)]


@right("standardized_repaired")
def all_at_once(learned, held):
    mean, spread = learned.mean(0, keepdims=True), learned.std(0, keepdims=True)
    both = (np.vstack([learned, held]) - mean) / (spread + (np.ptp(learned, 0) == 0))
    return both[: len(learned)], both[len(learned) :]
