"""The PEFs that lie in a folder, and what became of them. `snc list` shows them."""
