"""The graph language: types, graphs, operators with their kernels, and the reference interpreter."""
