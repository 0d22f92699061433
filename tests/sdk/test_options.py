"""Options with a meaning of their own on the simulated device: spatial batches and microbatches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ir.errors import BindError
from pef import file
from sambaflow import samba
from sambaflow.logging import samba_logger
from sambaflow.samba import utils
from sambaflow.samba._device.spatial import batches
from tests.sdk.programs import BATCH, batch, classifier, compiled


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the SDK logs."""
    samba_logger.logger.addHandler(caplog.handler)
    yield caplog
    samba_logger.logger.removeHandler(caplog.handler)


SPATIAL = {"mapping": "spatial", "num_spatial_batches": 3}


def trained(steps: list[Any], arguments: dict[str, Any], trace_with: Any = None) -> tuple[torch.Tensor, float]:
    """The weight after some runs, and the loss of the last; `trace_with`: inputs of several batches to trace with."""
    samba.session.reset()
    model, inputs = classifier(), batch()
    optimizer = samba.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    pef = compiled(model, inputs, optimizer)
    samba.session.arguments = arguments
    utils.trace_graph(model, trace_with or inputs, optimizer, pef=pef)
    for step in steps:
        loss, _ = samba.session.run(step)
    samba.session.to_cpu(model)
    return model.lin_layer.weight.torch_tensor().detach().clone(), float(loss)


def test_spatial_batches_are_runs_one_after_another() -> None:
    whole = batch(3 * BATCH)
    names = [tensor.sn_name for tensor in whole]
    parts = [
        tuple(
            samba.from_torch_tensor(t.torch_tensor()[i * BATCH : (i + 1) * BATCH], name=n) for t, n in zip(whole, names)
        )
        for i in range(3)
    ]
    weight, loss = trained([whole], SPATIAL)
    expected, expected_loss = trained(parts, {})
    assert torch.equal(weight, expected) and loss == expected_loss


def test_one_batch_is_still_one_run() -> None:
    weight, _ = trained([batch()], SPATIAL)
    assert torch.equal(weight, trained([batch()], {})[0])


def test_inputs_of_another_length_are_refused() -> None:
    with pytest.raises(BindError, match="image"):
        trained([batch(2 * BATCH)], SPATIAL)
    with pytest.raises(BindError, match="image"):
        trained([batch(3 * BATCH)], {"mapping": "section", "num_spatial_batches": 3})


def test_inputs_without_a_batch_go_to_every_batch() -> None:
    tensors = {"x": torch.arange(6).reshape(6, 1), "scale": torch.ones(1)}
    first, second, third = batches(tensors, {"x": (2, 1), "scale": (1,)}, 3)
    assert [part["x"].flatten().tolist() for part in (first, second, third)] == [[0, 1], [2, 3], [4, 5]]
    assert first["scale"] is third["scale"]


def test_a_microbatch_that_divides_no_batch_is_ignored_with_a_warning(warnings: pytest.LogCaptureFixture) -> None:
    arguments = {"batch_size": BATCH, "microbatch_size": 3}
    pef = compiled(classifier(), batch(), arguments=arguments, inference=True)
    assert "-mb 3 is ignored: it does not divide -b 4" in warnings.text
    assert json.loads(file.read(pef).header.options_json)["microbatch_size"] is None
    pef = compiled(classifier(), batch(), arguments={**arguments, "microbatch_size": 2}, inference=True)
    assert json.loads(file.read(pef).header.options_json)["microbatch_size"] == 2
