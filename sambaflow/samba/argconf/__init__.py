"""Structured arguments."""
