"""Wrong and right answers to the exercise on expert systems, each as a student would write it."""

import math
from collections import deque
from itertools import count, permutations, product

import fmbook.rules.expert_system as library
from fmbook.rules.expert_system import _is_variable, _variables, substitute
from tests.bank import right, wrong

# combine ------------------------------------------------------------------------------------------


@wrong("combine", cell="combine-hidden-one-sign", says="the certainties are added")
def sum_of_both(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    return a + b


@wrong("combine", cell="combine-hidden-one-sign", says="the sum is cut off at 1")
def sum_cut_off(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    return max(-1.0, min(1.0, a + b))


@wrong("combine", cell="combine-hidden-one-sign", says="the stronger piece wins")
def the_stronger(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    return max(a, b, key=abs)


@wrong("combine", cell="combine-hidden-one-sign", says="this is the mean: two pieces for together")
def mean_of_both(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    return (a + b) / 2


@wrong("combine", cell="combine-hidden-one-sign", says="the certainties are multiplied")
def product_of_both(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a * b >= 0:
        return math.copysign(a * b, a + b)
    return (a + b) / (1 - min(abs(a), abs(b)))


@wrong("combine", cell="combine-hidden-one-sign", says="takes all of its own doubt")
def its_own_doubt(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a * b < 0:
        return (a + b) / (1 - min(abs(a), abs(b)))
    return a + b * (1 - abs(b))


@wrong("combine", cell="combine-hidden-one-sign", says="two negatives use the formula of two posi")
def positives_for_negatives(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a * b < 0:
        return (a + b) / (1 - min(abs(a), abs(b)))
    return a + b * (1 - a)


@wrong("combine", cell="combine-hidden-one-sign", says="came out as evidence for")
def negatives_come_out_positive(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a * b < 0:
        return (a + b) / (1 - min(abs(a), abs(b)))
    return abs(a) + abs(b) * (1 - abs(a))


@wrong("combine", cell="combine-hidden-one-sign", says="against use the formula of different sig")
def only_positives_have_a_formula(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a >= 0 and b >= 0:
        return a + b - a * b
    return (a + b) / (1 - min(abs(a), abs(b)))


@wrong("combine", cell="combine-hidden-mixed-signs", says="this is the bare sum")
def bare_sum_of_mixed_signs(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a >= 0 and b >= 0:
        return a + b * (1 - a)
    if a <= 0 and b <= 0:
        return a + b * (1 + a)
    return a + b


@wrong("combine", cell="combine-hidden-mixed-signs", says="the doubt that the stronger leaves")
def doubt_of_the_stronger(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a >= 0 and b >= 0:
        return a + b * (1 - a)
    if a <= 0 and b <= 0:
        return a + b * (1 + a)
    return (a + b) / (1 - max(abs(a), abs(b)))


@wrong("combine", cell="combine-hidden-mixed-signs", says="compare sizes without signs")
def smaller_in_place_of_weaker(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a >= 0 and b >= 0:
        return a + b * (1 - a)
    if a <= 0 and b <= 0:
        return a + b * (1 + a)
    return (a + b) / (1 - min(a, b))


@wrong("combine", cell="combine-hidden-mixed-signs", says="use the formula of two positives")
def one_formula_for_mixed_signs(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a <= 0 and b <= 0:
        return a + b * (1 + a)
    return a + b * (1 - a)


@wrong("combine", cell="combine-hidden-mixed-signs", says="the first is taken for the stronger")
def second_is_the_weaker(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a * b < 0:
        return (a + b) / (1 - abs(b))
    return a + b * (1 - abs(a))


@wrong("combine", cell="combine-hidden-mixed-signs", says="the piece for is taken for the stronger")
def negative_is_the_weaker(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a * b < 0:
        return (a + b) / (1 + min(a, b))
    return a + b * (1 - abs(a))


@wrong("combine", cell="combine-hidden-mixed-signs", says="the sign is lost")
def sign_is_lost(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a * b < 0:
        strong, weak = max(abs(a), abs(b)), min(abs(a), abs(b))
        return (strong - weak) / (1 - weak)
    return a + b * (1 - abs(a))


@wrong("combine", cell="combine-hidden-refuses", says="1 against -1 is a contradiction")
def divides_by_zero(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1):
        raise ValueError("no certainties")
    if a * b < 0:
        return (a + b) / (1 - min(abs(a), abs(b)))
    return a + b * (1 - abs(a))


@wrong("combine", cell="combine-hidden-refuses", says="-1 against 1 is a contradiction")
def contradicts_in_one_order(a, b):
    if not (-1 <= a <= 1 and -1 <= b <= 1) or (a == 1 and b == -1):
        raise ValueError("no certainties")
    if a + b == 0:
        return 0.0
    if a * b < 0:
        return (a + b) / (1 - min(abs(a), abs(b)))
    return a + b * (1 - abs(a))


@wrong("combine", cell="combine-hidden-refuses", says="the first is above 1")
def refuses_no_range(a, b):
    if {a, b} == {1, -1}:
        raise ValueError("a contradiction")
    if a * b < 0:
        return (a + b) / (1 - min(abs(a), abs(b)))
    return a + b * (1 - abs(a))


@wrong("combine", cell="combine-hidden-refuses", says="the second is above 1")
def refuses_the_first_only(a, b):
    if abs(a) > 1 or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a * b < 0:
        return (a + b) / (1 - min(abs(a), abs(b)))
    return a + b * (1 - abs(a))


@wrong("combine", cell="combine-hidden-refuses", says="the first is below -1")
def refuses_above_only(a, b):
    if max(a, b) > 1 or {a, b} == {1, -1}:
        raise ValueError("no certainties")
    if a * b < 0:
        return (a + b) / (1 - min(abs(a), abs(b)))
    return a + b * (1 - abs(a))


@wrong("combine", cell="combine-hidden-refuses", says="1 and -1 are certainties too")
def refuses_the_ends(a, b):
    if not (-1 < a < 1 and -1 < b < 1):
        raise ValueError("no certainties")
    if a * b < 0:
        return (a + b) / (1 - min(abs(a), abs(b)))
    return a + b * (1 - abs(a))


@right("combine")
def doubts_multiply(a, b):
    if abs(a) > 1 or abs(b) > 1 or abs(a - b) == 2:
        raise ValueError(f"{a} and {b} do not go together")
    if a < 0 and b < 0:
        return (1 + a) * (1 + b) - 1
    if min(a, b) < 0 < max(a, b):
        return (a + b) / min(1 - abs(a), 1 - abs(b), key=lambda left: -left)
    if min(a, b) < 0:
        return a + b
    return 1 - (1 - a) * (1 - b)


@right("combine")
def by_strength_and_sign(a, b):
    for certainty in (a, b):
        if certainty < -1 or certainty > 1:
            raise ValueError(certainty)
    weak, strong = sorted([a, b], key=abs)
    if strong == 0:
        return 0.0
    sign = math.copysign(1.0, strong)
    weak, strong = sign * weak, sign * strong
    if weak >= 0:
        return sign * (strong + weak - strong * weak)
    if weak == -1:
        raise ValueError("a contradiction")
    return sign * (strong + weak) / (1 + weak)


@right("combine")
def mirrored_by_recursion(a, b):
    def of(a, b):
        if a < b:
            return of(b, a)
        if a <= 0:
            return -of(-a, -b) if a < 0 or b < 0 else 0.0
        if b >= 0:
            return a + b - a * b
        return (a + b) / (1 - min(a, -b))

    if a not in (-1, 1) and not -1 < a < 1:
        raise ValueError(a)
    if b not in (-1, 1) and not -1 < b < 1:
        raise ValueError(b)
    try:
        return of(a, b)
    except ZeroDivisionError:
        raise ValueError("1 and -1") from None


@right("combine")
def by_odds_of_doubt(a, b):
    if not all(abs(c) <= 1 for c in (a, b)) or sorted((a, b)) == [-1, 1]:
        raise ValueError((a, b))
    match (a > 0) - (a < 0), (b > 0) - (b < 0):
        case (0, _) | (_, 0):
            return float(a + b)
        case (1, 1):
            return b + (1 - b) * a
        case (-1, -1):
            return b + (1 + b) * a
        case _:
            return (a + b) / max(1 - abs(a), 1 - abs(b))


# unify --------------------------------------------------------------------------------------------


@wrong("unify", cell="unify-hidden-patterns", says="{} is a success without bindings, but")
def takes_empty_for_failure(a, b, bindings=None):
    def go(a, b, bindings):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if a == b:
            return bindings
        if _is_variable(a):
            return None if a in _variables(b) else {**bindings, a: b}
        if _is_variable(b):
            return go(b, a, bindings)
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if not bindings:
                return None
        return bindings

    return go(a, b, bindings or {})


@wrong("unify", cell="unify-hidden-patterns", says="a failure is None; this is False")
def fails_by_false(a, b, bindings=None):
    def go(a, b, bindings):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if a == b:
            return bindings
        if _is_variable(a):
            return False if a in _variables(b) else {**bindings, a: b}
        if _is_variable(b):
            return go(b, a, bindings)
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return False
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is False:
                return False
        return bindings

    return go(a, b, bindings or {})


@wrong("unify", cell="unify-hidden-patterns", says="a failure is None; {} means that they are equ")
def fails_by_empty(a, b, bindings=None):
    bindings = dict(bindings or {})

    def go(a, b):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if a == b:
            return True
        if _is_variable(b):
            a, b = b, a
        if _is_variable(a):
            if a in _variables(b):
                return False
            bindings[a] = b
            return True
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return False
        return all(go(left, right_) for left, right_ in zip(a, b))

    return bindings if go(a, b) else {}


@wrong("unify", cell="unify-hidden-patterns", says="a variable may stand in the second term too")
def binds_the_first_only(a, b, bindings=None):
    def go(a, b, bindings):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if a == b:
            return bindings
        if _is_variable(a):
            return None if a in _variables(b) else {**bindings, a: b}
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-patterns", says="tuples of different lengths are never equal")
def ignores_lengths(a, b, bindings=None):
    def go(a, b, bindings):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if a == b:
            return bindings
        if _is_variable(a):
            return None if a in _variables(b) else {**bindings, a: b}
        if _is_variable(b):
            return go(b, a, bindings)
        if not (isinstance(a, tuple) and isinstance(b, tuple)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-patterns", says="a tuple inside a tuple must be unified part")
def does_not_descend(a, b, bindings=None):
    bindings = dict(bindings or {})
    if not isinstance(a, tuple) or not isinstance(b, tuple):
        a, b = (a,), (b,)
    if len(a) != len(b):
        return None
    for left, right_ in zip(a, b):
        left, right_ = substitute(left, bindings), substitute(right_, bindings)
        if left == right_:
            continue
        if _is_variable(right_):
            left, right_ = right_, left
        if not _is_variable(left) or left in _variables(right_):
            return None
        bindings[left] = right_
    return bindings


@wrong("unify", cell="unify-hidden-patterns", says="the second value replaced the first")
def parts_know_nothing_of_each_other(a, b, bindings=None):
    def go(a, b, bindings):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if a == b:
            return bindings
        if _is_variable(a):
            return None if a in _variables(b) else {**bindings, a: b}
        if _is_variable(b):
            return go(b, a, bindings)
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        together = dict(bindings)
        for left, right_ in zip(a, b):
            found = go(left, right_, bindings)
            if found is None:
                return None
            together.update(found)
        return together

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-patterns", says="the second value was not looked at")
def first_value_is_enough(a, b, bindings=None):
    def go(a, b, bindings):
        if a == b:
            return bindings
        if _is_variable(b) and not _is_variable(a):
            a, b = b, a
        if _is_variable(a):
            if a in bindings:
                return bindings
            return None if a in _variables(b) else {**bindings, a: b}
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-patterns", says="two variables may be bound to each other")
def refuses_two_variables(a, b, bindings=None):
    def go(a, b, bindings):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if a == b:
            return bindings
        if _is_variable(a) and _is_variable(b):
            return None
        if _is_variable(a):
            return None if a in _variables(b) else {**bindings, a: b}
        if _is_variable(b):
            return go(b, a, bindings)
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-bindings", says="a default {} is made only once")
def remembers_by_default(a, b, bindings={}):
    def go(a, b):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if a == b:
            return bindings
        if _is_variable(b):
            a, b = b, a
        if _is_variable(a):
            if a in _variables(b):
                return None
            bindings[a] = b
            return bindings
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            if go(left, right_) is None:
                return None
        return bindings

    return go(a, b)


@wrong("unify", cell="unify-hidden-bindings", says="the result must hold the given bindings too")
def returns_only_what_is_new(a, b, bindings=None):
    given = {} if bindings is None else bindings

    def go(a, b, new):
        a, b = substitute(a, {**given, **new}), substitute(b, {**given, **new})
        if a == b:
            return new
        if _is_variable(b):
            a, b = b, a
        if _is_variable(a):
            return None if a in _variables(b) else {**new, a: b}
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            new = go(left, right_, new)
            if new is None:
                return None
        return new

    return go(a, b, {})


@wrong("unify", cell="unify-hidden-bindings", says="a variable that has a value must not get anoth")
def overwrites(a, b, bindings=None):
    def go(a, b, bindings):
        if a == b:
            return bindings
        if _is_variable(b):
            a, b = b, a
        if _is_variable(a):
            return None if a in _variables(b) else {**bindings, a: b}
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-bindings", says="a variable that has a value fits that value on")
def a_bound_variable_fits_all(a, b, bindings=None):
    def go(a, b, bindings):
        if a == b:
            return bindings
        if _is_variable(b) and not _is_variable(a):
            a, b = b, a
        if _is_variable(a):
            if a in bindings:
                return bindings
            b = substitute(b, bindings)
            return None if a in _variables(b) else {**bindings, a: b}
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-bindings", says="another variable must be followed to its end")
def compares_the_value(a, b, bindings=None):
    def go(a, b, bindings):
        if a == b:
            return bindings
        if _is_variable(b) and (not _is_variable(a) or a in bindings):
            a, b = b, a
        if _is_variable(a):
            if a in bindings:
                return bindings if bindings[a] == b else None
            return None if a in _variables(substitute(b, bindings)) else {**bindings, a: b}
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-bindings", says="the value of a bound variable must be unified")
def compares_after_following(a, b, bindings=None):
    def go(a, b, bindings):
        bound = a in bindings or b in bindings
        while a in bindings and _is_variable(a):
            a = bindings[a]
        while b in bindings and _is_variable(b):
            b = bindings[b]
        if a == b:
            return bindings
        if _is_variable(b):
            a, b = b, a
        if _is_variable(a):
            return None if a in _variables(substitute(b, bindings)) else {**bindings, a: b}
        if bound or not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-bindings", says="leads back to")
def binds_in_a_circle(a, b, bindings=None):
    def go(a, b, bindings):
        if a == b:
            return bindings
        if _is_variable(a):
            if a in bindings:
                return go(bindings[a], b, bindings)
            return None if a in _variables(b) else {**bindings, a: b}
        if _is_variable(b):
            return go(b, a, bindings)
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-occurs", says="of its own value: the occurs check is missing")
def no_occurs_check(a, b, bindings=None):
    def go(a, b, bindings):
        while _is_variable(a) and a in bindings:
            a = bindings[a]
        while _is_variable(b) and b in bindings:
            b = bindings[b]
        if a == b:
            return bindings
        if _is_variable(a):
            return {**bindings, a: b}
        if _is_variable(b):
            return {**bindings, b: a}
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-occurs", says="stands deeper in its own value")
def occurs_check_of_one_level(a, b, bindings=None):
    def go(a, b, bindings):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if a == b:
            return bindings
        if _is_variable(b):
            a, b = b, a
        if _is_variable(a):
            return None if isinstance(b, tuple) and a in b else {**bindings, a: b}
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-occurs", says="in its own value by way of")
def occurs_check_without_bindings(a, b, bindings=None):
    def go(a, b, bindings):
        while _is_variable(a) and a in bindings:
            a = bindings[a]
        while _is_variable(b) and b in bindings:
            b = bindings[b]
        if a == b:
            return bindings
        if _is_variable(b):
            a, b = b, a
        if _is_variable(a):
            return None if a in _variables(b) else {**bindings, a: b}
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-occurs", says="a variable is equal to itself")
def refuses_itself(a, b, bindings=None):
    def go(a, b, bindings):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if _is_variable(b):
            a, b = b, a
        if _is_variable(a):
            return None if a in _variables(b) else {**bindings, a: b}
        if a == b:
            return bindings
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@wrong("unify", cell="unify-hidden-occurs", says="a value may hold other variables")
def values_hold_no_variable(a, b, bindings=None):
    def go(a, b, bindings):
        a, b = substitute(a, bindings), substitute(b, bindings)
        if a == b:
            return bindings
        if _is_variable(b):
            a, b = b, a
        if _is_variable(a):
            return None if isinstance(b, tuple) and _variables(b) else {**bindings, a: b}
        if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b)):
            return None
        for left, right_ in zip(a, b):
            bindings = go(left, right_, bindings)
            if bindings is None:
                return None
        return bindings

    return go(a, b, {} if bindings is None else bindings)


@right("unify")
def with_a_stack_of_equations(a, b, bindings=None):
    found = dict(bindings or {})
    open_ = [(a, b)]
    while open_:
        left, right_ = (substitute(term, found) for term in open_.pop())
        if left == right_:
            continue
        if _is_variable(left) or _is_variable(right_):
            name, value = (left, right_) if _is_variable(left) else (right_, left)
            if name in _variables(value):
                return None
            found[name] = value
        elif isinstance(left, tuple) and isinstance(right_, tuple) and len(left) == len(right_):
            open_ += zip(left, right_)
        else:
            return None
    return found


@right("unify")
def eager_substitution(a, b, bindings=None):
    """All values are kept free of bound variables."""

    def put(term, name, value):
        if isinstance(term, tuple):
            return tuple(put(part, name, value) for part in term)
        return value if term == name else term

    def go(a, b, found):
        for name, value in found.items():
            a, b = put(a, name, value), put(b, name, value)
        if a == b:
            return found
        if _is_variable(a) and a not in _variables(b):
            return {name: put(value, a, b) for name, value in found.items()} | {a: b}
        if _is_variable(b) and b not in _variables(a):
            return go(b, a, found)
        if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
            for left, right_ in zip(a, b, strict=True):
                found = go(left, right_, found)
                if found is None:
                    return None
            return found
        return None

    start = {name: substitute(value, bindings) for name, value in (bindings or {}).items()}
    return go(a, b, start)


@right("unify")
def by_pattern_matching(a, b, bindings=None):
    def is_name(term):
        return isinstance(term, str) and term.startswith("?")

    def walk(term, found):
        while is_name(term) and term in found:
            term = found[term]
        return term

    def inside(name, term, found):
        term = walk(term, found)
        if isinstance(term, tuple):
            return any(inside(name, part, found) for part in term)
        return term == name

    def go(a, b, found):
        match walk(a, found), walk(b, found):
            case x, y if x == y:
                return found
            case str(x), y if is_name(x):
                return None if inside(x, y, found) else found | {x: y}
            case x, str(y) if is_name(y):
                return None if inside(y, x, found) else found | {y: x}
            case (x, *xs), (y, *ys) if isinstance(walk(a, found), tuple):
                if not isinstance(walk(b, found), tuple):
                    return None
                found = go(x, y, found)
                return None if found is None else go(tuple(xs), tuple(ys), found)
        return None

    return go(a, b, dict(bindings or {}))


@right("unify")
def with_a_queue_and_a_copy(a, b, bindings=None):
    result = {} if bindings is None else bindings.copy()
    work = deque([(a, b)])
    while len(work) > 0:
        x, y = work.popleft()
        x, y = substitute(x, result), substitute(y, result)
        if x == y:
            pass
        elif _is_variable(y):
            if y in _variables(x):
                return None
            result[y] = x
        elif _is_variable(x):
            work.append((y, x))
        elif isinstance(x, tuple) and isinstance(y, tuple):
            if len(x) != len(y):
                return None
            for i in range(len(x)):
                work.append((x[i], y[i]))
        else:
            return None
    return result


# consequences -------------------------------------------------------------------------------------


@wrong(
    "consequences", cell="consequences-hidden-rounds", says="the rules ran only once over the fac"
)
def one_round(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in facts:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    for rule in rules:
        for bindings, premises in ways(rule.conditions, {}, ()):
            fact = substitute(rule.conclusion, bindings)
            reasons.setdefault(fact, []).append((rule.name, rule.certainty, premises))
    return reasons


@wrong(
    "consequences", cell="consequences-hidden-rounds", says="the rules ran only twice over the fa"
)
def two_rounds(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    for _ in range(2):
        known = list(reasons)
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, rule.certainty, premises)
                if reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
    return reasons


@wrong("consequences", cell="consequences-hidden-rounds", says="the given facts are missing")
def only_what_follows(facts, rules):
    reasons = {}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    grows = True
    while grows:
        grows, known = False, list(dict.fromkeys([*facts, *reasons]))
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, rule.certainty, premises)
                if reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
                    grows = True
    return reasons


@wrong(
    "consequences", cell="consequences-hidden-rounds", says="the first rule that brings nothing n"
)
def ends_at_the_first_idle_rule(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    while True:
        for rule in rules:
            known, before = list(reasons), sum(map(len, reasons.values()))
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, rule.certainty, premises)
                if reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
            if sum(map(len, reasons.values())) == before:
                return reasons


@wrong(
    "consequences", cell="consequences-hidden-rounds", says="the conclusion still holds variables"
)
def conclusions_with_variables(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    grows = True
    while grows:
        grows, known = False, list(reasons)
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                reason = (rule.name, rule.certainty, premises)
                if reason not in reasons.setdefault(rule.conclusion, []):
                    reasons[rule.conclusion].append(reason)
                    grows = True
    return reasons


@wrong("consequences", cell="consequences-hidden-rounds", says="a rule was used on one fact only")
def uses_a_rule_once(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            return bindings, premises
        for fact in list(reasons):
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                found = ways(conditions[1:], extended, (*premises, fact))
                if found is not None:
                    return found
        return None

    grows = True
    while grows:
        grows = False
        for rule in rules:
            found = ways(rule.conditions, {}, ())
            if found is not None:
                fact = substitute(rule.conclusion, found[0])
                reason = (rule.name, rule.certainty, found[1])
                if reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
                    grows = True
    return reasons


@wrong(
    "consequences", cell="consequences-hidden-joins", says="the conditions do not share their varia"
)
def conditions_do_not_share(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}
    grows = True
    while grows:
        grows, known = False, list(reasons)
        for rule in rules:
            for premises in product(known, repeat=len(rule.conditions)):
                found = [library.unify(c, f) for c, f in zip(rule.conditions, premises)]
                if None in found:
                    continue
                bindings = {k: v for one in found for k, v in one.items()}
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, rule.certainty, premises)
                if reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
                    grows = True
    return reasons


@wrong(
    "consequences",
    cell="consequences-hidden-joins",
    says="only the first condition of a rule was l",
)
def first_condition_only(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}
    grows = True
    while grows:
        grows, known = False, list(reasons)
        for rule in rules:
            for premise in known:
                bindings = library.unify(rule.conditions[0], premise)
                if bindings is not None:
                    fact = substitute(rule.conclusion, bindings)
                    reason = (rule.name, rule.certainty, (premise,))
                    if reason not in reasons.setdefault(fact, []):
                        reasons[fact].append(reason)
                        grows = True
    return reasons


@wrong(
    "consequences",
    cell="consequences-hidden-joins",
    says="one fact may fit two conditions of a rul",
)
def different_facts_for_conditions(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}
    grows = True
    while grows:
        grows, known = False, list(reasons)
        for rule in rules:
            for premises in permutations(known, len(rule.conditions)):
                bindings = library.unify(rule.conditions, premises)
                if bindings is not None:
                    fact = substitute(rule.conclusion, bindings)
                    reason = (rule.name, rule.certainty, premises)
                    if reason not in reasons.setdefault(fact, []):
                        reasons[fact].append(reason)
                        grows = True
    return reasons


@wrong(
    "consequences",
    cell="consequences-hidden-reasons",
    says="a fact that is known already can still",
)
def first_reason_only(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    grows = True
    while grows:
        grows, known = False, list(reasons)
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                if fact not in reasons:
                    reasons[fact] = [(rule.name, rule.certainty, premises)]
                    grows = True
    return reasons


@wrong(
    "consequences", cell="consequences-hidden-reasons", says="a given fact can also be concluded"
)
def given_facts_get_no_second_reason(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    grows = True
    while grows:
        grows, known = False, list(reasons)
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, rule.certainty, premises)
                if fact not in facts and reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
                    grows = True
    return reasons


@wrong(
    "consequences", cell="consequences-hidden-reasons", says="a new reason replaced the one before"
)
def last_reason_only(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    known = []
    while len(known) < len(reasons):
        known = list(reasons)
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                reasons[fact] = [(rule.name, rule.certainty, premises)]
    return reasons


@wrong(
    "consequences", cell="consequences-hidden-reasons", says="a given fact lost its reason `given`"
)
def given_is_forgotten(facts, rules):
    reasons = {}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    grows = True
    while grows:
        grows, known = False, list(dict.fromkeys([*facts, *reasons]))
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, rule.certainty, premises)
                if reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
                    grows = True
    return {fact: [("given", 1.0, ())] for fact in facts} | reasons


@wrong("consequences", cell="consequences-hidden-reasons", says="given facts have a reason too")
def given_without_reason(facts, rules):
    reasons = {fact: [] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    grows = True
    while grows:
        grows, known = False, list(reasons)
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, rule.certainty, premises)
                if reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
                    grows = True
    return reasons


@wrong(
    "consequences", cell="consequences-hidden-reasons", says="the same reason stands there twice"
)
def a_reason_every_round(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    known = []
    while len(known) < len(reasons):
        known = list(reasons)
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                reasons.setdefault(fact, []).append((rule.name, rule.certainty, premises))
    return reasons


@wrong("consequences", cell="consequences-hidden-reasons", says="is that of its rule, not 1")
def certainty_of_one(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    grows = True
    while grows:
        grows, known = False, list(reasons)
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, 1.0, premises)
                if reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
                    grows = True
    return reasons


@wrong("consequences", cell="consequences-hidden-reasons", says="not the conditions of the rule")
def conditions_for_premises(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings):
        if not conditions:
            yield bindings
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended)

    grows = True
    while grows:
        grows, known = False, list(reasons)
        for rule in rules:
            for bindings in ways(rule.conditions, {}):
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, rule.certainty, rule.conditions)
                if reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
                    grows = True
    return reasons


@wrong("consequences", cell="consequences-hidden-reasons", says="these are turned round")
def premises_turned_round(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (fact, *premises))

    grows = True
    while grows:
        grows, known = False, list(reasons)
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, rule.certainty, premises)
                if reason not in reasons.setdefault(fact, []):
                    reasons[fact].append(reason)
                    grows = True
    return reasons


@wrong(
    "consequences",
    cell="consequences-hidden-reasons",
    says="shows up in a later round was not noted",
)
def reasons_of_the_first_round_of_a_fact(facts, rules):
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(conditions, bindings, premises):
        if not conditions:
            yield bindings, premises
            return
        for fact in known:
            extended = library.unify(conditions[0], fact, bindings)
            if extended is not None:
                yield from ways(conditions[1:], extended, (*premises, fact))

    first, grows = True, True
    while grows:
        grows, known = False, list(reasons)
        new = {}
        for rule in rules:
            for bindings, premises in ways(rule.conditions, {}, ()):
                fact = substitute(rule.conclusion, bindings)
                if first or fact not in reasons:
                    new.setdefault(fact, []).append((rule.name, rule.certainty, premises))
        for fact, found in new.items():
            grows = grows or fact not in reasons
            reasons[fact] = reasons.get(fact, []) + found
        first = False
    return reasons


@right("consequences")
def whole_premises_at_once(facts, rules):
    """Tries every tuple of facts; the conditions are unified as one tuple."""
    reasons = {fact: [("given", 1.0, ())] for fact in facts}
    before = -1
    while before != sum(map(len, reasons.values())):
        before = sum(map(len, reasons.values()))
        known = list(reasons)
        for rule in rules:
            for premises in product(known, repeat=len(rule.conditions)):
                bindings = library.unify(tuple(rule.conditions), premises)
                if bindings is None:
                    continue
                noted = reasons.setdefault(substitute(rule.conclusion, bindings), [])
                if (rule.name, rule.certainty, premises) not in noted:
                    noted.append((rule.name, rule.certainty, premises))
    return reasons


@right("consequences")
def breadth_first_per_condition(facts, rules):
    """Extends all partial matches by one condition after the other, with sets of reasons."""
    reasons = {fact: {("given", 1.0, ())} for fact in facts}
    while True:
        found = set()
        for rule in rules:
            partial = [({}, ())]
            for condition in rule.conditions:
                partial = [
                    (extended, (*premises, fact))
                    for bindings, premises in partial
                    for fact in reasons
                    if (extended := library.unify(condition, fact, bindings)) is not None
                ]
            for bindings, premises in partial:
                fact = substitute(rule.conclusion, bindings)
                found.add((fact, (rule.name, rule.certainty, premises)))
        new = {(f, r) for f, r in found if r not in reasons.get(f, ())}
        if not new:
            return {fact: list(noted) for fact, noted in reasons.items()}
        for fact, reason in new:
            reasons.setdefault(fact, set()).add(reason)


@right("consequences")
def one_new_fact_at_a_time(facts, rules):
    """An agenda: each new fact is tried in each place of each rule."""
    reasons, agenda, known = {}, deque(), []
    for fact in facts:
        reasons[fact] = [("given", 1.0, ())]
        agenda.append(fact)

    def ways(conditions, bindings, premises, fact, place):
        number = len(premises)
        if number == len(conditions):
            yield bindings, premises
            return
        for other in [fact] if number == place else known:
            extended = library.unify(substitute(conditions[number], bindings), other, bindings)
            if extended is not None:
                yield from ways(conditions, extended, premises + (other,), fact, place)

    while agenda:
        fact = agenda.popleft()
        if fact in known:
            continue
        known.append(fact)
        for rule in rules:
            for place in range(len(rule.conditions)):
                for bindings, premises in ways(rule.conditions, {}, (), fact, place):
                    new = substitute(rule.conclusion, bindings)
                    reason = (rule.name, rule.certainty, premises)
                    if new not in reasons:
                        reasons[new] = []
                        agenda.append(new)
                    if reason not in reasons[new]:
                        reasons[new].append(reason)
    return reasons


@right("consequences")
def by_lists_of_lists(facts, rules):
    """No generators: every way as a list, every reason with its premises as lists turned tuples."""
    reasons = {fact: [("given", 1.0, ())] for fact in facts}

    def ways(rule, known, bindings, premises):
        rest = list(rule.conditions)[len(premises) :]
        if rest == []:
            return [(bindings, premises)]
        pattern = substitute(rest[0], bindings)
        found = []
        for fact in known:
            extended = library.unify(fact, pattern, bindings)
            if extended is not None:
                found = found + ways(rule, known, extended, [*premises, fact])
        return found

    new = True
    while new:
        new = []
        for rule in rules:
            for bindings, premises in ways(rule, list(reasons), {}, []):
                fact = substitute(rule.conclusion, bindings)
                reason = (rule.name, rule.certainty, tuple(premises))
                if fact not in reasons or reason not in reasons[fact]:
                    new.append((fact, reason))
        for fact, reason in dict.fromkeys(new):
            reasons[fact] = [*reasons.get(fact, []), reason]
    return reasons


# prove_repaired -----------------------------------------------------------------------------------


@wrong(
    "prove_repaired", cell="prove_repaired-hidden-rules", says="variables of the question and those"
)
def not_repaired(goal, facts, rules):
    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            new = library.unify(first, rule.conclusion, bound)
            if new is not None:
                yield from prove([*rule.conditions, *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong(
    "prove_repaired", cell="prove_repaired-hidden-rules", says="two rules that use the same names"
)
def renames_the_question(goal, facts, rules):
    goal = substitute(goal, {v: f"{v}0" for v in _variables(goal)})

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            new = library.unify(first, rule.conclusion, bound)
            if new is not None:
                yield from prove([*rule.conditions, *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong(
    "prove_repaired", cell="prove_repaired-hidden-rules", says="two rules that use the same names"
)
def the_same_new_names_for_all(goal, facts, rules):
    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            fresh = {v: f"{v}1" for v in _variables((rule.conditions, rule.conclusion))}
            new = library.unify(first, substitute(rule.conclusion, fresh), bound)
            if new is not None:
                yield from prove([*substitute(rule.conditions, fresh), *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong("prove_repaired", cell="prove_repaired-hidden-rules", says="a rule got new names once")
def renames_each_rule_once(goal, facts, rules):
    own = []
    for k, rule in enumerate(rules):
        fresh = {v: f"{v}{k}" for v in _variables(rule.conditions)}
        own.append((substitute(rule.conclusion, fresh), substitute(rule.conditions, fresh)))

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for conclusion, conditions in own:
            new = library.unify(first, conclusion, bound)
            if new is not None:
                yield from prove([*conditions, *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong(
    "prove_repaired",
    cell="prove_repaired-hidden-rules",
    says="conclusion and conditions of one use",
)
def renames_the_conclusion_only(goal, facts, rules):
    numbers = count()

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            k = next(numbers)
            fresh = {v: f"{v}{k}" for v in _variables(rule.conclusion)}
            new = library.unify(first, substitute(rule.conclusion, fresh), bound)
            if new is not None:
                yield from prove([*rule.conditions, *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong(
    "prove_repaired",
    cell="prove_repaired-hidden-rules",
    says="conclusion and conditions of one use",
)
def a_number_for_each_pattern(goal, facts, rules):
    numbers = count()

    def renamed(pattern):
        k = next(numbers)
        return substitute(pattern, {v: f"{v}{k}" for v in _variables(pattern)})

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            new = library.unify(first, renamed(rule.conclusion), bound)
            if new is not None:
                yield from prove([*map(renamed, rule.conditions), *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong(
    "prove_repaired",
    cell="prove_repaired-hidden-rules",
    says="are its words renamed too, and not",
)
def renames_words_too(goal, facts, rules):
    numbers = count()

    def renamed(term, k):
        if isinstance(term, tuple):
            return tuple(renamed(part, k) for part in term)
        return f"{term}{k}"

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            k = next(numbers)
            new = library.unify(first, renamed(rule.conclusion, k), bound)
            if new is not None:
                yield from prove([*renamed(rule.conditions, k), *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong("prove_repaired", cell="prove_repaired-hidden-rules", says="variables inside inner tuples")
def renames_the_top_level(goal, facts, rules):
    numbers = count()

    def renamed(pattern, k):
        return tuple(f"{part}{k}" if _is_variable(part) else part for part in pattern)

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            k = next(numbers)
            new = library.unify(first, renamed(rule.conclusion, k), bound)
            if new is not None:
                conditions = [renamed(condition, k) for condition in rule.conditions]
                yield from prove([*conditions, *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong("prove_repaired", cell="prove_repaired-hidden-rules", says="the rules must still be tried")
def facts_or_rules(goal, facts, rules):
    numbers = count()

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        fitting = [new for fact in facts if (new := library.unify(first, fact, bound)) is not None]
        for new in fitting:
            yield from prove(rest, new)
        if fitting:
            return
        for rule in rules:
            k = next(numbers)
            fresh = {v: f"{v}{k}" for v in _variables((rule.conditions, rule.conclusion))}
            new = library.unify(first, substitute(rule.conclusion, fresh), bound)
            if new is not None:
                yield from prove([*substitute(rule.conditions, fresh), *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong("prove_repaired", cell="prove_repaired-hidden-rules", says="only one answer came back")
def first_answer_only(goal, facts, rules):
    numbers = count()

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            k = next(numbers)
            fresh = {v: f"{v}{k}" for v in _variables((rule.conditions, rule.conclusion))}
            new = library.unify(first, substitute(rule.conclusion, fresh), bound)
            if new is not None:
                yield from prove([*substitute(rule.conditions, fresh), *rest], new)

    for bound in prove([goal], {}):
        return [substitute(goal, bound)]
    return []


@wrong("prove_repaired", cell="prove_repaired-hidden-rules", says="in two ways came back twice")
def answers_as_often_as_proved(goal, facts, rules):
    numbers = count()

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            k = next(numbers)
            fresh = {v: f"{v}{k}" for v in _variables((rule.conditions, rule.conclusion))}
            new = library.unify(first, substitute(rule.conclusion, fresh), bound)
            if new is not None:
                yield from prove([*substitute(rule.conditions, fresh), *rest], new)

    return [substitute(goal, bound) for bound in prove([goal], {})]


@wrong("prove_repaired", cell="prove_repaired-hidden-rules", says="these are bindings")
def bindings_for_answers(goal, facts, rules):
    numbers = count()

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            k = next(numbers)
            fresh = {v: f"{v}{k}" for v in _variables((rule.conditions, rule.conclusion))}
            new = library.unify(first, substitute(rule.conclusion, fresh), bound)
            if new is not None:
                yield from prove([*substitute(rule.conditions, fresh), *rest], new)

    return [{v: substitute(v, bound) for v in _variables(goal)} for bound in prove([goal], {})]


@wrong("prove_repaired", cell="prove_repaired-hidden-rules", says="still to be proved got lost")
def forgets_the_rest(goal, facts, rules):
    numbers = count()

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            k = next(numbers)
            fresh = {v: f"{v}{k}" for v in _variables((rule.conditions, rule.conclusion))}
            new = library.unify(first, substitute(rule.conclusion, fresh), bound)
            if new is not None:
                yield from prove([*substitute(rule.conditions, fresh)], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong("prove_repaired", cell="prove_repaired-hidden-rules", says="what was found so far got lost")
def forgets_the_bindings(goal, facts, rules):
    numbers = count()

    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            k = next(numbers)
            fresh = {v: f"{v}{k}" for v in _variables((rule.conditions, rule.conclusion))}
            new = library.unify(first, substitute(rule.conclusion, fresh))
            if new is not None:
                yield from prove([*substitute(rule.conditions, fresh), *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong(
    "prove_repaired", cell="prove_repaired-hidden-recursion", says="the search gave up 4 steps away"
)
def gives_up_after_four_uses(goal, facts, rules):
    def prove(goals, bound, depth):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new, depth)
        if depth == 4:
            return
        for rule in rules:
            fresh = {v: f"{v}{depth}" for v in _variables((rule.conditions, rule.conclusion))}
            new = library.unify(first, substitute(rule.conclusion, fresh), bound)
            if new is not None:
                yield from prove([*substitute(rule.conditions, fresh), *rest], new, depth + 1)

    found = {}
    for bound in prove([goal], {}, 0):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong(
    "prove_repaired", cell="prove_repaired-hidden-recursion", says="used within itself still shares"
)
def numbers_by_the_goals_left(goal, facts, rules):
    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            k = len(goals)
            fresh = {v: f"{v}{k}" for v in _variables((rule.conditions, rule.conclusion))}
            new = library.unify(first, substitute(rule.conclusion, fresh), bound)
            if new is not None:
                yield from prove([*substitute(rule.conditions, fresh), *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@wrong(
    "prove_repaired",
    cell="prove_repaired-hidden-recursion",
    says="got new names once; it needs new",
)
def names_by_the_rule(goal, facts, rules):
    def prove(goals, bound):
        if not goals:
            yield bound
            return
        first, *rest = goals
        for fact in facts:
            new = library.unify(first, fact, bound)
            if new is not None:
                yield from prove(rest, new)
        for rule in rules:
            k = rules.index(rule)
            fresh = {v: f"{v}{k}" for v in _variables((rule.conditions, rule.conclusion))}
            new = library.unify(first, substitute(rule.conclusion, fresh), bound)
            if new is not None:
                yield from prove([*substitute(rule.conditions, fresh), *rest], new)

    found = {}
    for bound in prove([goal], {}):
        found[substitute(goal, bound)] = True
    return list(found)


@right("prove_repaired")
def numbered_by_depth(goal, facts, rules):
    def rename(term, depth):
        if isinstance(term, tuple):
            return tuple([rename(part, depth) for part in term])
        if isinstance(term, str) and term.startswith("?"):
            return f"?{depth}{term[1:]}"
        return term

    def prove(goals, bound, depth):
        if goals == []:
            yield substitute(goal, bound)
            return
        for fact in facts:
            new = library.unify(goals[0], fact, bound)
            if new is not None:
                yield from prove(goals[1:], new, depth)
        for rule in rules:
            new = library.unify(goals[0], rename(rule.conclusion, depth), bound)
            if new is not None:
                conditions = [rename(condition, depth) for condition in rule.conditions]
                yield from prove(conditions + goals[1:], new, depth + 1)

    return sorted(set(prove([goal], {}, 1)), key=repr)


@right("prove_repaired")
def with_a_stack(goal, facts, rules):
    uses, found = 0, []
    stack = [((goal,), {})]
    while stack:
        goals, bound = stack.pop()
        if not goals:
            answer = substitute(goal, bound)
            if answer not in found:
                found.append(answer)
            continue
        for fact in facts:
            new = library.unify(goals[0], fact, bound)
            if new is not None:
                stack.append((goals[1:], new))
        for rule in rules:
            uses += 1
            names = _variables((rule.conclusion, *rule.conditions))
            fresh = dict(zip(names, (f"?new{uses}x{i}" for i in range(len(names)))))
            new = library.unify(goals[0], substitute(rule.conclusion, fresh), bound)
            if new is not None:
                stack.append((substitute(rule.conditions, fresh) + goals[1:], new))
    return found


@right("prove_repaired")
def forwards_to_the_end(goal, facts, rules):
    """Draws every conclusion and picks those that fit."""
    known = list(dict.fromkeys(facts))
    for _ in iter(lambda: len(known), None):
        before = len(known)
        for rule in rules:
            partial = [{}]
            for condition in rule.conditions:
                partial = [
                    more
                    for bound in partial
                    for fact in known
                    if (more := library.unify(condition, fact, bound)) is not None
                ]
            for bound in partial:
                fact = substitute(rule.conclusion, bound)
                if fact not in known:
                    known.append(fact)
        if len(known) == before:
            return [fact for fact in known if library.unify(goal, fact) is not None]


@right("prove_repaired")
def each_goal_by_itself(goal, facts, rules):
    """Solves one goal for ground answers, then the next one under what it found."""
    numbers = count()

    def solve(goal):
        found = [fact for fact in facts if library.unify(goal, fact) is not None]
        for rule in rules:
            k = next(numbers)
            fresh = {v: f"{v}_{k}" for v in _variables(rule.conditions)}
            start = library.unify(substitute(rule.conclusion, fresh), goal)
            states = [] if start is None else [start]
            for condition in substitute(rule.conditions, fresh):
                states = [
                    library.unify(condition, fact, state)
                    for state in states
                    for fact in solve(substitute(condition, state))
                ]
            found += [substitute(substitute(rule.conclusion, fresh), s) for s in states]
        return list(dict.fromkeys(found))

    return solve(goal)
