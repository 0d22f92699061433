"""Data sets that tutorials use."""
