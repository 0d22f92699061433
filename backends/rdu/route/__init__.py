"""A tree of links for every net."""
