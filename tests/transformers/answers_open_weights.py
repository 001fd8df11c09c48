"""Answers to the open-weights exercise: wrong ones, each with what catches it, and right ones."""

import importlib
import struct

import numpy as np
import torch
import torch.nn.functional as F

from tests.bank import right, wrong

# What a student's notebook has by task 3: not an import, so that it is not typed into the answers.
library = importlib.import_module("fmbook.transformers.open_weights")
_turned = library._turned

# Task 1: RMSNorm --------------------------------------------------------------------------------

VALUES, LIMITS = "RMSNorm-hidden-values", "RMSNorm-hidden-limits"


@wrong("RMSNorm", cell=VALUES, says="the root is missing")
class NoRoot(library.RMSNorm):
    def forward(self, x):
        return x / (x.square().mean(-1, keepdim=True) + self.eps) * self.weight


@wrong("RMSNorm", cell=VALUES, says="the squares are summed; it must be their mean")
class Summed(library.RMSNorm):
    def forward(self, x):
        return x * (x.square().sum(-1, keepdim=True) + self.eps).rsqrt() * self.weight


@wrong("RMSNorm", cell=VALUES, says="a mean is subtracted: that is LayerNorm")
class LayerNormed(library.RMSNorm):
    def forward(self, x):
        x = x - x.mean(-1, keepdim=True)
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


@wrong("RMSNorm", cell=VALUES, says="eps stands outside the root")
class EpsOutside(library.RMSNorm):
    def forward(self, x):
        return x / (x.square().mean(-1, keepdim=True).sqrt() + self.eps) * self.weight


@wrong("RMSNorm", cell=VALUES, says="eps is missing")
class NoEps(library.RMSNorm):
    def forward(self, x):
        return x * x.square().mean(-1, keepdim=True).rsqrt() * self.weight


@wrong("RMSNorm", cell=VALUES, says="the gain is missing")
class NoGain(library.RMSNorm):
    def forward(self, x):
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt()


@wrong("RMSNorm", cell=VALUES, says="the gain is added; it must multiply")
class AddedGain(library.RMSNorm):
    def forward(self, x):
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() + self.weight


@wrong("RMSNorm", cell=VALUES, says="the gain is 1 + weight; it must be weight")
class GainFromOne(library.RMSNorm):
    def forward(self, x):
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * (1 + self.weight)


@wrong("RMSNorm", cell=VALUES, says="the mean runs over the positions too")
class OverAll(library.RMSNorm):
    def forward(self, x):
        return x * (x.square().mean() + self.eps).rsqrt() * self.weight


@wrong("RMSNorm", cell=VALUES, says="the mean runs over axis -2; it must run over the last")
class OverPositions(library.RMSNorm):
    def forward(self, x):
        return x * (x.square().mean(-2, keepdim=True) + self.eps).rsqrt() * self.weight


@wrong("RMSNorm", cell=VALUES, says="it multiplies by the root; it must divide")
class Multiplied(library.RMSNorm):
    def forward(self, x):
        return x * (x.square().mean(-1, keepdim=True) + self.eps).sqrt() * self.weight


@wrong("RMSNorm", cell=VALUES, says="the mean of the sizes, not of the squares")
class MeanOfSizes(library.RMSNorm):
    def forward(self, x):
        return x / (x.abs().mean(-1, keepdim=True) + self.eps) * self.weight


@wrong("RMSNorm", cell=LIMITS, says="0 / 0: eps is missing")
class EpsForgottenAtZero(library.RMSNorm):
    def forward(self, x):
        return x / torch.sqrt(torch.mean(x**2, -1, keepdim=True)) * self.weight


