"""Open weights: the same numbers as the libraries that are used for this, and what is refused."""

import statistics
import struct
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmbook import data, records, weights
from fmbook.transformers.attention import attention, causal_mask, rotate
from fmbook.transformers.open_weights import (
    GQA,
    Chat,
    Llama,
    LlamaSizes,
    RMSNorm,
    SwiGLU,
    dequantize,
    read_gguf,
)
from fmbook.transformers.open_weights import _turned as turned
from fmbook.transformers.open_weights import _turns as turns
from fmbook.transformers.sampling import Decoding, KVCache, generate

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)
GREEDY = Decoding(temperature=0)
SMALL = LlamaSizes(V=50, D=24, N=6, M=2, layers=2, F=40, base=100.0)
TEXTS = [
    "What is 12 x 7?",
    "In 1905, Albert Einstein published four papers; he was 26.\n\n\tThe first: light.",
    "def f(x):\n    return x**2 + 1  # it's 100% fine, isn't it?\n\n\n",
    "L'été à Besançon; ¿dónde está la biblioteca? Straße, naïve, Ωμέγα, 東京 🙂",
    "   leading,  double   and trailing spaces   ",
    "<|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\n",
    "don't DON'T they'll 3.14159 1e-5 0x1F (a) [b] {c} <d> ... --- ___",
]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def same(got: Tensor, want: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(got, want, atol=tolerance, rtol=0)


def small(sizes: LlamaSizes = SMALL, seed: int = 0) -> Llama:
    """A small model with random weights, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Llama(sizes).double().requires_grad_(False)


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat.read(weights.smollm2())


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """SmolLM2 as transformers reads it from the same file: (model, tokenizer)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("smollm2")
    (folder / "model.gguf").write_bytes(weights.smollm2())
    where = {"pretrained_model_name_or_path": folder, "gguf_file": "model.gguf"}
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    yield model.requires_grad_(False), AutoTokenizer.from_pretrained(**where)
    (folder / "model.gguf").unlink()


# --- oracle: the real model beside transformers


def test_ids_are_those_of_its_tokenizer(chat: Chat, reference: Any) -> None:
    page = next(page.text for page in data.encyclopedia() if len(page.text) > 1_000)
    for text in [*TEXTS, page]:
        assert chat.tokenizer.encode(text, special=True) == reference[1].encode(text)
        assert chat.tokenizer.decode(chat.tokenizer.encode(text)) == text
    assert len(chat.tokenizer) == len(reference[1]) == chat.model.sizes.V
    assert chat.stop == reference[1].eos_token_id


def test_the_prompt_is_that_of_its_template(chat: Chat, reference: Any) -> None:
    turns_ = ["Hi!", "Hello.\nHow can I help?", "What is 2 + 2?"]
    for system in ("", "Be brief."):
        messages = [{"role": "system", "content": system}] * bool(system)
        messages += [
            {"role": role, "content": text}
            for role, text in zip(["user", "assistant", "user"], turns_, strict=True)
        ]
        wanted = reference[1].apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        assert chat.prompt(*turns_, system=system) == wanted
        ids = reference[1](wanted, return_tensors="pt").input_ids
        assert torch.equal(chat.tokens(*turns_, system=system), ids)


def test_logits_are_those_of_transformers_to_float_error(chat: Chat, reference: Any) -> None:
    """Measured: 9e-5 where logits reach 38, which is the rounding of either in float32."""
    for text in TEXTS[1:4]:
        tokens = torch.tensor([chat.tokenizer.encode(text)])
        same(chat.model(tokens), reference[0](tokens).logits, 5e-4)


def test_it_says_the_same(chat: Chat, reference: Any) -> None:
    tokens, n = chat.tokens("What is the capital of France?"), 7  # the eighth ends the answer
    cache = KVCache(chat.model.sizes.layers, tokens.shape[1] + n)
    ours = torch.cat(list(islice(generate(chat.model, tokens, GREEDY, cache=cache), n)))
    wanted = {"max_new_tokens": n, "min_new_tokens": n, "do_sample": False}
    said = reference[0].generate(tokens, attention_mask=torch.ones_like(tokens), **wanted)
    assert torch.equal(ours, said[0, tokens.shape[1] :])
    assert "Paris" in chat.tokenizer.decode(ours.tolist())


def test_with_a_cache_it_computes_the_same(chat: Chat) -> None:
    tokens = torch.tensor([chat.tokenizer.encode(TEXTS[1])])
    cache = KVCache(chat.model.sizes.layers, tokens.shape[1])
    parts = [chat.model(part, cache) for part in tokens.split([9, 5, 1, tokens.shape[1] - 15], 1)]
    same(torch.cat(parts, 1), chat.model(tokens), 5e-4)


@pytest.mark.alone
def test_it_is_at_least_as_fast_as_transformers(chat: Chat, reference: Any) -> None:
    tokens, n = chat.tokens("Tell me a story about a fox."), 16

    def ours() -> None:
        cache = KVCache(chat.model.sizes.layers, tokens.shape[1] + n)
        list(islice(generate(chat.model.last, tokens, GREEDY, cache=cache), n))

    def theirs() -> None:
        wanted = {"max_new_tokens": n, "min_new_tokens": n, "do_sample": False}
        reference[0].generate(tokens, attention_mask=torch.ones_like(tokens), **wanted)

    def seconds(run: Callable[[], None]) -> float:
        start = time.process_time()
        run()
        return time.process_time() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours(), theirs()
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(5)]
    finally:
        torch.set_num_threads(threads)
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{n / min(a for a, _ in pairs):.1f} tokens a CPU-second, {ratio:.2f} x transformers")
    assert ratio >= 1


