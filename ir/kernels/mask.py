"""Choosing elements by a mask with bitwise arithmetic: several times faster than NumPy's masked copies.

A mask becomes a word of all ones or all zeros per element, so infinities and NaN that are not chosen leave no trace.
"""

from __future__ import annotations

import numpy as np

from ir.op import Array

WORD: dict[int, type[np.int8] | type[np.int32]] = {1: np.int8, 4: np.int32}
"""The integer that holds an element, by its size in bytes."""


def keep(mask: Array, x: Array, out: Array) -> None:
    """x where the mask holds, else 0."""
    word = WORD[out.itemsize]
    chosen = out.view(word)
    _spread(mask, chosen)
    np.bitwise_and(chosen, x.view(word), out=chosen)


def select(mask: Array, a: Array, b: Array, out: Array, difference: Array) -> None:
    """a where the mask holds, else b; `difference` is a temporary array like `out`."""
    word = WORD[out.itemsize]
    chosen, changed = out.view(word), difference.view(word)
    np.bitwise_xor(a.view(word), b.view(word), out=changed)
    _spread(mask, chosen)
    np.bitwise_and(chosen, changed, out=chosen)
    np.bitwise_xor(chosen, b.view(word), out=chosen)


def _spread(mask: Array, out: Array) -> None:
    """-1, which is all ones, where the mask holds; else 0."""
    np.copyto(out, mask)
    np.negative(out, out=out)
