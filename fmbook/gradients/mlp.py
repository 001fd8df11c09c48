"""Multilayer perceptrons: layers of units that find their own features, and rules to descend by.

Everything but the perceptron computes with whatever array it is given: our Variables or PyTorch's
tensors. Left out: biases of their own rate, normalization, schedules, convolution.
"""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "cross_entropy",
    "forward",
    "initial",
    "minibatches",
    "perceptron",
]

Array = NDArray[Any]


def perceptron(X: Array, y: Array, epochs: int) -> tuple[Array, list[int]]:
    """Correct the weights by each example that is on the wrong side, until none is.

    X (B, D) with labels y (B,) of -1 and 1 -> weights (D + 1,), the last one the bias, and the
    number of mistakes in each epoch, which ends at the first epoch without one.

    Raises:
        ValueError: a label is neither -1 nor 1.

    Source: rosenblatt1958perceptron; minsky1969perceptrons, chapter 11.

    >>> both = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    >>> perceptron(both, np.array([-1, -1, -1, 1]), epochs=20)[1][-1]  # "and" is learned
    0
    """
    if not np.isin(y, (-1, 1)).all():
        raise ValueError(f"labels must be -1 or 1, got {np.unique(y)}")
    X, w = np.column_stack((X, np.ones(len(X)))), np.zeros(X.shape[1] + 1)
    mistakes: list[int] = []
    while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for x, label in zip(X, y, strict=True):
            if label * (w @ x) <= 0:
                w = w + label * x
                mistakes[-1] += 1
    return w, mistakes


def initial(widths: Sequence[int], generator: np.random.Generator) -> list[Array]:
    """Weights and biases [W (D, F), b (F,), ...] of layers of these widths, before training.

    Weights are normal with variance 2 / D, so that relu passes on as much as it receives; biases
    are 0.

    Source: he2015delving, equation 10.

    >>> [p.shape for p in initial((784, 64, 10), np.random.default_rng(0))]
    [(784, 64), (64,), (64, 10), (10,)]
    """
    parameters: list[Array] = []
    for D, F in pairwise(widths):
        parameters += [generator.normal(0, (2 / D) ** 0.5, (D, F)), np.zeros(F)]
    return parameters


def forward(parameters: Sequence[Any], x: Any) -> Any:
    """The scores of x (B, D): each layer a matrix, a bias and, but for the last, a relu.

    Source: rumelhart1986learning, equations 1 and 2 (there with the logistic function).

    >>> from fmbook.gradients.autograd import Variable
    >>> W = np.eye(2)
    >>> forward([W, np.zeros(2), W[:, :1], np.ones(1)], Variable([[3.0, -1.0]])).data
    array([[4.]])
    """
    *hidden, W, b = parameters
    for V, a in zip(hidden[::2], hidden[1::2], strict=True):
        x = (x @ V + a).relu()
    return x @ W + b


def cross_entropy(logits: Any, labels: Any) -> Any:
    """The mean surprise at the right classes, in nats: logits (B, V), labels (B,) of 0 to V - 1.

    Source: bridle1990probabilistic.

    >>> from fmbook.gradients.autograd import Variable
    >>> cross_entropy(Variable([[0.0, 0.0], [1e4, 0.0]]), np.array([0, 0])).data.round(4)
    np.float64(0.3466)
    """
    raw, rows = logits.data, np.arange(len(labels))
    shifted = logits - raw[rows, raw.argmax(-1)][:, None]  # exp does not overflow
    return (shifted.exp().sum(-1).log() - shifted[rows, labels]).mean()


def minibatches(n: int, size: int, generator: np.random.Generator) -> Iterator[Array]:
    """The numbers 0 to n - 1 in a new random order, `size` at a time; what is left over is left.

    Raises:
        ValueError: the size is not between 1 and n.

    Source: robbins1951stochastic, for steps along a random estimate.

    >>> sorted(int(i) for part in minibatches(4, 2, np.random.default_rng(0)) for i in part)
    [0, 1, 2, 3]
    """
    if not 1 <= size <= n:
        raise ValueError(f"a batch holds 1 to {n} examples, got {size}")
    order = generator.permutation(n)
    for start in range(0, n - size + 1, size):
        yield order[start : start + size]


