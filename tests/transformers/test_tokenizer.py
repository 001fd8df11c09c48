"""The tokenizer: beside the kept ones, as properties of any text, by hand, and at its limits."""

import copy
import json
import random
from collections import Counter
from itertools import pairwise

import pytest
import regex
import tiktoken
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from fmbook import data, records
from fmbook.records import tokenizer as recipe
from fmbook.transformers.tokenizer import (
    Tokenizer,
    join,
    learn_merges,
    learn_word_pieces,
    longest_pieces,
    replay,
)
from fmbook.vocabularies import (
    BERT_PATTERN,
    GPT2_PATTERN,
    SMOLLM2_PATTERN,
    from_json,
    from_symbols,
    gpt2,
    to_symbols,
)

few = settings(max_examples=100, deadline=None)
# characters that are new in Unicode are letters to one tool, unassigned to another
known = st.characters(exclude_categories=["Cs", "Cn"])
strings = st.text(known, max_size=60) | st.text("aab '1é\n", max_size=60)
PLAYS = "".join(data.shakespeare().values())
SAMPLE = PLAYS[:120_000]


def ours(count: int = 500, text: str = SAMPLE) -> Tokenizer:
    return Tokenizer(learn_merges(text, count))


def theirs(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """Hugging Face's, given our merges and ids."""
    ids = {to_symbols(piece): id for piece, id in tokenizer.vocabulary.items()}
    merges = [(to_symbols(a), to_symbols(b)) for a, b in tokenizer.merges]
    made = tokenizers.Tokenizer(models.BPE(ids, merges))
    split = pre_tokenizers.Split(Regex(tokenizer.pattern), "isolated")
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_of])
    made.decoder = decoders.ByteLevel()
    return made


def ranked(tokenizer: Tokenizer) -> tiktoken.Encoding:
    """tiktoken's, given our ids as ranks."""
    special = {name: tokenizer.vocabulary[name.encode()] for name in tokenizer.special}
    ranks = {p: id for p, id in tokenizer.vocabulary.items() if id not in special.values()}
    return tiktoken.Encoding(
        "ours", pat_str=tokenizer.pattern, mergeable_ranks=ranks, special_tokens=special
    )


def gpt2_tokenizer() -> Tokenizer:
    merges, vocabulary = gpt2()
    ids = {from_symbols(piece): id for piece, id in vocabulary.items()}
    halves = [line.split(" ") for line in merges]
    pairs = [(from_symbols(a), from_symbols(b)) for a, b in halves]
    return Tokenizer(pairs, ids, special=["<|endoftext|>"])


LEARNED, GPT2 = ours(), gpt2_tokenizer()
SMALL_HF, SMALL_TIK, GPT2_HF, GPT2_TIK = (
    theirs(LEARNED),
    ranked(LEARNED),
    theirs(GPT2),
    ranked(GPT2),
)


# --- oracle: what others compute


@few
@given(strings)
@example("  two  spaces, a\u3000b, don't 'll 1234 ½ \n\n x\x1f\x85 🎉🏳️‍🌈")
def test_ids_equal_those_of_tokenizers_and_tiktoken(text: str) -> None:
    for mine, hf, tik in ((LEARNED, SMALL_HF, SMALL_TIK), (GPT2, GPT2_HF, GPT2_TIK)):
        ids = mine.encode(text)
        assert ids == hf.encode(text).ids
        assert ids == tik.encode_ordinary(text)


def test_ids_equal_theirs_on_real_text() -> None:
    pages = "\n".join(page.text for page in data.encyclopedia()[:300])
    for text in (pages, PLAYS[-200_000:]):
        for mine, hf, tik in ((LEARNED, SMALL_HF, SMALL_TIK), (GPT2, GPT2_HF, GPT2_TIK)):
            assert mine.encode(text) == hf.encode(text).ids == tik.encode_ordinary(text)


