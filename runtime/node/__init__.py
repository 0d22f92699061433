"""A simulated node: its hardware as data, the daemon that keeps its state, and the tools of its administrators."""