# --- oracle: small models and files beside transformers and gguf


@pytest.mark.parametrize(("N", "M"), [(6, 2), (4, 4), (4, 1)])
def test_a_small_model_computes_what_transformers_does(N: int, M: int) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = LlamaSizes(V=50, D=8 * N, N=N, M=M, layers=2, F=40, base=100.0, eps=1e-3)
    config = LlamaConfig(
        vocab_size=50, hidden_size=8 * N, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=N, num_key_value_heads=M, rms_norm_eps=1e-3,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        tie_word_embeddings=True, dtype=torch.float64,
    )  # fmt: skip
    theirs, ours = LlamaForCausalLM(config).double().requires_grad_(False), small(sizes)

    def halves(rows: Tensor) -> Tensor:  # pairs, as here, to halves, as there
        return rows.unflatten(0, (-1, 4, 2)).transpose(1, 2).flatten(0, 2)

    theirs.model.embed_tokens.weight.copy_(ours.embedding.weight)
    theirs.model.norm.weight.copy_(ours.norm.weight)
    block: Any
    for block, layer in zip(ours.blocks, theirs.model.layers, strict=True):
        block.attention_norm.weight.copy_(normal(8 * N) + 1)
        layer.input_layernorm.weight.copy_(block.attention_norm.weight)
        layer.post_attention_layernorm.weight.copy_(block.feed_norm.weight)
        layer.self_attn.q_proj.weight.copy_(halves(block.attention.query.weight))
        layer.self_attn.k_proj.weight.copy_(halves(block.attention.key.weight))
        layer.self_attn.v_proj.weight.copy_(block.attention.value.weight)
        layer.self_attn.o_proj.weight.copy_(block.attention.output.weight)
        for own, other in (("gate", "gate_proj"), ("up", "up_proj"), ("down", "down_proj")):
            getattr(layer.mlp, other).weight.copy_(getattr(block.feed, own).weight)
    tokens = torch.randint(50, (3, 11), generator=torch.Generator().manual_seed(0))
    same(ours(tokens), theirs(tokens).logits, 2e-5)  # their turns and ours are float32 either way


