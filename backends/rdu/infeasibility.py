"""What does not fit the machine, as data: how much of what was asked, how much there is, who asks most, what helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ir.errors import InfeasibleError, Problem

SHOWN_CONTRIBUTORS = 5


class Resource(Enum):
    """Something a machine has a fixed amount of; the value is its unit."""

    PCU = "PCUs"
    PMU = "PMUs"
    MEMORY = "bytes of memory"


LEVERS = {
    Resource.PCU: ("cut the model into smaller sections (--o0)", "use a machine with more PCUs (--arch)"),
    Resource.PMU: (
        "use a smaller batch (-b)",
        "use bf16 (--graphamp-preset mp4)",
        "cut the model into smaller sections (--o0)",
        "use a machine with more PMUs (--arch)",
    ),
    Resource.MEMORY: (
        "use a smaller batch (-b)",
        "use bf16 (--graphamp-preset mp4)",
        "use a machine with more memory (--arch)",
    ),
}


@dataclass(frozen=True, slots=True)
class Contributor:
    """Who asks for how much of a resource."""

    name: str
    amount: int


@dataclass(frozen=True, slots=True)
class Infeasibility:
    """`demand` of `resource` where the machine has `bound`; the biggest contributors first."""

    resource: Resource
    demand: int
    bound: int
    contributors: tuple[Contributor, ...]

    @property
    def levers(self) -> tuple[str, ...]:
        """What a user can change, most helpful first."""
        return LEVERS[self.resource]

    def __str__(self) -> str:
        biggest = ", ".join(f"{c.name} {c.amount:,}" for c in self.contributors[:SHOWN_CONTRIBUTORS])
        unit = self.resource.value
        return f"a section needs {self.demand:,} {unit}, the machine has {self.bound:,}; biggest: {biggest}"


class DoesNotFitError(InfeasibleError):
    """Cause: a section or symbol that asks for more than the machine has. Fix: a lever it names."""

    def __init__(self, infeasibility: Infeasibility) -> None:
        self.infeasibility = infeasibility
        super().__init__(Problem(str(infeasibility), hint="; ".join(infeasibility.levers)))


def require(resource: Resource, bound: int, contributors: Sequence[Contributor]) -> None:
    """Raise DoesNotFitError if the contributors together ask for more than `bound`."""
    demand = sum(contributor.amount for contributor in contributors)
    if demand > bound:
        ranked = sorted(contributors, key=lambda contributor: -contributor.amount)
        raise DoesNotFitError(Infeasibility(resource, demand, bound, tuple(ranked)))
