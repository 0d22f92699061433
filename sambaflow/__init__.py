"""The SambaFlow SDK: module names and signatures of the original, over this project's compiler and simulated RDU."""

from snc_house import require_own_packages

require_own_packages()

from sambaflow.errors import install  # noqa: E402

install()

__version__ = "1.23.3"
"""The SDK release whose interface this package follows."""


def is_demo() -> bool:
    """Whether this is a demonstration build of the compiler: it never is."""
    return False
