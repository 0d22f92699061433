"""Device memory: transfers in flight share each tier's bandwidth fairly.

Fluid processor sharing: at any moment the rates of a tier's transfers are the max-min fair division of its bandwidth,
each transfer capped by what its AGCUs and its route can move. An AGCU divides its rate equally among the transfers it
serves at the moment. Rates change only when a transfer starts or ends, so the finish times are exact.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """A transfer in flight: `remaining` bytes at time `updated`, moving at `rate` bytes per cycle."""

    client: int
    begin: float
    updated: float
    remaining: float
    rate: float
    limit: Limit
    finish: float
    spent: dict[Limit, float]

    def advance(self, now: float) -> None:
        """Account for the time until `now` at the present rate."""
        elapsed = now - self.updated
        if elapsed > 0:
            self.spent[self.limit] = self.spent.get(self.limit, 0) + elapsed
            self.remaining = max(0.0, self.remaining - elapsed * self.rate)
            self.updated = now


Rates = dict[int, tuple[float, Limit]]


@dataclass(frozen=True, slots=True)
class TrafficSample:
    """From `time` cycles on, each tier reads and writes at these rates, in bytes per cycle."""

    time: float
    read: tuple[float, ...]
    write: tuple[float, ...]


class DeviceMemory:
    """The event queue of transfers. Times are cycles; ties are resolved in the order of requests."""

    def __init__(self, clients: Sequence[Client], machine: Machine) -> None:
        self._clients = clients
        self._tiers = [machine.tier_bytes_per_cycle(tier) for tier in range(len(machine.tiers))]
        self._agcu_rate = machine.agcu_bytes_per_cycle
        self._now: float = 0
        self._pending: list[tuple[float, int, int, int]] = []
        self._requests = 0
        self._active: dict[int, Transfer] = {}
        self._allocations: dict[frozenset[int], Rates] = {}
        self._allocated: frozenset[int] = frozenset()
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
            finish = min((transfer.finish for transfer in self._active.values()), default=None)
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
            time, _, client, size = heapq.heappop(self._pending)
            self._active[client] = Transfer(client, time, self._now, size, 0, Limit.DRAM, self._now, {})

    def _end_due(self) -> list[tuple[Transfer, float]]:
        done = [transfer for transfer in self._active.values() if transfer.finish <= self._now]
        for transfer in done:
            transfer.advance(self._now)
            del self._active[transfer.client]
        return [(transfer, self._now) for transfer in done]

    def _reallocate(self) -> None:
        """Give every transfer its rate; one whose rate stays keeps its finish time to the last bit."""
        active = frozenset(self._active)
        rates = self._allocations.get(active)
        if rates is None:
            rates = self._allocations[active] = self._divide(sorted(active))
        for client, transfer in self._active.items():
            rate, limit = rates[client]
            if rate == transfer.rate and limit is transfer.limit:
                continue
            transfer.advance(self._now)
            transfer.rate, transfer.limit = rate, limit
            transfer.finish = self._now + transfer.remaining / rate
        if active != self._allocated:
            self._allocated = active
            self._sample(rates)

    def _divide(self, active: Sequence[int]) -> Rates:
        """The rates of the clients `active`: per tier, equal shares, what a capped one leaves going to the others."""
        users = Counter(agcu for client in active for agcu in self._clients[client].agcus)
        caps = {client: self._cap(self._clients[client], users) for client in active}
        rates: Rates = {}
        for tier, bandwidth in enumerate(self._tiers):
            waiting = sorted((c for c in active if self._clients[c].tier == tier), key=lambda c: (caps[c][0], c))
            for position, client in enumerate(waiting):
                share = bandwidth / (len(waiting) - position)
                if caps[client][0] > share:
                    rates.update((other, (share, Limit.DRAM)) for other in waiting[position:])
                    break
                rates[client] = caps[client]
                bandwidth -= caps[client][0]
        return rates

    def _cap(self, client: Client, users: Mapping[int, int]) -> tuple[float, Limit]:
        """The most a client could move if its memory tier were free."""
        agcus = sum(self._agcu_rate / users[agcu] for agcu in client.agcus)
        if client.route_bytes_per_cycle < agcus:
            return client.route_bytes_per_cycle, client.route_limit
        return agcus, Limit.AGCU

    def _sample(self, rates: Rates) -> None:
        flow = {False: [0.0] * len(self._tiers), True: [0.0] * len(self._tiers)}
        for client, (rate, _) in rates.items():
            flow[self._clients[client].store][self._clients[client].tier] += rate
        self.samples.append(TrafficSample(self._now, tuple(flow[False]), tuple(flow[True])))
