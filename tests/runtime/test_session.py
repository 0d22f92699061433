"""Symbols, bindings and runs of a session, and the errors that name what does not match."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ir.errors import BindError, PefError, UsageError
from ir.graph import SymbolKind
from ir.types import DType, TensorType
from pef import file
from runtime.numbers.memory import to_device
from runtime.session import Session
from tests.pef.samples import residual, step, two_products
from tests.runtime import programs
from tests.runtime.programs import bf16, rand

F32, I32 = TensorType(DType.F32, (2,)), TensorType(DType.I32, (2,))


def test_numbers_take_the_symbols_type_and_arrays_keep_theirs() -> None:
    assert to_device("lr", TensorType(DType.F32, ()), 0.5).dtype == np.float32
    assert to_device("n", TensorType(DType.I32, ()), 3).dtype == np.int32
    assert to_device("x", F32, np.array([1, 2], np.float16)).dtype == np.float32
    assert to_device("i", I32, np.array([1, -2], np.int64)).dtype == np.int32
    x = rand(2)
    assert np.array_equal(to_device("x", TensorType(DType.BF16, (2,)), x), bf16(x))


@pytest.mark.parametrize(
    ("tensor", "value", "said"),
    [
        (F32, np.zeros(2), ["'x' is float64", "f32", ".astype(numpy.float32)"]),
        (F32, np.zeros(2, np.int32), ["int32", "f32"]),
        (F32, np.zeros((2, 1), np.float32), ["[2, 1]", "[2]", ".reshape(2)"]),
        (F32, np.zeros(3, np.float32), ["[3]", "[2]", "batches of 2"]),
        (I32, np.array([0, 1 << 40]), [str(1 << 40), "i32"]),
        (I32, np.zeros(2, np.float32), ["float32", "i32", "int32"]),
        (TensorType(DType.BOOL, (2,)), np.zeros(2, np.int8), ["int8", "bool"]),
    ],
)
def test_what_does_not_match_is_refused(tensor: TensorType, value: object, said: list[str]) -> None:
    with pytest.raises(BindError) as caught:
        to_device("x", tensor, value)
    assert all(part in str(caught.value) for part in ["'x'", "try", *said])


def test_all_mismatches_of_weights_are_reported_at_once_and_nothing_is_written() -> None:
    session = Session(two_products())
    with pytest.raises(BindError) as caught:
        session.load_weights({"a": rand(3, 3), "bb": rand(48, 16), "x": np.zeros((256, 32))})
    assert len(caught.value.problems) == 4
    said = str(caught.value)
    assert "lack 'b'" in said and "'bb'" in said and "did you mean 'b'?" in said and "float64" in said
    assert not session.read("a").any()
    session.load_weights({"a": rand(32, 48), "other": rand(1)}, strict=False)
    assert session.read("a").any()


def test_everything_missing_is_reported_at_once() -> None:
    session = Session(two_products())
    with pytest.raises(BindError) as caught:
        session.run()
    assert [problem.message.split("'")[1] for problem in caught.value.problems] == ["x", "a", "b"]


def test_sections_by_kind_and_by_number() -> None:
    session = Session(step())
    assert session.sections() == [0, 1, 2]
    assert session.sections(["fwd"]) == [0, 2]
    assert session.sections(["Bckwd", "FWD"]) == [1, 0, 2]
    assert session.sections(section_ids=[2]) == [2]
    with pytest.raises(UsageError, match="FWD, BCKWD"):
        session.sections(["opt"])
    with pytest.raises(UsageError, match="0 to 2"):
        session.sections(section_ids=[3])


def test_unknown_symbols_name_the_nearest() -> None:
    session = Session(programs.training())
    with pytest.raises(BindError, match=r"did you mean 'w.grad'"):
        session.read("w.grda")
    with pytest.raises(BindError, match="no symbol 'zzz'"):
        session.bind(zzz=1.0)


def test_output_gradients_default_to_ones_and_can_be_given() -> None:
    session = Session(programs.training())
    x, w = rand(64, 8), rand(8, 4, seed=1)
    session.load_weights({"w": w})
    session.run(["fwd", "bckwd"], inputs={"x": x})
    gradient = session.read("w.grad")
    np.testing.assert_allclose(gradient, 2 * x.T @ (x @ w), rtol=1e-3, atol=1e-3)
    session.write("loss.grad", np.full((1, 1), 2, np.float32))
    session.run(["fwd", "bckwd"])
    np.testing.assert_allclose(session.read("w.grad"), 2 * gradient, rtol=1e-6, atol=1e-5)


def test_outputs_are_copies() -> None:
    session = Session(residual())
    first = session.run(inputs={"x": rand(64, 32)})["y"]
    kept = first.copy()
    session.run(inputs={"x": rand(64, 32, seed=1)})
    assert np.array_equal(first, kept)


def test_a_file_is_loaded_by_path(tmp_path: Path) -> None:
    path = tmp_path / "r.pef"
    file.write(residual(), path)
    session = Session(path)
    assert session.names(SymbolKind.INPUT) == ["x"] and session.symbols["x"].type.shape == (64, 32)
    with pytest.raises(PefError):
        Session(tmp_path / "none.pef")


def test_no_threads_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        Session(residual(), threads=0)
