"""Iteration spaces: how an operator's operands and results are indexed, written the way people write einsum.

    matmul     b m k, b k n -> b m n        k is absent from the result: a reduction
    softmax    * d! -> * d!                 d! : a tile must hold all of d
    sum        a b c -> a c
    reshape    a (b c) d -> (a b) c d       an axis is an ordered product of dims: cutting its leading dim cuts the axis
    permute    a b c -> c a b
    expand     1 b -> a b                   1 : an axis of extent one, the same for every a
    conv2d     n ci! oh~kh! ow~kw!, co ci! kh! kw! -> n co oh ow       ~ : a window sliding along the axis

Tiling, streaming legality, cost and support reports all follow from this one fact about an operator.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a tensor: the ordered product of `dims`, leading first; no dims means extent one.

    `window` names the kernel dim that slides along the axis; such an axis overlaps between tiles and is never cut.
    """

    dims: tuple[str, ...]
    window: str | None = None

    def __str__(self) -> str:
        text = self.dims[0] if len(self.dims) == 1 else f"({' '.join(self.dims)})" if self.dims else "1"
        return f"{text}~{self.window}" if self.window else text


Axes = tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """What cutting one dim into tiles does to each operand and result of an operator.

    `operands[i]` is the axis of operand i that is sliced, or -1 where every tile uses the operand whole.
    `results[j]` is the axis of result j that is sliced, or -1 where tiles are combined: a reduction.
    """

    dim: str
    size: int
    operands: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """The axes of every operand and result in terms of shared dims."""

    operands: tuple[Axes, ...]
    results: tuple[Axes, ...]
    sizes: Mapping[str, int]
    whole: frozenset[str] = frozenset()

    def __str__(self) -> str:
        def show(axes: Axes) -> str:
            text = " ".join(map(str, axes))
            return re.sub(r"[\w*]+", lambda name: name[0] + ("!" if name[0] in self.whole else ""), text)

        return f"{', '.join(map(show, self.operands))} -> {', '.join(map(show, self.results))}"

    def leading(self, axis: Axis) -> str | None:
        """The dim whose cutting cuts `axis`: the first of extent over one. None where the axis cannot be cut."""
        if axis.window is not None:
            return None
        dim = next((dim for dim in axis.dims if self.sizes[dim] > 1), None)
        return None if dim in self.whole else dim

    def cut(self, dim: str) -> Cut | None:
        """The effect of cutting `dim`, or None where the operator does not allow it."""
        if dim in self.whole or self.sizes[dim] == 1:
            return None
        operands = [self._axis_of(dim, axes) for axes in self.operands]
        results = [self._axis_of(dim, axes) for axes in self.results]
        if None in operands or None in results:
            return None
        return Cut(dim, self.sizes[dim], tuple(operands), tuple(results))  # type: ignore[arg-type]

    def cuts(self) -> list[Cut]:
        """Every dim that may be cut, with its effect."""
        found = [self.cut(dim) for dim in self.sizes]
        return [cut for cut in found if cut is not None]

    def _axis_of(self, dim: str, axes: Axes) -> int | None:
        """The axis that `dim` leads; -1 where `dim` is absent; None where it is present but cannot be cut there."""
        holders = [i for i, axis in enumerate(axes) if dim in axis.dims or axis.window == dim]
        if not holders:
            return -1
        if len(holders) > 1 or self.leading(axes[holders[0]]) != dim:
            return None
        return holders[0]

    @staticmethod
    def parse(text: str, operands: Sequence[TensorType], results: Sequence[TensorType], **sizes: int) -> Space:
        """The space written as `text` for tensors of these types.

        `*` stands for leading batch axes, broadcast as NumPy does. Extents of dims inside a product are given as
        keywords, except one per axis, which follows from the axis; keywords that the text does not name are ignored.
        Raises ValueError where text and shapes disagree: that is a mistake in an operator's declaration.
        """
        left, right = text.split("->")
        texts = [part.split() if "(" not in part else _axis_texts(part) for part in left.split(",")]
        result_texts = [part.split() if "(" not in part else _axis_texts(part) for part in right.split(",")]
        whole: set[str] = set()
        known = dict(sizes)
        types = [*operands, *results]
        parsed = [_parse_axes(axis_texts, tensor, whole) for axis_texts, tensor in zip([*texts, *result_texts], types)]
        if len(texts) != len(operands) or len(result_texts) != len(results):
            raise ValueError(f"space {text!r} does not describe {len(operands)} operands and {len(results)} results")
        _solve_sizes(parsed, types, known)
        bound = [
            tuple(_broadcast(axis, extent, known) for axis, extent in zip(axes, tensor.shape))
            for axes, tensor in zip(parsed, types)
        ]
        named = {dim for axes in parsed for axis in axes for dim in (*axis.dims, axis.window)}
        used = {dim: size for dim, size in known.items() if dim in named}
        return Space(tuple(bound[: len(operands)]), tuple(bound[len(operands) :]), used, frozenset(whole))

    @staticmethod
    def elementwise(operands: Sequence[TensorType], result: TensorType, whole: Sequence[int] = ()) -> Space:
        """The space of an operator that broadcasts its operands to its result; a tile holds all of the axes `whole`."""
        names = [f"d{axis}" for axis in range(result.rank)]
        sizes = dict(zip(names, result.shape))

        def axes(tensor: TensorType) -> Axes:
            own = names[result.rank - tensor.rank :]
            return tuple(
                Axis(()) if extent == 1 and sizes[name] != 1 else Axis((name,))
                for name, extent in zip(own, tensor.shape)
            )

        held = frozenset(names[axis % result.rank] for axis in whole)
        return Space(tuple(map(axes, operands)), (axes(result),), sizes, held)


