"""The spatial compiler: a graph becomes sections, phases, stages, units on the grid, and nets between them."""
