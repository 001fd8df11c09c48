"""Answers to the exercise on multilayer perceptrons: wrong ones, what catches them, right ones."""

import importlib

import numpy as np

from tests.bank import right, wrong

# What a student's notebook has from its set-up cells: not an import, so that it is not typed.
library = importlib.import_module("fmbook.gradients.mlp")
autograd = importlib.import_module("fmbook.gradients.autograd")
Variable, gradients = autograd.Variable, autograd.gradients

# Task 1: perceptron -----------------------------------------------------------------------------

LEARNS, LIMITS = "perceptron-hidden-learns", "perceptron-hidden-limits"


@wrong("perceptron", cell=LEARNS, says="a score of 0 must count as a mistake")
def never_begins(X, y, epochs):
    if not np.isin(y, (-1, 1)).all():
        raise ValueError("labels")
    X, w, mistakes = np.column_stack((X, np.ones(len(X)))), np.zeros(X.shape[1] + 1), []
    while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for x, label in zip(X, y):
            if label * (w @ x) < 0:
                w = w + label * x
                mistakes[-1] += 1
    return w, mistakes


@wrong("perceptron", cell=LEARNS, says="the bias must be the last weight")
def bias_first(X, y, epochs):
    if not np.isin(y, (-1, 1)).all():
        raise ValueError("labels")
    X, w, mistakes = np.column_stack((np.ones(len(X)), X)), np.zeros(X.shape[1] + 1), []
    while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for x, label in zip(X, y):
            if label * (w @ x) <= 0:
                w = w + label * x
                mistakes[-1] += 1
    return w, mistakes


@wrong("perceptron", cell=LEARNS, says="the weights move at every example")
def always_moves(X, y, epochs):
    if not np.isin(y, (-1, 1)).all():
        raise ValueError("labels")
    X, w, mistakes = np.column_stack((X, np.ones(len(X)))), np.zeros(X.shape[1] + 1), []
    while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for x, label in zip(X, y):
            mistakes[-1] += 1
            w = w + label * x
    return w, mistakes


@wrong("perceptron", cell=LEARNS, says="weights move away from the example")
def moves_away(X, y, epochs):
    if not np.isin(y, (-1, 1)).all():
        raise ValueError("labels")
    X, w, mistakes = np.column_stack((X, np.ones(len(X)))), np.zeros(X.shape[1] + 1), []
    while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for x, label in zip(X, y):
            if label * (w @ x) <= 0:
                w = w - label * x
                mistakes[-1] += 1
    return w, mistakes


@wrong("perceptron", cell=LEARNS, says="the weights must change at once")
def moves_at_the_end(X, y, epochs):
    if not np.isin(y, (-1, 1)).all():
        raise ValueError("labels")
    X, w, mistakes = np.column_stack((X, np.ones(len(X)))), np.zeros(X.shape[1] + 1), []
    while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
        off = y * (X @ w) <= 0
        mistakes.append(int(off.sum()))
        w = w + (y[off, None] * X[off]).sum(0)
    return w, mistakes


@wrong("perceptron", cell=LEARNS, says="a step is label times x, with no other factor")
def with_a_rate(X, y, epochs):
    if not np.isin(y, (-1, 1)).all():
        raise ValueError("labels")
    X, w, mistakes = np.column_stack((X, np.ones(len(X)))), np.zeros(X.shape[1] + 1), []
    while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for x, label in zip(X, y):
            if label * (w @ x) <= 0:
                w = w + 0.1 * label * x
                mistakes[-1] += 1
    return w, mistakes


@wrong("perceptron", cell=LEARNS, says="these are all mistakes so far")
def counts_on(X, y, epochs):
    w, mistakes = library.perceptron(X, y, epochs)
    return w, np.cumsum(mistakes).tolist()


@wrong("perceptron", cell=LIMITS, says="one epoch too many")
def one_epoch_more(X, y, epochs):
    if not np.isin(y, (-1, 1)).all():
        raise ValueError("labels")
    X, w, mistakes = np.column_stack((X, np.ones(len(X)))), np.zeros(X.shape[1] + 1), []
    while len(mistakes) <= epochs and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for x, label in zip(X, y):
            if label * (w @ x) <= 0:
                w = w + label * x
                mistakes[-1] += 1
    return w, mistakes


