"""Attention: what the theory says of it, beside torch, by hand, and at its limits."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmbook import records
from fmbook.records import attention as recipe
from fmbook.transformers.attention import (
    AttentionOnly,
    MultiHeadAttention,
    attention,
    causal_mask,
    head_scores,
    repeated_tokens,
    rotate,
    sinusoidal_positions,
)

few = settings(max_examples=25, deadline=None)
sizes, seeds = st.integers(1, 7), st.integers(0, 10_000)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def same(got: Tensor, want: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(got, want, atol=tolerance, rtol=0)


# --- oracle: what others compute


@few
@given(sizes, sizes, sizes, seeds, st.booleans())
def test_attention_agrees_with_torch(T: int, S: int, K: int, seed: int, masked: bool) -> None:
    q, k, v = normal(2, 3, T, K, seed=seed), normal(2, 3, S, K, seed=seed + 1), normal(2, 3, S, 5)
    mask = normal(T, S, seed=seed) > 0 if masked else None
    if mask is not None:
        mask[:, 0] = True  # everyone may see something
    same(attention(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


@pytest.mark.parametrize(("T", "K", "error"), [(16, 8, 2e-6), (16, 64, 4e-6), (128, 64, 5e-6)])
def test_float32_stays_within_its_measured_error(T: int, K: int, error: float) -> None:
    q, k, v = (normal(4, T, K, seed=seed) for seed in range(3))
    got = attention(q.float(), k.float(), v.float())
    assert got.dtype == torch.float32
    same(got.double(), attention(q, k, v), error)


@pytest.mark.parametrize("N", [1, 2, 4])
def test_heads_agree_with_torch(N: int) -> None:
    ours = MultiHeadAttention(8, N).double()
    torchs = nn.MultiheadAttention(8, N, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(
            torch.cat([ours.query.weight, ours.key.weight, ours.value.weight])
        )
        torchs.out_proj.weight.copy_(ours.output.weight)
    x, context = normal(2, 5, 8), normal(2, 7, 8, seed=1)
    want, weights = torchs(x, context, context)  # torch gives the mean over heads
    same(ours(x, context), want)
    same(ours.weights(x, context).mean(1), weights)
    same(ours(x), torchs(x, x, x)[0])


def test_rotation_is_multiplication_by_a_complex_number_of_length_one() -> None:
    x = normal(3, 9, 6)
    turns = [[t / 10_000 ** (2 * i / 6) for i in range(3)] for t in range(9)]
    angles = torch.tensor(turns, dtype=torch.float64)
    pairs = torch.view_as_complex(x.unflatten(-1, (3, 2)))
    want = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    same(rotate(x), want)


# --- property: what holds for any input


@few
@given(sizes, sizes, seeds)
def test_each_query_weighs_the_keys_with_a_sum_of_one(T: int, S: int, seed: int) -> None:
    q, k = normal(T, 4, seed=seed), normal(S, 4, seed=seed + 1)
    weights = attention(q, k, torch.eye(S, dtype=torch.float64))
    assert (weights >= 0).all()
    same(weights.sum(-1), torch.ones(T, dtype=torch.float64))


@few
@given(sizes, seeds)
def test_the_mean_lies_between_the_values(S: int, seed: int) -> None:
    q, k, v = normal(3, 4, seed=seed), normal(S, 4, seed=seed + 1), normal(S, 2, seed=seed + 2)
    out = attention(q, k, v)
    assert (out <= v.amax(0) + 1e-12).all()
    assert (out >= v.amin(0) - 1e-12).all()


@few
@given(st.integers(2, 8), seeds, st.booleans())
def test_the_past_does_not_depend_on_the_future(T: int, seed: int, rotary: bool) -> None:
    heads = MultiHeadAttention(8, 2, causal=True, rotary=rotary).double()
    x, changed = normal(1, T, 8, seed=seed), normal(1, T, 8, seed=seed)
    now = seed % T
    changed[:, now:] = normal(1, T - now, 8, seed=seed + 1)
    same(heads(changed)[:, :now], heads(x)[:, :now])
    assert (heads(changed) - heads(x))[:, now:].abs().max() > 1e-6


@few
@given(st.integers(2, 8), seeds)
def test_without_positions_a_shuffle_of_words_shuffles_the_outputs(T: int, seed: int) -> None:
    heads = MultiHeadAttention(8, 2).double()
    x = normal(1, T, 8, seed=seed)
    order = torch.randperm(T, generator=torch.Generator().manual_seed(seed))
    same(heads(x[:, order]), heads(x)[:, order])


def test_one_causal_layer_sees_a_set_and_two_see_an_order() -> None:
    first, second = (MultiHeadAttention(8, 2, causal=True).double() for _ in range(2))
    x = normal(1, 5, 8)
    y = x[:, [2, 0, 3, 1, 4]]
    a, b = x + first(x), y + first(y)
    same(a[:, -1], b[:, -1])
    assert ((a + second(a)) - (b + second(b)))[:, -1].abs().max() > 1e-6


@few
@given(st.integers(1, 20), seeds)
def test_rotary_scores_depend_on_distance_only(shift: int, seed: int) -> None:
    q, k = normal(2, 1, 8, seed=seed).expand(2, 30, 8)
    scores = rotate(q) @ rotate(k).mT
    same(scores[shift:, shift:], scores[:-shift, :-shift])


def test_rotary_heads_turn_queries_and_keys_and_leave_values() -> None:
    heads = MultiHeadAttention(8, 2, rotary=True).double()
    x = normal(1, 5, 8)
    q, k, v = (f(x).split(4, -1) for f in (heads.query, heads.key, heads.value))
    parts = [attention(rotate(q[n]), rotate(k[n]), v[n]) for n in range(2)]
    same(heads(x), heads.output(torch.cat(parts, -1)))


def test_rotary_scores_do_depend_on_distance() -> None:
    q, k = normal(2, 1, 8).expand(2, 30, 8)
    assert (rotate(q) @ rotate(k).mT)[0].std() > 0.1


@few
@given(st.integers(1, 9), seeds)
def test_a_turn_keeps_lengths_and_the_first_position(T: int, seed: int) -> None:
    x = normal(2, T, 6, seed=seed)
    same(rotate(x).norm(dim=-1), x.norm(dim=-1))
    same(rotate(x)[:, 0], x[:, 0])


def test_sinusoidal_positions_a_step_apart_differ_by_one_fixed_linear_map() -> None:
    p = sinusoidal_positions(50, 8).double()
    step = torch.linalg.lstsq(p[:-1], p[1:]).solution
    same(p[:-1] @ step, p[1:], 1e-5)
    assert torch.cdist(p, p).fill_diagonal_(9).min() > 0.1  # and no two are the same


def test_heads_do_not_see_each_others_columns() -> None:
    heads = MultiHeadAttention(8, 2).double()
    x, before = normal(1, 5, 8), MultiHeadAttention.weights
    first = before(heads, x)[:, 0]
    with torch.no_grad():
        heads.query.weight[4:] += 1.0  # the second head's query
    same(heads.weights(x)[:, 0], first)
    assert not torch.allclose(heads.weights(x)[:, 1], first)


def test_attention_changes_none_of_its_arguments() -> None:
    q, k, v, mask = normal(3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2), causal_mask(3)
    copies = [x.clone() for x in (q, k, v, mask)]
    attention(q, k, v, mask)
    rotate(q)
    assert all(torch.equal(x, y) for x, y in zip((q, k, v, mask), copies, strict=True))


def test_repeated_tokens_say_everything_twice_with_the_given_randomness() -> None:
    generator = torch.Generator().manual_seed(3)
    tokens, more = repeated_tokens(50, 6, 7, generator), repeated_tokens(50, 6, 7, generator)
    assert torch.equal(tokens[:, :6], tokens[:, 6:])
    assert not torch.equal(tokens, more)
    assert set(tokens.unique().tolist()) == set(range(7))
    again = repeated_tokens(50, 6, 7, torch.Generator().manual_seed(3))
    assert torch.equal(tokens, again)


def test_the_models_weights_are_those_it_uses() -> None:
    model = AttentionOnly(V=9, D=8, N=2, layers=2)
    tokens = repeated_tokens(2, 4, 9, torch.Generator().manual_seed(0))
    weights = model.weights(tokens)
    assert weights.shape == (2, 2, 2, 8, 8)
    x = model.norms[0](model.embedding(tokens))
    v = model.attentions[0].value(x).unflatten(-1, (2, 4)).transpose(1, 2)
    mixed = torch.einsum("bnts,bnsk->btnk", weights[0], v).flatten(-2)
    same(model.attentions[0].output(mixed), model.attentions[0](x), 1e-6)


# --- worked examples: numbers that one can do by hand


def test_the_chapters_example() -> None:
    q = torch.tensor([[2.0, 0, 0, 0]], dtype=torch.float64)
    k = torch.tensor([[5.0, 1, 1, 1], [1, 1, 1, 1], [2, 1, 1, 1]], dtype=torch.float64).log()
    v = torch.tensor([[8.0, 0], [0, 0], [0, 8]], dtype=torch.float64)
    same(attention(q, k, v), torch.tensor([[5.0, 2.0]], dtype=torch.float64))


def test_equal_scores_average_what_the_mask_allows() -> None:
    v = torch.tensor([[6.0], [2.0], [1.0]])
    out = attention(torch.zeros(3, 2), torch.zeros(3, 2), v, causal_mask(3))
    same(out, torch.tensor([[6.0], [4.0], [3.0]]), 1e-6)


def test_a_quarter_turn() -> None:
    x = torch.tensor([[3.0, 4.0, 0.0, 0.0]] * 2)
    turned = rotate(x, base=1.0)[1]
    c, s = math.cos(1), math.sin(1)
    same(turned, torch.tensor([3 * c - 4 * s, 3 * s + 4 * c, 0, 0]), 1e-6)


def test_sinusoidal_positions_by_hand() -> None:
    want = [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)]
    same(sinusoidal_positions(2, 4)[1], torch.tensor(want), 1e-6)


def test_head_scores_by_hand() -> None:
    looks_back = torch.zeros(6, 6)
    for t in range(6):
        looks_back[t, max(t - 1, 0)] = 1  # always the previous token
    copies = torch.eye(6)
    for t, s in ((3, 1), (4, 2), (5, 3)):  # period 3: the token after the last occurrence
        copies[t] = torch.eye(6)[s]
    previous, induction = head_scores(torch.stack((looks_back, copies)), period=3)
    assert previous.tolist() == [1.0, 0.0]
    assert induction.tolist() == [0.0, 1.0]


# --- limits


def test_one_token_attends_to_itself() -> None:
    v = normal(1, 3)
    same(attention(normal(1, 4), normal(1, 4), v), v)
    assert rotate(normal(1, 4)).shape == (1, 4)
    assert causal_mask(1).tolist() == [[True]]


def test_no_queries_give_no_outputs() -> None:
    assert attention(normal(0, 4), normal(3, 4), normal(3, 2)).shape == (0, 2)


def test_scores_of_ten_thousand_are_a_choice_not_a_nan() -> None:
    q, k = torch.tensor([[100.0]]), torch.tensor([[100.0], [-100.0]])  # scores of +-1e4
    same(attention(q, k, torch.tensor([[1.0], [2.0]])), torch.tensor([[1.0]]))


def test_a_query_that_may_see_nothing_is_nan_and_leaves_the_others_alone() -> None:
    mask = torch.tensor([[True, True], [False, False]])
    q, k, v = normal(2, 4), normal(2, 4, seed=1), normal(2, 3, seed=2)
    out = attention(q, k, v, mask)
    assert out[1].isnan().all()
    same(out[0], attention(q[:1], k, v)[0])


def test_gradients_are_the_derivatives() -> None:
    q, k, v = (normal(2, 3, 4, seed=seed).requires_grad_() for seed in range(3))
    assert torch.autograd.gradcheck(lambda *x: attention(*x, causal_mask(3)), (q, k, v))
    assert torch.autograd.gradcheck(rotate, (q,))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: attention(normal(2, 4), normal(3, 5), normal(3, 2)), r"\(2, 4\), \(3, 5\)"),
        (lambda: attention(normal(2, 4), normal(3, 4), normal(2, 2)), "expected q"),
        (lambda: sinusoidal_positions(3, 5), "even, got 5"),
        (lambda: rotate(normal(3, 5)), "even, got 5"),
        (lambda: MultiHeadAttention(8, 3), "3 heads cannot share a width of 8"),
        (
            lambda: MultiHeadAttention(8, 2, causal=True)(torch.ones(1, 2, 8), torch.ones(1, 3, 8)),
            "no order",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given(wrong, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


def test_a_mask_of_numbers_is_refused() -> None:
    with pytest.raises(TypeError, match=r"boolean.*float32"):
        attention(normal(2, 4), normal(2, 4), normal(2, 4), torch.ones(2, 2))


# --- the record


def test_the_record_is_of_this_code() -> None:
    assert not records.stale("attention"), "run `make records`"


def test_the_record_says_what_the_chapter_says() -> None:
    record = records.load("attention")
    two, one = record["two_layers"], record["one_layer"]
    assert len(one) == len(two) >= 3
    assert max(run["loss"][-1] for run in two) < 0.5 < 2.5 < min(min(run["loss"]) for run in one)
    assert all(recipe.falls(run["loss"], 0.8) - recipe.falls(run["loss"], 3.3) <= 80 for run in two)


def test_a_point_of_the_record_comes_out_again() -> None:
    repeated, recorded, band = recipe.point()
    assert abs(repeated - recorded) <= band, f"falls at step {repeated}, recorded {recorded}"


def test_a_head_without_output_columns_is_a_head_removed() -> None:
    model, tokens = recipe.new_model(0, 2), repeated_tokens(2, 5, 64, torch.Generator())
    hurt = recipe.without(model, [(0, 1)])
    assert torch.equal(hurt.attentions[0].output.weight[:, 32:], torch.zeros(64, 32))
    assert torch.equal(hurt.attentions[1].output.weight, model.attentions[1].output.weight)
    assert not torch.allclose(hurt(tokens), model(tokens))
    assert (model.attentions[0].output.weight[:, 32:] != 0).all()
