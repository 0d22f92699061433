"""Element types as the device calls them."""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch


class SNType(Enum):
    """Element types of the device."""

    BOOL = "bool"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    BF16 = "bfloat16"
    FP32 = "float32"

    @staticmethod
    def to_torch_reference_type(kind: Any) -> torch.dtype:
        """The torch element type that holds a device type's values; torch types as they are."""
        if isinstance(kind, torch.dtype):
            return kind
        return {SNType.UINT16: torch.int32, SNType.UINT32: torch.int64}.get(kind) or getattr(torch, kind.value)