def _axis_texts(part: str) -> list[str]:
    """The texts of the axes in `part`, where an axis may be a parenthesised product."""
    return re.findall(r"\([^)]*\)|\S+", part)


def _parse_axes(texts: list[str], tensor: TensorType, whole: set[str]) -> Axes:
    """The axes written as `texts`, with `*` spread over the leading axes that the others leave."""
    axes: list[Axis] = []
    for text in texts:
        if text == "*":
            batch = tensor.rank - (len(texts) - 1)
            axes += [Axis((f"*{batch - i}",)) for i in range(batch)]
            continue
        body, _, window = text.partition("~")
        names = body.strip("()").split()
        whole.update(name[:-1] for name in [*names, window] if name.endswith("!"))
        dims = tuple(name.rstrip("!") for name in names if name != "1")
        axes.append(Axis(dims, window.rstrip("!") or None))
    if len(axes) != tensor.rank:
        raise ValueError(f"axes {texts} do not describe a tensor of shape {tensor.shape}")
    return tuple(axes)


def _solve_sizes(parsed: Sequence[Axes], types: Sequence[TensorType], known: dict[str, int]) -> None:
    """Fill in the extents of dims that follow from the shapes."""
    for axes, tensor in zip(parsed, types):
        for axis, extent in zip(axes, tensor.shape):
            if axis.window is not None:
                continue
            if len(axis.dims) == 1:
                known[axis.dims[0]] = max(extent, known.get(axis.dims[0], 1))
    for axes, tensor in zip(parsed, types):
        for axis, extent in zip(axes, tensor.shape):
            missing = [dim for dim in axis.dims if dim not in known]
            if len(missing) == 1 and axis.window is None:
                known[missing[0]] = extent // math.prod(known[dim] for dim in axis.dims if dim != missing[0])


def _broadcast(axis: Axis, extent: int, sizes: Mapping[str, int]) -> Axis:
    """The axis as bound to a tensor: without dims where the tensor is broadcast along it."""
    if axis.window is not None:
        return axis
    size = math.prod(sizes[dim] for dim in axis.dims)
    if size == extent:
        return axis
    if extent == 1:
        return Axis(())
    raise ValueError(f"axis {axis} of extent {extent} does not match its dims, which make {size}")
