"""Diffusion: the closed form, what is predicted, the samplers, and their limits."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fmbook import records
from fmbook.diffusion.diffusion import (
    NOBODY,
    PATHS,
    TARGETS,
    Process,
    UNet,
    estimates,
    guided,
    noised,
    schedule,
    step,
)
from fmbook.precision import half_pays
from fmbook.records import diffusion as recipe

recipe.HALF = half_pays()  # in 16 bits the tests take ten times as long where there are none

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)
times = st.floats(0.02, 0.98)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(got: Tensor, want: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(got, want, atol=tolerance, rtol=0)


def at(path: str, t: float) -> tuple[Tensor, Tensor]:
    return schedule(path, torch.tensor([t], dtype=torch.float64))


def true_prediction(target: str, data: Tensor, noise: Tensor) -> Tensor:
    return {"noise": noise, "data": data, "velocity": noise - data}[target]


# --- oracle: what others compute


def test_the_linear_path_is_the_limit_of_hos_thousand_steps() -> None:
    betas = np.linspace(1e-4, 0.02, 1000)
    bars = np.sqrt(np.cumprod(1 - betas))
    alpha, _ = schedule("linear", torch.arange(1, 1001, dtype=torch.float64) / 1000)
    assert np.abs(alpha.numpy() - bars).max() < 0.003


@few
@given(times, times, seeds)
def test_a_fresh_step_is_ddpms_posterior(t: float, u: float, seed: int) -> None:
    """Equations 6 and 7 of Ho et al., for a step of any size on a path that keeps the variance."""
    later, now = sorted((t, u))
    if now - later < 1e-3:
        return
    (a, s), (alpha, sigma) = at("linear", now), at("linear", later)
    data, noise, fresh = (normal(1, 1, 2, 3, seed=seed + k) for k in range(3))
    beta = 1 - (a / alpha) ** 2
    mean = alpha * beta / (1 - a**2) * data
    mean = mean + (a / alpha) * (1 - alpha**2) / (1 - a**2) * (a * data + s * noise)
    want = mean + (beta * (1 - alpha**2) / (1 - a**2)).sqrt() * fresh
    same(step(data, noise, (a, s), (alpha, sigma), fresh), want, 1e-7)


@few
@given(times, times, seeds)
def test_a_still_step_on_the_straight_path_is_eulers(t: float, u: float, seed: int) -> None:
    data, noise = normal(1, 1, 2, 3, seed=seed), normal(1, 1, 2, 3, seed=seed + 1)
    noisy = noised(data, noise, *at("flow", t))
    same(step(data, noise, at("flow", t), at("flow", u), None), noisy + (u - t) * (noise - data))


def test_many_small_noisy_steps_are_one_mixture() -> None:
    """A Markov chain in which each step adds a little: mean and spread after 50 steps."""
    x, steps = torch.ones(20_000, dtype=torch.float64), torch.linspace(0, 1, 51).double()
    generator = torch.Generator().manual_seed(0)
    alpha, _ = schedule("linear", steps)
    for a, b in pairwise(alpha):
        fresh = torch.randn(len(x), generator=generator, dtype=torch.float64)
        x = b / a * x + (1 - (b / a) ** 2).sqrt() * fresh
    assert abs(x.mean() - alpha[-1]) < 0.03
    assert abs(x.std() - (1 - alpha[-1] ** 2).sqrt()) < 0.03


def test_a_perfect_network_of_gaussian_data_makes_gaussian_data() -> None:
    """Data of deviation 0.3 around 0.2, for which the best guess is known in closed form."""

    def best(noisy: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        a, s = (x.view(-1, 1, 1, 1) for x in schedule("flow", t))
        return 0.2 + 0.09 * a / (0.09 * a**2 + s**2) * (noisy - 0.2 * a)

    labels = torch.zeros(4000, dtype=torch.long)
    for fresh, spread in ((False, 0.3), (True, 0.3)):
        start = torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(1))
        chance = torch.Generator().manual_seed(2)
        walk = Process(steps=100, fresh=fresh).sample(best, start, labels, chance)
        *_, (last, _) = walk
        assert abs(last.mean() - 0.2) < 0.03
        assert abs(last.std() - spread) < 0.03


# --- property: what holds for any input


@few
@given(st.sampled_from(PATHS), st.floats(0, 1))
def test_a_path_leads_from_data_to_noise(path: str, t: float) -> None:
    alpha, sigma = at(path, t)
    if path != "flow":
        same(alpha**2 + sigma**2, torch.ones(1, dtype=torch.float64), 1e-9)
    later = at(path, min(1.0, t + 0.01))
    assert later[0] <= alpha
    assert later[1] >= sigma
    same(at(path, 0.0)[0], torch.ones(1, dtype=torch.float64))
    assert at(path, 1.0)[0] < 0.01


@few
@given(st.sampled_from(PATHS), st.sampled_from(TARGETS), times, seeds)
def test_a_true_prediction_gives_data_and_noise_back(
    path: str, target: str, t: float, seed: int
) -> None:
    data, noise = normal(1, 1, 3, 2, seed=seed).tanh(), normal(1, 1, 3, 2, seed=seed + 1)
    noisy = noised(data, noise, *at(path, t))
    got = estimates(target, true_prediction(target, data, noise), noisy, *at(path, t))
    if at(path, t)[0] > 1e-3:
        same(got[0], data, 1e-6)
        same(got[1], noise, 1e-6)


@few
@given(st.sampled_from(TARGETS), times, seeds)
def test_estimates_always_explain_the_noisy_image(target: str, t: float, seed: int) -> None:
    predicted, noisy = (normal(2, 1, 3, 2, seed=seed + k) for k in range(2))
    alpha, sigma = (x.expand(2) for x in at("cosine", t))
    data, noise = estimates(target, 3 * predicted, noisy, alpha, sigma)
    assert data.abs().max() <= 1
    same(noised(data, noise, alpha, sigma), noisy)


@few
@given(times, times, seeds)
def test_fresh_noise_keeps_the_variance(t: float, u: float, seed: int) -> None:
    later, now = sorted((t, u))
    zero, noise = torch.zeros(1, 1, 100, 100).double(), normal(1, 1, 100, 100, seed=seed)
    fresh = normal(1, 1, 100, 100, seed=seed + 1)
    got = step(zero, noise, at("flow", now), at("flow", later), fresh)
    assert abs(got.std() / later - 1) < 0.05


def test_nothing_is_changed_in_place() -> None:
    tensors = [normal(2, 1, 3, 3, seed=k) for k in range(3)]
    copies = [x.clone() for x in tensors]
    pair = torch.tensor([0.6, 0.7]), torch.tensor([0.5, 0.2])
    noised(*tensors[:2], *pair)
    estimates("velocity", *tensors[:2], *pair)
    step(*tensors[:2], pair, pair, tensors[2])
    for x, copy in zip(tensors, copies, strict=True):
        assert torch.equal(x, copy)


def test_guidance_of_one_is_the_network_and_a_half_lies_between() -> None:
    asked: list[int] = []

    def model(noisy: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        asked.append(len(noisy))
        return labels.view(-1, 1, 1, 1).double()

    x, t, labels = normal(3, 1, 2, 2), torch.full((3,), 0.5), torch.tensor([1, 2, 3])
    got = {scale: guided(model, x, t, labels, scale).flatten() for scale in (1.0, 0.5, 2.0)}
    assert asked == [3, 6, 6]
    assert got[1.0].tolist() == [1, 2, 3]
    assert got[0.5].tolist() == [5.5, 6, 6.5]
    assert got[2.0].tolist() == [-8, -6, -4]


def test_a_tenth_of_the_labels_is_withheld_and_all_noise_levels_are_met() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def model(noisy: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        seen.append((t, labels))
        return torch.zeros_like(noisy)

    chance = torch.Generator().manual_seed(0)
    data, labels = torch.zeros(2000, 1, 2, 2), torch.full((2000,), 3)
    loss = Process(target="noise").loss(model, data, labels, chance)
    (t, told) = seen[0]
    assert abs(loss - 1) < 0.05
    assert 0.07 < (told == NOBODY).float().mean() < 0.13
    assert set(told.tolist()) == {3, NOBODY}
    assert t.min() < 0.01
    assert t.max() > 0.99


def test_the_middle_times_are_those_of_the_logit_normal() -> None:
    """Half of them lie where a normal number is within 0.6745 of its mean: 0.337 to 0.663."""
    chance = torch.Generator().manual_seed(0)
    inner = {}
    for middle in (False, True):
        t = Process(middle=middle).times(20_000, chance, torch.device("cpu"))
        assert 0 <= t.min() < t.max() <= 1
        assert abs(t.mean() - 0.5) < 0.01
        inner[middle] = ((t - 0.5).abs() < 0.16250).float().mean().item()
    assert abs(inner[True] - 0.5) < 0.015
    assert abs(inner[False] - 0.325) < 0.015


def test_the_loss_is_that_of_each_target() -> None:
    ones = torch.ones(500, 1, 4, 4)

    def model(noisy: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return torch.zeros_like(noisy)

    chance = torch.Generator().manual_seed(0)
    losses = {
        target: Process(target=target).loss(model, ones, torch.zeros(500).long(), chance).item()
        for target in TARGETS
    }
    assert losses["data"] == 1.0
    assert abs(losses["noise"] - 1) < 0.1
    assert abs(losses["velocity"] - 2) < 0.2


def test_known_pixels_end_as_they_are_given() -> None:
    known, mask = normal(2, 1, 4, 4).float().clamp(-1, 1), torch.zeros(2, 1, 4, 4).bool()
    mask[:, :, :2] = True

    def model(noisy: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return torch.zeros_like(noisy)

    start, chance = normal(2, 1, 4, 4, seed=1).float(), torch.Generator().manual_seed(0)
    walk = list(Process(steps=3).sample(model, start, torch.zeros(2).long(), chance, (known, mask)))
    assert torch.equal(walk[-1][0][mask], known[mask])
    assert not walk[-1][0][~mask].any()
    assert (walk[0][0][mask] - known[mask]).abs().mean() > 0.1, "the first step has noise there too"


# --- worked examples


def test_the_chapters_numbers() -> None:
    one, pair = torch.ones(1, 1, 1, 1), (torch.tensor([0.8]), torch.tensor([0.6]))
    noisy = noised(one, -one, *pair)
    assert abs(noisy.item() - 0.2) < 1e-6
    for target in TARGETS:
        data, noise = estimates(target, true_prediction(target, one, -one), noisy, *pair)
        assert abs(data.item() - 1) < 1e-6
        assert abs(noise.item() + 1) < 1e-6
    half, later = (torch.tensor([0.5]),) * 2, (torch.tensor([0.8]), torch.tensor([0.4]))
    assert abs(step(one, one, half, later, None).item() - 1.2) < 1e-6
    assert abs(step(one, one, half, later, one).item() - (1 + math.sqrt(0.12))) < 1e-6


# --- limits


def test_the_network_says_nothing_before_training_and_hears_time_and_label_after() -> None:
    torch.manual_seed(0)
    model = UNet(8, 16)
    x, t = torch.randn(2, 1, 28, 28), torch.tensor([0.2, 0.8])
    assert not model(x, t, torch.tensor([1, 2])).any()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    base = model(x, t, torch.tensor([1, 2]))
    assert (model(x, t.flip(0), torch.tensor([1, 2])) - base).abs().max() > 1e-4
    assert (model(x, t, torch.tensor([3, NOBODY])) - base).abs().max() > 1e-4
    same(model(x[:1], t[:1], torch.tensor([1])), base[:1], 1e-5)  # an image alone as in company


def test_one_step_from_noise_is_the_guess_itself() -> None:
    def model(noisy: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return torch.full_like(noisy, 0.3)

    ((image, guess),) = Process(steps=1).sample(
        model, normal(1, 1, 2, 2).float(), torch.zeros(1).long()
    )
    same(image, guess)
    same(image, torch.full_like(image, 0.3), 1e-6)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: schedule("spiral", torch.zeros(1)), "one of flow, cosine, linear, got 'spiral'"),
        (lambda: estimates("score", *[normal(1, 1, 1, 1)] * 2, *at("flow", 0.5)), "got 'score'"),
        (lambda: Process(path="other"), "got 'other'"),
        (lambda: Process(target="other"), "got other"),
        (lambda: Process(steps=0), ", 0"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


@pytest.mark.gpu
def test_it_runs_where_the_device_is() -> None:
    from fmbook.device import device

    where = device()
    model, chance = UNet(8, 16).to(where), torch.Generator(where).manual_seed(0)
    images, labels = torch.zeros(4, 1, 28, 28, device=where), torch.arange(4, device=where)
    Process().loss(model, images, labels, chance).backward()
    walk = Process(steps=2, scale=1.5, fresh=True).sample(model, images, labels, chance)
    assert all(x.device.type == where.type for pair in walk for x in pair)


# --- the record


def test_the_record_is_of_this_code() -> None:
    assert not records.stale("diffusion"), "run `make records`"


def test_the_stored_network_is_that_of_its_card() -> None:
    model = recipe.stored()
    assert not any(weight.requires_grad for weight in model.parameters())
    assert recipe.FILE.stat().st_size < 1_000_000


def test_the_record_says_what_the_chapter_says() -> None:
    record = records.load("diffusion")
    short = {k: [run["distance"] for run in runs] for k, runs in record["short"].items()}
    assert max(short["data"]) < min(short["velocity"]) < max(short["velocity"])
    assert 3 * np.mean(short["data"]) < np.mean(short["noise"]) < 4.5 * np.mean(short["data"])
    game = [run["average"][-1] for run in records.load("gan")["hinge"]]
    for run in record["main"]:
        assert run["distance"][-1] < 12 < run["distance"][0]
        agreement = [run["scales"][scale]["agreement"] for scale in ("1", "1.3", "2")]
        assert agreement == sorted(agreement)
        far = [run["scales"][scale]["distance"] for scale in ("1.3", "1", "2")]
        assert far == sorted(far)
        assert far[0] == run["distance"][-1]
    assert len(record["main"]) >= 3
    even, minute, two = record["even"], *(record["minutes"][n] for n in "12")
    assert len(even) == len(minute) == len(two) == 3
    assert max(run["cpu_seconds"] for run in (*even, *minute)) <= 60
    assert max(run["cpu_seconds"] for run in two) <= 120
    assert max(run["distance"] for run in minute) < min(run["distance"] for run in even)
    assert max(run["distance"] for run in even) < min(20, *game)
    assert max(run["distance"] for run in two) <= 10
    for run in record["walks"]:
        far = {way: found["distance"] for way, found in run.items()}
        assert far["ddpm_100"] < far["ddim_10"] < far["ddpm_10"]
