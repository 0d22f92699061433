"""samba: convert a torch model, compile it to a PEF, and run it on the simulated RDU."""

from sambaflow.samba.convert import from_torch_, from_torch_model_
from sambaflow.samba.creation import (
    arange,
    empty,
    full,
    normal,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    zeros,
    zeros_like,
)
from sambaflow.samba.nn.parameter import SambaParameter
from sambaflow.samba.sambatensor import SambaTensor, from_named_dict, from_torch_tensor, to_torch
from sambaflow.samba.session import SambaSession

from_torch = from_torch_tensor
to_torch_tensor = to_torch

session = SambaSession()
"""The one session of a program; it takes the place of the module of the same name."""

from sambaflow.samba import functional, nn, optim, utils  # noqa: E402
