"""Models whose hundredth call is another than the first two, or that read a clock: refused, unless nothing depends on
it."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import decimal
import fractions
import functools
import importlib
import itertools
import logging
import queue
import sys
import threading
import time
import timeit
import types
import weakref
from collections.abc import Callable, Collection, Mapping
from datetime import datetime as moment
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.assemble import Captured
from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.errors import CaptureError

Factor = Callable[[Any], Any]
seen: list[int] = []
clocks = (time.time,)
partial_clock = functools.partial(time.time)
only_here = threading.local()
only_here.count = 0
Pair = collections.namedtuple("Pair", ("count", "total"))


class Scaled(nn.Module):
    """A linear layer, times what a function says that is given the module, whose attribute `kept` it may change."""

    def __init__(self, kept: Any, factor: Factor) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.kept = kept
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.factor(self)


def captured(kept: Any, factor: Factor, inference: bool = False) -> Captured:
    spec = ModelSpec(Scaled(kept, factor), {"x": torch.randn(3, 4)}, every_gradient=True)
    return capture(spec, inference=inference)


class Slotted:
    """An object without a dict."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Settings(dict[str, int]):
    """A dict of the user's own."""


class History(list[int]):
    """A list of the user's own."""


class Loading(collections.OrderedDict[str, int]):
    """A dict whose methods do more than a dict's, and fail here."""

    def values(self) -> Any:
        raise RuntimeError("not to be loaded")

    items = keys = __iter__ = __len__ = __bool__ = values


@dataclasses.dataclass(frozen=True)
class Standing:
    """What training has come to, of which every call makes another."""

    count: int = 0
    name: str = "warm-up"

    def next(self) -> Standing:
        return dataclasses.replace(self, count=self.count + 1)


class Schedule:
    """An object whose method counts."""

    def __init__(self) -> None:
        self.count = 0

    def step(self, _: Any = None) -> int:
        self.count += 1
        return self.count

    def loss(self, y: Tensor) -> Tensor:
        return y.mean() * either(self.step() > 100)


