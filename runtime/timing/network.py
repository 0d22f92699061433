"""The on-chip network: how long a net's tree is, and how busy its links are.

A net's latency is the depth of its tree, from the source's switch to the farthest sink's, times `hop_cycles`. Of the
nets of a phase that cross a link, each carries its bytes once per firing of its stage or transfer of its stream. So
between two firings of one that fires E times, another that fires F times sends on average F / E of what it sends at
once, and where it is slower it may be sending while others wait, but no more than once: a user counts the others'
bytes times min(1, F / E), its own included, and can deliver in no fewer cycles than that sum over
`link_bytes_per_cycle`. Nets of whole transfers carry nothing in steady state; they bound only their own transfer.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.decoded import Configuration


class Channel(NamedTuple):
    """What a group of nets serves: one port of a stage, a stage's chains, or a stream. `port` is 0 for the latter."""

    phase: int
    owner: str
    position: int
    kind: int
    port: int


@dataclass(slots=True)
class _Group:
    """The nets of one channel: tree depths and the bytes on each link, by link number; `events` is how often they
    carry them, 0 for a whole transfer."""

    events: int
    depths: dict[int, int] = field(default_factory=dict)
    links: dict[int, int] = field(default_factory=lambda: defaultdict(int))


class Network:
    """Latency and steady-state cycles of every channel of a configuration."""

    def __init__(self, configuration: Configuration) -> None:
        self._machine = configuration.machine
        self._sites = configuration.sites
        self._groups: dict[Channel, _Group] = {}
        self._sent: dict[int, dict[int, dict[int, int]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
        self._loads: dict[tuple[int, int], dict[int, int]] = {}
        for net in configuration.record.nets:
            self._add(configuration, net)

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

    def event_cycles(self, channel: Channel) -> int:
        """Cycles per event that the busiest link of the channel's nets needs, for the others that use it as well."""
        group = self._groups[channel]
        load = self._load(channel.phase, group.events)
        return self._cycles(max((load[link] for link in group.links), default=0), group.events)

    def transfer_cycles(self, channel: Channel) -> int:
        """Cycles that a whole transfer needs on the busiest of its own links, with nothing else on them."""
        return self._cycles(max(self._groups[channel].links.values(), default=0))

    def _cycles(self, link_bytes: int, events: int = 1) -> int:
        return -(-link_bytes // (self._machine.link_bytes_per_cycle * events))

    def _load(self, phase: int, events: int) -> dict[int, int]:
        """Bytes on each link of a phase, `events` times what a user with so many events sees at each of them."""
        if (phase, events) not in self._loads:
            load: dict[int, int] = defaultdict(int)
            for others, links in self._sent[phase].items():
                for link, size in links.items():
                    load[link] += size * min(events, others)
            self._loads[phase, events] = load
        return self._loads[phase, events]

    def _add(self, configuration: Configuration, net: pb.Net) -> None:
        owner = net.WhichOneof("owner") or "stage"
        port = net.port if net.kind in (pb.Net.READ, pb.Net.WRITE) else 0
        channel = Channel(net.phase, owner, getattr(net, owner), net.kind, port)
        group = self._groups.get(channel)
        if group is None:
            group = self._groups[channel] = _Group(_events(configuration, channel))
        source = net.source.unit if net.source.WhichOneof("at") == "unit" else -1 - net.source.agcu
        group.depths[source] = max(group.depths.get(source, 0), self._depth(net))
        sent = self._sent[net.phase][group.events] if group.events else None
        route = net.route
        for link in {a * self._machine.sites + b for a, b in zip(route[0::2], route[1::2])}:
            group.links[link] += net.bytes
            if sent is not None:
                sent[link] += net.bytes

    def _switch(self, terminal: pb.Terminal) -> int:
        """The switch a terminal is attached to."""
        if terminal.WhichOneof("at") == "agcu":
            return self._machine.agcu_sites[terminal.agcu]
        return self._sites[terminal.unit]

    def _depth(self, net: pb.Net) -> int:
        """Links between the source and its farthest sink. Raises IllegalPefError where the route misses a sink."""
        route = net.route
        forward: dict[int, list[int]] = defaultdict(list)
        for a, b in zip(route[0::2], route[1::2]):
            forward[a].append(b)
        start = self._switch(net.source)
        depth = {start: 0}
        queue = deque([start])
        while queue:
            switch = queue.popleft()
            for following in forward.get(switch, ()):
                if following not in depth:
                    depth[following] = depth[switch] + 1
                    queue.append(following)
        sinks = [self._switch(sink) for sink in net.sinks]
        missed = [sink for sink in sinks if sink not in depth]
        if missed:
            raise IllegalPefError(f"a net from site {start} has no route to site {missed[0]}")
        return max((depth[sink] for sink in sinks), default=0)


def _events(configuration: Configuration, channel: Channel) -> int:
    """How often a channel's nets carry their bytes in one run of the phase; 0 for a whole transfer."""
    phase = configuration.phases[channel.phase]
    if channel.owner == "stage":
        return phase.stages[channel.position].events
    stream = phase.streams[channel.position]
    return 0 if stream.is_whole else configuration.transfers(channel.phase, stream)
