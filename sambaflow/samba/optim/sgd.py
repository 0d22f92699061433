"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import torch

from sambaflow.samba.optim.optimizer import SambaOptimizer


class SGD(SambaOptimizer, torch.optim.SGD):  # type: ignore[misc]
    """torch.optim.SGD on the device. Learning rate, momentum and weight decay are arguments of a run: `lr`,
    `momentum` and `weight_decay` in `hyperparam_dict`; what is given here is where they start."""

    def __init__(
        self,
        params: Any,
        lr: float = 0.0,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        argin_region_name: str = "",
        **options: Any,
    ) -> None:
        torch.optim.SGD.__init__(
            self,
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )
        self.argin_region_name = argin_region_name
        self.options = options
