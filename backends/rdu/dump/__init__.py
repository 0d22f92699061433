"""Plans as text: written after any step, changed by hand, read again."""
