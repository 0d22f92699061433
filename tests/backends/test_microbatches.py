"""A microbatch is a tile of what streams along the batch: other tiles, the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import load_machine
from backends.rdu.microbatches import Microbatches
from compiler.driver import CompileRequest
from compiler.frontend.dtypes import to_array
from ir.errors import UsageError
from pef import pef_pb2 as pb
from pef.check import check
from runtime.session import Session
from tests.models.toolchain import Compiled, compiled, spec

BATCH = 32


def with_pieces(base: Compiled, size: int | None) -> pb.Pef:
    options = BackendOptions(microbatches=Microbatches(BATCH, size) if size else None)
    pef = compile_program(base.program, load_machine("sn30"), options)
    check(pef)
    return pef


def tiles(pef: pb.Pef, kind: str) -> set[int]:
    """The tile counts of the phases that stream."""
    numbers = {section.configuration for section in pef.sections if section.kind == kind}
    return {phase.loops[0] for number in numbers for phase in pef.configurations[number].phases} - {1}


def test_tiles_are_microbatches_and_results_stay() -> None:
    model = spec("res_ffn", "sgd")
    base = compiled(model)
    inputs = {name: to_array(tensor) for name, tensor in model.inputs.items()}
    pefs = {size: with_pieces(base, size) for size in (None, 16, 4, 1)}
    found = {}
    for size, pef in pefs.items():
        if size:
            assert BATCH // size in tiles(pef, "FWD") and BATCH // size in tiles(pef, "BCKWD")
            assert tiles(pef, "OPT") == tiles(pefs[None], "OPT")
        session = Session(pef, threads=1)
        for name, value in base.values.items():
            session.write(name, value)
        for _ in range(2):
            session.run(inputs=inputs)
        found[size] = {name: session.read(name) for name in base.values if name.endswith(("weight", "bias"))}
    for size, values in found.items():
        for name, value in values.items():
            np.testing.assert_allclose(value, found[None][name], rtol=1e-4, atol=1e-6, err_msg=f"{size} {name}")


@pytest.mark.parametrize(("batch", "size"), [(32, 5), (8, 16), (None, 4), (8, 0)])
def test_pieces_that_make_no_batch_are_refused(batch: int | None, size: int) -> None:
    with pytest.raises(UsageError, match=f"has no microbatches of {size}"):
        CompileRequest("m.py", batch_size=batch, microbatch_size=size)


def test_a_microbatch_of_the_whole_batch_asks_for_nothing() -> None:
    assert CompileRequest("m.py", batch_size=8, microbatch_size=8).backend_options().microbatches is None
    assert CompileRequest("m.py", batch_size=8, microbatch_size=2).backend_options().microbatches == Microbatches(8, 2)
