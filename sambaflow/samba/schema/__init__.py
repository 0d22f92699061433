"""Schemas of arguments."""
