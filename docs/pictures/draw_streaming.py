"""Pictures of streaming: how loops cut tensors into slices, and how a ring lets two stages keep step."""

from __future__ import annotations

from facts import Facts, Place, letter, operators
from svg import INK, LINE, PANEL, QUIET, Canvas, colour, tint

from ir.types import TensorType
from pef.decoded import Port
from pef.nest import WHOLE, Nest, axis_of
from pef.wording import loop_counts


def nest(facts: Facts) -> Canvas:
    """Two products: one whose loop cuts rows, one whose loop runs over the inner dimension, and its sum."""
    products = [p for p in facts.places if any(a.op.name == "matmul" for a in p.stage.body.applications)]
    rows = next((p for p in products if not any(port.combine for port in p.stage.outputs)), products[0])
    sums = next((p for p in products if any(port.combine for port in p.stage.outputs)), None)
    shown = [place for place in (rows, sums) if place is not None]
    canvas = Canvas(
        1000,
        84 + 270 * len(shown),
        "Loop nests and tiles",
        "Which slices of operands and result one firing of a stage uses.",
    )
    canvas.heading(
        "Loops cut tensors into tiles",
        "filled: what one firing reads and writes; the count on a tensor says how many slices the loops make of it",
    )
    for number, place in enumerate(shown):
        _product(canvas, facts, place, 70 + 270 * number)
    return canvas


def _product(canvas: Canvas, facts: Facts, place: Place, y: float) -> None:
    stage, phase = place.stage, facts.phases[place.phase]
    loops = loop_counts(phase.nest.counts[: stage.level] or (1,))
    shade = colour(place.number)
    canvas.box(20, y, 960, 254, PANEL, LINE, 8)
    canvas.text(40, y + 28, f"Stage {letter(place.number)}: {operators(stage)}", 14.5, shade, bold=True)
    combined = any(port.combine for port in stage.outputs)
    axis = (
        "the inner dimension, so every firing adds to the same result"
        if combined
        else "rows, so every firing makes rows of its own"
    )
    canvas.text(40, y + 47, f"phase {place.phase}, loops {loops}: the loop cuts {axis}", 12, QUIET)
    ports = [*stage.inputs[:2], stage.outputs[0]]
    longest = max(max(_matrix(facts.buffers[port.buffer].type)) for port in ports)
    for column, (port, sign) in enumerate(zip(ports, ("×", "=", ""))):
        x = 60 + 320 * column
        turned = any(a.op.name == "permute" and port.value in a.operands for a in stage.body.applications)
        _tensor(canvas, facts, phase.nest, stage.level, port, x, y + 66, shade, 118 / longest)
        if turned:
            canvas.text(x + 95, y + 237, "read transposed, which costs nothing", 11, QUIET, "middle", italic=True)
        if sign:
            canvas.text(x + 262, y + 140, sign, 26, QUIET, "middle")


def _tensor(
    canvas: Canvas, facts: Facts, nest: Nest, level: int, port: Port, x: float, y: float, shade: str, scale: float
) -> None:
    """One tensor of a product: `scale` is the same for its three, so that equal extents look equal."""
    buffer = facts.buffers[port.buffer]
    rows, columns = _matrix(buffer.type)
    h, w = max(rows * scale, 4), max(columns * scale, 4)
    top, left = y + (118 - h) / 2, x + (190 - w) / 2
    canvas.box(left, top, w, h, "#ffffff", QUIET, 0)
    index = tuple(min(1, nest.counts[loop] - 1) for loop in range(level))
    cuts = [(axis_of(port.slicing, loop), nest.counts[loop], index[loop]) for loop in range(level)]
    cuts = [(axis, count, i) for axis, count, i in cuts if axis != WHOLE]
    offset, extent = [0.0, 0.0], [h, w]
    for axis, count, i in cuts:
        side = axis if len(buffer.type.shape) > 1 else 1
        for k in range(1, count):
            at = offset[side] + extent[side] * k / count
            if side == 0:
                canvas.line(left, top + at, left + w, top + at, LINE, 0.8)
            else:
                canvas.line(left + at, top, left + at, top + h, LINE, 0.8)
        extent[side] /= count
        offset[side] += extent[side] * i
    canvas.box(left + offset[1], top + offset[0], extent[1], extent[0], tint(shade, 0.75), shade, 0, 1.2)
    canvas.text(x + 95, y + 138, buffer.name, 12.5, INK, "middle", bold=True)
    slices = nest.slices(port.slicing[:level])
    held = "stays whole" if slices == 1 else f"{slices} slices of {nest.sliced(buffer.type, port.slicing)}"
    held = f"{'sum over all firings' if port.combine else held}"
    canvas.text(x + 95, y + 154, f"{buffer.type}: {held}", 11, QUIET, "middle")


