"""Exercise 2: how deep must a ring be? y = x + tanh(tanh(x)), where x waits for the longer path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from fabric import MACHINE, ConfigurationBuilder, Todo, cycles, expect, f32, grade, np, one_section, op, pb, run

from ir.errors import SncError

ROWS, COLUMNS, TILES = 256, 32, 16


def program(depth: int) -> pb.Pef:
    """The PEF whose ring of x holds `depth` slices; the other rings hold two."""
    b = ConfigurationBuilder(MACHINE)
    tensor = f32(ROWS, COLUMNS)
    slots = [b.slot(tensor), b.slot(tensor)]
    x, inner, outer, y = (
        b.buffer(name, tensor, axes=0, counts=TILES, depth=held)
        for name, held in (("x", depth), ("inner", 2), ("outer", 2), ("y", 2))
    )
    b.phase(TILES)
    for name, source, target in (("inner", x, inner), ("outer", inner, outer)):
        stage = b.stage(name)
        stage.write(stage.apply(op("tanh"), stage.read(source, 0), axis=0), target)
        stage.place()
    total = b.stage("sum")
    total.write(total.apply(op("add"), total.read(x, 0), total.read(outer, 0), axis=0), y)
    total.place()
    b.load(slots[0], x, 0, agcus=(0,))
    b.store(slots[1], y, 0, agcus=(1,))
    return one_section(b.build(), [("x", tensor, "input"), ("y", tensor, "output")])


def cycles_by_depth() -> dict[int, float]:
    """The cycles for every depth from 1 to 8 that makes a legal PEF; `one_section` raises SncError for the others."""
    # TODO 1: try every depth; a PEF that would stand still is refused with SncError, and has no entry.
    raise Todo(1)


def smallest_best(by_depth: dict[int, float]) -> int:
    """The smallest depth beyond which no cycle is gained."""
    # TODO 2: the answer is not always the deepest ring.
    raise Todo(2)


def self_check() -> None:
    """The table is complete, and the depth is the one to build."""
    by_depth = cycles_by_depth()
    for depth, count in sorted(by_depth.items()):
        print(f"depth {depth}: {count:5.0f} cycles")
    expect(bool(by_depth) and max(by_depth) == 8, "depths up to 8 are to be tried")
    for depth in range(1, 9):
        try:
            expected = cycles(program(depth))
        except SncError:
            expect(depth not in by_depth, f"depth {depth} makes no legal PEF")
            continue
        expect(by_depth.get(depth) == expected, f"depth {depth} takes {expected:.0f} cycles")
    best = smallest_best(by_depth)
    least = min(by_depth.values())
    expect(by_depth[best] == least, f"depth {best} is not the fastest")
    expect(all(by_depth[d] > least for d in by_depth if d < best), "a smaller ring is as fast")
    x = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float32)
    y = run(program(best), x=x)["y"]
    expect(bool(np.allclose(y, x + np.tanh(np.tanh(x)), atol=1e-6)), "the numbers are wrong")


if __name__ == "__main__":
    grade(self_check)
