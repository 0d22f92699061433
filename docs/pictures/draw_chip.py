"""Pictures of the chip: how a stage is spread over PCUs, and where a whole section stands on the grid."""

from __future__ import annotations

from collections import Counter

from facts import Facts, Place, letter, operators
from svg import INK, LINE, PANEL, QUIET, Canvas, colour, tint

from pef import pef_pb2 as pb
from pef.machine import Machine, SiteKind


def stage(facts: Facts) -> Canvas:
    """A product on rows x columns of PCUs beside a chain of PCUs for a long SIMD stage."""
    products = [p for p in facts.places if p.stage.parallelism.row > 1 and p.stage.parallelism.column > 1]
    product = max(products or facts.places, key=lambda p: p.stage.parallelism.row * p.stage.parallelism.column)
    chained = max(facts.places, key=lambda p: (p.stage.parallelism.chain, -p.stage.parallelism.units))
    canvas = Canvas(
        1000,
        420,
        "A stage on its PCUs",
        "A matrix product over a block of PCUs, and an elementwise stage over chains of PCUs.",
    )
    canvas.heading(
        "A stage is spread over PCUs",
        "left: a product shares out rows and columns of its result; right: many operations in a row need a chain",
    )
    _block(canvas, facts, product, 20)
    _chains(canvas, facts, chained, 510)
    return canvas


def _block(canvas: Canvas, facts: Facts, place: Place, x: float) -> None:
    parallel, shade, timed = place.stage.parallelism, colour(place.number), facts.timed(place)
    canvas.box(x, 70, 470, 332, PANEL, LINE, 8)
    canvas.text(x + 20, 98, f"Stage {letter(place.number)}: {operators(place.stage)}", 14.5, shade, bold=True)
    canvas.text(
        x + 20,
        117,
        f"{parallel.row} × {parallel.column} PCUs; a firing takes {timed.interval_cycles:,} cycles",
        12,
        QUIET,
    )
    side = min(300 / parallel.column, 190 / parallel.row, 64)
    left, top = x + 90, 160
    for row in range(parallel.row):
        for column in range(parallel.column):
            canvas.box(left + side * column, top + side * row, side - 4, side - 4, tint(shade, 0.3), shade, 4)
            if side > 34:
                canvas.text(
                    left + side * (column + 0.5) - 2, top + side * (row + 0.5) + 2, "PCU", 10.5, QUIET, "middle"
                )
    result = place.stage.body.values[place.stage.outputs[0].value].type
    canvas.text(
        left + side * parallel.column / 2,
        top - 12,
        f"columns of the result: {result.shape[-1]} shared by {parallel.column}",
        11.5,
        QUIET,
        "middle",
    )
    rows = result.shape[-2] if len(result.shape) > 1 else 1
    canvas.text(left - 12, top + side * parallel.row / 2, f"rows: {rows}", 11.5, QUIET, "end")
    canvas.text(left - 12, top + side * parallel.row / 2 + 15, f"by {parallel.row}", 11.5, QUIET, "end")
    lanes, stages = facts.machine.pcu_lanes, facts.machine.pcu_stages
    canvas.text(
        x + 20,
        384,
        f"Each PCU is an array of {lanes} lanes × {stages} stages: {lanes} rows × {stages} columns at a time.",
        11,
        QUIET,
    )


def _chains(canvas: Canvas, facts: Facts, place: Place, x: float) -> None:
    parallel, shade, timed = place.stage.parallelism, colour(place.number), facts.timed(place)
    canvas.box(x, 70, 470, 332, PANEL, LINE, 8)
    canvas.text(x + 20, 98, f"Stage {letter(place.number)}: {operators(place.stage)}", 14.5, shade, bold=True)
    copies = parallel.batch * parallel.row * parallel.column
    canvas.text(
        x + 20,
        117,
        f"{copies} chains of {parallel.chain} PCUs; a firing takes {timed.interval_cycles:,} cycles",
        12,
        QUIET,
    )
    side = min(220 / copies, 36)
    for copy in range(copies):
        y = 140 + side * copy
        canvas.text(x + 30, y + side / 2 + 3, f"share {copy}", 10.5, QUIET)
        for link in range(parallel.chain):
            left = x + 90 + 110 * link
            canvas.box(left, y, 84, side - 5, tint(shade, 0.3), shade, 4)
            canvas.text(left + 42, y + side / 2 + 2, "PCU", 10.5, QUIET, "middle")
            if link:
                canvas.line(left - 25, y + side / 2 - 2, left - 2, y + side / 2 - 2, shade, 1.6, arrow=True)
    canvas.text(
        x + 20,
        384,
        _reach(facts),
        11,
        QUIET,
    )