@wrong("perceptron", cell=LIMITS, says="it goes on after an epoch without mistakes")
def never_stops_early(X, y, epochs):
    if not np.isin(y, (-1, 1)).all():
        raise ValueError("labels")
    X, w, mistakes = np.column_stack((X, np.ones(len(X)))), np.zeros(X.shape[1] + 1), []
    for _ in range(epochs):
        mistakes.append(0)
        for x, label in zip(X, y):
            if label * (w @ x) <= 0:
                w = w + label * x
                mistakes[-1] += 1
    return w, mistakes


@wrong("perceptron", cell=LIMITS, says="expected ValueError")
def takes_any_label(X, y, epochs):
    X, w, mistakes = np.column_stack((X, np.ones(len(X)))), np.zeros(X.shape[1] + 1), []
    while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for x, label in zip(X, y):
            if label * (w @ x) <= 0:
                w = w + label * x
                mistakes[-1] += 1
    return w, mistakes


@right("perceptron")
def by_plain_loops(X, y, epochs):
    for label in y:
        if label != 1 and label != -1:
            raise ValueError("labels are -1 or 1")
    w, mistakes = [0.0] * (X.shape[1] + 1), []
    for _ in range(epochs):
        count = 0
        for i in range(len(X)):
            score = w[-1]
            for j in range(X.shape[1]):
                score += w[j] * X[i, j]
            if y[i] * score <= 0:
                count += 1
                for j in range(X.shape[1]):
                    w[j] += y[i] * X[i, j]
                w[-1] += y[i]
        mistakes.append(count)
        if count == 0:
            break
    return np.array(w), mistakes


@right("perceptron")
def weights_and_bias_apart(X, y, epochs):
    if set(np.unique(y).tolist()) - {-1, 1}:
        raise ValueError("labels are -1 or 1")
    w, b, mistakes = np.zeros(X.shape[1]), 0.0, []
    for _ in range(epochs):
        wrong_ones = 0
        for x, label in zip(X, y):
            if (np.dot(w, x) + b) * label <= 0:
                w, b, wrong_ones = w + x * label, b + label, wrong_ones + 1
        mistakes.append(wrong_ones)
        if not wrong_ones:
            break
    return np.append(w, b), mistakes


@right("perceptron")
def signs_folded_in(X, y, epochs):
    """Each example times its label: then every score should be above 0."""
    if not (np.abs(y) == 1).all():
        raise ValueError("labels are -1 or 1")
    Z = np.hstack((X, np.ones((len(X), 1)))) * np.asarray(y)[:, None]
    w, mistakes = np.zeros(Z.shape[1]), []
    for _ in range(epochs):
        mistakes.append(sum(1 for z in Z if w @ z <= 0 and (w := w + z) is not None))
        if mistakes[-1] == 0:
            break
    return w, mistakes


# Task 2: cross_entropy --------------------------------------------------------------------------

VALUES, SLOPES = "cross_entropy-hidden-values", "cross_entropy-hidden-slopes"
LARGE = "cross_entropy-check-large"


@wrong("cross_entropy", cell=VALUES, says="the sum; it must be the mean")
def summed(logits, labels):
    s = logits - logits.data.max(-1, keepdims=True)
    return (s.exp().sum(-1).log() - s[np.arange(len(labels)), labels]).sum()


@wrong(
    "cross_entropy", cell=VALUES, says="the mean is over all scores; it must be over the examples"
)
def averaged_over_scores(logits, labels):
    s = logits - logits.data.max(-1, keepdims=True)
    return (s.exp().sum(-1).log() - s[np.arange(len(labels)), labels]).sum() / logits.data.size


@wrong("cross_entropy", cell=VALUES, says="the sign is wrong")
def without_the_minus(logits, labels):
    s = logits - logits.data.max(-1, keepdims=True)
    return (s[np.arange(len(labels)), labels] - s.exp().sum(-1).log()).mean()


