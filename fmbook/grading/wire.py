"""Frames and values between the process that checks and the one that runs a student's code.

A frame is a JSON header and raw blobs, each length-prefixed and limited. Values are of a closed
list of kinds; everything else crosses as a handle or a name. Left out, on purpose: pickle, classes
of the sender's choosing, and trust in anything that the other side says.
"""

import json
import math
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["BrokenWire", "Gone", "Late", "Reference", "decode", "encode", "receive", "send"]

HEADER, BLOBS, DEPTH, AXES = 8 << 20, 256 << 20, 60, 16
TORCH_TYPES = {
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    *("bool", "uint8", "int8", "int16", "int32", "int64"),
}
NUMPY_KINDS = "biufc"
COLLISIONS = 1000  # members of one set with the same hash
NO_VALUE = (
    *(ValueError, TypeError, LookupError, OverflowError, AttributeError, RuntimeError),
    *(RecursionError, MemoryError),
)
PREFIX = struct.Struct("<I")


class BrokenWire(ValueError):
    """The other side sent something that is no frame, or no value."""


class Gone(ConnectionError):
    """The other side has closed, or died."""


class Late(TimeoutError):
    """The other side did not answer in time."""


@dataclass(frozen=True)
class Reference:
    """An object that stays on its own side: by number, or by the name it has on both sides."""

    number: int | None = None
    name: str | None = None
    kind: str = ""


def send(channel: socket.socket, message: dict[str, Any], blobs: list[bytes] = []) -> None:  # noqa: B006
    """Write one frame: the message, which JSON can hold, and the blobs.

    Raises:
        BrokenWire: the frame exceeds the limits.
        Gone: nobody reads any more.
    """
    header = json.dumps({"m": message, "b": [len(b) for b in blobs]}).encode()
    if len(header) > HEADER or sum(map(len, blobs)) > BLOBS:
        raise BrokenWire("the value is too large to be sent")
    try:
        channel.sendall(b"".join([PREFIX.pack(len(header)), header, *blobs]))
    except TimeoutError:
        raise Late("nobody reads") from None
    except OSError as error:
        raise Gone(str(error)) from None


def receive(
    channel: socket.socket, deadline: float | None = None
) -> tuple[dict[str, Any], list[bytes]]:
    """Read one frame; `deadline` is a time of `time.monotonic()` by which all of it is here.

    Raises:
        BrokenWire: it is no frame.
        Gone: the other side closed.
        Late: the deadline passed.
    """
    (size,) = PREFIX.unpack(_read(channel, PREFIX.size, deadline))
    if size > HEADER:
        raise BrokenWire("the header is too long")
    try:
        frame = json.loads(_read(channel, size, deadline))
        message, sizes = frame["m"], frame["b"]
        good = type(message) is dict and all(type(n) is int and n >= 0 for n in sizes)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BrokenWire(f"the header is no frame's: {type(error).__name__}") from None
    if not good or sum(sizes) > BLOBS:
        raise BrokenWire("the sizes of the blobs are wrong, or too large")
    return message, [_read(channel, n, deadline) for n in sizes]


def _read(channel: socket.socket, size: int, deadline: float | None) -> bytes:
    data = bytearray()
    while len(data) < size:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Late("no answer in time")
            channel.settimeout(left)
        try:
            piece = channel.recv(min(size - len(data), 1 << 20))
        except TimeoutError:
            raise Late("no answer in time") from None
        except ConnectionError as error:
            raise Gone(str(error)) from None
        if not piece:
            raise Gone("the other side has closed")
        data += piece
    return bytes(data)


