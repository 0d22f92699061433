"""`import snc`: what a notebook does."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

import snc
from backends.rdu.machine import load_machine
from backends.rdu.place.place import place
from backends.rdu.wire.netlist import Netlist, Placement
from compiler.passes.dce import Dce
from ir.errors import IllegalPefError, UsageError
from pef.machine import Machine


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


@pytest.fixture(scope="module")
def module() -> Small:
    torch.manual_seed(0)
    return Small()


@pytest.fixture(scope="module")
def compiled(module: Small) -> snc.Compiled:
    return snc.compile(module, torch.randn(32, 8))


def test_it_runs_like_the_module(module: Small, compiled: snc.Compiled) -> None:
    x = torch.randn(32, 8)
    [output] = compiled.run(x=x).values()
    assert np.allclose(output, module(x).detach().numpy(), atol=1e-5)
    assert np.array_equal(output, next(iter(compiled.run().values()))), "what is not given stays"
    with pytest.raises(snc.SncError, match="no symbol 'y'"):
        compiled.run(y=x)


def test_it_trains(module: Small) -> None:
    own = snc.compile(
        module,
        {"x": torch.randn(32, 8)},
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
        loss=nn.functional.cross_entropy,
        targets={"target": torch.randint(3, (32,))},
        name="trained",
    )
    before = own.read("first.weight")
    losses = own.train(10)
    assert losses[-1] < losses[0]
    assert not np.array_equal(before, own.read("first.weight"))
    with pytest.raises(UsageError, match="no batch"):
        own.train(1, data=[])


@pytest.mark.parametrize("given", [lambda label: label, lambda label: (label,), lambda label: {"target": label}])
def test_targets_are_given_as_inputs_are(module: Small, given: Callable[[torch.Tensor], Any]) -> None:
    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.5)

    x, label, loss = torch.randn(8, 8), torch.randint(3, (8,)), nn.functional.cross_entropy
    own = snc.compile(module, x, optimizer=optimizer, loss=loss, targets=given(label))
    expected = loss(module(x), label).item()
    assert own.train(1, data=[{"x": x, "target": label}])[0] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(UsageError, match=r"2 targets are given, and loss takes target(.|\n)*a dict of targets by name"):
        snc.compile(module, x, optimizer=optimizer, loss=lambda output, target: loss(output, target), targets=(x, x))


def test_inference_does_not_train(compiled: snc.Compiled) -> None:
    with pytest.raises(UsageError, match="cannot train"):
        compiled.train()


def test_what_it_shows(compiled: snc.Compiled) -> None:
    profile = compiled.profile()
    assert profile.us == pytest.approx(profile.as_dict()["total"]["latency_us"])
    [section] = compiled.sections
    assert section.name == "fwd_0" and section.pcus > 0 and section.predicted_us > 0
    for shown in (compiled, profile, compiled.sections, section):
        assert "fwd_0" in str(shown)
        assert shown._repr_html_().startswith("<pre") and "fwd_0" in shown._repr_html_()
        assert "fwd_0" in shown.__rich__().plain
    assert repr(compiled) == "<small, compiled for SN30: 1 section; inputs x>"
    assert isinstance(compiled.graph("ir"), nx.MultiDiGraph)
    with pytest.raises(UsageError, match="one of ir, sections"):
        compiled.graph("sails")


def test_inputs_in_their_order_or_by_name(compiled: snc.Compiled) -> None:
    x = torch.linspace(-1, 1, 256).reshape(32, 8)
    by_name = compiled.run(x=x)
    for given in (compiled.run(x), compiled.run({"x": x.numpy()})):
        assert given.keys() == by_name.keys() and all(np.array_equal(given[name], by_name[name]) for name in given)
    with pytest.raises(snc.SncError, match=r"2 inputs are given, and the PEF has 1(.|\n)*the inputs are x"):
        compiled.run(x, x)


def test_sources_of_a_module_that_pytorch_has_are_where_it_is_compiled() -> None:
    compiled = snc.compile(torch.nn.Sequential(torch.nn.Linear(8, 4)), torch.ones(2, 8))
    line = inspect.getsourcelines(test_sources_of_a_module_that_pytorch_has_are_where_it_is_compiled)[1] + 1
    places = {(place["file"], place["line"]) for place in compiled.facts["sections"][0]["sources"]}
    assert places == {(Path(__file__).name, line)}


def test_saved_and_loaded(compiled: snc.Compiled, tmp_path: Path) -> None:
    path = compiled.save(tmp_path)
    again = snc.load(path)
    assert again.pef == compiled.pef and again.weights == compiled.weights
    assert compiled.diff(again).is_same and str(compiled.diff(again)).startswith("Both do the same in the same time: ")
    x = np.ones((32, 8), np.float32)
    assert all(np.array_equal(a, b) for a, b in zip(compiled.run(x=x).values(), again.run(x=x).values()))
    page = compiled.report(tmp_path / "report.html")
    assert "<html" in page.read_text()
    trace = compiled.profile().save_trace(tmp_path / "trace.json")
    assert json.loads(trace.read_text())["otherData"]["time"] == "simulated"


def mirrored(netlist: Netlist, machine: Machine, seed: int) -> Placement:
    """The usual placement, upside down."""
    kinds = [unit.kind for unit in netlist.units]
    sites = place(netlist, machine, seed).sites
    flipped = [machine.sites - 1 - site for site in sites]
    assert [machine.kind(site) for site in flipped] == kinds
    return Placement(tuple(flipped))


def test_a_placement_of_ones_own(module: Small, compiled: snc.Compiled) -> None:
    own = snc.compile(module, torch.randn(32, 8), placer=mirrored)
    before = [unit.site for unit in compiled.pef.configurations[0].units]
    after = [unit.site for unit in own.pef.configurations[0].units]
    assert after == [load_machine("sn30").sites - 1 - site for site in before]
    with pytest.raises(IllegalPefError):
        snc.compile(
            module, torch.randn(32, 8), placer=lambda netlist, machine, seed: Placement((0,) * len(netlist.units))
        )


def test_machines_budgets_and_passes_of_ones_own(module: Small) -> None:
    tiny = replace(load_machine("sn30"), name="half", clock_ghz=0.7)
    half = snc.compile(module, torch.randn(32, 8), arch=tiny)
    assert half.pef.machine.name == "half" and half.pef.machine.clock_ghz == 0.7
    assert json.loads(half.pef.header.options_json)["arch"] == "half"
    assert len(snc.compile(module, torch.randn(32, 8), budgets=(0.001,)).sections) == 2, "a PCU for each section"
    with pytest.raises(UsageError, match="a share of the machine is above 0"):
        snc.compile(module, torch.randn(32, 8), budgets=(0.0,))
    assert len(snc.compile(module, torch.randn(32, 8), passes=[Dce()]).sections) == 1
    narrow = snc.compile(module, torch.randn(32, 8), passes="canonicalize,precision{preset=mp4},dce")
    assert any(symbol.type.dtype == "bf16" for symbol in narrow.pef.symbols)


def test_wrong_inputs_are_told(module: Small) -> None:
    with pytest.raises(UsageError, match="2 inputs are given, and forward takes x"):
        snc.compile(module, (torch.ones(1, 8), torch.ones(1)))
    with pytest.raises(UsageError, match="there is no pass 'sail'"):
        snc.compile(module, torch.randn(32, 8), passes="sail")


PACKAGE = """
from dataclasses import dataclass, replace
from pathlib import Path
from backends.rdu.machine import load_machine

@dataclass(frozen=True)
class Nothing:
    name = "my-pass"
    def __call__(self, program):
        return program

def machine():
    return replace(load_machine("sn30"), name="MINE", clock_ghz=0.5)

rules = Path(__file__).with_name("rules.yaml")
"""
POINTS = """[snc.passes]
my-pass = my_package:Nothing
broken = my_package:missing
[snc.machines]
my-rdu = my_package:machine
[snc.rules]
my-rules = my_package:rules
"""


def test_packages_add_passes_machines_and_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text(PACKAGE)
    rules = Path("backends/rdu/fuse/rules/default.yaml").read_text()
    (tmp_path / "my_package" / "rules.yaml").write_text(rules)
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    own = snc.compile(nn.Linear(4, 4), torch.ones(2, 4), arch="my-rdu", passes="canonicalize,my-pass,dce")
    assert own.pef.machine.name == "MINE"
    assert snc.compile(nn.Linear(4, 4), torch.ones(2, 4), level="o1", rules="my-rules").sections
    message = "my_package:missing, which my-package adds to snc.passes as 'broken', does not load"
    with pytest.raises(UsageError, match=message):
        snc.compile(nn.Linear(4, 4), torch.ones(2, 4), passes="broken")
