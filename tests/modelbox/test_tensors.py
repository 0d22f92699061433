"""Tensors on the wire: bytes and JSON in, bytes and JSON out, and a refusal for everything that is not one."""

from __future__ import annotations

import numpy as np
import pytest

from modelbox.refusal import Refusal
from modelbox.service.tensors import NUMPY, as_device, from_list, from_raw, to_list, to_raw


@pytest.mark.parametrize("datatype", NUMPY)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_arrays_survive_the_wire(datatype: str, shape: tuple[int, ...]) -> None:
    dtype = NUMPY[datatype]
    random = np.random.default_rng(0)
    if dtype.kind == "f":
        array = np.asarray(random.standard_normal(shape) * 1e3, dtype)
    elif dtype.kind == "b":
        array = np.asarray(random.integers(0, 2, shape), dtype)
    else:
        array = np.asarray(random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True))
    raw = to_raw(datatype, array)
    assert to_raw(datatype, from_raw("x", datatype, array.shape, raw)) == raw
    if datatype != "FP16":
        listed = to_list("x", datatype, array)
        assert to_raw(datatype, from_list("x", datatype, array.shape, listed)) == raw


def test_bf16_arrives_as_float32_and_strings_as_they_are() -> None:
    bits = np.array([0x3F80, 0xC049], "<u2")
    assert from_raw("x", "BF16", [2], bits.tobytes()).tolist() == [1.0, -3.140625]
    strings = from_list("x", "BYTES", [2], ["é", ""])
    assert from_raw("x", "BYTES", [2], to_raw("BYTES", strings)).tolist() == ["é".encode(), b""]


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", [2], [1.0]),
        ("FP32", [1], ["1"]),
        ("FP32", [1], [True]),
        ("FP32", [1], [None]),
        ("INT8", [1], [300]),
        ("UINT8", [1], [-1]),
        ("INT32", [1], [1.0]),
        ("BOOL", [1], [1]),
        ("BYTES", [1], [1]),
        ("BF16", [1], [1.0]),
        ("FP7", [1], [1.0]),
        ("FP32", [-1], [1.0]),
        ("FP32", [1] * 40, [1.0]),
        ("INT64", [1], [2**70]),
    ],
)
def test_what_is_no_tensor_is_refused(datatype: str, shape: list[int], data: list[object]) -> None:
    with pytest.raises(Refusal):
        from_list("x", datatype, shape, data)


def test_nesting_deeper_than_the_stack_is_read() -> None:
    nested: list[object] = [1.5]
    for _ in range(100_000):
        nested = [nested]
    assert from_list("x", "FP32", [1], nested).tolist() == [1.5]


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [
        ("FP32", [2], b"\0" * 7),
        ("BYTES", [1], b"\5\0\0\0ab"),
        ("BYTES", [1], b"\1\0"),
        ("BYTES", [2], b"\1\0\0\0a"),
        ("BOOL", [1], b"\2"),
        ("FP32", [2**20, 2**20], b""),
    ],
)
def test_bytes_that_do_not_fit_are_refused(datatype: str, shape: list[int], raw: bytes) -> None:
    with pytest.raises(Refusal):
        from_raw("x", datatype, shape, raw)


def test_elements_are_converted_where_nothing_is_lost_but_precision() -> None:
    assert as_device("x", np.array([1, 2]), "INT32").dtype == np.int32
    assert as_device("x", np.array([0.5]), "FP32").dtype == np.float32
    for array, datatype in ((np.array([2**40]), "INT32"), (np.array([1]), "FP32"), (np.array([1.0]), "INT32")):
        with pytest.raises(Refusal):
            as_device("x", array, datatype)
