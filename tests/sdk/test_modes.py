"""A program runs for what its PEF was compiled for: the same optimizers, the same mode, its own graph of several."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import sambaflow.samba as samba
from ir.errors import SncError
from sambaflow.logging import samba_logger
from sambaflow.samba import utils
from sambaflow.samba.graph import FwdGraph
from sambaflow.samba.utils.argparser import parse_app_args
from tests.sdk.programs import batch, classifier, compiled


def test_the_optimizers_of_program_and_pef_must_agree() -> None:
    model = classifier()
    pef = compiled(model, batch(), samba.optim.AdamW(model.parameters()))
    weight, bias = model.parameters()
    other: list[tuple[Any, str]] = [
        (samba.optim.SGD(model.parameters()), "kind sgd, the PEF was compiled for adamw"),
        (samba.optim.AdamW(model.parameters(), max_grad_norm=1.0), "clips True, the PEF was compiled for False"),
        (samba.optim.AdamW(model.parameters(), betas=(0.9, 0.95)), r"betas \[0.9, 0.95\].*\[0.9, 0.997\]"),
        ([samba.optim.AdamW([weight]), samba.optim.AdamW([bias])], "2 parameter groups.*compiled for 1"),
    ]
    for optimizers, message in other:
        with pytest.raises(SncError, match=message):
            utils.trace_graph(model, batch(), optimizers, pef=pef)
    utils.trace_graph(model, batch(), samba.optim.AdamW(model.parameters(), lr=0.5, weight_decay=0.1), pef=pef)
    utils.trace_graph(model, batch(), pef=pef)


def test_a_pef_without_an_update_does_not_take_an_optimizer() -> None:
    model = classifier()
    pef = compiled(model, batch())
    with pytest.raises(SncError, match="trains with sgd, but the PEF was compiled without an optimizer"):
        utils.trace_graph(model, batch(), samba.optim.SGD(model.parameters()), pef=pef)


def test_an_inference_pef_is_refused_for_training() -> None:
    model = classifier()
    optimizer = samba.optim.SGD(model.parameters(), lr=0.1)
    pef = compiled(model, batch(), inference=True)
    parse_app_args(["run", "-p", pef])
    with pytest.raises(SncError, match="without --inference, but the PEF was compiled for inference"):
        utils.trace_graph(model, batch(), optimizer, pef=pef)
    parse_app_args(["run", "-p", pef, "--inference"])
    outputs = utils.trace_graph(model, batch(), optimizer, pef=pef)
    assert len(samba.session.run(batch(), outputs)) == 2


def test_inference_with_a_training_pef_runs_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(samba_logger, "warning", lambda *words: said.append(words))
    model = classifier()
    optimizer = samba.optim.SGD(model.parameters(), lr=1.0)
    pef = compiled(model, batch(), optimizer)
    parse_app_args(["run", "-p", pef, "--inference"])
    outputs = utils.trace_graph(model, batch(), optimizer, pef=pef)
    before = model.lin_layer.weight.torch_tensor().clone()
    samba.session.run(batch(), outputs)
    samba.session.to_cpu(model)
    assert torch.equal(model.lin_layer.weight.torch_tensor(), before)
    assert said == []


def test_inference_with_a_training_pef_tells_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(samba_logger, "warning", lambda *words: said.append(words))
    model, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), samba.randn(2, 3, name="x")
    pef = compiled(model, x)
    parse_app_args(["run", "-p", pef, "--inference"])
    utils.trace_graph(model, x, pef=pef)
    ((message, functions),) = said
    assert "compiled for training" in message and functions == "torch.nn.functional.batch_norm"


def test_section_types_of_one_graph_of_several() -> None:
    model = nn.Linear(4, 4)
    short, long = samba.randn(1, 4, name="short"), samba.randn(3, 4, name="long")
    first = utils.trace_multigraph(model, (short,), trace_prefix="a")
    second = utils.trace_multigraph(model, (long,), trace_prefix="b")
    samba.session.add_graph(FwdGraph((short,), first, name="short"))
    samba.session.add_graph(FwdGraph((long,), second, name="long"))
    pef = samba.session.compile_multigraph(name="two", config_dict={"output_folder": "out", "pef_name": "two"})
    samba.session.init_multigraph_runtime(pef)
    (out,) = samba.session.run((long,), graph_name="long", section_types=["fwd"])
    utils.assert_close(out, model(long), "long", threshold=1e-5)


def test_traced_inputs_see_their_gradients() -> None:
    model = nn.Linear(4, 2)
    dummy = samba.randn(3, 4, name="x", batch_dim=0, requires_grad=True)
    outputs = utils.trace_graph(model, dummy, pef=compiled(model, dummy))
    assert dummy.sn_grad is None
    samba.session.run((samba.randn(3, 4, name="x"),), outputs)
    expected = model.weight.torch_tensor().sum(0).expand(3, 4)
    utils.assert_close(dummy.sn_grad, expected, "gradient of the input", threshold=1e-5)


def test_regions_and_inputs_of_every_graph_are_read_by_name() -> None:
    class Adder(nn.Module):
        def forward(self, x: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
            return total + x

    def graphs() -> None:
        for name, width in (("one", 1), ("two", 2)):
            x, total = samba.zeros(width, name=f"x_{name}"), samba.zeros(2, name="total")
            total.sn_region_name = "running"
            (sums,) = utils.trace_multigraph(Adder(), (x, total), trace_prefix=name)
            sums.sn_region_name = "running"
            samba.session.add_graph(FwdGraph((x, total), (sums,), name=name))

    graphs()
    pef = samba.session.compile_multigraph(name="adder", config_dict={"output_folder": "out", "pef_name": "adder"})
    samba.session.reset()
    graphs()
    samba.session.init_multigraph_runtime(pef)
    samba.session.run({"x_one": torch.tensor([1.0])}, graph_name="one")
    samba.session.run({"x_two": torch.tensor([2.0, 3.0])}, graph_name="two")
    running, first, second = samba.session.get_tensors_by_name(["running", "x_one", "x_two"])
    assert (running.tolist(), first.tolist(), second.tolist()) == ([3.0, 4.0], [1.0], [2.0, 3.0])
