"""Answers to the autograd exercise: wrong ones, each with what must catch it, and right ones."""

import importlib

import numpy as np
import torch

from tests.bank import right, wrong

# What a student's notebook has from its set-up cells: not an import, so that it is not typed.
library = importlib.import_module("fmbook.gradients.autograd")
Variable, _variable, _same = library.Variable, library._variable, library._same
unbroadcast = library.unbroadcast

# Task 1: unbroadcast ----------------------------------------------------------------------------

LEADING, STRETCHED = "unbroadcast-hidden-leading", "unbroadcast-hidden-stretched"


@wrong("unbroadcast", cell=LEADING, says="the copies are averaged; they must be added up")
def averaged(g, shape):
    extra = g.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:], strict=True)):
        raise ValueError("does not fit")
    stretched = [extra + i for i, n in enumerate(shape) if n == 1]
    return g.mean((*range(extra), *stretched)).reshape(shape)


@wrong("unbroadcast", cell=LEADING, says="this is the first copy alone")
def first_copy(g, shape):
    extra = g.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:], strict=True)):
        raise ValueError("does not fit")
    g = g[(0,) * extra]
    return g[tuple(slice(n) for n in shape)]


@wrong("unbroadcast", cell=LEADING, says="this is the largest of the copies")
def largest_copy(g, shape):
    extra = g.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:], strict=True)):
        raise ValueError("does not fit")
    stretched = [extra + i for i, n in enumerate(shape) if n == 1]
    return g.max((*range(extra), *stretched)).reshape(shape)


@wrong("unbroadcast", cell=LEADING, says="g comes back as it is")
def left_alone(g, shape):
    return g.copy()


@wrong("unbroadcast", cell=LEADING, says="everything is added to everything")
def one_total(g, shape):
    extra = g.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:], strict=True)):
        raise ValueError("does not fit")
    return np.full(shape, g.sum())


@wrong(
    "unbroadcast", cell=LEADING, says="shapes are aligned at their last axes, not at their first"
)
def aligned_at_the_first_axis(g, shape):
    shape = tuple(shape)
    if g.shape[g.ndim - len(shape) :] == shape and len(set(g.shape)) > 1:
        return g.sum(tuple(range(g.ndim - len(shape))))
    padded = shape + (1,) * (g.ndim - len(shape))
    if any(n not in (1, m) for n, m in zip(padded, g.shape, strict=True)):
        raise ValueError("does not fit")
    axes = tuple(i for i, (n, m) in enumerate(zip(padded, g.shape, strict=True)) if n == 1 < m)
    return g.sum(axes).reshape(shape)


@wrong("unbroadcast", cell=STRETCHED, says="only the axes in front are added up")
def stretched_axes_forgotten(g, shape):
    while g.ndim > len(shape):
        g = g.sum(0)
    return g


@wrong("unbroadcast", cell=STRETCHED, says="only the stretched axes are added up")
def front_axes_forgotten(g, shape):
    extra = g.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:], strict=True)):
        raise ValueError("does not fit")
    for i, n in enumerate(shape):
        if n == 1:
            g = g.sum(extra + i, keepdims=True)
    return g


@wrong("unbroadcast", cell=STRETCHED, says="the axes of length 1 are gone")
def axes_dropped(g, shape):
    extra = g.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:], strict=True)):
        raise ValueError("does not fit")
    stretched = [extra + i for i, n in enumerate(shape) if n == 1 < g.shape[extra + i]]
    return g.sum((*range(extra), *stretched))


@wrong("unbroadcast", cell=STRETCHED, says="expected ValueError")
def nothing_refused(g, shape):
    while g.ndim > len(shape):
        g = g.sum(0)
    for i, n in enumerate(shape):
        if n == 1 and i < g.ndim:
            g = g.sum(i, keepdims=True)
    return g


@right("unbroadcast")
def by_loops(g, shape):
    extra = g.ndim - len(shape)
    if extra < 0:
        raise ValueError("too many axes")
    for n, m in zip(shape, g.shape[extra:], strict=True):
        if n != m and n != 1:
            raise ValueError("an axis does not fit")
    found = np.zeros(shape)
    for place in np.ndindex(g.shape):
        own = tuple(0 if n == 1 else k for n, k in zip(shape, place[extra:], strict=True))
        found[own] += g[place]
    return found


@right("unbroadcast")
def one_axis_at_a_time(g, shape):
    if np.broadcast_shapes(g.shape, tuple(shape)) != g.shape:
        raise ValueError("does not broadcast to g")
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    for axis in range(g.ndim):
        if shape[axis] == 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


