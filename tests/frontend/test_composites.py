"""Our own expressions of composite operators, forward and backward, beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from compiler.frontend.composites_counting import histc
from tests.frontend.sweep_cases import Call
from tests.frontend.sweep_check import Status, check

TOLERANCES = (1.3e-6, 1e-5)


def check_calls(calls: list[Call]) -> None:
    """All calls equal PyTorch's; they are traced as one model."""
    outcomes = check(calls, TOLERANCES)
    assert {outcome.status for outcome in outcomes} == {Status.EQUAL}, outcomes


def check_call(function: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    check_calls([Call(function, arguments, named)])


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), requires_grad=True)


def integers(*shape: int) -> Tensor:
    return torch.randint(-(2**12), 2**12, shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("before, axes", [(0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (1, 2)])
def test_writing_where_a_mask_holds(before: int, axes: int, accumulate: bool) -> None:
    """One value for all chosen elements, one for each, and all that broadcasts between them, with its gradient."""
    x = random(4, 3, 5)
    mask = torch.rand(x.shape[before : before + axes], generator=torch.Generator().manual_seed(1)) > 0.5
    count, lead, rest = int(mask.sum()), x.shape[:before], x.shape[before + axes :]
    ones = [1] * len(rest)
    shapes = {
        (),
        (1, *rest),
        tuple(rest),
        (count, *rest),
        (count, *ones),
        (*lead, count, *rest),
        (*lead, 1, *ones),
    }
    put, indices = torch.ops.aten.index_put, [*[None] * before, mask]
    check_calls([Call(put, (x, indices, random(*shape), accumulate), {}) for shape in sorted(shapes)])


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_the_gradient_to_what_fills_by_index(dim: int) -> None:
    check_call(torch.index_fill, random(4, 3, 5), dim, torch.tensor([0, 2, 2]), random())


CONVOLUTIONS: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1},
    {"dilation": 2, "groups": 2},
]


