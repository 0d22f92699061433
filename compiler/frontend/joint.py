"""The joint graph: one functional ATen graph of a model's forward and backward pass, and what everything in it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from torch import Tensor, fx

from compiler.frontend.recording import Draw
from ir.location import Location


class Role(Enum):
    """What a placeholder of the joint graph stands for."""

    PARAMETER = "parameter"
    BUFFER = "buffer"
    CONSTANT = "constant"
    INPUT = "input"
    TANGENT = "tangent"


@dataclass(frozen=True)
class Placeholder:
    """A tensor the joint graph reads. `tensor` is its initial or sample content; a tangent starts from ones."""

    name: str
    role: Role
    tensor: Tensor


@dataclass(frozen=True)
class Joint:
    """The joint graph: placeholders in order, and what its results are.

    The results are, in order: the user's outputs, the new contents of the buffers and parameters in `mutated`, and the
    gradients of the tensors in `gradients`. `losses` are the outputs that training starts from unless told otherwise.
    `draws` tells which random nodes draw the same numbers.
    """

    graph: fx.Graph
    placeholders: tuple[Placeholder, ...]
    outputs: tuple[str, ...]
    mutated: tuple[str, ...]
    gradients: tuple[str, ...]
    losses: tuple[str, ...]
    locations: Mapping[fx.Node, Location]
    start: Location
    draws: Mapping[fx.Node, Draw] = field(default_factory=dict)
