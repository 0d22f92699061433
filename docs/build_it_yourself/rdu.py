"""A compiler for a dataflow chip, and a simulator of the chip, in one file that needs NumPy alone.

    python docs/build_it_yourself/rdu.py

Eight parts; each ends with a demonstration that prints what works by then. docs/build-it-yourself.md walks through it.
It does what snc does, with the hard problems made small: one loop, over rows; no backward pass; greedy placement;
distances in place of routes. What else it leaves out is listed at the end of that page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray

# ---- Part 1: tracing. Run the model on tensors without content, and write down what it computes. -------------------


@dataclass(eq=False)
class Value:
    """A tensor that is not there yet: the operator that makes it, from what, and its shape."""

    op: str
    operands: tuple[Value, ...]
    shape: tuple[int, ...]
    name: str = ""

    def __matmul__(self, other: Value) -> Value:
        return Value("matmul", (self, other), (*self.shape[:-1], other.shape[-1]))

    def __add__(self, other: Value) -> Value:
        return Value("add", (self, other), np.broadcast_shapes(self.shape, other.shape))

    def __mul__(self, other: Value) -> Value:
        return Value("mul", (self, other), np.broadcast_shapes(self.shape, other.shape))


def tanh(x: Value) -> Value:
    """Elementwise."""
    return Value("tanh", (x,), x.shape)


def normalize(x: Value) -> Value:
    """Each row with mean zero and variance one."""
    return Value("normalize", (x,), x.shape)


def trace(model: Callable[..., Value], **shapes: tuple[int, ...]) -> list[Value]:
    """Every value the model makes, operands before what is made of them."""
    inputs = {name: Value("input", (), shape, name) for name, shape in shapes.items()}
    order: list[Value] = []

    def visit(value: Value) -> None:
        if value in order:
            return
        for operand in value.operands:
            visit(operand)
        value.name = value.name or f"{value.op}{len(order)}"
        order.append(value)

    visit(model(**inputs))
    return order


def network(x: Value, w1: Value, b1: Value, w2: Value, w3: Value) -> Value:
    """The example: two wide layers, the second added to the first, and a classifier."""
    first = tanh(normalize(x @ w1 + b1))
    second = normalize(first @ w2) + first
    return tanh(second) @ w3


SHAPES = {"x": (256, 64), "w1": (64, 128), "b1": (128,), "w2": (128, 128), "w3": (128, 10)}


def part1() -> list[Value]:
    graph = trace(network, **SHAPES)
    for value in graph:
        print(f"  {value.name:11} = {value.op}({', '.join(o.name for o in value.operands)})  {list(value.shape)}")
    return graph


# ---- Part 2: operators. All that the rest needs to know of one: numbers, cycles, and what a slice of rows needs. -----


@dataclass(frozen=True)
class Operator:
    """`kernel` computes; `sliced` says which operands a slice of rows needs only those rows of.

    `cycles(shapes, pcus)` is what one firing takes on so many PCUs, each 32 lanes by 6 pipeline stages.
    """

    kernel: Callable[..., Array]
    sliced: tuple[bool, ...]
    cycles: Callable[[Sequence[tuple[int, ...]], int], int]


LANES, STAGES = 32, 6


def systolic(shapes: Sequence[tuple[int, ...]], pcus: int) -> int:
    """m x k by k x n on a row of PCUs that share the columns: a cycle for every k of every block of 32 x 6."""
    (m, k), (_, n) = shapes
    return math.ceil(m / LANES) * math.ceil(n / (STAGES * pcus)) * k


def simd(passes: int) -> Callable[[Sequence[tuple[int, ...]], int], int]:
    """A vector of 32 elements a cycle and PCU, as often as the operator goes over its tile."""
    return lambda shapes, pcus: passes * math.ceil(max(map(math.prod, shapes)) / (LANES * pcus))


def _normalize(x: Array) -> Array:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


OPERATORS = {
    "matmul": Operator(np.matmul, (True, False), systolic),
    "add": Operator(np.add, (True, True), simd(1)),
    "mul": Operator(np.multiply, (True, True), simd(1)),
    "tanh": Operator(np.tanh, (True,), simd(4)),
    "normalize": Operator(_normalize, (True,), simd(3)),
}


def reference(graph: list[Value], arrays: dict[str, Array]) -> Array:
    """What is right by definition: operator after operator on whole arrays."""
    values = dict(arrays)
    for value in graph:
        if value.op != "input":
            values[value.name] = OPERATORS[value.op].kernel(*(values[o.name] for o in value.operands))
    return values[graph[-1].name]


def data() -> dict[str, Array]:
    """Random numbers for every input."""
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape) / math.sqrt(shape[0]) for name, shape in SHAPES.items()}


def part2(graph: list[Value]) -> None:
    print(f"  the reference makes {reference(graph, data()).shape} of finite numbers")


# ---- Part 3: stages. A product takes PCUs in systolic mode; a chain of elementwise operators shares PCUs. ------------


@dataclass
class Stage:
    """Operators that fire together: `nodes` in order, what they read from outside, and what others read of them."""

    nodes: list[Value]
    reads: list[str] = field(default_factory=list)
    pcus: int = 1
    units: list[int] = field(default_factory=list)

    @property
    def result(self) -> Value:
        return self.nodes[-1]


def fuse(graph: list[Value]) -> list[Stage]:
    """A value joins the stage of its operand where nobody else reads that, and it is not a product itself."""
    readers: dict[str, int] = {}
    for value in graph:
        for operand in value.operands:
            readers[operand.name] = readers.get(operand.name, 0) + 1
    stages: list[Stage] = []
    for value in graph:
        if value.op == "input":
            continue
        joined = next((s for s in stages if s.result in value.operands and readers[s.result.name] == 1), None)
        is_product = "matmul" in (value.op, joined.result.op if joined else "")
        later = [s.result for s in stages[stages.index(joined) + 1 :]] if joined else []
        if joined and not is_product and not set(value.operands) & set(later):
            joined.nodes.append(value)
        else:
            stages.append(Stage([value]))
    for stage in stages:
        made = {node.name for node in stage.nodes}
        stage.reads = [o.name for n in stage.nodes for o in n.operands if o.name not in made]
        stage.reads = list(dict.fromkeys(stage.reads))
    return stages


def part3(graph: list[Value]) -> list[Stage]:
    stages = fuse(graph)
    for number, stage in enumerate(stages):
        operators = " + ".join(node.op for node in stage.nodes)
        print(f"  stage {'ABCDEFGH'[number]}: {operators}, reads {', '.join(stage.reads)}")
    return stages


# ---- Part 4: tiles and units. Cut rows; give each stage the PCUs that bring all firings to about the same length. ----


def tile_shape(value: Value, rows: int, tiles: int) -> tuple[int, ...]:
    """The shape of one slice of rows; what has no such rows (weights, biases) stays whole."""
    return (rows // tiles, *value.shape[1:]) if len(value.shape) == 2 and value.shape[0] == rows else value.shape


def firing_cycles(stage: Stage, rows: int, tiles: int, pcus: int) -> int:
    """Cycles of one firing: the operators of a stage are stations of a pipe, so the slowest counts."""
    shapes = [[tile_shape(operand, rows, tiles) for operand in node.operands] for node in stage.nodes]
    return max(OPERATORS[node.op].cycles(shape, pcus) for node, shape in zip(stage.nodes, shapes))


def allocate(stages: list[Stage], rows: int, tiles: int, pcus: int) -> None:
    """Again and again, the fewest PCUs that make the slowest stage faster: its pace is that of all."""
    free = pcus - len(stages)
    while True:
        slowest = max(stages, key=lambda stage: firing_cycles(stage, rows, tiles, stage.pcus))
        now = firing_cycles(slowest, rows, tiles, slowest.pcus)
        counts = range(slowest.pcus + 1, slowest.pcus + free + 1)
        faster = next((n for n in counts if firing_cycles(slowest, rows, tiles, n) < now), None)
        if faster is None:
            return
        free -= faster - slowest.pcus
        slowest.pcus = faster


ROWS, TILES, PCUS = 256, 8, 24


def part4(stages: list[Stage]) -> None:
    allocate(stages, ROWS, TILES, PCUS)
    for number, stage in enumerate(stages):
        cycles = firing_cycles(stage, ROWS, TILES, stage.pcus)
        print(f"  stage {'ABCDEFGH'[number]}: {stage.pcus:2} PCUs, {cycles:5} cycles for {ROWS // TILES} rows")


# ---- Part 5: placement. A checkerboard of PCUs and PMUs; neighbours in the pipeline should be neighbours. ------------

SIDE = 12


def is_pcu(site: int) -> bool:
    """Even sites of the checkerboard compute, odd ones hold buffers."""
    return sum(divmod(site, SIDE)) % 2 == 0


def distance(one: int, other: int) -> int:
    """Links between two sites."""
    (a, b), (c, d) = divmod(one, SIDE), divmod(other, SIDE)
    return abs(a - c) + abs(b - d)


def place(stages: list[Stage]) -> dict[str, int]:
    """A site for every PCU, and the PMU of every buffer: each as near as possible to what came before it."""
    free = set(range(SIDE * SIDE))
    at = SIDE * (SIDE // 2)
    buffers: dict[str, int] = {}

    def take(pcu: bool, near: int) -> int:
        site = min((s for s in free if is_pcu(s) == pcu), key=lambda s: (distance(s, near), s))
        free.remove(site)
        return site

    for stage in stages:
        for name in stage.reads:
            if name not in buffers:
                buffers[name] = take(False, at)
        for _ in range(stage.pcus):
            stage.units.append(take(True, at))
        at = stage.units[-1]
        buffers[stage.result.name] = take(False, at)
    return buffers


def part5(stages: list[Stage]) -> dict[str, int]:
    buffers = place(stages)
    letters = {site: "ABCDEFGH"[number] for number, stage in enumerate(stages) for site in stage.units}
    letters.update((site, "+") for site in buffers.values())
    for row in range(SIDE):
        print("  " + " ".join(letters.get(row * SIDE + column, ".") for column in range(SIDE)))
    return buffers


# ---- Part 6: the executable. Plain data: whoever runs it knows nothing of the model. ---------------------------------


def emit(graph: list[Value], stages: list[Stage], buffers: dict[str, int], depth: int) -> str:
    """The program as JSON: buffers with their places, stages with operators, units and cycles."""
    values = {value.name: value for value in graph}
    made = {stage.result.name: number for number, stage in enumerate(stages)}
    return json.dumps(
        {
            "rows": ROWS,
            "tiles": TILES,
            "result": stages[-1].result.name,
            "buffers": [
                {
                    "name": name,
                    "site": site,
                    "slice": tile_shape(values[name], ROWS, TILES),
                    "sliced": tile_shape(values[name], ROWS, TILES) != values[name].shape,
                    "writer": made.get(name),
                    "depth": depth,
                }
                for name, site in buffers.items()
            ],
            "stages": [
                {
                    "operators": [[n.op, [o.name for o in n.operands], n.name] for n in stage.nodes],
                    "reads": stage.reads,
                    "writes": stage.result.name,
                    "units": stage.units,
                    "cycles": firing_cycles(stage, ROWS, TILES, stage.pcus),
                }
                for stage in stages
            ],
        }
    )


def part6(graph: list[Value], stages: list[Stage], buffers: dict[str, int]) -> str:
    text = emit(graph, stages, buffers, depth=2)
    print(f"  {len(text):,} bytes, {len(json.loads(text)['stages'])} stages, {len(buffers)} buffers")
    return text


# ---- Part 7: numbers. Rings hold so many slices and no more; a stage fires when it can. ------------------------------


def execute(text: str, arrays: dict[str, Array]) -> Array:
    """The result, computed slice by slice. Raises RuntimeError where all stages wait for each other."""
    program = json.loads(text)
    rings: dict[str, dict[int, Array]] = {b["name"]: {} for b in program["buffers"]}
    info = {b["name"]: b for b in program["buffers"]}
    fired = [0] * len(program["stages"])
    readers = {n: [i for i, s in enumerate(program["stages"]) if n in s["reads"]] for n in rings}
    made: list[Array] = []

    def content(name: str, tile: int) -> Array | None:
        if info[name]["writer"] is not None:
            return rings[name].get(tile)
        height = program["rows"] // program["tiles"]
        return arrays[name][tile * height : (tile + 1) * height] if info[name]["sliced"] else arrays[name]

    while min(fired) < program["tiles"]:
        progress = False
        for number, stage in enumerate(program["stages"]):
            tile, target = fired[number], stage["writes"]
            if tile == program["tiles"] or len(rings[target]) == info[target]["depth"]:
                continue
            operands = {name: content(name, tile) for name in stage["reads"]}
            if any(array is None for array in operands.values()):
                continue
            for op, names, result in stage["operators"]:
                operands[result] = OPERATORS[op].kernel(*(operands[name] for name in names))
            rings[target][tile] = operands[target]
            fired[number], progress = tile + 1, True
            for name in stage["reads"]:  # a slice is dropped when its last reader has fired
                if info[name]["writer"] is not None and all(fired[r] > tile for r in readers[name]):
                    del rings[name][tile]
            if target == program["result"]:
                made.append(rings[target].pop(tile))
        if not progress:
            raise RuntimeError("deadlock: every stage waits for another")
    return np.concatenate(made)


def part7(graph: list[Value], text: str) -> None:
    arrays = data()
    error = np.abs(execute(text, arrays) - reference(graph, arrays)).max()
    print(f"  largest difference from the reference: {error:.1e}")
    assert error < 1e-12


# ---- Part 8: time. When does each firing begin? The earliest moment that satisfies everybody it depends on. ----------


def schedule(text: str) -> list[list[int]]:
    """The cycle at which each firing of each stage begins.

    start(s, t) >= start(s, t - 1) + cycles(s)                  the stage is free again
                >= start(p, t) + cycles(p) + links              the slice has arrived from its producer p
                >= start(c, t - depth) + cycles(c)              consumer c is done with the slice that is replaced
    """
    program = json.loads(text)
    stages = program["stages"]
    info = {b["name"]: b for b in program["buffers"]}
    readers = {n: [i for i, s in enumerate(stages) if n in s["reads"]] for n in info}
    starts: list[list[int]] = [[] for _ in stages]
    for tile in range(program["tiles"]):
        for number, stage in enumerate(stages):
            earliest = [0]
            if tile:
                earliest.append(starts[number][tile - 1] + stage["cycles"])
            for name in stage["reads"]:
                writer = info[name]["writer"]
                if writer is not None:
                    links = max(
                        distance(info[name]["site"], unit) for unit in (*stage["units"], *stages[writer]["units"])
                    )
                    earliest.append(starts[writer][tile] + stages[writer]["cycles"] + links)
            replaced = tile - info[stage["writes"]]["depth"]
            if replaced >= 0:
                earliest += [starts[c][replaced] + stages[c]["cycles"] for c in readers[stage["writes"]]]
            starts[number].append(max(earliest))
    return starts


def total_cycles(text: str) -> int:
    """From the first firing's beginning to the last one's end."""
    last = json.loads(text)["stages"]
    return max(begins[-1] + stage["cycles"] for begins, stage in zip(schedule(text), last))


def part8(graph: list[Value], stages: list[Stage], buffers: dict[str, int], text: str) -> None:
    total = total_cycles(text)
    for number, (begins, stage) in enumerate(zip(schedule(text), json.loads(text)["stages"])):
        line = [" "] * 61
        for tile, begin in enumerate(begins):
            for cell in range(begin * 60 // total, (begin + stage["cycles"]) * 60 // total + 1):
                line[cell] = str(tile)
        print(f"  {'ABCDEFGH'[number]} |{''.join(line)}|")
    print(f"  {total:,} cycles")
    for depth in (0, 1, 2, 3, 4):
        deeper = emit(graph, stages, buffers, depth)
        try:
            execute(deeper, data())
            print(f"  rings of {depth}: {total_cycles(deeper):,} cycles")
        except RuntimeError as error:
            print(f"  rings of {depth}: {error}")


def main() -> None:
    """All parts, one after another."""
    print("1. traced")
    graph = part1()
    print("2. operators")
    part2(graph)
    print("3. stages")
    stages = part3(graph)
    print("4. tiles and units")
    part4(stages)
    print("5. placed")
    buffers = part5(stages)
    print("6. the executable")
    text = part6(graph, stages, buffers)
    print("7. numbers")
    part7(graph, text)
    print("8. time")
    part8(graph, stages, buffers, text)


if __name__ == "__main__":
    main()
