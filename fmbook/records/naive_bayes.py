"""Naive Bayes and the rules on the same splits of the mail, and beside scikit-learn's in one run.

Also the ledger's first two rows: what the rules and naive Bayes reach on the later mail, and cost.
"""

import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib import metadata
from statistics import mean, median
from typing import Any

from fmbook import data, records
from fmbook.features.naive_bayes import learn, quality, split, threshold, words
from fmbook.rules.expert_system import THRESHOLD, Knowledge

SEEDS = range(5)
SIZES = (10, 30, 100, 300, 1000, 2755)  # mails to learn from; the last is four fifths of all
Score = Callable[[data.Mail], float]


@cache
def periods() -> tuple[list[data.Mail], list[data.Mail]]:
    """The mail of 2002 before September, and from then on."""
    mails = data.mail()
    earlier = [m for m in mails if m.date and "2002-01" <= m.date < "2002-09"]
    return earlier, [m for m in mails if m.date and "2002-09" <= m.date < "2003"]


@cache
def bags() -> dict[str, Counter[str]]:
    """The bag of words of every mail, by its id."""
    return {m.id: Counter(words(m.text)) for part in periods() for m in part}


def bayes(mails: list[data.Mail], alpha: float = 1.0) -> Score:
    """A filter learned from these mails."""
    model = learn([bags()[m.id] for m in mails], [m.spam for m in mails], alpha)
    return lambda mail: model.score(bags()[mail.id])


@cache
def certainties() -> dict[str, float]:
    """The rules' certainty of spam for every mail, by its id."""
    base = Knowledge.read("spam")
    return {m.id: base.judge(m).certainty(("spam",)) for part in periods() for m in part}


def rules(mails: list[data.Mail]) -> Score:
    """The rules as a filter: they have nothing to learn from these mails."""
    return lambda mail: certainties()[mail.id]


def rounded(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each number."""
    return {key: round(mean(row[key] for row in rows), 3) for key in rows[0]}


def f_score(row: dict[str, float]) -> float:
    """The harmonic mean of precision and recall."""
    return 2 / (1 / row["precision"] + 1 / row["recall"]) if row["recall"] else 0.0


def judged(fit: Callable[[list[data.Mail]], Score], cut: float) -> dict[str, Any]:
    """Quality at a fixed cut for each seed: on held-out earlier mail, and on later mail."""
    found: dict[str, Any] = {"held": [], "later": []}
    for seed in SEEDS:
        learned, held = split(periods()[0], seed)
        score = fit(learned)
        for name, part in (("held", held), ("later", periods()[1])):
            row = quality([score(m) for m in part], part, cut)
            found[name].append({key: round(value, 4) for key, value in row.items()})
    return found


def row(fit: Callable[[list[data.Mail]], Score]) -> dict[str, Any]:
    """A ledger row's quality on later mail, and on held-out mail, at one threshold.

    The threshold lets through 1 % of the good mail that was held out, over all splits together:
    one split's four mails would make it a lottery, as `lottery` shows.
    """
    parts = [split(periods()[0], seed) for seed in SEEDS]
    scores = [fit(learned) for learned, _ in parts]
    found = [[score(m) for m in held] for score, (_, held) in zip(scores, parts, strict=True)]
    cut = threshold([x for each in found for x in each], [m.spam for _, h in parts for m in h])
    later = periods()[1]
    there = [quality([score(m) for m in later], later, cut) for score in scores]
    here = [quality(each, held, cut) for each, (_, held) in zip(found, parts, strict=True)]
    return {"quality": rounded(there), "in_domain": rounded(here)}


def lottery() -> list[float]:
    """Later false alarms of naive Bayes if each split chooses its own threshold, for 1 %."""
    rates = []
    for seed in SEEDS:
        learned, held = split(periods()[0], seed)
        score, later = bayes(learned), periods()[1]
        cut = threshold([score(m) for m in held], [m.spam for m in held])
        rates.append(round(quality([score(m) for m in later], later, cut)["false_alarms"], 4))
    return rates


def curve(part: str) -> list[list[float]]:
    """F-scores (seeds, sizes) of filters that learned from ever more mail."""
    table = []
    for seed in SEEDS:
        learned, held = split(periods()[0], seed)
        mails = held if part == "held" else periods()[1]
        scores = [bayes(learned[:size]) for size in SIZES]
        rows = [quality([score(m) for m in mails], mails, 0.0) for score in scores]
        table.append([round(f_score(each), 4) for each in rows])
    return table


def ours(learned: list[data.Mail], later: list[data.Mail]) -> tuple[float, float, list[float]]:
    """CPU-seconds to learn and to judge, from the text on, and the scores."""
    start = time.process_time()
    model = learn([Counter(words(m.text)) for m in learned], [m.spam for m in learned])
    middle = time.process_time()
    scores = [model.score(Counter(words(m.text))) for m in later]
    return middle - start, time.process_time() - middle, scores


def theirs(learned: list[data.Mail], later: list[data.Mail]) -> tuple[float, float, list[float]]:
    """The same by scikit-learn."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    start = time.process_time()
    counter, model = CountVectorizer(token_pattern="[a-z]+"), MultinomialNB(alpha=1.0)
    model.fit(counter.fit_transform([m.text for m in learned]), [m.spam for m in learned])
    middle = time.process_time()
    ham, spam = model.predict_joint_log_proba(counter.transform([m.text for m in later])).T
    return middle - start, time.process_time() - middle, list(spam - ham)


def peer(repeats: int) -> dict[str, Any]:
    """Both in turn, `repeats` times: time ratios (above 1: ours is slower), largest difference."""
    learned, later = split(periods()[0], 0)[0], periods()[1]
    theirs(learned[:100], later[:100])  # its imports are not its speed
    rows = [(ours(learned, later), theirs(learned, later)) for _ in range(repeats)]
    pairs = list(zip(rows[0][0][2], rows[0][1][2], strict=True))
    ratios = [(a[0] + a[1]) / (b[0] + b[1]) for a, b in rows]
    return {
        "scikit-learn": metadata.version("scikit-learn"),
        "mails": [len(learned), len(later)],
        "ratio": round(median(ratios), 2),
        "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
        "ratio_learning": round(median(a[0] / b[0] for a, b in rows), 2),
        "different_verdicts": sum(bool((a > 0) != (b > 0)) for a, b in pairs),
        "largest_gap": float(max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs)),
        "learning": round(median(a[0] for a, _ in rows), 2),
    }


