"""Random numbers that a model draws with Python or NumPy: a trace sees only what came of those it drew.

PyTorch's own are operators of the graph, which draw anew in every run.
"""

from __future__ import annotations

import os
import pickle
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from torch import nn

from compiler.frontend import stand_ins
from compiler.frontend.locations import Locator, asking_line
from compiler.frontend.state import Surroundings, sources
from ir.location import Location

GENERATORS = (random.Random, np.random.Generator, np.random.RandomState)

LOWEST, MIDDLE, HIGHEST = 0x102244C9, 0x6D78EF1D, 0x12DD9BB3
"""Words of the state of a Mersenne twister that come out as 1, as a third of all and as the largest: numbers drawn from
a state of such words alone are 0, 1/3 and nearly 1, so that no threshold between them goes unnoticed."""

_WORDS = 624


def standing() -> bytes:
    """Where the generators of Python and of NumPy stand."""
    return pickle.dumps((random.getstate(), np.random.get_state()))


def standing_of_own(model: nn.Module) -> bytes:
    """Where the generators stand that modules of the model, or the Python modules it comes from, hold themselves."""
    held = [*model.modules(), *sources(model)]
    found = {id(value): value for holder in held for value in vars(holder).values() if isinstance(value, GENERATORS)}
    return pickle.dumps([_state(generator) for generator in found.values()])


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def set_standing(word: int) -> None:
    """Let the generators of Python and of NumPy draw what comes of a state of equal words."""
    random.setstate((3, (*[word] * _WORDS, 0), None))
    np.random.set_state(("MT19937", np.full(_WORDS, word, np.uint32), 0, 0, 0.0))


class Seeding:
    """Where code of the model draws what nobody can draw again: from the operating system, or from a generator that it
    makes without a seed."""

    def __init__(self, locator: Locator) -> None:
        self.places: dict[Location, None] = {}
        self._is_seeded = False
        self._locator = locator

    @contextmanager
    def watched(self, surroundings: Surroundings) -> Iterator[None]:
        """Note whoever draws so in the code that `surroundings` are those of."""
        seed, real = random.Random.seed, np.random.RandomState
        stated = stand_ins.class_like(real, self._with_state)

        def seeding(generator: random.Random, *given: Any, **named: Any) -> None:
            if all(value is None for value in (*given[:1], *named.values())):
                self._note()
            seed(generator, *given, **named)

        def drawing(count: int) -> bytes:
            self._note()
            return os_urandom(count)

        os_urandom = os.urandom
        with (
            patch.object(random.Random, "seed", seeding),
            patch.object(random, "_urandom", drawing),
            patch.object(os, "urandom", drawing),
            patch.object(np.random, "RandomState", stated),
            surroundings.replaced({id(real): stated}),
        ):
            yield

    def _with_state(self, *given: Any, **named: Any) -> np.random.RandomState:
        """NumPy makes a generator without a seed first, and then gives it the seed."""
        before, self._is_seeded = self._is_seeded, any(value is not None for value in (*given, *named.values()))
        try:
            return np.random.mtrand.RandomState(*given, **named)
        finally:
            self._is_seeded = before

    def _note(self) -> None:
        found = asking_line(__file__, stand_ins.__file__, random.__file__, secrets.__file__)
        if found is not None and not self._is_seeded:
            file, line = found
            self.places[self._locator.location((self._locator.shown(file), line), "", None)] = None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Afterwards the generators of Python and of NumPy stand where they stood."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
