"""Data parallel training: the REDUCE graph, which averages the gradients of all parameters over the replicas."""

from __future__ import annotations

from dataclasses import replace

from compiler.optimizers import gradient_of
from ir.builder import GraphBuilder
from ir.errors import Problem, UsageError
from ir.graph import Graph, Program, SectionKind, SymbolKind
from ir.location import Location
from ir.ops.collective import AllReduce


def with_reduction(program: Program) -> Program:
    """The program with a REDUCE graph between back-propagation and all that uses the gradients.

    Raises UsageError for a program that makes no gradients of parameters.
    """
    averaged = _reduction(program)
    if not averaged.outputs:
        hint = "compile for training, or leave out --data-parallel: replicas that only infer exchange nothing"
        raise UsageError(Problem(f"{program.name} makes no gradients that replicas could average", hint=hint))
    before = (SectionKind.FWD, SectionKind.BCKWD)
    first = [graph for graph in program.graphs if graph.kind in before]
    then = [graph for graph in program.graphs if graph.kind not in before]
    return replace(program, graphs=(*first, averaged, *then))


def _reduction(program: Program) -> Graph:
    builder = GraphBuilder(SectionKind.REDUCE)
    for symbol in program.symbols:
        gradient = program.symbol.get(gradient_of(symbol.name))
        if symbol.kind is not SymbolKind.PARAMETER or gradient is None or gradient.kind is not SymbolKind.GRADIENT:
            continue
        builder.location = Location("<all_reduce>", 0, symbol.name)
        value = builder.input(gradient.name, gradient.type)
        builder.output(gradient.name, builder.add(AllReduce(), value, hint=f"{symbol.name}.mean"))
    return builder.build()