@right("unbroadcast")
def by_torch(g, shape):
    try:
        return torch.from_numpy(np.array(g)).sum_to_size(tuple(shape)).numpy()
    except RuntimeError:
        raise ValueError("does not fit") from None


@right("unbroadcast")
def by_counting(g, shape):
    """Add up by the number of the entry that each copy was made of."""
    try:
        owner = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), g.shape)
    except ValueError:
        raise ValueError("does not fit") from None
    return np.bincount(owner.ravel(), g.ravel()).reshape(shape)


# Task 2: Variable -------------------------------------------------------------------------------

ENTRIES, MATMUL, SUM = "Variable-hidden-entries", "Variable-hidden-matmul", "Variable-hidden-sum"
SHAPES = "Variable-check-shapes"


@wrong("Variable", cell=ENTRIES, says="x gets g times x; it must get g times y")
class product_hands_back_itself(library.Variable):
    def __mul__(self, other):
        other = _variable(other)
        x, y = self.data, other.data
        return Variable(x * y, [(self, lambda g: g * x), (other, lambda g: g * y)], "multiply")


@wrong("Variable", cell=ENTRIES, says="the gradient that arrives is ignored")
class product_ignores_what_arrives(library.Variable):
    def __mul__(self, other):
        other = _variable(other)
        x, y = self.data, other.data
        return Variable(x * y, [(self, lambda g: y), (other, lambda g: x)], "multiply")


@wrong("Variable", cell=ENTRIES, says="the second factor gets nothing")
class product_with_a_constant(library.Variable):
    def __mul__(self, other):
        y = _variable(other).data
        return Variable(self.data * y, [(self, lambda g: g * y)], "multiply")


@wrong("Variable", cell=ENTRIES, says="each factor gets g alone, as in a sum")
class product_as_a_sum(library.Variable):
    def __mul__(self, other):
        other = _variable(other)
        return Variable(self.data * other.data, [(self, _same), (other, _same)], "multiply")


@wrong("Variable", cell=ENTRIES, says="the exponent is missing")
class power_without_exponent(library.Variable):
    def __pow__(self, exponent):
        x = self.data
        return Variable(x**exponent, [(self, lambda g: g * x ** (exponent - 1))], "power")


@wrong("Variable", cell=ENTRIES, says="the power must go down by one")
class power_stays_up(library.Variable):
    def __pow__(self, exponent):
        y = self.data**exponent
        return Variable(y, [(self, lambda g: g * exponent * y)], "power")


@wrong("Variable", cell=ENTRIES, says="g times x; it must be g over x")
class logarithm_multiplies(library.Variable):
    def log(self):
        return Variable(np.log(self.data), [(self, lambda g: g * self.data)], "log")


@wrong("Variable", cell=ENTRIES, says="1 - x squared; it must be 1 - tanh squared")
class tanh_of_the_input(library.Variable):
    def tanh(self):
        return Variable(np.tanh(self.data), [(self, lambda g: g * (1 - self.data**2))], "tanh")


@wrong("Variable", cell=ENTRIES, says="1 - tanh; the square is missing")
class tanh_without_square(library.Variable):
    def tanh(self):
        y = np.tanh(self.data)
        return Variable(y, [(self, lambda g: g * (1 - y))], "tanh")


@wrong("Variable", cell=ENTRIES, says="everything passes; what is below 0 must not")
class relu_passes_all(library.Variable):
    def relu(self):
        return Variable(np.maximum(self.data, 0), [(self, lambda g: g)], "relu")


@wrong("Variable", cell=ENTRIES, says="g times the value; the slope above 0 is 1")
class relu_multiplies(library.Variable):
    def relu(self):
        y = np.maximum(self.data, 0)
        return Variable(y, [(self, lambda g: g * y)], "relu")


@wrong("Variable", cell=ENTRIES, says="the slope at 0 is 0")
class relu_open_at_zero(library.Variable):
    def relu(self):
        x = self.data
        return Variable(np.maximum(x, 0), [(self, lambda g: g * (x >= 0))], "relu")


@wrong("Variable", cell=MATMUL, says="neither factor is transposed")
class matmul_untransposed(library.Variable):
    def __matmul__(self, other):
        other = _variable(other)
        x, y = self.data, other.data
        if min(x.ndim, y.ndim) < 2:
            raise ValueError("matrices only")
        return Variable(x @ y, [(self, lambda g: g @ y), (other, lambda g: x @ g)], "matmul")


@wrong(
    "Variable", cell=MATMUL, says="the first factor must be transposed in what goes to the second"
)
class matmul_half_transposed(library.Variable):
    def __matmul__(self, other):
        other = _variable(other)
        x, y = self.data, other.data
        if min(x.ndim, y.ndim) < 2:
            raise ValueError("matrices only")
        return Variable(x @ y, [(self, lambda g: g @ y.mT), (other, lambda g: x @ g)], "matmul")


