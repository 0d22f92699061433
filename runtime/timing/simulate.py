"""Simulated time of a PEF: each configuration once, then the sections one after another.

A section costs launch, program load and argument load, then its execution. The program is not loaded again when the
section before it, in the sequence asked for, used the same configuration.
"""

from __future__ import annotations

from collections.abc import Sequence

from ir.errors import IllegalPefError, Problem, UsageError
from ir.location import Location
from pef import pef_pb2 as pb
from pef.codec import decode_machine
from pef.exchange import ONE, Replicas
from pef.machine import Machine, SiteKind
from runtime.timing.accounts import critical_path, stage_time
from runtime.timing.actors import Actor, StageActor, StreamActor
from runtime.timing.memory_model import DeviceMemory, Limit
from runtime.timing.pipeline import PhaseActors, Pipeline
from runtime.timing.report import Execution, PhaseReport, Report, SectionReport, StageReport, StreamReport, Units
from runtime.timing.simulation import run


def simulate(pef: pb.Pef, sections: Sequence[int] | None = None, replicas: Replicas = ONE) -> Report:
    """Simulate the sections with these indices, in this order; all of them by default. `replicas` work in parallel.

    Raises UsageError for an index the PEF does not have, IllegalPefError where a net is missing or a section
    deadlocks.
    """
    machine = decode_machine(pef.machine)
    chosen = range(len(pef.sections)) if sections is None else sections
    UsageError.raise_if([Problem(f"the PEF has no section {i}") for i in chosen if not 0 <= i < len(pef.sections)])
    executions: dict[tuple[int, tuple[int, ...]], Execution] = {}
    reports: list[SectionReport] = []
    now: float = 0
    for index in chosen:
        record = pef.sections[index]
        key = record.configuration, tuple(pef.symbols[symbol].tier for symbol in record.bindings)
        if key not in executions:
            executions[key] = execute(pef.configurations[key[0]], key[1], machine, record.name, replicas)
        loaded = bool(reports) and reports[-1].configuration == record.configuration
        reports.append(_section(pef, index, machine, executions[key], now, loaded))
        now += reports[-1].cycles
    return Report(pef.header.name, machine, tuple(reports), replicas)


def execute(
    configuration: pb.Configuration, tiers: Sequence[int], machine: Machine, name: str, replicas: Replicas
) -> Execution:
    """Simulate one configuration; `tiers` has the memory tier of each slot's symbol, `name` is for messages."""
    pipeline = Pipeline(configuration, tiers, machine, replicas)
    memory = DeviceMemory(pipeline.clients, machine)
    actors = pipeline.actors
    run(actors, memory)
    _refuse_deadlock(configuration, actors, name)
    cycles, path = critical_path(actors)
    works = [work for phase in pipeline.phases for work, _ in phase.works]
    tiles = [stage.events for phase in pipeline.phases for stage in phase.stages]
    return Execution(
        cycles=cycles,
        phases=_phases(pipeline),
        path=path,
        pcu=_pcu_use(pipeline, cycles),
        pmu=_pmu_use(pipeline, cycles),
        flops=sum(work.flops * count for work, count in zip(works, tiles)),
        read_bytes=_moved(pipeline, store=False),
        write_bytes=_moved(pipeline, store=True),
        traffic=memory.samples,
    )


def _section(
    pef: pb.Pef, index: int, machine: Machine, execution: Execution, start: float, loaded: bool
) -> SectionReport:
    record = pef.sections[index]
    strings = pef.strings
    return SectionReport(
        index=index,
        kind=record.kind,
        name=record.name,
        configuration=record.configuration,
        start=start,
        launch_cycles=machine.cycles(machine.launch_us),
        program_load_cycles=0 if loaded else machine.cycles(machine.program_load_us),
        argument_load_cycles=machine.cycles(machine.argument_load_us),
        execution=execution,
        symbols=tuple(pef.symbols[symbol].name for symbol in record.bindings),
        locations=tuple(Location(strings[o.file], o.line, strings[o.module]) for o in record.locations),
    )


def _refuse_deadlock(configuration: pb.Configuration, actors: Sequence[Actor], name: str) -> None:
    """Raise IllegalPefError naming every stage that never gets to fire all its tiles."""
    stuck = [actor for actor in actors if isinstance(actor, StageActor | StreamActor) and not actor.done]
    problems = []
    for actor in stuck:
        phase = configuration.phases[actor.phase]
        what = f"stage {phase.stages[actor.index].name!r}"
        if isinstance(actor, StreamActor):
            stream = phase.streams[actor.index]
            what = f"the {'store' if stream.store else 'load'} of {configuration.buffers[stream.buffer].name!r}"
        problems.append(
            Problem(
                f"section {name!r} deadlocks: {what} stops after {len(actor.times)} of {actor.events} tiles",
                hint="a ring on a path that meets another again needs more tiles of depth",
            )
        )
    IllegalPefError.raise_if(problems)


