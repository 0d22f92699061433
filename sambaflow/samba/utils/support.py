"""Small helpers of programs."""

from __future__ import annotations

import random
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sambaflow.logging import samba_logger


def set_seed(seed: int) -> None:
    """Seed torch, NumPy and Python."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def get_file_dir(file: str) -> str:
    """The folder of a file: `get_file_dir(__file__)`."""
    return str(Path(file).resolve().parent)


def weight_norm_(module: nn.Module) -> nn.Module:
    """Accepted with a warning: returns the module, whose weights are used as they are.

    `torch.nn.utils.parametrizations.weight_norm` normalises them.
    """
    hint = "torch.nn.utils.parametrizations.weight_norm normalises weights, on the device too"
    samba_logger.warning("weight_norm_ is not applied to %s: %s", type(module).__name__, hint)
    return module


def create_mac_resource_report(*arguments: Any, **named: Any) -> None:
    """Accepted: `mac_gen/mac_resources.json` in the folder of the PEF is that report."""


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
