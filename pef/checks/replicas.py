"""Rules about data parallel runs: what is exchanged with other replicas, where, and over which links."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ir.errors import Problem
from ir.graph import SectionKind
from pef import pef_pb2 as pb
from pef.decoded import Configuration, named


def replicas_stated(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """A PEF with REDUCE sections says for how many replicas it is at least, and only such a one."""
    reduces = any(section.kind == SectionKind.REDUCE.value for section in pef.sections)
    if reduces and not pef.header.replicas:
        yield Problem("there are REDUCE sections, but no number of replicas", "header")
    if pef.header.replicas and not reduces:
        yield Problem(f"it is for {pef.header.replicas} replicas, but has no REDUCE section", "header")


def exchanged_in_reduce_only(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """Only REDUCE sections exchange anything with other replicas."""
    for number, section in enumerate(pef.sections):
        configuration = configurations.get(section.configuration)
        if configuration is None or section.kind == SectionKind.REDUCE.value:
            continue
        for operator in _exchanges(configuration):
            where = named("section", number, section.name)
            yield Problem(f"{operator} exchanges with other replicas in section type {section.kind}", where)


def links_to_replicas(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """A machine that exchanges with other replicas has a link to the next one and to the host."""
    if not any(True for configuration in configurations.values() for _ in _exchanges(configuration)):
        return
    for field in ("ring_bytes_per_s", "host_bytes_per_s"):
        if not 0 < getattr(pef.machine, field) < math.inf:
            yield Problem(f"{field} is {getattr(pef.machine, field)}", "machine")
    if not 0 <= pef.machine.ring_step_us < math.inf:
        yield Problem(f"ring_step_us is {pef.machine.ring_step_us}", "machine")


def _exchanges(configuration: Configuration) -> Iterator[str]:
    """The names of the operators that exchange."""
    for phase in configuration.phases:
        for stage in phase.stages:
            yield from (a.op.name for a in stage.body.applications if a.op.exchanges)


REPLICA_RULES = (replicas_stated, exchanged_in_reduce_only, links_to_replicas)
