"""Rules about stages: their ports, their operators, and the PCUs that run them."""

from __future__ import annotations

from collections.abc import Iterator

from ir.errors import Problem
from ir.op import CostClass
from pef.checks.operations import body_problems, partial_results
from pef.cycles import StageWork, chain_length
from pef.decoded import OPERATOR_ERRORS, Configuration, Stage
from pef.nest import WHOLE, axis_of, level_of


def stage_operations(configuration: Configuration) -> Iterator[Problem]:
    """The operations of a stage obey the rules of operations; its inputs are given."""
    for stage in _stages(configuration):
        yield from body_problems(stage.body, [port.value for port in stage.record.inputs])


def ports_fit_buffers(configuration: Configuration) -> Iterator[Problem]:
    """A port's value is of the type of its slice of the buffer."""
    for stage in _stages(configuration):
        for port in (*stage.inputs, *stage.outputs):
            value, buffer = stage.body.values[port.value], configuration.buffers[port.buffer]
            if not stage.body.nest.fits(buffer.type, port.slicing):
                continue  # `equal_slices` says so
            expected = stage.body.nest.sliced(buffer.type, port.slicing)
            if value.type != expected:
                yield Problem(f"the value is {value.type}, its slice of {buffer.where} is {expected}", port.where)


def values_move_with_ports(configuration: Configuration) -> Iterator[Problem]:
    """No value is cut by a loop inside those that cut the stage's ports: the stage does not fire along it."""
    for stage in _stages(configuration):
        for number, value in enumerate(stage.body.values):
            if level_of(value.slicing) > stage.level:
                yield Problem(
                    f"value {number} is cut {list(value.slicing)}, the ports by the outer {stage.level} loops alone",
                    stage.where,
                )


def outputs_are_made(configuration: Configuration) -> Iterator[Problem]:
    """A stage reads something, writes something, and writes only what it has read or made."""
    for stage in _stages(configuration):
        made = {port.value for port in stage.record.inputs}
        made.update(value for application in stage.body.applications for value in application.results)
        for port in stage.outputs:
            if port.value not in made:
                yield Problem(f"value {port.value} is never made", port.where)
        if not stage.record.outputs:
            yield Problem("the stage writes no buffer", stage.where)


def combines_match(configuration: Configuration) -> Iterator[Problem]:
    """A combined output is, for each loop that does not cut it, a partial result, combined as the operator says.

    A value reduced over several loops has one way to combine; one that a loop leaves as it is would be counted often.
    """
    for stage in _stages(configuration):
        partial = partial_results(stage.body)
        counts = stage.body.nest.counts
        for port in stage.outputs:
            repeated = {
                loop for loop in range(stage.level) if counts[loop] > 1 and axis_of(port.slicing, loop) == WHOLE
            }
            if not port.combine or not repeated:
                continue
            found = partial.get(port.value)
            if missing := repeated - (found.loops if found else frozenset()):
                seen = f"although nothing is reduced over loop {min(missing)}"
                yield Problem(f"iterations are combined by {port.combine!r}, {seen}", port.where)
            elif found and found.combines != {port.combine}:
                expected = " and ".join(map(repr, sorted(found.combines)))
                yield Problem(f"iterations are combined by {port.combine!r}, the operator says {expected}", port.where)


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
        parallel = stage.parallelism
        if len(stage.record.units) != parallel.units:
            shape = f"{parallel.batch}x{parallel.row}x{parallel.column}x{parallel.chain}"
            yield Problem(f"the stage has {len(stage.record.units)} PCUs, its parallelism is {shape}", stage.where)
        work = work_of(stage)
        if work is not None and (chain := chain_length(work, configuration.machine)) != parallel.chain:
            yield Problem(f"the chain is {parallel.chain} PCUs long, its operators fill {chain}", stage.where)


def work_of(stage: Stage) -> StageWork | None:
    """What one firing asks of the stage; None where its operations break rules that are reported already."""
    try:
        return stage.work
    except OPERATOR_ERRORS:
        return None


def _stages(configuration: Configuration) -> Iterator[Stage]:
    for phase in configuration.phases:
        yield from phase.stages


STAGE_RULES = (
    stage_operations,
    ports_fit_buffers,
    values_move_with_ports,
    outputs_are_made,
    combines_match,
    one_product,
    pcus_match,
)
