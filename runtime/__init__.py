"""The simulated RDU: memory, functional and timing simulators, sessions and the `snrun` command."""

from snc_house import require_own_packages

require_own_packages()
