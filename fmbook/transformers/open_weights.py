"""Open weights: another's trained model, read from its file into modules of our own, and talked to.

A GGUF file holds everything: sizes, vocabulary, chat template, and the weights as small integers.
Left out: training, every architecture but Llama's and every kind of number but three, computing
with the small integers themselves (they become float32 once, here).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jinja2.sandbox import ImmutableSandboxedEnvironment
from torch import Tensor, nn

from fmbook.transformers.tokenizer import Tokenizer
from fmbook.transformers.transformer import Cache
from fmbook.vocabularies import SMOLLM2_PATTERN, from_symbols

__all__ = ["GQA", "Chat", "Llama", "LlamaSizes", "RMSNorm", "SwiGLU", "dequantize", "read_gguf"]

NUMBERS, TEXT, ARRAY = "BbHhIif?--Qqd", 8, 9  # kinds of values, in the letters of `struct`
Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
KINDS = {0: ("F32", 1, 4), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34)}  # numbers, bytes a block


class _Bytes:
    """A place in a file that moves on with each read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def numbers(self, code: str, n: int = 1) -> tuple[Any, ...]:
        layout, at = struct.Struct(f"<{n}{code}"), self.at
        self.at += layout.size
        if self.at > len(self.data):
            raise ValueError("the file ends too early: it was cut short")
        return layout.unpack_from(self.data, at)

    def text(self) -> str:
        (n,) = self.numbers("Q")
        self.at += n
        return self.data[self.at - n : self.at].decode("utf8")

    def value(self, kind: int) -> Any:
        if kind == ARRAY:
            inner, n = self.numbers("IQ")
            return [self.value(inner) for _ in range(n)]
        return self.text() if kind == TEXT else self.numbers(NUMBERS[kind])[0]


