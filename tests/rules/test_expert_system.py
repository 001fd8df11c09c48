"""The production system: what logic and MYCIN's authors say of it, and its limits."""

import math
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbook import data
from fmbook.records import expert_system as recipe
from fmbook.rules.expert_system import (
    THRESHOLD,
    Knowledge,
    Memory,
    Rule,
    backward,
    combine,
    forward,
    substitute,
    unify,
)

few = settings(max_examples=40, deadline=None)
fewer = settings(max_examples=20, deadline=None)
variables = st.sampled_from(["?x", "?y", "?z"])
constants = st.sampled_from(["a", "b"])
terms = st.recursive(constants | variables, lambda t: st.tuples(t) | st.tuples(t, t), max_leaves=6)
certainties = st.floats(-0.99, 0.99)
nodes = st.integers(0, 4)
links = st.sets(st.tuples(st.just("to"), nodes, nodes), max_size=8)

BASE = Rule("base", (("to", "?x", "?y"),), ("reach", "?x", "?y"))
STEP = Rule("step", (("to", "?x", "?y"), ("reach", "?y", "?z")), ("reach", "?x", "?z"))
LEFT = Rule("left", (("reach", "?x", "?y"), ("to", "?y", "?z")), ("reach", "?x", "?z"))
TWICE = Rule("twice", (("reach", "?x", "?y"), ("reach", "?y", "?z")), ("reach", "?x", "?z"))


