"""A PEF as graphs for other tools: operators, sections, stages, and the nets between units."""