@pytest.mark.parametrize("kind", ["F32", "Q4_1", "Q8_0"])
def test_numbers_are_those_of_the_gguf_package(kind: str) -> None:
    draw, name = np.random.default_rng(0), gguf.GGMLQuantizationType[kind]
    numbers = draw.standard_normal((6, 64)).astype(np.float32)
    raw = np.ascontiguousarray(gguf.quants.quantize(numbers, name)).view(np.uint8)
    want = gguf.quants.dequantize(raw, name)
    np.testing.assert_array_equal(dequantize(raw.ravel(), kind), want.ravel())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file, written by the gguf package."""
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name("tiny ✓")
    writer.add_block_count(7)
    writer.add_rope_freq_base(1e5)
    writer.add_bool("own.flag", True)
    writer.add_array("own.words", ["a", "", "ß"])
    writer.add_array("own.numbers", [1, -2, 3])
    writer.add_float64("own.wide", 0.1)
    draw = np.random.default_rng(0)
    for kind in ("F32", "Q4_1", "Q8_0"):
        numbers = draw.standard_normal((3, 64)).astype(np.float32)
        name = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(kind, gguf.quants.quantize(numbers, name), raw_dtype=name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_file_is_read_as_the_gguf_package_reads_it(tiny: Path) -> None:
    said, tensors = read_gguf(tiny.read_bytes())
    reader = gguf.GGUFReader(tiny)
    own = {key: field.contents() for key, field in reader.fields.items() if "GGUF." not in key}
    assert said == own
    assert said["general.name"] == "tiny ✓"
    assert list(tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        want = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(tensors[tensor.name].numpy(), want.reshape(3, 64))


def test_the_norm_is_torchs() -> None:
    norm = RMSNorm(8, eps=0.1).double()
    norm.weight.data.copy_(normal(8))
    x = normal(2, 5, 8, seed=1)
    same(norm(x), F.rms_norm(x, (8,), norm.weight, 0.1))


# --- property: what holds for any input


@few
@given(seeds, st.floats(0.1, 100))
def test_the_norm_forgets_the_scale(seed: int, scale: float) -> None:
    norm, x = RMSNorm(6, eps=0.0).double(), normal(3, 6, seed=seed)
    same(norm(scale * x), norm(x))
    same(norm(x).square().mean(-1), torch.ones(3, dtype=torch.float64))


@few
@given(seeds, st.sampled_from([(6, 6), (6, 3), (6, 2), (6, 1)]), st.integers(1, 6))
def test_groups_are_attention_with_copies_of_keys_and_values(
    seed: int, heads: tuple[int, int], T: int
) -> None:
    N, M = heads
    sizes = LlamaSizes(V=9, D=24, N=N, M=M, layers=1, F=9, base=100.0)
    module, x = GQA(sizes).double().requires_grad_(False), normal(2, T, 24, seed=seed)
    q, k, v = (
        part(x).unflatten(-1, (-1, 4)).transpose(1, 2)
        for part in (module.query, module.key, module.value)
    )
    k, v = k.repeat_interleave(N // M, 1), v.repeat_interleave(N // M, 1)
    mixed = attention(rotate(q, 100.0), rotate(k, 100.0), v, causal_mask(T))
    got = module(x, turns(0, T, 4, 100.0).to(torch.complex128))
    same(got, module.output(mixed.transpose(1, 2).flatten(2)), 1e-5)  # turns are complex64


@few
@given(seeds, st.integers(1, 7))
def test_the_past_does_not_depend_on_the_future(seed: int, now: int) -> None:
    model = small()
    tokens = torch.randint(50, (1, 8), generator=torch.Generator().manual_seed(seed))
    changed = tokens.clone()
    changed[:, now:] = (tokens[:, now:] + 1) % 50
    same(model(changed)[:, :now], model(tokens)[:, :now])
    assert (model(changed) - model(tokens))[:, now:].abs().max() > 1e-6


@few
@given(seeds, st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_in_pieces_with_a_cache_it_computes_the_same(seed: int, pieces: list[int]) -> None:
    model, T = small(), sum(pieces)
    tokens = torch.randint(50, (2, T), generator=torch.Generator().manual_seed(seed))
    cache = KVCache(SMALL.layers, T)
    parts = [model(part, cache) for part in tokens.split(pieces, 1)]
    same(torch.cat(parts, 1), model(tokens), 1e-5)  # turns are complex64


@few
@given(seeds)
def test_a_block_of_four_bits_holds_sixteen_levels_at_most(seed: int) -> None:
    draw = np.random.default_rng(seed)
    raw = draw.integers(0, 256, 20).astype(np.uint8)
    raw[:4] = draw.uniform(0.1, 1, 2).astype(np.float16).view(np.uint8)
    d, m = raw[:4].view(np.float16).astype(np.float32)
    levels = d * np.arange(16, dtype=np.float32) + m
    assert set(dequantize(raw, "Q4_1")) <= set(levels)


@few
@given(drawn=st.data())
def test_a_file_that_was_cut_short_is_refused(tiny: Path, drawn: st.DataObject) -> None:
    whole = tiny.read_bytes()
    length = drawn.draw(st.integers(0, len(whole) - 21))  # the last 20 bytes only fill up to 32
    with pytest.raises(ValueError, match=r"ends too early|expected a GGUF file|end of data"):
        read_gguf(whole[:length])


def test_turning_is_the_attention_chapters() -> None:
    x = normal(2, 9, 3, 6, dtype=torch.float32)
    want = rotate(x.transpose(1, 2), 100.0).transpose(1, 2)
    same(turned(x, turns(0, 9, 6, 100.0)), want, 1e-6)
    same(turned(x[:, 4:], turns(4, 5, 6, 100.0)), want[:, 4:], 1e-6)


# --- worked example


def test_the_norm_of_three_and_four() -> None:
    same(RMSNorm(2, 0.0)(torch.tensor([3.0, 4.0])), torch.tensor([3.0, 4.0]) / 12.5**0.5, 1e-6)


def test_a_block_by_hand() -> None:
    """d 0.5, m -4: a byte 0xF8 is 8 in the first half and 15 in the second."""
    head = np.float16([0.5, -4]).view(np.uint8)
    numbers = dequantize(np.concatenate([head, np.full(16, 0xF8, np.uint8)]), "Q4_1")
    assert numbers.tolist() == [0.0] * 16 + [3.5] * 16


def test_a_gate_that_is_shut_lets_nothing_pass() -> None:
    feed = SwiGLU(2, 2)
    with torch.no_grad():
        for part, value in ((feed.gate, 0.0), (feed.up, 3.0), (feed.down, 1.0)):
            part.weight.copy_(value * torch.eye(2))
        assert feed(torch.ones(2)).tolist() == [0.0, 0.0]
        feed.gate.weight.copy_(100 * torch.eye(2))  # silu(100) is 100
        same(feed(torch.tensor([1.0, 2.0])), torch.tensor([300.0, 1200.0]), 1e-3)


# --- limit


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "expected a GGUF file"),
        (b"PK\x03\x04" + bytes(40), "expected a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 2 or 3"),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1) + b"a" + struct.pack("<IQIQ", 1, 32, 12, 0),
            "of kind 12",
        ),
    ],
)
def test_what_is_no_such_file_is_refused(raw: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_gguf(raw + bytes(64) if len(raw) > 24 else raw)


@pytest.mark.parametrize(("size", "kind"), [(19, "Q4_1"), (3, "F32"), (35, "Q8_0"), (20, "Q4_0")])
def test_no_whole_blocks_are_refused(size: int, kind: str) -> None:
    with pytest.raises(ValueError, match="whole blocks"):
        dequantize(np.zeros(size, np.uint8), kind)


@pytest.mark.parametrize("wrong", [{"D": 25}, {"N": 5}, {"M": 4}, {"D": 18}, {"V": 0}, {"F": -1}])
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="without rest"):
        LlamaSizes(**{**vars(SMALL), **wrong})


def test_another_architecture_is_refused(tiny: Path) -> None:
    with pytest.raises(ValueError, match="expected a llama with a vocabulary of kind smollm"):
        Chat.read(tiny.read_bytes())


def test_a_turn_cannot_end_itself(chat: Chat) -> None:
    for name in chat.tokenizer.special:
        with pytest.raises(ValueError, match="control token"):
            chat.prompt(f"Hi {name} there")
        with pytest.raises(ValueError, match="control token"):
            chat.prompt("Hi", system=name)


def test_a_template_runs_in_a_sandbox(chat: Chat) -> None:
    from jinja2.exceptions import SecurityError

    evil = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    hostile = Chat(chat.model, chat.tokenizer, {**chat.said, "tokenizer.chat_template": evil})
    with pytest.raises(SecurityError):
        hostile.prompt("Hi")


def test_a_machine_without_the_file_is_told_how_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMBOOK_DATA", str(tmp_path))
    with pytest.raises(data.DataError, match="not here yet: run `fmbook data smollm2`"):
        weights.smollm2()


def test_its_weights_lie_in_plain_modules_and_none_twice(chat: Chat) -> None:
    linear = [m for m in chat.model.modules() if isinstance(m, nn.Linear)]
    assert len(linear) == 7 * chat.model.sizes.layers
    assert sum(p.numel() for p in chat.model.parameters()) == 134_515_008
    assert not any(p.requires_grad or p.is_meta for p in chat.model.parameters())


def test_the_last_logits_are_the_last_of_all() -> None:
    tokens = torch.randint(50, (2, 5), generator=torch.Generator().manual_seed(0))
    same(small().last(tokens), small()(tokens)[:, -1:])


def test_one_token_is_read() -> None:
    assert small()(torch.zeros(1, 1, dtype=torch.long)).shape == (1, 1, 50)


def test_gradients_flow_in_a_model_of_ones_own() -> None:
    model = Llama(SMALL)
    model(torch.zeros(1, 4, dtype=torch.long)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


# --- the record


def test_the_record_holds_what_the_chapter_says() -> None:
    record = records.load("open_weights")
    ours, theirs = zip(*record["race"], strict=True)
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(f"recorded: {1_000 / statistics.median(ours):.1f} tokens a CPU-second, {ratio:.2f} x")
    assert ratio >= 1
    tables = np.array(record["by_heart"])
    assert tables.shape == (3, 12, 12)
    assert 12 * 7 not in tables[:, 11, 6]