RULES_ROW = {
    "task": "spam",
    "method": "rules",
    "cpu_seconds": 0.0,
    "module": "fmbook.rules.expert_system",
    "decisions": [
        "28 signs: where to look in a mail, and for which pattern",
        "29 rules, and which of them belong to one family",
        "a certainty for each rule, from the gut",
    ],
    "failures": [
        "Wanted newsletters are flagged: they are made to sell, like spam.",
        "Two forged header lines bring most spam through.",
        "What changes after the author has stopped looking is never noticed.",
    ],
}
BAYES_ROW = {
    "task": "spam",
    "method": "naive Bayes",
    "module": "fmbook.features.naive_bayes",
    "decisions": [
        "a label for each mail, spam or not",
        "what a word is, and that order does not matter",
        "one number for smoothing",
    ],
    "failures": [
        "Good newsletters in HTML are flagged with probability 1.",
        "Spam sent to a mailing list passes, for the list's own words speak for it.",
        "Good words pasted below the message bring spam through.",
    ],
}


def ledger(learning: float) -> list[dict[str, Any]]:
    """The rows of the rules and of naive Bayes."""
    written = len(Knowledge.read("spam").rules)
    learned = split(periods()[0], 0)[0]
    model = learn([bags()[m.id] for m in learned], [m.spam for m in learned])
    numbers = {"cpu_seconds": learning, "parameters": len(model.weights) + 1}
    return [
        RULES_ROW | {"parameters": written} | row(rules),
        BAYES_ROW | numbers | row(bayes),
    ]


def run() -> dict[str, Any]:
    """Splits, learning curves, smoothing, the peer, the ledger."""
    beside = peer(5)
    alphas = (0.001, 0.01, 0.1, 1.0, 10.0)
    smoothed = {a: judged(lambda mails, a=a: bayes(mails, a), 0.0) for a in alphas}  # type: ignore[misc]
    return {
        "ledger": ledger(beside["learning"]),
        "peer": beside,
        "rules": judged(rules, THRESHOLD),
        "bayes": smoothed[1.0],
        "lottery": lottery(),
        "smoothing": {
            str(alpha): {name: [round(f_score(r), 4) for r in rows] for name, rows in each.items()}
            for alpha, each in smoothed.items()
        },
        "sizes": list(SIZES),
        "curves": {part: curve(part) for part in ("held", "later")},
    }


def point() -> tuple[float, float, float]:
    """The recall of naive Bayes on the later mail, first split: again, as recorded, band."""
    recorded = records.load("naive_bayes")["bayes"]["later"][0]["recall"]
    score, later = bayes(split(periods()[0], 0)[0]), periods()[1]
    return quality([score(m) for m in later], later, 0.0)["recall"], recorded, 1e-3
