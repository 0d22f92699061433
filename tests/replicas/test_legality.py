"""What the checker refuses of PEFs for replicas."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.check import check
from tests.replicas.subjects import compiled_for


@pytest.fixture(scope="module")
def pef() -> pb.Pef:
    return compiled_for(2, 8).pef


def reduce_as_update(pef: pb.Pef) -> None:
    for section in pef.sections:
        if section.kind == "REDUCE":
            section.kind = "OPT"


CHANGES: dict[str, Callable[[pb.Pef], object]] = {
    "no number of replicas": lambda pef: setattr(pef.header, "replicas", 0),
    "has no REDUCE section": reduce_as_update,
    "exchanges with other replicas in section type OPT": reduce_as_update,
    "ring_bytes_per_s is 0": lambda pef: setattr(pef.machine, "ring_bytes_per_s", 0),
    "host_bytes_per_s is inf": lambda pef: setattr(pef.machine, "host_bytes_per_s", float("inf")),
    "ring_step_us is -1": lambda pef: setattr(pef.machine, "ring_step_us", -1),
}


@pytest.mark.parametrize("expected", CHANGES)
def test_is_refused(pef: pb.Pef, expected: str) -> None:
    changed = copy.deepcopy(pef)
    CHANGES[expected](changed)
    with pytest.raises(IllegalPefError, match=expected):
        check(changed)


def test_a_machine_of_no_replicas_needs_no_links_to_them() -> None:
    alone = compiled_for(0, 8).pef
    alone.machine.ring_bytes_per_s = 0
    check(alone)
