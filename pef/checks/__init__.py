"""The rules a legal PEF obeys, one file per concern, one function per rule: its docstring is the rule.

Every rule yields a Problem for each violation. `structure` comes first; the others rely on what it found sound.
"""
