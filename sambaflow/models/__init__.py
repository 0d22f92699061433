"""Models that programs import."""
