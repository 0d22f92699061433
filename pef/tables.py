"""Tables for terminals of any width: names first, nothing cut.

Columns stand in the order of their importance. Those that a console has no room for are left out, and named below the
table; text wraps within its column. `rich` takes long to import: programs that print no table do without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

Row = TypeVar("Row")

GAP = 2
"""Blanks between two columns: one that the box draws, and padding."""
NARROWEST_TEXT = 24
"""Columns of text get at least this, or all they need where that is less."""


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """A heading, and what it shows of a row: numbers to the right and on one line, text to the left."""

    heading: str
    show: Callable[[Row], str]
    is_text: bool = False


def text(heading: str, show: Callable[[Row], str]) -> Column[Row]:
    """A column of text."""
    return Column(heading, show, is_text=True)


def number(heading: str, show: Callable[[Row], str]) -> Column[Row]:
    """A column of numbers."""
    return Column(heading, show)


def print_table(console: Console, title: str, columns: Sequence[Column[Row]], rows: Sequence[Row]) -> None:
    """Print the columns that fit, and name those that do not. The first column is always there."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    cells = [[column.show(row) for row in rows] for column in columns]
    widths = _widths(columns, cells, console.width)
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for column, width in zip(columns, widths):
        table.add_column(
            column.heading, "", justify="left" if column.is_text else "right", overflow="fold", width=width
        )
    for row in zip(*cells[: len(widths)]):
        table.add_row(*map(escape, row))
    console.print(f"\n[bold]{escape(title)}[/]", highlight=False)
    console.print(table)
    if left_out := [column.heading for column in columns[len(widths) :]]:
        print_note(console, f"no room for: {', '.join(left_out)}")


def print_note(console: Console, note: str) -> None:
    """Print a line below a table."""
    console.print(note, style="dim", highlight=False, markup=False)


def largest(rows: Sequence[Row], size: Callable[[Row], float], count: int) -> list[Row]:
    """The `count` largest of the rows, in the order given; all of them where `count` is 0."""
    order = sorted(range(len(rows)), key=lambda number: -size(rows[number]))
    return [rows[number] for number in sorted(order[:count] if count else order)]


def shown_of(shown: Sequence[Row], rows: Sequence[Row], superlative: str | None = None) -> str:
    """What a title adds where not all rows are shown: `: the 10 slowest of 35 (more: --top N)`; without a superlative
    they are the first."""
    if len(shown) == len(rows):
        return ""
    which = f"first {len(shown)}" if superlative is None else f"{len(shown)} {superlative}"
    return f": the {which} of {len(rows)} (more: --top N)"


def mib(count: float) -> str:
    """Bytes in MiB: to four digits, and at most three behind the point."""
    value = count / 2**20
    return f"{value:,.{max(0, 4 - len(str(int(value))))}f}"


def _widths(columns: Sequence[Column[Row]], cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """The width of each column that fits, from the left; text gets what is left over, the first column first."""
    wanted = [_wanted(column.heading, shown) for column, shown in zip(columns, cells)]
    least = [min(width, NARROWEST_TEXT) if column.is_text else width for column, width in zip(columns, wanted)]
    count, used = 1, min(least[0], room)
    while count < len(columns) and used + GAP + least[count] <= room:
        used += GAP + least[count]
        count += 1
    widths = [min(least[0], room), *least[1:count]]
    for position in range(count):
        more = min(wanted[position] - widths[position], room - used)
        widths[position] += more
        used += more
    return widths


def _wanted(heading: str, shown: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max(cell_len(line) for cell in (heading, *shown) for line in cell.splitlines() or [""])
