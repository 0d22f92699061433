"""Small helpers of programs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sambaflow.samba._tensor.sntype import SNType as SNType
from sambaflow.samba.nn.weight_norm import weight_norm_ as weight_norm_


def set_seed(seed: int) -> None:
    """Seed torch, NumPy and Python."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def get_file_dir(file: str) -> str:
    """The folder of a file: `get_file_dir(__file__)`."""
    return str(Path(file).resolve().parent)


def create_mac_resource_report(*arguments: Any, **named: Any) -> None:
    """Accepted: `mac_gen/mac_resources.json` in the folder of the PEF is that report."""
