"""Wrong and right answers to the exercise on naive Bayes, each as a student would write it."""

import bisect
import heapq
import math
from collections import Counter, defaultdict
from decimal import Decimal
from fractions import Fraction

import numpy as np

from tests.bank import right, wrong

# log_odds -----------------------------------------------------------------------------------------


@wrong("log_odds", cell="log_odds-hidden-weights", says="these are the ratios")
def ratios(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + alpha * len(words) for side in (spam, ham))
    return {w: (spam.get(w, 0) + alpha) / s / ((ham.get(w, 0) + alpha) / h) for w in words}


@wrong("log_odds", cell="log_odds-hidden-weights", says="spam and ham have changed places")
def ham_over_spam(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + alpha * len(words) for side in (spam, ham))
    return {w: math.log((ham.get(w, 0) + alpha) / h * s / (spam.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-weights", says="the logarithm is not the natural one")
def in_bits(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + alpha * len(words) for side in (spam, ham))
    return {w: math.log2((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-weights", says="words that only one side has are missing")
def common_words_only(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    size = len(set(spam) | set(ham))
    s, h = (sum(side.values()) + alpha * size for side in (spam, ham))
    return {w: math.log((spam[w] + alpha) / s * h / (ham[w] + alpha)) for w in spam if w in ham}


@wrong("log_odds", cell="log_odds-hidden-weights", says="words that only ham has are missing")
def words_of_spam_only(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    size = len(set(spam) | set(ham))
    s, h = (sum(side.values()) + alpha * size for side in (spam, ham))
    return {w: math.log((n + alpha) / s * h / (ham.get(w, 0) + alpha)) for w, n in spam.items()}


@wrong("log_odds", cell="log_odds-hidden-weights", says="the sums have not grown by alpha")
def sums_as_they_were(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    s, h = max(1, sum(spam.values())), max(1, sum(ham.values()))
    words = set(spam) | set(ham)
    return {w: math.log((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-weights", says="alpha is added to the sum once")
def sum_grown_once(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    s, h = sum(spam.values()) + alpha, sum(ham.values()) + alpha
    words = set(spam) | set(ham)
    return {w: math.log((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-weights", says="V is the vocabulary of both sides")
def a_vocabulary_for_each_side(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    s, h = (sum(side.values()) + alpha * len(side) for side in (spam, ham))
    words = set(spam) | set(ham)
    h = h or 1
    return {w: math.log((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-weights", says="V counts words that both sides have twice")
def common_words_twice(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    size = len(spam) + len(ham)
    s, h = (sum(side.values()) + alpha * size for side in (spam, ham))
    words = set(spam) | set(ham)
    return {w: math.log((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-weights", says="not by the number of different words")
def different_words_for_the_sum(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    s, h = (len(side) + alpha * len(words) for side in (spam, ham))
    return {w: math.log((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-weights", says="the sums of the two sides were left out")
def counts_for_shares(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    return {w: math.log((spam.get(w, 0) + alpha) / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-weights", says="has the count 0 there, raised by alpha")
def nothing_for_one_sided_words(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + alpha * len(words) for side in (spam, ham))
    return {
        w: math.log((spam[w] + alpha) / s * h / (ham[w] + alpha)) if w in spam and w in ham else 0.0
        for w in words
    }


@wrong("log_odds", cell="log_odds-hidden-alpha", says="1 was added, whatever alpha is")
def always_one(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    return {w: math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-alpha", says="but the sums have grown by 1 for each word")
def alpha_in_the_counts_only(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    return {w: math.log((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-limits", says="must be refused at the start")
def lets_any_alpha_in(spam, ham, alpha=1.0):
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + alpha * len(words) for side in (spam, ham))
    shares = {w: ((spam.get(w, 0) + alpha) / s, (ham.get(w, 0) + alpha) / h) for w in words}
    return {
        w: math.log(p) - math.log(q) if p > 0 < q else -math.inf for w, (p, q) in shares.items()
    }


@wrong("log_odds", cell="log_odds-hidden-limits", says="a side without words is allowed")
def refuses_an_empty_side(spam, ham, alpha=1.0):
    if alpha <= 0 or not spam or not ham:
        raise ValueError("nothing to count")
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + alpha * len(words) for side in (spam, ham))
    return {w: math.log((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-hidden-limits", says="must be refused at the start")
def refuses_only_below_zero(spam, ham, alpha=1.0):
    if alpha < 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + alpha * len(words) for side in (spam, ham))
    return {w: math.log((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-check-example", says="both sides together, not of each side")
def vocabulary_side_by_side(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + alpha * len(side) for side in (spam, ham))
    return {w: math.log((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@wrong("log_odds", cell="log_odds-check-example", says="alpha is added to the sum once")
def alpha_once(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = set(spam) | set(ham)
    s, h = (sum(side.values()) + alpha for side in (spam, ham))
    return {w: math.log((spam.get(w, 0) + alpha) / s * h / (ham.get(w, 0) + alpha)) for w in words}


@right("log_odds")
def two_logarithms(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError(f"alpha is {alpha}")
    vocabulary = sorted({*spam, *ham})
    result = {}
    for word in vocabulary:
        in_spam = (spam[word] if word in spam else 0) + alpha
        in_ham = (ham[word] if word in ham else 0) + alpha
        result[word] = math.log(in_spam / (sum(spam.values()) + alpha * len(vocabulary)))
        result[word] -= math.log(in_ham / (sum(ham.values()) + alpha * len(vocabulary)))
    return result


@right("log_odds")
def with_arrays(spam, ham, alpha=1.0):
    if not alpha > 0:
        raise ValueError("alpha must be positive")
    words = list(dict.fromkeys([*ham, *spam]))
    table = np.array([[side.get(w, 0) for w in words] for side in (spam, ham)]) + alpha
    logs = np.log(table / table.sum(axis=1, keepdims=True))
    return dict(zip(words, logs[0] - logs[1]))


@right("log_odds")
def with_counters(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    s, h = Counter(spam), Counter(ham)
    words = (s | h).keys()
    for side in (s, h):
        for word in words:
            side[word] += alpha
    return {w: math.log(s[w] * h.total() / h[w] / s.total()) for w in words}


@right("log_odds")
def in_fractions(spam, ham, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    a, words = Fraction(alpha), set(spam).union(ham)
    totals = [sum(side.values()) + a * len(words) for side in (spam, ham)]
    odds = {w: (spam.get(w, 0) + a) / totals[0] / ((ham.get(w, 0) + a) / totals[1]) for w in words}
    return {w: math.log(float(ratio)) for w, ratio in odds.items()}


# reliability --------------------------------------------------------------------------------------


@wrong("reliability", cell="reliability-hidden-fresh", says="not the middle of the bin")
def middles_of_bins(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(int(p * bins), bins - 1)].append(y)
    return [((k + 0.5) / bins, sum(held[k]) / len(held[k]), len(held[k])) for k in sorted(held)]


@wrong("reliability", cell="reliability-hidden-fresh", says="not their median")
def medians(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(int(p * bins), bins - 1)].append((p, y))
    return [
        (float(np.median([p for p, _ in rows])), sum(y for _, y in rows) / len(rows), len(rows))
        for _, rows in sorted(held.items())
    ]


@wrong(
    "reliability", cell="reliability-hidden-fresh", says="not of claims on the right side of 0.5"
)
def share_of_right_verdicts(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(int(p * bins), bins - 1)].append((p, (p > 0.5) == y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for _, rows in sorted(held.items())
    ]


@wrong("reliability", cell="reliability-hidden-fresh", says="the share of True, not their number")
def number_of_true(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(int(p * bins), bins - 1)].append((p, y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows), len(rows))
        for _, rows in sorted(held.items())
    ]


@wrong("reliability", cell="reliability-hidden-fresh", says="the share of True, not of False")
def share_of_false(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(int(p * bins), bins - 1)].append((p, not y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for _, rows in sorted(held.items())
    ]


@wrong("reliability", cell="reliability-hidden-fresh", says="how many, not which share")
def share_for_count(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(int(p * bins), bins - 1)].append((p, y))
    return [
        (sum(p for p, _ in r) / len(r), sum(y for _, y in r) / len(r), len(r) / len(labels))
        for _, r in sorted(held.items())
    ]


@wrong("reliability", cell="reliability-hidden-fresh", says="there are 10 bins, whatever was asked")
def always_ten_bins(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(int(p * 10), 9)].append((p, y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for _, rows in sorted(held.items())
    ]


@wrong("reliability", cell="reliability-hidden-fresh", says="from high to low; low comes first")
def from_high_to_low(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(int(p * bins), bins - 1)].append((p, y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for _, rows in sorted(held.items(), reverse=True)
    ]


@wrong("reliability", cell="reliability-hidden-fresh", says="not to the nearest edge")
def nearest_edge(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(round(p * bins), bins - 1)].append((p, y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for _, rows in sorted(held.items())
    ]


@wrong("reliability", cell="reliability-hidden-fresh", says="not equal numbers in them")
def equal_numbers(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    pairs = np.array(sorted(zip(probabilities, labels)), dtype=float)
    parts = [part for part in np.array_split(pairs, bins) if len(part)]
    return [(float(part[:, 0].mean()), float(part[:, 1].mean()), len(part)) for part in parts]


@wrong("reliability", cell="reliability-hidden-fresh", says="an empty bin is left out")
def keeps_empty_bins(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = [[] for _ in range(bins)]
    for p, y in zip(probabilities, labels):
        held[min(int(p * bins), bins - 1)].append((p, y))
    return [
        (sum(p for p, _ in r) / len(r), sum(y for _, y in r) / len(r), len(r))
        if r
        else (0.0, 0.0, 0)
        for r in held
    ]


@wrong(
    "reliability", cell="reliability-hidden-edges", says="a probability of 1 belongs to the last"
)
def no_place_for_one(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = [[] for _ in range(bins)]
    for p, y in zip(probabilities, labels):
        held[int(p * bins)].append((p, y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for rows in held
        if rows
    ]


@wrong("reliability", cell="reliability-hidden-edges", says="has got a bin of its own")
def a_bin_for_one(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[int(p * bins)].append((p, y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for _, rows in sorted(held.items())
    ]


@wrong("reliability", cell="reliability-hidden-edges", says="a probability of 1 got lost")
def loses_one(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    found = []
    for k in range(bins):
        rows = [(p, y) for p, y in zip(probabilities, labels) if k / bins <= p < (k + 1) / bins]
        if rows:
            p, y = (sum(column) / len(rows) for column in zip(*rows))
            found.append((p, y, len(rows)))
    return found


@wrong("reliability", cell="reliability-hidden-edges", says="belongs to the bin above it")
def edges_go_down(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[max(math.ceil(p * bins) - 1, 0)].append((p, y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for _, rows in sorted(held.items())
    ]


@wrong(
    "reliability", cell="reliability-hidden-refuses", says="a probability above 1: expected Value"
)
def trusts_its_input(probabilities, labels, bins=10):
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(int(p * bins), bins - 1)].append((p, y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for _, rows in sorted(held.items())
    ]


@wrong("reliability", cell="reliability-hidden-refuses", says="one bin is enough; refuse only less")
def wants_two_bins(probabilities, labels, bins=10):
    if bins < 2 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = defaultdict(list)
    for p, y in zip(probabilities, labels):
        held[min(int(p * bins), bins - 1)].append((p, y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for _, rows in sorted(held.items())
    ]


@wrong("reliability", cell="reliability-check-example", says="a probability of 1 got lost")
def from_low_to_below_high(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    found = []
    for k in range(bins):
        rows = [(p, y) for p, y in zip(probabilities, labels) if k / bins <= p < (k + 1) / bins]
        if rows:
            share = sum(y for _, y in rows) / len(rows)
            found.append((sum(p for p, _ in rows) / len(rows), share, len(rows)))
    return found


@wrong("reliability", cell="reliability-check-example", says="and there is no bin behind it")
def one_past_the_end(probabilities, labels, bins=10):
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probabilities")
    held = [[] for _ in range(bins)]
    for p, y in zip(probabilities, labels):
        held[int(p * bins)].append((p, y))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(y for _, y in rows) / len(rows), len(rows))
        for rows in held
        if rows
    ]


@wrong("reliability", cell="reliability-hidden-refuses", says="a probability not a number")
def refuses_only_what_lies_outside(probabilities, labels, bins=10):
    if bins < 1 or any(p < 0 or p > 1 for p in probabilities):
        raise ValueError("no probabilities")
    found = []
    for k in range(bins):
        top = 2 if k == bins - 1 else (k + 1) / bins
        rows = [(p, y) for p, y in zip(probabilities, labels) if k / bins <= p < top]
        if rows:
            share = sum(y for _, y in rows) / len(rows)
            found.append((sum(p for p, _ in rows) / len(rows), share, len(rows)))
    return found


@right("reliability")
def bin_by_bin(probabilities, labels, bins=10):
    if bins <= 0:
        raise ValueError("no bins")
    for p in probabilities:
        if not 0 <= p <= 1:
            raise ValueError(f"{p} is no probability")
    found = []
    for k in range(bins):
        top = 2 if k == bins - 1 else (k + 1) / bins
        inside = [i for i, p in enumerate(probabilities) if k / bins <= p < top]
        if inside:
            mean = math.fsum(probabilities[i] for i in inside) / len(inside)
            found.append((mean, [labels[i] for i in inside].count(True) / len(inside), len(inside)))
    return found


@right("reliability")
def with_digitize(probabilities, labels, bins=10):
    p, y = np.asarray(probabilities, dtype=float), np.asarray(labels, dtype=float)
    if bins < 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("outside 0..1")
    places = np.digitize(p, np.arange(1, bins) / bins)
    return [
        (float(p[places == k].mean()), float(y[places == k].mean()), int((places == k).sum()))
        for k in np.unique(places)
    ]


@right("reliability")
def with_bincount(probabilities, labels, bins=10):
    p, y = np.array(probabilities), np.array(labels, dtype=bool)
    if bins < 1 or np.isnan(p).any() or p.min() < 0 or p.max() > 1:
        raise ValueError("outside 0..1")
    k = np.minimum((p * bins).astype(int), bins - 1)
    n, sums, hits = (np.bincount(k, weights=w, minlength=bins) for w in (None, p, y))
    return [[sums[i] / n[i], hits[i] / n[i], n[i]] for i in range(bins) if n[i]]


# threshold ----------------------------------------------------------------------------------------


@wrong("threshold", cell="threshold-hidden-fresh", says="places are counted from 0")
def one_place_early(scores, labels, false_alarms=0.01):
    good = sorted([s for s, y in zip(scores, labels) if not y], reverse=True)
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return good[max(math.floor(false_alarms * len(good) + 1e-9) - 1, 0)]


@wrong("threshold", cell="threshold-hidden-fresh", says="one good mail too many lies above")
def rounds_up(scores, labels, false_alarms=0.01):
    good = sorted([s for s, y in zip(scores, labels) if not y], reverse=True)
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return good[min(math.ceil(false_alarms * len(good)), len(good) - 1)]


@wrong("threshold", cell="threshold-hidden-fresh", says="the share is one of the good mails")
def share_of_all_mails(scores, labels, false_alarms=0.01):
    good = sorted([s for s, y in zip(scores, labels) if not y], reverse=True)
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return good[min(int(false_alarms * len(scores)), len(good) - 1)]


@wrong("threshold", cell="threshold-hidden-fresh", says="it is cut among the scores of all mails")
def cut_among_all(scores, labels, false_alarms=0.01):
    if all(labels) or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return sorted(scores, reverse=True)[int(false_alarms * len(scores))]


@wrong("threshold", cell="threshold-hidden-fresh", says="count and scores are those of good ones")
def counts_good_cuts_all(scores, labels, false_alarms=0.01):
    number = len(labels) - sum(labels)
    if not number or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return sorted(scores, reverse=True)[int(false_alarms * number)]


@wrong("threshold", cell="threshold-hidden-fresh", says="it is cut among the spam")
def cut_among_spam(scores, labels, false_alarms=0.01):
    if all(labels) or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    spam = sorted([s for s, y in zip(scores, labels) if y], reverse=True) or [0.0]
    return spam[int(false_alarms * len(spam))]


@wrong("threshold", cell="threshold-hidden-fresh", says="the scores are taken from low to high")
def low_to_high(scores, labels, false_alarms=0.01):
    good = sorted(s for s, y in zip(scores, labels) if not y)
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return good[int(false_alarms * len(good))]


@wrong("threshold", cell="threshold-hidden-fresh", says="the promise allows more")
def no_false_alarm_ever(scores, labels, false_alarms=0.01):
    good = [s for s, y in zip(scores, labels) if not y]
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return max(good)


@wrong("threshold", cell="threshold-hidden-fresh", says="the threshold lies between two scores")
def between_two_scores(scores, labels, false_alarms=0.01):
    good = sorted([s for s, y in zip(scores, labels) if not y], reverse=True)
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    k = math.floor(false_alarms * len(good) + 1e-9)
    return (good[k] + good[k - 1]) / 2 if k else good[0]


@wrong("threshold", cell="threshold-hidden-fresh", says="this is an interpolated quantile")
def by_quantile(scores, labels, false_alarms=0.01):
    good = [s for s, y in zip(scores, labels) if not y]
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return float(np.quantile(good, 1 - false_alarms))


@wrong("threshold", cell="threshold-hidden-fresh", says="this is how many may lie above")
def the_number_allowed(scores, labels, false_alarms=0.01):
    good = [s for s, y in zip(scores, labels) if not y]
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return math.floor(false_alarms * len(good))


@wrong("threshold", cell="threshold-hidden-ties", says="equal scores count one by one, not once")
def each_score_once(scores, labels, false_alarms=0.01):
    good = [s for s, y in zip(scores, labels) if not y]
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    once = sorted(set(good), reverse=True)
    return once[min(math.floor(false_alarms * len(good)), len(once) - 1)]


@wrong("threshold", cell="threshold-hidden-ties", says="exactly the share may lie above")
def below_the_share(scores, labels, false_alarms=0.01):
    good = [s for s, y in zip(scores, labels) if not y]
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    few = [t for t in good if sum(s > t for s in good) / len(good) < false_alarms]
    return min(few, default=max(good))


@wrong("threshold", cell="threshold-hidden-limits", says="a share of 0 is allowed")
def refuses_zero(scores, labels, false_alarms=0.01):
    good = sorted([s for s, y in zip(scores, labels) if not y], reverse=True)
    if not good or not 0 < false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return good[math.floor(false_alarms * len(good) + 1e-9)]


@wrong(
    "threshold", cell="threshold-hidden-limits", says="there is no good mail: expected ValueError"
)
def no_questions_asked(scores, labels, false_alarms=0.01):
    good = sorted([s for s, y in zip(scores, labels) if not y], reverse=True)
    return good[math.floor(false_alarms * len(good) + 1e-9)]


@wrong("threshold", cell="threshold-hidden-ties", says="29 may lie above: 0.29 * 100 is 28.9999")
def rounds_down_what_python_computed(scores, labels, false_alarms=0.01):
    good = sorted([s for s, y in zip(scores, labels) if not y], reverse=True)
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return good[math.floor(false_alarms * len(good))]


@wrong("threshold", cell="threshold-check-ties", says="29 mails may lie above")
def rounds_to_whole_mails(scores, labels, false_alarms=0.01):
    good = sorted([s for s, y in zip(scores, labels) if not y], reverse=True)
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("no good mail, or no share")
    return good[int(len(good) * false_alarms)]


@right("threshold")
def by_counting(scores, labels, false_alarms=0.01):
    if not 0 <= false_alarms < 1:
        raise ValueError("no share")
    good = [score for score, spam in zip(scores, labels) if not spam]
    if len(good) == 0:
        raise ValueError("no good mail")
    allowed = [t for t in good if sum(s > t for s in good) <= false_alarms * len(good) + 1e-12]
    return min(allowed)


@right("threshold")
def with_a_heap(scores, labels, false_alarms=0.01):
    good = [score for score, spam in zip(scores, labels) if not spam]
    if not good or false_alarms < 0 or false_alarms >= 1:
        raise ValueError("impossible promise")
    return heapq.nlargest(int(len(good) * false_alarms + 1e-9) + 1, good)[-1]


@right("threshold")
def with_partition(scores, labels, false_alarms=0.01):
    good = np.asarray(scores, dtype=float)[~np.asarray(labels, dtype=bool)]
    if good.size == 0 or not 0 <= false_alarms < 1:
        raise ValueError("impossible promise")
    place = good.size - 1 - int(np.floor(good.size * false_alarms + 1e-9))
    return np.partition(good, place)[place]


@right("threshold")
def by_bisection(scores, labels, false_alarms=0.01):
    good = []
    for score, spam in zip(scores, labels):
        if not spam:
            bisect.insort(good, score)
    if not good or not 0 <= false_alarms < 1:
        raise ValueError("impossible promise")
    for score in good:
        if len(good) - bisect.bisect_right(good, score) <= false_alarms * len(good) + 1e-9:
            return score


# probability_repaired -----------------------------------------------------------------------------


@wrong("probability_repaired", cell="probability_repaired-hidden-short", says="probability of ham")
def of_ham(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(ham_mails / spam_mails)
    for w, n in bag.items():
        if w in words:
            score += n * math.log((ham.get(w, 0) + 1) / h * s / (spam.get(w, 0) + 1))
    small = math.exp(-abs(score))
    return (1 if score > 0 else small) / (1 + small)


@wrong("probability_repaired", cell="probability_repaired-hidden-short", says="this is the score")
def the_score(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(spam_mails / ham_mails)
    for w, n in bag.items():
        if w in words:
            score += n * math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    return score


@wrong(
    "probability_repaired", cell="probability_repaired-hidden-short", says="comes twice counts twi"
)
def each_word_once(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(spam_mails / ham_mails)
    for w in bag:
        if w in words:
            score += math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    small = math.exp(-abs(score))
    return (1 if score > 0 else small) / (1 + small)


@wrong("probability_repaired", cell="probability_repaired-hidden-short", says="kind are left out")
def without_a_prior(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = 0.0
    for w, n in bag.items():
        if w in words:
            score += n * math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    small = math.exp(-abs(score))
    return (1 if score > 0 else small) / (1 + small)


@wrong("probability_repaired", cell="probability_repaired-hidden-short", says="not of spam to all")
def prior_of_all(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(spam_mails / (spam_mails + ham_mails))
    for w, n in bag.items():
        if w in words:
            score += n * math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    small = math.exp(-abs(score))
    return (1 if score > 0 else small) / (1 + small)


@wrong("probability_repaired", cell="probability_repaired-hidden-short", says="has changed sides")
def prior_turned_round(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(ham_mails / spam_mails)
    for w, n in bag.items():
        if w in words:
            score += n * math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    small = math.exp(-abs(score))
    return (1 if score > 0 else small) / (1 + small)


@wrong(
    "probability_repaired", cell="probability_repaired-hidden-short", says="sums grow by 1 for each"
)
def sums_not_grown(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = sum(spam.values()), sum(ham.values())
    score = math.log(spam_mails / ham_mails)
    for w, n in bag.items():
        if w in words:
            score += n * math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    small = math.exp(-abs(score))
    return (1 if score > 0 else small) / (1 + small)


@wrong("probability_repaired", cell="probability_repaired-hidden-short", says="leave it out")
def unknown_words_count(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(spam_mails / ham_mails)
    for w, n in bag.items():
        score += n * math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    small = math.exp(-abs(score))
    return (1 if score > 0 else small) / (1 + small)


@wrong("probability_repaired", cell="probability_repaired-check-short", says="leave it out")
def unseen_words_smoothed(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(spam_mails / ham_mails)
    for w, n in bag.items():
        score += n * math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    small = math.exp(-abs(score))
    return (1 if score > 0 else small) / (1 + small)


@wrong(
    "probability_repaired", cell="probability_repaired-hidden-short", says="one side lacks counts"
)
def only_words_of_both(bag, spam, ham, spam_mails, ham_mails):
    size = len(spam.keys() | ham.keys())
    s, h = (sum(side.values()) + size for side in (spam, ham))
    score = math.log(spam_mails / ham_mails)
    for w, n in bag.items():
        if w in spam and w in ham:
            score += n * math.log((spam[w] + 1) / s * h / (ham[w] + 1))
    small = math.exp(-abs(score))
    return (1 if score > 0 else small) / (1 + small)


@wrong("probability_repaired", cell="probability_repaired-hidden-short", says="rounded to 0 or 1")
def the_verdict(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(spam_mails / ham_mails)
    for w, n in bag.items():
        if w in words:
            score += n * math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    return 1.0 if score > 0 else 0.0


@wrong(
    "probability_repaired", cell="probability_repaired-hidden-long", says="no evidence left: they"
)
def half_where_nothing_is_left(bag, spam, ham, spam_mails, ham_mails):
    words, joint = spam.keys() | ham.keys(), []
    for side, mails in ((spam, spam_mails), (ham, ham_mails)):
        total, product = sum(side.values()) + len(words), mails / (spam_mails + ham_mails)
        for w, n in bag.items():
            if w in words:
                product *= ((side.get(w, 0) + 1) / total) ** n
        joint.append(product)
    return joint[0] / sum(joint) if sum(joint) else 0.5


@wrong(
    "probability_repaired", cell="probability_repaired-hidden-long", says="the prior alone is no"
)
def prior_where_nothing_is_left(bag, spam, ham, spam_mails, ham_mails):
    words, joint = spam.keys() | ham.keys(), []
    for side, mails in ((spam, spam_mails), (ham, ham_mails)):
        total, product = sum(side.values()) + len(words), mails / (spam_mails + ham_mails)
        for w, n in bag.items():
            if w in words:
                product *= ((side.get(w, 0) + 1) / total) ** n
        joint.append(product)
    return joint[0] / sum(joint) if sum(joint) else spam_mails / (spam_mails + ham_mails)


@wrong(
    "probability_repaired", cell="probability_repaired-hidden-long", says="no evidence left: they"
)
def a_smallest_number(bag, spam, ham, spam_mails, ham_mails):
    words, joint = spam.keys() | ham.keys(), []
    for side, mails in ((spam, spam_mails), (ham, ham_mails)):
        total, product = sum(side.values()) + len(words), mails / (spam_mails + ham_mails)
        for w, n in bag.items():
            if w in words:
                product = max(product * ((side.get(w, 0) + 1) / total) ** n, 1e-300)
        joint.append(product)
    return joint[0] / sum(joint)


@wrong(
    "probability_repaired",
    cell="probability_repaired-hidden-long",
    says="both products are still 0",
)
def logarithms_undone(bag, spam, ham, spam_mails, ham_mails):
    words, joint = spam.keys() | ham.keys(), []
    for side, mails in ((spam, spam_mails), (ham, ham_mails)):
        total, score = sum(side.values()) + len(words), math.log(mails)
        for w, n in bag.items():
            if w in words:
                score += n * math.log((side.get(w, 0) + 1) / total)
        joint.append(math.exp(score))
    return joint[0] / (joint[0] + joint[1])


@wrong(
    "probability_repaired", cell="probability_repaired-hidden-extreme", says="too large for a float"
)
def one_form_only(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(spam_mails / ham_mails)
    for w, n in bag.items():
        if w in words:
            score += n * math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    return 1 / (1 + math.exp(-score))


@wrong("probability_repaired", cell="probability_repaired-hidden-extreme", says="cut off too early")
def clipped_scores(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(spam_mails / ham_mails)
    for w, n in bag.items():
        if w in words:
            score += n * math.log((spam.get(w, 0) + 1) / s * h / (ham.get(w, 0) + 1))
    return 1 / (1 + math.exp(-score)) if abs(score) < 100 else 0.5


@right("probability_repaired")
def by_numpy(bag, spam, ham, spam_mails, ham_mails):
    words = sorted(spam.keys() | ham.keys())
    n = np.array([bag.get(w, 0) for w in words])
    joint = []
    for side, mails in ((spam, spam_mails), (ham, ham_mails)):
        counts = np.array([side.get(w, 0) + 1.0 for w in words])
        joint.append(np.log(mails) + n @ np.log(counts / counts.sum()))
    return float(np.exp(joint[0] - np.logaddexp(*joint)))


@right("probability_repaired")
def largest_first(bag, spam, ham, spam_mails, ham_mails):
    words, joint = set(spam) | set(ham), []
    for side, mails in ((spam, spam_mails), (ham, ham_mails)):
        total = sum(side.values()) + len(words)
        known = [n * math.log((side.get(w, 0) + 1) / total) for w, n in bag.items() if w in words]
        joint.append(math.fsum([math.log(mails), *known]))
    most = max(joint)
    spam_part, ham_part = (math.exp(score - most) for score in joint)
    return spam_part / (spam_part + ham_part)


@right("probability_repaired")
def by_tanh(bag, spam, ham, spam_mails, ham_mails):
    words = spam.keys() | ham.keys()
    s, h = (sum(side.values()) + len(words) for side in (spam, ham))
    score = math.log(spam_mails) - math.log(ham_mails)
    for w, n in bag.items():
        if w in words:
            score += n * (math.log((spam.get(w, 0) + 1) / s) - math.log((ham.get(w, 0) + 1) / h))
    return 0.5 + 0.5 * math.tanh(score / 2)


@right("probability_repaired")
def in_decimals(bag, spam, ham, spam_mails, ham_mails):
    words, joint = spam.keys() | ham.keys(), []
    for side, mails in ((spam, spam_mails), (ham, ham_mails)):
        total, product = Decimal(sum(side.values()) + len(words)), Decimal(mails)
        for w, n in bag.items():
            if w in words:
                product *= ((side.get(w, 0) + 1) / total) ** n
        joint.append(product)
    return float(joint[0] / sum(joint))
