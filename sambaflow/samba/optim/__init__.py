"""Optimizers that run on the device: torch's, whose learning rate and the like are arguments of a run."""

from sambaflow.samba.optim.adamw import AdamW, SparseAdamW
from sambaflow.samba.optim.optimizer import SambaOptimizer
from sambaflow.samba.optim.sgd import SGD

__all__ = ["SGD", "AdamW", "SambaOptimizer", "SparseAdamW"]
