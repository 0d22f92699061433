"""The on-chip network: how long a net's tree is, and how busy its links are.

A net's latency is the depth of its tree, from the source's switch to the farthest sink's, times `hop_cycles`. In
steady state a link carries, per tile, the bytes of every net of the phase that crosses it, so no net that uses the
link can deliver a tile in fewer cycles than that sum over `link_bytes_per_cycle`. Nets of whole transfers carry
nothing in steady state; they bound only their own transfer.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.machine import Machine


class Channel(NamedTuple):
    """What a group of nets serves: one port of a stage, a stage's chains, or a stream. `port` is 0 for the latter."""

    phase: int
    owner: str
    position: int
    kind: int
    port: int


@dataclass(slots=True)
class _Group:
    """The nets of one channel: tree depths and the bytes on each link, by link number."""

    depths: dict[int, int] = field(default_factory=dict)
    links: dict[int, int] = field(default_factory=lambda: defaultdict(int))


class Network:
    """Latency and steady-state cycles of every channel of a configuration."""

    def __init__(self, configuration: pb.Configuration, machine: Machine) -> None:
        self._machine = machine
        self._sites = [unit.site for unit in configuration.units]
        self._groups: dict[Channel, _Group] = defaultdict(_Group)
        self._load: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        whole = _whole_streams(configuration)
        for net in configuration.nets:
            self._add(net, steady=not (net.WhichOneof("owner") == "stream" and (net.phase, net.stream) in whole))

    def has(self, channel: Channel) -> bool:
        """Whether any net serves the channel."""
        return channel in self._groups

    def hop_cycles(self, channel: Channel) -> int:
        """Cycles from source to farthest sink over the channel's nets."""
        return max(self._groups[channel].depths.values(), default=0) * self._machine.hop_cycles

    def chain_cycles(self, phase: int, stage: int, units: Iterable[int], chain: int) -> int:
        """Cycles that a stage's results spend between the PCUs of the longest of its chains.

        `units` are the stage's PCUs, chain by chain; a net counts for the chain that its source belongs to.
        """
        channel = Channel(phase, "stage", stage, pb.Net.CHAIN, 0)
        if not self.has(channel):
            return 0
        lane = {unit: position // chain for position, unit in enumerate(units)}
        total: dict[int, int] = defaultdict(int)
        for unit, depth in self._groups[channel].depths.items():
            total[lane.get(unit, 0)] += depth
        return max(total.values()) * self._machine.hop_cycles

    def tile_cycles(self, channel: Channel) -> int:
        """Cycles per tile that the busiest link of the channel's nets needs for all its traffic of the phase."""
        load = self._load[channel.phase]
        return self._cycles(max((load[link] for link in self._groups[channel].links), default=0))

    def transfer_cycles(self, channel: Channel) -> int:
        """Cycles that a whole transfer needs on the busiest of its own links, with nothing else on them."""
        return self._cycles(max(self._groups[channel].links.values(), default=0))

    def _cycles(self, link_bytes: int) -> int:
        return -(-link_bytes // self._machine.link_bytes_per_cycle)

    def _add(self, net: pb.Net, steady: bool) -> None:
        owner = net.WhichOneof("owner") or "stage"
        port = net.port if net.kind in (pb.Net.READ, pb.Net.WRITE) else 0
        group = self._groups[Channel(net.phase, owner, getattr(net, owner), net.kind, port)]
        source = net.source.unit if net.source.WhichOneof("at") == "unit" else -1 - net.source.agcu
        group.depths[source] = max(group.depths.get(source, 0), self._depth(net))
        load = self._load[net.phase]
        route = net.route
        for link in {a * self._machine.sites + b for a, b in zip(route[0::2], route[1::2])}:
            group.links[link] += net.bytes
            if steady:
                load[link] += net.bytes

    def _switch(self, terminal: pb.Terminal) -> int:
        """The switch a terminal is attached to."""
        if terminal.WhichOneof("at") == "agcu":
            return self._machine.agcu_sites[terminal.agcu]
        return self._sites[terminal.unit]

    def _depth(self, net: pb.Net) -> int:
        """Links between the source and its farthest sink. Raises IllegalPefError where the route misses a sink."""
        forward: dict[int, list[int]] = defaultdict(list)
        for a, b in zip(net.route[0::2], net.route[1::2]):
            forward[a].append(b)
        start = self._switch(net.source)
        depth = {start: 0}
        queue = deque([start])
        while queue:
            switch = queue.popleft()
            for following in forward[switch]:
                if following not in depth:
                    depth[following] = depth[switch] + 1
                    queue.append(following)
        sinks = [self._switch(sink) for sink in net.sinks]
        missed = [sink for sink in sinks if sink not in depth]
        if missed:
            raise IllegalPefError(f"a net from site {start} has no route to site {missed[0]}")
        return max((depth[sink] for sink in sinks), default=0)


def _whole_streams(configuration: pb.Configuration) -> set[tuple[int, int]]:
    """(phase, stream) of every transfer that moves a whole tensor at once."""
    return {
        (p, s)
        for p, phase in enumerate(configuration.phases)
        for s, stream in enumerate(phase.streams)
        if stream.axis < 0
    }