def encode(
    value: Any, blobs: list[bytes], refer: Callable[[Any], Reference | None], depth: int = 0
) -> Any:
    """A value as JSON; arrays go to `blobs`. `refer` names what is of no known kind.

    Raises:
        BrokenWire: it is of no known kind, `refer` knows no name for it, or it is nested too deep.
    """
    if depth > DEPTH:
        raise BrokenWire("the value is nested too deep, or contains itself")
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value

    def inner(x: Any) -> Any:
        return encode(x, blobs, refer, depth + 1)

    if kind in (list, tuple, set, frozenset):
        return {kind.__name__: [inner(x) for x in value]}
    if kind is dict:
        return {"dict": [[inner(key), inner(x)] for key, x in value.items()]}
    known = _encode_number(value, blobs) or _encode_array(value, blobs)
    if known is not None:
        return known
    if kind.__module__.startswith("fmbook.") and hasattr(kind, "__dataclass_params__"):
        content = {f.name: inner(getattr(value, f.name)) for f in fields(value)}
        return {"record": [kind.__module__, kind.__qualname__, content]}
    reference = refer(value)
    if reference is None:
        raise BrokenWire(f"a {kind.__name__} cannot be sent")
    return {"ref": [reference.number, reference.name, reference.kind]}


def _encode_number(value: Any, blobs: list[bytes]) -> Any:
    """A float or complex number to its last bit, or bytes; else None."""
    if type(value) is float:
        return {"float": value.hex()}
    if type(value) is complex:
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if type(value) is bytes:
        blobs.append(value)
        return {"bytes": len(blobs) - 1}
    return None


def _encode_array(value: Any, blobs: list[bytes]) -> Any:
    """A tensor, an array, a number of numpy, or a generator of random numbers; else None."""
    torch, np = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            plain = torch.Tensor.detach(value).as_subclass(torch.Tensor).cpu().contiguous()
            name = str(plain.dtype).removeprefix("torch.")
            if plain.layout is not torch.strided or name not in TORCH_TYPES:
                raise BrokenWire(f"a tensor of {plain.dtype}, {plain.layout} cannot be sent")
            plain = plain.resolve_conj().resolve_neg()
            raw = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
            blobs.append(raw)
            return {"tensor": [name, list(plain.shape), len(blobs) - 1]}
    if torch is not None and isinstance(value, torch.Size):
        return {"tuple": [int(n) for n in value]}
    if torch is not None and isinstance(value, torch.Generator):
        return {"torch generator": _encode_array(value.get_state(), blobs)}
    if np is None:
        return None
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in NUMPY_KINDS:
        blobs.append(np.asarray(value).tobytes())
        name = "array" if isinstance(value, np.ndarray) else "scalar"
        return {name: [value.dtype.str, list(value.shape), len(blobs) - 1]}
    if isinstance(value, np.random.Generator):
        state = value.bit_generator.state
        return {"numpy generator": encode(state, blobs, lambda _: None)}
    return None


def decode(
    node: Any, blobs: list[bytes], resolve: Callable[[Reference], Any], depth: int = 0
) -> Any:
    """The value that `encode` wrote; whatever else it is given, nothing runs and little is made.

    Raises:
        BrokenWire: it is no value.
    """
    try:
        return _decode(node, blobs, resolve, depth)
    except BrokenWire:
        raise
    except NO_VALUE as error:
        raise BrokenWire(f"no value: {type(error).__name__}") from None


def _decode(node: Any, blobs: list[bytes], resolve: Callable[[Reference], Any], depth: int) -> Any:
    if depth > DEPTH:
        raise BrokenWire("the value is nested too deep")
    if node is None or type(node) in (bool, int, str):
        return node
    ((kind, content),) = node.items()

    def inner(x: Any) -> Any:
        return _decode(x, blobs, resolve, depth + 1)

    if kind == "float":
        return float.fromhex(content)
    if kind == "complex":
        return complex(*map(float.fromhex, content))
    if kind == "bytes":
        return _take(blobs, content)
    if kind in ("list", "tuple", "set", "frozenset"):
        make = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind]
        members = [inner(x) for x in content]
        return make(_spread(members) if "set" in kind else members)
    if kind == "dict":
        pairs = [(inner(key), inner(value)) for key, value in content]
        _spread([key for key, _ in pairs])
        return dict(pairs)
    if kind == "record":
        module, name, held = content
        return _decode_record(module, name, held, inner)
    if kind == "ref":
        return resolve(_reference(*content))
    return _decode_array(kind, content, blobs, inner)