@pytest.mark.parametrize("options", [*CONVOLUTIONS, {"padding": "same"}], ids=str)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_convolutions_of_integers(axes: int, options: dict[str, Any]) -> None:
    """Exact, where float32 would round."""
    weight = integers(6, 4 // options.get("groups", 1), 3, *[2] * (axes - 1))
    convolve = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    check_call(convolve, integers(2, 4, *[7] * axes), weight, integers(6), **options)


@pytest.mark.parametrize("options", [*CONVOLUTIONS, {"stride": 2, "output_padding": 1}], ids=str)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_transposed_convolutions_of_integers(axes: int, options: dict[str, Any]) -> None:
    weight = integers(4, 6 // options.get("groups", 1), 3, *[2] * (axes - 1))
    convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    check_call(convolve, integers(2, 4, *[5] * axes), weight, integers(6), **options)


@pytest.mark.parametrize("size", [2, 1, (4, 2), 16])
def test_adaptive_maximum_of_large_windows(size: int | tuple[int, int]) -> None:
    """Windows of up to 1024 pixels of three colours: the gradient goes to the first of equal ones, row by row."""
    pixels = torch.randint(3, (2, 3, 32, 32), generator=torch.Generator().manual_seed(5)).float().requires_grad_()
    check_call(lambda x: F.adaptive_max_pool2d(x, size), pixels)


@pytest.mark.parametrize("pool", [F.avg_pool2d, F.max_pool2d])
@pytest.mark.parametrize("window", [(9, 9), (7, 40), (2, 3, 1), (6, 4, 2), (9, 3, 3, 1)], ids=str)
def test_ceil_mode_that_adds_no_window(pool: Callable[..., Tensor], window: tuple[int, ...]) -> None:
    """One window that reaches beyond the image, or windows that fit it, are those of the device's own pooling."""
    size, *rest = (window[:2], *window[2:])
    steps = rest[0] if rest else None
    padding = rest[1] if len(rest) > 1 else 0
    check_call(lambda x: pool(x, size, steps, padding, ceil_mode=True), random(2, 3, 7, 7))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_adaptive_average_of_everything(axes: int) -> None:
    pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[axes - 1]
    check_call(lambda x: pool(x, 1), random(2, 3, *[6] * axes))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_linear_layer_and_its_loss_in_chunks(reduction: str) -> None:
    """With class weights and without, targets that are ignored, and a batch of nothing else, whose mean is NaN."""
    options, classes = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=2), torch.rand(7)
    x, matrix, bias = random(5, 4), random(7, 4), random(7)
    some, none = torch.tensor([0, 3, 6, 3, 1]), torch.full((5,), 3)
    function = F.linear_cross_entropy
    given = {"reduction": reduction, "ignore_index": 3, "options": options}
    cases = [
        ((x, matrix, some), {"linear_bias": bias}),
        ((x, matrix, some), {"weight": classes}),
        ((x, matrix, none), {}),
        ((x[0].detach().requires_grad_(), matrix, some[0]), {"linear_bias": bias, "weight": classes}),
    ]
    check_calls([Call(function, arguments, {**given, **named}) for arguments, named in cases])


@pytest.mark.parametrize("span", [(), (-3.3, 5.7)])
def test_a_histogram_counts_the_largest_element_in_its_last_bin(span: tuple[float, ...]) -> None:
    """Though the smallest element plus the width of what all span may round to another number than the largest."""
    known = [float.fromhex(x) for x in ("-0x1.0f4ed6p+3", "-0x1.c40d2ap+0", "-0x1.14a8d4p+2", "-0x1.334224p+1")]
    draw = torch.Generator().manual_seed(0)
    for x in (torch.tensor(known), *(9 * torch.randn(7, generator=draw) for _ in range(300))):
        for bins in (1, 3, 10):
            assert torch.equal(histc(x, bins, *span), torch.histc(x, bins, *span)), (x.tolist(), bins)


def test_batch_norm_without_channels() -> None:
    """PyTorch takes a tensor of one axis where it has no elements."""
    none = torch.zeros(0, requires_grad=True)
    check_call(lambda x: F.batch_norm(x, torch.zeros(0), torch.ones(0), training=True), none)


@pytest.mark.parametrize("correction", [0, 1, 2])
@pytest.mark.parametrize("weights", [{}, {"fweights": torch.tensor([1, 2, 1, 3, 1])}, {"aweights": torch.rand(5)}])
def test_covariance(weights: dict[str, Tensor], correction: int) -> None:
    check_call(lambda x: torch.cov(x, correction=correction, **weights), random(3, 5))
    check_call(lambda x: torch.cov(x[0], correction=correction, **weights), random(3, 5))


def test_correlation() -> None:
    check_call(torch.corrcoef, random(3, 5))


@pytest.mark.parametrize("function", [torch.fmax, torch.fmin])
def test_what_is_larger_than_nothing(function: Callable[..., Tensor]) -> None:
    x, y = torch.tensor([1.0, torch.nan, 3.0, torch.nan, 2.0]), torch.tensor([torch.nan, 2.0, 1.0, torch.nan, 2.0])
    check_call(function, x.requires_grad_(), y.requires_grad_())


@pytest.mark.parametrize("include_self", [False, True])
@pytest.mark.parametrize("reduce", ["prod", "mean", "amax", "amin"])
def test_reduction_by_index(reduce: str, include_self: bool) -> None:
    index = torch.tensor([0, 2, 0, 1, 2])

    def reduced(x: Tensor, source: Tensor) -> Tensor:
        return x.index_reduce(1, index, source, reduce, include_self=include_self)

    check_call(reduced, random(3, 4), random(3, 5))


@pytest.mark.parametrize("right", [False, True])
def test_places_among_edges(right: bool) -> None:
    edges = torch.tensor([-1.0, 0.0, 0.0, 1.0])
    x = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
    check_call(lambda x: torch.searchsorted(edges, x, right=right), x)
    check_call(lambda x: torch.searchsorted(edges.expand(2, 4).contiguous(), x.reshape(2, 3), right=right), x)


def test_lists_of_tensors() -> None:
    def listed(x: Tensor, y: Tensor) -> list[Tensor]:
        written = [x.clone(), y.clone()]
        torch._foreach_mul_(written, [2.0, 3.0])
        torch._foreach_lerp_(written, [y, x], 0.25)
        torch._foreach_addcmul_(written, [x, x], [y, y], 0.5)
        return [*written, *torch._foreach_norm([x, y]), *torch._foreach_maximum([x, y], [y, x])]

    check_call(listed, random(3, 4), random(4, 3).t())
