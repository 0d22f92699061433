"""CP-SAT as a rival of placement: it starts from a placement, and looks for a better one as long as it may.

OR-tools is not among the dependencies: it is installed for this comparison only (`pip install ortools`, which brings a
protobuf of the 6 series).
"""

from __future__ import annotations

from ortools.sat.python import cp_model

from backends.rdu.place.place import Board
from backends.rdu.wire.netlist import Netlist, Placement
from pef.machine import Machine, SiteKind

SCALE = 16
"""Weights are integers there: sixteenths of a byte per cycle."""


def improved(netlist: Netlist, machine: Machine, start: Placement, seconds: float) -> Placement:
    """The best placement that CP-SAT finds in so many seconds of two threads, from one to start from.

    Every unit has a row and a column; sites, which are row * columns + column, all differ; rows and columns of PCUs add
    up to even numbers, of PMUs to odd ones; a net's box holds its ends, and its half perimeter costs its weight.
    """
    graph = Board.of(netlist, machine).graph
    model = cp_model.CpModel()
    rows: list[cp_model.LinearExprT] = []
    columns: list[cp_model.LinearExprT] = []
    sites = []
    begun = [divmod(site, machine.columns) for site in (*start.sites, *machine.agcu_sites)]
    for number, unit in enumerate(netlist.units):
        row, column = model.new_int_var(0, machine.rows - 1, ""), model.new_int_var(0, machine.columns - 1, "")
        half = model.new_int_var(0, (machine.rows + machine.columns) // 2, "")
        model.add(row + column == 2 * half + (unit.kind is SiteKind.PMU))
        sites.append(row * machine.columns + column)
        for variable, value in zip((row, column, half), (*begun[number], sum(begun[number]) // 2)):
            model.add_hint(variable, value)
        rows.append(row)
        columns.append(column)
    model.add_all_different([*sites, *machine.faulty_sites])
    for site in machine.agcu_sites:
        rows.append(site // machine.columns)
        columns.append(site % machine.columns)
    cost: list[cp_model.LinearExprT] = []
    for net, (first, behind) in enumerate(zip(graph.starts.tolist(), graph.starts.tolist()[1:])):
        ends = graph.ends[first:behind].tolist()
        for axis, (places, size) in enumerate(((rows, machine.rows), (columns, machine.columns))):
            low, high = model.new_int_var(0, size - 1, ""), model.new_int_var(0, size - 1, "")
            model.add_hint(low, min(begun[end][axis] for end in ends))
            model.add_hint(high, max(begun[end][axis] for end in ends))
            model.add_min_equality(low, [places[end] for end in ends])
            model.add_max_equality(high, [places[end] for end in ends])
            cost.append(round(SCALE * float(graph.weight[net])) * (high - low))
    model.minimize(sum(cost))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 2
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return start
    return Placement(tuple(int(solver.value(site)) for site in sites))
