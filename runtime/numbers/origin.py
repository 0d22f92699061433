"""Where in the user's source an operator stands that ends a run because of the numbers it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ir.errors import IndexOutsideError, IntegerError
from ir.location import Location
from ir.op import Op
from pef.decoded_pef import DecodedPef

REFUSALS = (IndexOutsideError, IntegerError)


def kernel_at(op: Op, where: str) -> Callable[..., Any]:
    """The operator's kernel, whose errors say which operation of the PEF it is."""
    if not op.refuses:
        return op.kernel

    def kernel(*arrays: Any) -> None:
        try:
            op.kernel(*arrays)
        except REFUSALS as error:
            raise error.at(where) from None

    return kernel


@contextmanager
def naming_sources(pef: DecodedPef, section: int) -> Iterator[None]:
    """Errors of a section's operations name lines of the user's source in place of operations of the PEF."""
    try:
        yield
    except REFUSALS as error:
        places = _sources(pef, section)
        problems = (replace(p, where=places.get(str(p.where), p.where)) for p in error.problems)
        raise type(error)(*problems) from None


def _sources(pef: DecodedPef, number: int) -> dict[str, Location]:
    """Every operation of a section with the line it comes from."""
    section, strings = pef.record.sections[number], pef.record.strings
    phases = pef.configuration(section.configuration).phases
    operations = [each.where for phase in phases for stage in phase.stages for each in stage.body.applications]
    return {
        where: Location(strings[place.file], place.line, strings[place.module])
        for where, place in zip(operations, section.locations)
    }
