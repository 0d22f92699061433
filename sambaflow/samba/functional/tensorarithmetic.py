"""Products of matrices, convolutions, normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sambaflow.samba._tensor.mirror import mirror

adaptive_avg_pool2d = mirror(F.adaptive_avg_pool2d)
avg_pool2d = mirror(F.avg_pool2d)
baddbmm = mirror(torch.baddbmm)
batch_norm = mirror(F.batch_norm)
bmm = mirror(torch.bmm)
conv1d = mirror(F.conv1d)
conv2d = mirror(F.conv2d)
conv3d = mirror(F.conv3d)
conv_transpose2d = mirror(F.conv_transpose2d)
dropout = mirror(F.dropout)
einsum = mirror(torch.einsum)
layer_norm = mirror(F.layer_norm)
linear = mirror(F.linear)
matmul = mirror(torch.matmul)
max_pool2d = mirror(F.max_pool2d)
mm = mirror(torch.mm)
scaled_dot_product_attention = mirror(F.scaled_dot_product_attention)


def addmm(
    input: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
    out: Any = None,
    is_transposed: bool = False,
) -> Any:
    """beta * input + alpha * mat1 @ mat2, of any number of batch axes before the last two; with `is_transposed`, mat2
    is stored transposed: [..., out, in]."""
    second = mat2.transpose(-1, -2) if is_transposed else mat2
    if mat1.dim() == second.dim() == 2 and input.dim() <= 2:
        return _addmm(input, mat1, second, beta=beta, alpha=alpha, out=out)
    product = matmul(mat1, second, out=out)
    return _scaled(input, beta) + _scaled(product, alpha)


def _scaled(tensor: Any, factor: float) -> Any:
    return tensor if factor == 1 else tensor * factor


_addmm = mirror(torch.addmm)
