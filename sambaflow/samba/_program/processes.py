"""Which of several processes this is."""

from __future__ import annotations

import torch.distributed as dist


def get_rank() -> int:
    """This process's number; 0 alone."""
    return int(dist.get_rank()) if dist.is_available() and dist.is_initialized() else 0


def get_world_size() -> int:
    """How many processes there are; 1 alone."""
    return int(dist.get_world_size()) if dist.is_available() and dist.is_initialized() else 1


def is_main_process() -> bool:
    """Whether this process reports for all."""
    return get_rank() == 0


def fix_rdu_affinity() -> None:
    """Accepted: every process has a simulated RDU of its own."""
