"""The transformer: its parts beside torch's, what a block may know, by hand, and at its limits."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmbook import records
from fmbook.precision import half, half_pays
from fmbook.records import transformer as recipe
from fmbook.transformers.attention import MultiHeadAttention, attention, causal_mask, rotate
from fmbook.transformers.transformer import (
    GPT,
    Block,
    Encoder,
    EncoderDecoder,
    FeedForward,
    Heads,
    Sizes,
    _turned,
    _turns,
)

few = settings(max_examples=15, deadline=None)
lengths, seeds = st.integers(1, 7), st.integers(0, 10_000)
POSITIONS = ("rotary", "learned", "sinusoidal", "none")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tokens(*shape: int, seed: int = 0, V: int = 11) -> Tensor:
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


def small(**other: object) -> Sizes:
    given = {"V": 11, "D": 8, "N": 2, "layers": 2, "context": 16} | other
    return Sizes(**given)  # type: ignore[arg-type]


def seeded(make, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def same(got: Tensor, want: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(got, want, atol=tolerance, rtol=0)


class Kept:
    """The plainest cache: keys and values of each layer, concatenated."""

    def __init__(self, layers: int) -> None:
        self.held: list[tuple[Tensor, Tensor] | None] = [None] * layers
        self.length = 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        old = self.held[layer]
        both = (k, v) if old is None else (torch.cat((old[0], k), 2), torch.cat((old[1], v), 2))
        self.held[layer] = both
        if layer == len(self.held) - 1:
            self.length = both[0].shape[2]
        return both


# --- oracle: what others compute


@few
@given(lengths, lengths, seeds, st.booleans())
def test_heads_agree_with_those_of_the_chapter_before(
    T: int, S: int, seed: int, causal: bool
) -> None:
    ours = seeded(lambda: Heads(8, 2, causal=causal), seed).double()
    plain = MultiHeadAttention(8, 2, causal=causal).double()
    plain.load_state_dict(ours.state_dict())
    x, context = normal(2, T, 8, seed=seed), normal(2, S, 8, seed=seed + 1)
    same(ours(x), plain(x))
    if not causal:
        same(ours(x, context), plain(x, context))


def test_turned_heads_agree_with_rotary_ones() -> None:
    ours, plain = (
        seeded(lambda: Heads(8, 2, causal=True)),
        MultiHeadAttention(8, 2, causal=True, rotary=True),
    )
    plain.load_state_dict(ours.state_dict())
    x = normal(2, 9, 8).float()
    same(ours(x, turns=_turns(0, 9, 4, x)), plain(x), 1e-6)


@few
@given(st.integers(0, 30), st.integers(1, 9))
def test_a_turn_that_starts_later_is_the_rest_of_a_longer_one(start: int, T: int) -> None:
    x = normal(1, start + T, 2, 6).float()
    later = _turned(x[:, start:], _turns(start, T, 6, x))
    same(later.transpose(1, 2), rotate(x.transpose(1, 2))[:, :, start:], 2e-6)


def test_a_mask_of_padding_is_that_of_attention() -> None:
    heads, x = seeded(lambda: Heads(8, 2)).double(), normal(2, 5, 8)
    real = torch.tensor([[True] * 5, [True, True, True, False, False]])
    same(heads(x, mask=real[:, None, None])[1, :3], heads(x[1:, :3])[0])


def test_a_post_norm_block_is_torchs_encoder_layer() -> None:
    block = seeded(lambda: Block(small(norm="post", positions="none"))).double()
    torchs = nn.TransformerEncoderLayer(
        8, 2, 32, 0.0, "gelu", bias=False, batch_first=True, dtype=torch.float64
    )
    torchs.norm1, torchs.norm2 = copy.deepcopy(block.norms)
    own = block.attention
    with torch.no_grad():
        weights = [own.query.weight, own.key.weight, own.value.weight]
        torchs.self_attn.in_proj_weight.copy_(torch.cat(weights))
        torchs.self_attn.out_proj.weight.copy_(own.output.weight)
        torchs.linear1.weight.copy_(block.feed_forward.up.weight)
        torchs.linear2.weight.copy_(block.feed_forward.down.weight)
    x = normal(2, 5, 8)
    same(block(x), torchs(x))
    torchs.norm_first, block.pre = True, True
    same(block(x), torchs(x))


def test_the_feed_forward_by_formula() -> None:
    part, x = seeded(lambda: FeedForward(8, 12)).double(), normal(2, 5, 8)
    hidden = torch.einsum("btd,fd->btf", x, part.up.weight)
    hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2  # its share below a Gaussian
    same(part(x), torch.einsum("btf,df->btd", hidden, part.down.weight))


# --- property: what holds for any input


@few
@given(st.integers(2, 8), seeds, st.sampled_from(POSITIONS), st.sampled_from(["pre", "post"]))
def test_no_position_of_a_decoder_reads_a_later_one(
    T: int, seed: int, positions: str, norm: str
) -> None:
    model = seeded(lambda: GPT(small(positions=positions, norm=norm)), seed).double()
    x, now = tokens(2, T, seed=seed), seed % T
    changed = x.clone()
    changed[:, now:] = (x[:, now:] + 1) % 11
    same(model(changed)[:, :now], model(x)[:, :now])
    assert (model(changed) - model(x))[:, now:].abs().amax(-1).min() > 1e-9


@few
@given(st.integers(2, 8), seeds)
def test_every_position_of_an_encoder_reads_all(T: int, seed: int) -> None:
    model = seeded(lambda: Encoder(small()), seed).double()
    x, at = tokens(1, T, seed=seed), seed % T
    changed = x.clone()
    changed[:, at] = (x[:, at] + 1) % 11
    assert (model(changed) - model(x)).abs().amax(-1).min() > 1e-9


@few
@given(st.integers(1, 6), st.integers(1, 5), seeds, st.sampled_from(POSITIONS))
def test_padding_changes_nothing_for_those_who_are_real(
    T: int, extra: int, seed: int, positions: str
) -> None:
    model = seeded(lambda: Encoder(small(positions=positions)), seed).double()
    x = tokens(1, T + extra, seed=seed)
    real = torch.arange(T + extra)[None] < T
    same(model(x, real)[:, :T], model(x[:, :T]), 1e-6)


@few
@given(st.integers(1, 5), st.integers(1, 4), seeds, st.sampled_from(POSITIONS))
def test_a_cache_changes_the_cost_and_not_the_answer(
    first: int, then: int, seed: int, positions: str
) -> None:
    model = seeded(lambda: GPT(small(positions=positions)), seed)
    x = tokens(2, first + then + 1, seed=seed)
    cache = Kept(2)
    parts = [model(x[:, :first], cache), model(x[:, first:-1], cache), model(x[:, -1:], cache)]
    assert cache.length == first + then + 1
    same(torch.cat(parts, 1), model(x), 2e-6)


@few
@given(st.integers(1, 6), st.integers(1, 6), seeds)
def test_a_decoder_hears_its_source_and_no_later_target(S: int, T: int, seed: int) -> None:
    model = seeded(lambda: EncoderDecoder(small()), seed).double()
    source, target = tokens(1, S, seed=seed), tokens(1, T, seed=seed + 1)
    said = model(source, target)
    assert said.shape == (1, T, 11)
    assert (model((source + 1) % 11, target) - said).abs().amax(-1).min() > 1e-9
    same(model(source, target[:, :1]), said[:, :1])
    padded = torch.cat((source, tokens(1, 3)), 1)
    real = torch.arange(S + 3)[None] < S
    same(model(padded, target, real), said, 1e-6)


def test_without_its_parts_a_pre_norm_block_passes_the_stream_on() -> None:
    block, x = Block(small(), causal=True), normal(2, 5, 8).float()
    with torch.no_grad():
        block.attention.output.weight.zero_()
        block.feed_forward.down.weight.zero_()
    assert torch.equal(block(x), x)
    post = Block(small(norm="post"))
    assert not torch.allclose(post(x), x)  # nothing passes a post-norm block unchanged


def test_a_pre_norm_part_reads_a_direction_and_no_length() -> None:
    block, x = seeded(lambda: Block(small())).double(), normal(2, 5, 8)
    block.feed_forward.down.weight.data.zero_()
    same(block(1000 * x) - 1000 * x, block(x) - x, 1e-6)


def test_an_encoder_without_positions_sees_a_set_and_with_any_kind_an_order() -> None:
    order = torch.tensor([3, 0, 2, 1])
    x = torch.tensor([[1, 2, 3, 4]])
    for positions in POSITIONS:
        model = seeded(lambda p=positions: Encoder(small(positions=p))).double()
        shuffled = torch.allclose(model(x[:, order]), model(x)[:, order], atol=1e-9)
        assert shuffled == (positions == "none")


def test_models_leave_their_arguments_alone() -> None:
    x, real = tokens(2, 5), torch.ones(2, 5, dtype=torch.bool)
    before = x.clone()
    Encoder(small())(x, real)
    GPT(small())(x)
    assert torch.equal(x, before)
    assert real.all()


# --- worked examples: numbers that one can do by hand


def test_one_position_by_hand() -> None:
    block = Block(Sizes(V=2, D=2, N=1, layers=1, context=4, F=1))
    with torch.no_grad():
        for part in (block.attention.query, block.attention.key, block.attention.value):
            part.weight.copy_(torch.eye(2))
        block.attention.output.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        block.feed_forward.up.weight.copy_(torch.tensor([[1.0, 0.0]]))
        block.feed_forward.down.weight.copy_(torch.tensor([[0.0], [0.5]]))
    # (1, 7): root mean square 5, normed (0.2, 1.4); attention adds it with the places exchanged:
    # (2.4, 7.2), mean square 28.8; the first normed number is z = 2.4 / sqrt(28.8), and the
    # feed-forward adds half of z * Phi(z) = 0.4472 * 0.6726 to the second place
    got = block(torch.tensor([[[1.0, 7.0]]]))
    same(got, torch.tensor([[[2.4, 7.2 + 0.4472 * 0.6726 / 2]]]), 1e-4)


def test_the_number_of_parameters() -> None:
    model = GPT(Sizes(V=1024, D=128, N=4, layers=4, context=64))
    blocks = 4 * (4 * 128**2 + 2 * 128 * 512 + 2 * 128)
    assert sum(p.numel() for p in model.parameters()) == blocks + 2 * 1024 * 128 + 128
    learned = GPT(small(positions="learned"))
    more = sum(p.numel() for p in learned.parameters()) - sum(
        p.numel() for p in GPT(small()).parameters()
    )
    assert more == 16 * 8


def test_all_weights_are_linear_embedding_or_norm_and_have_plain_names() -> None:
    model = EncoderDecoder(small(positions="learned"))
    leaves = [m for m in model.modules() if not list(m.children())]
    assert {type(m) for m in leaves} == {nn.Linear, nn.Embedding, nn.RMSNorm}
    names = {name.split(".")[-2] for name in model.state_dict()} - set("0123")
    assert names == {
        *("query", "key", "value", "output", "up", "down"),
        *("embedding", "places", "norm", "readout"),
    }


# --- limits


def test_one_token_and_long_texts() -> None:
    model = GPT(small())
    assert model(tokens(1, 1)).shape == (1, 1, 11)
    assert model(tokens(1, 40)).isfinite().all()  # turns go on beyond the context


def test_a_stream_of_ten_thousand_stays_finite() -> None:
    assert Block(small())(1e4 * normal(1, 5, 8).float()).isfinite().all()


def test_gradients_are_the_derivatives() -> None:
    block, x = seeded(lambda: Block(small(), causal=True)).double(), normal(1, 3, 8)
    assert torch.autograd.gradcheck(block, (x.requires_grad_(),))


def test_learned_positions_end() -> None:
    model = GPT(small(positions="learned"))
    with pytest.raises(ValueError, match="17 positions, but only 16 were learned"):
        model(tokens(1, 17))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: small(D=0), "D must be at least 1, got 0"),
        (lambda: small(N=3), "3 heads cannot share a width of 8"),
        (lambda: small(D=6), "even width, got 3"),
        (lambda: small(positions="rope"), "got 'rope'"),
        (lambda: small(norm="both"), "got 'both'"),
        (lambda: GPT(small())(tokens(5)), r"tokens \(B, T\) of integers, got \(5,\)"),
        (lambda: GPT(small())(normal(1, 5)), "of integers"),
        (lambda: GPT(small(), cross=True)(tokens(1, 5)), "give it a context"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given(wrong, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


# --- half precision, and other devices


def test_half_precision_is_a_switch_and_close() -> None:
    model, x = seeded(lambda: GPT(small())), tokens(2, 9)
    exact = model(x)
    with half(False):
        assert torch.equal(model(x), exact)
    with half(True):
        rough = model(x)
    assert rough.dtype == torch.bfloat16
    assert 1e-6 < (rough.float() - exact).abs().max() < 0.05  # 8 bits of mantissa


def test_attention_itself_stays_in_float32_on_a_cpu(monkeypatch) -> None:
    seen = []
    kept = F.scaled_dot_product_attention

    def watching(q, k, v, **how):
        seen.extend((q.dtype, k.dtype, v.dtype))
        return kept(q, k, v, **how)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watching)
    for positions in POSITIONS:
        with half(True):
            GPT(small(positions=positions))(tokens(1, 5)).sum().backward()
    assert set(seen) == {torch.float32}


def test_whether_half_pays_is_measured() -> None:
    assert isinstance(half_pays(size=64, repeats=2), bool)


@pytest.mark.gpu
def test_a_gpt_learns_on_cuda_behind_the_switch() -> None:
    model = seeded(lambda: GPT(Sizes(V=64, D=64, N=2, layers=2, context=32))).cuda()
    x = tokens(8, 33, V=64).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        with half(True, x.device):
            logits = model(x[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), x[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert logits.dtype == torch.bfloat16
    assert losses[-1] < 0.5 * losses[0]
    on_cpu = copy.deepcopy(model).cpu()(x[:, :-1].cpu())
    torch.testing.assert_close(model(x[:, :-1]).cpu(), on_cpu, atol=2e-3, rtol=2e-3)


def test_attention_of_the_chapter_before_is_what_the_kernel_computes() -> None:
    q, k, v = (normal(2, 3, 7, 4, seed=seed) for seed in range(3))
    same(
        F.scaled_dot_product_attention(q, k, v, is_causal=True),
        attention(q, k, v, causal_mask(7)),
    )


# --- the record


def test_the_record_is_of_this_code() -> None:
    assert not records.stale("transformer"), "run `make records`"


def test_the_record_says_what_the_chapter_says() -> None:
    record = records.load("transformer")
    found = {
        kind: [seed[kind] for seed in record["shakespeare"]]
        for kind in ("ours", "half", "hugging_face")
    }
    bits = {kind: [run["bits"] for run in runs] for kind, runs in found.items()}
    assert {len(runs) for runs in found.values()} == {3}
    assert max(bits["ours"]) <= 2.45
    assert max(bits["half"]) <= 2.35
    assert min(bits["hugging_face"]) - max(bits["ours"]) >= 0.5
    fast, slow = (
        sum(run["tokens_per_second"] for run in found[kind]) for kind in ("half", "hugging_face")
    )
    assert fast >= 2 * slow
    assert max(seed["ours"]["bits"] for seed in record["encyclopedia"]) <= 2.10
    assert max(seed["half"]["bits"] for seed in record["encyclopedia"]) <= 2.0
    lstm, letters = ([s[kind]["bits"] for s in record["characters"]] for kind in ("lstm", "gpt"))
    assert len(lstm) == len(letters) == 3
    assert max(lstm) < min(letters)


def test_a_point_of_the_record_comes_out_again() -> None:
    repeated, recorded, band = recipe.point()
    assert abs(repeated - recorded) <= band, f"{repeated} bits, recorded {recorded}"


def test_bits_count_each_token_once_by_hand() -> None:
    # Every next token has the chance 1/8: three bits a token, at four characters a token 0.75.
    text = tokens(4 * 8 + 1, V=8)
    assert abs(recipe.bits(lambda x: torch.zeros(*x.shape, 8), text, 4 * 33, T=8) - 0.75) < 1e-6


def test_competitors_take_turns_and_are_followed_to_their_ends() -> None:
    runs = {"a": iter([(i + 1, 2.0 * i, 1.0) for i in range(24)]), "b": iter([(1, 1.0, 5.0)])}
    found = recipe.followed(runs)
    assert found["a"]["steps"] == [2 * i for i in range(1, 13)]
    assert found["b"]["loss"] == [5.0] * 12


def test_what_is_added_sums_to_the_stream() -> None:
    model, x = seeded(lambda: GPT(small())), tokens(6)
    added = recipe.additions(model, x)
    assert added.shape == (5, 6, 8)
    same(model.norm(added.sum(0)), model.states(x[None])[0], 1e-5)
