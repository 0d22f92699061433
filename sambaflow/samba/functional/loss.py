"""Loss functions."""

from __future__ import annotations

from torch.nn import functional as F

from sambaflow.samba._tensor.mirror import mirror

binary_cross_entropy = mirror(F.binary_cross_entropy)
binary_cross_entropy_with_logits = mirror(F.binary_cross_entropy_with_logits)
cross_entropy = mirror(F.cross_entropy)
l1_loss = mirror(F.l1_loss)
mse_loss = mirror(F.mse_loss)
nll_loss = mirror(F.nll_loss)