@wrong("cross_entropy", cell=VALUES, says="these are bits: take the natural logarithm")
def in_bits(logits, labels):
    s = logits - logits.data.max(-1, keepdims=True)
    return (s.exp().sum(-1).log() - s[np.arange(len(labels)), labels]).mean() / np.log(2)


@wrong("cross_entropy", cell=VALUES, says="this is the probability of a mistake")
def chance_of_a_mistake(logits, labels):
    s = (logits - logits.data.max(-1, keepdims=True)).exp()
    p = s / s.sum(-1, keepdims=True)
    return 1 - p[np.arange(len(labels)), labels].mean()


@wrong("cross_entropy", cell=VALUES, says="the softmax runs over the examples")
def softmax_over_examples(logits, labels):
    s = logits - logits.data.max(0, keepdims=True)
    logs = s - s.exp().sum(0, keepdims=True).log()
    return -logs[np.arange(len(labels)), labels].mean()


@wrong("cross_entropy", cell=VALUES, says="these are the scores alone")
def scores_alone(logits, labels):
    return -logits[np.arange(len(labels)), labels].mean()


@wrong("cross_entropy", cell=VALUES, says="the mean comes before the logarithm")
def mean_then_logarithm(logits, labels):
    s = (logits - logits.data.max(-1, keepdims=True)).exp()
    p = s / s.sum(-1, keepdims=True)
    return -p[np.arange(len(labels)), labels].mean().log()


@wrong("cross_entropy", cell=VALUES, says="this is the squared error of the probabilities")
def squared_error(logits, labels):
    s = (logits - logits.data.max(-1, keepdims=True)).exp()
    p = s / s.sum(-1, keepdims=True)
    return ((p - np.eye(logits.data.shape[1])[labels]) ** 2).sum(-1).mean()


@wrong("cross_entropy", cell=VALUES, says="one sure and one even example")
def overflowing(logits, labels):
    np.seterr(all="ignore")  # each answer runs in a process of its own
    e = logits.exp()
    return (e.sum(-1).log() - logits[np.arange(len(labels)), labels]).mean()


@wrong("cross_entropy", cell=LARGE, says="the logarithm of 0: subtract the largest of *each row*")
def one_shift_for_the_table(logits, labels):
    s = logits - logits.data.max()
    return (s.exp().sum(-1).log() - s[np.arange(len(labels)), labels]).mean()


@wrong("cross_entropy", cell=LARGE, says="do not take the log of a probability")
def logarithm_of_a_probability(logits, labels):
    e = (logits - logits.data.max(-1, keepdims=True)).exp()
    p = e / e.sum(-1, keepdims=True)
    return -(p[np.arange(len(labels)), labels].log().mean())


@wrong("cross_entropy", cell=LARGE, says="exp overflowed, or 0 / 0: subtract the largest score of")
def probabilities_without_a_shift(logits, labels):
    e = logits.exp()
    p = e / e.sum(-1, keepdims=True)
    return -(p[np.arange(len(labels)), labels].log().mean())


@wrong("cross_entropy", cell=SLOPES, says="the graph is cut")
def computed_with_the_data(logits, labels):
    z = logits.data
    s = z - z.max(-1, keepdims=True)
    value = (np.log(np.exp(s).sum(-1)) - s[np.arange(len(labels)), labels]).mean()
    return Variable(value)


@wrong("cross_entropy", cell=SLOPES, says="the path through the sum of the exponentials is missing")
def sum_as_a_constant(logits, labels):
    s = logits - logits.data.max(-1, keepdims=True)
    total = np.log(np.exp(s.data).sum(-1))
    return (total - s[np.arange(len(labels)), labels]).mean()


@wrong("cross_entropy", cell=SLOPES, says="the path through the right score is missing")
def right_score_as_a_constant(logits, labels):
    s = logits - logits.data.max(-1, keepdims=True)
    return (s.exp().sum(-1).log() - s.data[np.arange(len(labels)), labels]).mean()


