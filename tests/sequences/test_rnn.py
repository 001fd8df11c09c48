"""Recurrent networks: what the theory says of them, beside torch, by hand, and at their limits."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmbook import records
from fmbook.records import rnn as recipe
from fmbook.sequences.rnn import (
    RNN,
    CharacterModel,
    clip,
    influence,
    remember,
    streams,
    through_time,
    unroll,
)

few = settings(max_examples=25, deadline=None)
sizes, seeds = st.integers(1, 6), st.integers(0, 10_000)
seeded = torch.Generator().manual_seed


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def same(got: Tensor, want: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(got, want, atol=tolerance, rtol=0)


def network(B: int, T: int, M: int, D: int, seed: int = 0) -> list[Tensor]:
    """x, W, U, b and h of a random network and its inputs."""
    shapes = ((B, T, M), (D, D), (D, M), (D,), (B, D))
    return [normal(*shape, seed=seed + i) for i, shape in enumerate(shapes)]


# --- oracle: what others compute


@few
@given(sizes, sizes, sizes, sizes, seeds)
def test_the_states_are_those_of_torch(B: int, T: int, M: int, D: int, seed: int) -> None:
    x, W, U, b, h = network(B, T, M, D, seed)
    torchs = nn.RNN(M, D, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for own, value in zip(torchs.parameters(), (U, W, b, 0 * b), strict=True):
            own.copy_(value)
        want, last = torchs(x, h[None])
    same(unroll(x, W, U, b, h), want)
    same(unroll(x, W, U, b, h)[:, -1], last[0])


@few
@given(sizes, sizes, sizes, sizes, seeds)
def test_gradients_through_time_are_those_of_autograd(
    B: int, T: int, M: int, D: int, seed: int
) -> None:
    given_ = [tensor.requires_grad_() for tensor in network(B, T, M, D, seed)]
    upstream = normal(B, T, D, seed=seed + 9)
    want = torch.autograd.grad((unroll(*given_) * upstream).sum(), given_)
    with torch.no_grad():
        got = through_time(*given_, upstream)
    for ours, torchs in zip(got, want, strict=True):
        same(ours, torchs, 1e-9 * max(1.0, float(torchs.abs().max())))


@few
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.floats(0.01, 10), seeds)
def test_clipping_agrees_with_torch(lengths: list[int], limit: float, seed: int) -> None:
    gradients = [normal(n, seed=seed + i) for i, n in enumerate(lengths)]
    held = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, gradient in zip(held, gradients, strict=True):
        parameter.grad = gradient.clone()
    nn.utils.clip_grad_norm_(held, limit)
    for ours, parameter in zip(clip(gradients, limit), held, strict=True):
        assert parameter.grad is not None
        same(ours, parameter.grad, 2e-6 * max(1.0, limit))  # torch adds 1e-6 to the length


# --- property: what holds for any input


@few
@given(st.integers(2, 8), seeds)
def test_the_past_does_not_depend_on_the_future(T: int, seed: int) -> None:
    x, *weights = network(2, T, 3, 4, seed)
    changed, now = x.clone(), seed % T
    changed[:, now:] += 1
    before, after = unroll(x, *weights), unroll(changed, *weights)
    same(after[:, :now], before[:, :now])
    assert (after[:, now] - before[:, now]).abs().max() > 1e-9


@few
@given(st.integers(2, 8), seeds)
def test_a_carried_state_makes_two_windows_one_text(T: int, seed: int) -> None:
    layer = RNN(3, 4).double()
    x, cut = normal(2, T, 3, seed=seed), 1 + seed % (T - 1)
    whole, last = layer(x)
    first, state = layer(x[:, :cut])
    second, end = layer(x[:, cut:], state)
    same(torch.cat((first, second), 1), whole)
    same(end, last)


@few
@given(st.floats(0.3, 1.5), st.integers(1, 30), seeds)
def test_a_change_grows_at_most_by_the_largest_singular_value_a_step(
    gain: float, T: int, seed: int
) -> None:
    x, W, U, b, h = network(1, T, 3, 5, seed)
    W *= gain / torch.linalg.matrix_norm(W, 2)
    other = h + normal(1, 5, seed=seed + 1)
    apart = (unroll(x, W, U, b, other) - unroll(x, W, U, b, h)).norm(dim=-1)[0]
    bound = (other - h).norm() * gain ** torch.arange(1, T + 1)
    assert (apart <= bound + 1e-12).all()


def test_the_loss_of_the_task_has_the_chapters_floor() -> None:
    """ln(1 + exp(-gap / 2)) is the least mean loss on two texts whose log-odds differ by gap."""
    gap, odds = 0.8, torch.linspace(-3, 3, 6001, dtype=torch.float64)
    loss = nn.functional.softplus(-(odds + gap)) / 2 + nn.functional.softplus(odds) / 2
    assert loss.min().item() == pytest.approx(math.log(1 + math.exp(-gap / 2)), abs=1e-6)
    assert math.log(1 + math.exp(-gap / 2)) >= math.log(2) - gap / 4


@few
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 40))
def test_streams_read_the_text_once_in_order(B: int, T: int, more: int) -> None:
    tokens = torch.arange(B * T + 1 + more)
    x, y = streams(tokens, B, T)
    assert x.shape == y.shape == ((len(tokens) - 1) // (B * T), B, T)
    assert torch.equal(y, x + 1)
    assert x.transpose(0, 1).flatten().tolist() == list(range(x.numel()))


def test_clipping_keeps_the_direction_and_its_arguments() -> None:
    gradients = [normal(3), normal(2, 2, seed=1)]
    copies = [g.clone() for g in gradients]
    shrunk = clip(gradients, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(gradients, copies, strict=True))
    factors = torch.cat([(s / g).flatten() for s, g in zip(shrunk, gradients, strict=True)])
    same(factors, factors[:1].expand(7))
    assert torch.cat([s.flatten() for s in shrunk]).norm().item() == pytest.approx(0.5)


def test_remember_asks_for_the_first_of_the_text_and_for_nothing_else() -> None:
    tokens, first = remember(500, 7, seeded(3), kinds=3)
    assert torch.equal(tokens[:, 0], first)
    assert set(first.tolist()) == {0, 1, 2}
    assert set(tokens[:, 1:].unique().tolist()) == {3, 4, 5}
    assert torch.equal(tokens, remember(500, 7, seeded(3), kinds=3)[0])
    tokens[:, 0] = 9
    assert first.max() < 9, "the answer is no view of the text"


def test_the_model_reads_out_its_layer_and_takes_any() -> None:
    tokens = torch.randint(5, (2, 6), generator=seeded(0))
    for layer in (RNN, partial(nn.GRU, batch_first=True), partial(nn.LSTM, batch_first=True)):
        model = CharacterModel(5, 3, 4, layer)
        logits, state = model(tokens)
        assert logits.shape == (2, 6, 5)
        again = torch.cat(
            [model(tokens[:, :3])[0], model(tokens[:, 3:], model(tokens[:, :3])[1])[0]], 1
        )
        torch.testing.assert_close(again, logits)
        assert state is not None


# --- worked examples


def test_the_chapters_example_with_one_unit() -> None:
    one, x = torch.ones(1, 1).double(), torch.tensor([[[1e-4], [0.0], [0.0]]]).double()
    start = (0 * one[0], 0 * one)
    same(
        unroll(x, one / 2, one, *start).flatten() / 1e-4,
        torch.tensor([1, 0.5, 0.25]).double(),
        1e-7,
    )
    last_only = torch.tensor([[[0.0], [0.0], [1.0]]]).double()
    in_x, in_w, in_u, in_b, in_h = through_time(x, one / 2, one, *start, last_only)
    same(in_x.flatten(), torch.tensor([0.25, 0.5, 1]).double(), 1e-7)
    same(in_w / 1e-4, one, 1e-7)
    same(in_u / 1e-4, 0.25 * one, 1e-7)
    same(in_b, 1.75 * one[0], 1e-7)
    same(in_h, 0.125 * one, 1e-7)


def test_influence_of_a_nearly_linear_unit_is_a_power_of_its_weight() -> None:
    layer = RNN(1, 1).double()
    with torch.no_grad():
        layer.recurrent.weight.fill_(0.5)
        layer.input.weight.fill_(1.0)
        layer.input.bias.zero_()
    x = torch.zeros(3, 6, 1).double()
    found = influence(layer, x, seeded(0))
    same(found / found[0], 0.5 ** torch.arange(6).double())
    assert x.grad is None
    assert not x.requires_grad


def test_influence_of_an_orthogonal_network_without_input_is_kept() -> None:
    layer = RNN(4, 4).double()
    with torch.no_grad():
        nn.init.orthogonal_(layer.recurrent.weight)
        layer.input.weight.copy_(torch.eye(4))
        layer.input.bias.zero_()
    found = influence(layer, torch.zeros(1, 50, 4).double(), seeded(0))
    same(found, found[:1].expand(50), 1e-10)


# --- limits


def test_one_step_and_no_text() -> None:
    x, W, U, b, h = network(2, 1, 3, 4)
    assert unroll(x, W, U, b, h).shape == (2, 1, 4)
    assert unroll(x[:0], W, U, b, h[:0]).shape == (0, 1, 4)


def test_gradient_check() -> None:
    given_ = [tensor.requires_grad_() for tensor in network(2, 3, 2, 3)]
    assert torch.autograd.gradcheck(unroll, given_)


def test_large_inputs_saturate_and_do_not_overflow() -> None:
    x, W, U, b, h = network(2, 50, 3, 4)
    states = unroll(1e6 * x, W, U, b, h)
    assert torch.isfinite(states).all()
    got = through_time(1e6 * x, W, U, b, h, torch.ones(2, 50, 4).double())
    assert all(torch.isfinite(g).all() for g in got)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: clip([torch.ones(2)], 0.0), "positive, got 0"),
        (lambda: clip([torch.ones(2)], math.nan), "positive, got nan"),
        (lambda: streams(torch.arange(8), 2, 4), "need 9 tokens, got 8"),
        (lambda: remember(2, 0, seeded(0)), "T from 1"),
        (lambda: remember(2, 5, seeded(0), kinds=1), "kinds from 2"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given(wrong, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


def test_gradients_of_zero_are_left_alone() -> None:
    assert clip([torch.zeros(2)], 1.0)[0].tolist() == [0.0, 0.0]


# --- the record


def test_a_window_sees_its_size_and_no_more() -> None:
    window = recipe.Window(3, V=5)
    tokens = torch.randint(5, (2, 9), generator=seeded(0))
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 5
    a, b = window(tokens)[0], window(changed)[0]  # place i of 7 has seen tokens i to i + 2
    moved = (a != b).any(-1).any(0).tolist()
    assert moved == [False, False, True, True, True, False, False]


def test_the_held_out_plays_are_not_learned_from() -> None:
    learned, held_out, characters = recipe.corpus()
    assert len(characters) == 84
    place = "Elsinore"  # a word of Hamlet alone
    texts = ["".join(characters[i] for i in part.tolist()) for part in (learned, held_out)]
    assert [place in text for text in texts] == [False, True]


def test_the_record_is_of_this_code() -> None:
    assert not records.stale("rnn"), "run `make records`"


def test_the_record_says_what_the_chapter_says() -> None:
    record = records.load("rnn")
    mean = {name: sum(f["bits"] for f in found) / 3 for name, found in record["text"].items()}
    assert mean["rnn"] < min(bits for name, bits in mean.items() if name != "rnn")
    assert mean["2"] > mean["8"] < mean["32"]
    assert None not in record["latch"]["10"]
    assert not [steps for steps in record["latch"]["40"] if steps]
    for row in record["ledger"]:
        assert row["task"] == "characters"
        assert 2 < row["quality"]["bits_per_character"] < 3


def test_a_point_of_the_record_comes_out_again() -> None:
    repeated, recorded, band = recipe.point()
    assert abs(repeated - recorded) <= band, f"learned at step {repeated}, recorded {recorded}"


def test_an_optimizer_clips_all_its_gradients_together() -> None:
    held = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": held[:1]}, {"params": held[1:]}], lr=1.0)
    optimizer.register_step_pre_hook(recipe.clipping(1.0))
    held[0].grad, held[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimizer.step()
    assert [p.item() for p in held] == pytest.approx([-0.6, -0.8])
