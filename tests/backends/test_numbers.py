"""What the backend compiles computes the graph, slice by slice as much as joined: on random graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from backends.rdu.compile import BackendOptions, compile_program
from ir import interpreter
from ir.errors import InfeasibleError
from ir.types import DType
from pef.machine import Machine
from runtime.session import Session
from tests.backends.machines import small_machine
from tests.backends.random_graphs import RandomGraph, random_graphs

ROOMY, CRAMPED = small_machine(12), small_machine(8, pmu_bytes=512)
some = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compare(random: RandomGraph, machine: Machine, fuse: bool, tolerance: float) -> None:
    try:
        pef = compile_program(random.program, machine, BackendOptions(fuse=fuse))
    except InfeasibleError:
        assume(machine is ROOMY)
        raise
    expected = interpreter.run(random.program.graphs[0], random.given)
    for strict in (True, False):
        session = Session(pef, strict=strict)
        session.load_weights(random.given)
        for name, found in session.run().items():
            scale = max(1.0, float(np.abs(expected[name]).max()))
            message = f"{name}, strict={strict}"
            np.testing.assert_allclose(found, expected[name], rtol=0, atol=tolerance * scale, err_msg=message)


@pytest.mark.parametrize("fuse", [True, False])
@some
@given(random_graphs())
def test_random_graphs(fuse: bool, random: RandomGraph) -> None:
    compare(random, ROOMY, fuse, 1e-5)


@some
@given(random_graphs(DType.BF16))
def test_random_graphs_in_half_precision(random: RandomGraph) -> None:
    """A sum that associates differently may round to the neighbour, which later operators carry on."""
    compare(random, ROOMY, True, 2**-4)


@some
@given(random_graphs())
def test_random_graphs_in_little_memory(random: RandomGraph) -> None:
    """Where tensors have to be cut small; what does not fit at all is left out."""
    compare(random, CRAMPED, True, 1e-5)
