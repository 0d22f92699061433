"""What the modules at the bottom ask of those above them, so that imports go one way.

A tensor writes to its symbol and reads it; the device's symbol is what does it. A converted model, a trace and an
optimizer speak to the program's session; the session is made of all three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class OnDevice(Protocol):
    """A symbol in device memory, as the tensor that stands for it uses it."""

    @property
    def memory(self) -> Tensor:
        """The symbol's memory: not a copy."""

    @property
    def takes_gradient(self) -> bool:
        """Whether there is a gradient on the device."""

    def content(self) -> Tensor:
        """A copy of the symbol in the host's element type."""

    def write(self, tensor: Tensor) -> None:
        """Write the symbol. Raises BindError where the shape or the kind of numbers does not match."""

    def gradient(self) -> Tensor | None:
        """A copy of the gradient, None where no section has made one."""

    def gradient_memory(self) -> Tensor | None:
        """The gradient's memory, None where there is none."""

    def set_gradient(self, gradient: Any) -> None:
        """Set what back-propagation starts from. Raises UsageError where the PEF does not take it."""


class CurrentSession(Protocol):
    """The program's session, as the modules that it is built on use it."""

    arguments: dict[str, Any]
    buffer_dict: dict[str, Tensor]

    def begin_trace(self) -> None:
        """A trace begins: auxiliary tensors replace those of earlier traces."""

    def optimizer_to_cpu(self, optimizer: torch.optim.Optimizer) -> None:
        """Copy an optimizer's state device to host."""

    def optimizer_to_rdu(self, optimizer: torch.optim.Optimizer) -> None:
        """Copy an optimizer's state host to device."""

    def run(
        self,
        input_tensors: Any = None,
        output_tensors: Any = None,
        hyperparam_dict: Mapping[str, Any] | None = None,
        section_types: Sequence[str] | None = None,
        grad_of_outputs: Sequence[Any] | None = None,
        **options: Any,
    ) -> tuple[Tensor, ...]:
        """Run sections; returns the outputs in forward's order."""
