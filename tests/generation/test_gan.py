"""The adversarial game: what the theory says of it, beside torch, by hand, and at its limits."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fmbook import records
from fmbook.generation.gan import (
    KINDS,
    SLOPE,
    Discriminator,
    Game,
    Generator,
    frechet_distance,
    losses,
    moving_average,
    play,
    spectral_norm,
)
from fmbook.records import gan as recipe
from fmbook.widgets import LatentWalk

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(got: Tensor, want: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(got, want, atol=tolerance, rtol=0)


# --- oracle: what others compute


@few
@given(st.integers(1, 9), seeds)
def test_losses_are_torchs_cross_entropies(B: int, seed: int) -> None:
    real, fake = 3 * normal(B, seed=seed), 3 * normal(B, seed=seed + 1)
    entropy = F.binary_cross_entropy_with_logits
    caught = entropy(fake, torch.zeros_like(fake))
    told = entropy(real, torch.ones_like(real)) + caught
    for kind, fooled in (
        ("saturating", -caught),
        ("non-saturating", entropy(fake, torch.ones_like(fake))),
    ):
        got = losses(kind, real, fake)
        same(got[0], told)
        same(got[1], fooled)


@few
@given(st.integers(2, 6), st.integers(2, 6), seeds)
def test_power_iteration_finds_the_largest_singular_value(many: int, width: int, seed: int) -> None:
    weight = normal(many, width, seed=seed)
    sigma, u = spectral_norm(weight, torch.ones(many, dtype=torch.float64) + normal(many), 300)
    values = torch.linalg.svdvals(weight)
    assert sigma <= values[0] + 1e-9
    if values[1] < 0.95 * values[0]:  # slow where two are nearly equal
        same(sigma, values[0], 1e-8)
    same(u.norm(), torch.tensor(1.0, dtype=torch.float64))


@few
@given(st.integers(1, 5), seeds)
def test_the_distance_is_that_of_the_eigenvalues_of_the_product(D: int, seed: int) -> None:
    a, b = normal(9, D, seed=seed), normal(12, D, seed=seed + 1) @ normal(D, D, seed=seed + 2)
    S, T = (np.atleast_2d(np.cov(x.numpy().T)) for x in (a, b))
    roots = np.sqrt(np.linalg.eigvals(S @ T).real.clip(0)).sum()
    gap = float((a.mean(0) - b.mean(0)).square().sum())
    assert abs(frechet_distance(a, b) - (gap + np.trace(S + T) - 2 * roots)) < 1e-5


def test_spectral_layers_are_those_of_torch() -> None:
    ours = Discriminator(spectral=True).double().eval()
    for layer in ours.layers:
        weight = layer.parametrizations.weight.original.flatten(1)
        stretched = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert 0.95 < stretched / SLOPE < 1.6, stretched  # 15 steps of power iteration at birth
        ratio = layer.weight.flatten(1) / weight
        same(ratio, ratio[:1, :1].expand_as(ratio), 1e-6)


# --- property: what holds for any input


@few
@given(seeds)
def test_both_games_leave_the_judge_the_same_and_differ_for_the_maker(seed: int) -> None:
    real, fake = normal(5, seed=seed), normal(5, seed=seed + 1)
    first, second = (losses(kind, real, fake) for kind in KINDS[:2])
    same(first[0], second[0])
    assert first[1] < 0 < second[1]


@few
@given(seeds)
def test_the_distance_is_symmetric_and_zero_of_a_cloud_with_itself(seed: int) -> None:
    a, b = normal(7, 4, seed=seed), normal(9, 4, seed=seed + 1)
    assert abs(frechet_distance(a, b) - frechet_distance(b, a)) < 1e-6
    assert abs(frechet_distance(a, a)) < 1e-6
    turn = torch.linalg.qr(normal(4, 4, seed=seed + 2))[0]
    assert abs(frechet_distance(a @ turn, b @ turn) - frechet_distance(a, b)) < 1e-6


@few
@given(seeds, st.floats(0, 1))
def test_an_average_lies_between_and_changes_nothing(seed: int, decay: float) -> None:
    old, new = {"w": normal(3, seed=seed)}, {"w": normal(3, seed=seed + 1)}
    copies = old["w"].clone(), new["w"].clone()
    got = moving_average(old, new, decay)["w"]
    assert (got >= torch.minimum(*copies) - 1e-12).all()
    assert (got <= torch.maximum(*copies) + 1e-12).all()
    assert torch.equal(old["w"], copies[0])
    assert torch.equal(new["w"], copies[1])


def test_a_round_moves_both_players_and_each_by_its_own_loss() -> None:
    players = Generator(Z=4, width=2), Discriminator(width=2)
    before = [[p.clone() for p in player.parameters()] for player in players]
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(4, 1, 28, 28, generator=generator)
    (round_,) = play(players, [batch], Game(), generator)
    assert all(map(math.isfinite, round_))
    for player, old in zip(players, before, strict=True):
        assert any(not torch.equal(p, q) for p, q in zip(player.parameters(), old, strict=True))
    assert all(p.requires_grad for p in players[1].parameters())


def test_with_spectral_norm_the_judge_keeps_its_slope_however_its_weights_grow() -> None:
    judge, images = Discriminator(spectral=True).eval(), torch.rand(4, 1, 28, 28)
    before = judge(images) - judge(0 * images)
    for layer in judge.layers:
        with torch.no_grad():
            layer.parametrizations.weight.original.mul_(100)
    same(judge(images) - judge(0 * images), before, 1e-4)


def test_a_maker_without_rate_stands_still() -> None:
    players = Generator(Z=4, width=2), Discriminator(width=2)
    before = [p.clone() for p in players[0].parameters()]
    game = Game(rates=(1e-30, 1e-3))
    list(play(players, [torch.rand(4, 1, 28, 28)], game, torch.Generator().manual_seed(0)))
    for p, old in zip(players[0].parameters(), before, strict=True):
        torch.testing.assert_close(p, old)


def test_the_game_is_played_by_its_own_noise() -> None:
    ends = []
    for _ in range(2):
        players = recipe.new_players(0, spectral=True)
        batches = [torch.full((4, 1, 28, 28), 0.5)] * 2
        ends.append(list(play(players, batches, Game(), torch.Generator().manual_seed(3))))
    assert ends[0] == ends[1]


# --- worked examples


def test_the_chapters_numbers() -> None:
    score = torch.tensor([3.0]).log()
    assert abs(losses("saturating", score, -score)[0] - 0.5754) < 1e-4
    assert [round(losses(kind, score, -score)[1].item(), 3) for kind in KINDS] == [
        -0.288, 1.386, 1.099
    ]  # fmt: skip
    assert losses("hinge", score, -score)[0] == 0


def test_two_gaussians_in_one_dimension() -> None:
    assert abs(frechet_distance(torch.tensor([[0.0], [2]]), torch.tensor([[3.0], [7]])) - 18) < 1e-9


def test_a_ring_has_eight_clouds() -> None:
    generator = torch.Generator().manual_seed(0)
    points = recipe.ring(4000, generator)
    assert recipe.modes(points) == 8
    assert recipe.modes(points[points[:, 0] > 0.5]) == 3
    assert recipe.modes(torch.zeros(100, 2)) == 0


def test_a_walk_keeps_its_ends_and_its_length() -> None:
    a, b = recipe.noise(0, 2)
    path = recipe.walk(a, b, 5)
    same(path[0], a, 1e-4)
    same(path[-1], b, 1e-4)
    assert path.norm(dim=1).min() > 0.9 * min(a.norm(), b.norm())


# --- limits


def test_scores_of_hundreds_do_not_overflow() -> None:
    sure = torch.tensor([500.0]), torch.tensor([-500.0])
    assert [loss.item() for loss in losses("non-saturating", *sure)] == [0.0, 500.0]


def test_singular_clouds_have_a_distance() -> None:
    flat = normal(3, 8)
    assert abs(frechet_distance(flat, flat + 1) - 8) < 1e-5


def test_whole_numbers_are_copied() -> None:
    old, new = {"n": torch.tensor(3)}, {"n": torch.tensor(8)}
    got = moving_average(old, new, 0.9)
    assert got == {"n": torch.tensor(8)}
    assert got["n"] is not new["n"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: losses("wasserstein", normal(1), normal(1)), "one of saturating"),
        (lambda: frechet_distance(normal(4, 2), normal(4, 3)), r"\(4, 2\) and \(4, 3\)"),
        (lambda: frechet_distance(normal(1, 2), normal(4, 2)), "expected"),
        (lambda: moving_average({}, {}, 1.5), "from 0 to 1, got 1.5"),
        (lambda: Game(kind="other"), "got 'other'"),
        (lambda: Game(rates=(0.0, 1.0)), "above 0"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


# --- the record


def test_the_record_is_of_this_code() -> None:
    assert not records.stale("gan"), "run `make records`"


def test_the_record_says_what_the_chapter_says() -> None:
    record = records.load("gan")
    for cure in recipe.CURES | recipe.WITHOUT:
        runs = record[cure]
        assert len(runs) >= 3
        assert {run["rounds"][3] for run in runs} == {600}
        live, average = (np.mean([run[view][3] for run in runs]) for view in ("live", "average"))
        assert average < live
    last = [run["average"][-1] for run in record["hinge"]]
    assert max(last) < record["floor"]["no ones"]
    assert np.mean([run["cpu_seconds"] for run in record["hinge"]]) <= 60
    assert all(run["1"][-1] <= 2 and run["4"][-1] >= 5 for run in record["ring"])
    assert record["floor"]["real"] < 10
    assert record["ledger"][0]["quality"]["frechet_distance"] > 0


def test_images_are_stored_and_read_back() -> None:
    images = torch.rand(3, 28, 28)
    same(recipe.images_of(recipe.packed_images(images)), images, 0.5 / 255 + 1e-6)
    assert recipe.images_of(records.load("gan")["walks"]).shape == (33, 28, 28)


# --- the widget


def test_a_walk_takes_as_many_texts_as_pictures() -> None:
    alt = "From dark to bright in two steps."
    pictures = [[[[0.0]], [[1.0]]]]
    widget = LatentWalk(pictures, ["up"], [["dark", "bright"]], alt=alt)
    assert list(widget.pixels) == [0, 255]
    for images, names, says, words in (
        (pictures, ["up"], [["dark"]], "a text each"),
        (pictures, ["up", "down"], [["a", "b"]] * 2, "2 names, 1 walks"),
        ([[[[0.0]], [[2.0]]]], ["up"], [["a", "b"]], "from 0 to 1"),
        ([[0.0]], ["up"], [["a"]], r"\(walks, steps, H, W\)"),
    ):
        with pytest.raises(ValueError, match=words):
            LatentWalk(images, names, says, alt=alt)
    many = recipe.images_of(records.load("gan")["walks"]).reshape(3, 11, 28, 28)
    said = [["the reader sees a 3, 99% sure"] * 11] * 2
    page = LatentWalk(many[:2], ["from a 2 to a 3"] * 2, said, alt=alt).html()
    assert len(page.encode()) <= 45_000