@wrong("Variable", cell=MATMUL, says="what goes to the second factor is transposed")
class matmul_turned(library.Variable):
    def __matmul__(self, other):
        other = _variable(other)
        x, y = self.data, other.data
        if min(x.ndim, y.ndim) < 2:
            raise ValueError("matrices only")
        return Variable(x @ y, [(self, lambda g: g @ y.mT), (other, lambda g: g.mT @ x)], "matmul")


@wrong("Variable", cell=MATMUL, says="products entry by entry")
class matmul_by_entries(library.Variable):
    def __matmul__(self, other):
        other = _variable(other)
        x, y = self.data, other.data
        if min(x.ndim, y.ndim) < 2:
            raise ValueError("matrices only")
        return Variable(x @ y, [(self, lambda g: g * y), (other, lambda g: g * x)], "matmul")


@wrong("Variable", cell=MATMUL, says="(3, 3) @ (3,): expected ValueError, but it returned")
class matmul_of_vectors(library.Variable):
    def __matmul__(self, other):
        other = _variable(other)
        x, y = self.data, other.data
        return Variable(x @ y, [(self, lambda g: g @ y.mT), (other, lambda g: x.mT @ g)], "matmul")


@wrong("Variable", cell=SHAPES, says="(2, 3) @ (3, 4): the shapes do not fit: transpose")
class matmul_without_a_turn(library.Variable):
    def __matmul__(self, other):
        other = _variable(other)
        x, y = self.data, other.data
        if min(x.ndim, y.ndim) < 2:
            raise ValueError("matrices only")
        return Variable(x @ y, [(self, lambda g: g @ y), (other, lambda g: x @ g)], "matmul")


@wrong("Variable", cell=SHAPES, says="sum over axis 1: g lacks the axis that was summed")
class sum_never_puts_the_axis_back(library.Variable):
    def sum(self, axis=None, keepdims=False):
        x = self.data
        return Variable(
            x.sum(axis, keepdims=keepdims), [(self, lambda g: g * np.ones_like(x))], "sum"
        )


@wrong("Variable", cell=SHAPES, says="(2, 3) to (3, 2): g must get the shape of x again")
class reshape_passes_on(library.Variable):
    def reshape(self, *shape):
        return Variable(self.data.reshape(shape), [(self, _same)], "reshape")


@wrong("Variable", cell=SUM, says="g is divided by the number of entries, as in a mean")
class sum_as_a_mean(library.Variable):
    def sum(self, axis=None, keepdims=False):
        x = self.data
        n = x.size if axis is None else x.shape[axis]

        def pullback(g):
            kept = g if axis is None or keepdims else np.expand_dims(g, axis)
            return np.broadcast_to(kept, x.shape) / n

        return Variable(x.sum(axis, keepdims=keepdims), [(self, pullback)], "sum")


@wrong("Variable", cell=SUM, says="g is copied along the wrong axis")
class sum_along_the_last_axis(library.Variable):
    def sum(self, axis=None, keepdims=False):
        x = self.data
        return Variable(
            x.sum(axis, keepdims=keepdims), [(self, lambda g: np.broadcast_to(g, x.shape))], "sum"
        )


@wrong("Variable", cell=SUM, says="each entry gets g times itself")
class sum_weighs(library.Variable):
    def sum(self, axis=None, keepdims=False):
        x = self.data

        def pullback(g):
            return (g if axis is None or keepdims else np.expand_dims(g, axis)) * x

        return Variable(x.sum(axis, keepdims=keepdims), [(self, pullback)], "sum")


@wrong("Variable", cell=SUM, says="the value of ('sum keeping', 'x0', 1)")
class sum_never_keeps(library.Variable):
    def sum(self, axis=None, keepdims=False):
        x = self.data

        def pullback(g):
            return np.broadcast_to(g if axis is None else np.expand_dims(g, axis), x.shape)

        return Variable(x.sum(axis), [(self, pullback)], "sum")


@wrong("Variable", cell=SUM, says="the numbers come back in another order")
class reshape_by_columns(library.Variable):
    def reshape(self, *shape):
        back = self.data.shape
        return Variable(self.data.reshape(shape), [(self, lambda g: g.T.reshape(back))], "reshape")


