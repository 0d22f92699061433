"""torch.nn under the name old SambaFlow programs use, and SambaParameter."""

from torch.nn import *  # noqa: F403

from sambaflow.samba.nn.module import Module as Module
from sambaflow.samba.nn.parameter import SambaParameter as SambaParameter
