"""Whether later calls of a model compute what its first does, though forward has left something in attributes.

A table that is made once and kept is harmless; a statistic of the first batch that all later ones are measured by is
not: what is compiled is one call, and it is the same in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from compiler.frontend.clock import EARLIEST, LATEST, NOON, Clock, Standing
from compiler.frontend.dtypes import has_content
from compiler.frontend.eager import STATE, Decompositions, EagerRun, holders
from compiler.frontend.growth import Answer
from compiler.frontend.host_random import HIGHEST, LOWEST, MIDDLE, Seeding, set_standing, undisturbed
from compiler.frontend.joint import Role
from compiler.frontend.module_state import lent
from compiler.frontend.recording import FIRST_SEED, functional, is_random
from compiler.frontend.state import Surroundings
from ir.errors import CaptureError, Problem
from ir.location import Location

ITEM = "make a list of it and choose by an input; or take the item on the host, and give it as an input"
DRAW = "draw them with PyTorch, such as torch.rand(())"
BETWEEN = 12
"""Calls after which what is neither a count nor a length, such as the name of a phase, has shown what it does."""
TIME = "give the model the time as an input; or read the clock on the host's side of the run"


@dataclass(frozen=True)
class Way:
    """How a second call comes after a first: at once, after `between` others, or after so many that what they count
    has come `far`, where who asks about a count may be told the same `answer` always; what each draws with Python and
    NumPy, as a word of `host_random`, or whatever comes next; and what the clocks say in the second, which in the first
    are at their `EARLIEST`."""

    between: int = 0
    far: bool = False
    answer: bool | None = None
    draws: tuple[int, int] | None = None
    time: Standing = EARLIEST


def require_repeatable(
    run: EagerRun,
    surroundings: Surroundings,
    clock: Clock,
    seeding: Seeding,
    stand_in: Callable[[Tensor], Tensor],
    decompositions: Decompositions,
) -> None:
    """Raise CaptureError where what a first call left behind changes what a later one computes, or random numbers do
    that are not PyTorch's, or the time. `surroundings` are put back as they were before the first."""
    if run.draws_from_its_own:
        what = "forward draws random numbers from a generator of Python or NumPy that the model keeps"
        raise CaptureError(Problem(what, run.locator.start, DRAW))
    if seeding.places:
        what = "forward draws random numbers from a generator without a seed, and every call would draw others"
        raise CaptureError(Problem(what, next(iter(seeding.places)), DRAW))
    if run.takes_items:
        what = "forward takes the next item of an iterator that the model keeps, and every call would take another"
        raise CaptureError(Problem(what, run.locator.start, ITEM))
    read = dict(clock.read)
    for way in _ways(run, surroundings, bool(read)):
        again = EagerRun(run.spec, run.locator, inference=run.inference)
        again.hollow = run.hollow
        calls = 3 if way.between else 2
        values = [stand_in(source.tensor) for _ in range(calls) for source in run.sources]
        surroundings.restore()
        raised = None
        try:
            with undisturbed():
                twice = partial(_twice, again, surroundings, clock, way)
                module = make_fx(twice, decomposition_table=decompositions, tracing_mode="real")(*values)
            if _are_equal(functional(module, again.recorder, values, decompositions)[0], run, way):
                continue
        except Exception as error:  # whatever the user's forward raises when it runs again
            if way.answer is not None:  # it may check that what it was told cannot be
                continue
            raised = error
        finally:
            surroundings.restore()
        raise CaptureError(_problem(run, way, raised, read))


def _problem(run: EagerRun, way: Way, raised: Exception | None, read: Mapping[Location, str]) -> Problem:
    """What the first call has left for the second, which `raised` something or computes something else; or, where
    only the time is another, where the clock was `read`."""
    call = "a later call" if way.far or way.between else "the next call"
    first = str(raised).partition(chr(10))[0]
    does = "computes something else because of it" if raised is None else f"fails: {type(raised).__name__}: {first}"
    what = f"and {call} {does}"
    if way.time is not EARLIEST:
        where, name = next(iter(read.items()))
        return Problem(f"forward reads the clock with {name}, {what}", where, TIME)
    where, names, kind = run.locator.start, list(run.left_elsewhere), "values"
    if run.left_behind:
        where, kind = run.locator.location(None, run.left_behind[0][0], None), "attributes"
        names = [f"{path}.{name}".removeprefix(".") for path, name in run.left_behind]
    if not names:
        return Problem(f"forward draws random numbers with Python or NumPy, {what}", where, DRAW)
    shown = names[0] + (f" (and {len(names) - 1} more {kind})" if len(names) > 1 else "")
    hint = "make it in __init__ where it is constant; else register a buffer for it, and write into that in every call"
    return Problem(f"forward leaves {shown} behind, {what}", where, hint)


def _ways(run: EagerRun, surroundings: Surroundings, reads_clock: bool) -> Iterator[Way]:
    """The second calls to compare with the first. Whether later ones may differ from it is known after the second. What
    the clocks say comes last: they are to blame only where nothing else is."""
    if run.draws_on_host:
        yield Way(draws=(LOWEST, HIGHEST))
        yield Way(draws=(LOWEST, MIDDLE))
    elif run.left_behind or run.left_elsewhere:
        yield Way()
    steady = (LOWEST, LOWEST) if run.draws_on_host else None
    if surroundings.turning:
        yield Way(between=BETWEEN, draws=steady)
    if surroundings.counting:
        for answer in (None, True, False):
            yield Way(far=True, answer=answer, draws=steady)
    if reads_clock:
        yield Way(time=LATEST, draws=steady)
        yield Way(time=NOON, draws=steady)


