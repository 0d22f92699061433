"""Where in the user's source something comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A line of the user's source and the path of the module it was reached through.

    Code that the toolchain adds itself (an optimizer's update, gradient clipping) names that in angle brackets
    instead of a file, with line 0: `<adamw> (fc1.weight)`. `region` is the part of forward that the program marks
    as one (to be fused at o1); numbered where a name comes up again.
    """

    file: str
    line: int
    module: str = ""
    region: str = ""

    @property
    def place(self) -> str:
        """File and line, without the module; what has no line is its name alone."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        return self.place + (f" ({self.module})" if self.module else "")
