"""Shapes, slices and indices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sambaflow.samba._tensor.mirror import mirror

cat = mirror(torch.cat)
chunk = mirror(torch.chunk)
embedding = mirror(F.embedding)
flatten = mirror(torch.flatten)
gather = mirror(torch.gather)
index_select = mirror(torch.index_select)
interpolate = mirror(F.interpolate)
masked_fill = mirror(torch.masked_fill)
narrow = mirror(torch.narrow)
one_hot = mirror(F.one_hot)
pad = mirror(F.pad)
permute = mirror(torch.permute)
reshape = mirror(torch.reshape)
split = mirror(torch.split)
squeeze = mirror(torch.squeeze)
stack = mirror(torch.stack)
transpose = mirror(torch.transpose)
tril = mirror(torch.tril)
triu = mirror(torch.triu)
unsqueeze = mirror(torch.unsqueeze)
expand = mirror(torch.Tensor.expand)
repeat = mirror(torch.Tensor.repeat)
contiguous = mirror(torch.Tensor.contiguous)
scatter = mirror(torch.scatter)
view = mirror(torch.Tensor.view)


def triu_fill(x: Tensor, value: float) -> Any:
    """`x` with everything above the diagonal of its last two axes replaced by `value`: a causal mask."""
    above = torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
    return _masked_fill(x, above, value)


_masked_fill = mirror(torch.masked_fill)


def groupby(
    t: Tensor,
    num_bins: int = 32,
    capacity: int = 1,
    samples_to_reset: int = 1,
    with_hist_buffer: bool = False,
    no_overflow_bin: bool = False,
) -> tuple[Tensor, Tensor]:
    """Routes tokens to experts: for bin numbers `t` [n], each token's position in its bin and whether it has room.

    Positions count from zero in the order of tokens; a token has room while its position is below `capacity`.
    """
    members = torch.nn.functional.one_hot(t.long(), num_bins)
    position = (members.cumsum(0) * members).sum(-1) - 1
    return position, position < capacity
