"""The functional simulator: executes sections of a PEF on device memory, for their numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence

from threadpoolctl import ThreadpoolController

from ir.errors import IllegalPefError, Problem
from pef import pef_pb2 as pb
from runtime.collective import ALONE, Collective, Exchange
from runtime.configuration import Configuration
from runtime.memory import Memory
from runtime.plan import Executor, Plan
from runtime.planner import plan_section
from runtime.scratch import Scratch


def host_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class FunctionalSimulator:
    """Sections of `pef` as plans over `memory`, laid out when first run.

    `coalesce=False` executes one tile per kernel call, as the fabric does; results then differ in the association of
    float sums only. The number of `threads` never changes a result.
    """

    def __init__(self, pef: pb.Pef, memory: Memory, threads: int | None = None, coalesce: bool = True) -> None:
        self._pef = pef
        self._memory = memory
        self._coalesce = coalesce
        self._scratch = Scratch()
        self._exchange = Exchange()
        self._executor = Executor(threads if threads is not None else host_cores())
        self._plans: dict[int, Plan] = {}
        self._blas = ThreadpoolController()
        _check_bindings(pef, memory)
        self._configurations = [
            Configuration.decode(record, f"configuration {number}") for number, record in enumerate(pef.configurations)
        ]

    @property
    def threads(self) -> int:
        """Host threads that run lanes."""
        return self._executor.threads

    def run(self, sections: Sequence[int], collective: Collective = ALONE) -> None:
        """Execute sections by index, in the order given."""
        self.execute([self.plan(number) for number in sections], collective)

    def execute(self, plans: Sequence[Plan], collective: Collective = ALONE) -> None:
        """Execute laid-out sections in order. Matrix products run single-threaded in each lane.

        `collective` are the replicas that REDUCE sections average over.
        """
        self._exchange.collective = collective
        with self._blas.limit(limits=1, user_api="blas"):
            for plan in plans:
                self._executor.run(plan)

    def plan(self, number: int) -> Plan:
        """The plan of one section."""
        if number not in self._plans:
            section = self._pef.sections[number]
            self._plans[number] = plan_section(
                self._configurations[section.configuration],
                section.bindings,
                [self._memory.views[symbol] for symbol in section.bindings],
                self._scratch,
                self._exchange,
                self._coalesce,
            )
        return self._plans[number]

    def close(self) -> None:
        """Give the threads back."""
        self._executor.close()


def _check_bindings(pef: pb.Pef, memory: Memory) -> None:
    """Every section binds symbols of the types its configuration expects."""
    problems = []
    for section in pef.sections:
        if section.configuration >= len(pef.configurations):
            problems.append(Problem(f"names configuration {section.configuration}, which does not exist", section.name))
            continue
        slots = pef.configurations[section.configuration].slots
        if len(slots) != len(section.bindings) or any(symbol >= len(pef.symbols) for symbol in section.bindings):
            problems.append(Problem(f"does not bind the {len(slots)} slots of its configuration", section.name))
            continue
        for slot, symbol in zip(slots, section.bindings):
            if slot != pef.symbols[symbol].type:
                expected = f"{slot.dtype}{list(slot.shape)}"
                problems.append(
                    Problem(
                        f"binds {memory.names[symbol]!r} of type {memory.types[symbol]} where {expected} is expected",
                        section.name,
                    )
                )
    IllegalPefError.raise_if(problems)
