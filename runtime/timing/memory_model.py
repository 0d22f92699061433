"""Device memory: transfers in flight share each tier's bandwidth fairly.

Fluid processor sharing: at any moment the rates of a tier's transfers are the max-min fair division of its bandwidth,
each transfer capped by what its AGCUs and its route can move. An AGCU divides its rate equally among the transfers it
serves at the moment. Rates change only when a transfer starts or ends, so the finish times are exact.

Transfers that get the equal share all progress alike, so one number per tier stands for all of them: `served`, the
bytes each has had since time began. Such a transfer ends when `served` reaches its target, whatever the share does.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from pef.machine import Machine


class Limit(Enum):
    """What sets the rate of a transfer at some moment."""

    DRAM = "dram"
    AGCU = "agcu"
    NETWORK = "network"
    PORT = "port"


@dataclass(frozen=True, slots=True)
class Client:
    """A stream as device memory sees it; it has at most one transfer in flight.

    route_bytes_per_cycle: the most its nets and the ports of its buffer let through, and `route_limit` which of them.
    """

    tier: int
    store: bool
    agcus: tuple[int, ...]
    route_bytes_per_cycle: float
    route_limit: Limit


@dataclass(slots=True)
class Transfer:
    """A transfer in flight, requested for time `begin`.

    limit: what sets its rate since `since`; DRAM means the tier's equal share, and `target` is the `served` at which
    it ends; otherwise it had `remaining` bytes then, moves at `rate` and ends at `finish`. cap: the most its AGCUs
    and route let through at the moment, and which of them. spent: cycles so far by limit.
    """

    client: int
    store: bool
    begin: float
    since: float
    remaining: float
    rate: float = 0
    finish: float = 0
    target: float = 0
    limit: Limit | None = None
    cap: tuple[float, Limit] = (0, Limit.AGCU)
    spent: dict[Limit, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrafficSample:
    """From `time` cycles on, each tier reads and writes at these rates, in bytes per cycle."""

    time: float
    read: tuple[float, ...]
    write: tuple[float, ...]


class _Tier:
    """The transfers of one memory tier, in order of their caps, and those among them that are slower than the share."""

    def __init__(self, bandwidth: float) -> None:
        self.bandwidth = bandwidth
        self.share = bandwidth
        self.served: float = 0
        self.updated: float = 0
        self.transfers: dict[int, Transfer] = {}
        self.capped: dict[int, Transfer] = {}
        self._by_cap: list[tuple[float, int]] = []
        self._targets: list[tuple[float, int]] = []
        self._sharers = {False: 0, True: 0}

    def add(self, transfer: Transfer) -> None:
        """Take on a transfer; `divide` gives it a rate."""
        self.transfers[transfer.client] = transfer
        insort(self._by_cap, (transfer.cap[0], transfer.client))

    def recap(self, client: int, cap: tuple[float, Limit]) -> None:
        """Change what a transfer's AGCUs and route let through."""
        transfer = self.transfers[client]
        if cap[0] != transfer.cap[0]:
            del self._by_cap[bisect_left(self._by_cap, (transfer.cap[0], client))]
            insort(self._by_cap, (cap[0], client))
        transfer.cap = cap

    def divide(self, now: float) -> None:
        """Water-filling: those whose cap is below the equal share of what is left get it, the others share the rest."""
        self.served += (now - self.updated) * self.share
        self.updated = now
        left, share, slow = self.bandwidth, self.bandwidth, set()
        for position, (cap, client) in enumerate(self._by_cap):
            share = left / (len(self._by_cap) - position)
            if cap > share:
                break
            slow.add(client)
            left -= cap
            self._set_capped(self.transfers[client], now)
        for client in [client for client in self.capped if client not in slow]:
            self._set_sharing(self.capped[client], now)
        if len(slow) + sum(self._sharers.values()) < len(self.transfers):
            for transfer in [t for t in self.transfers.values() if t.limit is None]:
                self._set_sharing(transfer, now)
        self.share = share

    def _set_capped(self, transfer: Transfer, now: float) -> None:
        rate, limit = transfer.cap
        if transfer.rate == rate and transfer.limit is limit:
            return
        self._account(transfer, now)
        transfer.rate, transfer.limit = rate, limit
        transfer.finish = now + transfer.remaining / rate
        self.capped[transfer.client] = transfer

    def _set_sharing(self, transfer: Transfer, now: float) -> None:
        self._account(transfer, now)
        self.capped.pop(transfer.client, None)
        transfer.rate, transfer.limit = 0, Limit.DRAM
        transfer.target = self.served + transfer.remaining
        self._sharers[transfer.store] += 1
        heapq.heappush(self._targets, (transfer.target, transfer.client))

    def _account(self, transfer: Transfer, now: float) -> None:
        """Close the span at the present limit: what it took, and what remains."""
        if transfer.limit is None:
            return
        elapsed = now - transfer.since
        transfer.spent[transfer.limit] = transfer.spent.get(transfer.limit, 0) + elapsed
        if transfer.limit is Limit.DRAM:
            transfer.remaining = max(0.0, transfer.target - self.served)
            self._sharers[transfer.store] -= 1
        else:
            transfer.remaining = max(0.0, transfer.remaining - elapsed * transfer.rate)
        transfer.since = now

    def next_finish(self) -> float | None:
        """When the first transfer ends if nothing else happens."""
        times = [transfer.finish for transfer in self.capped.values()]
        while self._targets and self._is_stale(*self._targets[0]):
            heapq.heappop(self._targets)
        if self._targets:
            times.append(self.updated + max(0.0, self._targets[0][0] - self.served) / self.share)
        return min(times, default=None)

    def _is_stale(self, target: float, client: int) -> bool:
        transfer = self.transfers.get(client)
        return transfer is None or transfer.limit is not Limit.DRAM or transfer.target != target

    def end_due(self, now: float) -> list[Transfer]:
        """Remove and return the transfers that end at `now`, the result of `next_finish`."""
        done = [transfer for transfer in self.capped.values() if transfer.finish <= now]
        if self._targets and self.updated + max(0.0, self._targets[0][0] - self.served) / self.share <= now:
            self.served, self.updated = max(self.served, self._targets[0][0]), now
            while self._targets and self._targets[0][0] <= self.served:
                target, client = heapq.heappop(self._targets)
                if not self._is_stale(target, client):
                    done.append(self.transfers.pop(client))
        for transfer in done:
            self._account(transfer, now)
            self.transfers.pop(transfer.client, None)
            self.capped.pop(transfer.client, None)
            del self._by_cap[bisect_left(self._by_cap, (transfer.cap[0], transfer.client))]
        return done

    def flow(self, store: bool) -> float:
        """Bytes per cycle being written, or read."""
        return self._sharers[store] * self.share + sum(t.rate for t in self.capped.values() if t.store is store)


