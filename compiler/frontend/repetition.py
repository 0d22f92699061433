"""Whether later calls of a model compute what its first does, though forward has left something in attributes.

A table that is made once and kept is harmless; a statistic of the first batch that all later ones are measured by is
not: what is compiled is one call, and it is the same in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from compiler.frontend.dtypes import has_content
from compiler.frontend.eager import STATE, Decompositions, EagerRun, holders
from compiler.frontend.host_random import HIGHEST, LOWEST, MIDDLE, set_standing, undisturbed
from compiler.frontend.joint import Role
from compiler.frontend.module_state import lent
from compiler.frontend.recording import FIRST_SEED, functional, is_random
from compiler.frontend.state import Surroundings
from ir.errors import CaptureError, Problem

DRAW = "draw them with PyTorch, such as torch.rand(())"
FAR = 1_441_440_000
"""What a count is at a later call: divisible by what people divide by, and still a number of 32 bits."""


@dataclass(frozen=True)
class Way:
    """How a second call comes after a first: at once, or when counts have come to `FAR`; and what each draws with
    Python and NumPy, as a word of `host_random`, or whatever comes next."""

    far: bool = False
    draws: tuple[int, int] | None = None


def require_repeatable(
    run: EagerRun,
    surroundings: Surroundings,
    stand_in: Callable[[Tensor], Tensor],
    decompositions: Decompositions,
) -> None:
    """Raise CaptureError where what a first call left behind changes what a later one computes, or random numbers do
    that are not PyTorch's. `surroundings` are put back as they were before the first."""
    if run.draws_from_its_own:
        what = "forward draws random numbers from a generator of Python or NumPy that the model keeps"
        raise CaptureError(Problem(what, run.locator.start, DRAW))
    for way in _ways(run):
        again = EagerRun(run.spec, run.locator, inference=run.inference)
        again.hollow = run.hollow
        values = [stand_in(source.tensor) for source in (*run.sources, *run.sources)]
        surroundings.restore()
        raised = None
        try:
            with undisturbed():
                twice = partial(_twice, again, surroundings, way)
                module = make_fx(twice, decomposition_table=decompositions, tracing_mode="real")(*values)
            if _are_equal(functional(module, again.recorder, values, decompositions)[0], run):
                continue
        except Exception as error:  # whatever the user's forward raises when it runs again
            raised = error
        finally:
            surroundings.restore()
        raise CaptureError(_problem(run, way, raised))


def _problem(run: EagerRun, way: Way, raised: Exception | None) -> Problem:
    """What the first call has left for the second, which `raised` something or computes something else."""
    call = "a later call" if way.far else "the next call"
    first = str(raised).partition(chr(10))[0]
    does = "computes something else because of it" if raised is None else f"fails: {type(raised).__name__}: {first}"
    what = f"and {call} {does}"
    where, names, kind = run.locator.start, list(run.left_elsewhere), "values"
    if run.left_behind:
        where, kind = run.locator.location(None, run.left_behind[0][0], None), "attributes"
        names = [f"{path}.{name}".removeprefix(".") for path, name in run.left_behind]
    if not names:
        return Problem(f"forward draws random numbers with Python or NumPy, {what}", where, DRAW)
    shown = names[0] + (f" (and {len(names) - 1} more {kind})" if len(names) > 1 else "")
    hint = "make it in __init__ where it is constant; else register a buffer for it, and write into that in every call"
    return Problem(f"forward leaves {shown} behind, {what}", where, hint)


def _ways(run: EagerRun) -> Iterator[Way]:
    """The second calls to compare with the first."""
    if run.draws_on_host:
        yield Way(draws=(LOWEST, HIGHEST))
        yield Way(draws=(LOWEST, MIDDLE))
    elif run.left_behind or run.left_elsewhere:
        yield Way()
    if run.counts:
        yield Way(far=True, draws=(LOWEST, LOWEST) if run.draws_on_host else None)


def _twice(run: EagerRun, surroundings: Surroundings, way: Way, *arguments: Tensor) -> list[Tensor]:
    """What two calls return and leave in parameters and buffers, each from sources of its own."""
    count, model = len(run.sources), run.spec.model
    leaves = [run.leaf(argument, source) for argument, source in zip(arguments, (*run.sources, *run.sources))]
    first, second = leaves[:count], leaves[count:]
    second = [one if _stays(run, i) else other for i, (one, other) in enumerate(zip(first, second))]
    held = holders(model)
    tables = [
        (getattr(module, f"_{source.role.value}s"), name, leaf)
        for source, leaf in zip(run.sources, second)
        for _, module, name in held.get(id(source.tensor), ())
    ]
    own = {id(source.tensor): leaf for source, leaf in zip(run.sources, first) if source.role in STATE}
    with torch.random.fork_rng(devices=[]), lent(model, {**run.hollow, **own}), run.interception.active():
        torch.default_generator.manual_seed(FIRST_SEED)
        if way.draws:
            set_standing(way.draws[0])
        results = [result.tensor for result in run.called(first)] + [table[name] for table, name, _ in tables]
        if way.far:
            surroundings.advance(FAR)
        if way.draws:
            set_standing(way.draws[1])
        with lent(model, dict(zip(map(id, first), second))):
            for table, name, leaf in tables:
                table[name] = leaf
            results += [result.tensor for result in run.called(second)]
            results += [table[name] for table, name, _ in tables]
    return results


def _stays(run: EagerRun, source: int) -> bool:
    """Whether a source is the same in all calls: parameters are, where nothing trains them."""
    return run.inference and run.sources[source].role is Role.PARAMETER


def _are_equal(module: fx.GraphModule, run: EagerRun) -> bool:
    """Whether two calls, traced one after the other without writes, compute the same of their own sources. The
    placeholders are the sources of the first, then those of the second, and so are the results."""
    graph, count = module.graph, len(run.sources)
    placeholders = graph.find_nodes(op="placeholder")
    results = next(node for node in graph.nodes if node.op == "output").args[0]
    draws = [node for node in graph.nodes if is_random(node.target)]
    if len(results) % 2 or len(draws) % 2:
        return False
    numbers: dict[Any, int] = {}

    def numbered(call: int) -> dict[fx.Node, int]:
        """A number for every node, as one of the calls sees it: its own sources and draws are counted from 0."""
        known = {node: ("draw", i - call * len(draws) // 2) for i, node in enumerate(draws)}
        for i, node in enumerate(placeholders):
            known[node] = ("source", i if i < count and _stays(run, i) else i - call * count)
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
