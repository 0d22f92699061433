"""Iteration spaces: the notation, what a cut does, and how reshapes factor."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import f32, i32, op

from ir.space import Cut, Space


@pytest.mark.parametrize(
    ("text", "operands", "results", "sizes", "printed"),
    [
        (
            "* m k, * k n -> * m n",
            [(2, 3, 4, 5), (2, 3, 5, 6)],
            [(2, 3, 4, 6)],
            {},
            "*2 *1 m k, *2 *1 k n -> *2 *1 m n",
        ),
        ("* d! -> * d!", [(4, 9)], [(4, 9)], {}, "*1 d! -> *1 d!"),
        ("a b c -> a c", [(2, 3, 4)], [(2, 4)], {}, "a b c -> a c"),
        ("a (b c) -> (a b) c", [(2, 12)], [(6, 4)], {"b": 3}, "a (b c) -> (a b) c"),
        ("a b -> a b", [(1, 3)], [(2, 3)], {}, "1 b -> a b"),
        ("c h~k!, k! -> c h", [(2, 9), (3,)], [(2, 7)], {}, "c h~k!, k! -> c h"),
        ("v! e, * -> * e", [(9, 4), ()], [(4,)], {}, "v! e,  -> e"),
    ],
)
def test_notation(
    text: str,
    operands: list[tuple[int, ...]],
    results: list[tuple[int, ...]],
    sizes: dict[str, int],
    printed: str,
) -> None:
    types = [f32(*shape) for shape in operands], [f32(*shape) for shape in results]
    space = Space.parse(text, *types, **sizes)
    assert str(space) == printed
    assert Space.parse(printed, *types, **sizes) == space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b, a b -> a b", "does not describe 1 operands and 1 results"),
        ("a b c -> a b", "do not describe a tensor of shape"),
        ("a b -> b a", "does not match its dims"),
    ],
)
def test_declaration_that_does_not_fit_its_shapes(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Space.parse(text, [f32(2, 3)], [f32(2, 3)])


def test_cutting_a_parallel_dim_slices_operands_and_results() -> None:
    space = op("matmul", dtype=f32().dtype).space(f32(2, 4, 5), f32(2, 5, 6))
    assert space.cut("m") == Cut("m", 4, (1, -1), (1,))
    assert space.cut("*1") == Cut("*1", 2, (0, 0), (0,))


def test_cutting_a_reduced_dim_combines_results() -> None:
    space = op("matmul", dtype=f32().dtype).space(f32(4, 5), f32(5, 6))
    assert space.cut("k") == Cut("k", 5, (1, 0), (-1,))


def test_what_cannot_be_cut() -> None:
    space = Space.parse("a (b c) d! h~k! -> (a b) c d!", [f32(1, 12, 5, 9)], [f32(3, 4, 5)], b=3, h=7, k=3)
    assert [cut.dim for cut in space.cuts()] == ["b"], "b leads (a b) because a has extent one"
    for dim in ("a", "c", "d", "h", "k"):
        assert space.cut(dim) is None


@pytest.mark.parametrize(
    ("source", "target", "printed"),
    [
        ((4, 6), (24,), "d0 d1 -> (d0 d1)"),
        ((24,), (4, 6), "(d0 d1) -> d0 d1"),
        ((2, 12, 5), (6, 4, 5), "d0 (d1 d2) d3 -> (d0 d1) d2 d3"),
        ((1, 4, 1), (4,), "1 d0 1 -> d0"),
        ((6, 4, 5), (8, 3, 5), "(d0 d2!) d3! d1 -> (d0 d4!) d5! d1"),
        ((6, 4, 10), (8, 3, 2, 5), "(d0 d3!) d4! (d2 d1) -> (d0 d5!) d6! d2 d1"),
        ((3, 5), (5, 3), "d0! d1! -> d2! d3!"),
        ((), (1, 1), " -> 1 1"),
    ],
)
def test_reshape_factors(source: tuple[int, ...], target: tuple[int, ...], printed: str) -> None:
    space = op("reshape", shape=target).space(f32(*source))
    assert str(space) == printed


extents = st.lists(st.integers(1, 12), max_size=4)


@settings(max_examples=200, deadline=None)
@given(extents, st.randoms())
def test_reshape_dims_make_up_both_shapes(source: list[int], random: object) -> None:
    factors = [f for extent in source for f in prime_factors(extent)]
    random.shuffle(factors)  # type: ignore[attr-defined]
    target = tuple(math.prod(factors[i : i + 2]) for i in range(0, len(factors), 2))
    space = op("reshape", shape=target).space(f32(*source))
    for axes, shape in ((space.operands[0], tuple(source)), (space.results[0], target)):
        assert tuple(math.prod(space.sizes[dim] for dim in axis.dims) for axis in axes) == shape


def prime_factors(number: int) -> list[int]:
    for divisor in range(2, number + 1):
        if number % divisor == 0:
            return [divisor, *prime_factors(number // divisor)]
    return []


CONVOLUTION = {"padding": (0, 0), "dilation": (1, 1), "groups": 1, "dtype": f32().dtype}


@pytest.mark.parametrize(
    ("name", "attributes", "operands", "printed"),
    [
        (
            "conv2d",
            {**CONVOLUTION, "stride": (1, 1)},
            (f32(2, 4, 9, 9), f32(6, 4, 3, 3)),
            "n ci oh~kh! ow~kw!, co ci kh! kw! -> n co oh ow",
        ),
        (
            "conv2d",
            {**CONVOLUTION, "stride": (4, 4)},
            (f32(2, 3, 8, 16), f32(6, 3, 4, 4)),
            "n ci (oh kh!) (ow kw!), co ci kh! kw! -> n co oh ow",
        ),
        (
            "conv2d",
            {**CONVOLUTION, "stride": (1, 1), "groups": 2},
            (f32(2, 4, 9, 9), f32(6, 2, 3, 3)),
            "n (g! ci) oh~kh! ow~kw!, (g! co) ci kh! kw! -> n (g! co) oh ow",
        ),
        ("index_select", {"dim": 0}, (f32(10, 6), i32(4, 9)), "v! r1, *2 *1 -> *2 *1 r1"),
        ("index_add", {"dim": 0, "extent": 10}, (f32(4, 9, 6), i32(4, 9)), "*2 *1 r1, *2 *1 -> v! r1"),
        ("argmax", {"dim": 1, "keepdim": True}, (f32(4, 6),), "d0 d1! -> d0 1"),
        (
            "max_pool2d",
            {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)},
            (f32(3, 8, 9),),
            "*1 (oh kh!) ow~kw! -> *1 oh ow, *1 oh ow",
        ),
    ],
)
def test_spaces_of_the_hard_operators(name: str, attributes: dict[str, object], operands: tuple, printed: str) -> None:
    assert str(op(name, **attributes).space(*operands)) == printed