@right("Variable")
class by_named_functions:
    """Every pullback a function with a name."""

    __array_ufunc__ = None

    def __init__(self, data, parents=(), name=""):
        self.data = np.array(data, dtype=np.float64)
        self.parents, self.name = list(parents), name

    def _made(self, data, *parents):
        return type(self)(data, parents, "made")

    def _own(self, other):
        return other if hasattr(other, "parents") else type(self)(other)

    def __add__(self, other):
        other = self._own(other)

        def passed(g):
            return g

        return self._made(self.data + other.data, (self, passed), (other, passed))

    def __mul__(self, other):
        other = self._own(other)

        def to_self(g):
            return np.multiply(g, other.data)

        def to_other(g):
            return np.multiply(g, self.data)

        return self._made(np.multiply(self.data, other.data), (self, to_self), (other, to_other))

    def __pow__(self, exponent):
        def to_self(g):
            return exponent * np.power(self.data, exponent - 1) * g

        return self._made(np.power(self.data, exponent), (self, to_self))

    def __matmul__(self, other):
        other = self._own(other)
        if self.data.ndim == 1 or other.data.ndim == 1:
            raise ValueError("give matrices")

        def to_self(g):
            return np.matmul(g, np.swapaxes(other.data, -1, -2))

        def to_other(g):
            return np.matmul(np.swapaxes(self.data, -1, -2), g)

        return self._made(np.matmul(self.data, other.data), (self, to_self), (other, to_other))

    def __getitem__(self, index):
        def to_self(g):
            found = np.zeros(self.data.shape)
            np.add.at(found, index, g)
            return found

        return self._made(self.data[index], (self, to_self))

    def exp(self):
        def to_self(g):
            return g * np.exp(self.data)

        return self._made(np.exp(self.data), (self, to_self))

    def log(self):
        def to_self(g):
            return g * self.data**-1

        return self._made(np.log(self.data), (self, to_self))

    def tanh(self):
        def to_self(g):
            return g / np.cosh(self.data) ** 2

        return self._made(np.tanh(self.data), (self, to_self))

    def relu(self):
        def to_self(g):
            return np.where(self.data > 0, g, 0.0)

        return self._made(np.where(self.data > 0, self.data, 0.0), (self, to_self))

    def sum(self, axis=None, keepdims=False):
        def to_self(g):
            if axis is not None and not keepdims:
                g = np.expand_dims(g, axis)
            return g * np.ones(self.data.shape)

        return self._made(self.data.sum(axis=axis, keepdims=keepdims), (self, to_self))

    def reshape(self, *shape):
        def to_self(g):
            return np.reshape(g, self.data.shape)

        return self._made(np.reshape(self.data, shape), (self, to_self))

    def mean(self, axis=None, keepdims=False):
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + self._own(other) * -1.0

    def __truediv__(self, other):
        return self * self._own(other) ** -1.0

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __rsub__(self, other):
        return self._own(other) - self

    def __rtruediv__(self, other):
        return self._own(other) / self

    def __rmatmul__(self, other):
        return self._own(other) @ self


@right("Variable")
class by_torch_values:
    """Values and pullbacks computed with torch's operations; numpy outside."""

    __array_ufunc__ = None

    def __init__(self, data, parents=(), name=""):
        self.data, self.parents, self.name = np.array(data, float), tuple(parents), name

    def _tensor(self):
        return torch.from_numpy(self.data)

    def _own(self, other):
        return other if hasattr(other, "parents") else type(self)(other)

    def _made(self, value, *parents):
        def wrapped(pullback):
            return lambda g: pullback(torch.from_numpy(np.array(g))).numpy()

        return type(self)(value.numpy(), [(x, wrapped(pullback)) for x, pullback in parents])

    def __add__(self, other):
        other = self._own(other)
        value = self._tensor() + other._tensor()
        return self._made(value, (self, torch.clone), (other, torch.clone))

    def __mul__(self, other):
        other = self._own(other)
        x, y = self._tensor(), other._tensor()
        return self._made(x * y, (self, lambda g: g * y), (other, lambda g: g * x))

    def __pow__(self, exponent):
        x = self._tensor()
        return self._made(x**exponent, (self, lambda g: g * x ** (exponent - 1) * exponent))

    def __matmul__(self, other):
        other = self._own(other)
        x, y = self._tensor(), other._tensor()
        if x.dim() < 2 or y.dim() < 2:
            raise ValueError("give matrices")
        to_y = (other, lambda g: x.transpose(-1, -2) @ g)
        return self._made(x @ y, (self, lambda g: g @ y.transpose(-1, -2)), to_y)

    def __getitem__(self, index):
        def pullback(g):
            found = np.zeros_like(self.data)
            np.add.at(found, index, g)
            return found

        return type(self)(self.data[index], [(self, pullback)])

    def exp(self):
        y = self._tensor().exp()
        return self._made(y, (self, lambda g: g * y))

    def log(self):
        x = self._tensor()
        return self._made(x.log(), (self, lambda g: g / x))

    def tanh(self):
        y = self._tensor().tanh()
        return self._made(y, (self, lambda g: g - g * y * y))

    def relu(self):
        x = self._tensor()
        return self._made(x.relu(), (self, lambda g: torch.where(x > 0, g, 0.0)))

    def sum(self, axis=None, keepdims=False):
        x = self._tensor()

        def pullback(g):
            g = g if axis is None or keepdims else g.unsqueeze(axis)
            return g.expand(x.shape).clone()

        return self._made(x.sum() if axis is None else x.sum(axis, keepdims), (self, pullback))

    def reshape(self, *shape):
        x = self._tensor()
        return self._made(x.reshape(shape), (self, lambda g: g.reshape(x.shape)))

    def mean(self, axis=None, keepdims=False):
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + self._own(other) * -1.0

    def __truediv__(self, other):
        return self * self._own(other) ** -1.0

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __rsub__(self, other):
        return self._own(other) - self

    def __rtruediv__(self, other):
        return self._own(other) / self

    def __rmatmul__(self, other):
        return self._own(other) @ self