@wrong("RMSNorm", cell=LIMITS, says="x after the call")
class InPlace(library.RMSNorm):
    def forward(self, x):
        x *= (x.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return x * self.weight


@right("RMSNorm")
class ByDivision(library.RMSNorm):
    def forward(self, x):
        size = torch.sqrt(torch.mean(x**2, dim=-1, keepdim=True) + self.eps)
        return self.weight * (x / size)


@right("RMSNorm")
class ByNorm(library.RMSNorm):
    def forward(self, x):
        D = x.shape[-1]
        length = torch.linalg.vector_norm(x.double(), dim=-1, keepdim=True)
        return (x / (length.square() / D + self.eps).sqrt()).float() * self.weight


@right("RMSNorm")
class ByLoops(library.RMSNorm):
    def forward(self, x):
        rows = []
        for row in x.reshape(-1, x.shape[-1]):
            mean = sum(float(a) ** 2 for a in row) / len(row)
            rows.append(torch.stack([a / (mean + self.eps) ** 0.5 for a in row]) * self.weight)
        return torch.stack(rows).reshape(x.shape)


# Task 2: dequantize -----------------------------------------------------------------------------

BLOCKS, OTHERS = "dequantize-hidden-blocks", "dequantize-hidden-kinds"


@wrong("dequantize", cell=BLOCKS, says="the high halves come first; the low halves must")
def high_first(raw, kind):
    sizes = {"F32": 4, "Q4_1": 20, "Q8_0": 34}
    if kind not in sizes or len(raw) % sizes[kind]:
        raise ValueError(kind)
    if kind == "F32":
        return raw.view(np.float32).copy()
    blocks = raw.reshape(-1, sizes[kind])
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    if kind == "Q8_0":
        return (d * blocks[:, 2:].view(np.int8)).ravel()
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] >> 4, blocks[:, 4:] & 15], axis=1)
    return (q * d + m).ravel()


@wrong("dequantize", cell=BLOCKS, says="low and high halves alternate; all low ones come first")
def woven_halves(raw, kind):
    sizes = {"F32": 4, "Q4_1": 20, "Q8_0": 34}
    if kind not in sizes or len(raw) % sizes[kind]:
        raise ValueError(kind)
    if kind == "F32":
        return raw.view(np.float32).copy()
    blocks = raw.reshape(-1, sizes[kind])
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    if kind == "Q8_0":
        return (d * blocks[:, 2:].view(np.int8)).ravel()
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.stack([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=-1).reshape(-1, 32)
    return (q * d + m).ravel()


@wrong("dequantize", cell=BLOCKS, says="m is subtracted; it must be added")
def offset_subtracted(raw, kind):
    blocks = raw.reshape(-1, 20)
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (q * d - m).ravel()


@wrong("dequantize", cell=BLOCKS, says="m is missing")
def offset_missing(raw, kind):
    blocks = raw.reshape(-1, 20)
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (q * d).ravel()


@wrong("dequantize", cell=BLOCKS, says="m is scaled too: it is added after the scale")
def offset_scaled(raw, kind):
    blocks = raw.reshape(-1, 20)
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return ((q + m) * d).ravel()


@wrong("dequantize", cell=BLOCKS, says="d and m have changed places")
def scale_and_offset_swapped(raw, kind):
    blocks = raw.reshape(-1, 20)
    m = blocks[:, :2].view(np.float16).astype(np.float32)
    d = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (q * d + m).ravel()


@wrong("dequantize", cell=BLOCKS, says="q is taken from -8 to 7; in Q4_1 it goes from 0 to 15")
def centred(raw, kind):
    blocks = raw.reshape(-1, 20)
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1).astype(np.float32)
    return ((q - 8) * d + m).ravel()


@wrong("dequantize", cell=BLOCKS, says="all blocks use the first block's d and m")
def first_scale_for_all(raw, kind):
    d, m = raw[:4].view(np.float16).astype(np.float32)
    codes = raw.reshape(-1, 20)[:, 4:]
    q = np.concatenate([codes & 15, codes >> 4], axis=1)
    return (q * d + m).ravel()


@wrong("dequantize", cell=BLOCKS, says="the type of the answer: got 'float64'")
def in_float64(raw, kind):
    blocks = raw.reshape(-1, 20)
    d = blocks[:, :2].view(np.float16).astype(np.float64)
    m = blocks[:, 2:4].view(np.float16).astype(np.float64)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (q * d + m).ravel()


@wrong("dequantize", cell=BLOCKS, says="the order of the numbers is that of columns, not of blocks")
def by_columns(raw, kind):
    blocks = raw.reshape(-1, 20)
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (q * d + m).ravel(order="F")


@wrong("dequantize", cell=OTHERS, says="the bytes are read without sign")
def unsigned(raw, kind):
    sizes = {"F32": 4, "Q4_1": 20, "Q8_0": 34}
    if kind not in sizes or len(raw) % sizes[kind]:
        raise ValueError(kind)
    if kind == "F32":
        return raw.view(np.float32).copy()
    blocks = raw.reshape(-1, sizes[kind])
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    if kind == "Q8_0":
        return (d * blocks[:, 2:]).ravel()
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (q * d + m).ravel()


