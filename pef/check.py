"""Whether a PEF is legal, re-derived from the PEF alone: nothing here is shared with the compiler that wrote it.

Rules come in layers, as each relies on the ones before it: sizes, the machine, then whether records can be followed
(`structure`), then what they mean. A configuration that cannot be followed is reported and left out of the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from ir.errors import IllegalPefError, Problem
from pef import pef_pb2 as pb
from pef.checks import structure
from pef.checks.buffers import BUFFER_RULES, runs_to_its_end
from pef.checks.hardware import MACHINE_RULES, UNIT_RULES, agcu_problems
from pef.checks.limits import limit_problems
from pef.checks.nets import net_problems
from pef.checks.replicas import REPLICA_RULES
from pef.checks.stages import STAGE_RULES
from pef.checks.streams import STREAM_RULES
from pef.checks.symbols import LAYOUT_RULES, SECTION_RULES
from pef.decoded import Configuration
from pef.decoded_pef import DecodedPef

CONFIGURATION_RULES = (*UNIT_RULES, *BUFFER_RULES, *STAGE_RULES, *STREAM_RULES, net_problems)


MOST_PROBLEMS = 99
"""Problems after which checking stops."""


def check(pef: pb.Pef) -> DecodedPef:
    """The PEF as it was decoded for the check, to be read on.

    Raises one IllegalPefError that lists the violations, each naming the thing that breaks a rule.
    """
    _raise_if(limit_problems(pef))
    _raise_if(problem for rule in MACHINE_RULES for problem in rule(pef.machine))
    decoded = DecodedPef(pef)
    _raise_if(_problems(decoded))
    return decoded


def _raise_if(problems: Iterable[Problem]) -> None:
    found = list(islice(problems, MOST_PROBLEMS + 1))
    if len(found) > MOST_PROBLEMS:
        found[MOST_PROBLEMS] = Problem(f"checking stopped after {MOST_PROBLEMS} problems", "the PEF")
    IllegalPefError.raise_if(found)


def _problems(decoded: DecodedPef) -> Iterator[Problem]:
    pef = decoded.record
    yield from structure.header_problems(pef)
    yield from agcu_problems(decoded.machine)
    unsound = [*structure.symbol_problems(pef), *structure.section_problems(pef)]
    yield from unsound
    configurations: dict[int, Configuration] = {}
    for number in range(len(pef.configurations)):
        broken = list(structure.configuration_problems(pef, number))
        yield from broken
        if not broken:
            configurations[number] = decoded.configuration(number)
    if not unsound:
        for layout_rule in LAYOUT_RULES:
            yield from layout_rule(pef)
    for configuration in configurations.values():
        found = [problem for rule in CONFIGURATION_RULES for problem in rule(configuration)]
        yield from found or runs_to_its_end(configuration)
    if not unsound:
        for section_rule in (*SECTION_RULES, *REPLICA_RULES):
            yield from section_rule(pef, configurations)
