"""Reverse mode on arrays: record what was computed, then walk back through it with the chain rule.

Left out: gradients of gradients, functions with several results, writing into arrays, matrix
products of vectors, devices; and every operation that the book's first networks do not need.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Variable",
    "checkpoint",
    "gradients",
    "numerical_gradient",
    "topological",
    "unbroadcast",
]

Array = NDArray[Any]
Pullback = Callable[[Array], Array]


class Variable:
    """An array that remembers from what it was computed.

    `parents` holds, for each array that went in, the Variable and its pullback: the function from
    the gradient of the result to the gradient of what went in, where broadcasting is not undone
    yet. What is not a Variable counts as a constant. All arrays are float64.

    Raises:
        ValueError: `@` meets fewer than two axes.

    Source: griewank2008evaluating, chapters 3 and 6.

    >>> x, b = Variable([[1.0, 2.0]]), Variable([3.0])
    >>> y = (x @ [[1.0], [1.0]] + b) ** 2
    >>> y.data, y.name, [parent.name for parent, _ in y.parents]
    (array([[36.]]), 'power', ['add'])
    """

    __array_ufunc__ = None  # so that array + Variable is ours to compute, not numpy's

    def __init__(
        self,
        data: ArrayLike,
        parents: Sequence[tuple["Variable", Pullback]] = (),
        name: str = "",
    ) -> None:
        self.data: Array = np.asarray(data, dtype=float)
        self.parents, self.name = tuple(parents), name

    def __add__(self, other: Any) -> "Variable":
        other = _variable(other)
        return Variable(self.data + other.data, [(self, _same), (other, _same)], "add")

    def __mul__(self, other: Any) -> "Variable":
        x, y = self.data, _variable(other).data
        parents = [(self, lambda g: g * y), (_variable(other), lambda g: g * x)]
        return Variable(x * y, parents, "multiply")

    def __pow__(self, exponent: float) -> "Variable":
        x = self.data
        return Variable(
            x**exponent, [(self, lambda g: g * exponent * x ** (exponent - 1))], "power"
        )

    def __matmul__(self, other: Any) -> "Variable":
        x, y = self.data, _variable(other).data
        if min(x.ndim, y.ndim) < 2:
            raise ValueError(f"@ needs matrices, got shapes {x.shape} and {y.shape}")
        parents = [(self, lambda g: g @ y.mT), (_variable(other), lambda g: x.mT @ g)]
        return Variable(x @ y, parents, "matmul")

    def __getitem__(self, index: Any) -> "Variable":
        def pullback(g: Array) -> Array:
            found = np.zeros_like(self.data)
            np.add.at(found, index, g)  # an entry that was taken twice gets both gradients
            return found

        return Variable(self.data[index], [(self, pullback)], "index")

    def exp(self) -> "Variable":
        y = np.exp(self.data)
        return Variable(y, [(self, lambda g: g * y)], "exp")

    def log(self) -> "Variable":
        return Variable(np.log(self.data), [(self, lambda g: g / self.data)], "log")

    def tanh(self) -> "Variable":
        y = np.tanh(self.data)
        return Variable(y, [(self, lambda g: g * (1 - y**2))], "tanh")

    def relu(self) -> "Variable":
        on = self.data > 0
        return Variable(self.data * on, [(self, lambda g: g * on)], "relu")

    def sum(self, axis: int | None = None, keepdims: bool = False) -> "Variable":
        def pullback(g: Array) -> Array:
            kept = g if axis is None or keepdims else np.expand_dims(g, axis)
            return np.broadcast_to(kept, self.data.shape)

        return Variable(self.data.sum(axis, keepdims=keepdims), [(self, pullback)], "sum")

    def reshape(self, *shape: int) -> "Variable":
        back = self.data.shape
        return Variable(self.data.reshape(shape), [(self, lambda g: g.reshape(back))], "reshape")

    def mean(self, axis: int | None = None, keepdims: bool = False) -> "Variable":
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def __neg__(self) -> "Variable":
        return self * -1.0

    def __sub__(self, other: Any) -> "Variable":
        return self + -_variable(other)

    def __truediv__(self, other: Any) -> "Variable":
        return self * _variable(other) ** -1.0

    def __radd__(self, other: Any) -> "Variable":
        return _variable(other) + self

    def __rmul__(self, other: Any) -> "Variable":
        return _variable(other) * self

    def __rsub__(self, other: Any) -> "Variable":
        return _variable(other) - self

    def __rtruediv__(self, other: Any) -> "Variable":
        return _variable(other) / self

    def __rmatmul__(self, other: Any) -> "Variable":
        return _variable(other) @ self


def _variable(value: Any) -> Variable:
    return value if isinstance(value, Variable) else Variable(value)


def _same(g: Array) -> Array:
    return g


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of what was broadcast to the shape of g from `shape`: a sum over its copies.

    Raises:
        ValueError: nothing of that shape broadcasts to the shape of g.

    Source: griewank2008evaluating, section 3.2: what is used twice collects both adjoints.

    >>> unbroadcast(np.ones((4, 3)), (3,)), unbroadcast(np.ones((4, 3)), (4, 1)).shape
    (array([4., 4., 4.]), (4, 1))
    """
    extra = g.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:], strict=True)):
        raise ValueError(f"no array {shape} broadcasts to {g.shape}")
    stretched = [extra + i for i, n in enumerate(shape) if n == 1 < g.shape[extra + i]]
    once: Array = g.sum((*range(extra), *stretched))
    return once.reshape(shape)


