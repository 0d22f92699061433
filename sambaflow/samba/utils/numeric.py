"""Numbers about precision."""

MAX_BF16_TRUNCATE_NORMAL_REL = 2.0**-7
"""The largest relative error of truncating a normal float32 number to bfloat16, which keeps 8 significant bits."""
