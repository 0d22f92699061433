"""Nodes to stages, and the groups that regions and rules fuse."""
