"""A process's session with the node's daemon: its tiles, what they do, and the news that they failed.

A process has one session, however many PEFs it runs. A thread reports five times a second, so a run itself pays for two
readings of the clock; that thread also simulates, once for each sequence of sections, how long they keep tiles busy.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ir.errors import NodeError, Problem, UsageError
from pef import pef_pb2 as pb
from runtime.node import logs
from runtime.node.client import Client
from runtime.node.footprint import SectionTime, placements, section_times
from runtime.node.places import Places
from runtime.node.protocol import snml_rpc_pb2 as rpc
from runtime.node.words import GRES, gres, tile_mask

REPORT_SECONDS = 0.2
ASK_AGAIN_SECONDS = 0.25
WAIT, AFFINITY = "SNC_NODE_WAIT", "SF_RNT_TILE_AFFINITY"
CHECKPOINT = 3
"""The place of chkpt among what a tile can be busy with."""

log = logging.getLogger("snc.sn")


class Lease:
    """The session of this process."""

    def __init__(self, where: Places) -> None:
        self.pid = os.getpid()
        self.where = where
        self._client = Client(where)
        self._lock = threading.Lock()
        self._session = 0
        self._taken: list[Taken] = []
        self._clock = _Clock()
        self._thread: threading.Thread | None = None
        self.failure: Problem | None = None

    def take(self, pef: pb.Pef, name: str) -> Taken:
        """Tiles for a PEF. Raises NodeError where there are none, or none in the time that the environment allows."""
        log.info("sn_create_session: PEF File: %s", name)
        affinity = os.environ.get(AFFINITY, "")
        tile_mask(affinity)
        request = rpc.OpenSessionRequest(
            pef=name,
            machine=pef.machine.name,
            placements=[rpc.Placement(tiles=sorted(tiles)) for tiles in placements(pef)],
            affinity=affinity,
        )
        for resource, count in gres(os.environ.get(GRES, "")).items():
            setattr(request, resource, count)
        opened = self._opened(request)
        taken = Taken(self, self._clock, pef, sorted(placements(pef)[0]), list(opened.used))
        with self._lock:
            self._session = opened.session_id
            self._taken.append(taken)
        if self._thread is None:
            self._thread = threading.Thread(target=self._report_on, name="node session", daemon=True)
            self._thread.start()
        return taken

    def _opened(self, request: rpc.OpenSessionRequest) -> rpc.OpenSessionResponse:
        deadline = time.monotonic() + wait_seconds()
        told = False
        while True:
            request.wait = time.monotonic() < deadline
            response: rpc.OpenSessionResponse = self._client.call("OpenSession", request)
            if response.outcome == response.GRANTED:
                return response
            if response.outcome == response.REFUSED or not request.wait:
                problems = [Problem(text, hint=response.lever or None) for text in response.error_details]
                log.error("no session: %s", "; ".join(response.error_details))
                raise NodeError(*problems)
            if not told:
                print(f"waiting: {'; '.join(response.error_details)}", file=sys.stderr)
            told = True
            time.sleep(ASK_AGAIN_SECONDS)

    def give_back(self, taken: Taken) -> None:
        """A PEF runs no more; with the last one the session closes."""
        with self._lock:
            if taken not in self._taken:
                return
            self._taken.remove(taken)
            if self._taken:
                return
            session, self._session = self._session, 0
        with suppress(NodeError):
            self._report(session)
            self._client.ask("CloseSession", rpc.CloseSessionRequest(session_id=session))
        log.info("session %d is closed", session)

    def _report_on(self) -> None:
        while self.failure is None:
            time.sleep(REPORT_SECONDS)
            if self._session:
                with suppress(NodeError):  # a daemon that starts again goes on with what it knew
                    self._report(self._session)

    def _report(self, session: int) -> None:
        total, busy = self._clock.sums()
        tiles = [rpc.TileTime(tile=tile, busy_us=times) for tile, times in sorted(busy.items())]
        response = self._client.ask(
            "ReportActivity", rpc.ActivityReport(session_id=session, total_us=total, tiles=tiles)
        )
        if response.ended:
            log.error("%s", response.ended)
            self.failure = Problem(response.ended, hint=response.lever or None)


class Taken:
    """The tiles of one PEF: own are those it was mapped onto, granted those of the node it runs on."""

    def __init__(self, lease: Lease, clock: _Clock, pef: pb.Pef, own: list[int], granted: list[int]) -> None:
        self._lease = lease
        self._clock = clock
        self._pef = pef
        self._tile = dict(zip(own, granted))
        self._times: dict[tuple[int, ...], list[SectionTime]] = {}

    @contextmanager
    def running(self, sections: Sequence[int]) -> Iterator[None]:
        """The block runs these sections. Raises NodeError where the hardware failed before."""
        if self._lease.failure is not None:
            raise NodeError(self._lease.failure)
        self._clock.device_begins()
        try:
            yield
        finally:
            self._clock.device_ends(self, tuple(sections))

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        """The block reads device memory for a checkpoint."""
        with self._clock.checkpoint([*self._tile.values()]):
            yield

    def release(self) -> None:
        """The session needs its tiles no longer."""
        self._lease.give_back(self)

    def add_times(self, sections: tuple[int, ...], runs: int, busy: dict[int, list[float]]) -> float:
        """Add what `runs` of these sections keep tiles busy with; returns their time in all, in microseconds."""
        if sections not in self._times:
            self._times[sections] = list(section_times(self._pef, sections))
        for section in self._times[sections]:
            for tile in section.tiles:
                spent = busy.setdefault(self._tile[tile], [0.0] * 5)
                for place, each in enumerate((section.exec_us, section.pload_us, section.aload_us)):
                    spent[place] += runs * each
        return runs * sum(section.total_us for section in self._times[sections])


class _Clock:
    """Time of the host outside of runs, runs of sections, and time spent on checkpoints.

    While sections run, the host stands for the RDU: that time is not the host's, but as long as the simulated one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since = time.perf_counter()
        self._running = 0
        self._host_us = 0.0
        self._checkpoint_us: defaultdict[int, float] = defaultdict(float)
        self._runs: Counter[tuple[Taken, tuple[int, ...]]] = Counter()

    def device_begins(self) -> None:
        """Host time ends, unless another thread's run has ended it already."""
        with self._lock:
            if not self._running:
                self._host_us += (time.perf_counter() - self._since) * 1e6
            self._running += 1

    def device_ends(self, taken: Taken, sections: tuple[int, ...]) -> None:
        """A run ends, and with the last one host time begins."""
        with self._lock:
            self._running -= 1
            self._since = time.perf_counter()
            self._runs[taken, sections] += 1

    @contextmanager
    def checkpoint(self, tiles: Sequence[int]) -> Iterator[None]:
        """The time of the block is these tiles' time for a checkpoint; it is host time as well as far as sums go."""
        began = time.perf_counter()
        yield
        spent = (time.perf_counter() - began) * 1e6
        with self._lock:
            for tile in tiles:
                self._checkpoint_us[tile] += spent

    def sums(self) -> tuple[float, dict[int, list[float]]]:
        """Time in all, and by tile what it was busy with, in microseconds."""
        with self._lock:
            runs, checkpoints, total = dict(self._runs), dict(self._checkpoint_us), self._host_us
            if not self._running:
                total += (time.perf_counter() - self._since) * 1e6
        busy: dict[int, list[float]] = {}
        for (taken, sections), count in runs.items():
            total += taken.add_times(sections, count, busy)
        for tile, spent in checkpoints.items():
            busy.setdefault(tile, [0.0] * 5)[CHECKPOINT] += spent
        return total, busy


_current: Lease | None = None


def lease(where: Places) -> Lease:
    """This process's lease; a new one after a fork, for another daemon, or when the hardware of the last one failed."""
    global _current
    if _current is None or _current.pid != os.getpid() or _current.where != where or _current.failure is not None:
        if not log.handlers:
            logs.log_to(log, where.application_log, "LIB", 0o666, logs.log_level())
        _current = Lease(where)
    return _current


def wait_seconds() -> float:
    """How long to wait for tiles. Raises UsageError for what is not a number of seconds."""
    given = os.environ.get(WAIT, "0")
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UsageError(
            Problem(
                f"{WAIT} is {given!r}, which is not a number of seconds", hint="give a number of seconds, such as 60"
            )
        )
    return seconds
