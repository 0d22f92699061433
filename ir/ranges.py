"""Which whole numbers a value can hold, as far as operators can tell from their operands."""

from __future__ import annotations

from collections.abc import Iterable

from ir.types import DType, TensorType

Range = tuple[int, int]
"""The least and the greatest number, both included."""

WHOLE_NUMBERS: dict[DType, Range] = {
    DType.I32: (-(2**31), 2**31 - 1),
    DType.I8: (-(2**7), 2**7 - 1),
    DType.BOOL: (0, 1),
}
"""What element types without fractions can hold."""


def range_of(type: TensorType) -> Range | None:
    """What an element of the type can be; None for floating-point ones."""
    return WHOLE_NUMBERS.get(type.dtype)


def is_within(inner: Range, outer: Range) -> bool:
    """Whether every number of `inner` lies in `outer`."""
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def hull(ranges: Iterable[Range]) -> Range:
    """The smallest range that has all of `ranges`, of which there is at least one."""
    lows, highs = zip(*ranges)
    return min(lows), max(highs)


def products(a: Range, b: Range) -> Range:
    """What a product of one number of each range can be."""
    corners = [x * y for x in a for y in b]
    return min(corners), max(corners)
