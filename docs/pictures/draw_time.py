"""Pictures of simulated time: the sections of a training step, and the stages of one section."""

from __future__ import annotations

from facts import Facts, letter, operators
from svg import INK, LINE, PANEL, QUIET, Canvas, colour, shortened, tint

from runtime.timing.report import SectionReport

PARTS = (("launch", colour(9)), ("program load", colour(4)), ("argument load", colour(6)), ("execution", colour(2)))


def sections(facts: Facts) -> Canvas:
    """A training step: section after section, each loaded and then run, and what they leave for each other."""
    reports = facts.report.sections
    canvas = Canvas(
        1000,
        150 + 78 * len(reports),
        "Sections of a training step",
        "Each section is loaded onto the fabric and executed, one after another.",
    )
    canvas.heading(
        "A step is a sequence of sections",
        "each is one configuration of the whole fabric: loaded, run, replaced. Between them, tensors live in DRAM.",
    )
    total = facts.report.cycles
    for number, (name, shade) in enumerate(PARTS):
        canvas.box(190 + 150 * number, 68, 14, 14, shade, shade, 2)
        canvas.text(210 + 150 * number, 80, name, 12, QUIET)
    for number, section in enumerate(reports):
        _section(canvas, facts, section, 100 + 78 * number, total)
    _ruler(canvas, facts, total, 116 + 78 * len(reports))
    return canvas


def _section(canvas: Canvas, facts: Facts, section: SectionReport, y: float, total: float) -> None:
    def at(cycle: float) -> float:
        return 190 + 780 * cycle / total

    canvas.text(20, y + 20, section.name, 13.5, bold=True)
    canvas.text(20, y + 37, f"{facts.report.us(section.cycles):.1f} µs", 11.5, QUIET)
    canvas.box(190, y, 780, 44, PANEL, LINE, 3)
    begin = section.start
    spent = (section.launch_cycles, section.program_load_cycles, section.argument_load_cycles, section.execution.cycles)
    for (name, shade), cycles in zip(PARTS, spent):
        if cycles:
            tip = f"{name}: {facts.report.us(cycles):.1f} µs"
            canvas.box(at(begin), y, max(at(begin + cycles) - at(begin), 1.5), 44, shade, "#ffffff", 2, tip=tip)
        begin += cycles
    saved = [
        s for s in facts.pef.sections[section.index].bindings if facts.pef.symbols[s].kind in ("activation", "gradient")
    ]
    names = ", ".join(dict.fromkeys(facts.pef.symbols[s].name for s in saved))
    if names:
        canvas.text(190, y + 60, f"through DRAM: {shortened(names, 112)}", 10.5, QUIET)


def _ruler(canvas: Canvas, facts: Facts, total: float, y: float) -> None:
    end = facts.report.us(total)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if end / s <= 12)
    for tick in range(0, int(end) + 1, step):
        x = 190 + 780 * tick / end
        canvas.line(x, y - 6, x, y, LINE)
        canvas.text(x, y + 14, f"{tick} µs", 10.5, QUIET, "middle")


def pipeline(facts: Facts) -> Canvas:
    """Every firing of every stage of a section, phase by phase."""
    places, execution = facts.places, facts.execution
    height = 120 + 30 * len(places)
    canvas = Canvas(1000, height, "The stages of a section over time", "A bar for each firing of each stage.")
    canvas.heading(
        "A section over time: every bar is one firing",
        "stages of a phase overlap, phases follow one another. Simulated cycles.",
    )

    def at(cycle: float) -> float:
        return 230 + 745 * cycle / execution.cycles

    for number, phase in enumerate(execution.phases):
        rows = facts.in_phase(number)
        top, bottom = 70 + 30 * rows[0].number, 70 + 30 * (rows[-1].number + 1)
        canvas.box(at(phase.start), top, max(at(phase.end) - at(phase.start), 2), bottom - top, PANEL, LINE, 3)
        canvas.text(224, (top + bottom) / 2 + 4, f"phase {number}", 10.5, QUIET, "end")
    for place in places:
        y, timed, shade = 70 + 30 * place.number, facts.timed(place), colour(place.number)
        canvas.text(20, y + 19, letter(place.number), 13, shade, bold=True)
        canvas.text(40, y + 19, shortened(operators(place.stage), 19), 11.5, INK)
        for began in timed.starts:
            x, w = at(float(began)), at(float(began) + timed.interval_cycles) - at(float(began))
            canvas.box(x, y + 6, max(w - 0.6, 0.8), 18, tint(shade, 0.75), shade, 1, 0.5)
    step = next(s for s in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 10**9) if execution.cycles / s <= 12)
    for tick in range(0, int(execution.cycles) + 1, step):
        canvas.line(at(tick), height - 44, at(tick), height - 38, LINE)
        canvas.text(at(tick), height - 22, f"{tick:,}", 10.5, QUIET, "middle")
    return canvas
