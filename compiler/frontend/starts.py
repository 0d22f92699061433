"""Which of a model's outputs gradients start from, and what the outputs are called."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Result:
    """An output of a model: the dict key under which it was returned, or '', and whether a loss operator made it."""

    key: str
    tensor: Tensor
    from_loss_operator: bool = False

    @property
    def is_differentiable(self) -> bool:
        """Whether it depends on a tensor that wants a gradient."""
        return bool(self.tensor.is_floating_point() and self.tensor.requires_grad)

    @property
    def is_loss(self) -> bool:
        """Whether it is a floating-point scalar, or made by a loss operator."""
        return bool(self.tensor.is_floating_point() and (self.tensor.dim() == 0 or self.from_loss_operator))


def the_loss(results: Sequence[Result]) -> list[int]:
    """The loss of a model file: the output called loss, else the first floating-point one; none where that depends on
    nothing that wants a gradient."""
    candidates = [i for i, result in enumerate(results) if result.tensor.is_floating_point()]
    named = [i for i in candidates if results[i].key == "loss"]
    return [i for i in (named or candidates)[:1] if results[i].is_differentiable]


def losses(results: Sequence[Result]) -> list[int]:
    """The losses of a program that does not say which: outputs that are losses; without such, all outputs that can be
    differentiated.

    Of losses of which one is computed from the other, one counts: their sum where an output combines several, such as a
    total beside its parts; else the first, such as a loss before its perplexity.
    """
    candidates = [i for i, result in enumerate(results) if result.is_differentiable]
    found = [i for i in candidates if results[i].is_loss]
    below = {i: _leads_to(results[i].tensor, {j: results[j].tensor for j in found if j != i}) for i in found}
    chosen: list[int] = []
    for i in sorted(found, key=lambda i: (len(below[i]) < 2, i)):
        if not any(i in below[j] or j in below[i] for j in chosen):
            chosen.append(i)
    return sorted(chosen) or candidates


def _leads_to(tensor: Tensor, others: dict[int, Tensor]) -> set[int]:
    """Which of the other tensors a tensor was computed from."""
    makers = {other.grad_fn: i for i, other in others.items() if other.grad_fn is not tensor.grad_fn}
    pending: list[Any] = [tensor.grad_fn]
    seen: set[Any] = set()
    while pending:
        function = pending.pop()
        if function is not None and function not in seen:
            seen.add(function)
            pending += [following for following, _ in function.next_functions]
    return {i for maker, i in makers.items() if maker in seen}


def output_names(results: Sequence[Result], first_is_loss: bool, taken: Collection[str] = ()) -> list[str]:
    """`loss` for a loss; the user's dict key or `output` for others; repeated names are numbered. `taken` are names of
    inputs and weights: an output called like one of them, an autoencoder's `image`, becomes `image_output`."""
    names: list[str] = []
    for i, result in enumerate(results):
        stem = result.key or ("loss" if result.is_loss or (first_is_loss and i == 0) else "output")
        stem = f"{stem}_output" if stem in taken else stem
        repeats = sum(name == stem or name.startswith(f"{stem}_") for name in names)
        names.append(f"{stem}_{repeats}" if repeats else stem)
    return names
