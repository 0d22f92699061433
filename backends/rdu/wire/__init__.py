"""Units, ports of memory, and the nets between them."""
