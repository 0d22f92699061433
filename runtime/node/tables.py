"""The daemon's logs as tables: inventory, errors, faults and policy, for snfadm and the API."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ir.errors import Problem, UsageError
from runtime.node.diagnosis import POLICY
from runtime.node.hardware import Component, Kind, Node, serial_number
from runtime.node.manager import Manager

Row = tuple[str, ...]

PERFECT = "perfect"
"""The state of a tile in order: what people search the output of snconfig for."""
ONLINE, DEGRADED = "online", "degraded"


def moment(seconds: float) -> str:
    """A moment as the logs write it: local time, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def log_table(manager: Manager, log: str, all_of_them: bool) -> tuple[Row, list[Row]]:
    """The columns and rows of one log. Raises UsageError for a log that there is none of."""
    match log:
        case "inventory":
            return ("COMPONENT", "KIND", "SERIAL NUMBER", "STATE"), list(_inventory(manager))
        case "error":
            return ("ID", "TIME", "COMPONENT", "ERROR"), [
                (str(number), moment(when), path, text) for number, when, path, text in manager.store.errors()
            ]
        case "fault":
            columns = ("UUID", "TIME", "TYPE", "COMPONENT", "CLEARED", "SUSPECTS", "ADVICE")
            return columns, list(_faults(manager, all_of_them))
        case "policy":
            return ("COMPONENT", "ERROR", "REMEDY", "FAULT", "FAULT AT START", "ADVICE"), [
                (r.kind.value, r.error, r.remedy, r.lasting.value, r.at_start.value, r.advice) for r in POLICY
            ]
    raise UsageError(Problem(f"there is no log {log!r}", hint="inventory, error, fault or policy"))


def _faults(manager: Manager, all_of_them: bool) -> Iterator[Row]:
    for fault in manager.store.faults(all_of_them):
        cleared = moment(fault.cleared) if fault.cleared is not None else "-"
        what = (fault.uuid, moment(fault.time), fault.type.value, fault.path)
        yield (*what, cleared, " ".join(fault.suspects), fault.advice)


def _inventory(manager: Manager) -> Iterator[Row]:
    rdus, tiles = states(manager)
    suspects = {path: fault.type.value for fault in manager.store.faults() for path in fault.suspects[:1]}
    for component in manager.node.components():
        state = rdus.get(component.path) or tiles.get(component.path)
        if state is None:
            state = f"suspect of {suspects[component.path]}" if component.path in suspects else "ok"
        yield component.path, component.kind.value, serial(component), state


def serial(component: Component) -> str:
    """The serial number of RDUs and DIMMs; tiles and links have none of their own."""
    digits = {Kind.RDU: 16, Kind.DIMM: 7}.get(component.kind)
    return serial_number(component.path, digits) if digits else "N/A"


def states(manager: Manager) -> tuple[dict[str, str], dict[str, str]]:
    """The state of every RDU and of every tile, by path."""
    node, out = manager.node, manager.out_of_service()
    tiles = {node.tile_path(tile): out.get(tile, PERFECT) for tile in range(node.tiles)}
    faults = {fault.path: fault.type.value for fault in manager.store.faults()}
    rdus = {node.rdu_path(rdu): faults.get(node.rdu_path(rdu)) or _rdu(node, rdu, out) for rdu in range(node.rdus)}
    return rdus, tiles


def _rdu(node: Node, rdu: int, out: dict[int, str]) -> str:
    return DEGRADED if any(tile in out for tile in node.tiles_of(rdu)) else ONLINE