def _take(blobs: list[bytes], number: Any) -> bytes:
    """A blob, which nothing else may use: else a short header could ask for any memory."""
    if type(number) is not int or number < 0 or type(blobs[number]) is not bytes:
        raise BrokenWire("no such blob")
    blob, blobs[number] = blobs[number], None  # type: ignore[call-overload]
    return bytes(blob)


def _spread(members: list[Any]) -> list[Any]:
    """The members of a set if their hashes differ; equal ones cost a time that grows as n * n."""
    most = Counter(map(hash, members)).most_common(1)
    if most and most[0][1] > COLLISIONS:
        raise BrokenWire("members that collide")
    return members


def _reference(number: Any, name: Any, kind: Any) -> Reference:
    if type(number) not in (int, type(None)) or type(name) not in (str, type(None)):
        raise BrokenWire("no reference")
    return Reference(number, name, kind if type(kind) is str else "")


def _decode_record(module: str, name: str, content: dict[str, Any], inner: Any) -> Any:
    """A frozen dataclass of the library that is loaded here, filled without running its code."""
    kind = getattr(sys.modules.get(module), name, None)
    frozen = getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)
    foreign = not module.startswith("fmbook.") or module.startswith("fmbook.grading")
    if foreign or not isinstance(kind, type) or not frozen:
        raise BrokenWire("not a record of the library")
    if set(content) != {f.name for f in fields(kind)}:
        raise BrokenWire("not the fields of the record")
    record: Any = object.__new__(kind)
    for field in content:
        object.__setattr__(record, field, inner(content[field]))
    return record


def _decode_array(kind: str, content: Any, blobs: list[bytes], inner: Any) -> Any:
    if kind == "torch generator":
        import torch

        generator = torch.Generator()
        try:
            generator.set_state(inner(content))
        except RuntimeError as error:
            raise BrokenWire(f"no state of a generator: {error}"[:200]) from None
        return generator
    import numpy as np

    if kind == "numpy generator":
        state = inner(content)
        if state["bit_generator"] not in ("PCG64", "PCG64DXSM", "SFC64"):
            raise BrokenWire("no known generator")  # others trust the positions in their state
        bits = getattr(np.random, state["bit_generator"])()
        bits.state = state
        return np.random.Generator(bits)
    name, shape, at = content
    blob = _take(blobs, at)
    if len(shape) > AXES or not all(type(n) is int and n >= 0 for n in shape):
        raise BrokenWire("no shape")
    if kind == "tensor":
        return _tensor(name, shape, blob)
    if kind not in ("array", "scalar"):
        raise BrokenWire("no known kind")
    dtype = np.dtype(name) if type(name) is str and len(name) <= 5 else None
    if dtype is None or dtype.kind not in NUMPY_KINDS:
        raise BrokenWire("no known dtype")
    if math.prod(shape) * dtype.itemsize != len(blob):
        raise BrokenWire("shape and content differ in size")
    array = np.frombuffer(blob, "u1" if dtype.kind == "b" else dtype).reshape(shape).astype(dtype)
    return array if kind == "array" else array.reshape(-1)[0]


def _tensor(name: Any, shape: list[int], blob: bytes) -> Any:
    import torch

    if name not in TORCH_TYPES:
        raise BrokenWire("no known dtype")
    dtype = getattr(torch, name)
    if math.prod(shape) * dtype.itemsize != len(blob):
        raise BrokenWire("shape and content differ in size")
    if not blob:
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(bytearray(blob), dtype=torch.uint8)
    return (flat != 0 if name == "bool" else flat.view(dtype)).reshape(shape)
