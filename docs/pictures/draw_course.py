"""Pictures of the course and of the compiler in one file: drawn from the solutions and from rdu.py as they run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from draw_chip import grid
from svg import INK, LINE, PANEL, QUIET, Canvas, colour, tint

from ir.space import Space
from ir.text import parse_program
from pef import pef_pb2 as pb

DOCS = Path(__file__).parents[1]


def loaded(name: str, path: Path) -> ModuleType:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def solution(name: str) -> ModuleType:
    """The solution of an exercise."""
    return loaded(name, DOCS / "course" / "solutions" / f"{name}.py")


def by_hand() -> Canvas:
    """Exercise 1: where its units stand and how its nets run."""
    exercise = solution("gemm_by_hand")
    pef: pb.Pef = exercise.program()
    canvas = Canvas(560, 190, "A product by hand", "The units and nets of exercise 1 on the upper left of the chip.")
    canvas.heading("A product by hand", "upper left of the classroom chip: x, w and y in PMUs, one PCU, three AGCUs")
    grid(canvas, pef.configurations[0], exercise.MACHINE, 40, 72, 30, rows=3)
    return canvas


def depths() -> Canvas:
    """Exercise 2: cycles against the depth of the ring."""
    cycles = solution("rings").cycles_by_depth()
    canvas = Canvas(560, 330, "Cycles against depth", "Bars: the cycles of the program for each depth of the ring.")
    canvas.heading(
        "How deep a ring: cycles against depth", "deeper rings buy time up to a point, and nothing beyond it"
    )
    most, best = max(cycles.values()), min(cycles.values())
    for number, (depth, count) in enumerate(sorted(cycles.items())):
        height, shade = 190 * count / most, colour(2) if count == best else colour(0)
        x = 40 + 62 * number
        canvas.box(x, 285 - height, 46, height, tint(shade, 0.6), shade, 3)
        canvas.text(x + 23, 279 - height, f"{count:,.0f}", 11, QUIET, "middle")
        canvas.text(x + 23, 304, f"depth {depth}", 11.5, INK, "middle")
    return canvas


def cuts() -> Canvas:
    """Exercise 3: what each cut of a product with a transposed matrix does to its tensors."""
    exercise = solution("spaces")
    number = next(i for i, case in enumerate(exercise.CASES) if "transposed" in case.name)
    case, text = exercise.CASES[number], exercise.spaces()[number]
    shapes = [*case.shapes, case.function(*(exercise.np.zeros(s) for s in case.shapes)).shape]
    types = [exercise.f32(*shape) for shape in shapes]
    space = Space.parse(text, types[:-1], types[-1:])
    canvas = Canvas(640, 90 + 130 * len(space.cuts()), "The cuts of a product", "What cutting each dim slices.")
    canvas.heading(
        f"The cuts that {text} allows", "filled: the first of two tiles; a result that no tile cuts is a sum"
    )
    for row, cut in enumerate(space.cuts()):
        y = 80 + 130 * row
        canvas.text(20, y + 52, f"cut {cut.dim}", 14, colour(row), bold=True)
        for column, (name, shape, axis) in enumerate(
            zip(("x", "w", "result"), shapes, (*cut.operands, *cut.results), strict=True)
        ):
            x, h, w = 130 + 170 * column, 11.0 * shape[0], 11.0 * shape[1]
            canvas.box(x, y, w, h, "#ffffff", QUIET, 0)
            part = (h / 2 if axis == 0 else h, w / 2 if axis == 1 else w)
            canvas.box(x, y, part[1], part[0], tint(colour(row), 0.6), colour(row), 0)
            held = "whole" if axis < 0 else f"axis {axis}"
            canvas.text(x, y + 106, f"{name}: {'sum of tiles' if axis < 0 and name == 'result' else held}", 11, QUIET)
    return canvas


def rewritten() -> Canvas:
    """Exercise 4: the graph before and after the pass."""
    exercise = solution("rewriting")
    before = parse_program(exercise.TEXT)
    canvas = Canvas(640, 290, "A graph before and after a pass", "Operators as boxes, before on the left, after right.")
    canvas.heading("The same numbers with fewer operators", "left: before the pass; right: after it")
    for column, program in enumerate((before, exercise.after(before))):
        _graph(canvas, program.graphs[0].nodes, 40 + 310 * column)
    return canvas


def _graph(canvas: Canvas, nodes: object, x: float) -> None:
    canvas.box(x - 20, 66, 300, 208, PANEL, LINE, 8)
    place: dict[str, tuple[float, float]] = {"x": (x + 72, 84)}
    canvas.text(x + 105, 92, "x", 13, INK, "middle", bold=True)
    lanes: dict[int, int] = {}
    for node in nodes:  # type: ignore[attr-defined]
        above = place[node.operands[0].name]
        depth = round((above[1] - 84) / 56) + 1
        lane = lanes.get(depth, 0)
        lanes[depth] = lane + 1
        here = (x + 95 * lane, 84 + 56 * depth)
        place[node.results[0].name] = here
        shade = colour(1 if node.op.name == "relu" else 0)
        canvas.line(above[0] + 33, above[1] + 14, here[0] + 33, here[1] - 15, QUIET, 1.2, arrow=True)
        canvas.box(here[0], here[1] - 14, 66, 28, tint(shade, 0.3), shade)
        canvas.text(here[0] + 33, here[1] + 5, node.op.name, 12, INK, "middle")


def placements() -> Canvas:
    """Exercise 5: the nearest sites and the ones a search finds."""
    exercise = solution("placement")
    start = exercise.nearest()
    canvas = Canvas(
        860, 470, "Two placements", "The same program on the nearest sites and on those that a search found."
    )
    canvas.heading(
        "Near is not fast",
        "squares PCUs, discs PMUs; lines: links, as thick as the bytes that a firing sends over them",
    )
    for column, (name, sites) in enumerate((("nearest", start), ("searched", exercise.searched(start)))):
        pef = exercise.program(sites)
        x = 30 + 420 * column
        grid(canvas, pef.configurations[0], exercise.MACHINE, x, 100, 23, rows=16)
        canvas.text(
            x, 90, f"{name}: {exercise.cycles(pef):,.0f} cycles, {exercise.wire(pef)} links", 13, INK, bold=True
        )
    return canvas


def ablation(rows: dict[str, float]) -> Canvas:
    """Exercise 6: time per sample of each row, as a share of the base."""
    canvas = Canvas(640, 90 + 44 * len(rows), "An ablation", "Bars: simulated time per sample of each variant.")
    canvas.heading(
        "One option at a time", "simulated time per sample, as a share of the base; bars end at twice the base"
    )
    base = rows["base"]
    for number, (name, time) in enumerate(rows.items()):
        y, share = 74 + 44 * number, time / base
        canvas.text(20, y + 20, name, 13, INK, bold=name == "base")
        shade = colour(2) if share < 1 else colour(7) if share > 1 else colour(9)
        canvas.box(120, y, min(share, 2) * 200, 28, tint(shade, 0.6), shade, 3)
        canvas.text(532, y + 19, f"{share:.2f}", 12, QUIET)
    canvas.line(320, 66, 320, 74 + 44 * len(rows), LINE, 1, dash="4 3")
    return canvas


def measured() -> dict[str, float]:
    """The rows of exercise 6: compiles each."""
    import tempfile

    exercise = solution("ablation")
    with tempfile.TemporaryDirectory() as folder:
        return {name: exercise.ns_per_sample(row, Path(folder))[0] for name, row in exercise.variants().items()}


def in_one_file() -> Canvas:
    """The compiler in one file: where its stages stand, and when they fire."""
    rdu = loaded("rdu", DOCS / "build_it_yourself" / "rdu.py")
    graph = rdu.trace(rdu.network, **rdu.SHAPES)
    stages = rdu.fuse(graph)
    rdu.allocate(stages, rdu.ROWS, rdu.TILES, rdu.PCUS)
    buffers = rdu.place(stages)
    text = rdu.emit(graph, stages, buffers, depth=2)
    canvas = Canvas(900, 330, "What rdu.py makes", "Left: stages on the grid. Right: every firing of every stage.")
    canvas.heading(
        "What the file makes of its example",
        "left: stages on the grid, discs are buffers; right: every firing of every stage, in cycles",
    )
    for site in range(rdu.SIDE**2):
        row, column = divmod(site, rdu.SIDE)
        owner = next((i for i, stage in enumerate(stages) if site in stage.units), None)
        shade = "#9aa4b2" if site in buffers.values() else "#eef1f5" if owner is None else colour(owner)
        canvas.box(24 + 20 * column, 70 + 20 * row, 17, 17, shade, "none", 2 if rdu.is_pcu(site) else 8)
    total = rdu.total_cycles(text)
    for number, (begins, stage) in enumerate(zip(rdu.schedule(text), stages)):
        y = 78 + 42 * number
        cycles = rdu.firing_cycles(stage, rdu.ROWS, rdu.TILES, stage.pcus)
        canvas.text(300, y + 18, " + ".join(node.op for node in stage.nodes), 11.5, colour(number), bold=True)
        for tile, begin in enumerate(begins):
            x, w = 470 + 400 * begin / total, 400 * cycles / total
            canvas.box(x, y, w - 1, 26, tint(colour(number), 0.4), colour(number), 2, tip=f"firing {tile}")
            canvas.text(x + w / 2, y + 18, str(tile), 10.5, INK, "middle")
    canvas.text(470, 306, "0", 11, QUIET)
    canvas.text(870, 306, f"{total:,} cycles", 11, QUIET, "end")
    return canvas


def pictures() -> dict[str, Canvas]:
    """Every picture by name."""
    return {
        "course-1": by_hand(),
        "course-2": depths(),
        "course-3": cuts(),
        "course-4": rewritten(),
        "course-5": placements(),
        "course-6": ablation(measured()),
        "rdu": in_one_file(),
    }
