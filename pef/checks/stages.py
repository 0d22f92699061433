"""Rules about stages: their ports, their operators, and the PCUs that run them."""

from __future__ import annotations

from collections.abc import Iterator

from ir.errors import Problem
from ir.op import CostClass
from pef.decoded import OPERATOR_ERRORS, Configuration, Stage
from pef.checks.operations import body_problems, partial_results
from pef.codec import parallelism, stage_work
from pef.cycles import StageWork, chain_length


def stage_operations(configuration: Configuration) -> Iterator[Problem]:
    """The operations of a stage obey the rules of operations; its inputs are given."""
    for stage in _stages(configuration):
        yield from body_problems(stage.body, [port.value for port in stage.record.inputs])


def ports_fit_buffers(configuration: Configuration) -> Iterator[Problem]:
    """A port's value is the port's slice of its buffer, of the same type and along the same axis."""
    for stage in _stages(configuration):
        for side, ports in (("input", stage.record.inputs), ("output", stage.record.outputs)):
            for number, port in enumerate(ports):
                value, buffer = stage.body.values[port.value], configuration.buffers[port.buffer]
                expected = buffer.type.sliced(port.axis, stage.body.tiles)
                where = f"{stage.where}, {side} {number}"
                if value.type != expected:
                    yield Problem(f"the value is {value.type}, its slice of {buffer.where} is {expected}", where)
                if value.axis != port.axis:
                    yield Problem(f"the value is cut along axis {value.axis}, the port along {port.axis}", where)


def outputs_are_made(configuration: Configuration) -> Iterator[Problem]:
    """A stage reads something, writes something, and writes only what it has read or made."""
    for stage in _stages(configuration):
        made = {port.value for port in stage.record.inputs}
        made.update(value for application in stage.body.applications for value in application.results)
        for number, port in enumerate(stage.record.outputs):
            if port.value not in made:
                yield Problem(f"value {port.value} is never made", f"{stage.where}, output {number}")
        if not stage.record.outputs:
            yield Problem("the stage writes no buffer", stage.where)


def combines_match(configuration: Configuration) -> Iterator[Problem]:
    """A combined output is the partial result of an operator that reduces over the tiles, combined as it says."""
    for stage in _stages(configuration):
        partial = partial_results(stage.body)
        for number, port in enumerate(stage.record.outputs):
            if stage.body.tiles == 1 or not port.combine:
                continue
            expected = partial.get(port.value)
            where = f"{stage.where}, output {number}"
            if expected is None:
                yield Problem(f"tiles are combined by {port.combine!r}, although nothing is reduced over them", where)
            elif expected != port.combine:
                yield Problem(f"tiles are combined by {port.combine!r}, the operator says {expected!r}", where)


def one_product(configuration: Configuration) -> Iterator[Problem]:
    """A stage has at most one matrix product, and only views stand between it and the stage's inputs."""
    for stage in _stages(configuration):
        computed: set[int] = set()
        products = 0
        for application in stage.body.applications:
            if application.op.cost.kind is CostClass.SYSTOLIC:
                products += 1
                if computed.intersection(application.operands):
                    yield Problem("the product's operand is computed in its own stage", application.where)
            if not application.op.is_free or computed.intersection(application.operands):
                computed.update(application.results)
        if products > 1:
            yield Problem(f"the stage has {products} matrix products", stage.where)


def pcus_match(configuration: Configuration) -> Iterator[Problem]:
    """A stage has as many PCUs as its parallelism says, and a chain as long as its operators fill."""
    for stage in _stages(configuration):
        parallel = parallelism(stage.record)
        if len(stage.record.units) != parallel.units:
            shape = f"{parallel.batch}x{parallel.row}x{parallel.column}x{parallel.chain}"
            yield Problem(f"the stage has {len(stage.record.units)} PCUs, its parallelism is {shape}", stage.where)
        work = work_of(stage)
        if work is not None and (chain := chain_length(work, configuration.machine)) != parallel.chain:
            yield Problem(f"the chain is {parallel.chain} PCUs long, its operators fill {chain}", stage.where)


def work_of(stage: Stage) -> StageWork | None:
    """What a tile asks of the stage; None where its operations break rules that are reported already."""
    try:
        return stage_work(stage.record)
    except OPERATOR_ERRORS:
        return None


def _stages(configuration: Configuration) -> Iterator[Stage]:
    for phase in configuration.phases:
        yield from phase.stages


STAGE_RULES = (stage_operations, ports_fit_buffers, outputs_are_made, combines_match, one_product, pcus_match)
