"""Stages to phases: loop nests, and what each costs."""
