"""Exercise 3: iteration spaces. Which cuts of a tensor compute the same, and what happens to the results?"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from fabric import Array, Todo, expect, f32, grade, np

from ir.space import Cut, Space


@dataclass(frozen=True)
class Case:
    """An operator: what it computes, the shapes of its operands, and the dims along which it can be cut."""

    name: str
    function: Callable[..., Array]
    shapes: tuple[tuple[int, ...], ...]
    cuts: int


CASES = (
    Case("outer product of two vectors", lambda a, b: a[:, None] * b[None, :], ((4,), (6,)), 2),
    Case("product with a transposed matrix: x @ w.T", lambda x, w: x @ w.T, ((4, 6), (8, 6)), 3),
    Case("sum of each row", lambda x: x.sum(1), ((4, 6),), 2),
    Case("each row divided by its largest element", lambda x: x / np.abs(x).max(1, keepdims=True), ((4, 6),), 1),
)


def spaces() -> list[str]:
    """The space of each case, operands before the arrow, results behind it; `!` marks a dim that is held whole."""
    # TODO 1: write them as ir/space.py does: a dim that no result has is reduced over, `!` forbids a cut.
    raise Todo(1)


def computes_the_same(case: Case, cut: Cut, operands: list[Array]) -> bool:
    """Whether two tiles along a cut make the whole: side by side where the result is cut, else added up."""
    whole = case.function(*operands)
    tiles = []
    for half in range(2):
        parts = [
            operand if axis < 0 else np.split(operand, 2, axis)[half] for operand, axis in zip(operands, cut.operands)
        ]
        tiles.append(case.function(*parts))
    (axis,) = cut.results
    made = sum(tiles) if axis < 0 else np.concatenate(tiles, axis)
    return made.shape == whole.shape and bool(np.allclose(made, whole, atol=1e-5))


def self_check() -> None:
    """Every cut that a space allows computes the same, and none is missing."""
    random = np.random.default_rng(0)
    for case, text in itertools.zip_longest(CASES, spaces()):
        operands = [random.standard_normal(shape).astype(np.float32) for shape in case.shapes]
        result = case.function(*operands)
        try:
            space = Space.parse(text, [f32(*shape) for shape in case.shapes], [f32(*result.shape)])
        except (ValueError, KeyError) as error:
            expect(False, f"{case.name}: {error}")
        for cut in space.cuts():
            expect(computes_the_same(case, cut, operands), f"{case.name}: cutting {cut.dim} changes the result")
        expect(len(space.cuts()) == case.cuts, f"{case.name}: {case.cuts} dims can be cut, not {len(space.cuts())}")
        print(f"{case.name}: {space}")


if __name__ == "__main__":
    grade(self_check)
