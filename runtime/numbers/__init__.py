"""What the simulated machine computes."""
