"""PyTorch's element types in the graph language, and tensors as arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from ir.op import Array
from ir.types import DType, TensorType

DTYPES: dict[torch.dtype, DType] = {
    torch.float32: DType.F32,
    torch.bfloat16: DType.BF16,
    torch.int64: DType.I32,
    torch.int32: DType.I32,
    torch.int16: DType.I32,
    torch.uint8: DType.I32,
    torch.int8: DType.I8,
    torch.bool: DType.BOOL,
}
"""Every element type a model may use. Integers wider than 8 bits are 32 bits wide on the device."""

COMPLEX = torch.complex64
"""What is carried as pairs of float32, a real and an imaginary part, in a last axis of two."""

REMEDIES: dict[torch.dtype, str] = {
    torch.float64: "use float32: `x.float()`, `model.float()`, or dtype=torch.float32 where the tensor is made",
    torch.float16: "use bfloat16, which has the range of float32: `x.bfloat16()`",
    torch.complex128: "use complex64: `x.to(torch.complex64)`, or make it of float32 parts",
    torch.complex32: "use complex64: `x.to(torch.complex64)`",
}
"""What to write instead of an element type that the device does not have."""

DENSE = "make it dense: `x.to_dense()`"
"""What to write of a sparse tensor, for which the device has no place."""


def remedy(dtype: torch.dtype) -> str:
    """What to write instead of `dtype`, which the device does not have."""
    known = ", ".join(str(supported).removeprefix("torch.") for supported in DTYPES)
    return REMEDIES.get(dtype, f"use one of {known}")


def is_supported(dtype: torch.dtype) -> bool:
    """Whether a model may use tensors of this element type."""
    return dtype in DTYPES or dtype is COMPLEX


def dtype_of(tensor: Tensor) -> DType:
    """The element type on the device; of a complex tensor, that of its parts."""
    return DType.F32 if tensor.dtype is COMPLEX else DTYPES[tensor.dtype]


def has_content(tensor: Tensor) -> bool:
    """Whether the tensor has elements, not a shape and an element type alone."""
    return not tensor.is_meta and not isinstance(tensor, FakeTensor)


def tensor_type(tensor: Tensor) -> TensorType:
    """The type of a tensor whose element type is supported."""
    pair = (2,) if tensor.dtype is COMPLEX else ()
    return TensorType(dtype_of(tensor), (*tensor.shape, *pair))


def to_array(tensor: Tensor) -> Array:
    """A tensor's content in its type's compute dtype. Raises OverflowError where an integer does not fit 32 bits."""
    tensor = tensor.detach().cpu()
    if tensor.dtype is COMPLEX:
        tensor = torch.view_as_real(tensor.resolve_conj())
    dtype = DTYPES[tensor.dtype]
    if dtype is DType.BF16:
        tensor = tensor.float()
    array: Array = tensor.numpy(force=True)
    if array.dtype == np.int64 and array.size and (array.max() > 2**31 - 1 or array.min() < -(2**31)):
        raise OverflowError(f"holds {max(array.max(), -array.min())}, which does not fit 32 bits")
    return np.array(array, dtype.compute)
