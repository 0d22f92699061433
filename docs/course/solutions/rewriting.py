"""Exercise 4: a pass. What is clamped once by relu need not be clamped again."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from fabric import expect, grade, np

from compiler.passes.dce import Dce
from compiler.passes.rewrite import Rewriter, rewrite
from ir import interpreter
from ir.graph import Node, Program, Value
from ir.text import parse_program, print_program

TEXT = """program @p {
  symbol %x : f32[4,3] input
  symbol %once : f32[4,3] output
  symbol %twice : f32[4,3] output
  symbol %kept : f32[4,3] output

  graph FWD (%x) {
    %a = relu(%x) : f32[4,3] @ "m.py":1 ""
    %b = relu(%a) : f32[4,3] @ "m.py":2 ""
    %c = relu(%b) : f32[4,3] @ "m.py":3 ""
    %d = abs(%x) : f32[4,3] @ "m.py":4 ""
    %e = relu(%d) : f32[4,3] @ "m.py":5 ""
    %f = neg(%a) : f32[4,3] @ "m.py":6 ""
    %g = relu(%f) : f32[4,3] @ "m.py":7 ""
    store %c -> %once
    store %e -> %twice
    store %g -> %kept
  }
}
"""
NEVER_NEGATIVE = ("relu", "abs", "exp", "sigmoid")
"""Operators whose results relu leaves as they are."""


def again(node: Node, rewriter: Rewriter) -> Value | Node | None:
    """relu of something that is never negative is that thing; None where the rule does not apply."""
    if node.op.name != "relu":
        return None
    above = rewriter.producers.get(node.operands[0].name)
    if above is None or above.op.name not in NEVER_NEGATIVE:
        return None
    return node.operands[0]


def after(program: Program) -> Program:
    """The program after the pass, without what became unused."""
    return Dce()(rewrite(program, again))


def self_check() -> None:
    """Two relus are left, the others are gone, and no number changed."""
    program = parse_program(TEXT)
    changed = after(program)
    print(print_program(changed))
    left = [node.op.name for node in changed.graphs[0].nodes]
    expect(left.count("relu") == 2, f"{left.count('relu')} relus are left; two are needed, of x and of -relu(x)")
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    for name, value in interpreter.run(program.graphs[0], {"x": x}).items():
        same = interpreter.run(changed.graphs[0], {"x": x})[name]
        expect(bool(np.array_equal(value, same)), f"{name} changed")


if __name__ == "__main__":
    grade(self_check)
