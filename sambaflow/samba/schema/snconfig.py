"""The schema that programs hand to SambaConfig."""


class SNConfig:
    """Names the schema; every argument is accepted."""
