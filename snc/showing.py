"""How objects show themselves: as text in a terminal, as a table in a notebook."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDTH = 110
"""Columns in a notebook."""


class Shown:
    """Something that `print_to` prints; from that follow repr, rich and HTML forms."""

    def print_to(self, console: Console) -> None:
        """Print it."""
        raise NotImplementedError

    def __rich__(self) -> Text:
        from rich.console import Console
        from rich.text import Text

        file = io.StringIO()
        own = Console()
        console = Console(file=file, width=own.width, force_terminal=own.is_terminal, color_system="truecolor")
        self.print_to(console)
        return Text.from_ansi(file.getvalue().rstrip("\n"))

    def _repr_html_(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=WIDTH, record=True)
        self.print_to(console)
        style = "font-family:Menlo,Consolas,monospace;line-height:normal;white-space:pre;overflow-x:auto"
        return console.export_html(inline_styles=True, code_format=f'<pre style="{style}">{{code}}</pre>')

    def __str__(self) -> str:
        from rich.console import Console

        file = io.StringIO()
        self.print_to(Console(file=file, width=WIDTH))
        return file.getvalue().rstrip("\n")
