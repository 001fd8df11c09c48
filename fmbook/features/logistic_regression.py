"""Logistic regression: features that a person thinks up, weights that gradient descent tunes.

All weights are tuned together, so that their sum fits the labels. Left out: more than two classes,
second-order methods, and features that are learned.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LogisticRegression",
    "Scale",
    "descend",
    "describe",
    "gradient",
    "loss",
    "roc",
    "sigmoid",
]

Array = NDArray[np.float64]
Row = Mapping[str, float]  # what one mail shows: feature to number; what is missing is 0

_HTML = re.compile(r"<[^>]*>")
_LINK = re.compile(r"https?://([^/\s\"'>]+)")
_FREE = re.compile(r"hotmail|yahoo|msn|aol|excite|lycos|netscape|juno|btamail")
_WORDS = {
    "money": r"\$|cash|money|credit|dollar|price|income|profit",
    "promise": r"free|guarantee|obligation|risk|limited time|act now|offer|opportunity",
    "removal": r"remove|unsubscribe|opt.?out|no longer wish",
    "you": r"\byour?\b",
    "I": r"\bi\b",
}


def _rate(count: int, text: str) -> float:
    """How often among 1,000 characters, in logarithms, so that large rates do not run away."""
    return math.log1p(1000 * count / (len(text) or 1))


def _punctuation(mail: Any) -> Row:
    body, subject = mail.body, mail.subject
    marks = {"!": "exclamation marks", "$": "dollar signs", "?": "question marks"}
    return {
        **{name: _rate(body.count(mark), body) for mark, name in marks.items()},
        "words in capitals": _rate(len(re.findall(r"\b[A-Z]{4,}\b", body)), body),
        "quoted lines": _rate(len(re.findall(r"^[>|]", body, re.M)), body),
        "exclamation in subject": "!" in subject,
        "capitals in subject": sum(map(str.isupper, subject)) / (len(subject) or 1),
        "answer in subject": bool(re.match(r"(\[[^]]*\] *)?(re|fwd?):", subject, re.I)),
    }


def _sender(mail: Any) -> Row:
    head = mail.headers
    address = re.search(r"([\w.+-]+)@([\w.-]+)", mail.sender.lower())
    user, host = address.groups() if address else ("", "")
    machine = re.search(r"@([\w.-]+)", head.get("message-id", "").lower())
    return {
        "free provider": bool(_FREE.search(host)),
        "digits in address": len(re.findall(r"\d", user)) > 1,
        "own machine": machine is not None and host.split(".")[-2:] == machine[1].split(".")[-2:],
        "answers go elsewhere": "reply-to" in head and host not in head["reply-to"].lower(),
        "hides recipients": "@" not in head.get("to", ""),
        "answers a mail": "in-reply-to" in head or "references" in head,
        "names its program": "user-agent" in head or "x-mailer" in head,
        "comes by a list": "list-id" in head or "x-beenthere" in head,
    }


def _hour(mail: Any) -> Row:
    date = mail.headers.get("date", "")
    clock, zone = re.search(r"\b(\d\d?):\d\d", date), re.search(r"[+-](\d\d)\d\d", date)
    hour = int(clock[1]) if clock else 12
    return {
        "night": hour < 6,
        "working hours": 9 <= hour < 18,
        "weekend": date[:3].lower() in ("sat", "sun"),
        "impossible zone": zone is not None and int(zone[1]) > 13,
    }


def _html(body: str, low: str) -> Row:
    tags = re.findall(r"<\s*(\w+)", low)
    return {
        "any": bool(tags),
        "tags": _rate(len(tags), body),
        "fonts": _rate(sum(tag in ("font", "span", "b", "center") for tag in tags), body),
        "images": _rate(tags.count("img"), body),
        "forms": "form" in tags,
        "colours": _rate(len(re.findall(r"#[0-9a-f]{6}", low)), body),
    }


def _links(body: str, low: str) -> Row:
    places = _LINK.findall(low)
    return {
        "number": _rate(len(places), body),
        "several places": math.log1p(len(set(places))),
        "bare numbers": any(re.fullmatch(r"[\d.:]+", place) for place in places),
        "mail address": "mailto:" in low,
    }


def describe(mail: Any) -> dict[str, float]:
    """What a person thought of looking at in a mail: 36 numbers, named "family: feature".

    Counts are log(1 + count per 1,000 characters), yes and no are 1 and 0.

    Source: sahami1998bayesian, section on domain-specific properties, for the idea.

    >>> from types import SimpleNamespace as Letter
    >>> head = {"from": "a12@hotmail.com", "date": "Sun, 1 Sep 2002 03:10:00 -1900"}
    >>> letter = Letter(headers=head, subject="Re: FREE!", sender=head["from"], body="Hello")
    >>> seen = describe(letter)
    >>> [name for name, value in seen.items() if name.startswith("hour") and value]
    ['hour: night', 'hour: weekend', 'hour: impossible zone']
    """
    body, low = mail.body, mail.body.lower()
    visible = _HTML.sub(" ", low)
    families = {
        "punctuation": _punctuation(mail),
        "sender": _sender(mail),
        "hour": _hour(mail),
        "html": _html(body, low),
        "links": _links(body, low),
        "phrases": {k: _rate(len(re.findall(v, visible)), visible) for k, v in _WORDS.items()},
        "layout": {"length": math.log1p(len(body))},
    }
    return {f"{k}: {name}": float(x) for k, rows in families.items() for name, x in rows.items()}


def _table(rows: Sequence[Row], names: Sequence[str]) -> Array:
    """The rows as a matrix (B, F), one column for each name."""
    column = {name: place for place, name in enumerate(names)}
    table = np.zeros((len(rows), len(names)))
    for number, row in enumerate(rows):
        for name, value in row.items():
            if name in column:
                table[number, column[name]] = value
    return table


@dataclass(frozen=True)
class Scale:
    """Which features count, and what is 0 and 1 for each: its mean and spread where we learned.

    Source: hoerl1970ridge, for features of one scale before a penalty.

    >>> scale = Scale.learn([{"a": 1.0}, {"a": 3.0}], ["a"])
    >>> scale.matrix([{"a": 5.0}, {}])
    array([[ 1.,  3.],
           [ 1., -2.]])
    """

    names: tuple[str, ...]
    mean: Array
    spread: Array

    @classmethod
    def learn(cls, rows: Sequence[Row], names: Sequence[str]) -> "Scale":
        """The scale of these rows. A feature that never changes gets the spread 1."""
        table = _table(rows, names)
        spread = table.std(axis=0)
        return cls(tuple(names), table.mean(axis=0), np.where(spread > 1e-12, spread, 1.0))

    def matrix(self, rows: Sequence[Row]) -> Array:
        """The rows as a matrix (B, 1 + F): a column of ones, then the features on this scale."""
        scaled = (_table(rows, self.names) - self.mean) / self.spread
        return np.hstack([np.ones((len(rows), 1)), scaled])


def sigmoid(score: Array) -> Array:
    """The probability that log-odds claim, 1 / (1 + exp(-score)), for any shape and any size.

    Source: cox1958regression.

    >>> sigmoid(np.array([0.0, 1000.0, -1000.0]))
    array([0.5, 1. , 0. ])
    """
    return 0.5 * (1.0 + np.tanh(0.5 * score))


def loss(weights: Array, x: Array, y: Array, l2: float) -> float:
    """The mean of -ln p(label), in nats, plus half of l2 times the sum of squared weights.

    `weights` (1 + F,), `x` (B, 1 + F) whose first column is 1, `y` (B,) of 0 and 1. The first
    weight, the bias, is not penalized.

    Source: cox1958regression; hoerl1970ridge, for the penalty.

    >>> round(loss(np.zeros(2), np.array([[1.0, 3.0]]), np.array([1.0]), 0.1), 3)
    0.693
    """
    score = x @ weights
    return float(np.mean(np.logaddexp(0, score) - y * score) + l2 / 2 * np.sum(weights[1:] ** 2))


def gradient(weights: Array, x: Array, y: Array, l2: float) -> Array:
    """The slope of `loss` in each weight, (1 + F,): the mean of (claim - label) times feature.

    Source: cox1958regression.

    >>> gradient(np.zeros(2), np.array([[1.0, 3.0]]), np.array([1.0]), 0.1)
    array([-0.5, -1.5])
    """
    penalty = l2 * weights
    penalty[0] = 0.0
    return x.T @ (sigmoid(x @ weights) - y) / len(y) + penalty


def descend(
    slope: Callable[[Array], Array], start: Array, rate: float, steps: int
) -> Iterator[Array]:
    """Gradient descent: the weights after each of so many steps of `rate` against the slope.

    Source: cauchy1847methode.

    >>> [float(w[0]) for w in descend(lambda w: 2 * w, np.array([1.0]), 0.25, 3)]
    [0.5, 0.25, 0.125]
    """
    weights = start
    for _ in range(steps):
        weights = weights - rate * slope(weights)
        yield weights


@dataclass(frozen=True)
class LogisticRegression:
    """A filter: the scale of its features and a weight (1 + F,) for each, the bias first.

    Source: cox1958regression.

    >>> rows = [{"a": 0.0}, {"a": 1.0}, {"a": 2.0}, {"a": 3.0}]
    >>> model = LogisticRegression.learn(rows, [False, False, True, True], ["a"], 0.1)
    >>> model.score(rows).round(1)
    array([-2. , -0.7,  0.7,  2. ])
    """

    scale: Scale
    weights: Array

    @classmethod
    def learn(
        cls, rows: Sequence[Row], labels: Sequence[bool], names: Sequence[str], l2: float
    ) -> "LogisticRegression":
        """Tune the weights of these features on labelled rows, in 300 steps.

        The rate is 1.9 over the largest curvature that `loss` can have; from 2 on, steps may grow.
        """
        scale, y = Scale.learn(rows, names), np.array(labels, dtype=float)
        x = scale.matrix(rows)
        rate = 1.9 / (float(np.linalg.norm(x, 2)) ** 2 / (4 * len(y)) + l2)
        *_, weights = descend(lambda w: gradient(w, x, y, l2), np.zeros(x.shape[1]), rate, 300)
        return cls(scale, weights)

    def score(self, rows: Sequence[Row]) -> Array:
        """The log-odds of spam of each row (B,), in nats."""
        return self.scale.matrix(rows) @ self.weights

    def evidence(self, row: Row) -> list[tuple[str, int, float]]:
        """(feature, 1, what it adds to the score of an average mail), the weightiest first."""
        parts = self.scale.matrix([row])[0, 1:] * self.weights[1:]
        named = [(name, 1, float(part)) for name, part in zip(self.scale.names, parts, strict=True)]
        return sorted(named, key=lambda part: -abs(part[2]))


def roc(scores: Sequence[float], labels: Sequence[bool]) -> list[tuple[float, float]]:
    """The points (false alarms, recall), from (0, 0) to (1, 1), that thresholds can reach.

    One point for each different score, from the highest on: flag what scores as much or more.

    Raises:
        ValueError: one of the classes is missing.

    Source: fawcett2006introduction, section 5.

    >>> roc([3, 2, 1], [True, False, True])
    [(0.0, 0.0), (0.0, 0.5), (1.0, 0.5), (1.0, 1.0)]
    """
    positive = sum(map(bool, labels))
    negative = len(labels) - positive
    if not (positive and negative):
        raise ValueError(f"need both classes, got {positive} True of {len(labels)}")
    points, hits, alarms = [(0.0, 0.0)], 0, 0
    ranked = sorted(zip(scores, labels, strict=True), key=lambda pair: -pair[0])
    for place, (score, label) in enumerate(ranked):
        hits, alarms = hits + bool(label), alarms + (not label)
        if place + 1 == len(ranked) or ranked[place + 1][0] != score:
            points.append((alarms / negative, hits / positive))
    return points
