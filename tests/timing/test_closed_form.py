"""One operator, resident operands: simulated cycles equal the documented closed form exactly.

exec = L + I + F + w + h + (T - 1) * max(I, D) + D, where L is the arrival of the last operand (its bytes at one AGCU,
and the hops of its load and read nets), I the interval, F fill, w and h the hops of the write and store nets, D the
store of one tile. A whole store after the last tile gives L + T * I + F + w + h + T * D.
"""

from __future__ import annotations

import math

import pytest

from ir.op import Op
from ir.types import DType
from pef import pef_pb2 as pb
from tests.timing.build import (
    FREE_MEMORY,
    ConfigurationBuilder,
    bf16,
    execution_of,
    gemm,
    hops,
    op,
    stage_reports,
)

LANES, STAGES, PORT, AGCU = 32, 6, 64, 64


def arrival(configuration: pb.Configuration, stream: int, port: int) -> float:
    """When a whole operand has reached the stage."""
    record = configuration.phases[0].streams[stream]
    size = 2 * math.prod(configuration.slots[record.slot].shape)
    return size / AGCU + hops(configuration, 0, pb.Net.LOAD, stream) + hops(configuration, 0, pb.Net.READ, 0, port)


@pytest.mark.parametrize("sums", [1, 2, 4, 5, 16])
def test_rows_of_pixels_of_a_weight_gradient_are_shared_out(sums: int) -> None:
    """Two images of 8 x 8 pixels are 16 parts of K; every PCU that has some of them writes a sum of its own."""
    gradient = op(
        "conv2d_weight_gradient",
        weight_shape=(32, 4, 3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1, dtype=DType.BF16,
    )  # fmt: skip
    b = ConfigurationBuilder(FREE_MEMORY)
    types = bf16(2, 32, 8, 8), bf16(2, 4, 8, 8), bf16(32, 4, 3, 3)
    slots = [b.slot(tensor) for tensor in types]
    dy, x, dw = (b.buffer(name, tensor, pmus=pmus) for name, tensor, pmus in zip(("dy", "x", "dw"), types, (8, 8, 1)))
    b.phase(1)
    stage = b.stage("gradient")
    stage.write(stage.apply(gradient, stage.read(dy), stage.read(x)), dw)
    stage.place(columns=3, batch=sums)
    for slot, buffer in zip(slots[:2], (dy, x)):
        b.load(slot, buffer)
    b.store(slots[2], dw)
    (report,) = stage_reports(execution_of(b.build()))
    blocks = math.ceil(32 / LANES) * math.ceil(4 * 9 / (STAGES * 3))
    assert report.compute_cycles == math.ceil(16 / sums) * blocks * 8
    assert report.port_cycles == max(math.ceil(2 * 32 * 128 * blocks / (8 * PORT)), sums * types[2].nbytes // PORT)


@pytest.mark.parametrize("m, k, n", [(32, 64, 6), (64, 48, 12), (100, 32, 40), (256, 64, 64)])
@pytest.mark.parametrize("rows, columns", [(1, 1), (2, 1), (1, 3), (2, 4)])
@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_gemm(m: int, k: int, n: int, rows: int, columns: int, tiles: int) -> None:
    configuration = gemm(m, k, n, tiles, rows, columns, pmus=8, depth=tiles).build()
    execution = execution_of(configuration)
    tile_m = m // tiles
    row_blocks, column_blocks = math.ceil(tile_m / (LANES * rows)), math.ceil(n / (STAGES * columns))
    compute = row_blocks * column_blocks * k
    left, right = 2 * tile_m * k * column_blocks, 2 * k * n * row_blocks
    port = math.ceil(max(left, right, 2 * tile_m * n) / (8 * PORT))
    interval = max(compute, port)
    (stage,) = stage_reports(execution)
    assert (stage.compute_cycles, stage.port_cycles, stage.interval_cycles) == (compute, port, interval)
    loads = max(arrival(configuration, 0, 0), arrival(configuration, 1, 1))
    write, store = hops(configuration, 0, pb.Net.WRITE, 0), hops(configuration, 0, pb.Net.STORE, 2)
    transfer = 2 * tile_m * n / AGCU
    first = loads + interval + LANES + STAGES + write + store
    assert execution.cycles == first + (tiles - 1) * max(interval, transfer) + transfer


@pytest.mark.parametrize("name, tail", [("add", 1), ("mul", 1), ("exp", 4)])
@pytest.mark.parametrize("rows, parallel, tiles", [(256, 1, 1), (256, 2, 1), (2048, 1, 4), (4096, 2, 8)])
def test_elementwise(name: str, tail: int, rows: int, parallel: int, tiles: int) -> None:
    operands = 1 if name == "exp" else 2
    b, slots, axis = ConfigurationBuilder(FREE_MEMORY), [], 0 if tiles > 1 else -1
    tensor = bf16(rows, 64)
    sources = [b.buffer(f"x{i}", tensor, axis, tiles, tiles, pmus=4) for i in range(operands)]
    target = b.buffer("y", tensor, axis, tiles, tiles, pmus=4)
    slots = [b.slot(tensor) for _ in range(operands + 1)]
    b.phase(tiles)
    stage = b.stage("s")
    stage.write(stage.apply(op(name), *(stage.read(x, axis) for x in sources), axis=axis), target)
    stage.place(parallel)
    for number, x in enumerate(sources):
        b.load(slots[number], x, -1, agcus=(number,))
    b.store(slots[-1], target, -1, agcus=(5,))
    configuration = b.build()
    execution = execution_of(configuration)
    elements = rows * 64 // tiles
    interval = max(tail * math.ceil(elements / (LANES * parallel)), math.ceil(2 * elements / (4 * PORT)))
    loads = max(arrival(configuration, i, i) for i in range(operands))
    write, store = hops(configuration, 0, pb.Net.WRITE, 0), hops(configuration, 0, pb.Net.STORE, operands)
    assert execution.cycles == loads + tiles * interval + STAGES + write + store + 2 * rows * 64 / AGCU


@pytest.mark.parametrize("reduction", [op("sum", dims=(1,), keepdim=False), op("softmax", dim=1)], ids=lambda o: o.name)
@pytest.mark.parametrize("parallel", [1, 2])
def test_reduction(reduction: Op, parallel: int) -> None:
    b, tiles = ConfigurationBuilder(FREE_MEMORY), 4
    source_type = bf16(512, 64)
    (tile_result,) = reduction.results(bf16(128, 64))
    result_type = bf16(512, *tile_result.shape[1:])
    slots = [b.slot(source_type), b.slot(result_type)]
    x, y = b.buffer("x", source_type, 0, tiles, tiles, pmus=4), b.buffer("y", result_type, 0, tiles, tiles, pmus=4)
    b.phase(tiles)
    stage = b.stage("s")
    stage.write(stage.apply(reduction, stage.read(x, 0), axis=0), y)
    stage.place(parallel)
    b.load(slots[0], x, -1, agcus=(0,))
    b.store(slots[1], y, -1, agcus=(1,))
    configuration = b.build()
    execution = execution_of(configuration)
    cost = reduction.cost
    vectors = math.ceil(128 * 64 / (LANES * parallel))
    port = math.ceil(2 * 128 * 64 * cost.passes / (4 * PORT))
    interval = max(cost.passes * (4 if cost.tail else 1) * vectors, port)
    chain = configuration.phases[0].stages[0].chain
    links = hops(configuration, 0, pb.Net.CHAIN, 0) * (chain - 1)
    fill = STAGES * chain + math.log2(LANES) + links
    write, store = hops(configuration, 0, pb.Net.WRITE, 0), hops(configuration, 0, pb.Net.STORE, 1)
    stored = 2 * math.prod(result_type.shape) / AGCU
    assert execution.cycles == arrival(configuration, 0, 0) + tiles * interval + fill + write + store + stored


def test_fp32_takes_twice_as_long() -> None:
    narrow = gemm(64, 64, 12, pmus=8).build()
    wide = gemm(64, 64, 12, pmus=8).build()
    for record in [*wide.slots, *(b.type for b in wide.buffers), *(v.type for v in wide.phases[0].stages[0].values)]:
        record.dtype = "f32"
    (fast,), (slow,) = stage_reports(execution_of(narrow)), stage_reports(execution_of(wide))
    assert slow.compute_cycles == 2 * fast.compute_cycles
