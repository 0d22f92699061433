"""snc from Python: compile a PyTorch module for the RDU, run it on the simulated one, and look into it.

    import snc

    compiled = snc.compile(module, {"x": x})
    compiled.run(x=x)
    compiled.profile()

docs/api.md has the whole of it.
"""

from __future__ import annotations

import snc_house

snc_house.require_own_packages()

from ir.errors import SncError  # noqa: E402  (only after it is certain whose `ir` that is)
from snc.compiled import Compiled, Profile, Section, load  # noqa: E402
from snc.compiling import compile  # noqa: E402

__all__ = ["Compiled", "Profile", "Section", "SncError", "compile", "load"]
