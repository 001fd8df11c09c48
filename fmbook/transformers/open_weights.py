"""Open weights: another's trained model, read from its file into modules of our own, and talked to.

A GGUF file holds everything: sizes, vocabulary, chat template, and the weights as small integers.
Left out: training, every architecture but Llama's and every kind of number but three, computing
with the small integers themselves (they become float32 once, here).
"""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmbook import weights
from fmbook.transformers.tokenizer import SMOLLM2_PATTERN, Tokenizer, from_symbols
from fmbook.transformers.transformer import Cache

__all__ = [
    "Assistant",
    "GroupedAttention",
    "Llama",
    "LlamaSizes",
    "RMSNorm",
    "SwiGLU",
    "dequantize",
    "read_gguf",
]

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY, ALIGNMENT = 8, 9, 32
Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
KINDS = {0: ("F32", 1, 4), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34)}  # numbers, bytes a block


class _Bytes:
    """A place in a file that moves on with each read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def numbers(self, code: str, n: int = 1) -> tuple[Any, ...]:
        layout = struct.Struct(f"<{n}{code}")
        self.at += layout.size
        return layout.unpack_from(self.data, self.at - layout.size)

    def text(self) -> str:
        (n,) = self.numbers("Q")
        self.at += n
        return self.data[self.at - n : self.at].decode("utf8")

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == ARRAY:
            inner, n = *self.numbers("I"), *self.numbers("Q")
            if inner in NUMBERS:
                return list(self.numbers(NUMBERS[inner], n))
            return [self.value(inner) for _ in range(n)]
        return self.numbers(NUMBERS[kind])[0]


def dequantize(raw: np.ndarray, kind: str) -> np.ndarray:
    """The numbers that were stored as bytes (bytes,) -> (numbers,) of float32.

    F32 stores them as they are. The others store blocks of 32. Q8_0: a float16 scale d and 32
    bytes q of -128 to 127, for d q. Q4_1: float16 scale d and lowest value m, then 16 bytes, whose
    low halves are the first 16 and whose high halves are the last 16 q of 0 to 15, for d q + m.

    Raises:
        ValueError: another kind, or bytes that are no whole blocks.

    Source: ggml's format (gerganov2023gguf), types F32, Q4_1 and Q8_0.

    >>> d, m = np.float16([0.5, -1.0]).view(np.uint8).reshape(2, 2)
    >>> dequantize(np.concatenate([d, m, np.full(16, 0x31, np.uint8)]), "Q4_1")[[0, 15, 16, 31]]
    array([-0.5, -0.5,  0.5,  0.5], dtype=float32)
    """
    size = {name: size for name, _, size in KINDS.values()}.get(kind)
    if size is None or raw.size % size:
        raise ValueError(f"expected whole blocks of F32, Q4_1 or Q8_0, got {raw.size} B of {kind}")
    if kind == "F32":
        return raw.view(np.float32).copy()
    blocks = raw.reshape(-1, size)
    d = blocks[:, :2].view(np.float16).astype(np.float32)  # (blocks, 1)
    if kind == "Q8_0":
        return (d * blocks[:, 2:].view(np.int8)).ravel()
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    numbers = q * d
    numbers += m
    return numbers.ravel()


def read_gguf(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a GGUF file says of a model, and its tensors by name as float32, rows first: (rows, n).

    Raises:
        ValueError: no GGUF of version 3 (or 2), one that is cut short, or a kind of number that is
            not read here.

    Source: gerganov2023gguf, "File Structure".

    >>> said, tensors = read_gguf(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    >>> said, tensors
    ({}, {})
    """
    if data[:4] != b"GGUF":
        raise ValueError(f"no GGUF file: it begins with {data[:4]!r}")
    file = _Bytes(data)
    file.at = 4
    (version,), (n_tensors, n_said) = file.numbers("I"), file.numbers("Q", 2)
    if version not in (2, 3):
        raise ValueError(f"expected GGUF version 2 or 3, got {version}")
    said = {file.text(): file.value(*file.numbers("I")) for _ in range(n_said)}
    infos = []
    for _ in range(n_tensors):
        name, shape = file.text(), file.numbers("Q", *file.numbers("I"))
        infos.append((name, shape[::-1], *file.numbers("I"), *file.numbers("Q")))
    step = said.get("general.alignment", ALIGNMENT)
    start, bytes_ = -(-file.at // step) * step, np.frombuffer(data, np.uint8)
    tensors = {}
    for name, shape, kind, offset in infos:
        label, n, size = KINDS.get(kind, (f"kind {kind}", 1, 0))
        raw = bytes_[start + offset :][: math.prod(shape) // n * size]
        tensors[name] = torch.from_numpy(dequantize(raw, label)).view(shape)
    return said, tensors


@dataclass(frozen=True, kw_only=True)
class LlamaSizes:
    """The sizes of a Llama: V kinds of tokens, width D, N heads that share M keys and values, ...

    Raises:
        ValueError: heads do not divide the width, or pairs of heads; a size is no positive number.

    Source: touvron2023llama, section 2.2 and table 2; ainslie2023gqa, section 2.2 (M).

    >>> LlamaSizes(V=100, D=24, N=6, M=2, layers=1, F=64).K
    4
    """

    V: int
    D: int
    N: int
    M: int
    layers: int
    F: int
    base: float = 10_000.0
    eps: float = 1e-5

    def __post_init__(self) -> None:
        if min(self.V, self.D, self.N, self.M, self.layers, self.F) < 1:
            raise ValueError(f"every size must be 1 or more, got {self}")
        if self.D % self.N or self.N % self.M or self.K % 2:
            raise ValueError(
                f"N must divide D into even widths, and M must divide N: D {self.D}, N {self.N}, M {self.M}"
            )

    @property
    def K(self) -> int:
        """Width of a head."""
        return self.D // self.N


class RMSNorm(nn.Module):
    """Divides each position of x (..., D) by its root mean square, then scales each of D numbers.

    Source: zhang2019root, equation 4.

    >>> RMSNorm(2)(torch.tensor([3.0, 4.0]))  # the root of (9 + 16) / 2 is 3.5355
    tensor([0.8485, 1.1314], grad_fn=<MulBackward0>)
    """

    def __init__(self, D: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(D))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight


class SwiGLU(nn.Module):
    """A feed-forward layer with a gate: x (..., D) -> (..., D) over F numbers.

    Source: shazeer2020glu, equation 6 (FFN_SwiGLU).

    >>> SwiGLU(8, 32)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, D: int, width: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(D, width, bias=False), nn.Linear(D, width, bias=False)
        self.down = nn.Linear(width, D, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


class GroupedAttention(nn.Module):
    """Causal attention of N heads in M groups: the heads of a group share their key and value.

    Takes x (B, T, D) and the turns of its T positions, cosine and sine (T, K / 2), of which `past`
    go before the first; a cache holds the past keys and values, (B, M, S, K) -> (B, T, D).

    Source: ainslie2023gqa, section 2.2; su2021roformer, section 3.4.2 (the turns).

    >>> heads = GroupedAttention(LlamaSizes(V=9, D=24, N=6, M=2, layers=1, F=64))
    >>> heads.key.weight.shape, heads(torch.zeros(1, 5, 24), torch.ones(5, 2), torch.zeros(5, 2)).shape
    (torch.Size([8, 24]), torch.Size([1, 5, 24]))
    """

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.K, narrow = sizes.K, sizes.M * sizes.K
        self.query = nn.Linear(sizes.D, sizes.D, bias=False)
        self.key = nn.Linear(sizes.D, narrow, bias=False)
        self.value = nn.Linear(sizes.D, narrow, bias=False)
        self.output = nn.Linear(sizes.D, sizes.D, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (-1, self.K)).transpose(1, 2)
        return heads  # (B, T, N K) -> (B, N, T, K), or with M for N

    def forward(self, x: Tensor, turns: Tensor, extend: Extend | None = None) -> Tensor:
        q, k = _turned(self._split(self.query(x)), turns), _turned(self._split(self.key(x)), turns)
        v = self._split(self.value(x))
        if extend is not None:
            k, v = extend(k, v)
        T, S = q.shape[-2], k.shape[-2]
        mask = None
        if 1 < T < S:  # several positions after a past: each sees the past, itself, none later
            mask = torch.ones(T, S, dtype=torch.bool, device=x.device).tril(S - T)
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=1 < T == S, enable_gqa=True
        )
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output


def _turns(start: int, T: int, K: int, base: float) -> Tensor:
    """Cosine and sine of the angles of T positions from `start` on: (2, T, K / 2)."""
    rates = base ** (-torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = torch.outer(torch.arange(start, start + T, dtype=torch.float64), rates)
    return torch.stack((angles.cos(), angles.sin())).float()


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """Neighbouring pairs of x (B, N, T, K) turned by the angles of their positions."""
    (even, odd), (cos, sin) = x.unflatten(-1, (-1, 2)).unbind(-1), turns
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class _Block(nn.Module):
    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(sizes.D, sizes.eps)
        self.attention = GroupedAttention(sizes)
        self.feed_norm = RMSNorm(sizes.D, sizes.eps)
        self.feed = SwiGLU(sizes.D, sizes.F)

    def forward(self, x: Tensor, turns: Tensor, extend: Extend | None = None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), turns, extend)
        added: Tensor = x + self.feed(self.feed_norm(x))
        return added


class Llama(nn.Module):
    """The decoder that most open models are: tokens (B, T) -> logits (B, T, V) of the next token.

    The table of embeddings is also the readout (tied). With a cache, tokens go on where it ends.

    Source: touvron2023llama, section 2.2; allal2025smollm (tied embeddings); press2017using (why).

    >>> model = Llama(LlamaSizes(V=9, D=24, N=6, M=2, layers=2, F=64))
    >>> model(torch.zeros(3, 5).long()).shape, model.states(torch.zeros(3, 5).long()).shape
    (torch.Size([3, 5, 9]), torch.Size([3, 5, 24]))
    """

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.sizes = sizes
        drawn = torch.empty(sizes.V, sizes.D).uniform_(-0.04, 0.04)  # costs nothing on "meta"
        self.embedding = nn.Embedding.from_pretrained(drawn, freeze=False)
        self.blocks = nn.ModuleList(_Block(sizes) for _ in range(sizes.layers))
        self.norm = RMSNorm(sizes.D, sizes.eps)

    def states(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """What the readout reads: the residual stream after the last norm, (B, T, D)."""
        x, start = self.embedding(tokens), cache.length if cache else 0
        turns = _turns(start, tokens.shape[1], self.sizes.K, self.sizes.base).to(x)
        for layer, block in enumerate(self.blocks):
            x = block(x, turns, partial(cache.extend, layer) if cache else None)
        out: Tensor = self.norm(x)
        return out

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        return F.linear(self.states(tokens, cache), self.embedding.weight)


PLACES = {  # in the file -> in our modules
    "token_embd": "embedding",
    "output_norm": "norm",
    "blk": "blocks",
    "attn_norm": "attention_norm",
    "attn_q": "attention.query",
    "attn_k": "attention.key",
    "attn_v": "attention.value",
    "attn_output": "attention.output",
    "ffn_norm": "feed_norm",
    "ffn_gate": "feed.gate",
    "ffn_up": "feed.up",
    "ffn_down": "feed.down",
}


@dataclass(frozen=True)
class Assistant:
    """A model that answers, with its tokenizer and the template in which it was taught to talk.

    Raises:
        ValueError: the file holds another architecture, or no vocabulary of GPT-2's kind.

    Source: gerganov2023gguf (keys of the metadata); allal2025smollm (the model).

    >>> sorted(vars(Assistant)["__dataclass_fields__"])
    ['model', 'said', 'tokenizer']
    """

    model: Llama
    tokenizer: Tokenizer
    said: dict[str, Any]

    @classmethod
    def read(cls, data: bytes) -> "Assistant":
        """From a GGUF file's bytes; its weights are used as they are, none is copied."""
        said, tensors = read_gguf(data)
        kinds = said.get("general.architecture"), said.get("tokenizer.ggml.pre")
        if kinds != ("llama", "smollm"):
            raise ValueError(f"expected a llama with the tokenizer smollm, got {kinds}")
        with torch.device("meta"):  # no memory yet: the file's tensors become the parameters
            model = Llama(_sizes(said))
        named = {}
        for name, tensor in tensors.items():
            named[".".join(PLACES.get(part, part) for part in name.split("."))] = tensor
        model.load_state_dict(named, assign=True)
        return cls(model.requires_grad_(False).eval(), _tokenizer(said), said)

    @property
    def stop(self) -> int:
        """The id of the token that ends an answer."""
        return int(self.said["tokenizer.ggml.eos_token_id"])

    def prompt(self, *turns: str, system: str = "") -> str:
        """What the model is to go on with: turns of user and assistant by turns, in its template.

        The template comes from the file: it is run as a stranger's program, in a sandbox.
        """
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        roles = [("assistant" if i % 2 else "user", text) for i, text in enumerate(turns)]
        roles = [("system", system)] * bool(system) + roles
        template = ImmutableSandboxedEnvironment().from_string(self.said["tokenizer.chat_template"])
        messages = [{"role": role, "content": text} for role, text in roles]
        return template.render(messages=messages, add_generation_prompt=True)


def _sizes(said: dict[str, Any]) -> LlamaSizes:
    """The sizes that a file's metadata tell."""
    llama = {key.removeprefix("llama."): value for key, value in said.items()}
    return LlamaSizes(
        V=llama["vocab_size"],
        D=llama["embedding_length"],
        N=llama["attention.head_count"],
        M=llama["attention.head_count_kv"],
        layers=llama["block_count"],
        F=llama["feed_forward_length"],
        base=llama["rope.freq_base"],
        eps=llama["attention.layer_norm_rms_epsilon"],
    )


def _tokenizer(said: dict[str, Any]) -> Tokenizer:
    """The tokenizer that a file's metadata tell; pieces of type 3 are special."""
    pieces, kinds = said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"]
    both = list(zip(pieces, kinds, strict=True))
    raw = {piece: piece.encode() if kind == 3 else from_symbols(piece) for piece, kind in both}
    pairs = (line.split(" ") for line in said["tokenizer.ggml.merges"])
    merges = [(raw[a], raw[b]) for a, b in pairs]
    special = [piece for piece, kind in both if kind == 3]
    return Tokenizer(merges, {raw[p]: id for id, p in enumerate(pieces)}, SMOLLM2_PATTERN, special)
