"""Targets: from the graph language to PEFs, and what packages can add."""
