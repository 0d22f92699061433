"""The records of the PEF."""
