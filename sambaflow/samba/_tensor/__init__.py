"""Tensors and functions as SambaFlow has them: makers, casts, mixed precisions."""
