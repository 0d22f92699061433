"""Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any

import torch

from sambaflow.samba.optim.optimizer import SambaOptimizer


class AdamW(SambaOptimizer, torch.optim.AdamW):  # type: ignore[misc]
    """torch.optim.AdamW on the device, with SambaFlow's defaults. `lr` and `weight_decay` are arguments of a run.

    max_grad_norm: clip the gradients to this global norm, in a GRADNORM section. fp32_params is recorded: updates
    are computed in the precision of the parameters. argin_region_name: prefix of the hyper-parameters' names.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.997),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        max_grad_norm: float | None = None,
        fp32_params: bool = False,
        argin_region_name: str = "",
        **options: Any,
    ) -> None:
        torch.optim.AdamW.__init__(
            self, params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad
        )
        self.max_grad_norm = max_grad_norm
        self.fp32_params = fp32_params
        self.argin_region_name = argin_region_name
        self.options = options


class SparseAdamW(AdamW):
    """AdamW for embeddings. The device updates whole tables, so that rows without gradients follow AdamW's rule too."""
