"""One operator through the real backend: simulated cycles equal what docs/timing.md says, computed here once more.

The PEF gives parallelism, tiles, rings, routes; the formulas and the recurrence below are written from the document
alone. Memory and AGCUs are made fast enough never to be shared at a cost, so that transfers take what their links and
ports take.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ir.op import OPS
from pef import pef_pb2 as pb
from pef.codec import decode_machine
from pef.decoded import Configuration
from pef.nest import Nest, freed_by, needed
from runtime.timing import simulate
from tests.honesty.subjects import compile_function, machine_file

LANES, STAGES, PORT, LINK, WIDTH, TAIL, FLOAT = 32, 6, 64, 128, 2, 4, 4
GEMMS = [(64, 32, 12), (100, 48, 40), (512, 256, 192), (2048, 32, 6), (1000, 1, 50)]
VECTORS = {
    "add": (torch.add, ((512, 64), (512, 64))),
    "tanh": (torch.tanh, ((2048, 64),)),
    "sum": (lambda x: x.sum(1), ((512, 64),)),
    "softmax": (lambda x: x.softmax(1), ((512, 64),)),
}


@pytest.fixture(scope="module")
def fast_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return machine_file(tmp_path_factory.mktemp("machines"), bandwidth_bytes_per_s="1e18", agcu_bytes_per_cycle=1 << 24)


@dataclass
class Single:
    """A configuration of one phase with one stage."""

    pef: pb.Pef

    def __post_init__(self) -> None:
        assert len(self.pef.sections) == 1
        self.configuration = self.pef.configurations[0]
        (self.phase,) = self.configuration.phases
        (self.stage,) = self.phase.stages
        self.decoded = Configuration.of(self.configuration, decode_machine(self.pef.machine), "configuration 0")
        self.nest = Nest(tuple(self.phase.loops))
        self.tiles = self.decoded.phases[0].stages[0].events
        self.operation = self.stage.operations[-1]
        self.cost = OPS[self.operation.op]
        self.links: dict[int, Counter[tuple[int, int]]] = defaultdict(Counter)
        for net in self.configuration.nets:
            events = self.tiles if net.WhichOneof("owner") == "stage" else self.transfers(net.stream)
            if events:
                self.links[events].update(dict.fromkeys(_links(net), net.bytes))

    def transfers(self, number: int) -> int:
        """How often a stream moves something while the stage fires; 0 where it moves everything at once."""
        stream = self.phase.streams[number]
        if all(axis < 0 for axis in stream.axes):
            return 0
        buffer = self.configuration.buffers[stream.buffer]
        counts = [count for axis, count in zip(stream.axes, self.phase.loops) if axis >= 0]
        if not stream.store and buffer.depth == math.prod(counts):
            return math.prod(counts)
        level = max(loop + 1 for loop, axis in enumerate(stream.axes) if axis >= 0)
        return math.prod(self.phase.loops[:level])

    def nets(self, kind: int, owner: int, port: int = 0) -> list[pb.Net]:
        """The nets of a port or stream."""
        return [
            net
            for net in self.configuration.nets
            if net.kind == kind
            and (net.stage if net.WhichOneof("owner") == "stage" else net.stream) == owner
            and net.port == port
        ]

    def hops(self, nets: list[pb.Net]) -> int:
        """Links from source to farthest sink, over all nets."""
        return max(self._depth(net, sink) for net in nets for sink in net.sinks)

    def _depth(self, net: pb.Net, sink: pb.Terminal) -> int:
        before = {end: start for start, end in _links(net)}
        at, depth = self._site(sink), 0
        while at != self._site(net.source):
            at, depth = before[at], depth + 1
        return depth

    def _site(self, end: pb.Terminal) -> int:
        if end.WhichOneof("at") == "agcu":
            return self.pef.machine.agcu_sites[end.agcu]
        return self.configuration.units[end.unit].site

    # -- what a tile asks for

    def tile(self, value: int) -> list[int]:
        return list(self.stage.values[value].type.shape)

    def bytes_of(self, value: int) -> int:
        return FLOAT * math.prod(self.tile(value))

    @property
    def is_product(self) -> bool:
        return self.operation.op == "matmul"

    def compute(self) -> int:
        rows, columns = self.stage.row_parallel, self.stage.column_parallel
        lanes = self.stage.batch_parallel * rows * columns
        operands = [self.tile(value) for value in self.operation.operands]
        if self.is_product:
            (m, k), (_, n) = operands
            return math.ceil(m / (LANES * rows)) * math.ceil(n / (STAGES * columns)) * k * WIDTH
        results = [self.tile(value) for value in self.operation.results]
        elements = max(map(math.prod, [*operands, *results]))
        tail = TAIL if self.declared.tail else 1
        return self.declared.passes * tail * WIDTH * math.ceil(elements / (LANES * lanes))

    @property
    def declared(self):  # type: ignore[no-untyped-def]
        return self.cost.cost

    def sent(self, port: pb.Port) -> int:
        """Bytes a buffer sends per tile, repetitions included."""
        size = self.bytes_of(port.value)
        if not self.is_product:
            return size * self.declared.passes
        (m, _), (_, n) = (self.tile(value) for value in self.operation.operands)
        if port.value == self.operation.operands[0]:
            return size * math.ceil(n / (STAGES * self.stage.column_parallel))
        return size * math.ceil(m / (LANES * self.stage.row_parallel))

    def units(self, buffer: int) -> list[int]:
        return list(self.configuration.buffers[buffer].units)

    def moved(self, stream: pb.Stream) -> int:
        """Bytes of one transfer."""
        size = FLOAT * math.prod(self.configuration.buffers[stream.buffer].type.shape)
        return size // math.prod(count for axis, count in zip(stream.axes, self.phase.loops) if axis >= 0)

    def loads_of_ports(self, events: int) -> tuple[dict[int, float], dict[int, float]]:
        """Bytes read from and written to every PMU, as a user with so many events sees them at each."""
        read, written = defaultdict[int, float](float), defaultdict[int, float](float)

        def spread(table: dict[int, float], buffer: int, size: int, others: int) -> None:
            for unit in self.units(buffer):
                table[unit] += size * min(1, others / events) / len(self.units(buffer))

        for port in self.stage.inputs:
            spread(read, port.buffer, self.sent(port), self.tiles)
        for port in self.stage.outputs:
            spread(written, port.buffer, self.bytes_of(port.value), self.tiles)
        for number, stream in enumerate(self.phase.streams):
            if self.transfers(number):
                spread(read if stream.store else written, stream.buffer, self.moved(stream), self.transfers(number))
        return read, written

    def port_cycles(self, buffer: int, size: int, events: int, write: bool) -> int:
        load, ports = (self.loads_of_ports(events)[1], 1) if write else (self.loads_of_ports(events)[0], 2)
        busiest = max(load[unit] for unit in self.units(buffer))
        own = math.ceil(size / (len(self.units(buffer)) * PORT))
        return max(own, math.ceil(round(busiest / (ports * PORT), 9)))

    def link_cycles(self, nets: list[pb.Net], events: int) -> int:
        seen: Counter[tuple[int, int]] = Counter()
        for others, links in self.links.items():
            seen.update({link: size * min(events, others) for link, size in links.items()})
        return max((-(-seen[link] // (LINK * events)) for net in nets for link in _links(net)), default=0)

    def interval(self) -> int:
        """Cycles between firings: the longest of compute, ports and links."""
        ports = [self.port_cycles(port.buffer, self.sent(port), self.tiles, write=False) for port in self.stage.inputs]
        outputs = self.stage.outputs
        ports += [self.port_cycles(port.buffer, self.bytes_of(port.value), self.tiles, write=True) for port in outputs]
        kinds = (pb.Net.READ, pb.Net.WRITE, pb.Net.CHAIN)
        own = [net for net in self.configuration.nets if net.kind in kinds]
        return max(self.compute(), *ports, self.link_cycles(own, self.tiles))

    def fill(self) -> int:
        if self.is_product:
            return LANES + STAGES
        chain = self.stage.chain
        reduces = self.declared.passes > 1 or self.declared.kind.name == "REDUCE"
        units = list(self.stage.units)
        lanes = [units[i : i + chain] for i in range(0, len(units), chain)]
        along = {net.source.unit: self.hops([net]) for net in self.configuration.nets if net.kind == pb.Net.CHAIN}
        longest = max(sum(along.get(unit, 0) for unit in lane) for lane in lanes)
        return STAGES * chain + (math.ceil(math.log2(LANES)) if reduces else 0) + longest

    def transfer(self, number: int) -> int:
        """Cycles of one transfer of a stream: what its links and ports need."""
        stream = self.phase.streams[number]
        nets = self.nets(pb.Net.STORE if stream.store else pb.Net.LOAD, number)
        if events := self.transfers(number):
            ports = self.port_cycles(stream.buffer, self.moved(stream), events, not stream.store)
            return max(1, self.link_cycles(nets, events), ports)
        own: Counter[tuple[int, int]] = Counter()
        for net in nets:
            own.update(dict.fromkeys(_links(net), net.bytes))
        links = max((math.ceil(size / LINK) for size in own.values()), default=0)
        return max(1, links, math.ceil(self.moved(stream) / (len(self.units(stream.buffer)) * PORT)))

    def loading_begins(self, number: int) -> int:
        """When the first transfer of a load may begin: streamed loads follow the whole ones of their phase."""
        loads = [i for i, stream in enumerate(self.phase.streams) if not stream.store]
        if number not in loads or not self.transfers(number):
            return 0
        return max((self.transfer(i) for i in loads if not self.transfers(i)), default=0)

    # -- the document's recurrence, by plain iteration

    def execution(self) -> float:
        interval, fill = self.interval(), self.fill()
        ends = {i: [0.0] * (self.transfers(i) or 1) for i in range(len(self.phase.streams))}
        takes = {i: self.transfer(i) for i in ends}
        begins = {i: float(self.loading_begins(i)) for i in ends}
        fired = [0.0] * self.tiles
        waits = self.waits(interval, fill)
        while True:
            before = list(fired), {i: list(times) for i, times in ends.items()}
            for event in range(self.tiles):
                own = fired[event - 1] + interval if event else 0.0
                fired[event] = max([own, *(ends[i][e[event]] + way for s, i, e, way in waits if s and e[event] >= 0)])
            for number, times in ends.items():
                for event in range(len(times)):
                    begin = times[event - 1] if event else begins[number]
                    held = [fired[e[event]] + way for s, i, e, way in waits if (s, i) == (0, number) and e[event] >= 0]
                    times[event] = max([begin, *held]) + takes[number]
            if before == (fired, ends):
                break
        delivered = fired[-1] + interval + fill + self.hops(self.nets(pb.Net.WRITE, 0, 0))
        return max(delivered, *(times[-1] for times in ends.values()))

    def waits(self, interval: int, fill: int) -> list[tuple[int, int, list[int], int]]:
        """(side, stream, events, way): -1 the stage waits for a load, 1 for a store; 0 the stream for the stage."""
        found = []
        configuration = self.decoded
        for read in configuration.reads:
            (write,) = configuration.writers[read.buffer]
            writer, reader = configuration.writer(write), configuration.reader(read)
            wanted = [needed(writer, reader, event) for event in range(reader.events)]
            depth = configuration.buffers[read.buffer].depth
            freed = [freed_by(writer, reader, depth, event) for event in range(writer.events)]
            if write.by_stream:
                number, port = write.actor[1], int(read.where.rpartition(" ")[2])
                way = self.hops(self.nets(pb.Net.LOAD, number)) + self.hops(self.nets(pb.Net.READ, 0, port))
                found += [(-1, number, wanted, way), (0, number, freed, interval)]
            else:
                number = read.actor[1]
                way = self.hops(self.nets(pb.Net.WRITE, 0, 0)) + self.hops(self.nets(pb.Net.STORE, number))
                found += [(0, number, wanted, interval + fill + way), (1, number, freed, 0)]
        return found

    def closed_forms(self) -> tuple[float, float]:
        """Between what the slowest server and what the slowest server or ring allow: equal where no ring is slower.

        First tile: operands loaded, one interval, fill, stored; then one period for each further tile.
        """
        interval, fill, (output,) = self.interval(), self.fill(), self.stage.outputs
        loads = {s.buffer: (i, s) for i, s in enumerate(self.phase.streams) if not s.store}
        ((store_number, store),) = [(i, s) for i, s in enumerate(self.phase.streams) if s.store]
        drain = self.transfer(store_number)
        write, leave = self.hops(self.nets(pb.Net.WRITE, 0, 0)), self.hops(self.nets(pb.Net.STORE, store_number))
        after = interval + fill + write + leave + drain
        further, arrivals, least, periods = self.tiles - 1, [], [], [interval]
        for number, port in enumerate(self.stage.inputs):
            index, stream = loads[port.buffer]
            transfer, depth = self.transfer(index), self.configuration.buffers[port.buffer].depth
            way = self.hops(self.nets(pb.Net.LOAD, index)) + self.hops(self.nets(pb.Net.READ, 0, number))
            arrivals.append(self.loading_begins(index) + transfer + way)
            if any(axis >= 0 for axis in stream.axes):
                least.append(arrivals[-1] + further * transfer + after)
                periods += [transfer, (transfer + way + interval) / depth if depth < self.tiles else 0]
        least.append(max(arrivals) + further * interval + after)
        if any(axis >= 0 for axis in store.axes):
            depth = self.configuration.buffers[output.buffer].depth
            least.append(max(arrivals) + further * drain + after)
            periods += [drain, after / depth if depth < self.tiles else 0]
        return max(least), max(arrivals) + further * max(periods) + after


def _links(net: pb.Net) -> set[tuple[int, int]]:
    return set(zip(net.route[0::2], net.route[1::2]))


def assert_equals_the_document(pef: pb.Pef) -> Single:
    single = Single(pef)
    execution = simulate(pef).sections[0].execution
    (stage,) = execution.phases[0].stages
    assert (stage.compute_cycles, stage.interval_cycles) == (single.compute(), single.interval())
    assert execution.cycles == pytest.approx(single.execution(), abs=1e-6)
    if len(single.phase.loops) > 1:
        return single
    least, most = single.closed_forms()
    assert least - 1e-6 <= execution.cycles <= most + 1e-6
    if single.tiles == 1:
        assert least == pytest.approx(most)
    return single


@pytest.mark.parametrize("m, k, n", GEMMS)
def test_gemm(fast_memory: Path, m: int, k: int, n: int) -> None:
    pef = compile_function(torch.matmul, (m, k), (k, n), machine=fast_memory, fuse=False)
    single = assert_equals_the_document(pef)
    assert math.prod(single.configuration.buffers[0].type.shape) == m * k


@pytest.mark.full
@pytest.mark.parametrize("m", [1, 32, 33, 256, 1000])
@pytest.mark.parametrize("k", [1, 96])
@pytest.mark.parametrize("n", [1, 6, 50, 384])
def test_grid_of_gemms(fast_memory: Path, m: int, k: int, n: int) -> None:
    assert_equals_the_document(compile_function(torch.matmul, (m, k), (k, n), machine=fast_memory, fuse=False))


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_vector_operators(fast_memory: Path, name: str) -> None:
    function, shapes = VECTORS[name]
    single = assert_equals_the_document(compile_function(function, *shapes, machine=fast_memory, fuse=False))
    assert single.operation.op == name
