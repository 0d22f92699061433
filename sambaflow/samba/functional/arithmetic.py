"""Elementwise arithmetic."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sambaflow.samba._tensor.mirror import mirror

abs = mirror(torch.abs)
add = mirror(torch.add)
ceil = mirror(torch.ceil)
clamp = mirror(torch.clamp)
cos = mirror(torch.cos)
div = mirror(torch.div)
erf = mirror(torch.erf)
exp = mirror(torch.exp)
floor = mirror(torch.floor)
gelu = mirror(F.gelu)
leaky_relu = mirror(F.leaky_relu)
log = mirror(torch.log)
log1p = mirror(torch.log1p)
maximum = mirror(torch.maximum)
minimum = mirror(torch.minimum)
mul = mirror(torch.mul)
neg = mirror(torch.neg)
pow = mirror(torch.pow)
reciprocal = mirror(torch.reciprocal)
relu = mirror(F.relu)
remainder = mirror(torch.remainder)
round = mirror(torch.round)
rsqrt = mirror(torch.rsqrt)
sigmoid = mirror(torch.sigmoid)
sign = mirror(torch.sign)
silu = mirror(F.silu)
sin = mirror(torch.sin)
sqrt = mirror(torch.sqrt)
square = mirror(torch.square)
sub = mirror(torch.sub)
subtract = mirror(torch.subtract)
tanh = mirror(torch.tanh)
true_divide = mirror(torch.true_divide)
