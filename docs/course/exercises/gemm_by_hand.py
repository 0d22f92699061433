"""Exercise 1: y = x @ w on the fabric, by hand."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from fabric import MACHINE, ConfigurationBuilder, Todo, cycles, expect, f32, grade, matmul, np, one_section, pb, run

from pef import picture

M, K, N, TILES = 64, 32, 16, 4
"""x is [M, K] and streams in TILES slices of rows; w is [K, N] and stays."""


def buffers(b: ConfigurationBuilder) -> tuple[int, int, int]:
    """The buffers of x, w and y: two slices of x and of y at a time, and all of w."""
    # TODO 1: `b.buffer(name, type, axes=, counts=, depth=)` makes one; x and y are cut along rows, w is not cut.
    raise Todo(1)


def stage(b: ConfigurationBuilder, x: int, w: int, y: int) -> None:
    """The stage that multiplies: it reads a slice of x and all of w, and writes a slice of y."""
    # TODO 2: `s = b.stage(name)`; `s.read(...)` and `s.apply(...)` give values; then `s.write(...)` and `s.place()`.
    raise Todo(2)


def streams(b: ConfigurationBuilder, slots: list[int], x: int, w: int, y: int) -> None:
    """Loads of x (sliced) and w (whole), and the store of y (sliced)."""
    # TODO 3: `b.load(slot, buffer, axis, agcus=)` and `b.store(...)`; without an axis a tensor moves whole.
    raise Todo(3)


def program() -> pb.Pef:
    """The whole PEF."""
    b = ConfigurationBuilder(MACHINE)
    slots = [b.slot(tensor) for tensor in (f32(M, K), f32(K, N), f32(M, N))]
    x, w, y = buffers(b)
    b.phase(TILES)
    stage(b, x, w, y)
    streams(b, slots, x, w, y)
    symbols = [("x", f32(M, K), "input"), ("w", f32(K, N), "parameter"), ("y", f32(M, N), "output")]
    return one_section(b.build(), symbols)


def self_check() -> None:
    """The PEF is legal, multiplies, and is made as the page says."""
    pef = program()
    random = np.random.default_rng(0)
    x, w = (random.standard_normal(shape).astype(np.float32) for shape in ((M, K), (K, N)))
    (y,) = run(pef, x=x, w=w).values()
    expect(bool(np.allclose(y, x @ w, rtol=1e-5, atol=1e-5)), "y is not x @ w")
    by_name = {buffer.name: buffer for buffer in pef.configurations[0].buffers}
    expect(by_name["x"].depth == 2, "x should hold two slices at a time, so that one loads while one is read")
    expect(not by_name["w"].counts, "w should stay whole: it is used by every slice of x")
    print("\n".join(picture.grid(pef.configurations[0], MACHINE)[:4]))
    print(f"{cycles(pef):.0f} cycles")


if __name__ == "__main__":
    grade(self_check)
