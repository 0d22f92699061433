"""A PEF whose configurations are decoded once, for all who read them: the checker, both executors, the timing."""

from __future__ import annotations

from functools import cached_property

from pef import pef_pb2 as pb
from pef.codec import decode_machine
from pef.decoded import Configuration
from pef.machine import Machine


class DecodedPef:
    """A record, its machine, and its configurations, each decoded when first asked for.

    The record must not change afterwards. `pef.check.check` returns one that is legal.
    """

    def __init__(self, record: pb.Pef) -> None:
        self.record = record
        self._configurations: dict[int, Configuration] = {}

    @cached_property
    def machine(self) -> Machine:
        """The machine it was compiled for."""
        return decode_machine(self.record.machine)

    def configuration(self, number: int) -> Configuration:
        """The configuration with this number, which `pef.checks.structure` has found sound."""
        if number not in self._configurations:
            record = self.record.configurations[number]
            self._configurations[number] = Configuration.of(record, self.machine, f"configuration {number}")
        return self._configurations[number]
