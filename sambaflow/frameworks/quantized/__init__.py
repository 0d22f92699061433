"""Where programs with quantised weights import from."""
