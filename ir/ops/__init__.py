"""Every operator, one file per family; importing this package registers them all."""

from ir.ops import elementwise, matmul, view

__all__ = ["elementwise", "matmul", "view"]