def _reach(facts: Facts) -> str:
    stages, lanes = facts.machine.pcu_stages, facts.machine.pcu_lanes
    return f"A PCU applies up to {stages} operations to a vector of {lanes}; more need a longer chain."


def floorplan(facts: Facts) -> Canvas:
    """Every site of the chip: stages in colours, PCUs as squares, PMUs as discs, and one stage's nets."""
    machine, cell = facts.machine, 14.0
    owner = _owners(facts)
    rows = sorted({site // machine.columns for site in owner})
    first = max(min(rows) - 2, 0)
    last = min(max(rows) + 2, machine.rows - 1)
    width, height = machine.columns * cell + 400, max((last - first + 1) * cell + 120, 120 + 26 * len(facts.places))
    canvas = Canvas(
        width, height, "A section on the grid", "Sites of the chip in the colour of the stage that uses them."
    )
    shown = (
        f"rows {first} to {last} of {machine.rows}"
        if (first, last) != (0, machine.rows - 1)
        else f"{machine.rows} rows"
    )
    canvas.heading(
        f"Where a section stands on {machine.name}",
        f"{shown}; squares are PCUs, discs PMUs, lines the nets of one stage, triangles AGCUs: the way to DRAM",
    )
    for site in range(first * machine.columns, (last + 1) * machine.columns):
        _site(canvas, facts, site, owner.get(site), first, cell)
    for site in machine.agcu_sites:
        row, column = divmod(site, machine.columns)
        if first <= row <= last:
            x = 12 if column == 0 else 24 + machine.columns * cell + 4
            y = 72 + (row - first) * cell
            canvas.path(f"M{x},{y + 2} L{x + 8},{y + 6} L{x},{y + 10} Z", INK, 0.5, fill=INK)
    chosen = max(facts.places, key=lambda p: len(p.stage.record.units))
    _nets(canvas, facts, chosen, first, cell)
    _legend(canvas, facts, chosen, machine.columns * cell + 60)
    return canvas


def _owners(facts: Facts) -> dict[int, tuple[int, bool]]:
    """The stage at each site; of a PMU, the one that writes it, or -1 where a stream does."""
    sites = facts.configuration.sites
    owner: dict[int, tuple[int, bool]] = {}
    for buffer in facts.buffers:
        owner.update((sites[unit], (-1, False)) for unit in buffer.units)
    for place in facts.places:
        for port in place.stage.outputs:
            owner.update((sites[unit], (place.number, False)) for unit in facts.buffers[port.buffer].units)
        owner.update((sites[unit], (place.number, True)) for unit in place.stage.record.units)
    return owner


def _site(canvas: Canvas, facts: Facts, site: int, owner: tuple[int, bool] | None, first: int, cell: float) -> None:
    row, column = divmod(site, facts.machine.columns)
    x, y, pcu = 24 + column * cell, 72 + (row - first) * cell, facts.machine.kind(site) is SiteKind.PCU
    fill, stroke = ("#eef1f5", "none")
    if owner is not None:
        fill = "#9aa4b2" if owner[0] < 0 else colour(owner[0]) if owner[1] else tint(colour(owner[0]), 0.45)
        stroke = "#ffffff"
    name = "" if owner is None else f"stage {letter(owner[0])}" if owner[0] >= 0 else "loaded buffer"
    canvas.box(
        x,
        y,
        cell - 2,
        cell - 2,
        fill,
        stroke,
        1.5 if pcu else 6,
        tip=f"site {site} {'PCU' if pcu else 'PMU'} {name}".strip(),
    )


def _nets(canvas: Canvas, facts: Facts, place: Place, first: int, cell: float) -> None:
    drawn: set[tuple[int, int]] = set()
    for net in facts.configuration.record.nets:
        if net.WhichOneof("owner") != "stage" or (net.phase, net.stage) != (place.phase, place.index):
            continue
        if net.kind == pb.Net.CHAIN:
            continue
        drawn.update(zip(net.route[0::2], net.route[1::2]))

    def centre(site: int) -> tuple[float, float]:
        row, column = divmod(site, facts.machine.columns)
        return 24 + column * cell + cell / 2 - 1, 72 + (row - first) * cell + cell / 2 - 1

    for start, end in sorted(drawn):
        canvas.line(*centre(start), *centre(end), INK, 0.9)


def _legend(canvas: Canvas, facts: Facts, chosen: Place, x: float) -> None:
    for place in facts.places:
        y = 74 + 26 * place.number
        canvas.box(x, y, 15, 15, colour(place.number), "none", 2)
        bold = place.number == chosen.number
        canvas.text(
            x + 24,
            y + 12,
            f"{letter(place.number)}  {operators(place.stage)}{' (nets shown)' if bold else ''}",
            12,
            bold=bold,
        )
        canvas.text(x + 330, y + 12, f"{len(place.stage.record.units)}", 12, QUIET, "end")
    y = 74 + 26 * len(facts.places)
    canvas.box(x, y, 15, 15, "#9aa4b2", "none", 7)
    canvas.text(x + 24, y + 12, "buffers that streams load", 12)


def grid(
    canvas: Canvas, configuration: pb.Configuration, machine: Machine, x: float, y: float, cell: float, rows: int
) -> None:
    """A small chip with every unit, letters for stages, and links as thick as what a firing sends over them."""

    def corner(site: int) -> tuple[float, float]:
        row, column = divmod(site, machine.columns)
        return x + column * cell, y + row * cell

    for site in range(rows * machine.columns):
        canvas.box(
            *corner(site), cell - 3, cell - 3, "#eef1f5", "none", 2 if machine.kind(site) is SiteKind.PCU else cell
        )
    links: Counter[tuple[int, int]] = Counter()
    for net in configuration.nets:
        if net.kind in (pb.Net.READ, pb.Net.WRITE):
            for link in zip(net.route[0::2], net.route[1::2]):
                links[link] += net.bytes
    for (start, end), size in links.items():
        (x1, y1), (x2, y2), half = corner(start), corner(end), (cell - 3) / 2
        canvas.line(x1 + half, y1 + half, x2 + half, y2 + half, colour(3), 0.6 + size / 10_000)
    sites = [unit.site for unit in configuration.units]
    for buffer in configuration.buffers:
        for unit in buffer.units:
            canvas.box(*corner(sites[unit]), cell - 3, cell - 3, "#9aa4b2", "#ffffff", cell, tip=buffer.name)
            if cell > 26:
                left, top = corner(sites[unit])
                canvas.text(left + (cell - 3) / 2, top + cell / 2 + 3, buffer.name, 12, INK, "middle")
    for number, stage in enumerate(stage for phase in configuration.phases for stage in phase.stages):
        for unit in stage.units:
            canvas.box(*corner(sites[unit]), cell - 3, cell - 3, colour(number), "#ffffff", 2, tip=stage.name)
            left, top = corner(sites[unit])
            canvas.text(left + (cell - 3) / 2, top + cell / 2 + 3, letter(number), 11, "#ffffff", "middle", bold=True)
    for site in machine.agcu_sites:
        if site < rows * machine.columns:
            left, top = corner(site)
            canvas.path(f"M{left - 10},{top + 2} L{left - 3},{top + 7} L{left - 10},{top + 12} Z", INK, 0.5, fill=INK)