def closure(facts: set[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """Reachability by Warshall's algorithm: what the rules above should derive."""
    reach = {(x, y) for _, x, y in facts}
    for k, i, j in product(range(5), repeat=3):
        if (i, k) in reach and (k, j) in reach:
            reach.add((i, j))
    return {("reach", x, y) for x, y in reach}


def ground(term: Any) -> bool:
    return all(map(ground, term)) if isinstance(term, tuple) else not term.startswith("?")


# --- oracle: what others compute


@few
@given(links, st.sampled_from([STEP, LEFT, TWICE]))
def test_forward_derives_the_transitive_closure(facts: set[Any], climb: Rule) -> None:
    assert set(forward(facts, [BASE, climb]).reasons) == facts | closure(facts)


def test_forward_agrees_with_clips_on_wordnet() -> None:
    facts = recipe.parents_below("bird")
    assert recipe.ours(facts)[1] == recipe.clips(facts)[2] > 4000


@few
@given(st.lists(certainties, max_size=6))
def test_combining_is_adding_on_a_logarithmic_scale(evidence: list[float]) -> None:
    def scale(c: float) -> float:
        return math.copysign(math.log(1 - abs(c)), c)

    total, want = 0.0, sum(map(scale, evidence))
    for piece in evidence:
        total = combine(total, piece)
    assert total == pytest.approx(math.copysign(1 - math.exp(-abs(want)), want), abs=1e-9)


# --- property: what must hold whatever the input


@few
@given(terms, terms)
def test_unified_terms_are_equal_and_arguments_untouched(a: Any, b: Any) -> None:
    bindings = {"?w": "a"}
    found = unify(a, b, bindings)
    assert bindings == {"?w": "a"}
    if found is not None:
        assert substitute(a, found) == substitute(b, found)
        assert found["?w"] == "a"


@few
@given(terms, terms)
def test_unification_fails_only_if_nothing_makes_the_terms_equal(a: Any, b: Any) -> None:
    values = ["a", "b", ("a",), ("b",), ("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    for choice in product(values, repeat=3):
        grounding = dict(zip(("?x", "?y", "?z"), choice, strict=True))
        if substitute(a, grounding) == substitute(b, grounding):
            found = unify(a, b)
            assert found is not None
            for name, value in found.items():  # and the grounding only adds to what was found
                assert substitute(name, grounding) == substitute(value, grounding)


@few
@given(terms, terms)
def test_unification_is_symmetric(a: Any, b: Any) -> None:
    assert (unify(a, b) is None) == (unify(b, a) is None)


@few
@given(certainties, certainties, certainties)
def test_the_order_of_evidence_does_not_matter(a: float, b: float, c: float) -> None:
    assert combine(a, b) == pytest.approx(combine(b, a), abs=1e-12)
    assert combine(combine(a, b), c) == pytest.approx(combine(a, combine(b, c)), abs=1e-6)


@few
@given(certainties, certainties)
def test_evidence_moves_belief_its_own_way_and_never_out_of_range(a: float, b: float) -> None:
    both = combine(a, b)
    assert -1 <= both <= 1
    assert both >= a - 1e-12 if b >= 0 else both <= a + 1e-12


@fewer
@given(links, nodes, st.sampled_from([STEP, LEFT, TWICE]))
def test_backward_answers_what_forward_derives(facts: set[Any], start: int, climb: Rule) -> None:
    rules = [BASE, climb]
    every = forward(facts, rules)
    for goal in (("reach", start, "?y"), ("reach", "?y", start), ("reach", "?x", "?x")):
        assert set(backward(goal, facts, rules).matches(goal)) == set(every.matches(goal))


@few
@given(links, st.sampled_from(["oldest", "newest", "specific"]))
def test_conflict_resolution_changes_the_order_not_the_outcome(facts: set[Any], p: str) -> None:
    default, other = forward(facts, [BASE, STEP]), forward(facts, [BASE, STEP], prefer=p)
    assert {f: set(r) for f, r in default.reasons.items()} == {
        f: set(r) for f, r in other.reasons.items()
    }


@few
@given(links)
def test_every_reason_holds_and_the_first_was_known_before(facts: set[Any]) -> None:
    memory = forward(facts, [BASE, STEP])
    order = list(memory.reasons)
    for fact, reasons in memory.reasons.items():
        assert len(reasons) == len(set(reasons))
        for name, _, because in reasons:
            assert (name == "given") == (because == ()) == (fact in facts)
            assert set(because) <= set(order)
        assert all(order.index(premise) < order.index(fact) for premise in reasons[0][2])


@fewer
@given(links)
def test_circles_neither_hang_nor_weaken_what_follows_for_certain(facts: set[Any]) -> None:
    memory = forward(facts, [BASE, TWICE])
    assert all(memory.certainty(fact) == 1 for fact in memory.reasons)
    assert all(memory.how(fact).startswith("reach") for fact in closure(facts))


# --- worked example: numbers one can do by hand


def test_two_rules_for_and_one_against() -> None:
    rules = [
        Rule("shouting", (("shouts",),), ("loud",), 0.7),
        Rule("loudness", (("loud",),), ("spam",), 0.7),
        Rule("removal", (("removal",),), ("spam",), 0.7),
        Rule("list", (("list",),), ("spam",), -0.6),
    ]
    memory = forward([("shouts",), ("removal",), ("list",)], rules)
    assert memory.certainty(("loud",)) == 0.7
    assert memory.certainty(("spam",)) == pytest.approx((0.847 - 0.6) / (1 - 0.6))
    assert memory.how(("spam",)).splitlines()[0] == "spam (0.62)"
    assert "    loud (0.70)" in memory.how(("spam",)).splitlines()


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [(0.6, 0.5, 0.8), (-0.6, -0.5, -0.8), (0.6, -0.5, 0.2), (-0.6, 0.5, -0.2), (0.4, 0, 0.4)],
)
def test_certainties_combined_by_hand(a: float, b: float, both: float) -> None:
    assert combine(a, b) == pytest.approx(both)


def test_a_rule_passes_on_the_least_certain_premise_and_none_below_the_threshold() -> None:
    rule = Rule("both", (("a",), ("b",)), ("c",), 0.5)
    assert forward({("a",): 0.9, ("b",): 0.4}, [rule]).certainty(("c",)) == pytest.approx(0.2)
    assert forward({("a",): 0.9, ("b",): THRESHOLD}, [rule]).certainty(("c",)) == 0
    assert forward({("a",): 0.9, ("b",): -0.9}, [rule]).certainty(("c",)) == 0


def test_the_question_goes_to_the_user_once_with_the_goals_that_wait_for_it() -> None:
    rules = [
        Rule("r1", (("b",), ("c",)), ("a",), 0.5),
        Rule("r2", (("d",),), ("b",)),
        Rule("r3", (("d",), ("e",)), ("a",)),
    ]
    asked = []

    def user(question: Any, why: str) -> float:
        asked.append((question, why))
        return {"c": 0.8, "d": 1.0}.get(question[0], -1.0)

    memory = backward(("a",), [], rules, user)
    assert [question for question, _ in asked] == [("d",), ("c",), ("e",)]
    assert asked[0][1].splitlines() == [
        f"to find out whether b, by {rules[1]}",
        f"to find out whether a, by {rules[0]}",
    ]
    assert memory.certainty(("a",)) == pytest.approx(0.4)


def test_a_premise_that_the_user_denies_ends_the_line_of_questions() -> None:
    asked = []
    rule = Rule("r", (("first",), ("second",)), ("goal",))
    backward(("goal",), [], [rule], lambda question, why: asked.append(question) or -1.0)
    assert asked == [("first",)]


def test_a_goal_and_a_rule_may_use_the_same_names_for_different_things() -> None:
    flip = Rule("flip", (("likes", "?x", "?y"),), ("liked", "?y", "?x"))
    found = backward(("liked", "?x", "?y"), [("likes", "ann", "bob")], [flip])
    assert found.matches(("liked", "?x", "?y")) == [("liked", "bob", "ann")]
    chain = Rule("chain", (("liked", "?x", "?y"), ("liked", "?y", "?x")), ("pals", "?x", "?y"))
    facts = [("likes", "ann", "bob"), ("likes", "bob", "ann"), ("likes", "ann", "eve")]
    assert (
        len(backward(("pals", "?y", "?x"), facts, [flip, chain]).matches(("pals", "?x", "?y"))) == 2
    )


@pytest.mark.parametrize("climb", [STEP, LEFT, TWICE])
def test_backward_follows_a_chain_to_its_end_even_if_the_rule_begins_with_itself(
    climb: Rule,
) -> None:
    links = [("to", n, n + 1) for n in range(6)]
    found = backward(("reach", 0, "?x"), links, [BASE, climb]).matches(("reach", 0, "?x"))
    assert sorted(x for *_, x in found) == [1, 2, 3, 4, 5, 6]


def test_preferences_decide_what_is_concluded_first() -> None:
    rules = [
        Rule("plain", (("a",),), ("one",)),
        Rule("special", (("a",), ("b",)), ("two",)),
        Rule("deeper", (("one",),), ("three",)),
    ]

    def order(prefer: str) -> list[str]:
        known = forward([("a",), ("b",)], rules, prefer=prefer).reasons
        return [fact[0] for fact in known][2:]

    assert order("oldest") == ["one", "two", "three"]
    assert order("newest") == ["two", "one", "three"]
    assert order("specific") == ["two", "one", "three"]
    assert list(forward([("a",), ("b",)], rules, until=("one",)).reasons)[-1] == ("one",)


def test_specific_beats_new_where_they_differ() -> None:
    rules = [Rule("long", (("a",), ("a",)), ("one",)), Rule("short", (("a",),), ("two",))]
    for prefer, first in (("specific", "one"), ("newest", "two"), ("oldest", "one")):
        assert list(forward([("a",)], rules, prefer=prefer).reasons)[1] == (first,)


# --- limit: the edges


def test_nothing_follows_from_nothing() -> None:
    assert forward([], [BASE]).reasons == backward(("reach", 1, "?x"), [], [BASE]).reasons == {}
    assert Memory().certainty(("unknown",)) == 0
    assert unify((), ()) == {}


def test_a_variable_is_never_part_of_its_own_value() -> None:
    assert unify("?x", ("f", "?x")) is None
    assert unify(("?x", "?y"), (("f", "?y"), ("f", "?x"))) is None
    assert unify("?x", "?x") == {}


def test_terms_of_different_shape_do_not_unify() -> None:
    assert unify(("a", "b"), ("a", "b", "c")) is None
    assert unify(("a",), "a") is None
    assert unify(("?x", ("?x",)), ("a", ("b",))) is None


@pytest.mark.parametrize("pair", [(1.2, 0), (0, -1.2), (math.nan, 0), (1, -1), (-1, 1)])
def test_impossible_certainties_are_refused(pair: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"certainties in -1\.\.1"):
        combine(*pair)


def test_certainty_is_not_moved_by_less_than_certainty() -> None:
    assert combine(1, -0.9) == combine(1, 0.5) == 1
    assert combine(-1, 0.9) == -1


@pytest.mark.parametrize(
    "parts",
    [
        ((("a", "?x"),), ("b", "?y"), 1.0),
        ((("?p", "x"),), ("b",), 1.0),
        ((("a",),), ("?p",), 1.0),
        ((("a",),), ("b",), 1.1),
    ],
)
def test_rules_that_cannot_work_are_refused(parts: tuple[Any, Any, float]) -> None:
    with pytest.raises(ValueError, match="odd: if"):
        Rule("odd", *parts)


def test_an_unknown_preference_is_refused() -> None:
    with pytest.raises(ValueError, match="oldest, newest, specific, got 'best'"):
        forward([], [], prefer="best")


def test_evidence_does_not_support_itself_in_a_circle() -> None:
    rules = [Rule("ab", (("a",),), ("b",), 0.8), Rule("ba", (("b",),), ("a",), 0.8)]
    memory = forward({("a",): 0.5}, rules)
    assert memory.certainty(("a",)) == pytest.approx(0.5)
    assert memory.certainty(("b",)) == pytest.approx(0.4)


def test_many_ways_round_a_circle_cost_no_more_than_one() -> None:
    ring = [("to", n, (n + 1) % 9) for n in range(9)]
    assert forward(ring, [BASE, TWICE]).certainty(("reach", 0, 0)) == 1


@pytest.mark.parametrize("first", [1.0, -1.0])
def test_certain_and_impossible_at_once_is_an_error_in_either_order(first: float) -> None:
    rules = [Rule("one", (("a",),), ("b",), first), Rule("other", (("a",),), ("b",), -first)]
    with pytest.raises(ValueError, match="not 1 against -1"):
        forward([("a",)], rules).certainty(("b",))


# --- the mail


@dataclass(frozen=True)
class Letter:
    """What the rules look at in an e-mail."""

    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def base() -> Knowledge:
    return Knowledge.read("spam")


def test_signs_are_facts_once_each_with_what_their_groups_caught(base: Knowledge) -> None:
    headers = {
        "from": "Ann <ann@mail.example.com>",
        "to": "bob@example.org",
        "subject": "free FREE",
    }
    facts = base.observe(Letter("Click HERE", headers))
    assert facts.count(("subject", "says", "free")) == 1
    assert {("from", "domain", "example.com"), ("body", "says", "click", "here")} <= set(facts)
    assert ("from", "address", "ann@mail.example.com") in facts
    assert ("to", "nobody") in base.observe(Letter())


def test_a_variable_joins_two_headers(base: Knowledge) -> None:
    same = {"from": "a@x.org", "message-id": "<1@mx.x.org>", "to": "b@y.org"}
    assert "own-machine" in base.judge(Letter("", same)).how(("spam",))
    other = base.judge(Letter("", {**same, "message-id": "<1@z.org>"}))
    assert ("spam",) not in other.reasons


@pytest.fixture(scope="module")
def judged(base: Knowledge) -> list[tuple[data.Mail, Memory]]:
    return [(mail, base.judge(mail)) for mail in data.mail()[::6]]


def test_every_rule_fires_somewhere_and_needs_only_signs_or_conclusions(
    base: Knowledge, judged: list[tuple[data.Mail, Memory]]
) -> None:
    logs = [reasons for _, memory in judged for reasons in memory.reasons.values()]
    fired = {rule for reasons in logs for rule, *_ in reasons}
    assert {rule.name for rule in base.rules} <= fired
    words = [name.split() for name in base.signs] + [list(r.conclusion) for r in base.rules]
    for condition in (condition for rule in base.rules for condition in rule.conditions):
        assert any(list(condition)[: len(known)] == known for known in words), condition


def test_the_knowledge_reads_back_as_it_was_written(base: Knowledge) -> None:
    text = "\n".join(f"{str(rule).replace(': ', ' = ', 1)}" for rule in base.rules)
    assert "own-machine = if from domain ?d and machine domain ?d, then spam (-0.20)" in text
    assert len({rule.name for rule in base.rules}) == len(base.rules) == 29


def test_the_rules_beat_one_word_on_mail_that_their_author_read(
    judged: list[tuple[data.Mail, Memory]],
) -> None:
    part = [row for row in judged if row[0].date and "2002-01" <= row[0].date < "2002-09"]

    def f_score(flags: list[bool]) -> float:
        hits = sum(flag and mail.spam for flag, (mail, _) in zip(flags, part, strict=True))
        return 2 * hits / (sum(flags) + sum(mail.spam for mail, _ in part))

    rules = f_score([memory.certainty(("spam",)) > THRESHOLD for _, memory in part])
    word = f_score(["free" in mail.text.lower() for mail, _ in part])
    assert rules > 0.8 > 0.65 > word


def test_a_bracket_too_many_silences_a_rule(base: Knowledge) -> None:
    letter = Letter("click here", {"to": "bob@example.org"})
    broken = replace(base, signs=base.signs | {"body says click here": ["lower", "click (here)"]})
    assert base.judge(letter).certainty(("spam",)) > 0 == broken.judge(letter).certainty(("spam",))
