"""What the checker says of a PEF."""

from __future__ import annotations

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.check import check


def problems(pef: pb.Pef) -> list[str]:
    """What the checker finds, one text per problem."""
    try:
        check(pef)
    except IllegalPefError as error:
        return [str(problem) for problem in error.problems]
    return []
