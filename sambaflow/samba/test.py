"""Helpers of programs' tests."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sambaflow.samba._verify.layers import compare_step
from sambaflow.samba.sambatensor import to_torch


def consistency_test(*options: Any, **named: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a function that returns [(name, tensor), ...]: it runs twice, and must give the same bits."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def twice(*arguments: Any, **keywords: Any) -> Any:
            first = [(name, to_torch(tensor).clone()) for name, tensor in function(*arguments, **keywords)]
            again = function(*arguments, **keywords)
            for (name, before), (_, after) in zip(first, again, strict=True):
                if not torch.equal(before, to_torch(after)):
                    raise AssertionError(f"{name} differs between two runs of {function.__name__}")
            return again

        return twice

    return decorate


class TestWithGold:
    """Compares one training step's outputs and gradients on the device with the CPU's."""

    __test__ = False

    def __init__(
        self, args: argparse.Namespace, name: str, model: nn.Module, inputs: Any = None, optim: Any = None
    ) -> None:
        self.args = args
        self.name = name
        self.model = model
        self.inputs = inputs
        self.optim = optim

    def test(self, threshold: float = 3e-3) -> None:
        """Raises AssertionError where they differ."""
        compare_step(self.args, self.model, self.inputs, self.optim, threshold)
