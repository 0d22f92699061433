"""Matrix products on the host: the one place that decides who multiplies.

Loops of our own (`native/products.py`) multiply matrices where they lie, and add the product to what is there, which
spares a pass over the result for every term of a sum. NumPy does what they do not take: products of few elements, of
other element types, of matrices that have neither rows nor columns in one piece, and everything on a processor without
fused multiply-add, without numba, or with `SNC_BLAS=numpy` in the environment.

Every product runs on the calling thread alone: the executor runs lanes on threads of its own, so that no sum depends
on how many there are.
"""

from __future__ import annotations

import logging
import os
import threading
from functools import cache
from math import prod
from types import ModuleType, TracebackType

import numpy as np
from threadpoolctl import ThreadpoolController

from ir.kernels.native import load
from ir.kernels.processor import multiplies_and_adds
from ir.op import Array

LEAST_WORK = 1 << 19
"""Multiplications of a matrix that are worth copying its factors into panels: NumPy's BLAS multiplies smaller ones
where they lie."""
LEAST_SUM = 1 << 14
"""The same where a product is added, for which NumPy needs a pass of its own."""
LEAST_EXTENT = 4
"""Rows and columns of a result, and terms of its sums, below which panels are mostly empty."""

log = logging.getLogger(__name__)


class SameSums:
    """A block in which the compiled loops multiply whatever they can, however few elements it has.

    An element is then the same sum wherever its row and its column lie. NumPy's BLAS, which is faster for small
    products, rounds rows differently at the edge of its blocks. Enter it around a run: it holds for the whole process.
    """

    _entered = 0
    _lock = threading.Lock()

    def __enter__(self) -> None:
        with SameSums._lock:
            SameSums._entered += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with SameSums._lock:
            SameSums._entered -= 1

    @staticmethod
    def wanted() -> bool:
        """Whether the process is in such a block."""
        return SameSums._entered > 0


class OneThread:
    """A block in which every BLAS library of the process multiplies on the calling thread alone.

    Enter it around a run, not around a product: it sets what is the process's own, and only where that differs.
    """

    def __init__(self) -> None:
        self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
        self._before: list[int] = []

    def __enter__(self) -> None:
        self._before = [library.get_num_threads() for library in self._libraries]
        self._set([1] * len(self._libraries), self._before)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._set(self._before, [1] * len(self._libraries))

    def _set(self, wanted: list[int], present: list[int]) -> None:
        for library, count, now in zip(self._libraries, wanted, present):
            if count != now:
                library.set_num_threads(count)


def matmul(a: Array, b: Array, out: Array) -> None:
    """out = a @ b, for operands as `np.matmul` takes them."""
    if a.ndim > 1 and a.shape[-1] == 1 and b.ndim > 1:
        np.multiply(a, b, out=out)  # several times faster than np.matmul, which has no product of so few terms
    elif not _multiply(a, b, out, adds=False):
        np.matmul(a, b, out=out)


def add_matmul(a: Array, b: Array, out: Array) -> None:
    """out += a @ b, for matrices or stacks of equally many."""
    if not _multiply(a, b, out, adds=True):
        np.add(out, np.matmul(a, b), out=out)


def _multiply(a: Array, b: Array, out: Array, adds: bool) -> bool:
    """The product by compiled loops; False, and nothing done, where they do not take it."""
    if out.ndim < 2 or not (SameSums.wanted() or _is_worth_it(a, out, adds)):
        return False
    if not a.dtype == b.dtype == out.dtype == np.float32 or not a.shape[:-2] == b.shape[:-2] == out.shape[:-2]:
        return False
    loops = native()
    if loops is None or not (a.flags.writeable and b.flags.writeable):
        return False
    buffer = _buffer(loops)
    if out.ndim == 2:
        return bool(loops.product(a, b, out, adds, buffer))
    if out.ndim == 3:
        return bool(loops.products(a, b, out, adds, buffer))
    stacks = [_stack(array) for array in (a, b, out)]
    return all(stack is not None for stack in stacks) and bool(loops.products(*stacks, adds, buffer))


def _is_worth_it(a: Array, out: Array, adds: bool) -> bool:
    """Whether the loops are faster than NumPy."""
    extents = (*out.shape[-2:], a.shape[-1])
    return min(extents) >= LEAST_EXTENT and int(prod(extents)) >= (LEAST_SUM if adds else LEAST_WORK)


