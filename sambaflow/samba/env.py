"""Switches that programs query or set. On the simulated device rounding is to nearest: stochastic rounding is off."""

from __future__ import annotations

import os


def use_mock_samba_runtime() -> bool:
    """Whether runs are mocked, so that their numbers mean nothing: never, the simulated device computes them."""
    return False


def enable_addbias_grad_accum_stoc() -> None:
    """Accepted: gradients are accumulated in float32."""
    _record("addbias_grad_accum_stoc", "1")


def enable_conv_grad_accum_stoc() -> None:
    """Accepted: gradients are accumulated in float32."""
    _record("conv_grad_accum_stoc", "1")


def disable_sgd_stoc() -> None:
    """Accepted: updates are rounded to nearest."""
    _record("sgd_stoc", "0")


def _record(name: str, value: str) -> None:
    """Keep what was asked for in the environment, from which child processes and the PEF's metadata see it."""
    os.environ[f"SAMBA_{name.upper()}"] = value
