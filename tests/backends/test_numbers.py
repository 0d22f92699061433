"""What the backend compiles computes the graph, slice by slice as much as joined: on random graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from backends.rdu.compile import BackendOptions, compile_program
from ir import interpreter
from ir.types import DType
from runtime.session import Session
from tests.backends.machines import small_machine
from tests.backends.random_graphs import RandomGraph, random_graphs

MACHINE = small_machine(12)
some = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compare(random: RandomGraph, fuse: bool, tolerance: float) -> None:
    pef = compile_program(random.program, MACHINE, BackendOptions(fuse=fuse))
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
    compare(random, fuse, 1e-5)


@some
@given(random_graphs(DType.BF16))
def test_random_graphs_in_half_precision(random: RandomGraph) -> None:
    """A sum that associates differently may round to the neighbour, which later operators carry on."""
    compare(random, True, 2**-4)