class Annealed(nn.Module):
    """A loss, or a part of a model, that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, y: Tensor) -> Tensor:
        self.calls += 1
        return y.mean() * either(self.calls > 100)


annealed = Annealed()
counts_of = weakref.WeakKeyDictionary[Any, int]()


class Timer:
    """A class with a clock."""

    clock = time.monotonic


def either(is_so: Any) -> float:
    """One of two numbers."""
    return 2.0 if is_so else 1.0


def counted(model: Any) -> Any:
    model.kept += 1
    return model.kept


def lengthened(model: Any) -> int:
    model.kept.append(1)
    return len(model.kept)


def with_more_keys(model: Any) -> int:
    model.kept[len(model.kept)] = 1
    return len(model.kept)


def counted_under(model: Any, key: Any = "count") -> Any:
    model.kept[key] += 1
    return model.kept[key]


def counted_in(model: Any) -> int:
    model.kept.count += 1
    return model.kept.count


def shortened(model: Any) -> float:
    if model.kept:
        model.kept.pop()
        return 2.0
    return 1.0


def globally(model: Any) -> float:
    seen.append(1)
    return either(len(seen) > 100)


def cooled(model: Any) -> float:
    model.kept *= 0.99
    return model.kept


def renamed(model: Any) -> str:
    model.kept = {"cold": "warm", "warm": "warmer", "warmer": "hot"}.get(model.kept, "hot")
    return model.kept


def extended(model: Any) -> int:
    model.kept = (*model.kept, 1)
    return len(model.kept)


def renewed(model: Any, make: Callable[[Any], Any]) -> Any:
    model.kept = make(model.kept)
    return model.kept


def counting() -> Callable[[], int]:
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return count

    return counted


def counted_as_attribute(holder: Any) -> int:
    holder.count = getattr(holder, "count", 0) + 1
    return int(holder.count)


def counted_by_module(model: Any) -> int:
    counts_of[model] = counts_of.get(model, 0) + 1
    return counts_of[model]


def put(model: Any) -> int:
    model.kept.put(1)
    return int(model.kept.qsize())


def counted_in_this_thread(_: Any) -> float:
    only_here.count += 1
    return either(only_here.count > 100)


CHANGING: dict[str, tuple[Any, Factor]] = {
    "a list above a length": ([], lambda m: either(lengthened(m) > 100)),
    "a list of one length": ([], lambda m: either(lengthened(m) == 100)),
    "every tenth length": ([], lambda m: either(lengthened(m) % 10 == 0)),
    "a list of some lengths": ([], lambda m: either(lengthened(m) % 4 == 3)),
    "a list in a dict": ({"list": []}, lambda m: either(m.kept["list"].append(1) or len(m.kept["list"]) > 100)),
    "a list that gets shorter": (list(range(9)), shortened),
    "a list of the user's own": (History(), lambda m: float(lengthened(m))),
    "a list of the user's own above a length": (History(), lambda m: either(lengthened(m) > 100)),
    "a global list": (None, globally),
    "a deque": (collections.deque(maxlen=8), lambda m: either(lengthened(m) == m.kept.maxlen)),
    "a deque of one length": (collections.deque(maxlen=100), lambda m: either(lengthened(m) == 50)),
    "a set": (set(), lambda m: either(m.kept.add(len(m.kept)) or len(m.kept) > 100)),
    "bytes": (bytearray(), lambda m: either(lengthened(m) > 100)),
    "a tuple": ((), lambda m: either(extended(m) > 5)),
    "text": ("", lambda m: either(len(counted_text(m)) > 5)),
    "a dict": ({}, lambda m: either(with_more_keys(m) > 100)),
    "a dict of the user's own of one length": (Settings(), lambda m: either(with_more_keys(m) == 100)),
    "a dict of the user's own": (Settings(count=0), lambda m: float(counted_under(m))),
    "a UserDict": (collections.UserDict(count=0), lambda m: float(counted_under(m))),
    "a Counter": (collections.Counter(), lambda m: either(counted_under(m) > 100)),
    "a count of some values": (0, lambda m: either(counted(m) % 4 == 3)),
    "a count of one value": (0, lambda m: either(counted(m) == 100)),
    "a count within bounds": (0, lambda m: either(100 < counted(m) / 2.0 < 200)),
    "a count that goes around": (0, lambda m: either(counted_around(m) == 3)),
    "a temperature": (1.0, lambda m: either(0.3 < cooled(m) < 0.4)),
    "a name": ("cold", lambda m: either(renamed(m) == "hot")),
    "a number of NumPy's": (np.int64(0), lambda m: either(counted(m) > 100)),
    "an element of an array": (np.zeros(3), lambda m: float(counted_under(m, 0))),
    "an element above a bound": (np.zeros(3), lambda m: either(counted_under(m, 0) > 100)),
    "a namespace": (types.SimpleNamespace(count=0), lambda m: either(counted_in(m) > 100)),
    "a namespace of options": (argparse.Namespace(count=0), lambda m: float(counted_in(m))),
    "a slot": (Slotted(), lambda m: float(counted_in(m))),
    "a long tuple": ((), lambda m: either(extended(m) > 100)),
    "a tuple of one length": ((), lambda m: either(len(renewed(m, lambda kept: (*kept, 1))) == 100)),
    "a long text": ("", lambda m: either(len(counted_text(m)) > 100)),
    "a formatted text": ("", lambda m: either(len(renewed(m, lambda kept: f"{kept}x")) == 100)),
    "a long text of bytes": (b"", lambda m: either(len(renewed(m, lambda kept: kept + b"x")) > 100)),
    "a frozen set": (frozenset(), lambda m: either(len(renewed(m, lambda kept: kept | {len(kept)})) > 100)),
    "another set": (set(), lambda m: either(len(renewed(m, lambda kept: kept | {len(kept)})) > 100)),
    "another list": ([], lambda m: either(len(renewed(m, lambda kept: [*kept, 1])) > 100)),
    "another dict": ({}, lambda m: either(len(renewed(m, lambda kept: {**kept, len(kept): 1})) > 100)),
    "a window": ([], lambda m: either(len(renewed(m, lambda kept: [*kept, 1][-50:])) == 50)),
    "a list in a tuple": (([], {}), lambda m: either(m.kept[0].append(1) or len(m.kept[0]) > 100)),
    "a number in a tuple": ((0, 1), lambda m: either(renewed(m, lambda kept: (kept[0] + 1, 1))[0] > 100)),
    "a number in a dict": ({"n": 0}, lambda m: either(renewed(m, lambda kept: {"n": kept["n"] + 1})["n"] > 100)),
    "a named tuple": (Pair(0, 1), lambda m: either(renewed(m, lambda kept: Pair(kept.count + 1, 1)).count > 100)),
    "a frozen object": (Standing(), lambda m: either(renewed(m, Standing.next).count > 100)),
    "a frozen object made at the first call": (
        None,
        lambda m: either(renewed(m, lambda kept: (kept or Standing()).next()).count > 100),
    ),
    "another array": (np.zeros(2), lambda m: either(renewed(m, lambda kept: kept + 1)[0] > 100)),
    "a fraction": (fractions.Fraction(0), lambda m: either(counted(m) > 100)),
    "a decimal": (decimal.Decimal(0), lambda m: either(counted(m) > 100)),
    "a time that passes": (
        datetime.timedelta(0),
        lambda m: either(renewed(m, lambda kept: kept + datetime.timedelta(1)).days > 100),
    ),
    "a method": (Schedule().step, lambda m: either(m.kept() > 100)),
    "a partial function": (functools.partial(Schedule().step, None), lambda m: either(m.kept() > 100)),
    "a function that counts": (counting(), lambda m: either(m.kept() > 100)),
    "this thread's": (None, counted_in_this_thread),
    "a module in a list": ([Annealed()], lambda m: m.kept[0](torch.ones(()))),
    "a module that is a global": (None, lambda m: annealed(torch.ones(()))),
    "a dict of weak keys": (None, lambda m: either(counted_by_module(m) > 100)),
    "a queue": (queue.Queue(), lambda m: either(put(m) > 100)),
    "an attribute of a function": (None, lambda m: either(counted_as_attribute(counted_as_attribute) > 100)),
    "a logger": (logging.Logger("kept"), lambda m: either(counted_as_attribute(m.kept) > 100)),
}


def counted_text(model: Any) -> str:
    model.kept += "x"
    return str(model.kept)


def counted_around(model: Any) -> Any:
    model.kept = (model.kept + 1) % 4
    return model.kept


def counted_by_a_hook(model: nn.Module) -> None:
    calls = []

    def hook(gradient: Tensor) -> Tensor:
        calls.append(1)
        return gradient * either(len(calls) > 100)

    model.linear.weight.register_hook(hook)


def counted_by_a_hook_of_a_module(model: nn.Module) -> None:
    calls = 0

    def hook(_: Any, __: Any, gradients: tuple[Tensor]) -> tuple[Tensor]:
        nonlocal calls
        calls += 1
        return (gradients[0] * either(calls > 100),)

    model.linear.register_full_backward_pre_hook(lambda module, gradients: hook(module, None, gradients))


def read_by_a_hook(model: nn.Module) -> None:
    model.factor = lambda m: counted(m) * 0 + 1.0
    model.kept = 0
    model.linear.weight.register_hook(lambda gradient: gradient * either(model.kept > 100))


def counted_by_a_function(model: nn.Module) -> None:
    class Counting(torch.autograd.Function):
        calls = 0

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            Counting.calls += 1
            return gradient * either(Counting.calls > 100)

    model.linear.register_forward_hook(lambda module, given, result: Counting.apply(result))


def hook_that_reads_the_clock(model: nn.Module) -> None:
    model.linear.weight.register_hook(lambda gradient: gradient * either(time.time() > 2e9))


def hook_that_removes_itself(model: nn.Module) -> None:
    def hook(gradient: Tensor) -> Tensor:
        handle.remove()
        return gradient * 2

    handle = model.linear.weight.register_hook(hook)


@pytest.mark.parametrize(
    "changed",
    [
        hook_that_removes_itself,
        counted_by_a_hook,
        counted_by_a_hook_of_a_module,
        read_by_a_hook,
        counted_by_a_function,
        hook_that_reads_the_clock,
    ],
)
def test_gradients_that_change_at_a_later_call_are_refused(changed: Callable[[nn.Module], None]) -> None:
    """Inference does not compute them."""
    model = Scaled(None, lambda _: 1.0)
    changed(model)
    spec = ModelSpec(model, {"x": torch.randn(3, 4)}, every_gradient=True)
    assert capture(spec, inference=True).program.graphs
    with pytest.raises(CaptureError, match=r"and (a later|the next) call computes something"):
        capture(spec, inference=False)


def test_what_a_class_within_a_function_keeps_is_seen() -> None:
    """In default arguments and in attributes, of a class that is nobody's global."""

    class Local(Scaled):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) * self.counted()

        def counted(self, seen: list[int] = []) -> float:  # noqa: B006
            seen.append(1)
            return either(len(seen) > 100)

    class Counting(Local):
        def counted(self, seen: Any = None) -> float:
            Local.calls += 1
            return either(Local.calls > 100)

    for cls in (Local, Counting):
        with pytest.raises(CaptureError, match="and a later call computes something"):
            capture(ModelSpec(cls(None, either), {"x": torch.randn(3, 4)}), inference=True)
        assert not Local.calls and not Local.counted.__defaults__[0]


