"""Models that are ready for the RDU: configurations, data, training, checkpoints, generation, and runners."""

from snc_house import require_own_packages

require_own_packages()
