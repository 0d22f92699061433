"""Data parallel runs of a session: what is refused, what is averaged when, and what the others must have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from ir.errors import ReplicaError
from ir.op import Array
from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba._replicas import distributed
from tests.sdk.programs import batch, classifier, compiled


@dataclass
class Twin:
    """A group of this process and one that holds the same, but for `texts`; `calls` are what was done together."""

    rank: int = 0
    size: int = 2
    texts: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def all_reduce(self, array: Array) -> None:
        self.calls.append("sum")
        np.multiply(array, 2, out=array)

    def broadcast(self, tensor: torch.Tensor) -> None:
        self.calls.append("broadcast")

    def largest(self, tensor: torch.Tensor) -> None:
        """The other replica has the same numbers."""

    def gather(self, text: str) -> list[str]:
        return self.texts or [text] * self.size


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Twin:
    twin = Twin()
    monkeypatch.setattr(distributed, "group", lambda: twin)
    return twin


def loaded(world_size: int | None = 2, optimizer: bool = True, **arguments: Any) -> tuple[samba.SambaTensor, ...]:
    """Inputs of a classifier on the device; `world_size` of None compiles it for one replica only."""
    model, inputs = classifier(), batch()
    sgd = samba.optim.SGD(model.parameters(), lr=0.1) if optimizer else None
    asked = {"data_parallel": True, "world_size": world_size} if world_size else {}
    pef = compiled(model, inputs, sgd, arguments=asked)
    samba.session.arguments = arguments
    utils.trace_graph(model, inputs, sgd, pef=pef)
    return inputs


def test_a_pef_without_reduce_sections_is_refused() -> None:
    inputs = loaded(None)
    with pytest.raises(ReplicaError, match=r"has no REDUCE section .*\n.*compile with --data-parallel -ws 2"):
        samba.session.run(inputs, data_parallel=True)


@pytest.mark.parametrize("arguments", [{}, {"data_parallel": True}])
def test_fewer_replicas_than_compiled_for_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ReplicaError, match="compiled for 2 replicas or more, and there is only one"):
        samba.session.run(loaded(2, **arguments), data_parallel=True)


def test_one_replica_is_enough_where_one_was_asked_for() -> None:
    assert not dist.is_initialized()
    inputs = loaded(1)
    losses = [float(samba.session.run(inputs, data_parallel=True)[0]) for _ in range(2)]
    assert losses[1] < losses[0]


def test_a_data_parallel_pef_runs_alone_without_the_option() -> None:
    loss, _ = samba.session.run(loaded(2), section_types=["fwd", "bckwd", "reduce", "opt"])
    again, _ = samba.session.run(batch(), section_types=["fwd"])
    assert float(again) < float(loss)


def test_reduce_is_left_out_of_a_pef_that_has_none() -> None:
    samba.session.run(loaded(None), section_types=["fwd", "bckwd", "reduce", "opt"])


def test_gradients_are_averaged_before_the_first_that_uses_them(twin: Twin) -> None:
    inputs = loaded()

    def sums(*kinds: str) -> int:
        twin.calls.clear()
        samba.session.run(inputs, section_types=list(kinds) or None, data_parallel=True)
        return twin.calls.count("sum")

    parameters = 2
    assert sums() == parameters
    assert sums("fwd") == 0
    assert sums("fwd", "bckwd", "opt") == parameters
    assert sums("bckwd", "reduce", "opt") == parameters
    assert sums("bckwd") == 0 and sums("opt") == parameters
    assert sums("bckwd") == 0 and sums("reduce") == parameters and sums("opt") == 0


def test_the_host_gets_averaged_gradients_where_it_updates(twin: Twin) -> None:
    inputs = loaded(optimizer=False)
    samba.session.run(inputs, section_types=["fwd", "bckwd"], data_parallel=True)
    assert twin.calls.count("sum") == 2


def test_states_are_those_of_the_first_replica_from_the_first_run_on(twin: Twin) -> None:
    inputs = loaded()
    for _ in range(2):
        samba.session.run(inputs, data_parallel=True)
    states = 4  # weight, bias, and the momentum of each
    assert twin.calls[:states] == ["broadcast"] * states and twin.calls.count("broadcast") == states


def test_replicas_that_run_another_pef_are_named(twin: Twin) -> None:
    twin.size, twin.texts = 3, ["a", "b", "a"]
    with pytest.raises(ReplicaError, match="rank 1 runs another"):
        samba.session.run(loaded(), data_parallel=True)


def test_simulated_time_follows_the_replicas(twin: Twin) -> None:
    inputs = loaded()
    latencies = []
    for on_rdu in (True, False):
        utils.measure_performance(
            classifier(), inputs, 4, n_iterations=1, data_parallel=True, reduce_on_rdu=on_rdu, run_graph_only=True
        )
        sections = samba.session.loaded.prepared(None).sections
        latencies.append(samba.session.device.simulated_seconds(sections, samba.session.loaded.replicas))
    alone = samba.session.device.simulated_seconds(sections)
    assert min(latencies) > alone and latencies[0] != latencies[1]


def test_mpi_without_a_starter_is_a_group_of_one() -> None:
    dist.init_process_group("mpi")
    try:
        assert (dist.get_backend(), utils.get_rank(), utils.get_world_size()) == ("gloo", 0, 1)
        assert utils.is_main_process()
    finally:
        dist.destroy_process_group()


def test_the_time_to_wait_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCL_TIMEOUT", "soon")
    with pytest.raises(ReplicaError, match="CCL_TIMEOUT is 'soon'"):
        distributed.timeout()
