"""Running all graphs of a program on whole arrays, by the reference interpreter."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from compiler.passes.precision import round_values
from ir.graph import Program, Symbol, SymbolKind
from ir.interpreter import run
from ir.op import Array
from ir.rounding import round_to_bf16
from ir.types import DType
from workbench.numbers.errors import differences, largest

PRODUCED = (SymbolKind.OUTPUT, SymbolKind.GRADIENT, SymbolKind.ACTIVATION)
"""Symbols that hold nothing before a program has run."""

COMPARED = (SymbolKind.OUTPUT, SymbolKind.GRADIENT, SymbolKind.PARAMETER, SymbolKind.BUFFER, SymbolKind.STATE)
"""Symbols whose content after a run is what the program is for."""


def run_program(program: Program, values: Mapping[str, Array]) -> dict[str, Array]:
    """What the graphs of the program, run one after another on `values`, store into symbols that matter outside."""
    symbols = dict(round_values(program, values))
    stored: dict[str, Array] = {}
    for graph in program.graphs:
        stored |= (made := run(graph, symbols))
        symbols |= made
    return {name: array for name, array in stored.items() if program.symbol[name].kind in COMPARED}


def complete_values(program: Program, known: Mapping[str, Array], seed: int = 0) -> dict[str, Array]:
    """`known` values, and random ones for every other symbol that a program reads before it stores it."""
    needed = [symbol for symbol in program.symbols if symbol.kind not in PRODUCED]
    found = {symbol.name: known[symbol.name] for symbol in needed if symbol.name in known}
    return {**{s.name: _random(s, seed) for s in needed if s.name not in found}, **found}


def rounding_noise(program: Program, values: Mapping[str, Array], exact: Mapping[str, Array]) -> float:
    """How much the results change, relatively, where every value that is read is rounded to bf16 once: a program that
    amplifies that (a maximum that goes to another element) does so with every other rounding."""
    rounded = {name: array.copy() for name, array in values.items()}
    for name, array in rounded.items():
        if program.symbol[name].type.dtype is DType.F32:
            round_to_bf16(array)
    return largest(differences(run_program(program, rounded), exact))


def _random(symbol: Symbol, seed: int) -> Array:
    """Values that do not explode: of order 1 for inputs, smaller for parameters, positive for states such as variances;
    integers are 0 or 1, which are labels and rows of every table but those of one row. By name, so that they stay the
    same when a program loses others."""
    random = np.random.default_rng((seed, zlib.crc32(symbol.name.encode())))
    shape, dtype = symbol.type.shape, symbol.type.dtype
    if not dtype.is_float:
        return np.asarray(random.integers(0, 2, shape), dtype.compute)
    drawn = random.standard_normal(shape)
    if symbol.kind is SymbolKind.PARAMETER and len(shape) > 1:
        drawn = drawn / np.sqrt(np.prod(shape[1:]))
    if symbol.kind is SymbolKind.STATE:
        drawn = np.abs(drawn) * 0.1
    if symbol.kind is SymbolKind.HYPER:
        drawn = np.full(shape, 0.05)
    return np.asarray(drawn, dtype.compute)
