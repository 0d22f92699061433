"""From broken hardware to errors, and from errors to faults.

The four fault types are the public ones. What breaks in a simulated node, which type is diagnosed for it, and the
advice are ours: the original's rules are not public. A condition is what is physically wrong; it lasts until it is
repaired. A fault is what the daemon concludes from it, and lasts until an administrator clears it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from runtime.node.hardware import HOST_LINK, Component, Kind, Node


class FaultType(Enum):
    """What a fault takes out of service."""

    TILE_EXCLUDED = "FTYPE_TILE_EXCLUDED"
    RDU_INIT = "FTYPE_RDU_INIT"
    RDU_RESET = "FTYPE_RDU_RESET"
    RDU_REMOVED = "FTYPE_RDU_REMOVED"


@dataclass(frozen=True, slots=True)
class Rule:
    """What the daemon does when a kind of component breaks: one entry of its policy.

    error: the entry in the error log. lasting: the fault where the condition is still there after the daemon's own
    remedy, None where the remedy is all. at_start: the fault where the condition is there when the daemon starts.
    """

    kind: Kind
    error: str
    remedy: str
    lasting: FaultType
    at_start: FaultType
    advice: str


POLICY = (
    Rule(
        Kind.TILE,
        "the tile does not answer",
        "reset the tile",
        FaultType.TILE_EXCLUDED,
        FaultType.TILE_EXCLUDED,
        "map around the tile (snc compile --avoid), or replace the RDU's module",
    ),
    Rule(
        Kind.RDU,
        "the RDU does not answer",
        "reset the RDU",
        FaultType.RDU_RESET,
        FaultType.RDU_INIT,
        "check component suspect list; replace the RDU's module",
    ),
    Rule(
        Kind.DIMM,
        "uncorrectable memory error",
        "reset the RDU, which tests its memory",
        FaultType.RDU_INIT,
        FaultType.RDU_INIT,
        "check component suspect list; reseat DIMM, then replace it",
    ),
    Rule(
        Kind.LINK,
        "the PCIe link is down",
        "train the link again",
        FaultType.RDU_REMOVED,
        FaultType.RDU_REMOVED,
        "check component suspect list along the link's path; reseat the module",
    ),
)
RULES = {rule.kind: rule for rule in POLICY}
CORRECTABLE = "correctable memory error"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A fault: its type, the component that is out of service, the suspects, and what to do about them."""

    type: FaultType
    path: str
    suspects: tuple[str, ...]
    advice: str


def diagnose(node: Node, broken: Component, at_start: bool) -> Diagnosis:
    """The fault that a lasting condition of `broken` is."""
    rule = RULES[broken.kind]
    path = broken.path if broken.kind is Kind.TILE else node.rdu_path(broken.rdu)
    fault = rule.at_start if at_start else rule.lasting
    return Diagnosis(fault, path, tuple(dict.fromkeys(_suspects(node, broken))), rule.advice)


def _suspects(node: Node, broken: Component) -> Iterator[str]:
    """What may be at fault, the most likely first: for a link, everything along its path."""
    yield broken.path
    if broken.kind is Kind.LINK:
        link = int(broken.path.rpartition("_")[2])
        yield node.rdu_path(broken.rdu)
        far = node.far_end(broken.rdu, link)
        if link == HOST_LINK:
            yield far
        else:
            yield from (far, far.rpartition("/")[0])


def tiles_out(node: Node, fault: FaultType, path: str) -> range:
    """The tiles of the node that a fault takes out of service."""
    component = node.find(path)
    if fault is FaultType.TILE_EXCLUDED:
        number = node.tile_number(path)
        return range(number, number + 1)
    return node.tiles_of(component.rdu)
