"""From a PyTorch model to a PEF: the driver, the passes and the `snc` command."""

from snc_house import require_own_packages

require_own_packages()
