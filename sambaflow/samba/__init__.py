"""samba: convert a torch model, compile it to a PEF, and run it on the simulated RDU."""

from sambaflow.samba._capture.convert import from_torch_, from_torch_model_
from sambaflow.samba._program.current import make_current
from sambaflow.samba._program.misc import is_internal, patched_torch
from sambaflow.samba._replicas.distributed import install
from sambaflow.samba._tensor.creation import (
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
from sambaflow.samba.functional import FUNCTIONS
from sambaflow.samba.nn.parameter import SambaParameter
from sambaflow.samba.sambatensor import SambaTensor, from_named_dict, from_torch_tensor, to_torch
from sambaflow.samba.session import SambaSession

from_torch = from_torch_tensor
to_torch_tensor = to_torch
globals().update(FUNCTIONS)

install()
session = SambaSession()
"""The one session of a program; it takes the place of the module of the same name."""
make_current(session)

from sambaflow.samba import (  # noqa: E402
    argconf,
    directives,
    env,
    functional,
    graph,
    lazy_param,
    materialize,
    nn,
    optim,
    profiler,
    sambaloader,
    sambatensor,
    sn_private,
    utils,
)

__all__ = [
    "FUNCTIONS", "SambaParameter", "SambaSession", "SambaTensor", "arange", "argconf", "directives", "empty", "env",
    "from_named_dict", "from_torch", "from_torch_", "from_torch_model_", "from_torch_tensor", "full", "functional",
    "graph", "is_internal", "lazy_param", "materialize", "nn", "normal", "ones", "ones_like", "optim", "patched_torch",
    "profiler", "rand", "rand_like", "randint", "randn", "randn_like", "sambaloader", "sambatensor", "session",
    "sn_private", "to_torch", "to_torch_tensor", "utils", "zeros", "zeros_like",
]  # fmt: skip
