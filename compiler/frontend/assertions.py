"""Checks of tensors' values that can only pass or raise: left out of what is compiled, as torch.export leaves them out.

`assert (x > 0).all()` and `if x.isnan().any(): raise ...` decide nothing else: the branch that raises is never taken.
Which branch that is says the bytecode of the function that asks for the truth of a tensor.
"""

from __future__ import annotations

import dis
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from compiler.frontend.locations import is_users

log = logging.getLogger("snc")

CHECKS = (torch._check_tensor_all_with.__code__,)
"""PyTorch's own functions that read a number to raise or go on."""

SHOWN = 3
"""Lines named of those with checks that are left out."""

LEAVING = (
    "RETURN_", "YIELD_", "FOR_ITER", "SEND", "STORE_ATTR", "STORE_SUBSCR", "STORE_GLOBAL", "STORE_DEREF", "DELETE_",
)  # fmt: skip
"""How the names of instructions begin that leave something behind, or go on without raising."""

DISTRIBUTIONS = "distributions"
"""The folder of PyTorch's distributions, which check their arguments."""


class Dropped:
    """The checks left out: their `places`, as lines of the user's files, and whether some were `by_distributions`."""

    def __init__(self, shown: Callable[[str], str]) -> None:
        self.shown = shown
        self.places: dict[str, None] = {}
        self.by_distributions = False

    def put_in_place(self) -> None:
        """Have Python ask this object for the truth and the number of a tensor."""
        Tensor.__bool__ = lambda tensor: self.truth(tensor)
        Tensor.item = lambda tensor: self.number(tensor)

    def take_away(self) -> None:
        """Leave tensors as PyTorch made them, whose own functions come from a base class."""
        del Tensor.__bool__, Tensor.item

    @contextmanager
    def out_of_the_way(self) -> Iterator[None]:
        """For a question that is PyTorch's to answer: modes are told of its own functions."""
        self.take_away()
        try:
            yield
        finally:
            self.put_in_place()

    def truth(self, tensor: Tensor) -> bool:
        """Stands for Tensor.__bool__."""
        frame = sys._getframe(2)
        passes = None if _is_known(tensor) else _decided(frame.f_code, frame.f_lasti)
        if passes is None:
            with self.out_of_the_way():
                return bool(tensor)
        self.note(frame)
        return passes

    def number(self, tensor: Tensor) -> Any:
        """Stands for Tensor.item."""
        frame = sys._getframe(2)
        if _is_known(tensor) or frame.f_code not in CHECKS:
            with self.out_of_the_way():
                return tensor.item()
        self.note(frame)
        return True

    def note(self, frame: FrameType | None) -> None:
        """Remember where the check is."""
        while frame is not None and not is_users(frame.f_code.co_filename):
            self.by_distributions |= DISTRIBUTIONS in frame.f_code.co_filename
            frame = frame.f_back
        if frame is not None:
            self.places[f"{self.shown(frame.f_code.co_filename)}:{frame.f_lineno}"] = None

    def say(self) -> None:
        """Tell the user what was left out, if anything."""
        places = list(self.places)
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        hint = " (validate_args=False turns those of torch.distributions off)" if self.by_distributions else ""
        if places:
            shown = ", ".join(places[:SHOWN])
            log.warning("note: checks of values are not made on the device: %s%s%s", shown, more, hint)


@contextmanager
def checks_dropped(shown: Callable[[str], str], *, say: bool = True) -> Iterator[None]:
    """Leave out checks of values, and say afterwards, unless told not to, which were left out."""
    dropped = Dropped(shown)
    dropped.put_in_place()
    try:
        yield
    finally:
        dropped.take_away()
    if say:
        dropped.say()


def _is_known(tensor: Any) -> bool:
    """Whether a tensor's value is known while tracing."""
    return isinstance(tensor, FakeTensor) and tensor.constant is not None


@cache
def _decided(code: CodeType, offset: int) -> bool | None:
    flow = _Flow(code)
    branches = flow.branches(offset)
    if branches is None:
        return None
    if_true, if_false = (flow.only_raises(start) for start in branches)
    return None if if_true == if_false else if_false


class _Flow:
    """Where a function's bytecode goes from each instruction."""

    def __init__(self, code: CodeType) -> None:
        self.instructions = list(dis.get_instructions(code))
        self.number = {instruction.offset: i for i, instruction in enumerate(self.instructions)}
        self.caught = [_span(entry) for entry in getattr(dis.Bytecode(code), "exception_entries", ())]
        self.has_blocks = any(instruction.opname == "SETUP_FINALLY" for instruction in self.instructions)

    def branches(self, offset: int) -> tuple[int, int] | None:
        """Where a conditional jump at the offset, or right after it, goes for True and for False."""
        at = self.number.get(offset)
        while at is not None and self.instructions[at].opname in ("TO_BOOL", "CACHE", "EXTENDED_ARG"):
            at += 1
        if at is None or at + 1 >= len(self.instructions):
            return None
        instruction = self.instructions[at]
        if not _is_conditional(instruction.opname) or instruction.argval not in self.number:
            return None
        jump, next_one = self.number[instruction.argval], at + 1
        return (jump, next_one) if "IF_TRUE" in instruction.opname else (next_one, jump)

    def only_raises(self, start: int) -> bool:
        """Whether every way from an instruction ends in an exception that leaves the function."""
        pending, seen, raises = [start], set(), False
        while pending:
            at = pending.pop()
            if at in seen:
                continue
            seen.add(at)
            instruction = self.instructions[at]
            name = instruction.opname
            if name == "RAISE_VARARGS":
                if self.is_caught(instruction.offset):
                    return False
                raises = True
            elif name.startswith(LEAVING):
                return False
            else:
                pending += self.following(at)
        return raises

    def following(self, at: int) -> list[int]:
        """The instructions that may come next."""
        instruction = self.instructions[at]
        jump = [self.number[instruction.argval]] if _jumps(instruction) and instruction.argval in self.number else []
        if _jumps(instruction) and not _is_conditional(instruction.opname):
            return jump
        return [*jump, *([at + 1] if at + 1 < len(self.instructions) else [])]

    def is_caught(self, offset: int) -> bool:
        """Whether the function itself handles what is raised there; leaving a `with` block does not count."""
        handlers = [target for start, end, target in self.caught if start <= offset < end]
        return self.has_blocks or any(not self.leaves_a_block(target) for target in handlers)

    def leaves_a_block(self, target: int) -> bool:
        """Whether a handler calls a context manager's exit."""
        at = self.number.get(target, 0)
        return any(instruction.opname == "WITH_EXCEPT_START" for instruction in self.instructions[at : at + 4])


def _is_conditional(name: str) -> bool:
    return "JUMP" in name and "IF_" in name


def _jumps(instruction: dis.Instruction) -> bool:
    return "JUMP" in instruction.opname


def _span(entry: Any) -> tuple[int, int, int]:
    return entry.start, entry.end, entry.target
