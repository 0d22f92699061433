"""Rules about the operations of a stage or stream: definitions, types, limits, and what cutting into tiles allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ir.errors import Problem
from ir.space import Cut
from ir.types import TensorType
from pef.decoded import OPERATOR_ERRORS, Application, Body


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
    """The results of an operation have the types that its operator gives for one tile."""
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


def tiles_are_consistent(body: Body) -> Iterator[Problem]:
    """Applied to each tile, an operator gives the tiles of (or the partial results for) what it gives for the whole."""
    if body.tiles == 1:
        return
    for application in body.applications:
        operands, results = body.axes(application.operands), body.axes(application.results)
        if all(axis < 0 for axis in (*operands, *results)):
            continue
        if matching_cut(body, application) is None:
            yield Problem(
                f"cutting the operands of {application.op.name} along axes {list(operands)} into {body.tiles} tiles "
                f"does not cut the results along axes {list(results)}",
                application.where,
            )


def partial_results(body: Body) -> dict[int, str]:
    """Values that are only one tile's share of a reduction, and how the shares combine: a view of one is one."""
    partial: dict[int, str] = {}
    for application in body.applications:
        shares = [partial[value] for value in application.operands if value in partial]
        tiled = any(body.values[value].axis >= 0 for value in application.operands)
        if shares and application.op.is_free:
            partial.update(dict.fromkeys(application.results, shares[0]))
        elif tiled and body.tiles > 1:
            reduced = [value for value in application.results if body.values[value].axis < 0]
            partial.update(dict.fromkeys(reduced, application.op.combine.value))
    return partial


def partial_results_are_not_used(body: Body) -> Iterator[Problem]:
    """Only views are taken of a partial result; it cannot be computed with before the tiles are combined."""
    partial = partial_results(body)
    for application in body.applications:
        if not application.op.is_free and any(value in partial for value in application.operands):
            yield Problem(
                f"{application.op.name} uses a sum that is complete only after the last tile", application.where
            )


def matching_cut(body: Body, application: Application) -> Cut | None:
    """The cut of the whole operation that makes it the declared one for each tile, if there is one."""
    operands, results = body.wholes(application.operands), body.wholes(application.results)
    axes = body.axes(application.operands), body.axes(application.results)
    try:
        whole = application.op.retyped(results[0])
        if whole.results(*operands) != results:
            return None
        cuts = whole.space(*operands).cuts()
    except OPERATOR_ERRORS:
        return None
    return next((cut for cut in cuts if (cut.operands, cut.results) == axes and cut.size % body.tiles == 0), None)


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
    yield from tiles_are_consistent(body)
    yield from partial_results_are_not_used(body)
