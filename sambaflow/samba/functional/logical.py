"""Comparisons and logic."""

from __future__ import annotations

import torch

from sambaflow.samba._tensor.mirror import mirror

bitwise_and = mirror(torch.bitwise_and)
bitwise_not = mirror(torch.bitwise_not)
bitwise_or = mirror(torch.bitwise_or)
eq = mirror(torch.eq)
ge = mirror(torch.ge)
gt = mirror(torch.gt)
le = mirror(torch.le)
logical_and = mirror(torch.logical_and)
logical_not = mirror(torch.logical_not)
logical_or = mirror(torch.logical_or)
lt = mirror(torch.lt)
ne = mirror(torch.ne)
where = mirror(torch.where)
