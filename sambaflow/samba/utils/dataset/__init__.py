"""Data sets that tutorials use."""

from sambaflow.samba.utils.dataset import mnist

__all__ = ["mnist"]
