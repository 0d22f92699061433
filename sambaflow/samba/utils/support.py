"""Small helpers of programs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sambaflow.logging import samba_logger
from sambaflow.samba.sntype import SNType as SNType


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
