"""Composite ATen operators that are traced as our own expression of them instead of PyTorch's.

PyTorch picks a fused attention kernel by the host's device; on the RDU attention is two matrix products around a
softmax, and the compiler does the fusing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table

from compiler.frontend.composites_antialias import ANTIALIASED
from compiler.frontend.composites_chunked import CHUNKED
from compiler.frontend.composites_convolution import CONVOLUTION
from compiler.frontend.composites_counting import histc
from compiler.frontend.composites_covariance import corrcoef, cov
from compiler.frontend.composites_ctc import CTC
from compiler.frontend.composites_dropout import DROPOUT, dropout
from compiler.frontend.composites_encoder import ENCODER
from compiler.frontend.composites_fractional import FRACTIONAL
from compiler.frontend.composites_lists import LISTS
from compiler.frontend.composites_margin import multi_margin_loss, multilabel_margin_loss
from compiler.frontend.composites_places import PLACES
from compiler.frontend.composites_sampling import grid_sampler
from compiler.frontend.composites_statistics import STATISTICS
from compiler.frontend.composites_tables import TABLES
from compiler.frontend.composites_weights import WEIGHTS
from compiler.frontend.composites_window import POOLING

aten = torch.ops.aten


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query key^T * scale + mask) value, of [..., length, features] tensors. A row whose mask leaves it nothing
    is zero, as in PyTorch, and its gradients are: padding on the left makes such rows. What a mask hides is still added
    to, so that a score that is NaN makes its row NaN."""
    is_fused = _is_fused(query, key, value, attn_mask, dropout_p)
    if is_causal and attn_mask is not None and not is_fused:
        raise RuntimeError("scaled_dot_product_attention: attn_mask should not be set when is_causal=True")
    if enable_gqa:
        groups = query.size(-3) // key.size(-3)
        key, value = (_repeated(tensor, groups) for tensor in (key, value))
    scale = query.size(-1) ** -0.5 if scale is None else scale
    scores = (query @ key.transpose(-2, -1)) * scale
    earlier = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril() if is_causal else None
    sees: Tensor | None = None
    if attn_mask is not None:
        is_seen = attn_mask if attn_mask.dtype == torch.bool else attn_mask != float("-inf")
        sees = (is_seen if earlier is None else is_seen & earlier).any(-1, keepdim=True)
        if attn_mask.dtype == torch.bool:
            scores = scores + _hiding(~attn_mask & sees, scores)
        else:
            scores = scores + torch.where(sees, attn_mask, 0.0)
    if earlier is not None and is_fused:
        scores = torch.where(earlier, scores, float("-inf"))
    elif earlier is not None:
        scores = scores + _hiding(~earlier, scores)
    result = dropout(torch.softmax(scores, -1), dropout_p, dropout_p > 0) @ value
    return result if sees is None else result * sees


def _is_fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float) -> bool:
    """Whether PyTorch's host has one kernel for it, which takes a mask beside the causal one, and writes -inf over what
    the causal one hides. It decides by what it sees of tensors with content."""
    is_plain = dropout_p == 0.0 and not (mask is not None and mask.requires_grad)
    return (
        is_plain and query.dim() == key.dim() == value.dim() == 4 and query.size(-1) == key.size(-1) == value.size(-1)
    )


def _hiding(hidden: Tensor, scores: Tensor) -> Tensor:
    """What to add to scores so that some are hidden."""
    return torch.zeros_like(hidden, dtype=scores.dtype).masked_fill(hidden, float("-inf"))


def _repeated(tensor: Tensor, groups: int) -> Tensor:
    """Each head repeated for the `groups` query heads that share it."""
    *batch, heads, length, features = tensor.shape
    expanded = tensor.unsqueeze(-3).expand(*batch, heads, groups, length, features)
    return expanded.reshape(*batch, heads * groups, length, features)