def test_hooks_are_as_before_afterwards() -> None:
    model = Scaled(None, lambda _: 1.0)
    hook_that_removes_itself(model)
    before = dict(model.linear.weight._backward_hooks)
    with pytest.raises(CaptureError, match=r"forward leaves the hooks of linear\.weight behind, and the next call"):
        capture(ModelSpec(model, {"x": torch.randn(3, 4)}, every_gradient=True), inference=False)
    assert before and dict(model.linear.weight._backward_hooks) == before


@pytest.mark.parametrize("kind", ["function", "object", "module", "partial function"])
def test_a_loss_that_changes_at_a_later_call_is_refused(kind: str) -> None:
    calls, schedule, module = counting(), Schedule(), Annealed()
    losses: dict[str, Callable[[Tensor], Tensor]] = {
        "function": lambda y: y.mean() * either(calls() > 100),
        "object": schedule.loss,
        "module": module,
        "partial function": functools.partial(Schedule.loss, schedule),
    }
    model = Scaled(None, lambda _: 1.0)
    spec = ModelSpec(model, {"x": torch.randn(3, 4)}, loss=losses[kind])
    with pytest.raises(CaptureError, match="behind, and a later call computes something"):
        capture(spec, inference=False)
    assert not schedule.count and not module.calls and calls() == 1