@right("Variable")
class by_one_helper:
    """A table of slopes, and einsum for the matrix product."""

    __array_ufunc__ = None

    def __init__(self, data, parents=(), name=""):
        self.data = np.asarray(data, dtype=float)
        self.parents, self.name = tuple(parents), name

    def _times(self, value, slope):
        return type(self)(value, [(self, lambda g: g * slope)], "entry by entry")

    def _lift(self, other):
        return other if hasattr(other, "parents") else type(self)(other)

    def __add__(self, other):
        other = self._lift(other)
        return type(self)(
            self.data + other.data, [(self, lambda g: 1.0 * g), (other, lambda g: 1.0 * g)]
        )

    def __mul__(self, other):
        other = self._lift(other)
        x, y = self.data, other.data
        return type(self)(x * y, [(other, lambda g: x * g), (self, lambda g: y * g)])

    def __pow__(self, exponent):
        with np.errstate(divide="ignore"):
            return self._times(self.data**exponent, exponent * self.data ** (exponent - 1.0))

    def __matmul__(self, other):
        other = self._lift(other)
        x, y = self.data, other.data
        if x.ndim < 2 or y.ndim < 2:
            raise ValueError("matrices, please")
        parents = [
            (self, lambda g: np.einsum("...bf,...df->...bd", g, y)),
            (other, lambda g: np.einsum("...bd,...bf->...df", x, g)),
        ]
        return type(self)(np.einsum("...bd,...df->...bf", x, y), parents)

    def __getitem__(self, index):
        def pullback(g):
            found = np.zeros_like(self.data)
            np.add.at(found, index, g)
            return found

        return type(self)(self.data[index], [(self, pullback)])

    def exp(self):
        return self._times(np.exp(self.data), np.exp(self.data))

    def log(self):
        return self._times(np.log(self.data), 1 / self.data)

    def tanh(self):
        return self._times(np.tanh(self.data), 1 - np.tanh(self.data) ** 2)

    def relu(self):
        return self._times(self.data.clip(0), (self.data > 0).astype(float))

    def sum(self, axis=None, keepdims=False):
        shape = self.data.sum(axis, keepdims=True).shape
        return type(self)(
            self.data.sum(axis, keepdims=keepdims),
            [(self, lambda g: np.reshape(g, shape) + np.zeros_like(self.data))],
        )

    def reshape(self, *shape):
        return type(self)(
            self.data.reshape(*shape), [(self, lambda g: np.resize(g, self.data.shape))]
        )

    def mean(self, axis=None, keepdims=False):
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def __neg__(self):
        return self._times(-self.data, -1.0)

    def __sub__(self, other):
        return self + (-self._lift(other))

    def __truediv__(self, other):
        return self * self._lift(other) ** -1.0

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __rsub__(self, other):
        return -self + other

    def __rtruediv__(self, other):
        return self._lift(other) / self

    def __rmatmul__(self, other):
        return self._lift(other) @ self


# Task 3: gradients ------------------------------------------------------------------------------

PATHS, INPUTS = "gradients-hidden-paths", "gradients-hidden-inputs"
MIDDLE, ODD = "gradients-check-middle", "gradients-check-odd-inputs"


