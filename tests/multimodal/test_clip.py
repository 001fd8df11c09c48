"""The joint space: losses by formula, classes of sentences, recall and gap; its data and recipe."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbook.multimodal.clip import (
    CLIP,
    ImageTower,
    TextTower,
    Words,
    contrastive_loss,
    modality_gap,
    recall,
    zero_shot,
)
from fmbook.records import clip as recipe
from fmbook.transformers.transformer import Sizes

SIZES = Sizes(V=9, D=8, N=2, layers=1, context=16)
seeded = torch.Generator().manual_seed


def pairs(seed: int, B: int = 12, D: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    u, t = torch.randn(2, B, D, generator=seeded(seed), dtype=torch.float64)
    return u, t


# the loss


def test_the_loss_is_that_of_the_worked_example() -> None:
    told = contrastive_loss(torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]]), 0.5)
    rows = (math.log(1 + math.exp(-0.8)) + math.log(1 + math.exp(-1.6))) / 2
    columns = (math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(-0.4))) / 2
    assert told.item() == pytest.approx((rows + columns) / 2, abs=1e-6)


@given(seed=st.integers(0, 10_000), B=st.integers(1, 20), temperature=st.floats(0.01, 5))
@settings(max_examples=30, deadline=None)
def test_the_loss_is_the_mean_log_probability_of_the_partner(
    seed: int, B: int, temperature: float
) -> None:
    u, t = pairs(seed, B)
    cosines = F.cosine_similarity(u[:, None], t[None], dim=-1) / temperature
    wanted = 0.0
    for i in range(B):
        wanted += cosines[i].logsumexp(0) + cosines[:, i].logsumexp(0) - 2 * cosines[i, i]
    assert contrastive_loss(u, t, temperature).item() == pytest.approx(
        float(wanted) / (2 * B), abs=1e-9
    )


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_loss_knows_no_order_no_lengths_and_no_sides(seed: int) -> None:
    u, t = pairs(seed)
    told, order = contrastive_loss(u, t, 0.3), torch.randperm(len(u), generator=seeded(seed))
    lengths = torch.rand(len(u), 1, generator=seeded(seed)) + 0.1
    for other in (
        contrastive_loss(t, u, 0.3),
        contrastive_loss(u[order], t[order], 0.3),
        contrastive_loss(lengths * u, t / lengths, 0.3),
    ):
        assert other.item() == pytest.approx(told.item(), abs=1e-9)


def test_knowing_nothing_costs_the_logarithm_of_the_batch() -> None:
    same = torch.ones(128, 4)
    assert contrastive_loss(same, same, 0.07).item() == pytest.approx(math.log(128), abs=1e-5)
    assert contrastive_loss(same[:1], same[:1], 0.07) == 0


def test_the_loss_stands_cold_temperatures_and_has_right_gradients() -> None:
    assert contrastive_loss(torch.eye(4), torch.eye(4), 1e-4) == 0
    assert contrastive_loss(torch.eye(2), torch.eye(2).flip(0), 1e-3).item() == pytest.approx(1000)
    u, t = (x.requires_grad_() for x in pairs(0, 4, 3))
    tau = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(contrastive_loss, (u, t, tau))


@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,))])
def test_pairs_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(B, D\) twice"):
        contrastive_loss(torch.ones(shapes[0]), torch.ones(shapes[1]), 1.0)


# classes of sentences


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_class_is_the_mean_direction_of_its_prompts(seed: int) -> None:
    images, prompts = pairs(seed)[0], torch.randn(4, 3, 5, generator=seeded(seed)).double()
    wanted = []
    for image in images:
        means = [sum(p / p.norm() for p in several) for several in prompts]
        wanted.append(max(range(4), key=lambda c: float(image @ means[c] / means[c].norm())))
    assert zero_shot(images, prompts).tolist() == wanted
    lengths = torch.rand(4, 3, 1, generator=seeded(seed)) + 0.1
    assert zero_shot(7 * images, lengths * prompts).tolist() == wanted


def test_prompts_that_do_not_fit_are_refused() -> None:
    for prompts in (torch.ones(2, 3), torch.ones(2, 1, 4)):
        with pytest.raises(ValueError, match=r"prompts \(classes, P, D\)"):
            zero_shot(torch.ones(5, 3), prompts)


# recall and gap


@given(seed=st.integers(0, 10_000), k=st.integers(1, 14))
@settings(max_examples=30, deadline=None)
def test_recall_is_the_share_whose_partner_is_among_the_first_k(seed: int, k: int) -> None:
    u, t = pairs(seed)
    scores = F.normalize(u, dim=1) @ F.normalize(t, dim=1).T
    most = min(k, 12)
    rows = [i in scores[i].topk(most).indices.tolist() for i in range(12)]
    columns = [i in scores[:, i].topk(most).indices.tolist() for i in range(12)]
    assert recall(u, t, k) == pytest.approx((sum(rows) / 12, sum(columns) / 12))


def test_recall_counts_ties_against_the_model() -> None:
    assert recall(torch.ones(9, 3), torch.ones(9, 3), k=8) == (0, 0)
    assert recall(torch.ones(9, 3), torch.ones(9, 3), k=9) == (1, 1)
    for k, texts in ((0, torch.ones(9, 3)), (1, torch.ones(8, 3))):
        with pytest.raises(ValueError, match="k from 1 on"):
            recall(torch.ones(9, 3), texts, k)


def test_the_gap_is_that_of_the_centres_on_the_sphere() -> None:
    east, north = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.5]])
    assert modality_gap(east, north) == pytest.approx(math.sqrt(2))
    assert modality_gap(east.repeat(5, 1), east) == 0
    both = torch.cat((east, -east))
    assert modality_gap(both, north) == pytest.approx(1)


# towers


def test_words_are_lower_case_runs_of_letters_and_digits() -> None:
    words = Words(["Three o’clock!", "no_smoking"])
    assert list(words.numbers) == ["clock", "no", "o", "smoking", "three"]
    assert len(words) == 7
    assert words.ids(["THREE quasar", "no"]).tolist() == [[6, 1], [3, 0]]
    with pytest.raises(ValueError, match="caption 1 has no words"):
        words.ids(["no", "?!"])


def test_a_text_does_not_depend_on_the_padding_of_its_batch() -> None:
    torch.manual_seed(0)
    tower = TextTower(SIZES, D=6)
    short = torch.tensor([[4, 3]])
    alone, padded = tower(short), tower(F.pad(short, (0, 5)))
    torch.testing.assert_close(alone, padded)
    assert not torch.allclose(alone, tower(short.flip(1)), atol=1e-4)  # but on the order of words


def test_the_model_compares_unit_vectors_at_its_temperature() -> None:
    torch.manual_seed(0)
    model = CLIP(ImageTower(D=6), TextTower(SIZES, D=6), temperature=0.2)
    images, tokens = torch.randn(3, 3, 32, 32), torch.tensor([[4, 3], [2, 5], [6, 0]])
    u, t = model.images(images), model.texts(tokens)
    torch.testing.assert_close(u.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(t.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(model(images, tokens), 5 * u @ t.T)
    model.log_scale.data.fill_(100.0)
    assert model.temperature.item() == pytest.approx(0.01)
    with pytest.raises(ValueError, match="must be positive"):
        CLIP(model.image, model.text, temperature=0.0)


# the recipe


def test_no_training_batch_shows_a_pair_that_is_never_to_be_shown() -> None:
    hidden = {recipe.caption(*pair, kind) for pair in recipe.never_together() for kind in range(3)}
    seen = {c for _, captions in recipe.digit_batches(0, 30) for c in captions}
    assert len(recipe.never_together()) == 12
    assert not seen & hidden
    assert len(seen) > 130  # of 144
    assert {d for d, _ in recipe.never_together()} == set(range(10))


def test_held_out_emoji_have_words_that_others_have() -> None:
    learned, held = recipe.emoji_split()
    names = recipe.pictures()[1]
    known = {word for number in learned for word in Words.split(names[number])}
    assert len(held) == 100
    assert not set(learned) & set(held)
    assert all(set(Words.split(names[number])) <= known for number in held)


def test_scenes_hold_what_their_captions_say() -> None:
    fresh = seeded(3)
    sheets, captions = recipe.scene_batch(fresh, share=1.0, size=32)
    filled = (sheets.reshape(32, 3, 2, 16, 2, 16).amax((1, 3, 5)) > 0.3).sum((1, 2))
    for n, caption in zip(filled.tolist(), captions, strict=True):
        first, *_ = caption.split()
        wanted = recipe.COUNTS.index(first) + 1 if first in recipe.COUNTS else None
        assert n == (wanted or (2 if " and " in caption else n))
    assert any("without" in caption for caption in captions)
    assert not any("without" in c for c in recipe.scene_batch(fresh, share=0.0)[1])


def test_the_stored_emoji_model_finds_what_it_learned() -> None:
    model, words = recipe.emoji_model()
    images, names = recipe.pictures()
    with torch.no_grad():
        both = recall(model.images(images), model.texts(words.ids(names)), k=10)
    assert min(both) > 0.7