def test_what_two_places_hold_counts_once() -> None:
    kept = Schedule()
    model = Scaled(kept, lambda m: either(kept.step() > 100))
    with pytest.raises(CaptureError, match="and a later call computes something"):
        capture(ModelSpec(model, {"x": torch.randn(3, 4)}), inference=True)
    assert not kept.count


def either_way(cases: Mapping[str, Any], trained: Collection[str]) -> list[Any]:
    """Every case for inference; training, which adds the gradients, with a sample of them, and in the full run all."""
    marks = {name: [] if name in trained else [pytest.mark.full] for name in cases}
    training = [pytest.param(case, False, marks=marks[name], id=f"{name}-training") for name, case in cases.items()]
    return [*(pytest.param(case, True, id=name) for name, case in cases.items()), *training]


TRAINED = {
    "a list above a length", "a list of some lengths", "a dict of the user's own", "a count of one value",
    "a temperature", "a name", "an element of an array", "a slot", "another set", "a number in a tuple",
    "a frozen object", "a function that counts", "this thread's", "a module in a list", "a dict of weak keys",
}  # fmt: skip


@pytest.mark.parametrize(("case", "inference"), either_way(CHANGING, TRAINED))
def test_what_changes_at_a_later_call_is_refused(case: tuple[Any, Factor], inference: bool) -> None:
    with pytest.raises(CaptureError, match=r"forward leaves .* behind, and (a later|the next) call computes something"):
        captured(*case, inference)
    assert not seen