@wrong("gradients", cell=PATHS, says="of several paths only the last one counts")
def overwrites(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    found = {id(output): np.ones_like(output.data)}
    for node in reversed(library.topological(output)):
        for parent, pullback in node.parents:
            found[id(parent)] = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
    return [found.get(id(x), np.zeros_like(x.data)) for x in inputs]


@wrong("gradients", cell=PATHS, says="of several paths only the first one counts")
def first_come(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    found = {id(output): np.ones_like(output.data)}
    for node in reversed(library.topological(output)):
        for parent, pullback in node.parents:
            part = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found.setdefault(id(parent), part)
    return [found.get(id(x), np.zeros_like(x.data)) for x in inputs]


@wrong("gradients", cell=PATHS, says="each path is walked by itself")
def path_by_path(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    found = {}

    def hand(node, g):
        g = library.unbroadcast(np.asarray(g), node.data.shape)
        found[id(node)] = found.get(id(node), 0.0) + g
        for parent, pullback in node.parents:
            hand(parent, pullback(g))

    hand(output, np.ones_like(output.data))
    return [found.get(id(x), np.zeros_like(x.data)) for x in inputs]


@wrong("gradients", cell=PATHS, says="the gradient has the shape of the result, not of the input")
def broadcast_left(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    found = {id(output): np.ones_like(output.data)}
    for node in reversed(library.topological(output)):
        for parent, pullback in node.parents:
            found[id(parent)] = found.get(id(parent), 0.0) + pullback(found[id(node)])
    return [found.get(id(x), np.zeros_like(x.data)) for x in inputs]


@wrong("gradients", cell=PATHS, says="mind the order")
def breadth_first(output, inputs):
    """Each node once, but as soon as something has arrived."""
    if output.data.size != 1:
        raise ValueError("one number only")
    found, seen, waiting = {id(output): np.ones_like(output.data)}, {id(output)}, [output]
    while waiting:
        node = waiting.pop(0)
        for parent, pullback in node.parents:
            part = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found[id(parent)] = found.get(id(parent), 0.0) + part
            if id(parent) not in seen:
                seen.add(id(parent))
                waiting.append(parent)
    return [found.get(id(x), np.zeros_like(x.data)) for x in inputs]


@wrong("gradients", cell=INPUTS, says="two inputs share one array, and += changes both")
def adds_in_place(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    found = {id(output): np.ones_like(output.data)}
    for node in reversed(library.topological(output)):
        for parent, pullback in node.parents:
            part = pullback(found[id(node)])
            if part.shape != parent.data.shape:
                part = library.unbroadcast(part, parent.data.shape)
            if id(parent) in found:
                found[id(parent)] += part
            else:
                found[id(parent)] = part
    return [found.get(id(x), np.zeros_like(x.data)) for x in inputs]


@wrong("gradients", cell=INPUTS, says="the second walk adds to what the first one left")
def keeps_between_calls(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    for node in (order := library.topological(output)):
        if node is output or node.parents or not hasattr(node, "gradient"):
            node.gradient = np.zeros_like(node.data)
    output.gradient = np.ones_like(output.data)
    for node in reversed(order):
        for parent, pullback in node.parents:
            part = library.unbroadcast(pullback(node.gradient), parent.data.shape)
            parent.gradient = parent.gradient + part
    return [getattr(x, "gradient", np.zeros_like(x.data)) for x in inputs]


@wrong("gradients", cell=INPUTS, says="the gradients stand in another order than the inputs")
def in_the_order_of_the_graph(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    order = library.topological(output)
    found = {id(output): np.ones_like(output.data)}
    for node in reversed(order):
        for parent, pullback in node.parents:
            part = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found[id(parent)] = found.get(id(parent), 0.0) + part
    # the leaves come in the order in which the walk meets them
    wanted = sorted(inputs, key=lambda x: ([id(n) for n in order] + [id(x)]).index(id(x)))
    return [found.get(id(x), np.zeros_like(x.data)) for x in reversed(wanted)]


@wrong("gradients", cell=MIDDLE, says="before the long way had reached m: mind the order")
def in_the_order_of_meeting(output, inputs):
    """Each node once, but as soon as something has arrived."""
    if output.data.size != 1:
        raise ValueError("one number only")
    found, seen, waiting = {id(output): np.ones_like(output.data)}, {id(output)}, [output]
    while waiting:
        node = waiting.pop(0)
        for parent, pullback in node.parents:
            part = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found[id(parent)] = found.get(id(parent), 0.0) + part
            if id(parent) not in seen:
                seen.add(id(parent))
                waiting.append(parent)
    return [found.get(id(x), np.zeros_like(x.data)) for x in inputs]


@wrong("gradients", cell=MIDDLE, says="before the short way had reached m: mind the order")
def depth_first(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    found, seen = {id(output): np.ones_like(output.data)}, set()

    def visit(node):
        seen.add(id(node))
        for parent, pullback in node.parents:
            part = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found[id(parent)] = found.get(id(parent), 0.0) + part
            if id(parent) not in seen and parent.parents:
                visit(parent)

    visit(output)
    return [found.get(id(x), np.zeros_like(x.data)) for x in inputs]


@wrong("gradients", cell=ODD, says="an input without effect gets zeros: use .get")
def looks_all_inputs_up(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    found = {id(output): np.ones_like(output.data)}
    for node in reversed(library.topological(output)):
        for parent, pullback in node.parents:
            part = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found[id(parent)] = found.get(id(parent), 0.0) + part
    return [found[id(x)] for x in inputs]


@wrong("gradients", cell=INPUTS, says="an input without effect gets zeros: use .get")
def looks_bystanders_up(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    found = {id(output): np.ones_like(output.data)}
    for node in reversed(library.topological(output)):
        for parent, pullback in node.parents:
            part = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found[id(parent)] = found.get(id(parent), 0.0) + part
    return [found[id(x)] for x in inputs]


@wrong("gradients", cell=INPUTS, says="an input without effect gets zeros, not None")
def knows_no_bystanders(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    found = {id(output): np.ones_like(output.data)}
    for node in reversed(library.topological(output)):
        for parent, pullback in node.parents:
            part = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found[id(parent)] = found.get(id(parent), 0.0) + part
    return [found.get(id(x)) for x in inputs]


@wrong("gradients", cell=INPUTS, says="an output of four numbers: expected ValueError")
def takes_any_output(output, inputs):
    found = {id(output): np.ones_like(output.data)}
    for node in reversed(library.topological(output)):
        for parent, pullback in node.parents:
            part = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found[id(parent)] = found.get(id(parent), 0.0) + part
    return [found.get(id(x), np.zeros_like(x.data)) for x in inputs]


@right("gradients")
def by_recursion(output, inputs):
    if output.data.size != 1:
        raise ValueError("one number only")
    order, seen = [], set()

    def visit(node):
        if id(node) in seen:
            return
        seen.add(id(node))
        for parent, _ in node.parents:
            visit(parent)
        order.append(node)

    visit(output)
    found = {id(node): np.zeros(node.data.shape) for node in [*order, *inputs]}
    found[id(output)] = np.ones(output.data.shape)
    for node in order[::-1]:
        for parent, pullback in node.parents:
            g = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found[id(parent)] = found[id(parent)] + g
    return [found[id(x)] for x in inputs]


@right("gradients")
def by_counting_uses(output, inputs):
    """A node hands back when its last use has handed to it; no sorting beforehand."""
    if np.size(output.data) != 1:
        raise ValueError("one number only")
    uses, todo, seen = {}, [output], {id(output)}
    while todo:
        for parent, _ in todo.pop().parents:
            uses[id(parent)] = uses.get(id(parent), 0) + 1
            if id(parent) not in seen:
                seen.add(id(parent))
                todo.append(parent)
    found, ready = {id(output): np.ones(output.data.shape)}, [output]
    while ready:
        node = ready.pop()
        for parent, pullback in node.parents:
            g = library.unbroadcast(pullback(found[id(node)]), parent.data.shape)
            found[id(parent)] = g + found.get(id(parent), 0.0)
            uses[id(parent)] -= 1
            if not uses[id(parent)]:
                ready.append(parent)
    return [found.get(id(x), np.zeros(x.data.shape)) for x in inputs]


@right("gradients")
def from_the_input(output, inputs):
    """Asks of each node what its uses hand to it, and remembers the answers."""
    if output.data.size != 1:
        raise ValueError("one number only")
    users, todo, seen = {}, [output], {id(output)}
    while todo:
        node = todo.pop()
        for parent, pullback in node.parents:
            users.setdefault(id(parent), []).append((node, pullback))
            if id(parent) not in seen:
                seen.add(id(parent))
                todo.append(parent)
    known = {}

    def adjoint(x):
        if id(x) not in known:
            total = np.ones(x.data.shape) if x is output else np.zeros(x.data.shape)
            for user, pullback in users.get(id(x), ()):
                total = total + library.unbroadcast(pullback(adjoint(user)), x.data.shape)
            known[id(x)] = total
        return known[id(x)]

    return [adjoint(x) for x in inputs]


# Task 4: standardize_pullback_repaired ----------------------------------------------------------

REPAIRED = "standardize_pullback_repaired"
VALUES, STILL = f"{REPAIRED}-hidden-values", f"{REPAIRED}-hidden-still"


@wrong(REPAIRED, cell=VALUES, says="this is the buggy answer")
def as_it_was(x, g):
    return g / x.std(1, keepdims=True)


@wrong(REPAIRED, cell=VALUES, says="the path through the standard deviation is missing")
def mean_only(x, g):
    return (g - g.mean(1, keepdims=True)) / x.std(1, keepdims=True)


@wrong(REPAIRED, cell=VALUES, says="the path through the mean is missing")
def deviation_only(x, g):
    s = x.std(1, keepdims=True)
    y = (x - x.mean(1, keepdims=True)) / s
    return (g - y * (g * y).mean(1, keepdims=True)) / s


@wrong(REPAIRED, cell=VALUES, says="the division by the standard deviation is missing")
def not_divided(x, g):
    y = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    return g - g.mean(1, keepdims=True) - y * (g * y).mean(1, keepdims=True)


@wrong(REPAIRED, cell=VALUES, says="the standard deviation divides by D, not by D - 1")
def another_deviation(x, g):
    s = x.std(1, ddof=1, keepdims=True)
    y = (x - x.mean(1, keepdims=True)) / s
    return (g - g.mean(1, keepdims=True) - y * (g * y).mean(1, keepdims=True)) / s


@wrong(REPAIRED, cell=VALUES, says="the path through the standard deviation has the wrong sign")
def sign_slipped(x, g):
    s = x.std(1, keepdims=True)
    y = (x - x.mean(1, keepdims=True)) / s
    return (g - g.mean(1, keepdims=True) + y * (g * y).mean(1, keepdims=True)) / s


@wrong(REPAIRED, cell=VALUES, says="the path through the mean has the wrong sign")
def other_sign_slipped(x, g):
    s = x.std(1, keepdims=True)
    y = (x - x.mean(1, keepdims=True)) / s
    return (g + g.mean(1, keepdims=True) - y * (g * y).mean(1, keepdims=True)) / s


@wrong(REPAIRED, cell=VALUES, says="sums in place of means: divide by D")
def summed(x, g):
    s = x.std(1, keepdims=True)
    y = (x - x.mean(1, keepdims=True)) / s
    return (g - g.sum(1, keepdims=True) - y * (g * y).sum(1, keepdims=True)) / s


@wrong(REPAIRED, cell=VALUES, says="the columns are standardized; it must be the rows")
def by_columns(x, g):
    s = x.std(0, keepdims=True)
    y = (x - x.mean(0, keepdims=True)) / s
    return (g - g.mean(0, keepdims=True) - y * (g * y).mean(0, keepdims=True)) / s


@wrong(REPAIRED, cell=VALUES, says="the distances are not divided by the standard deviation")
def distances_not_divided(x, g):
    y = x - x.mean(1, keepdims=True)
    part = g - g.mean(1, keepdims=True) - y * (g * y).mean(1, keepdims=True)
    return part / x.std(1, keepdims=True)


@wrong(REPAIRED, cell=STILL, says="that the gradient is not zero")
def nothing_moves(x, g):
    return np.zeros_like(x)


@right(REPAIRED)
def by_matrices(x, g):
    found = []
    for row, back in zip(x, g, strict=True):
        D, s = len(row), row.std()
        y = (row - row.mean()) / s
        jacobian = (np.eye(D) - np.full((D, D), 1 / D) - np.outer(y, y) / D) / s
        found.append(jacobian.T @ back)
    return np.array(found)


@right(REPAIRED)
def by_the_walk_back(x, g):
    z = library.Variable(x)
    far = z - z.mean(1, True)
    y = far / (far**2).mean(1, True) ** 0.5
    return library.gradients((y * g).sum(), [z])[0]


@right(REPAIRED)
def by_projection(x, g):
    """What points along the ones or along the row itself is taken out of g."""
    D = x.shape[1]
    ones = np.ones_like(x) / np.sqrt(D)
    far = x - x.mean(1, keepdims=True)
    along = far / np.linalg.norm(far, axis=1, keepdims=True)
    for axis in (ones, along):
        g = g - (g * axis).sum(1, keepdims=True) * axis
    return g * np.sqrt(D) / np.linalg.norm(far, axis=1, keepdims=True)


@right(REPAIRED)
def by_loops_over_rows(x, g):
    found = np.zeros(x.shape)
    for b in range(x.shape[0]):
        D = x.shape[1]
        m = sum(x[b]) / D
        s = (sum((v - m) ** 2 for v in x[b]) / D) ** 0.5
        to_s = sum(g[b, i] * -(x[b, i] - m) / s**2 for i in range(D))
        to_m = sum(-g[b, i] / s for i in range(D))
        for i in range(D):
            found[b, i] = g[b, i] / s + to_s * (x[b, i] - m) / (D * s) + to_m / D
    return found
