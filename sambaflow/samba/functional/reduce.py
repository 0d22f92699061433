"""Reductions."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sambaflow.samba._tensor.mirror import mirror

amax = mirror(torch.amax)
amin = mirror(torch.amin)
argmax = mirror(torch.argmax)
argmin = mirror(torch.argmin)
cumsum = mirror(torch.cumsum)
log_softmax = mirror(F.log_softmax)
max = mirror(torch.max)
mean = mirror(torch.mean)
min = mirror(torch.min)
prod = mirror(torch.prod)
softmax = mirror(F.softmax)
std = mirror(torch.std)
sum = mirror(torch.sum)
topk = mirror(torch.topk)
var = mirror(torch.var)
