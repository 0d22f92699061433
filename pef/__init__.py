"""The executable format: its schema, reading and writing, the checks, and what compiler and simulator share."""
