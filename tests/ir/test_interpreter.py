"""The reference interpreter on whole programs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from samples import f32, i32, op

from ir.builder import GraphBuilder
from ir.errors import GraphError
from ir.graph import SectionKind
from ir.interpreter import run
from ir.location import Location
from ir.types import DType, TensorType


def builder() -> GraphBuilder:
    made = GraphBuilder(SectionKind.FWD)
    made.location = Location("model.py", 1)
    return made


def test_a_classifier_and_its_loss() -> None:
    build = builder()
    x, weight, target = build.input("x", f32(8, 6)), build.input("w", f32(6, 5)), build.input("t", i32(8))
    logits = build.add(op("matmul", dtype=DType.F32), build.add(op("gelu", approximate="none"), x), weight)
    logp = build.add(op("log_softmax", dim=1), logits)
    build.output("loss", build.add(op("nll", ignore_index=-100), logp, target))
    rng = np.random.default_rng(0)
    symbols = {
        "x": rng.standard_normal((8, 6)).astype(np.float32),
        "w": rng.standard_normal((6, 5)).astype(np.float32),
        "t": rng.integers(0, 5, 8).astype(np.int32),
    }
    loss = run(build.build(), symbols)["loss"]
    tensors = {name: torch.from_numpy(array) for name, array in symbols.items()}
    expected = F.cross_entropy(F.gelu(tensors["x"]) @ tensors["w"], tensors["t"].long(), reduction="none")
    np.testing.assert_allclose(loss, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_bf16_is_rounded_after_every_operator() -> None:
    build = builder()
    half = TensorType(DType.BF16, (64,))
    x, y = build.input("x", half), build.input("y", half)
    build.output("z", build.add(op("mul"), build.add(op("add"), x, y), y))
    rng = np.random.default_rng(0)
    tensors = {name: torch.from_numpy(rng.standard_normal(64).astype(np.float32)).bfloat16() for name in "xy"}
    z = run(build.build(), {name: tensor.float().numpy() for name, tensor in tensors.items()})["z"]
    np.testing.assert_array_equal(z, ((tensors["x"] + tensors["y"]) * tensors["y"]).float().numpy())


def test_an_update_reads_the_symbol_from_before() -> None:
    build = builder()
    weight, gradient = build.input("w", f32(4)), build.input("g", f32(4))
    build.output("w", build.add(op("sub"), weight, gradient))
    build.output("old", weight)
    symbols = {"w": np.full(4, 3, np.float32), "g": np.ones(4, np.float32)}
    stored = run(build.build(), symbols)
    assert (stored["w"] == 2).all() and (stored["old"] == 3).all() and (symbols["w"] == 3).all()


def test_infinities_are_values() -> None:
    build = builder()
    build.output("y", build.add(op("log"), build.input("x", f32(2))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = run(build.build(), {"x": np.zeros(2, np.float32)})["y"]
    assert (y == -np.inf).all()


@pytest.mark.parametrize(
    ("name", "attributes", "operand", "message"),
    [
        ("matmul", {"dtype": DType.F32}, f32(5, 4), "matrices of shapes [4, 6] and [5, 4] cannot be multiplied"),
        ("add", {}, f32(4, 5), "shapes [4, 6], [4, 5] do not broadcast to a common shape"),
        ("mul", {}, i32(4, 6), "operands f32[4,6] and i32[4,6] have different element types"),
        ("cat", {"dim": 0}, f32(4, 5), "f32[4,6] and f32[4,5] cannot be joined along axis 0"),
        ("index_select", {"dim": 1}, i32(3), "model.py:1"),
    ],
)
def test_operands_that_do_not_fit(name: str, attributes: dict[str, object], operand: TensorType, message: str) -> None:
    build = builder()
    x, y = build.input("x", f32(4, 6)), build.input("y", operand)
    if name == "index_select":
        x = build.input("table", f32(4))
    with pytest.raises(GraphError) as error:
        build.add(op(name, **attributes), x, y)
    assert message in str(error.value)


@pytest.mark.parametrize("index", [10, -1])
def test_an_index_outside_its_table_is_refused(index: int) -> None:
    build = builder()
    build.output("y", build.add(op("index_select", dim=0), build.input("table", f32(10, 4)), build.input("i", i32(3))))
    symbols = {"table": np.zeros((10, 4), np.float32), "i": np.full(3, index, np.int32)}
    with pytest.raises(IndexError, match=f"index {index} is outside 0 .. 9"):
        run(build.build(), symbols)
