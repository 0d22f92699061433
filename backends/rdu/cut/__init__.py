"""Phases to sections."""
