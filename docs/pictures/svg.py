"""Drawing: a canvas that collects SVG elements, and the colours and sizes that all pictures share."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

INK, QUIET, LINE, PAPER, PANEL = "#1b2430", "#5b6675", "#c5ccd6", "#ffffff", "#f4f6f9"
PALETTE = (
    "#0c64ba", "#e08a1e", "#2f9e77", "#c4518b", "#8c7bc1", "#e5cb4b", "#5ab7df", "#8b4236", "#697f2d", "#6b6965",
)  # fmt: skip
"""Colours that the colour-blind tell apart too, as a test of the report holds; every one also comes with a letter or
a name."""
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


def colour(number: int) -> str:
    """The colour of the thing with this number."""
    return PALETTE[number % len(PALETTE)]


def tint(colour: str, share: float = 0.25) -> str:
    """A colour mixed with white."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - (255 - part) * share):02x}" for part in parts)


@dataclass
class Canvas:
    """A drawing of `width` x `height` units, with a title and a description for people who do not see it."""

    width: float
    height: float
    title: str
    description: str
    elements: list[str] = field(default_factory=list)

    def box(
        self, x: float, y: float, w: float, h: float, fill: str = PAPER, stroke: str = LINE, radius: float = 5,
        width: float = 1, dash: str = "", tip: str = "",
    ) -> None:  # fmt: skip
        """A rectangle; `tip` is shown where the mouse rests on it."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        inside = f"<title>{escape(tip)}</title>" if tip else ""
        self.elements.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius}" fill="{fill}" '
            f'stroke="{stroke}" stroke-width="{width}"{dashes}>{inside}</rect>'
        )

    def text(
        self, x: float, y: float, content: str, size: float = 13, fill: str = INK, anchor: str = "start",
        bold: bool = False, mono: bool = False, italic: bool = False,
    ) -> None:  # fmt: skip
        """A line of text whose baseline is at y."""
        style = (' font-weight="600"' if bold else "") + (' font-style="italic"' if italic else "")
        family = f' font-family="{MONO}"' if mono else ""
        self.elements.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{style}{family}>'
            f"{escape(content)}</text>"
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str = QUIET, width: float = 1.4, arrow: bool = False,
        dash: str = "",
    ) -> None:  # fmt: skip
        """A straight line."""
        self.path(f"M{x1:.1f},{y1:.1f} L{x2:.1f},{y2:.1f}", stroke, width, arrow, dash)

    def curve(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str = QUIET, width: float = 1.4, arrow: bool = True
    ) -> None:
        """A line that leaves and arrives horizontally."""
        middle = (x1 + x2) / 2
        self.path(
            f"M{x1:.1f},{y1:.1f} C{middle:.1f},{y1:.1f} {middle:.1f},{y2:.1f} {x2:.1f},{y2:.1f}", stroke, width, arrow
        )

    def path(
        self,
        d: str,
        stroke: str = QUIET,
        width: float = 1.4,
        arrow: bool = False,
        dash: str = "",
        fill: str = "none",
        opacity: float = 1,
    ) -> None:
        """Any path."""
        head = ' marker-end="url(#arrow)"' if arrow else ""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        shown = f' opacity="{opacity}"' if opacity != 1 else ""
        self.elements.append(
            f'<path d="{d}" fill="{fill}" stroke="{stroke}" stroke-width="{width}"{head}{dashes}{shown}/>'
        )

    def heading(self, content: str, below: str = "") -> None:
        """The picture's own title, and a quieter line below it."""
        self.text(20, 30, content, 17, bold=True)
        if below:
            self.text(20, 50, below, 12.5, QUIET)

    def write(self, path: Path) -> None:
        """Write the SVG."""
        body = "\n".join(self.elements)
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img" font-family="{FONT}">\n'
            f"<title>{escape(self.title)}</title>\n<desc>{escape(self.description)}</desc>\n"
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0,0.5 L8,4 L0,7.5 Z" fill="{QUIET}"/></marker></defs>\n'
            f'<rect width="100%" height="100%" fill="{PAPER}"/>\n{body}\n</svg>\n'
        )


def shortened(text: str, length: int) -> str:
    """The text, cut to a length."""
    return text if len(text) <= length else text[: length - 1] + "…"