def test_the_merges_are_those_that_tokenizers_learns() -> None:
    """The Rust trainer breaks ties by the order of characters: bytes are given it as such."""
    wide = str.maketrans({chr(b): chr(0x4E00 + b) for b in range(256)})
    words = [
        w.encode().decode("latin-1").translate(wide) for w in regex.findall(GPT2_PATTERN, SAMPLE)
    ]
    rust = tokenizers.Tokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    rust.train_from_iterator(
        [" ".join(words)],
        trainers.BpeTrainer(vocab_size=100_000, min_frequency=2, show_progress=False),
    )
    learned = json.loads(rust.to_str())["model"]["merges"]
    narrow = [tuple(bytes(ord(c) - 0x4E00 for c in half) for half in pair) for pair in learned]
    assert len(narrow) > 3_000
    assert learn_merges(SAMPLE, 100_000) == narrow


def test_smollm2s_pattern_splits_as_its_two_steps_do() -> None:
    """Its file asks for digits alone first, then GPT-2's pattern on what lies between."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    steps = pre_tokenizers.Sequence([digits, pre_tokenizers.Split(Regex(GPT2_PATTERN), "isolated")])

    @few
    @given(strings | st.text(" 1a\n\t'½", max_size=20))
    def check(text: str) -> None:
        assert regex.findall(SMOLLM2_PATTERN, text) == [w for w, _ in steps.pre_tokenize_str(text)]

    check()


def test_word_pieces_are_those_of_tokenizers() -> None:
    pieces = learn_word_pieces(SAMPLE[:40_000], 200)
    hf = tokenizers.Tokenizer(
        models.WordPiece({p: i for i, p in enumerate(pieces)}, max_input_chars_per_word=1_000)
    )
    words = [*regex.findall(BERT_PATTERN, PLAYS[300000:360000]), "zürich", "q", "a" * 90]
    hf.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    mine = [piece for word in words for piece in longest_pieces(word, set(pieces))]
    assert mine == hf.encode(" ".join(words)).tokens
    assert "[UNK]" in mine


# --- property: what holds for any text


@few
@given(strings, st.integers(0, 60))
def test_every_text_survives_the_round_trip(text: str, count: int) -> None:
    for tokenizer in (Tokenizer(learn_merges(text, count)), LEARNED, GPT2):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert len(ids) <= len(text.encode())


@few
@given(strings, st.integers(1, 30))
def test_incremental_counts_choose_as_recounting_does(text: str, count: int) -> None:
    words = Counter(regex.findall(GPT2_PATTERN, text))
    split = {word: list(word.encode()) for word in words}
    pieces, merges = [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen: Counter[tuple[int, int]] = Counter()
        for word, n in words.items():
            for pair in pairwise(split[word]):
                seen[pair] += n
        pair = min(seen, key=lambda pair: (-seen[pair], pair), default=None)
        if pair is None or seen[pair] < 2:
            break
        joined = pieces[pair[0]] + pieces[pair[1]]
        if joined not in pieces:
            pieces.append(joined)
        merges.append((pieces[pair[0]], pieces[pair[1]]))
        split = {w: join(ids, pair, pieces.index(joined)) for w, ids in split.items()}
    assert learn_merges(text, count) == merges


@few
@given(strings, st.integers(0, 20), st.integers(0, 20))
def test_fewer_merges_are_the_beginning_of_more(text: str, few_: int, more: int) -> None:
    assert learn_merges(text, few_ + more)[:few_] == learn_merges(text, few_)


@few
@given(strings)
def test_the_saved_form_is_the_same_tokenizer(text: str) -> None:
    pattern = SMOLLM2_PATTERN
    saved = Tokenizer(LEARNED.merges, pattern=pattern, special=["<end>", "<|endoftext|>"])
    again = Tokenizer.from_json(saved.to_json())
    assert again.encode(text + "<end>", special=True) == saved.encode(text + "<end>", special=True)
    assert (again.pieces, again.merges, again.special, again.pattern) == (
        saved.pieces,
        saved.merges,
        saved.special,
        saved.pattern,
    )


# --- worked examples


def test_sennrichs_example_learns_his_merges() -> None:
    """The dictionary of the paper's algorithm 1, here on bytes and without an end of the word."""
    text = "low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3
    merges = learn_merges(text, 3, pattern=r"\S+")
    assert merges == [(b"e", b"s"), (b"es", b"t"), (b"l", b"o")]


