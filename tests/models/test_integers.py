"""Whole numbers beside PyTorch: as wide as there, or refused where 32 bits do not hold what 64 would."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.errors import IndexOutsideError, IntegerError, SncError
from ir.op import Array
from tests.models.toolchain import compiled

BIG = 2**30

Function = Callable[..., Tensor]


def integers(*values: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.tensor(values, dtype=dtype)


class Whole(nn.Module):
    """A function of one or two tensors."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.function(x, y)


def run(function: Function, x: Tensor, y: Tensor, sample: tuple[Tensor, Tensor], strict: bool) -> Array:
    """What the device computes of x and y, compiled with a sample of their shapes and types."""
    spec = ModelSpec(Whole(function), {"x": sample[0], "y": sample[1]})
    session = compiled(spec, inference=True).session(strict=strict)
    for name, tensor in (("x", x), ("y", y)):
        if name in session.symbols:
            session.write(name, tensor.numpy())
    (found,) = session.run().values()
    return found


FITS: dict[str, tuple[Function, Tensor, Tensor]] = {
    "sum": (lambda x, y: x + y, integers(BIG, -BIG, 5), integers(BIG - 1, -BIG, 7)),
    "product": (lambda x, y: x * y, integers(46341, -65536, 5), integers(46340, 32768, 7)),
    "total": (lambda x, y: x.sum() + y.sum(), integers(BIG, BIG, -BIG, -BIG), integers(BIG, BIG, -BIG)),
    "power": (lambda x, y: x**3 + y**2, integers(1290, -1290, 0), integers(1, 0, -1)),
    "power of a tensor": (lambda x, y: x**y, integers(2, -2, 3, 0, -1, 5), integers(30, 31, 19, 0, -3, -1)),
    "product that wraps in 64 bits too": (lambda x, y: x.prod() + y, integers(*[65536] * 4), integers(1)),
    "shift": (lambda x, y: (x << y) ^ (x >> y), integers(1, -2, 3), integers(30, 30, 2)),
    "quotients": (lambda x, y: x // y + x % y + torch.fmod(x, y), integers(-7, 7, -7), integers(2, -2, -2)),
    "matrix product": (lambda x, y: x.view(2, 2) @ y.view(2, 2), integers(65535, 1, 2, 3), integers(4, 5, 6, 7)),
    "scattered sums": (lambda x, y: (y * 0).scatter_add(0, x, y), integers(0, 0, 1), integers(BIG, -BIG, 4)),
    "added by index": (
        lambda x, y: (y * 0).index_put((x,), y, accumulate=True), integers(0, 0, 1), integers(BIG, -BIG, 4)
    ),
    "whole parts": (lambda x, y: x.long() + y, torch.tensor([1.9, -1.9, -(2.0**31)]), integers(1, 2, 3)),
    "whole parts of none": (
        lambda x, y: x.long().clamp(-5, 5) + y, torch.tensor([float("inf"), float("-inf"), float("nan")]), integers(1)
    ),
    "32 bits wrap": (
        lambda x, y: x * y + x, integers(70000, -70000, dtype=torch.int32), integers(70000, 9, dtype=torch.int32)
    ),
    "16 bits wrap": (
        lambda x, y: x * y - x, integers(300, -32768, dtype=torch.int16), integers(300, 9, dtype=torch.int16)
    ),
    "8 bits wrap": (
        lambda x, y: (x * 3 + y - 7) ^ (~x << 1), integers(0, 100, 255, dtype=torch.uint8),
        integers(1, 200, 255, dtype=torch.uint8),
    ),
    "8 bits with a sign wrap": (
        lambda x, y: x * 3 - y, integers(100, -128, 7, dtype=torch.int8), integers(-100, 127, 7, dtype=torch.int8)
    ),
    "narrowed": (
        lambda x, y: x.to(torch.uint8) + y.to(torch.int16), integers(300, -1, 255), integers(40000, -40000, 3)
    ),
    "elements of a matrix": (
        lambda x, y: torch.arange(20).view(4, 5)[x, y], integers(0, -1, 3), integers(4, -5, 0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("strict", [False, True], ids=["fast", "strict"])
@pytest.mark.parametrize("case", FITS)
def test_what_fits_equals_pytorch(case: str, strict: bool) -> None:
    function, x, y = FITS[case]
    found = run(function, x, y, (x, y), strict)
    assert np.array_equal(found, function(x, y).numpy())


OUTGROWN: dict[str, tuple[Function, Tensor, Tensor, str]] = {
    "sum": (lambda x, y: x + y, integers(1, BIG), integers(1, BIG), "a sum of"),
    "difference": (lambda x, y: x - y, integers(1, -BIG), integers(1, BIG + 1), "a difference of"),
    "product": (lambda x, y: x * y, integers(1, 70000), integers(1, 70000), "a product of"),
    "negative": (lambda x, y: -x + y, integers(1, -(2**31)), integers(0), "the negative of"),
    "absolute value": (lambda x, y: x.abs() + y, integers(1, -(2**31)), integers(0), "the absolute value of"),
    "total": (lambda x, y: x.sum() + y, integers(BIG, BIG), integers(0), "a sum of"),
    "running sum": (lambda x, y: x.cumsum(0) + y, integers(BIG, BIG, -BIG), integers(0), "a running sum of"),
    "running product": (lambda x, y: x.cumprod(0) + y, integers(BIG, 4), integers(0), "a running product of"),
    "total product": (lambda x, y: x.prod() + y, integers(BIG, 4), integers(0), "a product of"),
    "power": (lambda x, y: x**3 + y, integers(1291), integers(0), "a product of"),
    "power of a tensor": (lambda x, y: x**y, integers(2), integers(31), "a power of"),
    "shift": (lambda x, y: x << y, integers(1), integers(40), "its bits shifted"),
    "matrix product": (lambda x, y: torch.dot(x, y), integers(46341, 0), integers(46341, 0), "a matrix product"),
    "scattered sums": (lambda x, y: y.scatter_add(0, x, y), integers(0, 0), integers(BIG, 1), "a sum of"),
    "added by index": (
        lambda x, y: y.index_put((x,), y, accumulate=True), integers(0, 0), integers(BIG, 1), "a sum of"
    ),
    "whole part": (lambda x, y: x.long() + y, torch.tensor([3e9]), integers(0), "a number converted to"),
    "whole part of a huge one": (lambda x, y: x.long() + y, torch.tensor([1e30]), integers(0), "a number converted"),
    "quotient": (lambda x, y: x // y, integers(-(2**31)), integers(-1), "the quotient of"),
    "division by zero": (lambda x, y: x // y, integers(7, 7), integers(7, 0), "divided by zero"),
    "remainder by zero": (
        lambda x, y: x % y, integers(7, dtype=torch.int32), integers(0, dtype=torch.int32), "divided by zero"
    ),
}  # fmt: skip


@pytest.mark.parametrize("strict", [False, True], ids=["fast", "strict"])
@pytest.mark.parametrize("case", OUTGROWN)
def test_what_does_not_fit_ends_the_run(case: str, strict: bool) -> None:
    """Both executors name the line."""
    function, x, y, why = OUTGROWN[case]
    sample = torch.ones_like(x), torch.ones_like(y)
    with pytest.raises(IntegerError, match=rf"test_integers\.py:\d+.*{why}(.|\n)*try: "):
        run(function, x, y, sample, strict)


@pytest.mark.parametrize("strict", [False, True], ids=["fast", "strict"])
@pytest.mark.parametrize("column", [5, -6])
def test_an_index_outside_names_no_element_of_another_row(column: int, strict: bool) -> None:
    sample = integers(0, 1), integers(2, 3)
    with pytest.raises(IndexOutsideError, match=r"test_integers\.py:\d+.*is outside 0 \.\. 4"):
        run(lambda x, y: torch.arange(20).view(4, 5)[x, y], integers(0, 2), integers(1, column), sample, strict)


CHECKS: dict[str, tuple[Function, list[str]]] = {
    "counts": (lambda x, y: (x > 0).sum() * 1000, []),
    "places": (lambda x, y: x.view(8, 8).argmax(1).sum() * 10, []),
    "running counts": (lambda x, y: (x > 0).cumsum(0) * 2 - 1, []),
    "choices": (lambda x, y: torch.where(x > 0, 3, 4) * -7, []),
    "remainders": (lambda x, y: (y % 100) * (y % 100).clamp(min=7) // 13, []),
    "inputs": (lambda x, y: (y % 100 + y) * 2, ["checked_add", "checked_mul"]),
}


@pytest.mark.parametrize("case", CHECKS)
def test_only_what_may_not_fit_is_checked(case: str) -> None:
    function, checks = CHECKS[case]
    x, y = torch.randn(64), torch.randint(10, (64,))
    program = compiled(ModelSpec(Whole(function), {"x": x, "y": y}), inference=True).program
    names = [node.op.name for graph in program.graphs for node in graph.nodes]
    assert [name for name in names if name.startswith("checked_")] == checks


def test_a_constant_that_outgrows_32_bits_is_refused_when_compiling() -> None:
    spec = ModelSpec(Whole(lambda x, y: x + 3_000_000_000 + y), {"x": integers(1), "y": integers(1)})
    with pytest.raises(SncError, match="does not fit a whole number of 32 bits"):
        capture(spec, inference=True)
