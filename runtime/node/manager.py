"""What the daemon does, without any protocol: sessions get and give back tiles, hardware breaks and is diagnosed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ir.errors import Problem, UsageError
from runtime.node import processes
from runtime.node.activity import History, Sums
from runtime.node.allocation import Grant, Holder, Need, Refusal, State, allocate
from runtime.node.diagnosis import CORRECTABLE, RULES, diagnose, tiles_out
from runtime.node.hardware import Component, Kind, Node
from runtime.node.processes import Process
from runtime.node.store import Fault, SessionRecord, Store

log = logging.getLogger("snc.snd")

PATIENCE_SECONDS = 5.0
"""Who waits for tiles asks again sooner than this; who does not has lost the place."""


@dataclass(slots=True)
class Waiting:
    """A process in the queue for tiles."""

    process: Process
    need: Need
    seen: float


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that has its tiles."""

    session: int
    grant: Grant


@dataclass(frozen=True, slots=True)
class TileStatus:
    """A tile at a moment: shares in percent, empty out of service, and who holds it."""

    path: str
    percent: tuple[float, ...]
    holder: Holder | None


class Manager:
    """The node's state. All methods may be called from any thread."""

    def __init__(self, node: Node, store: Store) -> None:
        self.node = node
        self.store = store
        self._lock = threading.RLock()
        self._histories: dict[int, History] = {}
        self._queue: list[Waiting] = []

    # -- sessions -----------------------------------------------------------------------------------------------

    def open_session(self, process: Process, need: Need, wait: bool) -> Opened | Refusal:
        """Tiles for a process; one that has a session already keeps its tiles, and gets others only if it must."""
        with self._lock:
            self.reap()
            mine = [s for s in self.store.sessions() if (s.pid, s.started) == (process.pid, process.started)]
            for ended in (session for session in mine if session.ended):
                self.close_session(ended.id)
            mine = [session for session in mine if not session.ended]
            own = frozenset(tile for session in mine for tile in session.tiles)
            answer = allocate(self._state(), need, own)
            if isinstance(answer, Grant):
                answer = self._turn(process, answer) or answer
            if isinstance(answer, Refusal):
                self._wait_or_leave(process, need, wait and answer.busy)
                return answer
            self._wait_or_leave(process, need, False)
            tiles = sorted(own | answer.tiles)
            if mine:
                self.store.widen_session(mine[0].id, need.pef, tiles)
                return Opened(mine[0].id, answer)
            who = (process.pid, process.started, process.user, process.command)
            number = self.store.open_session(*who, need.pef, tiles, time.time())
            self._histories[number] = History(time.monotonic())
            log.info("session %d of PID %d (%s) on %s", number, process.pid, process.user, self._named(tiles))
            return Opened(number, answer)

    def report(self, session: int, sums: Sums) -> tuple[str, str]:
        """Take in what a session did; returns why it cannot go on and what would help, or empty texts."""
        with self._lock:
            found = next((s for s in self.store.sessions() if s.id == session), None)
            if found is None:
                return "the node's daemon does not know this session any more", "start again"
            self._histories.setdefault(session, History(time.monotonic())).add(time.monotonic(), sums)
            return found.ended, found.lever

    def owner(self, session: int) -> int | None:
        """The PID that a session belongs to, None where there is no such session."""
        return next((found.pid for found in self.store.sessions() if found.id == session), None)

    def close_session(self, session: int) -> None:
        """Free a session's tiles."""
        with self._lock:
            self.store.close_session(session, time.time())
            self._histories.pop(session, None)
            log.info("session %d closed", session)

    def reap(self) -> None:
        """Free the tiles of processes that are gone, and their places in the queue."""
        with self._lock:
            for session in self.store.sessions():
                if not processes.is_alive(session.pid, session.started):
                    log.warning("session %d: PID %d is gone, its tiles are free", session.id, session.pid)
                    self.close_session(session.id)
            alive = (w for w in self._queue if processes.is_alive(w.process.pid, w.process.started))
            self._queue = [w for w in alive if time.monotonic() - w.seen < PATIENCE_SECONDS]

    def _turn(self, process: Process, grant: Grant) -> Refusal | None:
        """A refusal where somebody who came before waits for tiles of this grant."""
        for waiting in self._queue:
            if waiting.process == process:
                return None
            mask = waiting.need.affinity
            if mask is None or any(mask >> tile & 1 for tile in grant.tiles):
                reason = f"PID {waiting.process.pid} ({waiting.process.user}) came before and waits for tiles"
                return Refusal(reason, "wait too: snrun --wait SECONDS, or SNC_NODE_WAIT=SECONDS", busy=True)
        return None

    def _wait_or_leave(self, process: Process, need: Need, wait: bool) -> None:
        place = next((w for w in self._queue if w.process == process), None)
        if place is None and wait:
            self._queue.append(Waiting(process, need, time.monotonic()))
        elif place is not None and wait:
            place.seen = time.monotonic()
        elif place is not None:
            self._queue.remove(place)

    def _open(self) -> list[SessionRecord]:
        """The sessions that hold tiles and can go on."""
        return [session for session in self.store.sessions() if not session.ended]

    def _state(self) -> State:
        held = {
            tile: Holder(session.pid, session.user, session.command)
            for session in self.store.sessions()
            for tile in session.tiles
        }
        return State(self.node, held, self.out_of_service())

    # -- what is there ------------------------------------------------------------------------------------------

    def out_of_service(self) -> dict[int, str]:
        """The tiles of the node that faults take out, with the type of the fault."""
        return {
            tile: fault.type.value
            for fault in self.store.faults()
            for tile in tiles_out(self.node, fault.type, fault.path)
        }

    def tiles(self, seconds: float) -> Iterator[TileStatus]:
        """Every tile, and what it did in the last `seconds`."""
        with self._lock:
            self.reap()
            state, now = self._state(), time.monotonic()
            holding = {tile: session.id for session in self.store.sessions() for tile in session.tiles}
            for tile in range(self.node.tiles):
                path, holder = self.node.tile_path(tile), state.held.get(tile)
                history = self._histories.get(holding.get(tile, -1)) or History(now)
                out = tile in state.excluded
                yield TileStatus(path, () if out else history.percent(tile, now, seconds), holder)

    def free_tiles(self) -> frozenset[int]:
        """The tiles that nobody holds and that are in service."""
        with self._lock:
            self.reap()
            state = self._state()
            return frozenset(range(self.node.tiles)) - state.held.keys() - state.excluded.keys()

    # -- faults -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Initialise the hardware: what is broken is diagnosed, if it was not before."""
        for path in self.store.conditions():
            component = self.node.find(path)
            standing = {fault.cause for fault in self.store.faults()}
            if path not in standing:
                self._diagnose(component, at_start=True)

    def inject(self, path: str, transient: bool = False, correctable: bool = False) -> tuple[str, list[int]]:
        """Break a component; returns the UUID of the fault, or '', and the PIDs of the sessions that end by it.

        transient: the daemon's own remedy suffices. correctable: of a DIMM, an error that harms nobody.
        """
        component = self.node.find(path)
        if correctable and component.kind is not Kind.DIMM:
            raise UsageError(Problem(f"{path} has no correctable errors", hint="that is for DIMMs"))
        with self._lock:
            if correctable:
                self._error(path, CORRECTABLE)
                return "", []
            rule = RULES[component.kind]
            if not transient:
                self.store.break_(path, time.time())
            self._error(path, rule.error)
            self._error(path, f"{rule.remedy}: {'done' if transient else 'of no use'}")
            fault = "" if transient else self._diagnose(component, at_start=False).uuid
            return fault, self._end_sessions(component, fault)

    def repair(self, path: str) -> None:
        """Mend a component, as a technician would; its fault stands until it is cleared."""
        self.node.find(path)
        with self._lock:
            if not self.store.repair(path):
                raise UsageError(Problem(f"{path} is not broken", hint="snfadm -l fault lists what is"))
            log.info("%s is repaired", path)

    def clear(self, identity: str) -> str:
        """Clear a fault; returns the UUID of the fault that is diagnosed at once where nothing was repaired, or ''."""
        with self._lock:
            fault = self.store.clear_fault(identity, time.time())
            if fault is None:
                hint = "snfadm -l fault lists those that are open"
                raise UsageError(Problem(f"no fault {identity!r} is open", hint=hint))
            log.info("fault %s (%s of %s) is cleared", fault.uuid, fault.type.value, fault.path)
            if fault.cause not in self.store.conditions():
                return ""
            return self._diagnose(self.node.find(fault.cause), at_start=False).uuid

    def reset(self, rdu: int) -> bool:
        """Reset an RDU, which ends sessions on it; whether all of it came back."""
        with self._lock:
            path = self.node.rdu_path(rdu)
            self._error(path, "the RDU was reset by an administrator")
            self._end_sessions(Component(Kind.RDU, rdu, path), "")
            broken = [self.node.find(name) for name in self.store.conditions()]
            mine = [component for component in broken if component.rdu == rdu]
            for component in mine:
                self._diagnose(component, at_start=False)
            return not mine

    def _error(self, path: str, text: str) -> None:
        self.store.add_error(path, text, time.time())
        log.error("%s: %s", path, text)

    def _diagnose(self, component: Component, at_start: bool) -> Fault:
        diagnosis = diagnose(self.node, component, at_start)
        identity = self.store.add_fault(diagnosis, component.path, time.time())
        log.critical("fault %s: %s of %s", identity, diagnosis.type.value, diagnosis.path)
        return next(fault for fault in self.store.faults() if fault.uuid == identity)

    def _end_sessions(self, broken: Component, fault: str) -> list[int]:
        """End the sessions on what broke; returns their PIDs."""
        node = self.node
        tiles = {node.tile_number(broken.path)} if broken.kind is Kind.TILE else {*node.tiles_of(broken.rdu)}
        ended = [session for session in self._open() if session.tiles & tiles]
        types = {f.uuid: f.type.value for f in self.store.faults()}
        for session in ended:
            what = f"{broken.path}: {RULES[broken.kind].error}" + (f" ({types[fault]}, {fault})" if fault else "")
            if not fault:
                what += ", and works again after a reset"
            self.store.end_session(session.id, what, self._lever(session, tiles, fault))
            log.error("session %d of PID %d ends: %s", session.id, session.pid, what)
        return [session.pid for session in ended]

    def _lever(self, session: SessionRecord, tiles: set[int], fault: str) -> str:
        again = "go on from the last checkpoint: snrun --resume"
        if not fault or len(tiles) > 1:
            return again if not fault else f"{again}, which takes another RDU where there is one"
        (tile,) = tiles
        around = f"snc compile --avoid tile:{tile % self.node.tiles_per_rdu}"
        return f"{again}; on this RDU only with a PEF mapped around the tile: {around}, snrun --accept-recompiled"

    def _named(self, tiles: list[int]) -> str:
        return f"{self.node.tile_path(tiles[0])} to {self.node.tile_path(tiles[-1])}, {len(tiles)} tiles"
