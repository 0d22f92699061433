"""What the zoo knows of a model: its sizes, and how the smallest of them is trained to a stated quality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compiler.frontend.model_file import ModelSpec, call_with_inputs
from ir.errors import Problem, UsageError
from ir.op import Array
from modelzoo.hollow import beside, without_content

Tensors = dict[str, Tensor]
Arrays = Mapping[str, Array]
Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class Size:
    """One configuration of a model.

    samples: sample tensors for a batch and a sequence length (None for models that have none): what forward takes, and
    what the loss takes beside forward's result. published: where the numbers come from. length is the usual sequence
    length.
    """

    build: Callable[[], nn.Module]
    samples: Callable[[int, int | None], tuple[Tensors, Tensors]]
    batch: int
    published: str
    length: int | None = None


@dataclass(frozen=True)
class Quality:
    """What a trained model is judged by: `measure` of its outputs on samples it has not seen, against `goal`."""

    name: str
    measure: Callable[[Outputs, Arrays], float]
    goal: float
    unit: str = ""
    higher_is_better: bool = False

    def reached(self, value: float) -> bool:
        """Whether `value` is as good as the goal."""
        return value >= self.goal if self.higher_is_better else value <= self.goal

    def shown(self, value: float) -> str:
        """`value` with its unit."""
        return f"{value:.1%}" if self.unit == "%" else f"{value:.3g} {self.unit}".rstrip()

    def told(self, value: float) -> str:
        """`value` in words, with its unit."""
        return f"{self.name} {self.shown(value)}"


@dataclass(frozen=True)
class Recipe:
    """How the tiny configuration is trained.

    data: training and test samples from a seed, arrays whose rows are samples, by the names of the model's inputs and
    targets; they are made by a generator and never read from anywhere.
    """

    data: Callable[[int], tuple[Arrays, Arrays]]
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    epochs: int
    quality: Quality


@dataclass(frozen=True)
class Entry:
    """A model of the zoo. `loss` maps forward's result and the targets to the loss; without it forward returns it."""

    name: str
    title: str
    about: str
    source: str
    sizes: Mapping[str, Size]
    recipe: Recipe
    loss: Callable[..., Tensor] | None = None
    call: Callable[[nn.Module, Mapping[str, Tensor]], Any] = call_with_inputs
    notes: tuple[str, ...] = field(default_factory=tuple)

    def size(self, name: str) -> Size:
        """The configuration called `name`. Raises UsageError where there is none."""
        if name not in self.sizes:
            hint = f"use one of {', '.join(self.sizes)}"
            raise UsageError(Problem(f"{self.name} has no configuration {name!r}", hint=hint))
        return self.sizes[name]

    def spec(
        self,
        size: str,
        *,
        training: bool,
        batch: int | None = None,
        length: int | None = None,
        seed: int = 0,
        content: bool = True,
    ) -> ModelSpec:
        """A configuration as the compiler takes it, with weights from `seed`, or without any (`content=False`)."""
        chosen = self.size(size)
        torch.manual_seed(seed)
        model = chosen.build() if content else without_content(chosen.build)
        model.train(training)
        samples = chosen.samples(batch or chosen.batch, length or chosen.length)
        inputs, targets = (beside(model, tensors) for tensors in samples)
        return ModelSpec(
            model,
            inputs if training or self.loss is not None else forward_only(inputs),
            optimizer=self.recipe.optimizer(model.parameters()) if training else None,
            loss=self.loss if training else None,
            name=f"{self.name}_{size}",
            targets=targets if training else {},
            call=self.call,
        )


def forward_only(inputs: Tensors) -> Tensors:
    """The inputs of a model whose forward computes the loss itself, without the labels."""
    return {name: tensor for name, tensor in inputs.items() if name != "labels"}


def rows(arrays: Arrays, start: int, stop: int) -> dict[str, Array]:
    """Some samples of all arrays."""
    return {name: np.ascontiguousarray(array[start:stop]) for name, array in arrays.items()}


def split(arrays: Arrays, tests: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """All but the last `tests` samples, and those."""
    count = len(next(iter(arrays.values())))
    return rows(arrays, 0, count - tests), rows(arrays, count - tests, count)
