"""Pictures of how a section is built: from lines to stages to phases, and what a phase consists of."""

from __future__ import annotations

from collections.abc import Sequence

from facts import Facts, Place, human, letter, operators
from svg import INK, LINE, PANEL, QUIET, Canvas, colour, shortened, tint

from pef.decoded import Buffer, Stream
from pef.wording import counted, loop_counts

ROW, TOP = 52, 92


def lowering(facts: Facts, source: Sequence[str]) -> Canvas:
    """Columns: lines of the model, stages, phases, section; bands say what becomes what."""
    places = facts.places
    lines = sorted({line for place in places for line in facts.lines(place)})
    height = TOP + ROW * max(len(places), len(lines)) + 30
    canvas = Canvas(1000, height, "From lines to a section", "Lines of the model, the stages made of their operators, "
                    "the phases these stream in, and the one section that holds all.")  # fmt: skip
    canvas.heading(
        "How a model becomes a section",
        "examples/res_ffn.py, forward, batch 64, on SN30: every stage comes from lines you wrote",
    )
    for x, head in ((20, "your lines"), (430, "stages"), (720, "phases"), (890, "section")):
        canvas.text(x, 80, head, 12.5, QUIET, bold=True)
    line_y = _lines(canvas, lines, source, len(places))
    stage_y = {place.number: TOP + ROW * place.number + ROW / 2 for place in places}
    for place in places:
        shade = colour(place.number)
        for line in facts.lines(place):
            canvas.path(_band(390, line_y[line], 430, stage_y[place.number], 5), "none", 0, fill=tint(shade, 0.45))
        y = stage_y[place.number]
        canvas.box(430, y - 18, 236, 36, tint(shade, 0.18), shade)
        canvas.text(442, y + 5, letter(place.number), 14, shade, bold=True)
        canvas.text(464, y + 4.5, shortened(operators(place.stage), 21), 12)
        canvas.text(660, y + 4.5, counted(len(place.stage.record.units), "PCU"), 10, QUIET, "end")
    _phases(canvas, facts, stage_y)
    return canvas


def _lines(canvas: Canvas, lines: Sequence[int], source: Sequence[str], count: int) -> dict[int, float]:
    spacing = ROW * count / len(lines)
    where = {line: TOP + spacing * (i + 0.5) for i, line in enumerate(lines)}
    for line, y in where.items():
        canvas.box(20, y - 15, 370, 30, PANEL, LINE)
        canvas.text(30, y + 4.5, str(line), 11, QUIET, mono=True)
        canvas.text(54, y + 4.5, shortened(source[line - 1].strip(), 49), 10.5, mono=True)
    return where


def _phases(canvas: Canvas, facts: Facts, stage_y: dict[int, float]) -> None:
    middle = sum(stage_y.values()) / len(stage_y)
    bottom, top = max(stage_y.values()) + 18, min(stage_y.values()) - 18
    for number, phase in enumerate(facts.phases):
        ys = [stage_y[place.number] for place in facts.in_phase(number)]
        canvas.box(720, min(ys) - 18, 110, max(ys) - min(ys) + 36, PANEL, QUIET)
        centre = (min(ys) + max(ys)) / 2
        canvas.text(775, centre - 2, f"phase {number}", 12.5, anchor="middle", bold=True)
        canvas.text(775, centre + 13, f"loops {loop_counts(phase.nest.counts)}", 11, QUIET, "middle")
        for y in ys:
            canvas.path(_band(666, y, 720, y, 3), "none", 0, fill=LINE)
        canvas.path(_band(830, centre, 890, centre, 3), "none", 0, fill=LINE)
    canvas.box(890, top, 90, bottom - top, PANEL, INK, width=1.5)
    canvas.text(935, middle - 12, facts.pef.sections[0].name, 13, anchor="middle", bold=True)
    for offset, text in enumerate(
        (f"{len(facts.phases)} phases", f"{len(facts.places)} stages", f"{len(facts.buffers)} buffers")
    ):
        canvas.text(935, middle + 6 + 16 * offset, text, 11.5, QUIET, "middle")


def _band(x1: float, y1: float, x2: float, y2: float, half: float) -> str:
    middle = (x1 + x2) / 2
    return (
        f"M{x1},{y1 - half:.1f} C{middle},{y1 - half:.1f} {middle},{y2 - half:.1f} {x2},{y2 - half:.1f} "
        f"L{x2},{y2 + half:.1f} C{middle},{y2 + half:.1f} {middle},{y1 + half:.1f} {x1},{y1 + half:.1f} Z"
    )