def test_gpt2s_vocabulary_reads_as_published() -> None:
    assert len(GPT2) == 50_257
    assert len(GPT2.merges) == 50_000
    assert GPT2.pieces[50_256] == b"<|endoftext|>"
    assert GPT2.encode("Hello world") == [15496, 995]
    assert GPT2.encode("a<|endoftext|>b", special=True) == [64, 50256, 65]
    assert 50_256 not in GPT2.encode("a<|endoftext|>b")


def test_replay_takes_the_first_learned_pair_not_the_leftmost() -> None:
    assert replay([0, 1, 2], {(1, 2): (0, 3), (0, 1): (1, 4)}) == [0, 3]
    assert replay([0, 1, 2], {(1, 2): (1, 3), (0, 1): (0, 4)}) == [4, 2]


# --- limits


def test_the_empty_text_and_the_single_byte() -> None:
    assert learn_merges("", 5) == learn_merges("a", 5) == learn_merges("ab", 0) == []
    assert LEARNED.encode("") == []
    assert LEARNED.decode([]) == ""
    assert replay([], {}) == []
    assert join([], (1, 2), 3) == []
    assert longest_pieces("", {"a"}) == []
    assert learn_word_pieces("", 5) == ["[UNK]"]


def test_half_a_character_is_shown_as_such() -> None:
    plain = Tokenizer([])
    assert plain.decode(plain.encode("é")[:1]) == "\ufffd"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: learn_merges("a", -1), "must not be negative"),
        (lambda: learn_word_pieces("a", -1), "must not be negative"),
        (lambda: Tokenizer([(b"ab", b"c")]), "merge 0, b'ab'"),
        (lambda: Tokenizer([(b"a", b"b")], {b"a": 0, b"b": 1}), "merge 0"),
        (lambda: Tokenizer([], {b"a": 0, b"b": 2}), "must be 0 to 1"),
        (lambda: Tokenizer([], {b"a": 0}, special=["<end>"]), "without an id"),
        (lambda: Tokenizer([], {b"a": 0}).encode("b"), "lacks the byte"),
        (lambda: Tokenizer([], pattern="a").encode("ab"), "leaves some of the text out"),
        (lambda: LEARNED.encode("\ud800"), "surrogates not allowed"),
        (lambda: LEARNED.decode([-1]), "got -1"),
        (lambda: LEARNED.decode([len(LEARNED)]), f"got {len(LEARNED)}"),
        (lambda: from_symbols("a b"), "stands for no byte"),
    ],
)
def test_what_cannot_be_is_said_at_once(make, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_one_long_word_is_no_trap() -> None:
    letters = random.Random(0).choices("etaoinshrdlu", k=5_000)
    text = "".join(letters)
    assert LEARNED.encode(text) == SMALL_HF.encode(text).ids
    assert copy.deepcopy(LEARNED).encode("low") == LEARNED.encode("low")


def test_json_reads_back_what_gpt2s_files_hold() -> None:
    merges, vocabulary, pattern, special = from_json(GPT2.to_json())
    assert (len(merges), len(vocabulary), pattern, special) == (
        50_000,
        50_257,
        GPT2_PATTERN,
        ["<|endoftext|>"],
    )


# --- cost, and what was recorded


@pytest.mark.alone
def test_learning_and_encoding_keep_their_distance_to_the_peers() -> None:
    """4,000 merges of 1 MB, and encoding it; every library has its turn, one thread each."""
    taken = recipe.peers(turns=3)
    ratios = {name: taken[name.split("_")[0]] / seconds for name, seconds in taken.items()}
    print({name: round(ratio, 2) for name, ratio in ratios.items()}, taken)
    assert taken["learn"] < 3
    assert ratios["learn_tokenizers"] < 7
    assert ratios["encode_tokenizers"] < 1


def test_the_record_says_what_the_chapter_says() -> None:
    bits = {
        m: [run["bits"] for run in runs] for m, runs in records.load("tokenizer")["text"].items()
    }
    assert max(bits["250"] + bits["1000"]) < min(bits["0"] + bits["4000"])
    assert {len(runs) for runs in bits.values()} == {3}


def test_characters_are_counted_once_whatever_the_pieces() -> None:
    text = "naïve 人人 🎉 To be"
    for merges in (0, 250):
        ids = recipe.torch.tensor(recipe.tokenizer(merges).encode(text))
        assert recipe.characters(ids, merges) == len(text)
