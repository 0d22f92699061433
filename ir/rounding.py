"""bf16 as the machine has it: the upper half of a float32, rounded to nearest even."""

from __future__ import annotations

import numpy as np

from ir.op import Array


def round_to_bf16(array: Array, scratch: Array | None = None) -> None:
    """Round a float32 array of any strides to bf16 values in place; NaN stays NaN.

    `scratch` is a uint32 array of the same shape, made here where absent. Adding 0x7fff plus the lowest kept bit
    carries into the kept half exactly when nearest-even rounds up.
    """
    bits = array.view(np.uint32)
    carry = np.right_shift(bits, 16, out=scratch)
    carry &= 1
    carry += 0x7FFF
    nan = np.isnan(array)
    bits += carry
    bits &= 0xFFFF0000
    if nan.any():
        bits[nan] = 0x7FC00000


def widen(storage: Array, out: Array) -> None:
    """bf16 storage (uint16) to float32."""
    np.left_shift(storage, 16, out=out.view(np.uint32), dtype=np.uint32, casting="unsafe")


def narrow(array: Array, out: Array) -> None:
    """float32 holding bf16 values to bf16 storage (uint16)."""
    np.right_shift(array.view(np.uint32), 16, out=out, casting="unsafe")