@wrong(
    "dequantize", cell=OTHERS, says="q is taken from 0 to 255 less 128; it is signed as it stands"
)
def shifted(raw, kind):
    blocks = raw.reshape(-1, 34)
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    return (d * (blocks[:, 2:].astype(np.float32) - 128)).ravel()


@wrong("dequantize", cell=OTHERS, says="the bytes of F32 are not numbers yet: view them")
def bytes_as_numbers(raw, kind):
    if kind == "F32":
        return raw.astype(np.float32)
    size = 20 if kind == "Q4_1" else 34
    blocks = raw.reshape(-1, size)
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    if kind == "Q8_0":
        return (d * blocks[:, 2:].view(np.int8)).ravel()
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (q * d + m).ravel()


@wrong("dequantize", cell=OTHERS, says="19 bytes of Q4_1: expected ValueError, but it returned")
def rest_cut_off(raw, kind):
    size = {"F32": 4, "Q4_1": 20, "Q8_0": 34}[kind]
    raw = raw[: len(raw) // size * size]
    if kind == "F32":
        return raw.view(np.float32).copy()
    blocks = raw.reshape(-1, size)
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    if kind == "Q8_0":
        return (d * blocks[:, 2:].view(np.int8)).ravel()
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (q * d + m).ravel()


@wrong("dequantize", cell=BLOCKS, says="reckoned in float16; bring d and m to float32 first")
def in_float16(raw, kind):
    sizes = {"F32": 4, "Q4_1": 20, "Q8_0": 34}
    if kind not in sizes or len(raw) % sizes[kind]:
        raise ValueError(kind)
    if kind == "F32":
        return raw.view(np.float32).copy()
    blocks = raw.reshape(-1, sizes[kind])
    d = blocks[:, :2].view(np.float16)
    if kind == "Q8_0":
        return (d * blocks[:, 2:].view(np.int8)).astype(np.float32).ravel()
    m = blocks[:, 2:4].view(np.float16)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (d * q + m).astype(np.float32).ravel()


@wrong("dequantize", cell=OTHERS, says="reckoned in float16; bring d to float32 first")
def signed_in_float16(raw, kind):
    sizes = {"F32": 4, "Q4_1": 20, "Q8_0": 34}
    if kind not in sizes or len(raw) % sizes[kind]:
        raise ValueError(kind)
    if kind == "F32":
        return raw.view(np.float32).copy()
    blocks = raw.reshape(-1, sizes[kind])
    d = blocks[:, :2].view(np.float16)
    if kind == "Q8_0":
        return (d * blocks[:, 2:].view(np.int8)).astype(np.float32).ravel()
    m = blocks[:, 2:4].view(np.float16)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (d * q + m).astype(np.float32).ravel()


@wrong(
    "dequantize",
    cell="dequantize-check-example",
    says="reckoned in float16; bring d and m to float32 first",
)
def example_in_float16(raw, kind):
    sizes = {"F32": 4, "Q4_1": 20, "Q8_0": 34}
    if kind not in sizes or len(raw) % sizes[kind]:
        raise ValueError(kind)
    if kind == "F32":
        return raw.view(np.float32).copy()
    blocks = raw.reshape(-1, sizes[kind])
    d = blocks[:, :2].view(np.float16)
    if kind == "Q8_0":
        return (d * blocks[:, 2:].view(np.int8)).astype(np.float32).ravel()
    m = blocks[:, 2:4].view(np.float16)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (d * q + m).astype(np.float32).ravel()


@wrong("dequantize", cell=OTHERS, says="raw after a change of the answer")
def a_view_of_the_bytes(raw, kind):
    sizes = {"F32": 4, "Q4_1": 20, "Q8_0": 34}
    if kind not in sizes or len(raw) % sizes[kind]:
        raise ValueError(kind)
    if kind == "F32":
        return raw.view(np.float32)
    blocks = raw.reshape(-1, sizes[kind])
    d = blocks[:, :2].view(np.float16).astype(np.float32)
    if kind == "Q8_0":
        return (d * blocks[:, 2:].view(np.int8)).ravel()
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (q * d + m).ravel()


@right("dequantize")
def by_struct(raw, kind):
    size = {"F32": 4, "Q4_1": 20, "Q8_0": 34}.get(kind)
    if not size or len(raw) % size:
        raise ValueError(f"{len(raw)} bytes of {kind}")
    data, numbers = raw.tobytes(), []
    for at in range(0, len(data), size):
        if kind == "F32":
            numbers += struct.unpack_from("<f", data, at)
        elif kind == "Q8_0":
            d, *q = struct.unpack_from("<e32b", data, at)
            numbers += [d * one for one in q]
        else:
            d, m, *both = struct.unpack_from("<ee16B", data, at)
            numbers += [d * (byte % 16) + m for byte in both]
            numbers += [d * (byte // 16) + m for byte in both]
    return np.array(numbers, dtype=np.float32)


@right("dequantize")
def by_structured_types(raw, kind):
    layouts = {
        "F32": [("q", "<f4")],
        "Q8_0": [("d", "<f2"), ("q", "i1", 32)],
        "Q4_1": [("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)],
    }
    if kind not in layouts:
        raise ValueError(f"what is {kind}?")
    layout = np.dtype(layouts[kind])
    if raw.size % layout.itemsize:
        raise ValueError("a block is cut")
    rows = np.frombuffer(raw.tobytes(), layout)
    if kind == "F32":
        return rows["q"].copy()
    q, d = rows["q"].astype(np.float32), rows["d"].astype(np.float32)[:, None]
    if kind == "Q8_0":
        return (q * d).reshape(-1)
    high = np.floor(q / 16)
    q = np.hstack([q - 16 * high, high])
    return (q * d + rows["m"].astype(np.float32)[:, None]).reshape(-1).astype(np.float32)


@right("dequantize")
def by_bits_in_place(raw, kind):
    size = dict([("F32", 4), ("Q4_1", 20), ("Q8_0", 34)]).get(kind, 0)
    if size == 0 or raw.size % size != 0:
        raise ValueError(kind)
    if kind == "F32":
        return np.array(raw).view("<f4")
    blocks = raw.reshape(-1, size)
    head = 2 if kind == "Q8_0" else 4
    scales = np.ascontiguousarray(blocks[:, :head]).view("<f2").astype(np.float32)
    out = np.empty((len(blocks), 32), np.float32)
    if kind == "Q8_0":
        out[:] = np.ascontiguousarray(blocks[:, 2:]).view(np.int8)
        out *= scales
    else:
        out[:, :16], out[:, 16:] = blocks[:, 4:] & 0x0F, blocks[:, 4:] >> 4
        out *= scales[:, :1]
        out += scales[:, 1:]
    return out.reshape(-1)


# Task 3: GQA ------------------------------------------------------------------------------------

HEADS, PAST = "GQA-hidden-heads", "GQA-hidden-past"


@wrong(
    "GQA", cell=HEADS, says="query head n reads key and value head n mod M; groups are neighbours"
)
class Tiled(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            k, v = extend(k, v)
        T, S, R = q.shape[-2], k.shape[-2], q.shape[1] // k.shape[1]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        k, v = k.repeat(1, R, 1, 1), v.repeat(1, R, 1, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong("GQA", cell=HEADS, says="there is no mask")
class Unmasked(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            k, v = extend(k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong("GQA", cell=HEADS, says="each position sees the next one too")
class OneTooMany(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            k, v = extend(k, v)
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T + 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong("GQA", cell=HEADS, says="the queries are not turned")
class QueriesStraight(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (q, _turned(k, turns), v))
        if extend is not None:
            k, v = extend(k, v)
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong("GQA", cell=HEADS, says="the keys are not turned")
class KeysStraight(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), k, v))
        if extend is not None:
            k, v = extend(k, v)
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong("GQA", cell=HEADS, says="neither queries nor keys are turned")
class NothingTurned(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)).transpose(1, 2) for y in asked)
        if extend is not None:
            k, v = extend(k, v)
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong("GQA", cell=HEADS, says="the values are turned too")
class ValuesTurned(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        parts = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (_turned(y, turns).transpose(1, 2) for y in parts)
        if extend is not None:
            k, v = extend(k, v)
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong(
    "GQA", cell=HEADS, says="the scores are divided by sqrt(D); the root is of the width of a head"
)
class RootOfWholeWidth(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            k, v = extend(k, v)
        T, S, scale = q.shape[-2], k.shape[-2], x.shape[-1] ** -0.5
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=seen, scale=scale, enable_gqa=True
        )
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong("GQA", cell=HEADS, says="the heads are joined without swapping the axes back")
class JoinedAcross(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            k, v = extend(k, v)
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        return self.output(mixed.reshape(x.shape))


@wrong("GQA", cell=HEADS, says="the map `output` is missing")
class NoOutput(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            k, v = extend(k, v)
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        return mixed.transpose(1, 2).flatten(2)


@wrong("GQA", cell=PAST, says="the past is ignored")
class PastIgnored(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            extend(k, v)  # what it returns is thrown away
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong("GQA", cell=PAST, says="the mask forgets the past: query t is position S - T + t")
class MaskFromTheStart(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            k, v = extend(k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong("GQA", cell="GQA-check-causal", says="the past is ignored")
class PastIgnoredByMeans(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            extend(k, v)  # what it returns is thrown away
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong(
    "GQA",
    cell="GQA-check-causal",
    says="the mask forgets the past: query t is position S - T + t",
)
class MaskFromTheStartByMeans(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v = (y.transpose(1, 2) for y in (_turned(q, turns), _turned(k, turns), v))
        if extend is not None:
            k, v = extend(k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@wrong("GQA", cell=PAST, says="the new keys are kept without their turn")
class KeptStraight(library.GQA):
    def forward(self, x, turns, extend=None):
        asked = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (-1, self.K)) for y in asked)
        q, k, v, own = (y.transpose(1, 2) for y in (_turned(q, turns), k, v, _turned(k, turns)))
        if extend is None:
            k = own
        else:
            k, v = extend(k, v)
        T, S = q.shape[-2], k.shape[-2]
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


@right("GQA")
class ByEinsum(library.GQA):
    def forward(self, x, turns, extend=None):
        M = self.key.weight.shape[0] // self.K
        q = _turned(self.query(x).unflatten(-1, (-1, self.K)), turns).unflatten(2, (M, -1))
        k = _turned(self.key(x).unflatten(-1, (M, self.K)), turns).transpose(1, 2)
        v = self.value(x).unflatten(-1, (M, self.K)).transpose(1, 2)
        if extend is not None:
            k, v = extend(k, v)
        scores = torch.einsum("btmrk,bmsk->bmrts", q, k) / self.K**0.5
        T, S = scores.shape[-2:]
        hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        return self.output(torch.einsum("bmrts,bmsk->btmrk", weights, v).flatten(2))


@right("GQA")
class ByRepeating(library.GQA):
    def forward(self, x, turns, extend=None):
        B, T, D = x.shape
        K = self.K
        q = _turned(self.query(x).view(B, T, -1, K), turns).transpose(1, 2)
        k = _turned(self.key(x).view(B, T, -1, K), turns).transpose(1, 2)
        v = self.value(x).view(B, T, -1, K).transpose(1, 2)
        if extend:
            k, v = extend(k, v)
        R = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(R, 1), v.repeat_interleave(R, 1)
        place = torch.arange(k.shape[2])
        allowed = place[None, :] <= place[-T:, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.output(mixed.transpose(1, 2).reshape(B, T, D))


@right("GQA")
class ByLoopingHeads(library.GQA):
    def forward(self, x, turns, extend=None):
        K = self.K
        q = _turned(self.query(x).unflatten(-1, (-1, K)), turns)
        k = _turned(self.key(x).unflatten(-1, (-1, K)), turns).transpose(1, 2)
        v = self.value(x).unflatten(-1, (-1, K)).transpose(1, 2)
        if extend is not None:
            k, v = extend(k, v)
        T, N, M, S = x.shape[1], q.shape[2], k.shape[1], k.shape[2]
        heads = []
        for n in range(N):
            g = n // (N // M)
            rows = []
            for t in range(T):
                end = S - T + t + 1
                scores = (q[:, t, n, None] * k[:, g, :end]).sum(-1) / K**0.5
                rows.append((scores.softmax(-1)[..., None] * v[:, g, :end]).sum(1))
            heads.append(torch.stack(rows, 1))
        return self.output(torch.cat(heads, -1))


# Task 4: find the bug ---------------------------------------------------------------------------

ROWS, SCORES = "to_pairs_repaired-hidden-rows", "to_pairs_repaired-hidden-scores"


@wrong("to_pairs_repaired", cell=ROWS, says="rows of different heads are paired")
def unchanged_bug(weight, heads):
    rows, D = weight.shape
    halves = weight.reshape(2, rows // 2, D)
    return halves.transpose(0, 1).reshape(rows, D)


@wrong("to_pairs_repaired", cell=ROWS, says="nothing has moved")
def axes_not_swapped(weight, heads):
    rows, D = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, D)
    return halves.reshape(rows, D)


@wrong("to_pairs_repaired", cell=ROWS, says="this is the way back, from pairs to halves")
def way_back(weight, heads):
    rows, D = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, D)
    return pairs.transpose(1, 2).reshape(rows, D)


@wrong("to_pairs_repaired", cell=ROWS, says="the second half comes first")
def second_first(weight, heads):
    parts = []
    for one in weight.split(len(weight) // heads):
        first, second = one.chunk(2)
        parts.append(torch.stack((second, first), 1).flatten(0, 1))
    return torch.cat(parts)


@wrong("to_pairs_repaired", cell=ROWS, says="the second half is taken backwards")
def folded(weight, heads):
    parts = []
    for one in weight.split(len(weight) // heads):
        first, second = one.chunk(2)
        parts.append(torch.stack((first, second.flip(0)), 1).flatten(0, 1))
    return torch.cat(parts)


@wrong("to_pairs_repaired", cell=ROWS, says="the heads have become the inner axis")
def heads_inside(weight, heads):
    rows, D = weight.shape
    return weight.reshape(heads, rows // heads, D).transpose(0, 1).reshape(rows, D)


@wrong("to_pairs_repaired", cell=ROWS, says="heads and halves have changed places in the reshape")
def halves_outside(weight, heads):
    rows, D = weight.shape
    halves = weight.reshape(2, heads, rows // heads // 2, D)
    return halves.permute(1, 2, 0, 3).reshape(rows, D)


@wrong("to_pairs_repaired", cell=ROWS, says="the halves are swapped, not woven")
def swapped(weight, heads):
    rows, D = weight.shape
    return weight.reshape(heads, 2, -1, D).flip(1).reshape(rows, D)


@wrong("to_pairs_repaired", cell=ROWS, says="neighbours have changed places")
def neighbours_swapped(weight, heads):
    rows, D = weight.shape
    return weight.reshape(-1, 2, D).flip(1).reshape(rows, D)


@wrong("to_pairs_repaired", cell=ROWS, says="the second number of each pair has the other sign")
def mirrored(weight, heads):
    rows, D = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, D).clone()
    halves[:, 1] *= -1
    return halves.transpose(1, 2).reshape(rows, D)


@wrong("to_pairs_repaired", cell=ROWS, says="the columns are reordered; it must be the rows")
def columns(weight, heads):
    rows, D = weight.shape
    return weight.reshape(rows, heads, 2, -1).transpose(2, 3).reshape(rows, D)


@wrong("to_pairs_repaired", cell=SCORES, says="as if nothing had moved")
def given_back(weight, heads):
    return weight.clone()


@right("to_pairs_repaired")
def by_indices(weight, heads):
    K = len(weight) // heads
    order = []
    for head in range(heads):
        for i in range(K // 2):
            order += [head * K + i, head * K + i + K // 2]
    return weight[order]


@right("to_pairs_repaired")
def by_slices(weight, heads):
    new = torch.empty_like(weight)
    K = weight.shape[0] // heads
    for head in range(heads):
        old = weight[head * K : (head + 1) * K]
        new[head * K : (head + 1) * K : 2] = old[: K // 2]
        new[head * K + 1 : (head + 1) * K : 2] = old[K // 2 :]
    return new


@right("to_pairs_repaired")
def by_unflatten(weight, heads):
    return weight.unflatten(0, (heads, 2, -1)).movedim(2, 1).flatten(0, 2)


@right("to_pairs_repaired")
def by_numpy(weight, heads):
    rows, D = weight.shape
    array = weight.numpy().reshape(heads, 2, rows // heads // 2, D)
    return torch.from_numpy(np.ascontiguousarray(np.swapaxes(array, 1, 2)).reshape(rows, D))