def multiply_stack(a: Array, b: Array, out: Array, adds: bool = False) -> None:
    """out = a @ b, or out += a @ b, for stacks of equally many matrices however small, whose rows or columns are
    contiguous, and those of `out` its rows. Only where `native` has loops."""
    loops = _required()
    if not loops.products(a, b, out, adds, _buffer(loops)):
        raise ValueError(f"matrices with strides {a.strides}, {b.strides}, {out.strides} do not lie in rows or columns")


def multiply_lines(a: Array, lines: Array, table: Array, step: int, pitch: int, out: Array) -> None:
    """out [images, m, rows, n] = a [m, k], for every image and row of it, times the k rows of n elements that lie
    `table[i]` bytes behind the start of `lines`.

    `step` leads from an image to the next and `pitch` from a row to the next, in elements, among the lines. The last
    row must have `LINE_SLACK` elements behind it, and neighbours in a row of `out` be neighbours in memory. Only where
    `native` has loops.
    """
    loops = _required()
    images, _, rows, n = out.shape
    next_image, c_row, next_row, _ = (stride // 4 for stride in out.strides)
    counts, steps = np.array([images, rows]), np.array([step, pitch, next_image, next_row])
    places = lines.ctypes.data, out.ctypes.data
    loops.multiply_lines(a, places[0], table, n, counts, places[1], c_row, steps, _buffer(loops))


def multiply_windows(a: Array, lines: Array, table: Array, windows: Array, out: Array) -> None:
    """out [m, n] = a [m, k] times the k rows of what windows read: of window j, `table[i]` bytes behind the pixel
    `windows[j]` of `lines`. Only where `native` has loops."""
    loops = _required()
    places = lines.ctypes.data, out.ctypes.data
    loops.multiply_windows(a, places[0], table, 4 * windows, places[1], out.strides[0] // 4, _buffer(loops))


def add_line_products(dy: Array, lines: Array, panels: Array, windows: Array, shifts: Array, total: Array) -> None:
    """total [positions, m, n] += dy [images, m, windows] times what each position reads of
    lines [residues, n, pixels].

    A window is at the pixel `windows[i]` of the lines, a position so many `shifts` of pixels ahead, counting residues
    one after another. `panels` is temporary memory for the lines, their n rounded up to a multiple of `PANEL`. Only
    where `native` has loops.
    """
    loops = _required()
    address, row_bytes = panels.ctypes.data, 4 * loops.WIDTH
    loops.lay_out_panels(lines, address)
    step = lines.shape[0] * lines.shape[2] * row_bytes
    loops.add_line_products(dy, address, step, row_bytes * windows, row_bytes * shifts, total, _buffer(loops))


def _required() -> ModuleType:
    loops = native()
    if loops is None:
        raise ValueError("the compiled loops are switched off since this was planned")
    return loops


LINE_SLACK = 32
"""Elements that loops may read beyond a line."""
PANEL = 32
"""Elements that lie side by side for a product, at most: `WIDTH` of the loops where vectors are the widest."""


def _stack(array: Array) -> Array | None:
    """An array of matrices with all leading axes as one; None where that is not a view."""
    stack: Array = array.reshape(-1, *array.shape[-2:])
    return stack if np.may_share_memory(stack, array) else None


_temporary = threading.local()


def _buffer(loops: ModuleType) -> int:
    """The address of this thread's temporary memory, on a cache line."""
    address: int | None = getattr(_temporary, "address", None)
    if address is None:
        _temporary.memory = np.zeros(4 * loops.BUFFER_ELEMENTS + CACHE_LINE_BYTES, np.uint8)
        start = _temporary.memory.ctypes.data
        address = _temporary.address = start + -start % CACHE_LINE_BYTES
    return address


CACHE_LINE_BYTES = 64


@cache
def native() -> ModuleType | None:
    """The compiled products; None where NumPy alone multiplies."""
    loops = None
    if os.environ.get("SNC_BLAS") == "numpy":
        log.info("matrix products: NumPy, as SNC_BLAS says")
    elif not multiplies_and_adds():
        log.info("matrix products: NumPy; this processor has no fused multiply-add that is known here")
    else:
        loops = load("products")
        log.info("matrix products: %s", "NumPy" if loops is None else f"loops of {loops.LANES} elements a vector")
    return loops
