"""The fast executor: runs sections of a PEF on device memory with joined tiles, shared buffers and all cores.

It gives the numbers of the strict one (`runtime.numbers.strict`), except for the order in which float sums associate,
which follows from the PEF alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ir.kernels.gemm import OneThread
from ir.kernels.processor import host_cores
from pef.decoded_pef import DecodedPef
from runtime.collective import Collective, Exchange
from runtime.numbers.fast.plan import Executor, Plan
from runtime.numbers.fast.planner import plan_section
from runtime.numbers.fast.program import Program
from runtime.numbers.fast.scratch import Scratch
from runtime.numbers.memory import Memory
from runtime.numbers.origin import naming_sources
from runtime.numbers.simulator import Run


class FunctionalSimulator:
    """Sections of a legal PEF as plans over `memory`, laid out when first run.

    The number of `threads` never changes a result.
    """

    def __init__(self, pef: DecodedPef, memory: Memory, threads: int | None = None) -> None:
        self._pef = pef
        self._memory = memory
        self._scratch = Scratch()
        self._exchange = Exchange()
        self._executor = Executor(threads if threads is not None else host_cores())
        self._programs: dict[int, Program] = {}
        self._plans: dict[int, Plan] = {}
        self._blas = OneThread()

    @property
    def threads(self) -> int:
        """Host threads that run lanes."""
        return self._executor.threads

    def lay_out(self, sections: Sequence[int]) -> Run:
        """Plan sections that have not run yet; the run executes the plans in this order."""
        return partial(self._execute, [(number, self.plan(number)) for number in sections])

    def _execute(self, plans: Sequence[tuple[int, Plan]], collective: Collective) -> None:
        """Execute the plans of sections in order. Matrix products run single-threaded in each lane.

        Floating-point exceptions give inf and NaN silently, as on the device.
        """
        self._exchange.collective = collective
        with self._blas, np.errstate(all="ignore"):
            for number, plan in plans:
                with naming_sources(self._pef, number):
                    self._executor.run(plan)

    def plan(self, number: int) -> Plan:
        """The plan of one section."""
        if number not in self._plans:
            section = self._pef.record.sections[number]
            self._plans[number] = plan_section(
                self._program(section.configuration),
                section.bindings,
                [self._memory.views[symbol] for symbol in section.bindings],
                self._scratch,
                self._exchange,
                self.threads,
            )
        return self._plans[number]

    def _program(self, number: int) -> Program:
        if number not in self._programs:
            self._programs[number] = Program.of(self._pef.configuration(number))
        return self._programs[number]

    def close(self) -> None:
        """Give the threads back."""
        self._executor.close()
