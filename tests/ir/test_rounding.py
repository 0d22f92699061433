"""bf16 against torch.bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ir.op import Array
from ir.rounding import narrow, round_to_bf16, widen

SPECIAL = [
    0x00000000,  # zero
    0x80000000,  # minus zero
    0x7F800000,  # infinity
    0xFF800000,  # minus infinity
    0x7F7FFFFF,  # largest finite: rounds to infinity
    0xFF7FFFFF,
    0x00000001,  # smallest subnormal
    0x00018000,  # a tie between subnormals
    0x3F808000,  # a tie that rounds down to even
    0x3F818000,  # a tie that rounds up to even
    0x7F800001,  # NaN whose payload lies in the dropped half
    0xFFFFFFFF,  # NaN that a carry would turn into zero
    0x7FFF8000,
]


def patterns() -> Array:
    """Special values and random bit patterns of float32."""
    rng = np.random.default_rng(0)
    bits = np.concatenate([np.array(SPECIAL, np.uint32), rng.integers(0, 1 << 32, 100_000, np.uint32)])
    return bits.view(np.float32)


def rounded_by_torch(values: Array) -> Array:
    return torch.from_numpy(values.copy()).bfloat16().float().numpy()


@pytest.mark.parametrize("with_scratch", [False, True])
def test_rounds_as_torch_does(with_scratch: bool) -> None:
    values = patterns()
    expected = rounded_by_torch(values)
    round_to_bf16(values, np.empty(values.shape, np.uint32) if with_scratch else None)
    np.testing.assert_array_equal(values, expected)
    finite = ~np.isnan(expected)
    np.testing.assert_array_equal(values.view(np.uint32)[finite], expected.view(np.uint32)[finite])
    assert not (values.view(np.uint32) & 0xFFFF).any(), "the lower half is not empty"


def test_rounds_a_strided_array_in_place() -> None:
    values = np.ones((8, 6), np.float32) + np.float32(0.001)
    round_to_bf16(values[::2, 1::2])
    assert (values[::2, 1::2] == 1).all()
    assert (values[1::2] != 1).all()


def test_storage_round_trip() -> None:
    values = patterns()
    round_to_bf16(values)
    stored = np.empty(values.shape, np.uint16)
    narrow(values, stored)
    finite = ~np.isnan(values)
    by_torch = torch.from_numpy(values.copy()).bfloat16().view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(stored[finite], by_torch[finite])
    back = np.empty(values.shape, np.float32)
    widen(stored, back)
    np.testing.assert_array_equal(back, values)
