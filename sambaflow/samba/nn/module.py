"""The Module of older programs, which runs itself on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sambaflow.samba._program import current


class Module(torch.nn.Module):  # type: ignore[misc]
    """`torch.nn.Module` with a `run`."""

    def run(
        self,
        inputs: Any,
        section_types: Sequence[str] | None = None,
        grad_of_outputs: Sequence[Any] | None = None,
        **options: Any,
    ) -> tuple[Any, ...]:
        """Run sections of the loaded PEF, as `samba.session.run` does."""
        return current.session().run(inputs, section_types=section_types, grad_of_outputs=grad_of_outputs, **options)