@right("cross_entropy")
def by_one_hot_rows(logits, labels):
    z = logits - logits.data.max(1, keepdims=True)
    one_hot = np.eye(logits.data.shape[1])[labels]
    logs = z - z.exp().sum(1, keepdims=True).log()
    return (logs * one_hot).sum() * (-1.0 / len(labels))


@right("cross_entropy")
def example_by_example(logits, labels):
    total = Variable(0.0)
    for b in range(len(labels)):
        row = logits[b] - float(logits.data[b].max())
        total = total + (row.exp().sum().log() - row[int(labels[b])])
    return total / len(labels)


@right("cross_entropy")
def with_its_own_pullback(logits, labels):
    z = logits.data - logits.data.max(-1, keepdims=True)
    logs = z - np.log(np.exp(z).sum(-1, keepdims=True))
    rows = np.arange(len(labels))
    slope = (np.exp(logs) - np.eye(z.shape[1])[labels]) / len(labels)
    return Variable(-logs[rows, labels].mean(), [(logits, lambda g: g * slope)], "cross_entropy")


# Task 3: AdamW ----------------------------------------------------------------------------------

FIRST, DECAY, STATE = "AdamW-hidden-first", "AdamW-hidden-decay", "AdamW-hidden-state"
EXAMPLE, LISTS = "AdamW-check-example", "AdamW-check-lists"


