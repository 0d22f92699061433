"""What to write instead of operators that the device does not have."""

from __future__ import annotations

SAME_SIZE = "keep every element and choose with a mask: torch.where(condition, a, b), or multiply by the condition"
DEFAULT = "express it with supported operators (docs/operators.md lists them), or compute it on the host"

WORKAROUNDS: dict[str, str] = {
    "nonzero": SAME_SIZE,
    "masked_select": SAME_SIZE,
    "index": SAME_SIZE,
    "unique": "find unique elements on the host, before or after the run",
    "_unique2": "find unique elements on the host, before or after the run",
    "unique_consecutive": "find unique elements on the host, before or after the run",
    "bincount": "compare with torch.arange and sum: (x[:, None] == torch.arange(n)).sum(0)",
    "repeat_interleave": "give the number of repeats as a Python number",
    "copy_": "keep running statistics outside the operator (instance norm: track_running_stats=False or eval mode)",
    "randint": "make random numbers on the host and pass them as an input",
    "randperm": "make random numbers on the host and pass them as an input",
    "multinomial": "sample on the host, after the run",
    "item": "leave it a tensor: tensors without dimensions take part in arithmetic",
    "_local_scalar_dense": "leave it a tensor: tensors without dimensions take part in arithmetic",
    "_embedding_bag": "leave out scale_grad_by_freq: PyTorch divides gradients by the counts of other rows",
    "linalg_solve_triangular": "solve on the host, before or after the run; a normal distribution of independent parts "
    "needs no solving as Independent(Normal(mean, deviation), 1)",
    "_linalg_solve_ex": "solve on the host, before or after the run",
    "linalg_lu_solve": "solve on the host, before or after the run",
    "_linalg_slogdet": "factorise on the host, before or after the run",
    "linalg_matrix_exp": "sum its series, x + x @ x / 2 + ..., as far as it is needed; or compute it on the host",
    "linalg_inv_ex": "solve on the host, before or after the run",
    "linalg_solve_ex": "solve on the host, before or after the run",
    "linalg_lu_factor_ex": "factorise on the host, before or after the run",
    "linalg_cholesky_ex": "factorise on the host, before or after the run",
    "linalg_qr": "factorise on the host, before or after the run",
    "linalg_eigh": "factorise on the host, before or after the run",
    "_linalg_svd": "factorise on the host, before or after the run",
    "_linalg_eigh": "factorise on the host, before or after the run",
    "_linalg_det": "factorise on the host, before or after the run",
    "grid_sampler_3d": "sample slice by slice with the two-dimensional grid_sample",
    "mode": "count by comparing every two elements, then argmax",
    "multilabel_margin_loss_backward": "write the loss with gather and clamp",
}
"""By the operator's name without namespace, with or without trailing underscore."""


def workaround(name: str, default: str = DEFAULT) -> str:
    """What to try instead of the ATen operator called `name`, such as `aten.topk`."""
    short = name.rpartition(".")[2]
    return WORKAROUNDS.get(short, WORKAROUNDS.get(short.rstrip("_"), default))
