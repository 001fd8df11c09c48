"""Reverse mode against PyTorch, against nudging and on the mail: random expressions, time, losses.

Left out: larger networks, and other machines.
"""

import re
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fmbook import data
from fmbook.gradients.autograd import (
    Variable,
    checkpoint,
    gradients,
    numerical_gradient,
    topological,
)

__all__ = [
    "checkpointed",
    "expression",
    "gaps",
    "graph_nodes",
    "learn",
    "point",
    "ratio_to_torch",
    "run",
    "seconds",
    "words_of_mail",
]

DEPTHS, WIDTHS = (16, 64, 256, 1024), (16, 64, 256)
MOVES = [
    lambda x, y: x + y,
    lambda x, y: x * y,
    lambda x, y: x - y,
    lambda x, y: x.tanh(),
    lambda x, y: (x * 0.1).exp(),
    lambda x, y: x / (y**2 + 1.0),
    lambda x, y: (x**2 + 1.0).log(),
    lambda x, y: x.sum(0, True) + x,
]


def words_of_mail(number: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Which common words each mail before September holds, (mails, words), and if it is spam."""
    mails = [m for m in data.mail() if m.date and "2002-01" <= m.date < "2002-09"]
    said = [set(re.findall(r"[a-z]{3,}", m.text.lower())) for m in mails]
    counts = Counter(word for words in said for word in words)
    common = [word for word, _ in counts.most_common(number)]
    X = np.array([[word in words for word in common] for words in said], dtype=float)
    return X, np.array([[m.spam] for m in mails], dtype=float)


def graph_nodes(output: Variable, named: dict[str, tuple[Variable, float]]) -> list[dict[str, Any]]:
    """The nodes of a graph of numbers for the widget: `named` gives each its text and height."""
    name_of = {id(node): name for name, (node, _) in named.items()}
    order, nodes = topological(output), []
    for node, g in zip(order, gradients(output, order), strict=True):
        passes = {name_of[id(parent)]: pullback(g).item() for parent, pullback in node.parents}
        name = name_of[id(node)]
        known = {"id": name, "text": name, "y": named[name][1], "passes": passes}
        nodes.append({**known, "value": node.data.item(), "gradient": g.item()})
    return nodes


def expression(draw: np.random.Generator) -> Callable[[Any, Any], Any]:
    """A sum of six random operations in a row on x (3, 4) and y (4,), arrays of any library."""
    chosen = draw.integers(len(MOVES), size=6)

    def f(x: Any, y: Any) -> Any:
        for number in chosen:
            x = MOVES[number](x, y)
        return x.sum()

    return f


def gaps(seed: int) -> tuple[float, float]:
    """How far our gradient of a random expression is from PyTorch's, and from that by nudging."""
    draw = np.random.default_rng(seed)
    f, x, y = expression(draw), draw.normal(size=(3, 4)), draw.normal(size=(4,))
    ours, theirs = Variable(x), torch.tensor(x, requires_grad=True)
    (g,) = gradients(f(ours, Variable(y)), [ours])
    (h,) = torch.autograd.grad(f(theirs, torch.tensor(y)), theirs)
    n = numerical_gradient(lambda x: f(Variable(x), Variable(y)).data.item(), x)
    size = 1 + np.abs(g).max()
    return np.abs(g - h.numpy()).max() / size, np.abs(g - n).max() / size


def seconds(work: Callable[[], Any], repeat: int = 3) -> float:
    """CPU-seconds of the quickest of some runs."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def network(x: Any, layers: Any) -> Any:
    """Layers of tanh, and the sum of squares of the last; for arrays of any library."""
    for W, b in layers:
        x = (x @ W + b).tanh()
    return (x**2).sum()


def ratio_to_torch(width: int, B: int = 128) -> float:
    """Our time for value and gradient of four layers over PyTorch's: both float64, in turn."""
    rng = np.random.default_rng(width)
    x = rng.normal(size=(B, width))
    layers = [(rng.normal(size=(width, width)) / width**0.5, np.zeros(width)) for _ in range(4)]

    def ours() -> Any:
        own = [(Variable(W), Variable(b)) for W, b in layers]
        return gradients(network(Variable(x), own), sum(own, ()))

    def theirs() -> Any:
        own = [tuple(torch.tensor(a, requires_grad=True) for a in layer) for layer in layers]
        return torch.autograd.grad(network(torch.tensor(x), own), sum(own, ()))

    assert all(np.allclose(a, b) for a, b in zip(ours(), theirs(), strict=True))
    return sorted(seconds(ours, 5) / seconds(theirs, 5) for _ in range(5))[2]


def checkpointed(layers: int, block: int) -> tuple[float, float, np.ndarray]:
    """Peak MB, CPU-seconds and gradient of a deep chain; blocks of 1 keep everything."""
    W = np.random.default_rng(0).normal(size=(100, 100)) / 10

    def run(x: Variable) -> Variable:
        for _ in range(block):
            x = (x @ W).tanh()
        return x

    def walk() -> np.ndarray:
        x = start = Variable(np.full((100, 100), 0.1))
        for _ in range(layers // block):
            x = run(x) if block == 1 else checkpoint(run, x)
        return gradients(x.sum(), [start])[0]

    tracemalloc.start()
    found = walk()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return peak, seconds(walk), found


def learn(
    score: Callable[[list[Variable], np.ndarray], Variable],
    loss: Callable[[Variable, np.ndarray], Variable],
    mail: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> tuple[list[float], float]:
    """Descend a loss of scores on four fifths of the mail: losses, and the share of others wrong.

    The score gets w (words, 1), b (1, 1), V (words, 8), u (8, 1) and words; the loss gets the
    scores and signs, 1 for spam and -1 for ham.
    """
    rng, (X, y) = np.random.default_rng(seed), mail
    order = rng.permutation(len(X))
    learned, held = order[: 4 * len(X) // 5], order[4 * len(X) // 5 :]
    D = X.shape[1]
    w = [
        np.zeros((D, 1)),
        np.zeros((1, 1)),
        rng.normal(size=(D, 8)) / 14,
        rng.normal(size=(8, 1)) / 3,
    ]
    losses = []
    for _ in range(200):
        now = [Variable(part) for part in w]
        result = loss(score(now, X[learned]), 2 * y[learned] - 1)
        losses.append(result.data.item())
        w = [part - 0.2 * g for part, g in zip(w, gradients(result, now), strict=True)]
    right = (score([Variable(part) for part in w], X[held]).data > 0) == y[held]
    return losses, 1 - right.mean().item()


def run() -> dict[str, Any]:
    """A thousand random expressions, the ratios to PyTorch, and checkpoints at four depths."""
    found = np.array([gaps(seed) for seed in range(1000)])
    return {
        "gaps": {"PyTorch": found[:, 0].max(), "nudging": found[:, 1].max()},
        "ratios": {str(width): round(ratio_to_torch(width), 2) for width in WIDTHS},
        "depths": DEPTHS,
        "keep_all": [checkpointed(n, 1)[:2] for n in DEPTHS],
        "keep_some": [checkpointed(n, int(n**0.5))[:2] for n in DEPTHS],
    }


def point() -> tuple[float, float, float]:
    """The peak of memory in MB at 256 layers with checkpoints."""
    from fmbook.records import load

    return checkpointed(256, 16)[0], load("autograd")["keep_some"][2][0], 1.0
