"""Where programs of the vendor's frameworks import from."""