def topological(output: Variable) -> list[Variable]:
    """All Variables that the output was computed from, and itself: parents before children.

    Source: griewank2008evaluating, section 2.2.

    >>> x = Variable(3.0)
    >>> [v.name for v in topological((x * x + x) ** 2)]
    ['', 'multiply', 'add', 'power']
    """
    order, seen, stack = [], set(), [(output, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(parent, False) for parent, _ in node.parents]
    return order


def gradients(output: Variable, inputs: Sequence[Variable]) -> list[Array]:
    """The gradient of one number with respect to each of the inputs, in one walk back.

    An input that the output does not depend on has the gradient 0. Nothing is kept between calls.

    Raises:
        ValueError: the output is not one number.

    Source: linnainmaa1976taylor; rumelhart1986learning, equations 4 to 7.

    >>> w, x = Variable(-2.0), Variable(3.0)
    >>> [g.item() for g in gradients((w * x + x) ** 2, [w, x])]
    [-18.0, 6.0]
    """
    if output.data.size != 1:
        raise ValueError(f"only one number has a gradient, got shape {output.data.shape}")
    order = topological(output)
    needed = {id(x) for x in inputs}
    for node in order:
        if any(id(parent) in needed for parent, _ in node.parents):
            needed.add(id(node))
    found = {id(output): np.ones_like(output.data)}
    for node in reversed(order):
        for parent, pullback in node.parents if id(node) in needed else ():
            if id(parent) in needed:
                part = unbroadcast(pullback(found[id(node)]), parent.data.shape)
                found[id(parent)] = found.get(id(parent), 0.0) + part
    return [found.get(id(x), np.zeros_like(x.data)) for x in inputs]


def numerical_gradient(f: Callable[[Array], float], x: ArrayLike, eps: float = 1e-5) -> Array:
    """Central differences: how much f changes when one number of x moves by eps either way.

    Two calls of f for each number of x; the error is of the order of eps squared, until rounding
    takes over. f must not change its argument.

    Source: griewank2008evaluating, section 1.1.

    >>> numerical_gradient(lambda x: (x**3).sum(), [1.0, 2.0]).round(6)
    array([ 3., 12.])
    """
    x = np.asarray(x, dtype=float)
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = eps
        found[place] = (f(x + step) - f(x - step)) / (2 * eps)
    return found


def checkpoint(f: Callable[[Variable], Variable], x: Variable) -> Variable:
    """f(x) that keeps x and forgets all else: the walk back computes f again before it enters it.

    f may use no Variable but x whose gradient is wanted.

    Source: chen2016training, section 4.

    >>> x = Variable([1.0, 2.0])
    >>> gradients(checkpoint(lambda x: x.exp().log() * 3, x).sum(), [x])
    [array([3., 3.])]
    """

    def pullback(g: Array) -> Array:
        again = Variable(x.data)
        return gradients((f(again) * g).sum(), [again])[0]

    return Variable(f(Variable(x.data)).data, [(x, pullback)], "checkpoint")
