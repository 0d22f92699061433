"""Clocks that forward reads: a trace sees only what they said while it ran.

What reads one to tell how long something took is harmless; what computes with it, or decides by it, is not.
"""

from __future__ import annotations

import datetime
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from compiler.frontend import stand_ins
from compiler.frontend.locations import Locator, asking_line
from compiler.frontend.stand_ins import class_like
from compiler.frontend.state import Surroundings
from ir.location import Location

READINGS = ("time", "perf_counter", "monotonic", "process_time", "thread_time")
"""Functions of the module `time` that say a number of seconds; each has one for nanoseconds beside it."""
OF_NOW = ("localtime", "gmtime", "ctime")
"""Functions of the module `time` that are of now unless they are given a time."""

OF_NOW_IN_NUMPY = ("now", "today")
"""What makes a `datetime64` one of now."""

Standing = tuple[float, float]
"""What a clock says when it is read first, and by how much more at every further reading, in seconds."""


def _seconds(year: int, month: int, day: int, hour: int, minute: int, second: float) -> float:
    return time.mktime((year, month, day, hour, minute, 0, 0, 1, -1)) + second


EARLIEST: Standing = (_seconds(2001, 1, 1, 0, 0, 0.0), 1e-3)
NOON: Standing = (_seconds(2024, 5, 15, 12, 30, 30.5), 1.1)
LATEST: Standing = (_seconds(2051, 12, 31, 23, 59, 59.999), 1e6)
"""Times such that no threshold between them goes unnoticed, of the year, the month, the day, the weekday, the hour,
the minute or the second: the first is a Monday and the last a Sunday. In the last, everything takes long."""


class _Function:
    """A function that is no method where it is an attribute of a class, as those it stands for are none."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._call(*arguments, **named)


class Clock:
    """What Python's clocks say while a model is traced.

    Those who read one in the code of the model, or of a library, are noted with the line, and told what `stand` says
    if it was called; Python's own modules, PyTorch and other threads are told the time.
    """

    def __init__(self, locator: Locator) -> None:
        self.read: dict[Location, str] = {}
        self._locator = locator
        self._thread = threading.get_ident()
        self._next: float | None = None
        self._step = 0.0

    def stand(self, standing: Standing) -> None:
        """Have all clocks say this from now on."""
        self._next, self._step = standing

    @contextmanager
    def watched(self, surroundings: Surroundings) -> Iterator[None]:
        """All clocks are this one, also where the model's code, which `surroundings` are those of, has names for
        them."""
        others = self._others()
        modules: tuple[Any, ...] = (time, datetime, timeit, np)
        found = [
            (module, name, value) for module in modules for name, value in vars(module).items() if id(value) in others
        ]
        for module, name, value in found:
            setattr(module, name, others[id(value)])
        try:
            with surroundings.replaced(others):
                yield
        finally:
            for module, name, value in found:
                setattr(module, name, value)

    def _others(self) -> dict[int, Any]:
        """By the id of each of Python's functions and classes that tell the time: what stands for it."""
        others: dict[int, Any] = {}
        for name in READINGS:
            others[id(getattr(time, name))] = self._reading(getattr(time, name), 1)
            others[id(getattr(time, f"{name}_ns"))] = self._reading(getattr(time, f"{name}_ns"), 10**9)
        for name in OF_NOW:
            others[id(getattr(time, name))] = self._of_now(getattr(time, name))
        others[id(time.strftime)] = self._formatting(time.strftime, time.localtime)
        for cls in (datetime.datetime, datetime.date):
            others[id(cls)] = self._class(cls)
        others[id(np.datetime64)] = self._of_numpy(np.datetime64)
        return others

    def _reading(self, real: Callable[[], Any], per_second: int) -> Callable[[], Any]:
        def reading() -> Any:
            seconds = self._told(f"time.{real.__name__}")
            return real() if seconds is None else type(real())(seconds * per_second)

        return _Function(reading)

    def _of_now(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def of_now(seconds: float | None = None) -> Any:
            return real(self._told(f"time.{real.__name__}") if seconds is None else seconds)

        return _Function(of_now)

    def _formatting(self, real: Callable[..., str], local: Callable[..., Any]) -> Callable[..., str]:
        def formatting(form: str, when: Any = None) -> str:
            return real(form, local(self._told("time.strftime")) if when is None else when)

        return _Function(formatting)

    def _class(self, real: Any) -> Any:
        """What stands for `datetime` or `date`."""
        name = f"datetime.{real.__name__}"

        def of_now(how: str) -> Any:
            own = getattr(real, how)

            def told(cls: type, tz: Any = None) -> Any:
                seconds = self._told(f"{name}.{how}")
                given = () if tz is None else (tz,)
                if seconds is None:
                    return own(*given)
                if how == "utcnow":
                    return real.fromtimestamp(seconds, datetime.timezone.utc).replace(tzinfo=None)
                return real.fromtimestamp(seconds, *given)

            return classmethod(told)

        telling = {how: of_now(how) for how in ("now", "utcnow", "today") if hasattr(real, how)}
        return class_like(real, real, telling)

    def _of_numpy(self, real: Any) -> Any:
        """What stands for `datetime64`."""

        def make(*arguments: Any) -> Any:
            is_of_now = bool(arguments) and isinstance(arguments[0], str) and arguments[0] in OF_NOW_IN_NUMPY
            seconds = self._told("numpy.datetime64") if is_of_now else None
            found = real(*arguments)
            return found if seconds is None else real(int(seconds * 1e6), "us").astype(found.dtype)

        return class_like(real, make)

    def _told(self, name: str) -> float | None:
        """What the clock called `name` says to who has asked; None for the time."""
        found = asking_line(__file__, stand_ins.__file__)
        if found is None or threading.get_ident() != self._thread:
            return None
        file, line = found
        self.read.setdefault(self._locator.location((self._locator.shown(file), line), "", None), name)
        now = self._next
        if now is not None:
            self._next = now + self._step
        return now