def distances(x: Tensor, y: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """The p-norm of the difference of every two rows; without elements there is none."""
    return _lengths(x.unsqueeze(-2) - y.unsqueeze(-3), p)


def distances_within(x: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm of the difference of every row and each after it."""
    first, second = torch.triu_indices(len(x), len(x), 1, device=x.device)
    return _lengths(x.index_select(0, first) - x.index_select(0, second), p)


def _lengths(gap: Tensor, p: float) -> Tensor:
    """The p-norm along the last axis. Of several largest elements, each has the whole gradient, which vector_norm would
    share out among them."""
    if not gap.numel():
        return gap.sum(-1)
    if p != math.inf:
        return torch.linalg.vector_norm(gap, p, -1)
    sizes = gap.abs()
    longest = sizes.detach().amax(-1, keepdim=True)
    moving = torch.where(sizes == longest, sizes - sizes.detach(), 0.0)
    return longest.squeeze(-1) + moving.sum(-1)


def larger(x: Tensor, y: Tensor) -> Tensor:
    """The larger of two, the number where the other is NaN."""
    return torch.where((x >= y) | y.isnan(), x, y)


def smaller(x: Tensor, y: Tensor) -> Tensor:
    """The smaller of two, the number where the other is NaN."""
    return torch.where((x <= y) | y.isnan(), x, y)


def reduced_by_index(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Slices of `source` combined where the index says along `dim`: every element of a slice has the same index."""
    shape = [1] * source.dim()
    shape[dim] = -1
    places = index.reshape(shape).expand(source.shape)
    own = x.clone()  # autograd keeps it, and x may be what the result is written into
    return torch.scatter_reduce(own, dim, places, source, reduce, include_self=include_self)


def places_in(
    edges: Tensor,
    x: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """How many of the ascending `edges`, along the last axis, are below each element of x; with `right`, or equal."""
    edges = edges if sorter is None else edges.gather(-1, sorter)
    held = edges.unsqueeze(-2) if edges.dim() > 1 else edges
    is_before = held <= x.unsqueeze(-1) if right or side == "right" else held < x.unsqueeze(-1)
    return is_before.sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


def filled_by_index(x: Tensor, dim: int, index: Tensor, value: Tensor) -> Tensor:
    """`value` where the index says along `dim`, with a gradient to it that needs no list of the chosen places."""
    chosen = torch.zeros(x.shape[dim] if x.dim() else 1, dtype=torch.bool, device=x.device)
    chosen = chosen.index_fill(0, index.reshape(-1), True)
    shape = [1] * x.dim()
    if x.dim():
        shape[dim] = -1
    return torch.where(chosen.reshape(shape), value.to(x.dtype), x)


def put_by_index(x: Tensor, indices: list[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """Writing where a mask over some adjacent axes holds, as choosing; writing by other indices as it is.

    Values without an axis for the chosen elements, or with one of extent one, are the same for all of them; else each
    takes the next.
    """
    masks = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(masks) != 1 or masks[0][1].dtype != torch.bool:
        written: Tensor = aten.index_put(x, indices, values, accumulate)
        return written
    before, mask = masks[0]
    after = x.dim() - before - mask.dim()
    held = mask.reshape(*mask.shape, *[1] * after)
    values = values.to(x.dtype)
    place = values.dim() - after - 1
    if place < 0 or values.shape[place] == 1:
        if place >= 0:
            values = values.unflatten(place, (1,) * mask.dim())
        return torch.where(held, x + values if accumulate else values, x)
    values = values.expand(*x.shape[:before], values.shape[place], *x.shape[before + mask.dim() :])
    taken = torch.masked_scatter(torch.zeros_like(x) if accumulate else x, held.expand(x.shape), values)
    return x + taken if accumulate else taken


def replicated(x: Tensor, padding: list[int], around: bool = False) -> Tensor:
    """Each axis read by index, with the first and the last element repeated beyond it, or the axis `around` again.

    Negative padding takes elements away; what goes around is what is left.
    """
    for number in range(len(padding) // 2):
        dim, (before, after) = -1 - number, padding[2 * number : 2 * number + 2]
        if around:
            x = x.narrow(dim, max(-before, 0), x.shape[dim] + min(before, 0) + min(after, 0))
            before, after = max(before, 0), max(after, 0)
        extent = x.shape[dim]
        index = torch.arange(-before, extent + after, device=x.device)
        x = x.index_select(dim, index % extent if around else index.clamp(0, extent - 1))
    return x


def padded(x: Tensor, pad: list[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Padding, which unless with a constant is reading by index."""
    if mode in ("replicate", "circular"):
        return replicated(x, pad, around=mode == "circular")
    if mode == "reflect":
        rule = (aten.reflection_pad1d, aten.reflection_pad2d, aten.reflection_pad3d)[len(pad) // 2 - 1]
        reflected: Tensor = decomposition_table[rule.default](x, pad)
        return reflected
    result: Tensor = aten.pad(x, pad, mode, value)
    return result


def nearest(x: Tensor, size: list[int] | None, scales: list[float] | None) -> Tensor:
    """Every element repeated where the scale is whole; else as PyTorch decomposes it. The scale of an axis that keeps
    or doubles its extent means nothing, as in PyTorch's kernels."""
    extents = x.shape[2:]
    wanted = list(size) if size is not None else [int(e * s) for e, s in zip(extents, scales or [])]
    if scales is not None:
        scales = [
            float(out // extent) if out in (extent, 2 * extent) else scale
            for out, extent, scale in zip(wanted, extents, scales)
        ]
    whole = all(out % extent == 0 for out, extent in zip(wanted, extents))
    exact = scales is None or size is not None or all(float(scale).is_integer() for scale in scales)
    if not (whole and exact):
        rule = (aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d)[len(extents) - 1]
        return decomposition_table[rule.vec](x, size, scales)
    for number, (out, extent) in enumerate(zip(wanted, extents)):
        dim = 2 + number
        x = x.unsqueeze(dim + 1).expand(*x.shape[: dim + 1], out // extent, *x.shape[dim + 1 :]).flatten(dim, dim + 1)
    return x


def linear(x: Tensor, size: list[int] | None, align_corners: bool, scales: list[float] | None) -> Tensor:
    """Linear interpolation of one to three axes, one after the other, the last first as PyTorch's kernels do."""
    wanted = list(size) if size is not None else [int(e * s) for e, s in zip(x.shape[2:], scales or [])]
    for number in reversed(range(len(wanted))):
        x = _stretched(x, 2 + number, wanted[number], align_corners, scales[number] if scales else None)
    return x


def linear_of_size(x: Tensor, size: list[int], align_corners: bool, *scales: float | None) -> Tensor:
    """The same for overloads whose scales are arguments of their own."""
    return linear(x, size, align_corners, None if None in scales else list(scales))  # type: ignore[arg-type]


def _stretched(x: Tensor, dim: int, out: int, align_corners: bool, scale: float | None) -> Tensor:
    """Every element between its neighbours along `dim` at the place that belongs to it."""
    extent = x.shape[dim]
    if out == extent:
        return x  # whatever the scale
    if align_corners:
        place = torch.arange(out, device=x.device) * ((extent - 1) / (out - 1) if out > 1 else 0.0)
    else:
        step = 1 / scale if scale else extent / out
        place = ((torch.arange(out, device=x.device) + 0.5) * step - 0.5).clamp(min=0)
    lower = place.floor().long().clamp(max=extent - 1)
    upper = (lower + 1).clamp(max=extent - 1)
    share = (place - lower).clamp(0, 1).reshape(-1, *[1] * (x.dim() - dim - 1))
    stretched = x.index_select(dim, lower) * (1 - share) + x.index_select(dim, upper) * share
    return stretched.to(x.dtype)


TAKEN_APART = (
    aten.upsample_nearest1d.default, aten.upsample_nearest2d.default, aten.upsample_nearest3d.default,
    aten._upsample_nearest_exact1d.vec, aten._upsample_nearest_exact2d.vec, aten._upsample_nearest_exact3d.vec,
    aten._upsample_nearest_exact1d.default, aten._upsample_nearest_exact2d.default,
    aten._upsample_nearest_exact3d.default, aten.upsample_bicubic2d.vec, aten.upsample_bicubic2d.default,
    aten.reflection_pad1d.default, aten.reflection_pad2d.default,
    aten.reflection_pad3d.default,
    aten.im2col.default, aten.col2im.default, aten.max_unpool2d.default, aten.max_unpool3d.default,
    aten.affine_grid_generator.default, aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input,
)  # fmt: skip
"""Operators traced as PyTorch decomposes them, because their derivatives have no decomposition of their own."""


def _in_place(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule as an operator that writes its result into its first operand."""

    def written(x: Tensor, *rest: Any, **named: Any) -> Tensor:
        return x.copy_(rule(x, *rest, **named))

    return written


def _in_place_overload(overload: Any) -> Any:
    """The overload that does the same in place, None where there is none."""
    packet = getattr(aten, f"{overload.overloadpacket.__name__}_", None)
    return getattr(packet, overload._overloadname, None)


OUT_OF_PLACE: dict[Any, Callable[..., Any]] = {
    aten.scaled_dot_product_attention.default: attention,
    aten.index_fill.int_Tensor: filled_by_index,
    aten.index_put.default: put_by_index,
    aten.index_reduce.default: reduced_by_index,
    aten.searchsorted.Tensor: places_in,
    aten.fmax.default: larger,
    aten.fmin.default: smaller,
    aten.cov.default: cov,
    aten.corrcoef.default: corrcoef,
    aten.histc.default: histc,
    aten._cdist_forward.default: distances,
    aten.cdist.default: distances,
    aten.pdist.default: distances_within,
    aten._pdist_forward.default: distances_within,
    aten.pad.default: padded,
    **dict.fromkeys(
        (aten.grid_sampler.default, aten.grid_sampler_2d.default, aten.grid_sampler_3d.default), grid_sampler
    ),
    aten.multi_margin_loss.default: multi_margin_loss,
    aten.multilabel_margin_loss.default: multilabel_margin_loss,
    **dict.fromkeys(
        (aten.replication_pad1d.default, aten.replication_pad2d.default, aten.replication_pad3d.default), replicated
    ),
    **dict.fromkeys((aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec, aten.upsample_nearest3d.vec), nearest),
    **dict.fromkeys((aten.upsample_linear1d.vec, aten.upsample_bilinear2d.vec, aten.upsample_trilinear3d.vec), linear),
    **dict.fromkeys(
        (aten.upsample_linear1d.default, aten.upsample_bilinear2d.default, aten.upsample_trilinear3d.default),
        linear_of_size,
    ),
    **{overload: decomposition_table[overload] for overload in TAKEN_APART if overload in decomposition_table},
    **DROPOUT,
    **CONVOLUTION,
    **POOLING,
    **STATISTICS,
    **ANTIALIASED,
    **CHUNKED,
    **CTC,
    **ENCODER,
    **FRACTIONAL,
    **LISTS,
    **PLACES,
    **TABLES,
    **WEIGHTS,
    aten.view.default: torch.reshape,  # strides differ from the fused attention's; here they mean nothing
}

COMPOSITES: dict[Any, Callable[..., Any]] = {
    **{
        in_place: _in_place(rule)
        for overload, rule in OUT_OF_PLACE.items()
        if (in_place := _in_place_overload(overload)) is not None
    },
    **OUT_OF_PLACE,
}
"""What to trace instead of each composite operator."""
