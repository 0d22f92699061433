"""Structured arguments."""

from sambaflow.samba.argconf import args

__all__ = ["args"]
