"""Gated networks: what the theory says of them, beside torch, by hand, and at their limits."""

import math
import time
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmbook import records
from fmbook.records import lstm as recipe
from fmbook.sequences.lstm import (
    GRU,
    LSTM,
    copy_text,
    gates,
    gru_step,
    lstm_step,
    sample,
    tempered,
)
from fmbook.sequences.rnn import CharacterModel, influence

few = settings(max_examples=25, deadline=None)
sizes, seeds = st.integers(1, 6), st.integers(0, 10_000)
seeded = torch.Generator().manual_seed


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def same(got: Tensor, want: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(got, want, atol=tolerance, rtol=0)


def lend(ours: LSTM | GRU, torchs: nn.RNNBase) -> None:
    """Give torch's layer the weights of ours."""
    with torch.no_grad():
        torchs.weight_ih_l0.copy_(ours.input.weight)
        torchs.weight_hh_l0.copy_(ours.recurrent.weight)
        torchs.bias_ih_l0.copy_(ours.input.bias)
        torchs.bias_hh_l0.zero_()
        if isinstance(ours, GRU):
            nn.init.normal_(ours.bias)
            torchs.bias_hh_l0[-len(ours.bias) :].copy_(ours.bias)


# --- oracle: what others compute


@few
@given(sizes, sizes, sizes, sizes, seeds)
def test_an_lstm_agrees_with_torch(B: int, T: int, M: int, D: int, seed: int) -> None:
    ours, torchs = LSTM(M, D).double(), nn.LSTM(M, D, batch_first=True).double()
    lend(ours, torchs)
    x, h, c = normal(B, T, M, seed=seed), normal(B, D, seed=seed + 1), normal(B, D, seed=seed + 2)
    states, (last, cell) = ours(x, (h, c))
    want, (want_last, want_cell) = torchs(x, (h[None], c[None]))
    same(states, want)
    same(last, want_last[0])
    same(cell, want_cell[0])


@few
@given(sizes, sizes, sizes, sizes, seeds)
def test_a_gru_agrees_with_torch(B: int, T: int, M: int, D: int, seed: int) -> None:
    ours, torchs = GRU(M, D).double(), nn.GRU(M, D, batch_first=True).double()
    lend(ours, torchs)
    x, h = normal(B, T, M, seed=seed), normal(B, D, seed=seed + 1)
    states, last = ours(x, h)
    want, want_last = torchs(x, h[None])
    same(states, want)
    same(last, want_last[0])


def test_steps_are_differentiated_rightly() -> None:
    drive, h, c, W = (
        normal(*s, seed=i).requires_grad_() for i, s in enumerate(((2, 8), (2, 2), (2, 2), (8, 2)))
    )
    assert torch.autograd.gradcheck(lstm_step, (drive, h, c, W))
    drive, W, b = (
        normal(*s, seed=i).requires_grad_() for i, s in enumerate(((2, 6), (6, 2), (2,)))
    )
    assert torch.autograd.gradcheck(gru_step, (drive, h, W, b))


# --- property: what holds for any input


@few
@given(st.integers(1, 40), seeds)
def test_along_the_cell_the_gradient_is_the_product_of_forget_gates(k: int, seed: int) -> None:
    bias = normal(1, seed=seed).item()
    drive = torch.tensor([[0.3, bias, 0.7, 0.1]], dtype=torch.float64)
    start = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    h, c = torch.zeros(1, 1).double(), start
    for _ in range(k):
        h, c = lstm_step(drive, h, c, torch.zeros(4, 1).double())  # gates do not hear the state
    (slope,) = torch.autograd.grad(c, start)
    assert slope.item() == pytest.approx(torch.tensor(bias).sigmoid().item() ** k, rel=1e-5)


@few
@given(seeds)
def test_a_gru_stays_between_its_state_and_its_candidate(seed: int) -> None:
    drive, h = normal(3, 12, seed=seed), normal(3, 4, seed=seed + 1)
    W, b = normal(12, 4, seed=seed + 2), normal(4, seed=seed + 3)
    new = gru_step(drive, h, W, b)
    assert (new.abs() <= torch.maximum(h.abs(), torch.ones_like(h))).all()


@few
@given(st.integers(2, 8), seeds)
def test_the_past_does_not_depend_on_the_future(T: int, seed: int) -> None:
    x, now = normal(2, T, 3, seed=seed), seed % T
    changed = x.clone()
    changed[:, now:] += 1
    for layer in (LSTM(3, 4).double(), GRU(3, 4).double()):
        same(layer(changed)[0][:, :now], layer(x)[0][:, :now])
        assert (layer(changed)[0] - layer(x)[0])[:, now].abs().max() > 1e-9


def test_a_forget_bias_lets_the_gradient_of_a_fresh_network_through() -> None:
    x, after = torch.randn(8, 41, 16, generator=seeded(0)), []
    for forget in (0.0, 1.0, 3.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = LSTM(16, 64, forget)
        found = influence(layer, x, seeded(0))
        after.append(float(found[40] / found[0]))
    assert after[0] < 1e-8 < after[1] < 1e-2 * after[2] < 1e-2


def test_gates_are_those_that_the_layer_uses() -> None:
    layer, x = LSTM(3, 4).double(), normal(2, 6, 3)
    found = gates(layer, x)
    before = torch.cat((torch.zeros(2, 1, 4).double(), found["cell"][:, :-1]), 1)
    same(found["forget"] * before + found["input"] * found["candidate"], found["cell"])
    same(found["output"] * found["cell"].tanh(), layer(x)[0])
    assert all(
        0 <= found[name].min() <= found[name].max() <= 1 for name in ("input", "forget", "output")
    )


def test_sampling_feeds_back_what_it_drew_and_carries_the_state() -> None:
    class Counter(nn.Module):
        """Says the number after the last one, and counts what it was shown."""

        def forward(self, tokens: Tensor, state: int = 0) -> tuple[Tensor, int]:
            return 1e4 * nn.functional.one_hot((tokens + 1 + state) % 10, 10).double(), state + 1

    got = sample(Counter(), torch.tensor([[7, 3], [0, 5]]), 3, 1.0, seeded(0))
    assert got.tolist() == [[4, 6, 9], [6, 8, 1]]


def test_sampling_repeats_with_the_same_generator_and_draws_by_probability() -> None:
    model = CharacterModel(V=5, M=4, D=8, layer=LSTM)
    start = torch.zeros(2000, 1).long()
    first, again = (sample(model, start, 2, 1.0, seeded(3)) for _ in range(2))
    assert torch.equal(first, again)
    chances = tempered(model(start[:1])[0][0, -1], 1.0)
    seen = torch.bincount(first[:, 0], minlength=5) / 2000
    same(seen, chances.detach(), 0.05)
    assert sample(model, start, 0, 1.0, seeded(0)).shape == (2000, 0)


@few
@given(st.floats(0.05, 20), seeds)
def test_temperature_keeps_the_order_and_divides_log_odds(temperature: float, seed: int) -> None:
    logits = normal(6, seed=seed)
    p = tempered(logits, temperature)
    same(p.sum(), torch.ones(()).double())
    same(p.log() - p.log()[0], (logits - logits[0]) / temperature, 1e-9)


def test_a_copy_asks_for_what_was_said() -> None:
    x, y = copy_text(50, 4, 3, seeded(0))
    assert torch.equal(x[:, :4], y)
    assert (x[:, 4:] == 3).all()
    assert set(y.unique().tolist()) == {0, 1, 2}


# --- worked examples


def test_the_chapters_example() -> None:
    drive = torch.tensor([[0.0, math.log(3), math.atanh(0.5), 0.0]], dtype=torch.float64)
    one = torch.ones(1, 1).double()
    h, c = lstm_step(drive, 0 * one, one, torch.zeros(4, 1).double())
    same(c, one)
    same(h, 0.5 * math.tanh(1) * one)


def test_a_gru_by_hand() -> None:
    one = torch.ones(1, 1).double()
    drive = torch.tensor([[0.0, math.log(3), 0.0]], dtype=torch.float64)
    got = gru_step(drive, one, torch.zeros(3, 1).double(), torch.tensor([2.0]).double())
    same(got, (0.25 * math.tanh(1) + 0.75) * one)


def test_fresh_gates_stand_where_their_bias_says() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = LSTM(8, 64, forget=3.0)
    kept = gates(layer, torch.zeros(1, 1, 8))["forget"].mean().item()
    assert kept == pytest.approx(torch.tensor(3.0).sigmoid().item(), abs=0.02)


# --- limits


def test_no_text_one_step_and_large_inputs() -> None:
    for layer in (LSTM(3, 4), GRU(3, 4)):
        assert layer(torch.zeros(0, 2, 3))[0].shape == (0, 2, 4)
        assert layer(torch.zeros(1, 1, 3))[0].shape == (1, 1, 4)
        assert torch.isfinite(layer(1e6 * torch.randn(2, 30, 3))[0]).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        tempered(torch.zeros(3), temperature)


@pytest.mark.parametrize(("n", "kinds"), [(0, 3), (3, 0)])
def test_a_copy_needs_something_to_say(n: int, kinds: int) -> None:
    with pytest.raises(ValueError, match="from 1 on"):
        copy_text(2, n, kinds, seeded(0))


# --- the record


def test_the_record_is_of_this_code() -> None:
    assert not records.stale("lstm"), "run `make records`"


def test_the_record_says_what_the_chapter_says() -> None:
    record = records.load("lstm")
    bits = {name: [run["bits"] for run in runs] for name, runs in record["text"].items()}
    assert max(bits["rnn"]) < min(bits["lstm"])
    assert max(max(found) for found in bits.values()) < 2.9
    assert all(record["latch"]["lstm 3"]["80"] + record["latch"]["gru 3"]["160"])
    assert not any(record["latch"]["lstm 0"]["20"])
    assert all(run[0] > 0.9 and run[-1] < 0.6 for runs in record["copy"].values() for run in runs)


def test_the_ledger_has_rows_for_text_and_for_mail() -> None:
    rows = records.load("lstm")["ledger"]
    assert [(row["task"], row["method"]) for row in rows] == [
        ("characters", "LSTM"),
        ("characters", "GRU"),
        ("spam", "LSTM"),
    ]
    assert {"precision", "recall", "false_alarms", "false_alarms_hard"} <= set(rows[2]["quality"])


def test_a_point_of_the_record_comes_out_again() -> None:
    repeated, recorded, band = recipe.point()
    assert abs(repeated - recorded) <= band, f"learned at step {repeated}, recorded {recorded}"


def test_copying_is_measured_on_what_was_asked() -> None:
    class Parrot(nn.Module):
        """Knows the first half by heart."""

        def forward(self, x: Tensor) -> tuple[Tensor, None]:
            n = x.shape[1] // 2
            said = torch.cat((x[:, n:], x[:, :n]), 1)
            return nn.functional.one_hot(said, 9).double(), None

    assert recipe.copied(Parrot(), 5) == 1.0


def test_a_mail_is_read_from_its_start() -> None:
    assert recipe.words_of("Free MONEY!! 100 times") == ("free", "money", "!", "!", "100", "times")
    assert len(recipe.words_of("word " * 1000)) == recipe.READ


def test_layers_may_be_given_with_their_bias() -> None:
    model = CharacterModel(4, 3, 5, partial(LSTM, forget=2.0))
    assert model(torch.zeros(2, 3).long())[0].shape == (2, 3, 4)


@pytest.mark.alone
def test_the_loop_stays_within_half_as_much_again_of_torchs() -> None:
    """At a batch of 64: Python pays for each step, and torch's one call does not.

    On some processors torch's layer has faster matrix products than `@`; what no loop could save is
    the time of those products, as `@` does them.
    """
    x, wide = normal(64, 64, 64).float(), normal(64 * 64, 1024).float()
    layers = (LSTM(64, 256), nn.LSTM(64, 256, batch_first=True))
    W, h, drive = normal(1024, 256).float(), normal(64, 256).float(), wide[:64]
    states = normal(64 * 64, 256).float()

    def products() -> None:
        for _ in range(64):
            torch.addmm(drive, h, W.T)
            drive @ W
        wide.T @ states
        x.flatten(0, 1) @ W[:, :64].T  # of the inputs, there and back
        wide.T @ x.flatten(0, 1)

    steps = [lambda one=one: one(x)[0].sum().backward() for one in layers]
    seconds: dict[str, list[float]] = {"ours": [], "torch's": [], "products": []}
    for _ in range(6):
        for times, step in zip(seconds.values(), (*steps, products), strict=True):
            start = time.process_time()
            step()
            times.append(time.process_time() - start)
    ours, torchs, least = map(min, seconds.values())
    print(f"{ours / torchs:.2f} of torch's time, {ours / least:.2f} of the products'")
    assert ours < 1.5 * max(torchs, least)
