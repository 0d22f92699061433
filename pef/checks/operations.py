"""Rules about the operations of a stage or stream: definitions, types, limits, and what cutting into slices allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ir.errors import Problem
from ir.space import Cut
from ir.types import TensorType
from pef.decoded import OPERATOR_ERRORS, Application, Body
from pef.nest import WHOLE, axis_of


@dataclass(frozen=True, slots=True)
class Partial:
    """One iteration's share of a reduction: over which loops, and how the shares combine; legal if in one way."""

    loops: frozenset[int]
    combines: frozenset[str]


def defined_once(body: Body, given: Sequence[int]) -> Iterator[Problem]:
    """A value is given from outside or made by one operation, before it is used."""
    defined: set[int] = set()
    for value in given:
        if value in defined:
            yield Problem(f"value {value} is given twice", body.where)
        defined.add(value)
    for application in body.applications:
        for value in application.operands:
            if value not in defined:
                yield Problem(f"value {value} is used before it is made", application.where)
        for value in application.results:
            if value in defined:
                yield Problem(f"value {value} is made twice", application.where)
            defined.add(value)


def types_follow(body: Body) -> Iterator[Problem]:
    """The results of an operation have the types that its operator gives in one firing."""
    for application in body.applications:
        operands, declared = body.types(application.operands), body.types(application.results)
        try:
            expected = application.op.results(*operands)
        except OPERATOR_ERRORS as error:
            yield Problem(f"{application.op.name} does not accept ({_listed(operands)}): {error}", application.where)
            continue
        if expected != declared:
            yield Problem(
                f"the results are declared {_listed(declared)}, but are {_listed(expected)}", application.where
            )


def limits_hold(body: Body) -> Iterator[Problem]:
    """Operators stay within their limits."""
    for application in body.applications:
        for rule in application.op.broken_limits(*body.types(application.operands)):
            yield Problem(f"{application.op.name}: {rule}", application.where)


def slices_are_consistent(body: Body) -> Iterator[Problem]:
    """Applied to each slice, an operator gives the slices of (or partial results for) what it gives for the whole.

    Loop by loop from the innermost outwards: what one loop cuts is the result of all loops inside it together.
    """
    for application in body.applications:
        for loop in reversed(range(body.level)):
            operands, results = body.axes(application.operands, loop), body.axes(application.results, loop)
            if body.nest.counts[loop] == 1 or all(axis == WHOLE for axis in (*operands, *results)):
                continue
            if matching_cut(body, application, loop) is None:
                yield Problem(
                    f"cutting the operands of {application.op.name} along axes {list(operands)} into "
                    f"{body.nest.counts[loop]} slices does not cut the results along axes {list(results)}",
                    application.where,
                )


def partial_results(body: Body) -> dict[int, Partial]:
    """Values that are only one iteration's share of a reduction: a view of one is one."""
    partial: dict[int, Partial] = {}
    for application in body.applications:
        shares = [partial[value] for value in application.operands if value in partial]
        loops = {loop for share in shares for loop in share.loops} if application.op.is_free else set[int]()
        combines = {combine for share in shares for combine in share.combines} if loops else set[str]()
        for value in application.results:
            reduced = {
                loop
                for loop in range(body.level)
                if body.nest.counts[loop] > 1
                and axis_of(body.values[value].slicing, loop) == WHOLE
                and any(axis != WHOLE for axis in body.axes(application.operands, loop))
            }
            own = {application.op.combine.value} if reduced else set[str]()
            if reduced or loops:
                partial[value] = Partial(frozenset(reduced | loops), frozenset(own | combines))
    return partial


def partial_results_are_not_used(body: Body) -> Iterator[Problem]:
    """Only views are taken of a partial result; it cannot be computed with before its loops have ended."""
    partial = partial_results(body)
    for application in body.applications:
        if not application.op.is_free and any(value in partial for value in application.operands):
            yield Problem(
                f"{application.op.name} uses a sum that is complete only after the last iteration", application.where
            )


def matching_cut(body: Body, application: Application, loop: int) -> Cut | None:
    """The cut of the operation over all iterations of a loop that makes it the declared one for each, if there is."""
    operands, results = body.grown(application.operands, loop), body.grown(application.results, loop)
    axes = body.axes(application.operands, loop), body.axes(application.results, loop)
    try:
        whole = application.op.for_tile(operands, results)
        if whole is None:
            return None
        cuts = whole.space(*operands).cuts()
    except OPERATOR_ERRORS:
        return None
    count = body.nest.counts[loop]
    return next((cut for cut in cuts if (cut.operands, cut.results) == axes and cut.size % count == 0), None)


def _listed(types: Sequence[TensorType]) -> str:
    return ", ".join(map(str, types))


def body_problems(body: Body, given: Sequence[int]) -> Iterator[Problem]:
    """Every rule of this file, each where the rules before it hold."""
    undefined = list(defined_once(body, given))
    yield from undefined
    mistyped = list(types_follow(body))
    yield from mistyped
    if mistyped or undefined:
        return
    yield from limits_hold(body)
    yield from slices_are_consistent(body)
    yield from partial_results_are_not_used(body)
