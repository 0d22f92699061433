"""Hints to the graph compiler."""
