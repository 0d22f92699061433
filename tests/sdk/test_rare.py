"""What few programs use: meters, counters, routing, sparse updates, weight norm, gradients set at once."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.experiment_logger import AccMeter, CountMeter, DisplayMeter, Logger
from sambaflow.samba.utils import read_perf_counters
from sambaflow.samba.utils.tensorboard_debug import dump_accuracy_debug_info
from tests.sdk.programs import batch, classifier, compiled, loaded
from tests.sdk.test_session import sgd


def test_meters_and_their_log(tmp_path: Path) -> None:
    mean, count, last = AccMeter("a"), CountMeter("b"), DisplayMeter("c")
    for meter in (mean, count, last):
        meter.update(2.0)
        meter.update(5.0, n=2)
    assert (mean.avg, count.total, last.value) == (4.0, 12.0, 5.0)
    Logger(str(tmp_path / "log.txt")).log("step", 1)
    assert (tmp_path / "log.txt").read_text() == "step 1\n"


def test_counters_of_a_pef_are_simulated(tmp_path: Path) -> None:
    model, inputs = classifier(), batch()
    pef = compiled(model, inputs, sgd(model.parameters()))
    read_perf_counters.main(["-p", pef, "--json", "counters.json"])
    counters = json.loads((tmp_path / "counters.json").read_text())
    cycles = [section["cycles"] for section in counters["sections"].values()]
    assert list(counters["sections"]) == ["fwd_0", "bckwd_0", "opt_0"]
    assert all(count > 0 for count in cycles) and counters["cycles"] >= max(cycles)


def test_tokens_are_routed_to_bins_with_room() -> None:
    position, has_room = samba.groupby(torch.tensor([1, 0, 1, 1, 0]), num_bins=2, capacity=2)
    assert position.tolist() == [0, 0, 1, 2, 1]
    assert has_room.tolist() == [True, True, True, False, True]


def test_sparse_updates_are_those_of_adamw() -> None:
    weights = []
    for kind in (samba.optim.AdamW, samba.optim.SparseAdamW):
        samba.session.reset()
        model, inputs = classifier(), batch()
        optimizer = kind(model.parameters(), lr=0.1)
        utils.trace_graph(model, inputs, optimizer, pef=compiled(model, inputs, optimizer))
        samba.session.run(inputs)
        weights.append(model.lin_layer.weight.sn_data)
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], classifier().lin_layer.weight.torch_tensor())


def test_gradients_of_all_outputs_are_set_at_once() -> None:
    _, inputs, outputs = loaded(sgd)
    utils.init_output_grads(outputs, customized_tensors_dict={"loss": torch.tensor(3.0)})
    loss, logits = outputs
    assert loss.sn_grad.item() == 3.0
    assert logits.sn_grad.unique().tolist() == [1.0]
    samba.session.run(inputs, outputs, section_types=["fwd", "bckwd"])


def test_what_device_and_host_have_is_written_for_a_look() -> None:
    model, inputs, outputs = loaded(sgd)
    results = samba.session.run(inputs, outputs, section_types=["fwd", "bckwd"])
    written = torch.load(dump_accuracy_debug_info(results, model))
    assert len(written["outputs"]) == 2
    assert written["gradients"].keys() == written["parameters"].keys() == dict(model.named_parameters()).keys()


def test_modules_of_old_programs_run_themselves() -> None:
    class Scaled(samba.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = samba.nn.Parameter(torch.full((3,), 2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale

    model, x = Scaled(), samba.ones(2, 3, name="x")
    samba.from_torch_(model)
    utils.trace_graph(model, x, pef=compiled(model, x))
    (out,) = model.run([x], section_types=["fwd", "bckwd"], grad_of_outputs=[torch.full((2, 3), 0.5)])
    assert out.tolist() == [[2.0] * 3] * 2
    assert model.scale.sn_grad.tolist() == [1.0] * 3