def phase(facts: Facts) -> Canvas:
    """The phase that shows most: memory, streams, buffers with their slices, stages."""
    number = max(range(len(facts.phases)), key=lambda p: _worth(facts, p))
    places = facts.in_phase(number)
    columns = _columns(facts, number, places)
    height = 136 + 108 * max(len(buffers) for buffers, _ in columns)
    width = 330 * len(columns) - 70
    shown = "Streams load slices from memory into buffers; stages fire as slices arrive; a stream stores results."
    canvas = Canvas(width, height, "One phase", shown)
    loops = loop_counts(facts.phases[number].nest.counts)
    canvas.heading(
        f"Phase {number}: stages and streams that run at the same time",
        f"along a nest of loops ({loops}). Boxes with cells are buffers in PMUs: filled cells are slices held.",
    )
    where: dict[int, tuple[float, float]] = {}
    for column, (buffers, staged) in enumerate(columns):
        x = 40 + 330 * column
        for row, buffer in enumerate(buffers):
            where[buffer] = (x, 104 + 108 * row)
            _buffer(canvas, facts.buffers[buffer], *where[buffer])
            _loads(canvas, facts, number, buffer, x, 104 + 108 * row)
        if staged is not None:
            _stage(canvas, facts, staged, where, x + 205, height / 2 + 30)
    _ends(canvas, facts, number, places, where, 40 + 330 * (len(columns) - 1), height / 2 + 30)
    return canvas


def _worth(facts: Facts, phase: int) -> tuple[int, int]:
    """Phases with a ring and two or three stages show the idea best."""
    places = facts.in_phase(phase)
    rings = sum(1 for _, writer, _ in facts.rings() if writer.phase == phase)
    return (min(rings, 1), -abs(len(places) - 2))


def _columns(facts: Facts, number: int, places: Sequence[Place]) -> list[tuple[list[int], Place | None]]:
    seen: set[int] = set()
    columns: list[tuple[list[int], Place | None]] = []
    for place in places:
        fresh = [port.buffer for port in place.stage.inputs if port.buffer not in seen]
        seen.update(fresh)
        columns.append((list(dict.fromkeys(fresh)), place))
    written = [port.buffer for port in places[-1].stage.outputs]
    columns.append(([b for b in written if b not in seen], None))
    return columns


def _buffer(canvas: Canvas, buffer: Buffer, x: float, y: float) -> None:
    ring = f"{buffer.depth} of {buffer.slices} slices" if buffer.slices > 1 else "whole"
    canvas.box(x, y, 150, 74, PANEL, LINE)
    canvas.text(x + 10, y + 18, shortened(buffer.name, 21), 12, bold=True)
    canvas.text(x + 10, y + 34, f"{buffer.type}", 10.5, QUIET, mono=True)
    canvas.text(x + 10, y + 68, f"{ring}, {human(buffer.bytes)}, {counted(len(buffer.units), 'PMU')}", 9.8, QUIET)
    shown = min(buffer.slices, 16)
    cell = 130 / shown
    for i in range(shown):
        held = i < buffer.depth
        canvas.box(
            x + 10 + i * cell,
            y + 42,
            cell - 2,
            12,
            tint(colour(0), 0.55) if held else "none",
            LINE if not held else colour(0),
            1.5,
        )


def _loads(canvas: Canvas, facts: Facts, number: int, buffer: int, x: float, y: float) -> None:
    for stream in facts.phases[number].streams:
        if stream.buffer == buffer and not stream.store:
            canvas.line(x + 20, y - 17, x + 20, y - 2, arrow=True)
            canvas.text(x + 30, y - 7, f"{_moved(facts, number, stream)} from DRAM", 10, QUIET, italic=True)


def _moved(facts: Facts, number: int, stream: Stream) -> str:
    size = human(facts.configuration.transfer_bytes(number, stream))
    count = facts.configuration.transfers(number, stream)
    return size if count == 1 else f"{count} × {size}"


def _stage(
    canvas: Canvas, facts: Facts, place: Place, where: dict[int, tuple[float, float]], x: float, y: float
) -> None:
    shade, timed = colour(place.number), facts.timed(place)
    for port in place.stage.inputs:
        bx, by = where[port.buffer]
        canvas.curve(bx + 150, by + 37, x - 4, y, shade, 1.8)
    canvas.box(x, y - 40, 108, 80, tint(shade, 0.18), shade, 8, 2)
    canvas.text(x + 54, y - 20, f"stage {letter(place.number)}", 12.5, shade, "middle", bold=True)
    for offset, name in enumerate(operators(place.stage).split(" + ")[:3]):
        canvas.text(x + 54, y - 4 + 14 * offset, name, 11.5, anchor="middle")
    canvas.text(x + 54, y + 54, f"{timed.events} firings of {timed.interval_cycles:,} cycles", 10, QUIET, "middle")


def _ends(
    canvas: Canvas,
    facts: Facts,
    number: int,
    places: Sequence[Place],
    where: dict[int, tuple[float, float]],
    x: float,
    middle: float,
) -> None:
    """Arrows from stages to what they write, and what is stored or kept."""
    for column, place in enumerate(places):
        for port in place.stage.outputs:
            if port.buffer not in where:
                continue
            bx, by = where[port.buffer]
            canvas.curve(40 + 330 * column + 205 + 108, middle, bx - 4, by + 37, colour(place.number), 1.8)
    for buffer in (port.buffer for port in places[-1].stage.outputs):
        if buffer not in where:
            continue
        bx, by = where[buffer]
        stored = [s for s in facts.phases[number].streams if s.store and s.buffer == buffer]
        text = f"{_moved(facts, number, stored[0])} to DRAM" if stored else "kept for a later phase"
        canvas.line(bx + 153, by + 37, bx + 185, by + 37, arrow=True)
        canvas.text(bx + 75, by + 92, text, 10.5, QUIET, "middle", italic=True)
