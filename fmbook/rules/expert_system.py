"""A production system: facts, rules with variables, chaining both ways, certainty, explanations.

What an expert wrote down stays apart from the engine, in a file (`spam.toml`). Left out: negation,
retraction, arithmetic in conditions, and Rete's memory of partial matches (forgy1982rete).
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from importlib.resources import files
from itertools import count
from typing import Any

__all__ = ["Knowledge", "Memory", "Rule", "backward", "combine", "forward", "substitute", "unify"]

Term = Any  # a constant, a variable such as "?x", or a tuple of terms
Fact = tuple[Any, ...]  # a tuple of terms without variables
Bindings = dict[str, Term]
Facts = Iterable[Fact] | Mapping[Fact, float]  # believed fully, or each with a certainty
Ask = Callable[[Fact, str], float]  # a question and why it is asked, to a certainty
Supply = Callable[[int, Term], Iterable[Fact]]  # facts that a condition, by its number, may fit

THRESHOLD = 0.2  # a premise counts as true above this certainty
_PREFERENCES = {"oldest": (0, 1), "newest": (0, -1), "specific": (-1, 1)}  # conditions, number


def _is_variable(term: Term) -> bool:
    return isinstance(term, str) and term[:1] == "?"


def substitute(term: Term, bindings: Bindings) -> Term:
    """The term with every bound variable replaced by what it is bound to, all the way down.

    Source: robinson1965machine.

    >>> substitute(("is", "?x", ("kind", "?y")), {"?x": "?z", "?z": "penguin"})
    ('is', 'penguin', ('kind', '?y'))
    """
    while term in bindings:
        term = bindings[term]
    if isinstance(term, tuple):
        return tuple([substitute(part, bindings) for part in term])
    return term


def unify(a: Term, b: Term, bindings: Bindings | None = None) -> Bindings | None:
    """The smallest extension of `bindings` that makes two terms equal, or None if there is none.

    A variable never becomes part of its own value (the occurs check). `bindings` is not changed.

    Source: robinson1965machine.

    >>> unify(("is", "?x", "bird"), ("is", "penguin", "?y"))
    {'?x': 'penguin', '?y': 'bird'}
    >>> unify(("same", "?x", "?x"), ("same", "a", "b")) is None
    True
    """
    bindings = {} if bindings is None else bindings
    while a in bindings:
        a = bindings[a]
    while b in bindings:
        b = bindings[b]
    if a == b:
        return bindings
    if _is_variable(b):
        a, b = b, a
    if _is_variable(a):
        return None if a in _variables(substitute(b, bindings)) else {**bindings, a: b}
    if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
        return None
    for left, right in zip(a, b, strict=True):
        if left != right and bindings is not None:
            bindings = unify(left, right, bindings)
    return bindings


def _variables(term: Term) -> dict[str, None]:
    """The variables of a term, in order of appearance."""
    if isinstance(term, tuple):
        return {name: None for part in term for name in _variables(part)}
    return {term: None} if _is_variable(term) else {}


def combine(a: float, b: float) -> float:
    """The certainty, in -1..1, that two pieces of evidence give together.

    Of one sign they use up what doubt is left, as in shortliffe1975model; of different signs the
    weaker cancels part of the stronger. That is the later form, of EMYCIN: in 1975 evidence for
    and against was kept apart, and subtracted at the end.

    Raises:
        ValueError: a certainty is out of range, or one is 1 while the other is -1.

    Source: shortliffe1975model; buchanan1984rule.

    >>> round(combine(0.6, 0.5), 3), round(combine(0.6, -0.5), 3)
    (0.8, 0.2)
    """
    if not max(abs(a), abs(b)) <= 1 or a * b == -1:
        raise ValueError(f"need certainties in -1..1, not 1 against -1; got {a} and {b}")
    if a * b < 0:
        return (a + b) / (1 - min(abs(a), abs(b)))
    return a + b * (1 - abs(a))


@dataclass(frozen=True)
class Rule:
    """If all conditions hold, then the conclusion, with a certainty in -1..1.

    Raises:
        ValueError: the conclusion has a variable that no condition binds, a condition or the
            conclusion begins with a variable, or the certainty is out of range.

    Source: davis1977production.

    >>> print(Rule("kinds", (("is", "?x", "?y"), ("is", "?y", "?z")), ("is", "?x", "?z")))
    kinds: if is ?x ?y and is ?y ?z, then is ?x ?z (1.00)
    """

    name: str
    conditions: tuple[Term, ...]
    conclusion: Term
    certainty: float = 1.0

    def __post_init__(self) -> None:
        words = [term[0] for term in (self.conclusion, *self.conditions)]
        loose = _variables(self.conclusion).keys() - _variables(self.conditions)
        if loose or any(map(_is_variable, words)) or not -1 <= self.certainty <= 1:
            raise ValueError(f"a loose variable, no first word, or no certainty in -1..1: {self}")

    def __str__(self) -> str:
        tests = " and ".join(_say(condition) for condition in self.conditions)
        return f"{self.name}: if {tests}, then {_say(self.conclusion)} ({self.certainty:.2f})"


def _say(term: Term) -> str:
    return " ".join(map(_say, term)) if isinstance(term, tuple) else str(term)


class Memory:
    """The facts known so far, each with every reason for it: (rule, its certainty, because).

    `facts` may map each fact to a certainty. A reason named "given" or "told" stands for itself.

    >>> memory = Memory({("wet", "street"): 0.8})
    >>> memory.matches(("wet", "?what")), memory.certainty(("wet", "street"))
    ([('wet', 'street')], 0.8)
    """

    def __init__(self, facts: Facts = ()) -> None:
        self.reasons: dict[Fact, list[tuple[str, float, tuple[Fact, ...]]]] = {}
        self._at: dict[tuple[int, Term], list[Fact]] = defaultdict(list)
        for fact, certainty in _given(facts):
            self.add(fact, "given", certainty)

    def add(self, fact: Fact, rule: str, certainty: float, because: tuple[Fact, ...] = ()) -> bool:
        """Note a reason for a fact; True if the fact is new."""
        known = self.reasons.setdefault(fact, [])
        if (rule, certainty, because) in known:
            return False
        known.append((rule, certainty, because))
        for place in enumerate(fact) if len(known) == 1 else ():
            self._at[place].append(fact)
        return len(known) == 1

    def candidates(self, pattern: Term) -> list[Fact]:
        """The facts that a pattern may fit: the shortest list that one of its constants picks."""
        places = [place for place in enumerate(pattern) if not _variables(place[1])]
        return min([self._at.get(place, []) for place in places], key=len)

    def matches(self, pattern: Term) -> list[Fact]:
        """The facts that a pattern fits."""
        return [fact for fact in self.candidates(pattern) if unify(pattern, fact) is not None]

    def certainty(self, fact: Fact, above: tuple[Fact, ...] = ()) -> float:
        """All reasons for a fact combined, in -1..1; a fact that is unknown has 0.

        A rule passes on its certainty times that of its least certain premise, if that is above
        0.2. No fact supports itself in a circle: `above` are those that wait for this one.

        Source: shortliffe1975model; buchanan1984rule, chapter 11.
        """
        total, above = 0.0, (*above, fact)
        for _, strength, because in self.reasons.get(fact, ()):
            if (total == 1 and strength > 0) or not set(above).isdisjoint(because):
                continue  # more for what is certain adds nothing; a circle proves nothing
            premise = min([self.certainty(b, above) for b in because], default=1.0)
            if premise > THRESHOLD:
                total = combine(total, strength * premise)
        return total

    def how(self, fact: Fact, told: set[Fact] | None = None) -> str:
        """How a fact became known, as MYCIN answered HOW: its rules and, once, the facts below."""
        told = set() if told is None else told
        lines = [f"{_say(fact)} ({self.certainty(fact):.2f})"]
        for rule, strength, because in self.reasons.get(fact, ()) if fact not in told else ():
            told.add(fact)
            lines.append(f"  {strength:+.2f} {rule}" + (" because" if because else ""))
            for premise in because:
                lines += ["    " + line for line in self.how(premise, told).splitlines()]
        return "\n".join(lines)


def _given(facts: Facts) -> Iterable[tuple[Fact, float]]:
    return (facts if isinstance(facts, Mapping) else dict.fromkeys(facts, 1.0)).items()


def _instances(
    conditions: tuple[Term, ...], bindings: Bindings | None, supply: Supply, *because: Fact
) -> Iterator[tuple[Bindings, tuple[Fact, ...]]]:
    """Every way to satisfy the conditions after the first ones, which are satisfied."""
    number = len(because)
    if bindings is not None and number == len(conditions):
        yield bindings, because
    elif bindings is not None:
        pattern = substitute(conditions[number], bindings)
        for fact in supply(number, pattern):
            extended = unify(pattern, fact, bindings)
            yield from _instances(conditions, extended, supply, *because, fact)


def forward(
    facts: Facts, rules: Iterable[Rule], *, prefer: str = "oldest", until: Term = None
) -> Memory:
    """All that follows from the facts, or what follows until a fact fits the pattern `until`.

    Each new fact wakes the rules it can be a premise of; what they conclude waits on an agenda.
    `prefer` resolves conflicts on it: "oldest" or "newest" conclusion first, or the one of the
    most "specific" rule (most conditions).

    Raises:
        ValueError: `prefer` is none of these.

    Source: forgy1982rete, for the cycle of matching, choosing and acting.

    >>> kinds = Rule("kinds", (("is", "?x", "?y"), ("is", "?y", "?z")), ("is", "?x", "?z"))
    >>> memory = forward([("is", "penguin", "bird"), ("is", "bird", "animal")], [kinds])
    >>> memory.matches(("is", "penguin", "?z"))
    [('is', 'penguin', 'bird'), ('is', 'penguin', 'animal')]
    """
    if prefer not in _PREFERENCES:
        raise ValueError(f"prefer must be one of {', '.join(_PREFERENCES)}, got {prefer!r}")
    memory, rules, numbers = Memory(), tuple(rules), count()
    specific, age = _PREFERENCES[prefer]
    # what was given comes before what follows
    agenda: list[Any] = [((-99, next(numbers)), f, "given", sure, ()) for f, sure in _given(facts)]
    while agenda:
        _, fact, *reason = heappop(agenda)
        if not memory.add(fact, *reason):
            continue
        if until is not None and unify(until, fact) is not None:
            break
        for rule, bindings, because in _awakened(fact, rules, memory):
            priority = (specific * len(rule.conditions), age * next(numbers))
            conclusion = substitute(rule.conclusion, bindings)
            heappush(agenda, (priority, conclusion, rule.name, rule.certainty, because))
    return memory


def _awakened(
    fact: Fact, rules: tuple[Rule, ...], memory: Memory
) -> Iterator[tuple[Rule, Bindings, tuple[Fact, ...]]]:
    """Every application of a rule that needs this new fact."""
    for rule in rules:
        for here, condition in enumerate(rule.conditions):
            if condition[0] != fact[0]:
                continue

            def supply(number: int, pattern: Term, here: int = here) -> Iterable[Fact]:
                return (fact,) if number == here else memory.candidates(pattern)

            for bindings, because in _instances(rule.conditions, unify(condition, fact), supply):
                yield rule, bindings, because


def backward(goal: Term, facts: Facts, rules: Iterable[Rule], ask: Ask | None = None) -> Memory:
    """The facts, and what of their consequences it takes to find every answer to the goal.

    Works from the goal to the rules that conclude it, to the goals that their conditions are. A
    question that no fact and no rule can answer goes to `ask(question, why)`, which returns a
    certainty; `why` says which rules need the answer, as MYCIN answered WHY.

    Source: davis1977production.

    >>> kinds = Rule("kinds", (("is", "?x", "?y"), ("is", "?y", "?z")), ("is", "?x", "?z"))
    >>> facts = [("is", "penguin", "bird"), ("is", "bird", "animal"), ("is", "oak", "tree")]
    >>> backward(("is", "penguin", "?what"), facts, [kinds]).matches(("is", "penguin", "?what"))
    [('is', 'penguin', 'bird'), ('is', 'penguin', 'animal')]
    """
    memory, rules, tried, before = Memory(facts), tuple(rules), set(), -1

    def prove(goal: Term, above: tuple[tuple[Term, Rule], ...]) -> None:
        shape = _renamed(goal, 0)
        if shape in tried:
            return
        tried.add(shape)
        concluding = [rule for rule in rules if rule.conclusion[0] == goal[0]]
        if ask and not concluding and not _variables(goal) and goal not in memory.reasons:
            why = (f"to find out whether {_say(wanted)}, by {rule}" for wanted, rule in above)
            memory.add(goal, "told", ask(goal, "\n".join(why)))
        for rule in concluding:

            def supply(_: int, condition: Term, rule: Rule = rule) -> Iterable[Fact]:
                prove(condition, ((goal, rule), *above))
                return [f for f in memory.candidates(condition) if memory.certainty(f) > THRESHOLD]

            # no variable of this use may be taken for one of the goal that has the same name
            conclusion, conditions = _renamed((rule.conclusion, rule.conditions), len(above) + 1)
            for found, because in _instances(conditions, unify(conclusion, goal), supply):
                memory.add(substitute(conclusion, found), rule.name, rule.certainty, because)

    while before < len(memory.reasons):  # a goal met within itself needs the last round's findings
        before = len(memory.reasons)
        tried.clear()
        prove(goal, ())
    return memory


def _renamed(term: Term, depth: int) -> Term:
    """The term with variables of its own: numbered in order, and by the depth of their use."""
    names = enumerate(_variables(term))
    return substitute(term, {name: f"?{number}.{depth}" for number, name in names})


@dataclass(frozen=True)
class Knowledge:
    """What an expert wrote down about e-mails: signs to observe, and rules about them.

    A sign is a name, a place to look (a header, "body", or "lower" for the body in lower case) and
    a regular expression: where it matches, the fact is the name with what its groups caught. A
    missing header reads as empty.

    Source: davis1977production, for knowledge that stands apart from the engine.

    >>> base = Knowledge.read("spam")
    >>> [str(rule) for rule in base.rules if rule.name == "free"]
    ['free: if subject says free, then spam (0.60)']
    """

    signs: dict[str, list[str]]
    rules: tuple[Rule, ...]

    @classmethod
    def read(cls, name: str) -> "Knowledge":
        """The knowledge in `<name>.toml` beside this module."""
        table = tomllib.loads((files("fmbook.rules") / f"{name}.toml").read_text("utf8"))
        rules = []
        for name, text in table["rules"].items():
            tests, conclusion, certainty = re.split(", then | \\(", text.removeprefix("if "))
            conditions = tuple(tuple(test.split()) for test in tests.split(" and "))
            rules.append(Rule(name, conditions, tuple(conclusion.split()), float(certainty[:-1])))
        return cls(table["signs"], tuple(rules))

    def observe(self, mail: Any) -> list[Fact]:
        """The facts about one e-mail: each sign that is there, once."""
        look = {**mail.headers, "body": mail.body, "lower": mail.body.lower()}
        facts = [
            (*name.split(), *found.groups())
            for name, (place, sign) in self.signs.items()
            for found in re.finditer(sign, look.get(place, ""))
        ]
        return list(dict.fromkeys(facts))

    def judge(self, mail: Any) -> Memory:
        """All that the rules conclude about one e-mail."""
        return forward(self.observe(mail), self.rules)
