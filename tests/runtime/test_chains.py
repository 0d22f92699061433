"""Chains of elementwise operators make the bits that the operators make one by one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from ir.kernels.native import load
from ir.op import OPS, Array, Op
from ir.types import DType, TensorType
from pef.decoded_pef import DecodedPef
from runtime.numbers.fast import chains
from runtime.numbers.fast.chains import Call, steps_of
from runtime.numbers.fast.scratch import Scratch, Temporaries
from runtime.session import Session
from tests.runtime.random_nests import RandomNest, random_nests

loops = pytest.importorskip("ir.kernels.native.chains")
if load("chains") is None:
    pytest.skip("the compiled loops are switched off", allow_module_level=True)

ODD = np.array([np.nan, np.inf, -np.inf, -0.0, 0, 1e-40, -3e38, 88, -88, 0.6251, 0.6249, 1], np.float32)
SHAPE = (6, 1, 1100, 3)
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "whole": lambda x: x,
    "rows apart": lambda x: np.concatenate([x, x], axis=2)[:, :, :1100],
    "columns": lambda x: np.ascontiguousarray(x.T).T,
    "of a row": lambda x: x[2, 0],
    "of a column": lambda x: x[:, :, :, :1].copy(),
    "of a slice": lambda x: x[:, :, :1, :1].copy(),
    "scalar": lambda x: np.array(x[3, 0, 4, 1]),
}


def values(seed: int) -> Array:
    """Random numbers, and between them what is not one."""
    drawn = 3 * np.random.default_rng(seed).standard_normal(SHAPE, np.float32)
    drawn.reshape(-1)[7 * seed :: 29][: 40 * ODD.size] = np.tile(ODD, 40)
    return drawn


def called(op: Op, number: int, *arrays: Array, last: int | None = None) -> Call:
    """The call of an operator on operands and a result, with its temporary memory."""
    *operands, _ = arrays
    types = [TensorType(DType.BOOL if x.dtype == np.bool_ else DType.F32, x.shape) for x in operands]
    scratch = [np.full(tensor.shape, np.nan, tensor.dtype.compute) for tensor in op.scratch(*types)]
    return replace(Call.of(op, op.kernel, (*arrays, *scratch), len(operands), number), last=last)


def run(calls: list[Call]) -> list[str]:
    """Execute calls as a stage does; the names of its steps."""
    steps = list(steps_of(calls, Temporaries(Scratch())))
    with np.errstate(all="ignore"):
        for kernel, arguments in steps:
            kernel(*arguments)
    return [kernel.__name__ for kernel, _ in steps]


def result() -> Array:
    return np.full(SHAPE, 7, np.float32)


def same_bits(one: Array, other: Array) -> bool:
    bits, others = (np.where(np.isnan(x), 0, x.view(np.int32)) for x in (one, other))
    return bool(np.array_equal(bits, others) and np.array_equal(np.isnan(one), np.isnan(other)))


FORMS: dict[str, tuple[Any, ...]] = {
    "gelu": ("none",), "gelu_backward": ("none",), "gelu_tanh": ("tanh",), "gelu_tanh_backward": ("tanh",),
    "leaky_relu": (0.01,), "leaky_relu_backward": (0.01,), "elu": (1.5, 1.25, 0.75),
    "elu_backward": (1.5, 1.25, 0.75, False), "elu_backward_of_result": (1.5, 1.25, 0.75, True),
}  # fmt: skip
"""The attributes of operators that have any, by their loop."""


def operator(loop: str, *attributes: Any) -> Op:
    """The operator that a loop computes."""
    op = OPS[loop.replace("gelu_tanh", "gelu").removesuffix("_of_result")](*(attributes or FORMS.get(loop, ())))
    assert op.loop[0] == loop
    return op


@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("name", [name for name in loops.CODES if name not in ("copy", "stream")])
def test_an_operator_makes_the_same_bits_in_a_chain(name: str, first: str, second: str) -> None:
    check_operator(operator(name), LAYOUTS[first](values(1)), LAYOUTS[second](values(2)))


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.5, -0.5])
@pytest.mark.parametrize("name", ["leaky_relu", "leaky_relu_backward"])
def test_leaky_relu_makes_the_same_bits_for_every_slope(name: str, slope: float) -> None:
    check_operator(operator(name, slope), values(1), values(2))


def check_operator(op: Op, a: Array, b: Array) -> None:
    """Its kernel and its loop make the same of operands."""
    whole = values(3)
    count = len(inspect.signature(op.infer).parameters)
    operands: list[Any] = [a, b][:count] if count < 3 else [whole > 0, a, b]
    if np.broadcast_shapes(*(x.shape for x in operands)) != SHAPE:
        operands[0] = whole
    alone, made, negative = result(), result(), result()
    with np.errstate(all="ignore"):
        call = called(op, 0, *operands, alone)
        call.kernel(*call.arguments)
    run([called(op, 0, *operands, made), called(OPS["neg"](), 1, made, negative)])
    assert same_bits(made, alone)
    assert same_bits(negative, -alone)


def test_what_only_the_chain_reads_is_not_written() -> None:
    x, scale, shift = values(1), values(2)[:, :, :1, :1].copy(), values(3)[0]
    scaled, shifted = result(), result()
    # As when memory is given back: the last result takes the place of the first one.
    names = run([
        called(OPS["mul"](), 0, x, scale, scaled, last=1),
        called(OPS["add"](), 1, scaled, shift, shifted, last=2),
        called(OPS["relu"](), 2, shifted, scaled),
    ])  # fmt: skip
    assert names == ["mul+add+relu"]
    assert np.all(shifted == 7)
    with np.errstate(all="ignore"):
        assert same_bits(scaled, np.clip(x * scale + shift, 0, np.inf))


def test_what_is_made_of_the_same_is_made_once() -> None:
    x, y, again = values(1), values(2), np.array(3, np.float32)
    first, second, other, out = (result() for _ in range(4))
    calls = [
        called(OPS["mul"](), 0, x, again, first, last=2),
        called(OPS["mul"](), 1, x, again, second, last=3),
        called(OPS["add"](), 2, first, y, other, last=4),
        called(OPS["sub"](), 3, other, second, out, last=4),
    ]
    assert run([*calls, called(OPS["neg"](), 4, out, out)]) == ["mul+add+sub+neg"]
    with np.errstate(all="ignore"):
        assert same_bits(out, -((x * 3 + y) - x * 3))
    # What x holds is another number after the second one.
    x, made = values(1), result()
    steps = [
        called(OPS["mul"](), 0, x, again, first, last=1),
        called(OPS["add"](), 1, first, y, x),
        called(OPS["mul"](), 2, x, again, second, last=3),
        called(OPS["neg"](), 3, second, made),
    ]
    with np.errstate(all="ignore"):
        wanted = -((x * 3 + y) * 3)
    assert run(steps) == ["mul+add+mul+neg"]
    assert same_bits(made, wanted)


def test_what_is_read_behind_the_chain_is_written() -> None:
    x, scaled, shifted, total = values(1), result(), result(), np.zeros((1, 1, 1, 3), np.float32)
    names = run([
        called(OPS["mul"](), 0, x, x, scaled, last=2),
        called(OPS["add"](), 1, scaled, x, shifted),
        Call(np.add.reduce, (scaled, (0, 1, 2), np.float32, total, True)),
    ])  # fmt: skip
    assert names == ["mul+add", "reduce"]
    with np.errstate(all="ignore"):
        assert same_bits(scaled, x * x)
        assert same_bits(shifted, x * x + x)


def test_a_chain_ends_where_other_elements_are_read_or_overwritten() -> None:
    x = np.random.default_rng(0).standard_normal((80, 80), np.float32)
    memory, out = np.zeros((81, 80), np.float32), np.empty_like(x)
    made, ahead = memory[:80], memory[1:]
    neg, add = OPS["neg"](), OPS["add"]()
    turned = [called(neg, 0, x, made), called(add, 1, made.T, x, out)]
    assert run(turned) == ["neg", add.kernel.__name__]
    np.testing.assert_array_equal(out, x - x.T)
    before = memory[1:].copy()
    assert len(run([called(add, 0, ahead, x, out), called(neg, 1, x, made)])) == 2
    np.testing.assert_array_equal(out, before + x)


def test_an_operator_may_be_a_chain_by_itself() -> None:
    x, bias, out = LAYOUTS["rows apart"](values(1)), values(2)[0, 0, 0], result()
    assert run([called(OPS["add"](), 0, x, bias, out)]) == ["add"]
    with np.errstate(all="ignore"):
        assert same_bits(out, x + bias)


@pytest.mark.parametrize("offset", [0, 3, 16])
def test_what_goes_past_the_cache_has_the_same_bits(offset: int) -> None:
    """Wherever rows begin; what the chain makes of it, too, and a copy."""
    x, memory = values(1).reshape(4, -1), np.zeros((4, 5000), np.float32)
    made, after, copy = memory[:, offset : offset + x.shape[1]], np.empty_like(x), np.empty_like(x)
    calls = [
        replace(called(OPS["mul"](), 0, x, x, made), streams=True),
        called(OPS["neg"](), 1, made, after),
        Call.copy(after, copy, streams=True),
    ]
    assert run(calls) == ["mul+neg+stream"]
    with np.errstate(all="ignore"):
        assert same_bits(made, x * x)
        assert same_bits(after, -(x * x))
    assert same_bits(copy, after)
    assert not memory[:, :offset].any() and not memory[:, offset + x.shape[1] :].any()


def test_short_rows_stay_in_the_cache() -> None:
    x, memory = values(1).reshape(-1, 100), np.zeros((198, 130), np.float32)
    assert run([Call.copy(x, memory[:, :100], streams=True)]) == ["_copy"]
    np.testing.assert_array_equal(memory[:, :100], x)


def test_operators_without_loops_and_other_element_types_stay_steps() -> None:
    x, y = values(1), result()
    whole = np.arange(10_000, dtype=np.int32)
    assert run([called(OPS["neg"](), 0, x, y), called(OPS["exp"](), 1, y, y.copy())]) == ["neg", "kernel"]
    neg = OPS["neg"]()
    assert run([Call.of(neg, neg.kernel, (whole, whole.copy()), 1, 0)] * 2) == ["kernel"] * 2


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(random_nests(rings=False))
def test_random_nests_in_chains(nest: RandomNest) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "LEAST_ELEMENTS", 1)
        found = Session(DecodedPef(nest.pef)).run(inputs=nest.given)
    for name, wanted in nest.expected.items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5, err_msg=name)