def _twice(run: EagerRun, surroundings: Surroundings, clock: Clock, way: Way, *arguments: Tensor) -> list[Tensor]:
    """What two calls return, what gradients they give, and what they leave in parameters and buffers, each from sources
    of its own, as calls between them have."""
    count, model = len(run.sources), run.spec.model
    leaves = [run.leaf(argument, source) for argument, source in zip(arguments, cycle(run.sources))]
    first, spare, second = leaves[:count], leaves[count:-count], leaves[-count:]
    second = [one if _stays(run, i) else other for i, (one, other) in enumerate(zip(first, second))]
    held = holders(model)
    tables = [
        (getattr(module, f"_{source.role.value}s"), name, leaf)
        for source, leaf in zip(run.sources, second)
        for _, module, name in held.get(id(source.tensor), ())
    ]
    own = {id(source.tensor): leaf for source, leaf in zip(run.sources, first) if source.role in STATE}
    answer = None if way.answer is None else Answer(way.answer)
    with ExitStack() as within:
        within.enter_context(torch.random.fork_rng(devices=[]))
        within.enter_context(lent(model, {**run.hollow, **own}))
        within.enter_context(run.interception.active())
        torch.default_generator.manual_seed(FIRST_SEED)
        clock.stand(EARLIEST)
        if way.draws:
            set_standing(way.draws[0])
        results = _outcome(run, first) + [table[name] for table, name, _ in tables]
        if way.between:
            within.enter_context(lent(model, dict(zip(map(id, first), spare))))
            for _ in range(way.between):
                _outcome(run, spare)
                for leaf in spare:
                    leaf.grad = None
        if way.far:
            surroundings.advance(answer)
        else:
            surroundings.note()
        clock.stand(way.time)
        if way.draws:
            set_standing(way.draws[1])
        within.enter_context(lent(model, dict(zip(map(id, spare or first), second))))
        for table, name, leaf in tables:
            table[name] = leaf
        with nullcontext() if answer is None else answer.of_lengths():
            results += _outcome(run, second)
        results += [table[name] for table, name, _ in tables]
        if way == Way(draws=way.draws):
            surroundings.compare()
    return results


def _outcome(run: EagerRun, leaves: Sequence[Tensor]) -> list[Tensor]:
    """What a call returns, and the gradients of its leaves: custom functions and hooks may count too."""
    results = run.called(leaves)
    return [result.tensor for result in results] + run.gradients(results, leaves)


def _stays(run: EagerRun, source: int) -> bool:
    """Whether a source is the same in all calls: parameters are, where nothing trains them."""
    return run.inference and run.sources[source].role is Role.PARAMETER


def _are_equal(module: fx.GraphModule, run: EagerRun, way: Way) -> bool:
    """Whether two calls, traced one after the other without writes, compute the same of their own sources. The
    placeholders are the sources of the first, then those of the second, and so are the results; those of calls between
    them are in the middle."""
    graph, count = module.graph, len(run.sources)
    placeholders = graph.find_nodes(op="placeholder")
    results = next(node for node in graph.nodes if node.op == "output").args[0]
    draws = [node for node in graph.nodes if is_random(node.target)]
    if len(results) % 2 or len(draws) % (way.between + 2):
        return False
    per_call = len(draws) // (way.between + 2)
    numbers: dict[Any, int] = {}

    def numbered(call: int) -> dict[fx.Node, int]:
        """A number for every node, as one of the calls sees it: its own sources and draws are counted from 0."""
        known = {node: ("draw", i - call * (len(draws) - per_call)) for i, node in enumerate(draws)}
        for i, node in enumerate(placeholders):
            known[node] = ("source", i if i < count and _stays(run, i) else i - call * (len(placeholders) - count))
        found: dict[fx.Node, int] = {}
        for node in graph.nodes:
            found[node] = numbers.setdefault(_description(module, node, known.get(node), found), len(numbers))
        return found

    half = len(results) // 2
    one, other = numbered(0), numbered(1)
    return [one[node] for node in results[:half]] == [other[node] for node in results[half:]]


def _description(module: fx.GraphModule, node: fx.Node, known: Any, numbers: Mapping[fx.Node, int]) -> Any:
    """What a node computes: equal for those that compute the same."""
    if node.op == "get_attr":
        tensor = getattr(module, node.target)
        held = tensor if has_content(tensor) else getattr(tensor, "constant", None)
        with _disable_current_modes():
            content = tuple(held.flatten().tolist()) if held is not None else node.target
        return "constant", str(tensor.dtype), tuple(tensor.shape), content
    if node.op == "placeholder":
        return known
    return known, str(node.target), tuple(_operands((node.args, node.kwargs), numbers))


def _operands(arguments: Any, numbers: Mapping[fx.Node, int]) -> Iterator[Any]:
    leaves, structure = pytree.tree_flatten(arguments, is_leaf=lambda value: isinstance(value, fx.Node))
    yield str(structure)
    yield from (("node", numbers[leaf]) if isinstance(leaf, fx.Node) else str(leaf) for leaf in leaves)
