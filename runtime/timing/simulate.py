"""Simulated time of a PEF: each configuration once, then the sections one after another.

A section costs launch, program load and argument load, then its execution. The program is not loaded again when the
section before it, in the sequence asked for, used the same configuration.
"""

from __future__ import annotations

from collections.abc import Sequence

from ir.errors import IllegalPefError, Problem, UsageError
from ir.location import Location
from pef import pef_pb2 as pb
from pef.decoded import Configuration, Stage
from pef.decoded_pef import DecodedPef
from pef.exchange import ONE, Replicas
from pef.machine import Machine, SiteKind
from runtime.timing.accounts import critical_path, spent_on, stage_time
from runtime.timing.actors import Actor, StageActor, StreamActor
from runtime.timing.memory_model import DeviceMemory, Limit
from runtime.timing.pipeline import Pipeline
from runtime.timing.report import Execution, PhaseReport, Report, SectionReport, StageReport, StreamReport, Units
from runtime.timing.simulation import run


def simulate(pef: pb.Pef | DecodedPef, sections: Sequence[int] | None = None, replicas: Replicas = ONE) -> Report:
    """Simulate the sections with these indices, in this order; all of them by default. `replicas` work in parallel.

    Raises UsageError for an index the PEF does not have, IllegalPefError where a net is missing or a section
    deadlocks.
    """
    decoded = pef if isinstance(pef, DecodedPef) else DecodedPef(pef)
    pef, machine = decoded.record, decoded.machine
    chosen = range(len(pef.sections)) if sections is None else sections
    UsageError.raise_if([Problem(f"the PEF has no section {i}") for i in chosen if not 0 <= i < len(pef.sections)])
    executions: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Execution] = {}
    reports: list[SectionReport] = []
    now: float = 0
    for index in chosen:
        record = pef.sections[index]
        number, bindings = record.configuration, list(record.bindings)
        tiers = tuple(pef.symbols[symbol].tier for symbol in bindings)
        symbols = tuple(map(bindings.index, bindings))
        key = number, tiers, symbols
        if key not in executions:
            executions[key] = execute(decoded.configuration(number), tiers, symbols, record.name, replicas)
        loaded = bool(reports) and reports[-1].configuration == record.configuration
        reports.append(_section(pef, index, machine, executions[key], now, loaded))
        now += reports[-1].cycles
    return Report(pef.header.name, machine, tuple(reports), replicas)


def execute(
    configuration: Configuration, tiers: Sequence[int], symbols: Sequence[int], name: str, replicas: Replicas
) -> Execution:
    """Simulate one configuration; `tiers` and `symbols` as a `Pipeline` takes them, `name` is for messages."""
    pipeline = Pipeline(configuration, tiers, symbols, replicas)
    memory = DeviceMemory(pipeline.clients, configuration.machine)
    actors = pipeline.actors
    run(actors, memory)
    _refuse_deadlock(configuration, actors, name)
    cycles, steps = critical_path(actors)
    stages = [stage for phase in configuration.phases for stage in phase.stages]
    return Execution(
        cycles=cycles,
        phases=_phases(pipeline),
        path=spent_on(steps),
        steps=steps,
        pcu=_pcu_use(pipeline, cycles),
        pmu=_pmu_use(pipeline, cycles),
        flops=sum(stage.work.flops * stage.events for stage in stages),
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


def _refuse_deadlock(configuration: Configuration, actors: Sequence[Actor], name: str) -> None:
    """Raise IllegalPefError naming every stage and stream that never gets to its last event."""
    stuck = [actor for actor in actors if isinstance(actor, StageActor | StreamActor) and not actor.done]
    problems = []
    for actor in stuck:
        phase = configuration.phases[actor.phase]
        if isinstance(actor, StageActor):
            what, events = f"stage {phase.stages[actor.index].name!r}", "firings"
        else:
            stream = phase.streams[actor.index]
            what = f"the {'store' if stream.store else 'load'} of {configuration.buffers[stream.buffer].name!r}"
            events = "transfers"
        problems.append(
            Problem(
                f"section {name!r} deadlocks: {what} stops after {actor.count} of {actor.events} {events}",
                hint="a ring on a path that meets another again needs more slices",
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
        for stage, actor in zip(record.stages, phase.stages):
            stages.append(_stage(pipeline, stage, actor, operation, starts[index], starts[index + 1]))
            operation += len(stage.body.applications)
        streams = tuple(_stream(pipeline, actor) for actor in phase.streams)
        reports.append(PhaseReport(record.nest.counts, starts[index], starts[index + 1], tuple(stages), streams))
    return tuple(reports)


def _stage(
    pipeline: Pipeline, stage: Stage, actor: StageActor, operation: int, start: float, end: float
) -> StageReport:
    buffers = pipeline.configuration.buffers
    return StageReport(
        name=stage.name,
        operators=tuple(application.op.name for application in stage.body.applications),
        operations=range(operation, operation + len(stage.body.applications)),
        parallelism=stage.parallelism,
        level=stage.level,
        loops=stage.body.nest.counts[: stage.level],
        events=actor.events,
        compute_cycles=actor.compute_cycles,
        port_cycles=actor.port_cycles,
        network_cycles=actor.network_cycles,
        exchange_cycles=actor.exchange_cycles,
        interval_cycles=actor.release,
        latency_cycles=actor.finish_cycles,
        starts=actor.times,
        time=stage_time(actor, start, end),
        flops=stage.work.flops * actor.events,
        pmus=len({unit for port in stage.outputs for unit in buffers[port.buffer].units}),
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
        agcus=tuple(record.record.agcus),
        transfer_bytes=actor.size_bytes,
        begins=actor.begins,
        ends=actor.times,
        limits={limit: cycles for limit, cycles in limits.items() if cycles},
    )


def _pcu_use(pipeline: Pipeline, cycles: float) -> Units:
    """A stage's PCUs are busy while they compute, not while ports or links hold them up."""
    stages = [
        (stage, actor)
        for phase, group in zip(pipeline.configuration.phases, pipeline.phases)
        for stage, actor in zip(phase.stages, group.stages)
    ]
    return Units(
        machine=len(pipeline.machine.working_sites(SiteKind.PCU)),
        allocated=len({unit for stage, _ in stages for unit in stage.record.units}),
        busy_cycles=sum(actor.compute_cycles * actor.events * stage.parallelism.units for stage, actor in stages),
        exec_cycles=cycles,
    )


def _pmu_use(pipeline: Pipeline, cycles: float) -> Units:
    """A PMU is busy while its ports move data at full width; whole transfers count once."""
    used = {unit for buffer in pipeline.configuration.buffers for unit in buffer.units}
    busy = 0.0
    for phase in pipeline.phases:
        busy += sum(phase.ports.busy_cycles(unit) for unit in used)
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
