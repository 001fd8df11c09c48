"""How fast our engine chains through WordNet beside CLIPS (in C, by clipspy), both in one run."""

import time
from functools import cache
from importlib import metadata
from statistics import median
from typing import Any

from fmbook import data, records
from fmbook.rules.expert_system import Rule, forward

RULES = (
    Rule("base", (("parent", "?x", "?y"),), ("is", "?x", "?y")),
    Rule("step", (("parent", "?x", "?y"), ("is", "?y", "?z")), ("is", "?x", "?z")),
)
CLIPS_RULES = (
    "(defrule base (parent ?x ?y) => (assert (is ?x ?y)))",
    "(defrule step (parent ?x ?y) (is ?y ?z) => (assert (is ?x ?z)))",
)
ROOTS = ("bird", "animal", "entity")  # ever larger parts of the net; "entity" is all of it


@cache
def net() -> tuple[dict[str, str], dict[str, list[str]]]:
    """WordNet as the first meaning that each word leads, and each meaning's children."""
    first: dict[str, str] = {}
    children: dict[str, list[str]] = {}
    for noun in data.wordnet():
        first.setdefault(noun.words[0], noun.id)
        for parent in noun.parents:
            children.setdefault(parent, []).append(noun.id)
    return first, children


def parents_below(word: str) -> list[tuple[str, str, str]]:
    """The is-a facts among all meanings below the first meaning that `word` leads."""
    first, children = net()
    todo, below = [first[word]], dict[str, None]()
    while todo:
        here = todo.pop()
        if here not in below:
            below[here] = None
            todo += children.get(here, [])
    return [("parent", child, parent) for parent in below for child in children.get(parent, [])]


def ours(facts: list[tuple[str, str, str]]) -> tuple[float, int]:
    """CPU-seconds to load the facts and run the rules, and the facts at the end."""
    start = time.process_time()
    known = len(forward(facts, RULES).reasons)
    return time.process_time() - start, known


def clips(facts: list[tuple[str, str, str]]) -> tuple[float, float, int]:
    """CPU-seconds to load the facts, CPU-seconds to run the rules, and the facts at the end."""
    import clips as engine

    environment = engine.Environment()
    for rule in CLIPS_RULES:
        environment.build(rule)
    start = time.process_time()
    for _, child, parent in facts:
        environment.assert_string(f"(parent n{child} n{parent})")
    loaded = time.process_time()
    environment.run()
    end = time.process_time()
    return loaded - start, end - loaded, sum(1 for _ in environment.facts())


def compare(word: str, repeats: int) -> dict[str, Any]:
    """Both engines in turn, `repeats` times; medians."""
    facts = parents_below(word)
    rows = [(ours(facts), clips(facts)) for _ in range(repeats)]
    if any(mine[-1] != theirs[-1] for mine, theirs in rows):
        raise RuntimeError(f"the engines disagree below {word!r}")
    ratios = [seconds / (load + run) for (seconds, _), (load, run, _) in rows]
    return {
        "given": len(facts),
        "known": rows[0][0][1],
        "ours": round(median(mine[0] for mine, _ in rows), 3),
        "clips_load": round(median(theirs[0] for _, theirs in rows), 3),
        "clips_run": round(median(theirs[1] for _, theirs in rows), 3),
        "ratio": round(median(ratios), 2),
        "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def run() -> dict[str, Any]:
    """Seconds and facts for each part of the net."""
    return {
        "clipspy": metadata.version("clipspy"),
        "nets": {root: compare(root, 1 if root == "entity" else 5) for root in ROOTS},
    }


def point() -> tuple[float, float, float]:
    """How many times slower than CLIPS we are below "animal": again, as recorded, band."""
    recorded = records.load("expert_system")["nets"]["animal"]["ratio"]
    return compare("animal", 1)["ratio"], recorded, 0.6 * recorded
