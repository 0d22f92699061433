"""Annealing: what it keeps beside the placement agrees with it, and without heat it never takes a worse one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.rdu.place.anneal import anneal
from backends.rdu.place.hypergraph import Hypergraph
from backends.rdu.wire.netlist import Netlist
from tests.backends.netlists import pipeline
from tests.backends.test_place import netlists

ROWS, COLUMNS = 6, 8


def laid_out(netlist: Netlist, agcus: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Where units and AGCUs are, and who is on each site: units in order on sites of their kind."""
    row, column = np.indices((ROWS, COLUMNS)).reshape(2, -1)
    free = [iter(np.flatnonzero((row + column) % 2 == kind).tolist()) for kind in range(2)]
    sites = [next(free[unit.kind.value == "pmu"]) for unit in netlist.units]
    at = np.array([divmod(site, COLUMNS) for site in (*sites, *(number * 6 for number in range(agcus)))], np.int64)
    occupant = np.full((ROWS, COLUMNS), -1)
    occupant[1, 1] = occupant[1, 1] if (1, 1) in map(tuple, at[: len(sites)].tolist()) else -2
    occupant[tuple(at[: len(sites)].T)] = np.arange(len(sites))
    return at, occupant


def run(graph: Hypergraph, at: np.ndarray, occupant: np.ndarray, heat: list[float], seed: int = 0) -> None:
    anneal(
        at, occupant, graph.nets, graph.firsts, graph.ends, graph.starts, graph.weight, np.ones(2, np.int64),
        np.array(heat), 200, 0.5, 3.0, seed,
    )  # fmt: skip


@given(netlists(), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_units_stay_on_sites_of_their_kind_alone(netlist: Netlist, seed: int) -> None:
    graph = Hypergraph.of(netlist)
    at, occupant = laid_out(netlist)
    kinds, fixed, blocked = (
        (at[: len(netlist.units)].sum(axis=1) % 2).tolist(),
        at[len(netlist.units) :].copy(),
        occupant == -2,
    )
    run(graph, at, occupant, [1e6, 100.0, 0.0], seed)
    placed = at[: len(netlist.units)]
    assert occupant[tuple(placed.T)].tolist() == list(range(len(netlist.units)))
    assert (occupant >= 0).sum() == len(netlist.units)
    assert (placed.sum(axis=1) % 2).tolist() == kinds
    assert (at[len(netlist.units) :] == fixed).all()
    assert ((occupant == -2) == blocked).all()


@given(netlists(), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_without_heat_the_cost_never_grows(netlist: Netlist, seed: int) -> None:
    """Which it would if what a move costs were added up wrongly."""
    graph = Hypergraph.of(netlist)
    at, occupant = laid_out(netlist)
    for _ in range(5):
        before = graph.cost(at.astype(float))
        run(graph, at, occupant, [0.0], seed)
        assert graph.cost(at.astype(float)) <= before * (1 + 1e-12)


@pytest.mark.parametrize("steps", [(1, 1), (4, 2)])
def test_a_row_may_be_farther_than_a_column(steps: tuple[int, int]) -> None:
    """Without heat the cost in hops never grows, whatever a step is worth, and of a few seeds one falls by a tenth."""
    netlist = pipeline(stages=2, width=4)
    graph = Hypergraph.of(netlist)
    shares = []
    for seed in range(8):
        at, occupant = laid_out(netlist, agcus=8)
        before = graph.cost(at * np.array(steps, float))
        anneal(
            at, occupant, graph.nets, graph.firsts, graph.ends, graph.starts, graph.weight, np.array(steps),
            np.zeros(1), 2000, 0.5, 3.0, seed,
        )  # fmt: skip
        shares.append(graph.cost(at * np.array(steps, float)) / before)
    assert max(shares) <= 1.0
    assert min(shares) < 0.9