def _matrix(tensor: TensorType) -> tuple[int, int]:
    shape = (1, *tensor.shape) if len(tensor.shape) < 2 else tensor.shape
    return shape[-2], shape[-1]


def ring(facts: Facts) -> Canvas:
    """A ring over time: firings of its writer and reader, and which slice is in which place."""
    number, writer, reader = min(facts.rings(), key=lambda found: -facts.timed(found[1]).interval_cycles)
    buffer = facts.buffers[number]
    made, used = facts.timed(writer), facts.timed(reader)
    end = max(float(made.starts[-1]) + made.interval_cycles, float(used.starts[-1]) + used.interval_cycles)
    start = min(float(made.starts[0]), float(used.starts[0]))
    height = 236 + 40 * buffer.depth
    canvas = Canvas(
        1000,
        height,
        "A buffer ring over time",
        "Firings of the writing and the reading stage, and the life of each slice in its place.",
    )

    def at(cycle: float) -> float:
        return 190 + 780 * (cycle - start) / (end - start)

    canvas.heading(
        f"A ring of {buffer.depth} slices between two stages",
        f"{buffer.name}, {buffer.type} in {buffer.slices} slices. A place is free again when its reader has finished.",
    )
    for row, (place, timed) in enumerate(((writer, made), (reader, used))):
        y = 78 if row == 0 else 78 + 62 + 40 * buffer.depth
        canvas.text(
            20,
            y + 20,
            f"stage {letter(place.number)} {'writes' if row == 0 else 'reads'}",
            12.5,
            colour(place.number),
            bold=True,
        )
        canvas.text(20, y + 35, operators(place.stage), 10.5, QUIET)
        for event, began in enumerate(timed.starts):
            x, w = at(float(began)), at(float(began) + timed.interval_cycles) - at(float(began))
            canvas.box(x, y, max(w - 1, 1), 34, tint(colour(place.number), 0.3), colour(place.number), 2)
            if w > 14:
                canvas.text(x + w / 2, y + 21, str(event), 11, anchor="middle")
    canvas.text(20, 138 + 20 * buffer.depth, f"{buffer.depth} places in PMUs", 12.5, bold=True)
    for place_number in range(buffer.depth):
        y = 128 + 40 * place_number
        canvas.box(190, y, 780, 30, PANEL, LINE, 2)
        for event in range(place_number, len(made.starts), buffer.depth):
            born = float(made.starts[event]) + made.interval_cycles
            freed = float(used.starts[event]) + used.interval_cycles if event < len(used.starts) else end
            x, w = at(float(made.starts[event])), at(born) - at(float(made.starts[event]))
            canvas.box(x, y, w, 30, "none", colour(writer.number), 2, 1, "3 2", f"slice {event} being written")
            canvas.box(
                at(born),
                y,
                max(at(freed) - at(born), 2),
                30,
                tint(colour(reader.number), 0.4),
                colour(reader.number),
                2,
                tip=f"slice {event} held",
            )
            canvas.text((at(born) + at(freed)) / 2, y + 20, f"slice {event}", 10.5, anchor="middle")
    _axis(canvas, start, end, height - 34, at)
    return canvas


def _axis(canvas: Canvas, start: float, end: float, y: float, at: object) -> None:
    step = next(
        s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 10**9) if (end - start) / s <= 10
    )
    tick = (int(start) // step + 1) * step
    while tick <= end:
        x = at(tick)  # type: ignore[operator]
        canvas.line(x, y - 6, x, y, LINE)
        canvas.text(x, y + 14, f"{tick:,}", 10.5, QUIET, "middle")
        tick += step
    canvas.text(20, y + 14, "cycles of the section", 10.5, QUIET)
