"""What the host's processor can do."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path


def host_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def processor_flags() -> frozenset[str]:
    """The features of this x86 processor as Linux names them; none where it does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), frozenset())


def multiplies_and_adds() -> bool:
    """Whether it has an instruction that multiplies vectors and adds, rounding once."""
    return "fma" in processor_flags() or platform.machine() in ("aarch64", "arm64")