def dequantize(raw: np.ndarray, kind: str) -> np.ndarray:
    """The numbers that were stored as bytes (bytes,) -> (numbers,) of float32.

    F32 stores them as they are. The others store blocks of 32. Q8_0: a float16 scale d and 32
    bytes q of -128 to 127, for d q. Q4_1: float16 scale d and lowest value m, then 16 bytes, whose
    low halves are the first 16 and whose high halves are the last 16 q of 0 to 15, for d q + m.

    Raises:
        ValueError: another kind, or bytes that are no whole blocks.

    Source: gerganov2023gguf, types F32, Q4_1 and Q8_0.

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
    return (q * d + m).ravel()


def read_gguf(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a GGUF file says of a model, and its tensors by name as float32: maps D to F are (F, D).

    Raises:
        ValueError: no GGUF file of version 2 or 3, one that was cut short, or one with numbers of
            a kind that is not read here.

    Source: gerganov2023gguf, "File Structure".

    >>> said, tensors = read_gguf(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    >>> said, tensors
    ({}, {})
    """
    file = _Bytes(data)
    magic, version, n_tensors, n_said = struct.unpack_from("<4sIQQ", data.ljust(24))
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"expected a GGUF file of version 2 or 3, got {magic!r}, {version}")
    file.at = 24
    said = {file.text(): file.value(*file.numbers("I")) for _ in range(n_said)}
    infos = []
    for _ in range(n_tensors):
        infos.append((file.text(), file.numbers("Q", *file.numbers("I")), *file.numbers("IQ")))
    step = said.get("general.alignment", 32)
    blocks, tensors = np.frombuffer(data, np.uint8)[-(-file.at // step) * step :], {}
    for name, shape, kind, offset in infos:  # the file names the width of a row first
        label, n, size = KINDS.get(kind, (f"kind {kind}", 1, 0))
        raw = blocks[offset : offset + (wanted := np.prod(shape, dtype=int) // n * size)]
        if raw.size < wanted:
            raise ValueError(f"the file ends too early: {name} was cut short")
        tensors[name] = torch.from_numpy(dequantize(raw, label)).view(shape[::-1])
    return said, tensors


@dataclass(frozen=True, kw_only=True)
class LlamaSizes:
    """The sizes of a Llama, in the legend's letters, with M keys and values for N query heads.

    `base` is that of the rotary angles, `eps` what RMSNorm adds to the mean square.

    Raises:
        ValueError: a size below 1, N that does not divide D into even widths, M that does not
            divide N.

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
        sizes = self.V, self.D, self.N, self.M, self.layers, self.F
        if min(sizes) < 1 or self.D % (2 * self.N) or self.N % self.M:
            raise ValueError(f"expected sizes above 0, D / 2N and N / M without rest, got {self}")

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


class GQA(nn.Module):
    """Causal attention of N heads in M groups: the heads of a group share one key and one value.

    Takes x (B, T, D) and the turns of its T positions (T, 1, K / 2), complex numbers of length 1;
    returns (B, T, D). `extend` adds the keys and values (B, M, S, K) of positions before them.

    Source: ainslie2023gqa, section 2.2; su2021roformer, section 3.4.2 (the turns).

    >>> heads = GQA(LlamaSizes(V=9, D=24, N=6, M=2, layers=1, F=64))
    >>> heads.key.weight.shape, heads(torch.zeros(1, 5, 24), torch.ones(5, 1, 2)).shape
    (torch.Size([8, 24]), torch.Size([1, 5, 24]))
    """

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.K, narrow = sizes.K, sizes.M * sizes.K
        linear = partial(nn.Linear, sizes.D, bias=False)
        self.query, self.output = linear(sizes.D), linear(sizes.D)
        self.key, self.value = linear(narrow), linear(narrow)

    def forward(self, x: Tensor, turns: Tensor, extend: Extend | None = None) -> Tensor:
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)  # (B, T, N or M, K)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            k, v = extend(k, v)
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool, device=x.device).tril(S - T) if T > 1 else None
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output


def _turns(start: int, T: int, K: int, base: float) -> Tensor:
    """Positions from `start` on as complex numbers of length 1, for each pair: (T, 1, K / 2)."""
    rates = base ** (-torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = torch.outer(torch.arange(start, start + T, dtype=torch.float64), rates)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)[:, None]


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """Neighbouring pairs of x (B, T, N, K), read as complex numbers, times their turns."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2)


class _Block(nn.Module):
    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(sizes.D, sizes.eps)
        self.attention = GQA(sizes)
        self.feed_norm = RMSNorm(sizes.D, sizes.eps)
        self.feed = SwiGLU(sizes.D, sizes.F)

    def forward(self, x: Tensor, turns: Tensor, extend: Extend | None = None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), turns, extend)
        added: Tensor = x + self.feed(self.feed_norm(x))
        return added


class Llama(nn.Module):
    """The decoder that most open models are: tokens (B, T) -> logits (B, T, V) of the next token.

    The table of embeddings is also the readout (tied). With a cache, tokens go on where it ends.

    Source: touvron2023llama, section 2.2; press2017using (one table for both ends).

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
        turns = _turns(start, tokens.shape[1], self.sizes.K, self.sizes.base).to(x.device)
        for layer, block in enumerate(self.blocks):
            x = block(x, turns, partial(cache.extend, layer) if cache else None)
        out: Tensor = self.norm(x)
        return out

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        return F.linear(self.states(tokens, cache), self.embedding.weight)

    def last(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """The logits of the last position alone, (B, 1, V): all that a next token needs."""
        return F.linear(self.states(tokens, cache)[:, -1:], self.embedding.weight)


_THEIRS = "token_embd output_norm blk attn_norm ffn_norm attn_q attn_k attn_v attn_output"
_THEIRS += " ffn_gate ffn_up ffn_down"
_OURS = "embedding norm blocks attention_norm feed_norm attention.query attention.key"
_OURS += " attention.value attention.output feed.gate feed.up feed.down"
PLACES = dict(zip(_THEIRS.split(), _OURS.split(), strict=True))  # parts of a tensor's name


@dataclass(frozen=True)
class Chat:
    """A model that answers, its tokenizer, and what its file says: sizes, licence, chat template.

    Tokens (B, T) of a prompt go into `model`; `stop` is the token by which it ends its answer.

    Raises:
        ValueError: the file holds another architecture or another kind of vocabulary; a turn holds
            the name of a control token, and so could end itself and begin another.

    Source: gerganov2023gguf, "Standardized key-value pairs"; allal2025smollm (the model).

    >>> from fmbook.weights import smollm2
    >>> chat = Chat.read(smollm2())
    >>> print(chat.prompt("Hi!", system="Be brief."))
    <|im_start|>system
    Be brief.<|im_end|>
    <|im_start|>user
    Hi!<|im_end|>
    <|im_start|>assistant
    <BLANKLINE>
    """

    model: Llama
    tokenizer: Tokenizer
    said: dict[str, Any]

    @classmethod
    def read(cls, data: bytes) -> "Chat":
        """From the bytes of a GGUF file, whose tensors become the parameters: none is copied."""
        said, tensors = read_gguf(data)
        kinds = said.get("general.architecture"), said.get("tokenizer.ggml.pre")
        if kinds != ("llama", "smollm"):
            raise ValueError(f"expected a llama with a vocabulary of kind smollm, got {kinds}")
        with torch.device("meta"):  # no memory is taken
            model = Llama(_sizes(said))
        places = {name: [PLACES.get(part, part) for part in name.split(".")] for name in tensors}
        model.load_state_dict({".".join(places[n]): x for n, x in tensors.items()}, assign=True)
        return cls(model.requires_grad_(False).eval(), _tokenizer(said), said)

    @property
    def stop(self) -> int:
        """The id of the token that ends an answer."""
        return int(self.said["tokenizer.ggml.eos_token_id"])

    def prompt(self, *turns: str, system: str = "") -> str:
        """What the model is to go on with: the turns, user first, in the file's own template.

        The template is a small program from a stranger, so it runs in a sandbox.
        """
        if any(name in text for text in (*turns, system) for name in self.tokenizer.special):
            raise ValueError(f"a turn holds the name of a control token: {(*turns, system)}")
        said = [("assistant" if i % 2 else "user", text) for i, text in enumerate(turns)]
        said = [("system", system)] * bool(system) + said
        template = ImmutableSandboxedEnvironment().from_string(self.said["tokenizer.chat_template"])
        messages = [{"role": role, "content": text} for role, text in said]
        return str(template.render(messages=messages, add_generation_prompt=True))

    def tokens(self, *turns: str, system: str = "") -> Tensor:
        """The prompt as tokens (1, T)."""
        text = self.prompt(*turns, system=system)
        return torch.tensor([self.tokenizer.encode(text, special=True)])


def _sizes(said: dict[str, Any]) -> LlamaSizes:
    """The sizes that a file's metadata tell."""
    keys = "vocab_size embedding_length attention.head_count attention.head_count_kv block_count"
    keys += " feed_forward_length rope.freq_base attention.layer_norm_rms_epsilon"
    values = [said[f"llama.{key}"] for key in keys.split()]
    return LlamaSizes(**dict(zip(LlamaSizes.__annotations__, values, strict=True)))


def _tokenizer(said: dict[str, Any]) -> Tokenizer:
    """The tokenizer that a file's metadata tell; pieces of type 3 are control tokens."""
    kinds = dict(zip(said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"], strict=True))
    special = [piece for piece, kind in kinds.items() if kind == 3]
    raw = {p: p.encode() if kind == 3 else from_symbols(p) for p, kind in kinds.items()}
    pairs = (line.split(" ") for line in said["tokenizer.ggml.merges"])
    ids = {piece: id for id, piece in enumerate(raw.values())}
    return Tokenizer([(raw[a], raw[b]) for a, b in pairs], ids, SMOLLM2_PATTERN, special)
