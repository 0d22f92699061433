"""Data parallel runs: which process this is, and the group that averages gradients."""
