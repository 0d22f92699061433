"""--o1 in SambaFlow programs: rules, and regions that the program marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ir.errors import UsageError
from pef import file
from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba._capture.compilation import compile_request
from sambaflow.samba.argconf.args import CompileArgs
from sambaflow.samba.directives import op_fusion
from tests.sdk.programs import batch, classifier, compiled
from tests.sdk.test_options import warnings  # noqa: F401

RULES = "tail: {priority: 3, heuristic: MHA, pattern: {bias: {op_type: add, child: end}, end: {op_type: log_softmax}}}"


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(12, 16)
        self.down = nn.Linear(16, 12)
        self.norm = nn.LayerNorm(12)

    def forward(self, x: Tensor) -> Tensor:
        with op_fusion(func_name="mlp", heuristic="SAFE_GEMM"):
            y = self.down(torch.relu(self.up(x)))
        return self.norm(x + y)


class Marked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.gate = nn.Sequential(nn.Linear(12, 12), nn.Sigmoid())
        self.head = nn.Linear(12, 3)
        op_fusion(self.gate, "Gate")

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        for block in self.blocks:
            image = block(image)
        return nn.functional.cross_entropy(self.head(image * self.gate(image)), label)


def sections(pef: str) -> list[tuple[str, str]]:
    """Type and rule of every section."""
    return [(section.kind, section.rule) for section in file.read(pef).sections]


def marked() -> tuple[Marked, tuple[samba.SambaTensor, ...], Any]:
    torch.manual_seed(0)
    model = Marked()
    samba.from_torch_model_(model)
    generator = torch.Generator().manual_seed(1)
    image = samba.from_torch_tensor(torch.randn(4, 12, generator=generator), name="image", batch_dim=0)
    label = samba.from_torch_tensor(torch.tensor([0, 2, 1, 1]), name="label", batch_dim=0)
    return model, (image, label), samba.optim.SGD(model.parameters(), lr=0.1)


def test_regions_become_one_section_each_forward_and_backward() -> None:
    model, inputs, optimizer = marked()
    found = sections(compiled(model, inputs, optimizer, arguments={"o1": True}))
    for region in ("region mlp (SAFE_GEMM)", "region mlp.1 (SAFE_GEMM)", "region Gate"):
        assert found.count(("FWD", region)) == 1, region
        assert found.count(("BCKWD", region)) == 1, region
    assert ("FWD", "norm") in found and ("OPT", "optimizer") in found


def test_a_second_trace_numbers_regions_the_same() -> None:
    first, second = (
        sections(compiled(*marked(), arguments={"o1": True, "pef_name": name})) for name in ("first", "second")
    )
    assert first == second


def test_reuse_last_id_goes_on_with_the_last_region() -> None:
    class Halves(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            with op_fusion(func_name="half"):
                image = torch.cumsum(image, 1)
            with op_fusion(func_name="half", reuse_last_id=True):
                return torch.softmax(image, 1)

    pef = compiled(Halves(), batch()[:1], inference=True, arguments={"o1": True})
    assert sections(pef) == [("FWD", "region half")]


def test_training_at_o1_is_training_at_o3() -> None:
    losses = []
    for level in ("o1", "o3"):
        samba.session.reset()
        model, inputs, optimizer = marked()
        pef = compiled(model, inputs, optimizer, arguments={level: True})
        outputs = utils.trace_graph(model, inputs, optimizer, pef=pef)
        losses.append([float(samba.session.run(inputs, outputs)[0]) for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][2] < losses[0][0]


def test_rules_of_a_file_are_applied_and_told_in_the_log() -> None:
    Path("rules.yaml").write_text(RULES)
    pef = compiled(classifier(), batch(), arguments={"o1": True, "optimization_rules": "rules.yaml"}, inference=True)
    assert ("FWD", "tail (MHA)") in sections(pef)
    log = Path(pef).with_name("model.plasma_compile.log").read_text()
    assert "fused by tail (MHA)" in log and "1 PCUs" not in log and "1 stages" not in log


def test_default_rules_may_be_left_out() -> None:
    Path("rules.yaml").write_text(RULES)
    arguments = {"optim_level": "o1", "optimization_rules": "rules.yaml", "use_o1_default_rules": False}
    pef = compiled(classifier(), batch(), arguments=arguments, inference=True)
    assert {rule for _, rule in sections(pef)} == {"", "tail (MHA)"}


def test_rules_without_o1_are_ignored_with_a_warning(warnings: pytest.LogCaptureFixture) -> None:  # noqa: F811
    Path("rules.yaml").write_text(RULES)
    pef = compiled(classifier(), batch(), arguments={"optimization_rules": "rules.yaml"}, inference=True)
    assert {rule for _, rule in sections(pef)} == {""}
    assert "--optimization-rules rules.yaml is ignored at --o3: give --o1" in warnings.text


def test_a_file_without_rules_is_refused() -> None:
    Path("rules.yaml").write_text("- a: {priority: 1}")
    with pytest.raises(UsageError, match=r"rules\.yaml:1: rule a has no pattern"):
        compiled(classifier(), batch(), arguments={"o1": True, "optimization_rules": "rules.yaml"}, inference=True)


@pytest.mark.parametrize(("given", "level"), [("o0", "o0"), ("o1", "o1"), ("o1hd", "o1"), ("o3", "o3"), (None, "o3")])
def test_the_structured_level_is_the_option(given: str | None, level: str) -> None:
    arguments = CompileArgs(optim_level=given).model_dump()
    assert compile_request(arguments, "app", inference=True).level == level


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(UsageError, match="no optimisation level 'o2'"):
        compile_request({"optim_level": "o2"}, "app", inference=True)