class DeviceMemory:
    """The event queue of transfers. Times are cycles; ties are resolved in the order of requests."""

    def __init__(self, clients: Sequence[Client], machine: Machine) -> None:
        self._clients = clients
        self._tiers = [_Tier(machine.tier_bytes_per_cycle(tier)) for tier in range(len(machine.tiers))]
        self._agcu_rate = machine.agcu_bytes_per_cycle
        self._now: float = 0
        self._pending: list[tuple[float, int, int, int]] = []
        self._requests = 0
        self._users: dict[int, dict[int, None]] = defaultdict(dict)
        self._changed: dict[int, None] = {}
        self.samples: list[TrafficSample] = []

    def request(self, client: int, time: float, size_bytes: int) -> None:
        """Ask for a transfer of `size_bytes` to start at `time`, which must not lie in the past."""
        heapq.heappush(self._pending, (time, self._requests, client, size_bytes))
        self._requests += 1

    def step(self) -> list[tuple[Transfer, float]]:
        """Advance to the next instant at which transfers end; they are returned with that time. Empty when idle."""
        while True:
            self._begin_due()
            self._reallocate()
            finish = min((time for tier in self._tiers if (time := tier.next_finish()) is not None), default=None)
            begin = self._pending[0][0] if self._pending else None
            if begin is not None and (finish is None or begin < finish):
                self._now = begin
            elif finish is not None:
                self._now = finish
                return self._end_due()
            else:
                return []

    def _begin_due(self) -> None:
        while self._pending and self._pending[0][0] <= self._now:
            time, _, number, size = heapq.heappop(self._pending)
            client = self._clients[number]
            self._tiers[client.tier].add(Transfer(number, client.store, time, self._now, size))
            for agcu in client.agcus:
                self._users[agcu][number] = None
                self._changed[agcu] = None

    def _end_due(self) -> list[tuple[Transfer, float]]:
        done = [transfer for tier in self._tiers for transfer in tier.end_due(self._now)]
        for transfer in done:
            for agcu in self._clients[transfer.client].agcus:
                del self._users[agcu][transfer.client]
                self._changed[agcu] = None
        return [(transfer, self._now) for transfer in done]

    def _reallocate(self) -> None:
        """New caps for the users of AGCUs that were taken or left, then new rates."""
        if not self._changed:
            return
        for number in dict.fromkeys(client for agcu in self._changed for client in self._users[agcu]):
            self._tiers[self._clients[number].tier].recap(number, self._cap(self._clients[number]))
        self._changed.clear()
        for tier in self._tiers:
            tier.divide(self._now)
        self._sample()

    def _cap(self, client: Client) -> tuple[float, Limit]:
        """The most a client could move if its memory tier were free."""
        agcus = sum(self._agcu_rate / len(self._users[agcu]) for agcu in client.agcus)
        if client.route_bytes_per_cycle < agcus:
            return client.route_bytes_per_cycle, client.route_limit
        return agcus, Limit.AGCU

    def _sample(self) -> None:
        """Note the traffic from now on, where it differs from before."""
        read, write = (tuple(tier.flow(store) for tier in self._tiers) for store in (False, True))
        if not self.samples or (read, write) != (self.samples[-1].read, self.samples[-1].write):
            self.samples.append(TrafficSample(self._now, read, write))
