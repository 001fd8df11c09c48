"""Naive Bayes: count words in labelled mail, add the logarithms of their odds, read the verdict.

Also here, for every filter of the book to be judged alike: the split of the mail, the threshold,
the quality. Left out: features other than words, more than two classes, and forgetting.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = [
    "NaiveBayes",
    "learn",
    "log_odds",
    "quality",
    "reliability",
    "split",
    "threshold",
    "words",
]

Item = TypeVar("Item")


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of the letters a to z, in order.

    Source: maron1961automatic, for a document as its words and nothing else.

    >>> words("Act NOW, it's FREE!")
    ['act', 'now', 'it', 's', 'free']
    """
    return re.findall("[a-z]+", text.lower())


def log_odds(
    spam: Mapping[str, int], ham: Mapping[str, int], alpha: float = 1.0
) -> dict[str, float]:
    """The weight of each word: the logarithm of how much likelier spam says it than ham, in nats.

    `spam` and `ham` count the words of all spam and of all ham. Each count is raised by `alpha`
    (1: Laplace's), so that a word seen on one side only does not decide alone.

    Raises:
        ValueError: `alpha` is not above 0.

    Source: mccallum1998comparison, for the multinomial model with Laplace's smoothing.

    >>> log_odds({"free": 3, "lunch": 1}, {"lunch": 2})["free"]  # log of (4 / 6) / (1 / 4)
    0.9808292530117262
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, got {alpha}")
    vocabulary = spam.keys() | ham.keys()
    in_spam, in_ham = (sum(side.values()) + alpha * len(vocabulary) for side in (spam, ham))
    return {
        word: math.log((spam.get(word, 0) + alpha) / in_spam * in_ham / (ham.get(word, 0) + alpha))
        for word in vocabulary
    }


@dataclass(frozen=True)
class NaiveBayes:
    """A filter: what each word adds to the log-odds of spam, and the log-odds before any word.

    Source: maron1961automatic; mccallum1998comparison.

    >>> model = NaiveBayes({"free": 1.0, "lunch": -0.4}, prior=-0.5)
    >>> model.score({"free": 2, "lunch": 1, "today": 1})
    1.1
    """

    weights: dict[str, float]
    prior: float

    def score(self, bag: Mapping[str, int]) -> float:
        """The log-odds of spam in nats, above 0 for spam. A word never seen counts nothing."""
        known = self.weights
        return self.prior + sum([n * known[word] for word, n in bag.items() if word in known])

    def probability(self, bag: Mapping[str, int]) -> float:
        """The probability of spam that the score claims, however far from 0 the score is."""
        score = self.score(bag)
        small = math.exp(-abs(score))
        return (1 if score > 0 else small) / (1 + small)

    def evidence(self, bag: Mapping[str, int]) -> list[tuple[str, int, float]]:
        """(word, how often, what it added) for each known word, the weightiest first."""
        known = [(w, n, n * self.weights[w]) for w, n in bag.items() if w in self.weights]
        return sorted(known, key=lambda row: -abs(row[2]))


def learn(
    bags: Sequence[Mapping[str, int]], labels: Sequence[bool], alpha: float = 1.0
) -> NaiveBayes:
    """Count the words of labelled mails and turn the counts into a filter.

    Each bag maps words to how often they occur in one mail; a label is True for spam.

    Raises:
        ValueError: there is no spam, no ham, or not one label for each bag.

    Source: mccallum1998comparison, for the multinomial model.

    >>> model = learn([Counter(["free"]), Counter(["lunch"])], [True, False])
    >>> model.prior, round(model.weights["free"], 3)
    (0.0, 0.693)
    """
    spam, ham = Counter[str](), Counter[str]()
    for bag, label in zip(bags, labels, strict=True):
        (spam if label else ham).update(bag)
    positive = sum(map(bool, labels))
    if not 0 < positive < len(labels):
        raise ValueError(f"need spam and ham to learn, got {positive} spam of {len(labels)}")
    return NaiveBayes(log_odds(spam, ham, alpha), math.log(positive / (len(labels) - positive)))


def reliability(
    probabilities: Sequence[float], labels: Sequence[bool], bins: int = 10
) -> list[tuple[float, float, int]]:
    """For each bin of equal width that is not empty: mean probability, share of True, and count.

    Who says 0.8 should be right in 80 % of such cases. A probability on an edge belongs to the bin
    above it, and 1 to the last bin.

    Raises:
        ValueError: `bins` is below 1, or a probability lies outside 0..1.

    Source: zadrozny2002transforming, section 2.

    >>> reliability([0.1, 0.2, 0.9, 1.0], [False, True, True, True], bins=2)
    [(0.15000000000000002, 0.5, 2), (0.95, 1.0, 2)]
    """
    if bins < 1 or not all(0 <= p <= 1 for p in probabilities):
        raise ValueError(f"need probabilities in 0..1 and at least one bin, got {bins} bins")
    held: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for p, label in zip(probabilities, labels, strict=True):
        held[min(int(p * bins), bins - 1)].append((p, label))
    return [
        (sum(p for p, _ in rows) / len(rows), sum(bool(y) for _, y in rows) / len(rows), len(rows))
        for rows in held
        if rows
    ]


def split(items: Iterable[Item], seed: int) -> tuple[list[Item], list[Item]]:
    """The items in random order, cut into four fifths to learn from and one fifth held out.

    Source: maron1961automatic, for judging on documents that the statistics have not seen.

    >>> [len(part) for part in split(range(10), seed=0)]
    [8, 2]
    """
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    cut = 4 * len(shuffled) // 5
    return shuffled[:cut], shuffled[cut:]


def threshold(scores: Sequence[float], labels: Sequence[bool], false_alarms: float = 0.01) -> float:
    """The lowest score above which at most this share of the good mail lies.

    A mail is flagged if its score is above the threshold. Choose it on mail that the filter has
    not learned from, and that it will not be judged on.

    Raises:
        ValueError: there is no good mail, or the share is not in 0..1 (1 excluded).

    Source: sahami1998bayesian, for a good mail lost costing more than a spam read.

    >>> threshold([0.9, 0.8, 0.3, 0.2, 0.1], [True, False, True, False, False], 0.34)
    0.2
    """
    good = sorted((s for s, label in zip(scores, labels, strict=True) if not label), reverse=True)
    if not good or not 0 <= false_alarms < 1:
        raise ValueError(f"need good mail and a share in 0..1, got {len(good)} and {false_alarms}")
    return good[math.floor(false_alarms * len(good) + 1e-9)]


def quality(scores: Sequence[float], mails: Sequence[Any], threshold: float) -> dict[str, float]:
    """What becomes of mails that are flagged above a threshold; for the book's ledger.

    Of each mail `spam` and `group` are read. Precision and recall of spam; false alarms as a share
    of all good mail, and of the hard good mail (newsletters that somebody had asked for).

    Source: sahami1998bayesian.

    >>> from types import SimpleNamespace as Letter
    >>> box = [Letter(spam=True, group="spam-1"), Letter(spam=False, group="hard-ham-1")]
    >>> quality([2.0, -1.0], box, threshold=0.0)
    {'precision': 1.0, 'recall': 1.0, 'false_alarms': 0.0, 'false_alarms_hard': 0.0}
    """

    def share(wanted: list[bool], of: list[bool]) -> float:
        return sum(w for w, o in zip(wanted, of, strict=True) if o) / max(1, sum(of))

    flagged = [score > threshold for score in scores]
    spam = [bool(mail.spam) for mail in mails]
    good = [not kind for kind in spam]
    return {
        "precision": share(spam, flagged),
        "recall": share(flagged, spam),
        "false_alarms": share(flagged, good),
        "false_alarms_hard": share(flagged, [m.group.startswith("hard") for m in mails]),
    }
