"""Element types and tensor types."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ir.errors import GraphError
from ir.hashed import hashed_once


class DType(Enum):
    """Element type on the RDU. 64-bit host integers are narrowed to `i32` when a program is captured."""

    F32 = "f32"
    BF16 = "bf16"
    I32 = "i32"
    I8 = "i8"
    BOOL = "bool"

    @property
    def itemsize(self) -> int:
        """Bytes of one element on the device."""
        return _ITEMSIZE[self]

    @property
    def is_float(self) -> bool:
        """Whether arithmetic rounds."""
        return self in (DType.F32, DType.BF16)

    @property
    def compute(self) -> np.dtype:
        """What a kernel sees: bf16 is held as float32 that has been rounded to bf16."""
        return _COMPUTE[self.value]

    @property
    def storage(self) -> np.dtype:
        """What device memory holds: bf16 is the upper half of a float32."""
        return np.dtype(np.uint16) if self is DType.BF16 else self.compute

    def __str__(self) -> str:
        return self.value


_ITEMSIZE = {DType.F32: 4, DType.BF16: 2, DType.I32: 4, DType.I8: 1, DType.BOOL: 1}

_COMPUTE: dict[str, np.dtype] = {
    "f32": np.dtype(np.float32),
    "bf16": np.dtype(np.float32),
    "i32": np.dtype(np.int32),
    "i8": np.dtype(np.int8),
    "bool": np.dtype(np.bool_),
}


@hashed_once
@dataclass(frozen=True)
class TensorType:
    """A dense tensor: element type and static shape."""

    dtype: DType
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @functools.cached_property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @functools.cached_property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return self.numel * self.dtype.itemsize

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        """The same element type in another shape."""
        return TensorType(self.dtype, shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same shape of another element type."""
        return TensorType(dtype, self.shape)

    def sliced(self, axis: int, parts: int) -> TensorType:
        """The type of one of `parts` equal slices along `axis`; the whole type where `axis` is negative."""
        if axis < 0:
            return self
        return self.with_shape((*self.shape[:axis], self.shape[axis] // parts, *self.shape[axis + 1 :]))

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    @staticmethod
    def parse(text: str) -> TensorType:
        """The type that prints as `text`, such as `f32[64,10]` or `i32[]`."""
        match = re.fullmatch(r"(\w+)\[((?:\d+(?:,\d+)*)?)\]", text)
        if match is None or match[1] not in DType._value2member_map_:
            raise GraphError(f"{text!r} is not a tensor type; write it like f32[64,10]")
        shape = tuple(int(extent) for extent in match[2].split(",")) if match[2] else ()
        return TensorType(DType(match[1]), shape)