@wrong("AdamW", cell=FIRST, says="the bias of the means is not corrected")
class uncorrected(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        m = [self.beta1 * m + (1 - self.beta1) * g for m, g in zip(means, gradients)]
        v = [self.beta2 * v + (1 - self.beta2) * g**2 for v, g in zip(squares, gradients)]
        moved = [
            p - self.rate * a / (b**0.5 + self.eps) - self.rate * self.decay * p
            for p, a, b in zip(parameters, m, v)
        ]
        return moved, (t + 1, m, v)


@wrong("AdamW", cell=FIRST, says="the bias of m is not corrected")
class mean_uncorrected(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        t += 1
        m = [self.beta1 * m + (1 - self.beta1) * g for m, g in zip(means, gradients)]
        v = [self.beta2 * v + (1 - self.beta2) * g**2 for v, g in zip(squares, gradients)]
        moved = [
            p
            - self.rate * a / ((b / (1 - self.beta2**t)) ** 0.5 + self.eps)
            - self.rate * self.decay * p
            for p, a, b in zip(parameters, m, v)
        ]
        return moved, (t, m, v)


@wrong("AdamW", cell=FIRST, says="the root of the mean square is missing")
class no_root(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        t += 1
        m = [self.beta1 * m + (1 - self.beta1) * g for m, g in zip(means, gradients)]
        v = [self.beta2 * v + (1 - self.beta2) * g**2 for v, g in zip(squares, gradients)]
        moved = [
            p
            - self.rate * a / (1 - self.beta1**t) / (b / (1 - self.beta2**t) + self.eps)
            - self.rate * self.decay * p
            for p, a, b in zip(parameters, m, v)
        ]
        return moved, (t, m, v)


@wrong("AdamW", cell=FIRST, says="eps stands inside the root")
class eps_inside(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        t += 1
        m = [self.beta1 * m + (1 - self.beta1) * g for m, g in zip(means, gradients)]
        v = [self.beta2 * v + (1 - self.beta2) * g**2 for v, g in zip(squares, gradients)]
        moved = [
            p
            - self.rate * a / (1 - self.beta1**t) / (b / (1 - self.beta2**t) + self.eps) ** 0.5
            - self.rate * self.decay * p
            for p, a, b in zip(parameters, m, v)
        ]
        return moved, (t, m, v)


@wrong("AdamW", cell=FIRST, says="beta1 and beta2 have changed places")
class betas_swapped(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        t, b1, b2 = t + 1, self.beta2, self.beta1
        m = [b1 * m + (1 - b1) * g for m, g in zip(means, gradients)]
        v = [b2 * v + (1 - b2) * g**2 for v, g in zip(squares, gradients)]
        moved = [
            p
            - self.rate * a / (1 - b1**t) / ((b / (1 - b2**t)) ** 0.5 + self.eps)
            - self.rate * self.decay * p
            for p, a, b in zip(parameters, m, v)
        ]
        return moved, (t, m, v)


@wrong("AdamW", cell=FIRST, says="the number of steps does not advance")
class stuck_at_one(library.AdamW):
    def step(self, parameters, gradients, state):
        moved, (_, m, v) = super().step(parameters, gradients, state)
        return moved, (0, m, v)


@wrong("AdamW", cell=FIRST, says="it climbs: subtract the step")
class climbs(library.AdamW):
    def step(self, parameters, gradients, state):
        return super().step(parameters, [-g for g in gradients], state)


@wrong("AdamW", cell=FIRST, says="v is the mean of sizes; it must be of squares")
class sizes_for_squares(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        t += 1
        m = [self.beta1 * m + (1 - self.beta1) * g for m, g in zip(means, gradients)]
        v = [self.beta2 * v + (1 - self.beta2) * abs(g) for v, g in zip(squares, gradients)]
        moved = [
            p
            - self.rate * a / (1 - self.beta1**t) / ((b / (1 - self.beta2**t)) ** 0.5 + self.eps)
            - self.rate * self.decay * p
            for p, a, b in zip(parameters, m, v)
        ]
        return moved, (t, m, v)


@wrong("AdamW", cell=DECAY, says="the decay goes through the gradient")
class decay_in_the_gradient(library.AdamW):
    def step(self, parameters, gradients, state):
        pulled = [g + self.decay * p for g, p in zip(gradients, parameters)]
        return library.Adam.step(self, parameters, pulled, state)


@wrong("AdamW", cell=DECAY, says="the decay is missing")
class no_decay(library.AdamW):
    def step(self, parameters, gradients, state):
        return library.Adam.step(self, parameters, gradients, state)


@wrong("AdamW", cell=DECAY, says="the decay must be multiplied by the rate")
class decay_without_rate(library.AdamW):
    def step(self, parameters, gradients, state):
        moved, state = library.Adam.step(self, parameters, gradients, state)
        return [q - self.decay * p for p, q in zip(parameters, moved)], state


@wrong("AdamW", cell=DECAY, says="the decay is of the parameter before the step, not after it")
class decay_after_the_step(library.AdamW):
    def step(self, parameters, gradients, state):
        moved, state = library.Adam.step(self, parameters, gradients, state)
        return [q * (1 - self.rate * self.decay) for q in moved], state


@wrong("AdamW", cell=DECAY, says="the decay is in proportion to the parameter, not to its sign")
class decay_by_the_sign(library.AdamW):
    def step(self, parameters, gradients, state):
        moved, state = library.Adam.step(self, parameters, gradients, state)
        shrink = self.rate * self.decay
        return [q - shrink * np.sign(p) for p, q in zip(parameters, moved)], state


@wrong("AdamW", cell=DECAY, says="it grows: subtract the decay")
class grows(library.AdamW):
    def step(self, parameters, gradients, state):
        moved, state = library.Adam.step(self, parameters, gradients, state)
        shrink = self.rate * self.decay
        return [q + shrink * p for p, q in zip(parameters, moved)], state


@wrong("AdamW", cell=DECAY, says="biases shrink, too")
class biases_spared(library.AdamW):
    def step(self, parameters, gradients, state):
        moved, state = library.Adam.step(self, parameters, gradients, state)
        shrink = self.rate * self.decay
        return [q - shrink * p * (p.ndim > 1) for p, q in zip(parameters, moved)], state


@wrong("AdamW", cell=STATE, says="the state that was given is changed: make new")
class changes_the_state(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        t, moved = t + 1, []
        for p, g, m, v in zip(parameters, gradients, means, squares):
            m *= self.beta1
            m += (1 - self.beta1) * g
            v *= self.beta2
            v += (1 - self.beta2) * g**2
            part = m / (1 - self.beta1**t) / ((v / (1 - self.beta2**t)) ** 0.5 + self.eps)
            moved.append(p - self.rate * part - self.rate * self.decay * p)
        return moved, (t, means, squares)


@wrong("AdamW", cell=LISTS, says="the state that was given is changed: make new arrays")
class moves_the_means_it_was_given(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        for g, m, v in zip(gradients, means, squares):
            m += (1 - self.beta1) * (g - m)
            v += (1 - self.beta2) * (g**2 - v)
        t = t + 1
        roots = [(v / (1 - self.beta2**t)) ** 0.5 + self.eps for v in squares]
        moved = [
            p - self.rate * m / (1 - self.beta1**t) / root - self.rate * self.decay * p
            for p, m, root in zip(parameters, means, roots)
        ]
        return moved, (t, means, squares)


@wrong("AdamW", cell=STATE, says="the means m that were given are changed")
class changes_the_means(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        for g, m in zip(gradients, means):
            m *= self.beta1
            m += (1 - self.beta1) * g
        t, squares = (
            t + 1,
            [self.beta2 * v + (1 - self.beta2) * g**2 for v, g in zip(squares, gradients)],
        )
        moved = [
            p
            - self.rate * m / (1 - self.beta1**t) / ((v / (1 - self.beta2**t)) ** 0.5 + self.eps)
            - self.rate * self.decay * p
            for p, m, v in zip(parameters, means, squares)
        ]
        return moved, (t, means, squares)


@wrong("AdamW", cell=STATE, says="the mean squares v that were given are changed")
class changes_the_mean_squares(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        for g, v in zip(gradients, squares):
            v *= self.beta2
            v += (1 - self.beta2) * g**2
        t, means = t + 1, [self.beta1 * m + (1 - self.beta1) * g for m, g in zip(means, gradients)]
        moved = [
            p
            - self.rate * m / (1 - self.beta1**t) / ((v / (1 - self.beta2**t)) ** 0.5 + self.eps)
            - self.rate * self.decay * p
            for p, m, v in zip(parameters, means, squares)
        ]
        return moved, (t, means, squares)


@wrong("AdamW", cell=EXAMPLE, says="the bias of the means is not corrected")
class neither_mean_corrected(library.AdamW):
    def step(self, parameters, gradients, state):
        t, means, squares = state
        m = [self.beta1 * m + (1 - self.beta1) * g for m, g in zip(means, gradients)]
        v = [self.beta2 * v + (1 - self.beta2) * g**2 for v, g in zip(squares, gradients)]
        moved = [
            p - self.rate * a / (b**0.5 + self.eps) - self.rate * self.decay * p
            for p, a, b in zip(parameters, m, v)
        ]
        return moved, (t + 1, m, v)


@wrong("AdamW", cell=EXAMPLE, says="added to the gradient, where Adam divides it away")
class decay_beside_the_gradient(library.AdamW):
    def step(self, parameters, gradients, state):
        pulled = [g + self.decay * p for g, p in zip(gradients, parameters)]
        return library.Adam.step(self, parameters, pulled, state)


@right("AdamW")
class in_one_class:
    """No Adam below it; the state a dictionary for each parameter within the tuple."""

    def __init__(self, rate, *, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.01):
        if rate <= 0 or eps <= 0 or decay < 0:
            raise ValueError("settings")
        self.rate, self.betas, self.eps, self.decay = rate, (beta1, beta2), eps, decay

    def start(self, parameters):
        return 0, [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]

    def step(self, parameters, gradients, state):
        (b1, b2), (t, means, squares) = self.betas, state
        t += 1
        m = [b1 * m + (1 - b1) * g for m, g in zip(means, gradients)]
        v = [b2 * v + (1 - b2) * np.square(g) for v, g in zip(squares, gradients)]
        size = self.rate * np.sqrt(1 - b2**t) / (1 - b1**t)
        eps = self.eps * np.sqrt(1 - b2**t)
        moved = [
            p * (1 - self.rate * self.decay) - size * a / (np.sqrt(b) + eps)
            for p, a, b in zip(parameters, m, v)
        ]
        return moved, (t, m, v)


@right("AdamW")
class by_running_sums:
    """The means as sums with weights that are divided by the sum of the weights."""

    def __init__(self, rate, *, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.01):
        self.rate, self.beta1, self.beta2, self.eps, self.decay = rate, beta1, beta2, eps, decay

    def start(self, parameters):
        return 0, [0 * p for p in parameters], [0 * p for p in parameters]

    def step(self, parameters, gradients, state):
        t, sums, squares = state
        sums = [self.beta1 * s + g for s, g in zip(sums, gradients)]
        squares = [self.beta2 * s + g * g for s, g in zip(squares, gradients)]
        one = sum(self.beta1**k for k in range(t + 1))
        two = sum(self.beta2**k for k in range(t + 1))
        moved = []
        for p, s, q in zip(parameters, sums, squares):
            p = np.array(p)
            moved.append(p - self.rate * (s / one / (np.sqrt(q / two) + self.eps) + self.decay * p))
        return moved, (t + 1, sums, squares)


@right("AdamW")
class number_by_number:
    """Loops over every number of every parameter."""

    def __init__(self, rate, *, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.01):
        self.rate, self.beta1, self.beta2, self.eps, self.decay = rate, beta1, beta2, eps, decay

    def start(self, parameters):
        return 0, [0 * p for p in parameters], [0 * p for p in parameters]

    def step(self, parameters, gradients, state):
        t, means, squares = state
        t = t + 1
        moved = [np.array(p) for p in parameters]
        means, squares = [np.array(m) for m in means], [np.array(v) for v in squares]
        for k, p in enumerate(parameters):
            for at in np.ndindex(p.shape):
                g = gradients[k][at]
                means[k][at] = self.beta1 * means[k][at] + (1 - self.beta1) * g
                squares[k][at] = self.beta2 * squares[k][at] + (1 - self.beta2) * g**2
                m = means[k][at] / (1 - self.beta1**t)
                v = squares[k][at] / (1 - self.beta2**t)
                moved[k][at] -= self.rate * self.decay * p[at]
                moved[k][at] -= self.rate * m / (v**0.5 + self.eps)
        return moved, (t, means, squares)


# Task 4: backward_repaired ----------------------------------------------------------------------

BACK, DESCENDS = "backward_repaired-hidden-values", "backward_repaired-hidden-descends"


@wrong("backward_repaired", cell=BACK, says="this is the buggy answer")
def as_it_was(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = (p / p.sum(1, keepdims=True) - np.eye(len(c))[labels]) / len(x)
    to_a = np.maximum(g @ V.T, 0)
    return x.T @ to_a, to_a.sum(0), h.T @ g, g.sum(0)


@wrong("backward_repaired", cell=BACK, says="everything passes")
def no_mask(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = (p / p.sum(1, keepdims=True) - np.eye(len(c))[labels]) / len(x)
    to_a = g @ V.T
    return x.T @ to_a, to_a.sum(0), h.T @ g, g.sum(0)


@wrong("backward_repaired", cell=BACK, says="the gradient is still cut at 0 as well")
def both_masks(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = (p / p.sum(1, keepdims=True) - np.eye(len(c))[labels]) / len(x)
    to_a = np.maximum(g @ V.T, 0) * (a > 0)
    return x.T @ to_a, to_a.sum(0), h.T @ g, g.sum(0)


@wrong("backward_repaired", cell=BACK, says="multiplied by the value of relu")
def times_the_value(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = (p / p.sum(1, keepdims=True) - np.eye(len(c))[labels]) / len(x)
    to_a = (g @ V.T) * h
    return x.T @ to_a, to_a.sum(0), h.T @ g, g.sum(0)


@wrong("backward_repaired", cell=BACK, says="the wrong half passes")
def other_half(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = (p / p.sum(1, keepdims=True) - np.eye(len(c))[labels]) / len(x)
    to_a = (g @ V.T) * (a < 0)
    return x.T @ to_a, to_a.sum(0), h.T @ g, g.sum(0)


@wrong("backward_repaired", cell=BACK, says="the loss is a mean: divide by the number of examples")
def undivided(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = p / p.sum(1, keepdims=True) - np.eye(len(c))[labels]
    to_a = (g @ V.T) * (a > 0)
    return x.T @ to_a, to_a.sum(0), h.T @ g, g.sum(0)


@wrong("backward_repaired", cell=BACK, says="the sign is wrong")
def upside_down(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = (np.eye(len(c))[labels] - p / p.sum(1, keepdims=True)) / len(x)
    to_a = (g @ V.T) * (a > 0)
    return x.T @ to_a, to_a.sum(0), h.T @ g, g.sum(0)


@wrong("backward_repaired", cell=BACK, says="the right class is not taken off")
def label_forgotten(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = p / p.sum(1, keepdims=True) / len(x)
    to_a = (g @ V.T) * (a > 0)
    return x.T @ to_a, to_a.sum(0), h.T @ g, g.sum(0)


@wrong("backward_repaired", cell=BACK, says="a bias collects the sum over the examples")
def biases_averaged(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = (p / p.sum(1, keepdims=True) - np.eye(len(c))[labels]) / len(x)
    to_a = (g @ V.T) * (a > 0)
    return x.T @ to_a, to_a.mean(0), h.T @ g, g.mean(0)


@wrong("backward_repaired", cell=BACK, says="V was fed with the numbers after relu")
def before_relu(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = (p / p.sum(1, keepdims=True) - np.eye(len(c))[labels]) / len(x)
    to_a = (g @ V.T) * (a > 0)
    return x.T @ to_a, to_a.sum(0), a.T @ g, g.sum(0)


@wrong("backward_repaired", cell=DESCENDS, says="the parameters after the call")
def steps_on_the_way(x, labels, W, b, V, c):
    a = x @ W + b
    h = np.maximum(a, 0)
    p = np.exp(h @ V + c - (h @ V + c).max(1, keepdims=True))
    g = (p / p.sum(1, keepdims=True) - np.eye(len(c))[labels]) / len(x)
    to_a = (g @ V.T) * (a > 0)
    found = x.T @ to_a, to_a.sum(0), h.T @ g, g.sum(0)
    W -= 0.1 * found[0]
    return found


@right("backward_repaired")
def by_autograd(x, labels, W, b, V, c):
    now = [Variable(p) for p in (W, b, V, c)]
    h = (Variable(x) @ now[0] + now[1]).relu()
    s = h @ now[2] + now[3]
    s = s - s.data.max(1, keepdims=True)
    loss = (s.exp().sum(1).log() - s[np.arange(len(labels)), labels]).mean()
    return tuple(gradients(loss, now))


@right("backward_repaired")
def by_examples(x, labels, W, b, V, c):
    found = [np.zeros(p.shape) for p in (W, b, V, c)]
    for row, label in zip(x, labels):
        a = row @ W + b
        h = np.where(a > 0, a, 0.0)
        s = h @ V + c
        p = np.exp(s - s.max()) / np.exp(s - s.max()).sum()
        p[label] -= 1
        to_a = np.where(a > 0, V @ p, 0.0)
        parts = np.outer(row, to_a), to_a, np.outer(h, p), p
        found = [f + part / len(x) for f, part in zip(found, parts)]
    return found[0], found[1], found[2], found[3]


@right("backward_repaired")
def by_einsum(x, labels, W, b, V, c):
    a = np.einsum("bd,df->bf", x, W) + b
    on = (a > 0).astype(float)
    h = a * on
    s = np.einsum("bf,fc->bc", h, V) + c
    logs = s - s.max(1, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(1, keepdims=True))
    g = np.exp(logs)
    g[np.arange(len(x)), labels] -= 1.0
    g /= len(x)
    to_a = np.einsum("bc,fc,bf->bf", g, V, on)
    return np.einsum("bd,bf->df", x, to_a), to_a.sum(0), np.einsum("bf,bc->fc", h, g), g.sum(0)
