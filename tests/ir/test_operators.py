"""Every operator against PyTorch and against its own declaration."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from samples import SAMPLES, Sample

from ir.graph import Graph, Node, Program, SectionKind, Symbol, SymbolKind, Value
from ir.location import Location
from ir.op import OPS, Array, Combine, Op
from ir.space import Cut, Space
from ir.text import parse_program, print_program
from ir.types import DType, TensorType
from ir.verifier import verify

COMBINE = {Combine.SUM: np.add, Combine.MAX: np.maximum, Combine.MIN: np.minimum}

each_sample = pytest.mark.parametrize(
    "sample", SAMPLES, ids=[f"{s.op.name}-{'-'.join(map(str, s.operands))}" for s in SAMPLES]
)


def empty(types: Sequence[TensorType]) -> list[Array]:
    """Arrays of these types whose every element is wrong until written."""
    arrays = []
    for type in types:
        array = np.empty(type.shape, type.dtype.compute)
        array.fill(np.nan if type.dtype.is_float else 113)
        arrays.append(array)
    return arrays


def run(op: Op, operands: Sequence[Array], types: Sequence[TensorType]) -> list[Array]:
    """The results of one operator."""
    results = empty(op.results(*types))
    op.kernel(*operands, *results, *empty(op.scratch(*types)))
    return results


def assert_close(actual: Sequence[Array], expected: Sequence[Array]) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected):
        assert one.shape == other.shape
        # Sums of large terms that cancel are only as exact as the terms.
        scale = np.abs(other).max(initial=1)
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-5 * scale)


def test_every_operator_has_a_sample() -> None:
    assert {sample.op.name for sample in SAMPLES} == set(OPS)


@pytest.mark.parametrize("declaration", OPS.values(), ids=list(OPS))
def test_declaration_is_complete(declaration: type[Op]) -> None:
    assert declaration.__doc__ and not declaration.__doc__.startswith(f"{declaration.__name__}(")
    assert isinstance(declaration.cost.operations, int)
    assert declaration.infer is not Op.infer
    assert declaration.space is not Op.space
    assert declaration.kernel is not Op.kernel
    assert all(rule.__doc__ for rule in declaration.limits)


@each_sample
def test_sample_is_accepted(sample: Sample) -> None:
    assert sample.op.broken_limits(*sample.operands) == []
    assert sample.op.flops(*sample.operands) >= 0


@each_sample
def test_kernel_agrees_with_torch(sample: Sample) -> None:
    operands = sample.arrays()
    copies = [operand.copy() for operand in operands]
    actual = run(sample.op, operands, sample.operands)
    expected = sample.reference(*(torch.from_numpy(np.array(copy)) for copy in copies))
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert_close(actual, [tensor.numpy() for tensor in expected])
    for operand, copy in zip(operands, copies):
        np.testing.assert_array_equal(operand, copy, "the kernel changed an operand")


def every_second(array: Array) -> Array:
    """The same values, strided along the last axis."""
    wide = np.zeros((*array.shape, 2), array.dtype)
    wide[..., 0] = array
    return wide[..., 0]


def axes_reversed(array: Array) -> Array:
    """The same values, first axis innermost."""
    return np.array(array, order="F")


def inner_part(array: Array) -> Array:
    """The same values, in the middle of a larger array."""
    padded = np.pad(array, 1)
    return padded[(..., *(slice(1, -1),) * array.ndim)]


@each_sample
@pytest.mark.parametrize("layout", [every_second, axes_reversed, inner_part])
def test_layout_does_not_matter(sample: Sample, layout: object) -> None:
    operands = sample.arrays()
    expected = run(sample.op, operands, sample.operands)
    results = [layout(result) for result in empty(sample.op.results(*sample.operands))]
    scratch = empty(sample.op.scratch(*sample.operands))
    sample.op.kernel(*(layout(operand) for operand in operands), *results, *scratch)
    assert_close(results, expected)


def part(array: Array, axis: int, tile: int, tiles: int) -> Array:
    """One of `tiles` equal slices along `axis`; all of the array where `axis` is negative."""
    if axis < 0:
        return array
    extent = array.shape[axis] // tiles
    return array[(slice(None),) * axis + (slice(tile * extent, (tile + 1) * extent),)]


def run_in_tiles(sample: Sample, cut: Cut, tiles: int) -> list[Array]:
    """The results made tile by tile: written to their slice, or combined where the cut dim is reduced over."""
    operands = sample.arrays()
    types = [type.sliced(axis, tiles) for type, axis in zip(sample.operands, cut.operands)]
    whole = sample.op.results(*sample.operands)
    result_types = tuple(type.sliced(axis, tiles) for type, axis in zip(whole, cut.results))
    op = sample.op.retyped(result_types[0])
    if op.results(*types) != result_types:
        raise ValueError(f"a tile makes {op.results(*types)}, not {result_types}")
    results = empty(whole)
    for tile in range(tiles):
        slices = [part(operand, axis, tile, tiles) for operand, axis in zip(operands, cut.operands)]
        made = run(op, slices, types)
        for result, axis, array in zip(results, cut.results, made):
            if axis < 0 and tile > 0:
                COMBINE[op.combine](result, array, out=result)
            else:
                part(result, axis, tile, tiles)[...] = array
    return results


@each_sample
def test_tiles_make_the_whole(sample: Sample) -> None:
    expected = run(sample.op, sample.arrays(), sample.operands)
    for cut in sample.op.space(*sample.operands).cuts():
        for tiles in (tiles for tiles in range(2, cut.size + 1) if cut.size % tiles == 0):
            assert_close(run_in_tiles(sample, cut, tiles), expected)


def conceivable_cuts(sample: Sample) -> list[Cut]:
    """Every choice of one axis, or none, of each operand and result, all of one extent."""
    results = sample.op.results(*sample.operands)
    cuts = []
    for extent in {extent for type in (*sample.operands, *results) for extent in type.shape if extent > 1}:
        choices = [[-1, *(i for i, e in enumerate(t.shape) if e == extent)] for t in (*sample.operands, *results)]
        for axes in itertools.product(*choices):
            operand_axes, result_axes = axes[: len(sample.operands)], axes[len(sample.operands) :]
            if max(axes) >= 0:
                cuts.append(Cut("", extent, operand_axes, result_axes))
    return cuts


def computes_the_same(sample: Sample, cut: Cut, expected: list[Array]) -> bool:
    try:
        assert_close(run_in_tiles(sample, cut, cut.size), expected)
    except (ValueError, IndexError, AssertionError):
        return False
    return True


@each_sample
def test_space_allows_every_cut_that_computes_the_same(sample: Sample) -> None:
    declared = {(cut.operands, cut.results) for cut in sample.op.space(*sample.operands).cuts()}
    expected = run(sample.op, sample.arrays(), sample.operands)
    for cut in conceivable_cuts(sample):
        if (cut.operands, cut.results) not in declared:
            assert not computes_the_same(sample, cut, expected), f"the space does not allow {cut}"


@each_sample
def test_space_reads_as_it_prints(sample: Sample) -> None:
    space = sample.op.space(*sample.operands)
    if sample.operands:
        parsed = Space.parse(str(space), sample.operands, sample.op.results(*sample.operands), **space.sizes)
        assert parsed == space


def program_of(op: Op, types: Sequence[TensorType]) -> Program:
    """A program that applies one operator to symbols."""
    symbols = tuple(Symbol(f"x{i}", type, SymbolKind.INPUT) for i, type in enumerate(types))
    inputs = tuple(Value(symbol.name, symbol.type) for symbol in symbols)
    results = tuple(Value(f"y{i}", type) for i, type in enumerate(op.results(*types)))
    node = Node(op, inputs, results, Location("model.py", 3, "block.0"))
    return Program("sample", symbols, (Graph(SectionKind.FWD, inputs, (node,), ()),))


@each_sample
def test_text_reads_as_it_prints(sample: Sample) -> None:
    program = program_of(sample.op, sample.operands)
    verify(program)
    assert parse_program(print_program(program)) == program


@each_sample
def test_bf16_is_accepted_where_f32_is(sample: Sample) -> None:
    def as_bf16(type: TensorType) -> TensorType:
        return type.with_dtype(DType.BF16) if type.dtype is DType.F32 else type

    op = sample.op
    if getattr(op, "dtype", None) is DType.F32:
        op = replace(op, dtype=DType.BF16)  # type: ignore[type-var]
    operands = [as_bf16(type) for type in sample.operands]
    expected = tuple(as_bf16(type) for type in sample.op.results(*sample.operands))
    assert op.results(*operands) == expected
    verify(program_of(op, operands))
