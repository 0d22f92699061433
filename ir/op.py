"""What an operator declares, and the registry of all declarations.

An operator is a frozen dataclass whose fields are its attributes, registered by `@op("name")`. It declares

    infer     operand types -> result types                        (the type rule)
    space     operand types -> iteration space                     (tiling, streaming, cost)
    kernel    arrays -> None: NumPy code writing into the results  (the numbers)
    cost      what it needs of a PCU per element; `elements` and `passes` say how many pass it, and how often
    limits    methods marked @limit; the docstring is the rule that users read

and everything else (text form, parser, verifier, PEF encoding, documentation, tests) follows from these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self, dataclass_transform

from ir.ranges import Range
from ir.space import Space
from ir.types import DType, TensorType

Array = NDArray[Any]
Attribute = bool | int | float | str | DType | tuple[int, ...]


class CostClass(Enum):
    """Which part of the machine does the work."""

    SYSTOLIC = "systolic"
    SIMD = "simd"
    REDUCE = "reduce"
    GATHER = "gather"
    FREE = "free"


class Combine(Enum):
    """How the partial results of tiles become one where the cut dim is reduced over."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one element needs of a PCU.

    operations: arithmetic operations per element; each fills one pipeline stage of the PCU, and counts as one FLOP.
    passes:     times the operator goes over its tile (softmax: maximum, exponential and sum, division); an operator
                for which that depends on the extents of the tile overrides `Op.passes`.
    tail:       whether it needs the slow transcendental functions of the tail.
    """

    kind: CostClass
    operations: int = 1
    passes: int = 1
    tail: bool = False


@dataclass(frozen=True, slots=True)
class Gemm:
    """The matrix product that a systolic operator amounts to: `batch` products of m x k by k x n.

    Each may be the sum of `parts` products of k / parts, which are added up where they are written.
    """

    batch: int
    m: int
    n: int
    k: int
    parts: int = 1


class Op:
    """Base of all operators. Subclasses are declared with `@op`."""

    name: ClassVar[str]
    cost: ClassVar[Cost]
    combine: ClassVar[Combine] = Combine.SUM
    exchanges: ClassVar[bool] = False
    """Whether the result depends on the other replicas of a data parallel run; the runtime then does the exchange."""
    tables: ClassVar[tuple[int, ...]] = ()
    """Operands of which only those elements are fetched that another operand names; they are not read as a whole."""
    whole: ClassVar[str] = ""
    """Why its spaces hold an axis whole (`!`): why tiles cut along that axis would not make the same result."""
    places_by_value: ClassVar[bool] = False
    """Whether values say where elements go or come from: it runs far below the peak."""
    laid_out: ClassVar[int | None] = None
    """The operand that the kernel lays out anew, such as the images of a convolution as columns; None: none."""
    any_layout: ClassVar[bool] = False
    """Whether the kernel writes results of any strides about as fast as contiguous ones."""
    is_elementwise: ClassVar[bool] = False
    """Whether every element of a result is computed by itself, to the same bits whatever is computed with it."""
    refuses: ClassVar[bool] = False
    """Whether the kernel ends a run for the sake of the numbers it is given: an index outside, a sum too large."""
    result_shape: ClassVar[str] = ""
    """The attribute that spells out the shape of the first result, where operands do not determine it."""
    limits: ClassVar[tuple[Callable[..., bool], ...]] = ()

    def infer(self, *operands: TensorType) -> TensorType | tuple[TensorType, ...]:
        """The types of the results. Raises ValueError, in the user's terms, where the operands do not fit."""
        raise ValueError(f"operator {self.name} declares no type rule")

    def space(self, *operands: TensorType) -> Space:
        """The iteration space for operands of these types."""
        raise ValueError(f"operator {self.name} declares no iteration space")

    def kernel(self, *arrays: Any) -> None:
        """Compute: operands, then results to write, then scratch arrays. Holds no state and allocates nothing big."""
        raise ValueError(f"operator {self.name} declares no kernel")

    def scratch(self, *operands: TensorType) -> tuple[TensorType, ...]:
        """Types of the temporary arrays the kernel wants."""
        return ()

    def elements(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        """How many elements pass a lane's pipeline, one a cycle, each time the operator goes over a tile.

        Operands and results pass side by side, so the largest counts; of a table only what is fetched from it. An
        operator that takes one tensor after another overrides this.
        """
        read = (operand for number, operand in enumerate(operands) if number not in self.tables)
        return max((tensor.numel for tensor in (*read, *results)), default=0)

    def passes(self, *operands: TensorType) -> int:
        """Times the operator goes over tiles of these types."""
        return self.cost.passes

    def gemm(self, *operands: TensorType) -> Gemm:
        """The matrix product a systolic operator amounts to."""
        raise ValueError(f"operator {self.name} is not systolic")

    def laid_out_bytes(self, *operands: TensorType) -> int:
        """Bytes that the kernel writes to lay out its operand `laid_out` before it computes."""
        return 0

    def source_of(self, result: Array, shape: Sequence[int]) -> Array | None:
        """The operand of this shape of which `result` is the view, so that what is written into it stands in `result`;
        None where there is none."""
        return None

    def copies(self, operands: Sequence[Array], result: Array) -> list[tuple[Array, Array]] | None:
        """What the kernel does, as copies of arrays to parts of the result; None where it does more."""
        return None

    def retyped(self, result: TensorType) -> Self:
        """The same operator for a tile whose first result is of this type."""
        return dataclasses.replace(self, **{self.result_shape: result.shape}) if self.result_shape else self  # type: ignore[type-var]

    def for_tile(self, operands: Sequence[TensorType], results: tuple[TensorType, ...]) -> Self | None:
        """The same operator from operands to results of these types; None where it does not make such results."""
        tile = self.retyped(results[0])
        try:
            return tile if tile.results(*operands) == results else None
        except ValueError:
            return None

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        """Which whole numbers the first result holds, had they any number of bits, where the operands' lie in `ranges`
        (None: of one without whole numbers); None where the operator does not say."""
        return None

    def results(self, *operands: TensorType) -> tuple[TensorType, ...]:
        """The types of the results, always as a tuple."""
        inferred = self.infer(*operands)
        return inferred if isinstance(inferred, tuple) else (inferred,)

    def broken_limits(self, *operands: TensorType) -> list[str]:
        """The rules that operands of these types break."""
        return [str(rule.__doc__) for rule in self.limits if not rule(self, *operands)]

    @property
    def picked_axis(self) -> int | None:
        """The axis along which it copies those slices of its first operand that its second names, and does no more: a
        stream can do that on the way from memory. None for other operators."""
        return None

    @property
    def replaced_axis(self) -> int | None:
        """The axis along which its third operand takes the place of those elements of its first that its second names,
        and nothing else happens: a stream can do that on the way to memory. None for other operators."""
        return None

    @property
    def loop(self) -> tuple[str, tuple[float, ...]]:
        """The name of the loop that computes it element by element in a chain (`ir/kernels/native/chains.py`), where
        there is one of this name; and the numbers that the loop takes behind the operands."""
        return self.name, ()

    @property
    def is_free(self) -> bool:
        """Whether it is address arithmetic or an immediate: no unit computes, no data moves."""
        return self.cost.kind is CostClass.FREE

    def attributes(self) -> dict[str, Attribute]:
        """Attribute values by name, in declaration order."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def flops(self, *operands: TensorType) -> int:
        """Arithmetic operations for operands of these types."""
        if self.is_free:
            return 0
        if self.cost.kind is CostClass.SYSTOLIC:
            gemm = self.gemm(*operands)
            return 2 * gemm.batch * gemm.m * gemm.n * gemm.k
        return self.elements(operands, self.results(*operands)) * self.cost.operations


class FreeOp(Op):
    """An operator that only renames addresses (a view) or is an immediate (a constant)."""

    cost: ClassVar[Cost] = Cost(CostClass.FREE, operations=0, passes=0)

    def view(self, *arrays: Array) -> Array:
        """The result as a view of the operand where the layout allows it, else as a copy."""
        raise ValueError(f"operator {self.name} declares no view")

    def kernel(self, *arrays: Array) -> None:
        """Copy the view into the result."""
        np.copyto(arrays[-1], self.view(*arrays[:-1]))


OPS: dict[str, type[Op]] = {}
"""Every declared operator by name."""

OpClass = TypeVar("OpClass", bound=type[Op])
Rule = TypeVar("Rule", bound=Callable[..., bool])


@dataclass_transform(frozen_default=True)
def op(name: str) -> Callable[[OpClass], OpClass]:
    """Register the decorated class as the operator `name`; its annotated fields become its attributes."""

    def register(cls: OpClass) -> OpClass:
        cls.name = name
        rules = [getattr(cls, attribute) for attribute in dir(cls)]
        cls.limits = tuple(rule for rule in rules if getattr(rule, "is_limit", False))
        OPS[name] = cls
        dataclass(frozen=True)(cls)
        return cls

    return register


def limit(rule: Rule) -> Rule:
    """Mark a method as a limit: it says whether operands are acceptable, its docstring is the rule users read."""
    rule.is_limit = True  # type: ignore[attr-defined]
    return rule


def broadcast_shape(operands: Sequence[TensorType]) -> tuple[int, ...]:
    """The shape that operands broadcast to. Raises ValueError where they do not."""
    try:
        return np.broadcast_shapes(*(operand.shape for operand in operands))
    except ValueError:
        shapes = ", ".join(str(list(operand.shape)) for operand in operands)
        raise ValueError(f"shapes {shapes} do not broadcast to a common shape") from None
