"""A timing report for people and for programs."""
