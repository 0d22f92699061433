"""Where a configuration sits: one character per site of the grid.

A PCU shows the letter of its stage, a PMU the same letter in lower case where the stage writes a buffer in it, and
`+` where its buffers are loaded from memory. `.` is a free site, `x` a faulty one. Letters repeat after 26 stages.
"""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING

from pef import pef_pb2 as pb
from pef.machine import Machine

if TYPE_CHECKING:
    from rich.text import Text

FREE, FAULTY, LOADED = ".", "x", "+"
_COLOURS = ("red", "green", "yellow", "blue", "magenta", "cyan", "bright_red", "bright_green", "bright_blue")


def letter(stage: int) -> str:
    """The letter of a stage, counted over all phases of its configuration."""
    return ascii_uppercase[stage % len(ascii_uppercase)]


def style(stage: int) -> str:
    """The colour of a stage."""
    return _COLOURS[stage % len(_COLOURS)]


def grid(configuration: pb.Configuration, machine: Machine) -> list[str]:
    """The rows of the picture, from the top of the chip."""
    return ["".join(mark for mark, _ in row) for row in _marks(configuration, machine)]


def coloured_grid(configuration: pb.Configuration, machine: Machine, width: int) -> Text:
    """The picture for a terminal of `width` characters: with blanks between sites where there is room, and without the
    rows at the end where nothing is."""
    from rich.text import Text

    picture, gap = Text(no_wrap=True), " " if 2 * machine.columns <= width else ""
    rows = _marks(configuration, machine)
    used = max((number for number, row in enumerate(rows) if {mark for mark, _ in row} - {FREE, FAULTY}), default=0) + 1
    for row in rows[:used]:
        for mark, colour in row:
            picture.append(f"{mark}{gap}", colour)
        picture.append("\n")
    if used < len(rows):
        picture.append(f"({len(rows) - used} more rows of sites are free)\n", "dim")
    return picture


def _marks(configuration: pb.Configuration, machine: Machine) -> list[list[tuple[str, str]]]:
    """Every site's character and colour, row by row."""
    marks = [(FREE, "dim")] * machine.sites
    for site in machine.faulty_sites:
        marks[site] = (FAULTY, "dim")
    for buffer in configuration.buffers:
        for unit in buffer.units:
            marks[configuration.units[unit].site] = (LOADED, "white")
    for number, stage in enumerate(stage for phase in configuration.phases for stage in phase.stages):
        for port in stage.outputs:
            for unit in configuration.buffers[port.buffer].units:
                marks[configuration.units[unit].site] = (letter(number).lower(), style(number))
        for unit in stage.units:
            marks[configuration.units[unit].site] = (letter(number), f"bold {style(number)}")
    return [marks[start : start + machine.columns] for start in range(0, machine.sites, machine.columns)]
