"""One model as a service: what it can do in a file, its checks, its protocols, its jobs, and its image."""

from snc_house import require_own_packages

require_own_packages()
