"""Every operator against PyTorch and against its own declaration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from samples import SAMPLES as FIRST_SAMPLES
from samples import Sample, boolean, f32, i32, op
from samples_more import MORE_SAMPLES

from ir.graph import Graph, Node, Program, SectionKind, Symbol, SymbolKind, Value
from ir.location import Location
from ir.op import OPS, Array, Combine, Op
from ir.ops.checked import Checked
from ir.space import Cut, Space
from ir.text import parse_program, print_program
from ir.types import DType, TensorType
from ir.verifier import verify

SAMPLES = [*FIRST_SAMPLES, *MORE_SAMPLES]

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
    with np.errstate(all="ignore"):
        op.kernel(*operands, *results, *empty(op.scratch(*types)))
    return results


def assert_close(actual: Sequence[Array], expected: Sequence[Array]) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected):
        assert one.shape == other.shape
        # Sums of large terms that cancel are only as exact as the terms.
        scale = np.abs(np.nan_to_num(other)).max(initial=1)
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
    op = sample.op.for_tile(types, result_types)
    if op is None:
        raise ValueError(f"{sample.op.name} does not make {result_types} of {types}")
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


def test_every_operator_is_cut_in_more_than_one_way() -> None:
    """Else the test above says nothing about an operator; of those without operands there is nothing to cut."""
    counts = dict.fromkeys((name for name in OPS), 0)
    for sample in SAMPLES:
        extents = [cut.size for cut in sample.op.space(*sample.operands).cuts()]
        counts[sample.op.name] += sum(extent % tiles == 0 for extent in extents for tiles in range(2, extent + 1))
    assert {name for name, count in counts.items() if count < 2} == set()


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
    if isinstance(sample.op, Checked):  # partial results that wrap around make the same whole one, without a check
        plain = {(cut.operands, cut.results) for cut in sample.op.plain.space(*sample.operands).cuts()}
        assert declared == {(operands, results) for operands, results in plain if -1 not in results}
        return
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


POOL = {"kernel_size": (3, 3), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
CONVOLUTION = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, "dtype": DType.F32}


@pytest.mark.parametrize(
    ("broken", "operands", "rule"),
    [
        (op("exp"), (i32(4),), "the operator takes floating-point tensors"),
        (op("add"), (boolean(4), boolean(4)), "the operator takes floating-point or i32 tensors"),
        (op("logical_not"), (f32(4),), "the operator takes bool tensors"),
        (op("gelu", approximate="sigmoid"), (f32(4),), "gelu's approximate is none or tanh"),
        (
            op("matmul", dtype=DType.F32),
            (i32(4, 4), i32(4, 4)),
            "matmul takes floating-point matrices, or i32 ones that make an i32 one",
        ),
        (op("amax", dims=(0,), keepdim=False), (f32(0),), "a tensor without elements has no largest or smallest one"),
        (op("index_select", dim=0), (f32(4, 4), f32(4)), "an index is an i32 tensor"),
        (
            op("max_pool2d", **{**POOL, "padding": (2, 2)}),
            (f32(9, 9),),
            "pooling pads by at most half its window, so that every window touches the image",
        ),
        (
            op("max_pool2d", **{**POOL, "kernel_size": (12, 12)}),
            (f32(20, 20),),
            "max_pool2d takes windows of fewer than 128 elements",
        ),
    ],
)
def test_limit_is_reported(broken: Op, operands: tuple[TensorType, ...], rule: str) -> None:
    assert rule in broken.broken_limits(*operands)


@pytest.mark.parametrize(
    ("applied", "operands", "message"),
    [
        (op("where"), (f32(4), f32(4), f32(4)), "the condition f32[4] is not bool"),
        (op("sum", dims=(0, 2), keepdim=False), (f32(4, 6),), "[0, 2] are not axes of f32[4,6]"),
        (op("softmax", dim=2), (f32(4, 6),), "f32[4,6] has no axis 2"),
        (op("layer_norm", axes=1, eps=1e-5), (f32(4, 6), f32(4), f32(6)), "gamma f32[4] does not match the last 1"),
        (op("conv2d", **CONVOLUTION), (f32(1, 3, 9, 9), f32(8, 4, 3, 3)), "do not fit each other in 1 group(s)"),
        (op("conv2d", **CONVOLUTION), (f32(1, 3, 2, 9), f32(8, 3, 3, 3)), "a window of [3, 3] does not fit an image"),
        (
            op("conv2d_input_gradient", input_shape=(1, 3, 9, 9), **CONVOLUTION),
            (f32(1, 8, 9, 9), f32(8, 3, 3, 3)),
            "does not have the convolution's shape [1, 8, 7, 7]",
        ),
        (op("max_pool2d", **POOL), (f32(9),), "a tensor of shape [9] has no height and width"),
        (op("index_add", dim=0, extent=9), (f32(4, 6), i32(5)), "does not hold one slice per index of i32[5]"),
        (op("gather", dim=0), (f32(4, 6), i32(4, 7)), "the index i32[4,7] is larger than f32[4,6]"),
        (op("nll", ignore_index=-100), (f32(4, 6), i32(6)), "are not [n, c] and [n]"),
        (op("reshape", shape=(5, 5)), (f32(4, 6),), "shape [4, 6] cannot become [5, 5]"),
        (op("permute", dims=(0, 0)), (f32(4, 6),), "[0, 0] is not a permutation of 2 axes"),
        (op("expand", shape=(4, 6)), (f32(3, 6),), "do not broadcast"),
        (op("slice", dim=0, start=2, stop=9, step=1), (f32(4, 6),), "[2:9:1] is not a slice of axis 0 of f32[4,6]"),
    ],
)
def test_operands_that_do_not_fit_are_explained(applied: Op, operands: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(ValueError) as error:
        applied.results(*operands)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_extreme_rows(name: str) -> None:
    rows = np.array(
        [[1e4, 0, -1e4], [-1e4, -2e4, -1e4], [0, -np.inf, 3e38], [-100, -120, -101], [89, 88, 1]], np.float32
    )
    for x in (rows, rows[1:2], rows[3:4], rows[4:]):
        (actual,) = run(op(name, dim=1), [x], [f32(*x.shape)])
        np.testing.assert_allclose(actual, getattr(torch, name)(torch.from_numpy(x), 1).numpy(), rtol=1e-5, atol=1e-6)


def layer_norm(x: Array) -> list[Array]:
    row = np.arange(x.shape[1], dtype=np.float32)
    types = [f32(*x.shape), f32(x.shape[1]), f32(x.shape[1])]
    return run(op("layer_norm", axes=1, eps=1e-5), [x, row, -row], types)


def test_layer_norm_of_rows_far_from_zero() -> None:
    """Their squares are too large to tell their deviations."""
    near = np.random.default_rng(0).standard_normal((6, 64)).astype(np.float32)
    far = near + np.float32(3000)
    expected = torch.layer_norm(torch.from_numpy(far).double(), (64,)).numpy()
    y, mean, rstd = layer_norm(far)
    np.testing.assert_allclose(y, (expected - 1) * np.arange(64), rtol=1e-3, atol=0.05)
    np.testing.assert_allclose(mean[:, 0], far.mean(1, dtype=np.float64), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(rstd[:, 0], 1 / far.std(1, dtype=np.float64), rtol=1e-4, atol=1e-6)


def test_layer_norm_of_no_rows() -> None:
    y, mean, _ = layer_norm(np.zeros((0, 4), np.float32))
    assert y.shape == (0, 4) and mean.shape == (0, 1)


def test_activations_of_extreme_numbers() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-40, -0.0], np.float32)
    scales = {"alpha": 1.0, "scale": 1.0, "input_scale": 1.0}
    cases = [
        (op("clamp", low=-1.0, high=math.inf), lambda x: x.clamp(min=-1)),
        (op("leaky_relu", slope=0.01), F.leaky_relu),
        (op("leaky_relu", slope=0.0), lambda x: F.leaky_relu(x, 0.0)),
        (op("elu", **scales), F.elu),
        (op("silu"), F.silu),
        (op("sigmoid"), torch.sigmoid),
        (op("relu"), torch.relu),
    ]
    for applied, reference in cases:
        (actual,) = run(applied, [x], [f32(7)])
        expected = reference(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6, err_msg=applied.name)


@pytest.mark.parametrize(("channels", "groups", "stride"), [(4, 4, 1), (16, 1, 2), (3, 1, 1)])
def test_convolution_of_no_images(channels: int, groups: int, stride: int) -> None:
    attributes = {"stride": (stride, stride), "padding": (1, 1), "dilation": (1, 1), "groups": groups}
    x, w, y = (0, channels, 40, 40), (channels, channels // groups, 3, 3), (0, channels, 40 // stride, 40 // stride)
    images, weight, results = (np.ones(shape, np.float32) for shape in (x, w, y))
    (made,) = run(op("conv2d", **attributes, dtype=DType.F32), [images, weight], [f32(*x), f32(*w)])
    assert made.shape == y
    backwards = op("conv2d_input_gradient", input_shape=x, **attributes, dtype=DType.F32)
    assert run(backwards, [results, weight], [f32(*y), f32(*w)])[0].shape == x
    backwards = op("conv2d_weight_gradient", weight_shape=w, **attributes, dtype=DType.F32)
    np.testing.assert_array_equal(run(backwards, [results, images], [f32(*y), f32(*x)])[0], 0)


def test_windows_beside_infinity_stay_finite() -> None:
    """Products with zeros would make NaN of it."""
    for x, w, stride in (((1, 4, 9, 9), (4, 1, 3, 3), 1), ((1, 16, 40, 40), (8, 16, 3, 3), 2)):
        images, weight = np.ones(x, np.float32), np.ones(w, np.float32)
        images[0, 0, 4, 4] = np.inf
        attributes = {"stride": (stride, stride), "padding": (1, 1), "dilation": (1, 1), "groups": x[1] // w[1]}
        (actual,) = run(op("conv2d", **attributes, dtype=DType.F32), [images, weight], [f32(*x), f32(*w)])
        expected = F.conv2d(torch.from_numpy(images), torch.from_numpy(weight), None, stride, 1, 1, x[1] // w[1])
        np.testing.assert_array_equal(actual, expected.numpy())


def test_gradients_that_are_not_chosen_leave_no_trace() -> None:
    dy, y = np.array([np.inf, np.nan, 3], np.float32), np.array([0, -0.0, 1], np.float32)
    (dx,) = run(op("relu_backward"), [dy, y], [f32(3), f32(3)])
    np.testing.assert_array_equal(dx, [0, 0, 3])


def test_often_repeated_indices_all_count() -> None:
    index = np.array([4] * 95 + [2] * 5, np.int32)
    for features in (3, 30):
        dy = np.ones((100, features), np.float32)
        (table,) = run(op("index_add", dim=0, extent=6), [dy, index], [f32(100, features), i32(100)])
        np.testing.assert_array_equal(table, np.repeat([[0], [0], [5], [0], [95], [0]], features, 1))


@pytest.mark.parametrize(("largest", "places"), [(True, [1, 4, 0]), (False, [2, 3, 0])])
def test_topk_counts_nan_as_the_largest(largest: bool, places: list[int]) -> None:
    x = np.array([1, np.nan, -np.inf, -0.0, np.nan], np.float32)
    values, index = run(op("topk", k=3, dim=0, largest=largest), [x], [f32(5)])
    np.testing.assert_array_equal(index, places)
    np.testing.assert_array_equal(values, x[places])
