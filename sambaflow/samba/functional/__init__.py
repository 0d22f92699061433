"""The functional interface: samba's functions by family, and all of them here."""

from sambaflow.samba.functional import arithmetic, logical, loss, reduce, stir, tensorarithmetic, tensorops
from sambaflow.samba.functional.functional_decorator_utils import implements, torch_annotations

FAMILIES = (arithmetic, logical, loss, reduce, tensorarithmetic, tensorops)
FUNCTIONS = {
    name: value
    for family in FAMILIES
    for name, value in vars(family).items()
    if callable(value) and not name.startswith("_") and name not in ("mirror", "Tensor", "Any")
}
"""Every function by name; `samba` has them as attributes too."""
globals().update(FUNCTIONS)

__all__ = ["FAMILIES", "FUNCTIONS", "implements", "stir", "torch_annotations", *FUNCTIONS]
