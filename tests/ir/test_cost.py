"""No operator is cheaper than the elements it consumes: each passes one lane once, and sorting takes many passes."""

from __future__ import annotations

import math

import pytest
from samples import SAMPLES as FIRST_SAMPLES
from samples import Sample, f32, i32, op
from samples_more import MORE_SAMPLES

from backends.rdu.machine import load_machine
from ir.op import CostClass, Op
from ir.types import TensorType
from pef.cycles import Parallelism, StageWork, TileOperation, compute_cycles

MACHINE = load_machine("sn30")
TABLES = {"index_select": 0, "gather": 0, "nll": 0, "grouped_matmul": 1}
"""The operand that is looked up in: only what is fetched passes."""

BUSY = [sample for sample in (*FIRST_SAMPLES, *MORE_SAMPLES) if not sample.op.is_free]


def cycles(op: Op, *operands: TensorType, units: int = 1) -> int:
    """Cycles of one tile on so many PCUs side by side."""
    work = StageWork.of([TileOperation(op, operands, op.results(*operands))])
    return compute_cycles(work, Parallelism(row=units), MACHINE)


@pytest.mark.parametrize("sample", BUSY, ids=[f"{s.op.name}-{'-'.join(map(str, s.operands))}" for s in BUSY])
def test_cycles_cover_the_elements_consumed(sample: Sample) -> None:
    table = TABLES.get(sample.op.name)
    consumed = max(operand.numel for index, operand in enumerate(sample.operands) if index != table)
    if sample.op.cost.kind is not CostClass.SYSTOLIC:
        consumed = max(consumed, *(result.numel for result in sample.op.results(*sample.operands)))
    for units in (1, 2):
        assert cycles(sample.op, *sample.operands, units=units) >= consumed / (MACHINE.pcu_lanes * units)


@pytest.mark.parametrize(
    ("name", "attributes", "operands", "elements"),
    [
        ("scatter_add", {"dim": 0}, (f32(10), i32(10**6), f32(10**6)), 10**6 + 10),
        ("scatter", {"dim": 0}, (f32(10**6), i32(10), f32(10)), 10**6 + 10),
        ("index_add", {"dim": 0, "extent": 10}, (f32(1000, 64), i32(1000)), 1000 * 64 + 10 * 64),
        ("index_add", {"dim": 0, "extent": 5000}, (f32(10, 64), i32(10)), 5000 * 64 + 10 * 64),
        ("cat", {"dim": 0}, (f32(64), f32(936)), 1000),
        ("nll_backward", {"classes": 1000, "ignore_index": -100}, (f32(32), i32(32)), 32000),
        ("nll", {"ignore_index": -100}, (f32(32, 1000), i32(32)), 32),
        ("index_select", {"dim": 0}, (f32(50000, 64), i32(8)), 8 * 64),
        ("gather", {"dim": 0}, (f32(50000, 64), i32(8, 64)), 8 * 64),
    ],
)
def test_what_passes_the_lanes(
    name: str, attributes: dict[str, int], operands: tuple[TensorType, ...], elements: int
) -> None:
    vectors = math.ceil(elements / MACHINE.pcu_lanes)
    assert cycles(op(name, **attributes), *operands) == vectors * MACHINE.fp32_cycles_per_vector


def test_sorting_takes_all_steps_of_its_network() -> None:
    for extent, steps in ((2, 1), (8, 6), (1000, 55), (1024, 55), (1025, 66)):
        vectors = math.ceil(4 * extent / MACHINE.pcu_lanes)
        sort = op("sort", dim=1, descending=False)
        assert cycles(sort, f32(4, extent)) == steps * vectors * MACHINE.fp32_cycles_per_vector


def test_finding_few_of_many_is_cheaper_than_sorting_all() -> None:
    """The single largest takes one pass, as `amax` does; more take more, and all of them as many as sorting."""
    tensor, amax = f32(4, 4096), op("amax", dims=(1,), keepdim=True)
    best = [cycles(op("topk", k=k, dim=1, largest=True), tensor) for k in (1, 2, 8, 64, 4096)]
    assert best == sorted(best)
    assert best[0] == cycles(amax, tensor)
    assert best[-1] == cycles(op("sort", dim=1, descending=True), tensor)
