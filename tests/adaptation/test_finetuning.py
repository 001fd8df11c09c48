"""Fine-tuning: what is read, what is frozen, what an update of low rank can do, and its merge."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fmbook.adaptation.finetuning import (
    Classifier,
    LoRA,
    adapt,
    energy_rank,
    lora,
    merged,
    padded,
    pooled,
)
from fmbook.transformers.tokenizer import Tokenizer
from fmbook.transformers.transformer import GPT, Sizes

SIZES = Sizes(V=20, D=16, N=2, layers=2, context=12)
seeds = st.integers(0, 2**31)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classifier(seed: int = 0, classes: int = 3) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(GPT(SIZES), classes)


def texts(seed: int, n: int = 6, T: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 20, (n, T), generator=generator)
    lengths = torch.randint(1, T + 1, (n,), generator=generator)
    labels = torch.randint(0, 3, (n,), generator=generator)
    return tokens, torch.arange(T) < lengths[:, None], labels


# reading


def test_texts_begin_with_the_last_piece_and_end_with_padding() -> None:
    tokenizer = Tokenizer([], special=["<end>"])
    tokens, real = padded(tokenizer, ["abc", "", "a" * 100], 4)
    assert tokens.tolist() == [[256, 97, 98, 99], [256, 0, 0, 0], [256, 97, 97, 97]]
    assert real.sum(1).tolist() == [4, 1, 4]


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_a_text_is_read_alike_whatever_stands_beside_and_after_it(seed: int) -> None:
    states, n = normal(seed, 3, 7, 4), 1 + seed % 6
    real = torch.arange(7) < torch.tensor([[n], [7], [2]])
    alone = states[0, :n].mean(0)
    torch.testing.assert_close(pooled(states, real)[0], alone)
    torch.testing.assert_close(pooled(states[:1, :n], real[:1, :n])[0], alone)


def test_a_classifier_does_not_hear_padding() -> None:
    model, (tokens, real, _) = classifier(), texts(0)
    nn.init.normal_(model.head.weight)
    other = torch.where(real, tokens, 7)
    torch.testing.assert_close(model(tokens, real), model(other, real))


# low rank


@given(seeds, st.integers(1, 4), st.floats(0.5, 20))
@settings(max_examples=30, deadline=None)
def test_a_merged_matrix_does_what_the_pair_does(seed: int, r: int, alpha: float) -> None:
    x, W, A, B = (normal(seed + i, *s) for i, s in enumerate(((3, 5), (4, 5), (r, 5), (4, r))))
    torch.testing.assert_close(x @ merged(W, A, B, alpha).T, lora(x, W, A, B, alpha))
    assert torch.linalg.matrix_rank(merged(W, A, B, alpha) - W) <= r


def test_an_update_is_scaled_by_alpha_over_r() -> None:
    x, W, A, B = (normal(i, *s) for i, s in enumerate(((3, 5), (4, 5), (2, 5), (4, 2))))
    twice = lora(x, W, torch.cat((A, A)), torch.cat((B, B), 1), 8.0)
    torch.testing.assert_close(twice, lora(x, W, A, B, 8.0))


def test_the_gradient_of_an_update_is_right() -> None:
    shapes = ((3, 5), (4, 5), (2, 5), (4, 2))
    inputs = [normal(i, *s).requires_grad_() for i, s in enumerate(shapes)]
    assert torch.autograd.gradcheck(lambda *t: lora(*t, 3.0), inputs)


def test_a_model_with_updates_begins_as_it_was_and_trains_little() -> None:
    model, (tokens, real, _) = classifier(), texts(1)
    nn.init.normal_(model.head.weight)
    before = {name: w.clone() for name, w in model.state_dict().items()}
    thin = LoRA.within(model, r=2, alpha=4)
    torch.testing.assert_close(thin(tokens, real), model(tokens, real))
    trained = sum(p.numel() for p in thin.parameters() if p.requires_grad)
    assert trained == 2 * 2 * (2 * 2 * 16)  # layers, query and value, A and B of rank 2
    assert all(torch.equal(before[name], w) for name, w in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_training_moves_the_updates_alone_and_the_merge_keeps_the_answers() -> None:
    tokens, real, labels = texts(2)
    model = classifier()
    model.body = LoRA.within(model.body, r=2, alpha=4)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    losses = [loss for _, loss in adapt(model, (tokens, real, labels), 60, 0.02, torch.Generator())]
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(frozen[n], p) for n, p in model.named_parameters() if n in frozen)
    plain = LoRA.merge(model)
    assert not [part for part in plain.modules() if isinstance(part, LoRA)]
    assert set(plain.state_dict()) == set(classifier().state_dict())
    torch.testing.assert_close(plain(tokens, real), model(tokens, real), atol=1e-5, rtol=1e-4)
    assert [part for part in model.modules() if isinstance(part, LoRA)]


def test_an_update_of_full_rank_can_be_any_change() -> None:
    W, change = normal(0, 4, 5), normal(1, 4, 5)
    U, s, V = torch.linalg.svd(change, full_matrices=False)
    torch.testing.assert_close(merged(W, V, U * s, alpha=4.0), W + change)


# what a training used


def test_directions_are_counted_until_they_hold_the_share() -> None:
    zeros, change = torch.zeros(3, 3), torch.diag(torch.tensor([3.0, 1.0, 0.0]))
    assert [energy_rank(zeros, change, share) for share in (0.5, 0.9, 0.91, 1.0)] == [1, 1, 2, 2]


@given(seeds, st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_an_update_never_uses_more_directions_than_its_rank(seed: int, r: int) -> None:
    W, A, B = normal(seed, 8, 6), normal(seed + 1, r, 6), normal(seed + 2, 8, r)
    assert energy_rank(W, merged(W, A, B, 2.0), 0.999999) <= r


@pytest.mark.parametrize("share", [0.0, -1.0, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"need a share in 0\.\.1"):
        energy_rank(torch.zeros(2, 2), torch.eye(2), share)


def test_no_change_has_no_directions() -> None:
    with pytest.raises(ValueError, match="and a change"):
        energy_rank(torch.eye(2), torch.eye(2))


# training


def test_the_same_seed_gives_the_same_training() -> None:
    def run(seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)
        return [loss for _, loss in adapt(classifier(), texts(3, n=40), 5, 1e-3, generator)]

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_the_first_loss_is_that_of_guessing() -> None:
    step, loss = next(iter(adapt(classifier(), texts(4), 5, 1e-3, torch.Generator())))
    assert step == 0
    assert loss == pytest.approx(math.log(3), abs=1e-6)


def test_a_frozen_body_stays_as_it_was() -> None:
    model = classifier()
    model.body.requires_grad_(False)
    before = [p.clone() for p in model.body.parameters()]
    for _ in adapt(model, texts(5), 10, 0.01, torch.Generator()):
        pass
    assert all(torch.equal(a, b) for a, b in zip(before, model.body.parameters(), strict=True))
    assert model.head.weight.abs().max() > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_adapts_as_the_cpu_does() -> None:
    rows = texts(6)
    losses = []
    for place in ("cpu", "cuda"):
        model = classifier().to(place)
        moved = tuple(row.to(place) for row in rows)
        losses.append([x for _, x in adapt(model, moved, 20, 0.01, torch.Generator())])
    torch.testing.assert_close(losses[0], losses[1], atol=0.02, rtol=0)
