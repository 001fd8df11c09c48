"""Reverse mode: oracles (PyTorch, differences, Jacobians), properties, examples by hand, limits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

from fmbook import records
from fmbook.gradients.autograd import (
    Variable,
    checkpoint,
    gradients,
    numerical_gradient,
    topological,
    unbroadcast,
)
from fmbook.records import autograd as recipe
from fmbook.widgets import ComputationGraph

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)
some = settings(max_examples=100, deadline=None)
ALT = "What the widget shows, said in a sentence."


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def same(a, b, tolerance: float = 1e-12) -> None:
    assert np.shape(a) == np.shape(b)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# --- oracles


@some
@given(seeds)
def test_random_expressions_have_pytorchs_gradient(seed: int) -> None:
    to_torch, to_nudging = recipe.gaps(seed)
    assert to_torch < 1e-10
    assert to_nudging < 1e-4  # the nudge is 1e-5, and a random expression can be steep


@few
@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3), seeds)
def test_broadcast_products_have_pytorchs_gradient(shapes, seed: int) -> None:
    arrays = [normal(*shape, seed=seed + n) for n, shape in enumerate(shapes.input_shapes)]
    ours = [Variable(a) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    found = gradients(((ours[0] * ours[1] + ours[0]) ** 2).sum(), ours)
    wanted = torch.autograd.grad(((theirs[0] * theirs[1] + theirs[0]) ** 2).sum(), theirs)
    for a, b in zip(found, wanted, strict=True):
        same(a, b.numpy())


@few
@given(array_shapes(min_dims=0, max_dims=2, max_side=3), st.integers(1, 4), seeds)
def test_matrix_products_with_any_leading_axes(lead, B: int, seed: int) -> None:
    x, W = normal(*lead, B, 3, seed=seed), normal(3, 2, seed=seed + 1)
    ours, theirs = [Variable(x), Variable(W)], [torch.tensor(a, requires_grad=True) for a in (x, W)]
    found = gradients(((ours[0] @ ours[1]).tanh() ** 2).sum(), ours)
    wanted = torch.autograd.grad(((theirs[0] @ theirs[1]).tanh() ** 2).sum(), theirs)
    for a, b in zip(found, wanted, strict=True):
        same(a, b.numpy())


OPERATIONS = {
    "add": lambda x: x + 2.0,
    "radd": lambda x: np.ones((3, 4)) + x,
    "subtract": lambda x: 1.0 - x,
    "divide": lambda x: 1.0 / x + x / 3.0,
    "negate": lambda x: -x,
    "power": lambda x: x**2.5,
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "tanh": lambda x: x.tanh(),
    "relu": lambda x: (x - 1.0).relu(),
    "sum": lambda x: x.sum() * x.sum(0) * x.sum(1, keepdims=True),
    "mean": lambda x: x.mean() * x.mean(0) * x.mean(1, keepdims=True),
    "reshape": lambda x: x.reshape(2, 6) * np.arange(6.0),
    "matmul": lambda x: x @ normal(4, 2),
    "rmatmul": lambda x: normal(2, 3) @ x,
    "index": lambda x: x[1:, ::2] * 3.0,
    "index twice": lambda x: x[np.array([0, 0, 2])] ** 2,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_agrees_with_nudging(name: str) -> None:
    x = np.random.default_rng(1).uniform(0.5, 2.0, (3, 4))
    weights = normal(*OPERATIONS[name](Variable(x)).data.shape, seed=2)

    def total(x: np.ndarray) -> Variable:
        made = (OPERATIONS[name](v := Variable(x)) * weights).sum()
        made.start = v  # type: ignore[attr-defined]
        return made

    made = total(x)
    (found,) = gradients(made, [made.start])  # type: ignore[attr-defined]
    same(found, numerical_gradient(lambda x: total(x).data.item(), x), 1e-6)


def test_values_are_numpys() -> None:
    x, y = normal(3, 4), normal(4)
    same((Variable(x) * y - 1.0).data, x * y - 1)
    same((x / (Variable(y) ** 2 + 1.0)).data, x / (y**2 + 1))
    same(Variable(x).mean(1, keepdims=True).data, x.mean(1, keepdims=True))


# --- properties


@some
@given(mutually_broadcastable_shapes(num_shapes=1, base_shape=(2, 3, 4), max_dims=3), seeds)
def test_undoing_a_broadcast_is_the_transpose_of_broadcasting(shapes, seed: int) -> None:
    (shape,) = shapes.input_shapes
    x, whole = normal(*shape, seed=seed), np.broadcast_shapes(shape, (2, 3, 4))
    g = normal(*whole, seed=seed + 1)
    back = unbroadcast(g, shape)
    assert back.shape == shape
    same((back * x).sum(), (g * np.broadcast_to(x, whole)).sum(), 1e-10)


@few
@given(seeds, st.floats(-3, 3), st.floats(-3, 3))
def test_gradients_are_linear_in_the_result(seed: int, a: float, b: float) -> None:
    x = Variable(normal(4, seed=seed))
    first, second = x.tanh().sum(), (x**2).sum()
    (both,) = gradients(first * a + second * b, [x])
    same(both, a * gradients(first, [x])[0] + b * gradients(second, [x])[0], 1e-10)


@few
@given(seeds)
def test_a_topological_order_has_each_node_once_and_parents_first(seed: int) -> None:
    draw = np.random.default_rng(seed)
    nodes = [Variable(1.0)]
    for _ in range(12):
        a, b = draw.integers(len(nodes), size=2)
        nodes.append(nodes[a] + nodes[b])
    order = topological(nodes[-1])
    place = {id(node): n for n, node in enumerate(order)}
    assert len(place) == len(order)
    assert order[-1] is nodes[-1]
    for node in order:
        assert all(place[id(parent)] < place[id(node)] for parent, _ in node.parents)


@few
@given(st.integers(1, 6), seeds)
def test_checkpoints_change_nothing_but_the_memory(blocks: int, seed: int) -> None:
    x, W = Variable(normal(3, 4, seed=seed)), normal(4, 4, seed=seed + 1)
    kept = some_forgotten = x
    for _ in range(blocks):
        kept = (kept @ W).tanh().tanh()
        some_forgotten = checkpoint(lambda x: (x @ W).tanh().tanh(), some_forgotten)
    same(some_forgotten.data, kept.data)
    same(gradients((some_forgotten**2).sum(), [x])[0], gradients((kept**2).sum(), [x])[0])


def test_a_walk_changes_nothing_and_can_be_repeated() -> None:
    x, y = Variable(normal(3)), Variable(normal(3, seed=1))
    loss = ((x + y) * 1.0 + x * 3.0).sum()
    before = x.data.copy()
    first, second = gradients(loss, [x, y]), gradients(loss, [x, y])
    for a, b, wanted in zip(first, second, (4.0, 1.0), strict=True):
        same(a, b)
        same(a, np.full(3, wanted))
    same(x.data, before)


def test_what_was_computed_first_does_not_follow_a_later_write_into_the_input() -> None:
    x = np.ones(2)
    copied = Variable(x.tolist())
    loss = (copied**2).sum()
    x[:] = 5.0
    same(gradients(loss, [copied])[0], np.full(2, 2.0))


# --- worked examples: numbers that one can do by hand


def test_the_chapters_example() -> None:
    w, x = Variable(-2.0), Variable(3.0)
    assert [g.item() for g in gradients((w * x + x) ** 2, [w, x])] == [-18.0, 6.0]


def test_a_layer_by_hand() -> None:
    x, W, b = Variable([[1.0, 2.0]]), Variable([[1.0, 0.0], [0.0, -1.0]]), Variable([0.5, 0.5])
    loss = (x @ W + b).relu().sum()  # (1.5, -1.5) becomes (1.5, 0)
    found = gradients(loss, [x, W, b])
    same(found[0], np.array([[1.0, 0.0]]))
    same(found[1], np.array([[1.0, 0.0], [2.0, 0.0]]))
    same(found[2], np.array([1.0, 0.0]))


def test_an_entry_taken_twice_collects_both_gradients() -> None:
    x = Variable([1.0, 5.0])
    same(gradients((x[[0, 0, 1]] * np.array([1.0, 2.0, 4.0])).sum(), [x])[0], np.array([3.0, 4.0]))


def test_differences_of_a_cube() -> None:
    same(numerical_gradient(lambda x: (x**3).sum(), [1.0, 2.0]), np.array([3.0, 12.0]), 1e-8)


# --- limits


def test_a_thousand_doublings_are_walked_in_no_time_and_without_recursion() -> None:
    x = start = Variable(1.0)
    for _ in range(1000):
        x = x + x
    assert len(topological(x)) == 1001
    assert gradients(x, [start])[0] == 2.0**1000
    for _ in range(5000):
        x = x * 1.0
    assert gradients(x, [start])[0] == 2.0**1000


def test_the_output_itself_and_strangers() -> None:
    x, stranger = Variable(3.0), Variable(np.ones((2, 2)))
    assert gradients(x, [x])[0] == 1
    same(gradients(x * 2.0, [stranger])[0], np.zeros((2, 2)))


def test_what_leads_to_no_input_is_not_walked() -> None:
    def never(g: np.ndarray) -> np.ndarray:
        raise AssertionError("this pullback is not needed")

    x, data = Variable(2.0), Variable(5.0)
    dear = Variable(25.0, [(data, never)])
    assert gradients(x * dear, [x])[0] == 25


def test_empty_arrays() -> None:
    x = Variable(np.zeros((0, 3)))
    assert gradients((x * 2.0).sum(), [x])[0].shape == (0, 3)
    assert unbroadcast(np.zeros((0, 3)), (3,)).tolist() == [0, 0, 0]


def test_saturated_values_have_no_slope_and_no_nan() -> None:
    x = Variable([1e4, -1e4])
    same(gradients(x.tanh().sum(), [x])[0], np.zeros(2))


def test_everything_is_float64() -> None:
    assert Variable([1, 2]).data.dtype == np.float64
    assert Variable(np.ones(2, dtype=np.float32)).data.dtype == np.float64


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: gradients(Variable([1.0, 2.0]), []), r"one number.*\(2,\)"),
        (lambda: Variable(np.ones((2, 2))) @ np.ones(2), r"matrices.*\(2, 2\) and \(2,\)"),
        (lambda: np.ones(2) @ Variable(np.ones((2, 2))), r"matrices.*\(2,\) and \(2, 2\)"),
        (lambda: unbroadcast(np.ones((2, 3)), (2,)), r"\(2,\) broadcasts to \(2, 3\)"),
        (lambda: unbroadcast(np.ones(3), (1, 3)), r"\(1, 3\) broadcasts to \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given(wrong, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


# --- the record


def test_the_record_is_of_this_code() -> None:
    assert not records.stale("autograd"), "run `make records`"


def test_the_record_says_what_the_chapter_says() -> None:
    record = records.load("autograd")
    assert record["gaps"]["PyTorch"] < 1e-12
    assert record["gaps"]["nudging"] < 1e-6
    assert max(record["ratios"].values()) < 2
    assert record["keep_all"][3][0] > 15 * record["keep_some"][3][0]


def test_a_point_of_the_record_comes_out_again() -> None:
    repeated, recorded, band = recipe.point()
    assert abs(repeated - recorded) <= band


# --- the widget


def graph() -> ComputationGraph:
    w, x = Variable(-2.0), Variable(3.0)
    p = w * x
    s = p + x
    loss = s**2
    named = {"w": (w, 0.8), "x": (x, 0.2), "p": (p, 0.8), "s": (s, 0.5), "L": (loss, 0.5)}
    return ComputationGraph(recipe.graph_nodes(loss, named), title="A square", alt=ALT)


def test_the_graph_shows_values_and_gradients_in_columns() -> None:
    shown = {node["id"]: node for node in graph().nodes}
    columns = {name: node["column"] for name, node in shown.items()}
    blames = {name: node["gradient"] for name, node in shown.items()}
    assert columns == {"w": 0, "x": 0, "p": 1, "s": 2, "L": 3}
    assert blames == {"w": -18, "x": 6, "p": -6, "s": -6, "L": 1}
    assert shown["p"]["passes"] == {"w": -18, "x": 12}


def test_the_graph_checks_what_it_is_given() -> None:
    x = {"id": "x", "text": "x", "value": 3.0, "gradient": 6.0, "passes": {}}
    y = {"id": "y", "text": "y", "value": 9.0, "gradient": 1.0, "passes": {"x": 5.0}}
    wrong = {
        "at least one node": [],
        "comes twice": [x, x],
        "does not come before": [{**y, "passes": {"z": 1.0}}, x],
        "do not add up": [x, y],
    }
    for words, nodes in wrong.items():
        with pytest.raises(ValueError, match=words):
            ComputationGraph(nodes, title="A graph", alt=ALT)


def test_the_graph_is_one_page_of_moderate_size_and_a_picture() -> None:
    widget = graph()
    assert len(widget.html().encode()) < 45_000
    assert widget.html() == graph().html()
    assert widget.picture().get_title(loc="left") == "A square"
    assert repr(widget) == "ComputationGraph(nodes=5, columns=4)"
