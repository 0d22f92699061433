"""What changed between two PEFs, and what it did to time."""