def test_what_was_imported_since_the_last_trace_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert captured(None, lambda m: 1.0).program.graphs
    (tmp_path / "counted_in_here.py").write_text("calls = []\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("counted_in_here")
    try:
        with pytest.raises(CaptureError, match="behind, and a later call computes something"):
            captured(None, lambda m: either(module.calls.append(1) or len(module.calls) > 100))
        assert not module.calls
    finally:
        del sys.modules["counted_in_here"]


def lazily(model: Any) -> Any:
    if model.kept is None:
        model.kept = 0.5
    return model.kept


def from_table(model: Any) -> float:
    if 4 not in model.kept:
        model.kept[4] = 2.0
    if len(model.kept) > 100:
        model.kept.clear()
    return float(model.kept.get(4, 2.0))


def bounded(model: Any) -> float:
    model.kept.append(1)
    while len(model.kept) > 100:
        model.kept.pop(0)
    return 1.0


def reporting(model: Any) -> float:
    count = counted(model)
    if count % 10 == 3:
        seen.append(count)
    assert count > 0
    return 1.0


def with_last_item(model: Any) -> float:
    model.kept.append(3.0)
    return float(model.kept[len(model.kept) - 1] + model.kept[-1])


def of_size(model: Any) -> int:
    model.kept = 4
    return int(model.kept)


def with_items_made_once(model: Any, items: Any) -> float:
    model.count = getattr(model, "count", 0) + 1
    if model.kept is None:
        model.kept = items
    return float(sum(model.kept[place] for place in range(len(model.kept))))


UNCHANGING: dict[str, tuple[Any, Factor]] = {
    "a number made at the first call": (None, lazily),
    "a table of numbers": ({}, from_table),
    "a list that is kept short": ([], bounded),
    "a report of every tenth call": (0, reporting),
    "the last item of a list": ([], with_last_item),
    "a size": (0, of_size),
    "a list made at the first call": (None, lambda m: with_items_made_once(m, [1, 2, 3])),
    "a tuple made at the first call": (None, lambda m: with_items_made_once(m, (1, 2, 3))),
    "a dict made at the first call": (None, lambda m: with_items_made_once(m, {0: 1.0, 1: 2.0})),
    "a tuple that nobody reads": ((), lambda m: (extended(m), 1.0)[1]),
    "a frozen object that nobody reads": (Standing(), lambda m: either(renewed(m, Standing.next).name == "warm-up")),
    "the last items of a list": ([], lambda m: float(sum(renewed(m, lambda kept: [*kept, 1.0][-3:])[-1:]))),
    "a time for a report": ([], lambda m: m.kept.append(time.time()) or 1.0),
    "a duration for a report": (0.0, lambda m: setattr(m, "kept", m.kept + perf_counter()) or 1.0),
    "a date for a report": (None, lambda m: setattr(m, "kept", f"{moment.now():%H:%M}") or 1.0),
}


@pytest.mark.parametrize(
    ("case", "inference"), either_way(UNCHANGING, {"a list that is kept short", "a size", "a time for a report"})
)
def test_what_no_call_computes_with_is_not(case: tuple[Any, Factor], inference: bool) -> None:
    assert captured(*case, inference).program.graphs
    assert not seen


def test_dicts_of_the_users_own_are_looked_into_without_their_methods() -> None:
    kept = Loading()
    collections.OrderedDict.__setitem__(kept, "one", 1)

    def factor(model: Any) -> float:
        collections.OrderedDict.__setitem__(model.kept, "two", 2)
        seen.append(1)
        return 1.0

    assert captured(kept, factor).program.graphs
    assert list(dict.keys(kept)) == ["one"] and not seen


ITERATORS: dict[str, Callable[[], Any]] = {
    "a count": itertools.count,
    "a cycle": lambda: itertools.cycle([1.0, 2.0]),
    "a list's": lambda: iter([1.0, 2.0, 3.0, 4.0]),
    "a generator": lambda: (number for number in range(1, 100)),
    "a map": lambda: map(float, range(1, 100)),
    "a dict's": lambda: iter({1: "one", 2: "two", 3: "three", 4: "four"}),
}


@pytest.mark.parametrize("make", ITERATORS.values(), ids=ITERATORS)
def test_iterators_that_forward_advances_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(CaptureError, match=r"takes the next item of an iterator(.|\n)*make a list of it"):
        captured(make(), lambda m: either(next(m.kept) > 100))
    assert captured(make(), lambda m: 1.0).program.graphs


CLOCKS: dict[str, Factor] = {
    "time": lambda m: time.time() / 1e9,
    "perf_counter": lambda m: 1 + perf_counter() % 1,
    "monotonic_ns": lambda m: float(time.monotonic_ns()),
    "default_timer": lambda m: timeit.default_timer(),
    "a clock of the model's": lambda m: m.kept() / 1e9,
    "a clock of a class": lambda m: Timer().clock() / 1e9,
    "a deadline": lambda m: either(time.time() > 2e9),
    "a duration": lambda m: either(-time.perf_counter() + time.perf_counter() > 10),
    "the hour": lambda m: either(moment.now().hour > 22),
    "working hours": lambda m: either(9 <= moment.today().hour < 17),
    "the weekday": lambda m: either(datetime.date.today().weekday() > 5),
    "the time of the day": lambda m: either(datetime.datetime.now(datetime.timezone.utc).time() < datetime.time(9)),
    "local time": lambda m: float(time.localtime().tm_year),
    "a text": lambda m: either(time.strftime("%A") == "Sunday"),
    "a default": lambda m, clock=time.time: clock() / 1e9,
    "a named default": lambda m, *, clock=moment.now: float(clock().hour),
    "a clock in a tuple": lambda m: clocks[0]() / 1e9,
    "a clock in a default's tuple": lambda m, all_of_them=(perf_counter, time.time): all_of_them[1]() / 1e9,
    "a partial function": lambda m, clock=partial_clock: clock() / 1e9,
    "NumPy's now": lambda m: float(np.datetime64("now").astype(np.int64)),
    "NumPy's today": lambda m: either(np.datetime64("today", "s") > np.datetime64("2040-01-01")),
}


@pytest.mark.parametrize(
    ("factor", "inference"), either_way(CLOCKS, {"time", "a clock of a class", "the hour", "a default", "NumPy's now"})
)
def test_clocks_that_forward_computes_with_are_refused(factor: Factor, inference: bool) -> None:
    message = (
        r"test_later_calls\.py:\d+: forward reads the clock with (time|datetime|numpy)\.\w+(.|\n)*time as an input"
    )
    with pytest.raises(CaptureError, match=message):
        captured(time.time, factor, inference)


def test_clocks_are_as_before_afterwards() -> None:
    def default(_: Any, clock: Any = time.time, *, day: Any = datetime.date) -> float:
        return float(clock()) + day.today().day

    def now() -> list[Any]:
        own = [time.time, perf_counter, timeit.default_timer, datetime.datetime, moment, datetime.date, np.datetime64]
        return [*own, *clocks, default.__defaults__, default.__kwdefaults__["day"]]

    before = now()
    model = Scaled(time.time, default)
    with pytest.raises(CaptureError):
        capture(ModelSpec(model, {"x": torch.randn(3, 4)}, every_gradient=True), inference=False)
    assert now() == before
    assert model.kept is time.time


def test_dates_are_dates_while_a_model_is_traced() -> None:
    def factor(model: Any) -> float:
        day = datetime.date(2020, 2, 29)
        assert isinstance(moment.now(), datetime.date) and isinstance(day, datetime.date)
        assert moment.strptime("2020-02-29", "%Y-%m-%d").date() == day == moment(2020, 2, 29).date()
        assert issubclass(moment, datetime.datetime)
        stamp = np.datetime64("2020-02-29", "s")
        assert isinstance(stamp, np.datetime64) and np.issubdtype(np.array([stamp]).dtype, np.datetime64)
        assert np.datetime64("now").dtype == "M8[s]" and np.datetime64("today").dtype == "M8[D]"
        return float(day.month)

    assert captured(None, factor).program.graphs