def _phases(pipeline: Pipeline) -> tuple[PhaseReport, ...]:
    starts = [phase.start.times[0] for phase in pipeline.phases] + [pipeline.end.times[0]]
    reports = []
    operation = 0
    for index, phase in enumerate(pipeline.phases):
        record = pipeline.configuration.phases[index]
        stages = []
        for position, actor in enumerate(phase.stages):
            stages.append(_stage(pipeline, phase, actor, operation, starts[index], starts[index + 1]))
            operation += len(record.stages[position].operations)
        streams = tuple(_stream(pipeline, actor) for actor in phase.streams)
        reports.append(PhaseReport(record.tiles, starts[index], starts[index + 1], tuple(stages), streams))
    return tuple(reports)


def _stage(
    pipeline: Pipeline, phase: PhaseActors, actor: StageActor, operation: int, start: float, end: float
) -> StageReport:
    record = pipeline.configuration.phases[actor.phase].stages[actor.index]
    work, parallel = phase.works[actor.index]
    outputs = {unit for port in record.outputs for unit in pipeline.configuration.buffers[port.buffer].units}
    return StageReport(
        name=record.name,
        operators=tuple(o.op for o in record.operations),
        operations=range(operation, operation + len(record.operations)),
        parallelism=parallel,
        tiles=actor.events,
        compute_cycles=actor.compute_cycles,
        port_cycles=actor.port_cycles,
        network_cycles=actor.network_cycles,
        exchange_cycles=actor.exchange_cycles,
        interval_cycles=actor.release,
        latency_cycles=actor.finish_cycles,
        starts=actor.times,
        time=stage_time(actor, start, end),
        flops=work.flops * actor.events,
        pmus=len(outputs),
    )


def _stream(pipeline: Pipeline, actor: StreamActor) -> StreamReport:
    record = pipeline.configuration.phases[actor.phase].streams[actor.index]
    limits = {limit: sum(spent.get(limit, 0) for spent in actor.spent) for limit in Limit}
    return StreamReport(
        buffer=pipeline.configuration.buffers[record.buffer].name,
        slot=record.slot,
        store=record.store,
        whole=actor.whole,
        tier=pipeline.clients[actor.client].tier,
        agcus=tuple(record.agcus),
        transfer_bytes=actor.size_bytes,
        begins=actor.begins,
        ends=actor.times,
        limits={limit: cycles for limit, cycles in limits.items() if cycles},
    )


def _pcu_use(pipeline: Pipeline, cycles: float) -> Units:
    """A stage's PCUs are busy while they compute, not while ports or links hold them up."""
    stages = [(actor, phase.works[actor.index][1]) for phase in pipeline.phases for actor in phase.stages]
    records = [stage for phase in pipeline.configuration.phases for stage in phase.stages]
    return Units(
        machine=len(pipeline.machine.working_sites(SiteKind.PCU)),
        allocated=len({unit for record in records for unit in record.units}),
        busy_cycles=sum(actor.compute_cycles * actor.events * parallel.units for actor, parallel in stages),
        exec_cycles=cycles,
    )


def _pmu_use(pipeline: Pipeline, cycles: float) -> Units:
    """A PMU is busy while its ports move data at full width; whole transfers count once."""
    used = {unit for buffer in pipeline.configuration.buffers for unit in buffer.units}
    busy = 0.0
    for phase, record in zip(pipeline.phases, pipeline.configuration.phases):
        busy += sum(phase.ports.busy_cycles(unit) for unit in used) * record.tiles
        whole = sum(stream.size_bytes for stream in phase.streams if stream.whole)
        busy += whole / pipeline.machine.pmu_port_bytes_per_cycle
    return Units(len(pipeline.machine.working_sites(SiteKind.PMU)), len(used), busy, cycles)


def _moved(pipeline: Pipeline, store: bool) -> tuple[int, ...]:
    """Bytes of device memory written or read, by tier."""
    moved = [0] * len(pipeline.machine.tiers)
    for phase in pipeline.phases:
        for stream in phase.streams:
            if stream.store is store:
                moved[pipeline.clients[stream.client].tier] += stream.size_bytes * stream.events
    return tuple(moved)
