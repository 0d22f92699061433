"""How the partial results of a loop's iterations become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ir.op import Array, Combine


def _maximum(left: Array, right: Array, out: Array) -> None:
    np.maximum(left, right, out=out)


def _minimum(left: Array, right: Array, out: Array) -> None:
    np.minimum(left, right, out=out)


COMBINERS: dict[Combine, Callable[..., Any]] = {
    Combine.SUM: np.add,
    Combine.MAX: _maximum,
    Combine.MIN: _minimum,
}
"""Each is called with two arrays and the one for the result."""
