"""Scratch memory of plans: allocated while planning, reused from section to section and stage to stage."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from ir.op import Array
from ir.types import TensorType
from runtime.numbers.memory import ALIGNMENT_BYTES, aligned_zeros

BLOCK_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in the blocks."""

    block: int
    offset: int


class Scratch:
    """A stack of arrays in shared blocks. Sections run one after another, so all begin again at the bottom."""

    def __init__(self) -> None:
        self._blocks: list[Array] = []
        self._block = 0
        self._offset = 0

    def take(self, size_bytes: int) -> Array:
        """Uninitialised bytes, aligned to a cache line."""
        rounded = -(-max(1, size_bytes) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        while self._block < len(self._blocks) and self._offset + rounded > len(self._blocks[self._block]):
            self._block, self._offset = self._block + 1, 0
        if self._block == len(self._blocks):
            self._blocks.append(aligned_zeros(max(BLOCK_BYTES, rounded)))
        taken = self._blocks[self._block][self._offset : self._offset + rounded]
        self._offset += rounded
        return taken

    def array(self, tensor: TensorType) -> Array:
        """An uninitialised array in the compute type of `tensor`."""
        return shaped(self.take(compute_bytes(tensor)), tensor)

    def mark(self) -> Mark:
        """The current top."""
        return Mark(self._block, self._offset)

    def release(self, mark: Mark) -> None:
        """Go back to `mark`: what was taken since may be handed out again."""
        self._block, self._offset = mark.block, mark.offset


@dataclass
class Temporaries:
    """Arrays that live for part of a stage; one that is given back serves the next of its size."""

    scratch: Scratch
    _free: dict[int, list[Array]] = field(default_factory=lambda: defaultdict(list))

    def take(self, tensor: TensorType) -> tuple[Array, Array]:
        """An array of this type, and the bytes to give back."""
        size = compute_bytes(tensor)
        held = self._free[size].pop() if self._free[size] else self.scratch.take(size)
        return shaped(held, tensor), held

    def give_back(self, held: Array, tensor: TensorType) -> None:
        """Let the next array of this size use the bytes again."""
        self._free[compute_bytes(tensor)].append(held)


def compute_bytes(tensor: TensorType) -> int:
    """Host bytes of an array in the compute type of `tensor`."""
    return tensor.numel * tensor.dtype.compute.itemsize


def shaped(held: Array, tensor: TensorType) -> Array:
    """The bytes `held` as an array of `tensor`'s shape and compute type."""
    array: Array = held[: compute_bytes(tensor)].view(tensor.dtype.compute).reshape(tensor.shape)
    return array
