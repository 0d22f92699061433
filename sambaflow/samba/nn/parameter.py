"""SambaParameter: a trainable SambaTensor that is also a torch parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sambaflow.samba.sambatensor import Materializer, SambaTensor, _shared


class SambaParameter(SambaTensor, nn.Parameter):  # type: ignore[misc]
    """An `nn.Parameter` with the members of a SambaTensor.

    Without content it has `shape` and `dtype`; `materializer`, called with the parameter, returns its content.
    """

    @staticmethod
    def __new__(
        cls,
        torch_tensor: Tensor | None = None,
        requires_grad: bool = True,
        shape: Sequence[int] | None = None,
        dtype: torch.dtype | None = None,
        materializer: Materializer | None = None,
        name: str | None = None,
        **named: Any,
    ) -> SambaParameter:
        empty = torch.empty(tuple(shape or (0,)), dtype=dtype, device="meta")
        content = empty if torch_tensor is None else torch_tensor.detach()
        parameter: SambaParameter = torch.Tensor._make_subclass(cls, _shared(content, Tensor), requires_grad)
        parameter.materializer = materializer
        parameter.sn_name = name
        return parameter

    def materialize(self) -> SambaParameter:
        """Fill an empty parameter from its materializer."""
        if not self.has_data and self.materializer is not None:
            self.data = self.materializer(self).to(self.dtype)
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled as a plain parameter, so that plain `torch.load` reads it anywhere."""
        return nn.Parameter(self.torch_tensor(), self.requires_grad).__reduce_ex__(protocol)
