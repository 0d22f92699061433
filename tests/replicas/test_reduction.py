"""REDUCE sections: where they stand, and that replicas with parts of a batch train as one does with all of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compiler.data_parallel import with_reduction
from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.errors import BindError, ReplicaError, UsageError
from ir.graph import SectionKind
from pef.exchange import Replicas
from runtime.session import Session
from tests.replicas.subjects import Thread, compiled_for, run_replicas, samples, spec, states

STEPS, BATCH = 3, 8


def trained_alone(batch: int, preset: str = "mp0") -> Session:
    """One replica after some steps on whole batches."""
    session = compiled_for(0, batch, preset).session(threads=1)
    data = samples(batch * STEPS)
    for step in range(STEPS):
        session.run(inputs={name: array[step * batch : (step + 1) * batch] for name, array in data.items()})
    return session


@pytest.mark.parametrize(("size", "preset", "strict"), [(2, "mp0", False), (2, "mp4", False), (3, "mp0", True)])
def test_replicas_with_parts_of_a_batch_train_as_one_with_all(size: int, preset: str, strict: bool) -> None:
    model = compiled_for(2, BATCH, preset)
    data = samples(size * BATCH * STEPS)
    sessions = [model.session(threads=1, strict=strict) for _ in range(size)]

    def work(replica: Thread) -> None:
        for step in range(STEPS):
            start = (step * size + replica.rank) * BATCH
            part = {name: array[start : start + BATCH] for name, array in data.items()}
            sessions[replica.rank].run(inputs=part, collective=replica)

    replicas = run_replicas(size, work)
    alone = states(trained_alone(size * BATCH, preset))
    first = states(sessions[0])
    for other in sessions[1:]:
        assert all(np.array_equal(value, states(other)[name]) for name, value in first.items())
    moved = compiled_for(0, BATCH, preset).values
    for name, value in alone.items():
        change = np.linalg.norm(value - moved[name])
        assert np.linalg.norm(first[name] - value) <= (1e-4 if preset == "mp0" else 0.1) * change, name
    assert len({tuple(replica.sizes) for replica in replicas}) == 1
    assert sum(replicas[0].sizes) == STEPS * sum(p.numel() for p in spec(1).model.parameters())


def test_without_the_exchange_replicas_drift_apart() -> None:
    model = compiled_for(2, BATCH)
    data = samples(2 * BATCH)
    first, second = model.session(threads=1), model.session(threads=1)
    first.run(inputs={name: array[:BATCH] for name, array in data.items()})
    second.run(inputs={name: array[BATCH:] for name, array in data.items()})
    assert not np.allclose(first.read("scores.weight"), second.read("scores.weight"), atol=1e-4)


def test_one_replica_alone_averages_nothing() -> None:
    data = samples(BATCH)
    for kinds in (None, ["fwd", "bckwd", "gradnorm", "opt"]):
        one, several = compiled_for(0, BATCH).session(threads=1), compiled_for(2, BATCH).session(threads=1)
        one.run(kinds, inputs=data)
        several.run(kinds, inputs=data)
        assert all(np.array_equal(value, states(several)[name]) for name, value in states(one).items())


def test_sections_are_reduced_between_back_propagation_and_what_reads_the_gradients() -> None:
    pef = compiled_for(4, BATCH).pef
    kinds = list(dict.fromkeys(section.kind for section in pef.sections))
    assert kinds == ["FWD", "BCKWD", "REDUCE", "GRADNORM", "OPT"]
    assert pef.header.replicas == 4


def test_only_gradients_of_parameters_are_averaged() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    x = torch.randn(8, 4, requires_grad=True)
    inputs = ModelSpec(model, {"input": x}, name="m", loss=lambda y: y.sum())
    graph = with_reduction(capture(inputs, inference=False).program).graph(SectionKind.REDUCE)
    assert graph is not None
    assert {out.symbol for out in graph.outputs} == {f"{name}.grad" for name, _ in model.named_parameters()}
    assert all(node.op.exchanges and node.op.name == "all_reduce" for node in graph.nodes)


def test_inference_has_nothing_to_average() -> None:
    program = capture(spec(BATCH), inference=True).program
    with pytest.raises(UsageError, match="no gradients that replicas could average"):
        with_reduction(program)


def test_simulated_replicas_must_be_those_the_pef_is_for() -> None:
    with pytest.raises(ReplicaError, match="no REDUCE section"):
        compiled_for(0, BATCH).session().run_timing(replicas=Replicas(2))
    with pytest.raises(ReplicaError, match=r"compiled for 4 replicas or more, and there are only 3") as error:
        compiled_for(4, BATCH).session().run_timing(replicas=Replicas(3))
    assert "compile with -ws 3" in str(error.value)


def test_what_was_never_computed_is_not_averaged() -> None:
    with pytest.raises(BindError):
        Session(compiled_for(2, BATCH).pef).run()
