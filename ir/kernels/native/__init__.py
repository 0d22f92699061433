"""Loops that NumPy could only express in many passes, compiled by numba at their first use and kept on disk.

They are imported when first needed, because numba takes longer to import than a small model to run. NumPy's way
to do the same is always there: without numba, or with `SNC_NATIVE=0` in the environment, it does everything.
"""

from __future__ import annotations

import importlib
import logging
import os
from types import ModuleType

import numpy as np

from ir.op import Array

log = logging.getLogger(__name__)


def load(name: str) -> ModuleType | None:
    """The module of compiled loops of this name; None where numba is missing or switched off."""
    if os.environ.get("SNC_NATIVE") == "0":
        return None
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ImportError as error:
        log.info("compiled loops for %s: none, NumPy does it: %s", name, error)
        return None


def owned(array: Array) -> Array:
    """The array, or a copy where it is read-only (a broadcast constant), which compiled loops do not take."""
    return array if array.flags.writeable and array.flags.aligned else np.array(array)
