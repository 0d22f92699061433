"""Comparing what the device computed with the host."""
