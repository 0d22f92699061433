"""A site for every unit."""
