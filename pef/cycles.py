"""How many cycles a stage takes per tile on its units: the one place where these formulas stand.

The compiler allocates with them, the simulator times with them; both see only what a PEF says. With L lanes, S
pipeline stages, and rho cycles per vector (1 for bf16, `fp32_cycles_per_vector` for float32):

    systolic   ceil(B*P/b) * ceil(M/(L*r)) * ceil(N/(S*c)) * K/P * rho   latency + L + S
    SIMD       passes * tau * rho * ceil(E/(L*p))                        latency + S*chain (+ log2 L to reduce)

B x (M x K by K x N) is the product on b x r x c PCUs (DFModel's published stage cost). P is 1, or the parts of a weight
gradient's K, its rows of pixels: PCUs that have some of them each deliver a partial sum, which the PMUs add up as they
do those of successive tiles. E is the largest number of elements that an operator of the chain passes through p PCUs
side by side (`Op.elements`); tau is 1, or `tail_cycles_per_vector` where the chain has a transcendental function. An
epilogue fused behind a product runs in the tail, concurrently: the stage takes the longer of both. The latency part is
paid once per tile in flight, not per tile: the next tile starts right behind.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ir.op import CostClass, Gemm, Op
from ir.types import DType, TensorType
from pef.machine import Machine

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TileOperation:
    """One operator applied to the tiles of its operands."""

    op: Op
    operands: tuple[TensorType, ...]
    results: tuple[TensorType, ...]

    @property
    def elements(self) -> int:
        """Elements that pass the pipeline each time the operator goes over the tile."""
        return self.op.elements(self.operands, self.results)

    @property
    def passes(self) -> int:
        """Times the operator goes over the tile."""
        return self.op.passes(*self.operands)


@dataclass(frozen=True, slots=True)
class StageWork:
    """What one tile asks of a stage, before any unit is chosen.

    elements: the most that an operator passes through the SIMD pipeline at a time; slots: pipeline stages its operators
    fill; rows: how many PCUs can share it, as a row that is reduced stays in one PCU; width_cycles: rho.
    """

    gemm: Gemm | None
    elements: int
    slots: int
    passes: int
    tail: bool
    reduces: bool
    rows: int
    fp32: bool
    flops: int

    @staticmethod
    def of(operations: Sequence[TileOperation]) -> StageWork:
        """The work of a stage's operators."""
        return StageWork._of(tuple(operations))

    @staticmethod
    @functools.lru_cache(maxsize=1 << 14)
    def _of(operations: tuple[TileOperation, ...]) -> StageWork:
        busy = [operation for operation in operations if not operation.op.is_free]
        products = [o for o in busy if o.op.cost.kind is CostClass.SYSTOLIC]
        vector = [o for o in busy if o.op.cost.kind is not CostClass.SYSTOLIC]
        reducing = [o for o in vector if o.passes > 1 or o.op.cost.kind is CostClass.REDUCE]
        elements = max((o.elements for o in vector), default=0)
        gemm = products[0].op.gemm(*products[0].operands) if products else None
        return StageWork(
            gemm=replace(gemm, parts=1) if gemm is not None and vector else gemm,
            elements=elements,
            slots=sum(o.op.cost.operations for o in vector),
            passes=max(1, sum(o.passes for o in reducing)) if vector else 0,
            tail=any(o.op.cost.tail for o in vector),
            reduces=bool(reducing),
            rows=min((max(1, o.elements // _row(o)) for o in reducing), default=max(1, elements)),
            fp32=any(t.dtype is DType.F32 for o in busy for t in o.operands),
            flops=sum(o.op.flops(*o.operands) for o in busy),
        )


@dataclass(frozen=True, slots=True)
class Parallelism:
    """How a stage is spread over PCUs: over the batch and the parts, the rows and the columns of a product; SIMD work
    uses rows only."""

    batch: int = 1
    row: int = 1
    column: int = 1
    chain: int = 1

    @property
    def lanes(self) -> int:
        """PCUs side by side."""
        return self.batch * self.row * self.column

    @property
    def units(self) -> int:
        """PCUs in all."""
        return self.lanes * self.chain


def chain_length(work: StageWork, machine: Machine) -> int:
    """PCUs in series that a chain of SIMD operators fills; an epilogue lives in its product's PCU."""
    return 1 if work.gemm is not None else max(1, math.ceil(work.slots / machine.pcu_stages))


def compute_cycles(work: StageWork, parallel: Parallelism, machine: Machine) -> int:
    """Cycles between the starts of successive tiles, as far as the PCUs decide."""
    product, simd = _cycles(work, machine, parallel.batch, parallel.row, parallel.column)
    return max(1, int(product), int(simd))


def compute_cycles_of_all(work: StageWork, lanes: Ints, machine: Machine) -> Ints:
    """As `compute_cycles`, for many ways to spread a stage: batch, row and column of each are the rows of `lanes`."""
    product, simd = _cycles(work, machine, *lanes)
    longest: Ints = np.maximum(1, np.maximum(product, simd))
    return longest


def _cycles(work: StageWork, machine: Machine, batch: Any, row: Any, column: Any) -> tuple[Any, Any]:
    """Cycles of a stage's product and of its SIMD work: batch, row and column are numbers, or arrays of them."""
    width = machine.fp32_cycles_per_vector if work.fp32 else 1
    tail = machine.tail_cycles_per_vector if work.tail else 1
    simd = work.passes * tail * width * _ceil(work.elements, machine.pcu_lanes * batch * row * column)
    if work.gemm is None:
        return 0, simd
    gemm = work.gemm
    rows, columns = _ceil(gemm.m, machine.pcu_lanes * row), _ceil(gemm.n, machine.pcu_stages * column)
    return _ceil(gemm.batch * gemm.parts, batch) * rows * columns * gemm.k // gemm.parts * width, simd


def _ceil(number: Any, divisor: Any) -> Any:
    return -(-number // divisor)


def fill_cycles(work: StageWork, parallel: Parallelism, machine: Machine) -> int:
    """Cycles from the last operand of a tile entering to its last result leaving."""
    if work.gemm is not None:
        return machine.pcu_lanes + machine.pcu_stages
    tree = math.ceil(math.log2(machine.pcu_lanes)) if work.reduces else 0
    return machine.pcu_stages * parallel.chain + tree


def operand_bytes(
    work: StageWork, parallel: Parallelism, machine: Machine, tensor: TensorType, side: int | None
) -> int:
    """Bytes that a buffer sends per tile for one operand of type `tensor` (one tile of it), repetitions included.

    `side` is 0 or 1 for the left or right operand of the stage's product, None for any other. The left operand is
    sent once per block of columns, the right once per block of rows; an operand of a SIMD chain once per pass.
    """
    if work.gemm is None or side not in (0, 1):
        return tensor.nbytes * max(1, work.passes)
    gemm = work.gemm
    if side == 0:
        repeats = math.ceil(gemm.n / (machine.pcu_stages * parallel.column))
        return gemm.batch * gemm.m * gemm.k * tensor.dtype.itemsize * repeats
    repeats = math.ceil(gemm.m / (machine.pcu_lanes * parallel.row))
    return gemm.batch * gemm.n * gemm.k * tensor.dtype.itemsize * repeats


def partial_sums(work: StageWork, parallel: Parallelism) -> int:
    """PCUs of a stage that write to the same place: what each delivers is added up there."""
    if work.gemm is None or work.gemm.parts == 1:
        return 1
    return math.ceil(parallel.batch / work.gemm.batch)


def result_bytes(work: StageWork, parallel: Parallelism, tensor: TensorType) -> int:
    """Bytes that a stage sends a buffer per tile of a result of type `tensor`: every partial sum of it."""
    return tensor.nbytes * partial_sums(work, parallel)


def port_cycles(sent_bytes: int, units: int, machine: Machine) -> int:
    """Cycles a buffer of `units` PMUs needs to send or take `sent_bytes` through one port of each."""
    return math.ceil(sent_bytes / (units * machine.pmu_port_bytes_per_cycle))


def _row(operation: TileOperation) -> int:
    """Elements that must stay together in one PCU: those that one element of the smallest result depends on."""
    smallest = min(tensor.numel for tensor in operation.results)
    held = operation.op.space(*operation.operands)
    whole = math.prod(held.sizes[dim] for dim in held.whole)
    return max(whole, 1) if whole > 1 else max(1, operation.elements // max(1, smallest))
