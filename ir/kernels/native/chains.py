"""Elementwise operators one after another on a block of elements that stays in the first-level cache: what one makes
the next one finds there, and only the arrays that are read and kept cross memory.

A program has a row per operator: its number in `CODES`, the slot that it writes, and those that it reads. A slot is an
array: its address, the bytes by which it advances from an element of a row to the next, those between two elements that
an operator reads, and those between rows along each outer axis. A scalar has steps of 0, and so have the numbers that a
loop takes behind its operands. An array that only the chain uses does not advance: every block is written over the one
before. Nothing here fuses a product and a sum, so that an operator makes the same bits here as by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from ir.kernels.native import elementwise
from ir.kernels.native.compiler import compiled, inlined
from ir.kernels.native.vectors import LANES, bytes_at, copy_bytes, floats_at, line_at, settle, stream_vector
from ir.op import Array

F32 = np.float32
BLOCK = 1024
"""Elements of a block: 4 KiB of each array, of which the first-level cache holds eight."""
STREAMED_BLOCK = 512
"""The same where a result goes to memory past the cache: shorter turns of reading and writing keep both busy."""
NAMES = (
    "copy", "add", "sub", "mul", "div", "maximum", "minimum", "neg", "abs", "sqrt", "rsqrt", "where",
    "relu", "relu_backward", "leaky_relu", "leaky_relu_backward", "tanh", "tanh_backward", "sigmoid",
    "sigmoid_backward", "silu", "silu_backward", "gelu", "gelu_backward", "gelu_tanh", "gelu_tanh_backward",
    "elu", "elu_backward", "elu_backward_of_result", "stream",
)  # fmt: skip
CODES = {name: number for number, name in enumerate(NAMES)}
"""Loops by the name that operators give them (`Op.loop`)."""
(
    COPY, ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM, NEG, ABS, SQRT, RSQRT, WHERE,
    RELU, RELU_BACKWARD, LEAKY_RELU, LEAKY_RELU_BACKWARD, TANH, TANH_BACKWARD, SIGMOID,
    SIGMOID_BACKWARD, SILU, SILU_BACKWARD, GELU, GELU_BACKWARD, GELU_TANH, GELU_TANH_BACKWARD,
    ELU, ELU_BACKWARD, ELU_BACKWARD_OF_RESULT, STREAM,
) = range(len(CODES))  # fmt: skip


def _unary(function: Callable[[Any], Any]) -> Callable[[int, int, int, int], None]:
    scalar = numba.njit(function)

    @numba.njit(nogil=True, error_model="numpy")
    def loop(count, out, a, a_step):  # type: ignore[no-untyped-def]
        made, x = floats_at(out), floats_at(a)
        if a_step == 0:
            value = scalar(x[0])
            for i in range(count):
                made[i] = value
        else:
            for i in range(count):
                made[i] = scalar(x[i])

    return loop


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[int, int, int, int, int, int], None]:
    scalar = numba.njit(function, error_model="numpy")

    @numba.njit(nogil=True, error_model="numpy")
    def loop(count, out, a, a_step, b, b_step):  # type: ignore[no-untyped-def]
        made, x, y = floats_at(out), floats_at(a), floats_at(b)
        if a_step == 0:
            one = x[0]
            for i in range(count):
                made[i] = scalar(one, y[i if b_step else 0])
        elif b_step == 0:
            other = y[0]
            for i in range(count):
                made[i] = scalar(x[i], other)
        else:
            for i in range(count):
                made[i] = scalar(x[i], y[i])

    return loop


_copy = _unary(lambda x: x)
_neg = _unary(lambda x: -x)
_abs = _unary(lambda x: np.abs(x))
_sqrt = _unary(lambda x: np.sqrt(x))
_rsqrt = _unary(lambda x: F32(1) / np.sqrt(x))
_relu = _unary(lambda x: F32(0) if x < F32(0) else x)
_add = _binary(lambda x, y: x + y)
_sub = _binary(lambda x, y: x - y)
_mul = _binary(lambda x, y: x * y)
_div = _binary(lambda x, y: x / y)
_maximum = _binary(lambda x, y: x if x > y or x != x else y)
_minimum = _binary(lambda x, y: x if x < y or x != x else y)
_relu_backward = _binary(lambda dy, y: F32(0) if y <= F32(0) else dy)
_leaky_relu = _binary(lambda x, slope: x if x > F32(0) else x * slope)
_tanh_backward = _binary(lambda dy, y: (F32(1) - y * y) * dy)
_sigmoid_backward = _binary(lambda dy, y: (F32(1) - y) * y * dy)


@numba.njit(nogil=True)
def _where(count, out, condition, condition_step, a, a_step, b, b_step):  # type: ignore[no-untyped-def]
    chosen, made, x, y = bytes_at(condition), floats_at(out), floats_at(a), floats_at(b)
    if condition_step == 0:
        if chosen[0]:
            _copy(count, out, a, a_step)
        else:
            _copy(count, out, b, b_step)
    elif a_step and b_step:
        for i in range(count):
            one, other = x[i], y[i]
            made[i] = one if chosen[i] else other
    elif a_step:
        other = y[0]
        for i in range(count):
            one = x[i]
            made[i] = one if chosen[i] else other
    else:
        one = x[0]
        for i in range(count):
            other = y[i if b_step else 0]
            made[i] = one if chosen[i] else other


@numba.njit(nogil=True)
def _leaky_relu_backward(count, out, a, a_step, b, b_step, c):  # type: ignore[no-untyped-def]
    made, dy, x, slope = floats_at(out), floats_at(a), floats_at(b), floats_at(c)[0]
    for i in range(count):
        made[i] = dy[i if a_step else 0] * (F32(1) if x[i if b_step else 0] > F32(0) else slope)


@compiled("void(int64, int64, int64)")
def _stream(source: int, count: int, target: int) -> None:
    """Copy `count` elements past the cache; those before the target's first whole vector and after its last, through
    it."""
    head = min(count, -target % (4 * LANES) // 4)
    copy_bytes(source, 4 * head, target)
    whole = head + (count - head) // LANES * LANES
    for i in range(head, whole, LANES):
        stream_vector(source + 4 * i, target + 4 * i)
    copy_bytes(source + 4 * whole, 4 * (count - whole), target + 4 * whole)


@inlined
def _execute(code: int, count: int, out: int, a: int, a_step: int, b: int, b_step: int, c: int, c_step: int) -> None:
    if code == ADD:
        _add(count, out, a, a_step, b, b_step)
    elif code == SUB:
        _sub(count, out, a, a_step, b, b_step)
    elif code == MUL:
        _mul(count, out, a, a_step, b, b_step)
    elif code == DIV:
        _div(count, out, a, a_step, b, b_step)
    elif code == MAXIMUM:
        _maximum(count, out, a, a_step, b, b_step)
    elif code == MINIMUM:
        _minimum(count, out, a, a_step, b, b_step)
    elif code == NEG:
        _neg(count, out, a, a_step)
    elif code == ABS:
        _abs(count, out, a, a_step)
    elif code == SQRT:
        _sqrt(count, out, a, a_step)
    elif code == RSQRT:
        _rsqrt(count, out, a, a_step)
    elif code == RELU:
        _relu(count, out, a, a_step)
    elif code == RELU_BACKWARD:
        _relu_backward(count, out, a, a_step, b, b_step)
    elif code == LEAKY_RELU:
        _leaky_relu(count, out, a, a_step, b, b_step)
    elif code == LEAKY_RELU_BACKWARD:
        _leaky_relu_backward(count, out, a, a_step, b, b_step, c)
    elif code == WHERE:
        _where(count, out, a, a_step, b, b_step, c, c_step)
    elif code == TANH:
        elementwise.tanh(line_at(a, count), line_at(out, count))
    elif code == TANH_BACKWARD:
        _tanh_backward(count, out, a, a_step, b, b_step)
    elif code == SIGMOID:
        elementwise.sigmoid(line_at(a, count), line_at(out, count))
    elif code == SIGMOID_BACKWARD:
        _sigmoid_backward(count, out, a, a_step, b, b_step)
    elif code == SILU:
        elementwise.silu(line_at(a, count), line_at(out, count))
    elif code == SILU_BACKWARD:
        elementwise.silu_gradient(line_at(a, count), line_at(b, count), line_at(out, count))
    elif code == GELU:
        elementwise.gelu(line_at(a, count), line_at(out, count))
    elif code == GELU_BACKWARD:
        elementwise.gelu_gradient(line_at(a, count), line_at(b, count), line_at(out, count))
    elif code == GELU_TANH:
        elementwise.gelu_tanh(line_at(a, count), line_at(out, count))
    elif code == GELU_TANH_BACKWARD:
        elementwise.gelu_tanh_gradient(line_at(a, count), line_at(b, count), line_at(out, count))
    elif code == ELU:
        elementwise.elu(line_at(a, count), line_at(b, 3), line_at(out, count))
    elif code == ELU_BACKWARD:
        elementwise.elu_gradient(line_at(a, count), line_at(b, count), line_at(c, 3), line_at(out, count))
    elif code == ELU_BACKWARD_OF_RESULT:
        elementwise.elu_gradient_of_result(line_at(a, count), line_at(b, count), line_at(c, 3), line_at(out, count))
    elif code == STREAM:
        _stream(a, count, out)
    else:
        _copy(count, out, a, a_step)


WHOLE = frozenset(
    {
        "stream",
        "tanh", "sigmoid", "silu", "silu_backward", "gelu", "gelu_backward", "gelu_tanh", "gelu_tanh_backward", "elu",
        "elu_backward", "elu_backward_of_result",
    }
)  # fmt: skip
"""Operators whose operands are never scalars."""
OPERANDS = 2
"""Where the slots that are read begin in a row of a program."""
STRIDES = 3
"""Where the steps along outer axes begin in a slot."""


@compiled("void(int64[:,::1], int64[:,::1], int64[::1], int64)", fuses=False)
def run(program: Array, slots: Array, extents: Array, block: int) -> None:
    """The operators of the program, on blocks of so many elements, on arrays of these extents, the last of which is the
    length of a row."""
    outer, length = len(extents) - 1, extents[-1]
    rows = 1
    for axis in range(outer):
        rows *= extents[axis]
    index = np.zeros(len(extents), np.int64)
    places = slots[:, 0].copy()
    for _ in range(rows):
        for start in range(0, length, block):
            count = min(block, length - start)
            for number in range(len(program)):
                out, a, b, c = program[number, 1], program[number, 2], program[number, 3], program[number, 4]
                _execute(
                    program[number, 0], count, places[out] + start * slots[out, 1],
                    places[a] + start * slots[a, 1], slots[a, 2],
                    places[b] + start * slots[b, 1], slots[b, 2],
                    places[c] + start * slots[c, 1], slots[c, 2],
                )  # fmt: skip
        for axis in range(outer - 1, -1, -1):
            index[axis] += 1
            for slot in range(len(slots)):
                places[slot] += slots[slot, STRIDES + axis]
            if index[axis] < extents[axis]:
                break
            for slot in range(len(slots)):
                places[slot] -= slots[slot, STRIDES + axis] * extents[axis]
            index[axis] = 0
    settle()
