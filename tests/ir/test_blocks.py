"""Blocks cover all of the operands and the result, whatever their layout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ir.kernels.blocks import BLOCK_ELEMENTS, blocks
from ir.op import Array


def contiguous() -> list[Array]:
    return [np.arange(3 * 70_000.0).reshape(3, 70_000), np.ones((3, 70_000)), np.zeros((3, 70_000))]


def reversed_axes() -> list[Array]:
    x = np.arange(5 * 300 * 500.0).reshape(5, 300, 500).T
    return [x, np.ones(x.shape), np.zeros_like(x)]


def broadcast() -> list[Array]:
    return [np.arange(500.0), np.arange(5 * 300.0).reshape(5, 300, 1), np.zeros((5, 300, 500))]


def part_of_a_larger_one() -> list[Array]:
    whole = np.arange(4 * 600 * 500.0).reshape(4, 600, 500)
    return [whole[:, :300], whole[:, 300:], np.zeros((4, 600, 500))[:, ::2]]


@pytest.mark.parametrize("made", [contiguous, reversed_axes, broadcast, part_of_a_larger_one])
def test_blocks_cover_every_element_once(made: Callable[[], list[Array]]) -> None:
    a, b, out = made()
    temporary = np.empty(BLOCK_ELEMENTS)
    count = 0
    for left, right, result, own in blocks((a, b, out), (temporary,)):
        assert left.shape == right.shape == result.shape == own.shape
        assert result.size <= BLOCK_ELEMENTS
        np.add(left, right, out=own)
        np.add(result, own, out=result)
        count += 1
    np.testing.assert_array_equal(out, a + b)
    assert count > 1


def test_a_number_is_a_block() -> None:
    a, out = np.array(3.0), np.zeros(())
    for block in blocks((a, out), (np.empty(1),)):
        np.copyto(block[1], block[0])
    assert out == 3
