"""Matrix products on the host: the one place that knows a BLAS library.

NumPy multiplies matrices into fresh results. OpenBLAS itself also adds a product to what is there, which spares a pass
over the result for every term of a sum. The `scipy-openblas64` package is the library that NumPy is built on, packaged
for loading; it is loaded here with the kernels that suit the processor, which its own detection misses on processors
newer than itself. Where the package is missing, or `SNC_BLAS=numpy` is in the environment, `np.matmul` does it all.

Every product runs on the calling thread alone: the executor runs lanes on threads of its own, so that no sum depends
on how many there are.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from ir.op import Array

LEAST_WORK = 1 << 17
"""Multiplications of a matrix below which the call through ctypes costs more than it gains."""

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112
"""CBLAS's names for the order of a matrix and for using it as it is or transposed."""

log = logging.getLogger(__name__)


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
    elif not _multiply(a, b, out, 0.0):
        np.matmul(a, b, out=out)


def add_matmul(a: Array, b: Array, out: Array) -> None:
    """out += a @ b, for matrices or stacks of equally many."""
    if not _multiply(a, b, out, 1.0):
        np.add(out, np.matmul(a, b), out=out)


def _multiply(a: Array, b: Array, out: Array, beta: float) -> bool:
    """Each matrix of `out` times beta plus the product of those of a and b, by OpenBLAS.

    False, and nothing done, where there is no library, it does not take these operands, or the call is not worthwhile.
    """
    if not (2 <= out.ndim <= 3 and out.ndim == a.ndim == b.ndim) or not a.shape[:-2] == b.shape[:-2] == out.shape[:-2]:
        return False
    (m, n), k = out.shape[-2:], a.shape[-1]
    if m * n * k < LEAST_WORK or not a.dtype == b.dtype == out.dtype == np.float32:
        return False
    first, second, result = _layout(a), _layout(b), _layout(out)
    blas = library()
    if first is None or second is None or result is None or result[0] != PLAIN or blas is None:
        return False
    (order_a, lead_a), (order_b, lead_b), lead = first, second, result[1]
    at_a, at_b, at_out = (array.__array_interface__["data"][0] for array in (a, b, out))
    if out.ndim == 3:
        matrices = (at_a, lead_a, a.strides[0] // 4, at_b, lead_b, b.strides[0] // 4)
        result_stack = (at_out, lead, out.strides[0] // 4, len(out))
        blas.stack(ROW_MAJOR, order_a, order_b, m, n, k, 1.0, *matrices, beta, *result_stack)
    else:
        blas.single(ROW_MAJOR, order_a, order_b, m, n, k, 1.0, at_a, lead_a, at_b, lead_b, beta, at_out, lead)
    return True


def _layout(matrices: Array) -> tuple[int, int] | None:
    """Whether BLAS takes matrices as they lie or transposed, and the elements between their rows (or columns).

    None where neither rows nor columns are contiguous.
    """
    (rows, columns), (down, across), size = matrices.shape[-2:], matrices.strides[-2:], matrices.itemsize
    if (across == size or columns == 1) and (down >= columns * size or rows == 1):
        return PLAIN, max(down // size, columns) if rows > 1 else columns
    if (down == size or rows == 1) and (across >= rows * size or columns == 1):
        return TRANSPOSED, max(across // size, rows) if columns > 1 else rows
    return None


@dataclass(frozen=True, slots=True)
class Blas:
    """OpenBLAS's `cblas_sgemm` and `cblas_sgemm_batch_strided`, which multiplies a stack of matrices."""

    single: Callable[..., None]
    stack: Callable[..., None]


@cache
def library() -> Blas | None:
    """OpenBLAS, loaded when first asked for; None where NumPy alone multiplies."""
    if os.environ.get("SNC_BLAS") == "numpy":
        log.info("matrix products: NumPy, as SNC_BLAS says")
        return None
    try:
        import scipy_openblas64
    except ImportError:
        log.info("matrix products: NumPy; the package scipy-openblas64 is not installed")
        return None
    folder = Path(scipy_openblas64.get_lib_dir())
    name = scipy_openblas64.get_library(fullname=True)
    return _load(folder / name, kernels_for(processor_flags()))


def _load(path: Path, kernels: str | None) -> Blas | None:
    """The library at `path`, with these kernels unless the user's environment names others."""
    variable = "OPENBLAS_CORETYPE"
    chosen = variable not in os.environ and kernels is not None
    if chosen:
        os.environ[variable] = str(kernels)  # read while the library is loaded
    try:
        blas = ctypes.CDLL(str(path))
    except OSError as error:
        log.warning("matrix products: NumPy; %s cannot be loaded: %s", path, error)
        return None
    finally:
        if chosen:
            del os.environ[variable]
    name = blas.scipy_openblas_get_corename64_
    name.restype = ctypes.c_char_p
    log.info("matrix products: OpenBLAS with kernels for %s (asked for %s)", name().decode(), kernels)
    blas.scipy_openblas_set_num_threads64_(1)
    return Blas(_function(blas.scipy_cblas_sgemm64_, 0), _function(blas.scipy_cblas_sgemm_batch_strided64_, 1))


def _function(function: Any, strides: int) -> Callable[..., None]:
    """A product with the types of its arguments; each matrix has an address, a pitch and so many strides."""
    size, number = ctypes.c_int64, ctypes.c_float
    matrix = (ctypes.c_void_p, size, *[size] * strides)
    function.argtypes = [*[ctypes.c_int] * 3, *[size] * 3, number, *matrix, *matrix, number, *matrix, *[size] * strides]
    function.restype = None
    return function  # type: ignore[no-any-return]


def kernels_for(flags: frozenset[str]) -> str | None:
    """OpenBLAS's name for the widest kernels that a processor with these flags has; None leaves it to the library."""
    for name, needed in KERNELS.items():
        if needed <= flags:
            return name
    return None


KERNELS = {
    "SkylakeX": frozenset(("avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd", "avx2", "fma")),
    "Haswell": frozenset(("avx2", "fma")),
}
"""What each family of kernels needs, widest first."""


def processor_flags() -> frozenset[str]:
    """The features of this x86 processor as Linux names them; none where it does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), frozenset())