@dataclass(frozen=True)
class SGD:
    """Step against the gradient; with momentum, against a running sum of gradients that fades.

    `step` takes and returns a list of parameters and the state, which begins as `start`.

    Raises:
        ValueError: the rate is not above 0, or the momentum not in 0 to 1, below 1.

    Source: polyak1964some; rumelhart1986learning, equations 8 and 9.

    >>> descent = SGD(0.1, momentum=0.5)
    >>> w, state = descent.step([np.array(1.0)], [2.0], descent.start([np.array(1.0)]))
    >>> w, state = descent.step(w, [2.0], state)
    >>> w[0].round(3)  # 1 - 0.1 * 2 - 0.1 * (2 + 0.5 * 2)
    np.float64(0.5)
    """

    rate: float
    _: KW_ONLY
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.rate <= 0 or not 0 <= self.momentum < 1:
            raise ValueError(f"need a rate above 0 and a momentum in [0, 1), got {self}")

    def start(self, parameters: Sequence[Any]) -> list[Any]:
        """No velocity yet."""
        return [0 * p for p in parameters]

    def step(
        self, parameters: Sequence[Any], gradients: Sequence[Any], velocity: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """The parameters one step further, and the velocity."""
        velocity = [self.momentum * v + g for v, g in zip(velocity, gradients, strict=True)]
        moved = [p - self.rate * v for p, v in zip(parameters, velocity, strict=True)]
        return moved, velocity


@dataclass(frozen=True)
class Adam:
    """Step by the mean of recent gradients over the root of their mean square, number by number.

    The step is thus about `rate` long in each number, whatever the gradient's unit.

    Raises:
        ValueError: the rate or eps is not above 0, or a beta not in 0 to 1, below 1.

    Source: kingma2015adam, algorithm 1.

    >>> descent = Adam(0.1)
    >>> w, state = descent.step([np.array(1.0)], [1e-3], descent.start([np.array(1.0)]))
    >>> w[0].round(3)
    np.float64(0.9)
    """

    rate: float
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if min(self.rate, self.eps) <= 0 or not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError(f"need rate and eps above 0, betas in [0, 1), got {self}")

    def start(self, parameters: Sequence[Any]) -> tuple[int, list[Any], list[Any]]:
        """No steps yet, and both means 0."""
        return 0, [0 * p for p in parameters], [0 * p for p in parameters]

    def step(
        self, parameters: Sequence[Any], gradients: Sequence[Any], state: tuple[Any, ...]
    ) -> tuple[list[Any], tuple[Any, ...]]:
        """The parameters one step further, and the state: steps, means, mean squares."""
        t, means, squares = state
        t, moved, m_new, v_new = t + 1, [], [], []
        for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
            m = self.beta1 * m + (1 - self.beta1) * g
            v = self.beta2 * v + (1 - self.beta2) * g**2
            m_hat, v_hat = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
            moved.append(p - self.rate * m_hat / (v_hat**0.5 + self.eps))
            m_new.append(m)
            v_new.append(v)
        return moved, (t, m_new, v_new)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam that also shrinks every parameter by rate times decay a step, beside the gradient.

    Raises:
        ValueError: as Adam, or the decay is below 0.

    Source: loshchilov2019decoupled, algorithm 2.

    >>> descent = AdamW(0.1, decay=0.5)
    >>> w, state = descent.step([np.array(1.0)], [0.0], descent.start([np.array(1.0)]))
    >>> w[0].round(3)
    np.float64(0.95)
    """

    _: KW_ONLY
    decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay < 0:
            raise ValueError(f"need a decay of 0 or more, got {self.decay}")

    def step(
        self, parameters: Sequence[Any], gradients: Sequence[Any], state: tuple[Any, ...]
    ) -> tuple[list[Any], tuple[Any, ...]]:
        """The parameters one step further, and Adam's state."""
        moved, state = super().step(parameters, gradients, state)
        shrink = self.rate * self.decay
        return [q - shrink * p for p, q in zip(parameters, moved, strict=True)], state
