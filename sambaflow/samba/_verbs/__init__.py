"""Tracing for a PEF and measuring runs: the work of the verbs."""
