"""Winnowing: a copy is found whatever was renamed, and honest answers of their own are not."""

import random
import time

import pytest

from fmbook.grading.similar import GRAM, LEAST, WINDOW, fingerprints, pairs
from tests.bank import exercises, source

ANSWER = '''
def attention(query, key, value, mask=None):
    """Weights by similarity."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = scores.softmax(-1)
    for row in range(3):
        if weights[row].isnan().any() and not mask[row].any():
            weights[row] = 0.0
    return weights @ value, weights
'''
RENAMED = (
    ANSWER.replace("scores", "s")
    .replace("weights", "probabilities")
    .replace("query", "q")
    .replace('"""Weights by similarity."""', "'mine, all of it'")
    .replace("    return", "    # what comes out\n\n    return")
)


def test_names_comments_strings_and_spacing_do_not_count() -> None:
    assert fingerprints(ANSWER) == fingerprints(RENAMED)
    assert fingerprints(ANSWER) == fingerprints(ANSWER.replace("    ", "  "))
    assert fingerprints(ANSWER) != fingerprints(ANSWER.replace("softmax(-1)", "exp() - 1"))


def test_what_is_shared_over_a_window_is_always_found() -> None:
    """The guarantee of the paper: w + k - 1 tokens in common leave a fingerprint in common."""
    draw, words = random.Random(0), ["if", "for", "while", "in", "not", "+", "-", "(", ")", ":"]
    for _ in range(200):
        shared = [draw.choice(words) for _ in range(GRAM + WINDOW - 1)]
        one, other = (
            " ".join(draw.choices(words, k=draw.randrange(30)) + shared + draw.choices(words, k=9))
            for _ in range(2)
        )
        assert fingerprints(one) & fingerprints(other)


def test_a_renamed_copy_stands_first_and_the_given_text_is_nobody_s() -> None:
    others = {e.stem: source(e, e.answers[0]) for e in exercises()}
    found = pairs({**others, "ada": ANSWER, "bob": RENAMED})
    assert (found[0].one, found[0].other, found[0].share) == ("ada", "bob", 1.0)
    assert found[0].shared >= LEAST
    assert all({p.one, p.other} == {"ada", "bob"} or p.share < 1 for p in found)
    assert pairs({"ada": ANSWER, "bob": RENAMED}, given=[ANSWER]) == []


def test_what_many_share_is_an_idiom() -> None:
    assert pairs({f"s{i}": ANSWER for i in range(13)}) == []
    assert len(pairs({f"s{i}": ANSWER for i in range(3)})) == 3


HOSTILE = ["", "(" * 60_000, "'" * 60_000, '"""' * 20_000, "\\" * 60_000, '"\\' * 30_000]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_odd_texts_take_no_time(hostile: str) -> None:
    start = time.process_time()
    assert len(fingerprints(hostile)) < 30_000
    assert time.process_time() - start < 2
    assert pairs({"a": hostile, "b": hostile, "c": ANSWER}) is not None
