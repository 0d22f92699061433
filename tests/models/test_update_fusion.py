"""Parameters updated behind their gradients: the same training, with less moved, and apart where a host needs it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.nn import functional

from backends.rdu.cut.search import Cutter
from backends.rdu.machine import load_machine
from backends.rdu.stream.nests import Phase
from benchmarks.unplaced import compile_unplaced
from compiler.driver import CompileRequest, compile_spec
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from compiler.update_fusion import fused_where_it_pays, with_fused_update
from ir import interpreter
from ir.builder import GraphBuilder
from ir.errors import UsageError
from ir.graph import Program, SectionKind, Symbol, SymbolKind
from ir.location import Location
from ir.op import OPS
from ir.types import DType, TensorType
from pef.checks.symbols import updated_in_step
from pef.decoded_pef import DecodedPef
from runtime.session import Session
from tests.models.toolchain import OPTIMIZERS, compiled, spec, train_beside_torch

TOLERANCE = 1e-5
APART = {"BCKWD", "OPT"}


class Tied(nn.Module):
    """A table that is read by its rows, and as the last projection; a norm whose statistics are buffers; a parameter
    that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(24, 16)
        self.hidden = nn.Linear(16, 16)
        self.norm = nn.BatchNorm1d(16)
        self.scale = nn.Parameter(torch.rand(16), requires_grad=False)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x = self.norm(functional.gelu(self.hidden(self.table(tokens)))) * self.scale
        return functional.cross_entropy(x @ self.table.weight.T, targets)


def tied(optimizer: str) -> ModelSpec:
    torch.manual_seed(3)
    module = Tied()
    inputs = {"tokens": torch.randint(24, (32,)), "targets": torch.randint(24, (32,))}
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return ModelSpec(module, inputs, optimizer=OPTIMIZERS[optimizer](trained), name="tied")


SAMPLE = [("res_ffn", "adamw"), ("lenet", "sgd"), ("tied", "adamw")]
EVERYTHING = itertools.product(("res_ffn", "lenet", "transformer", "tied"), OPTIMIZERS)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [pytest.param(*case, marks=() if case in SAMPLE else pytest.mark.full) for case in EVERYTHING],
)
def test_training_equals_pytorch(model: str, optimizer: str) -> None:
    subject = tied(optimizer) if model == "tied" else spec(model, optimizer)
    made = compiled(subject, fused_update=True)
    assert {section.kind for section in made.pef.sections} == {"FWD", "BCKWD_OPT"}
    assert not [symbol for symbol in made.program.symbols if symbol.kind is SymbolKind.GRADIENT]
    if model == "tied":
        for parameter in subject.model.parameters():
            parameter.requires_grad_()  # so that PyTorch says what all gradients are; the optimizer leaves one alone
    worst = train_beside_torch(subject, made, 3)
    assert {name: error for name, error in worst.items() if error > TOLERANCE} == {}


def test_less_crosses_memory_and_a_step_takes_less_time() -> None:
    module = nn.Sequential(nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024))
    optimizer = torch.optim.AdamW(module.parameters())
    subject = ModelSpec(module, {"input": torch.randn(64, 1024)}, optimizer=optimizer, loss=lambda y: y.square().mean())
    moved, cycles = {}, {}
    for fused in (False, True):
        report = compiled(subject, fused_update=fused).session().run_timing()
        sections = [section.execution for section in report.sections]
        moved[fused] = sum(sum(section.read_bytes) + sum(section.write_bytes) for section in sections)
        cycles[fused] = report.cycles
    parameters = 4 * sum(parameter.numel() for parameter in subject.model.parameters())
    assert moved[True] < moved[False] - 1.5 * parameters
    assert cycles[True] < cycles[False]


def test_both_executors_agree() -> None:
    subject = spec("res_ffn", "adamw")
    made = compiled(subject, fused_update=True)
    inputs = {name: to_array(tensor) for name, tensor in subject.inputs.items()}
    sessions = [made.session(), made.session(strict=True)]
    for _ in range(2):
        for session in sessions:
            session.run(inputs=inputs)
    for name in made.values:
        assert_allclose(sessions[0].read(name), sessions[1].read(name), rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_forward_pass_alone_changes_nothing_and_sections_that_are_one_cannot_run_apart() -> None:
    subject = spec("res_ffn", "sgd")
    session = compiled(subject, fused_update=True).session()
    before = {name: session.read(name).copy() for name, _ in subject.model.named_parameters()}
    session.run(["FWD"], inputs={name: to_array(tensor) for name, tensor in subject.inputs.items()})
    assert all(np.array_equal(session.read(name), value) for name, value in before.items())
    with pytest.raises(UsageError, match=r"no 'OPT' section[\s\S]*--separate-optimizer"):
        session.run(["opt"])


@pytest.mark.parametrize("change", [{"separate_optimizer": True}, {"level": "o0"}, {"level": "o1"}])
def test_apart_where_that_is_asked_for(tmp_path: Path, change: dict[str, object]) -> None:
    request = CompileRequest("res_ffn", output_folder=tmp_path, **change)  # type: ignore[arg-type]
    session = Session(compile_spec(spec("res_ffn"), request).pef)
    assert {section.kind for section in session.pef.sections} == {"FWD", *APART}
    assert session.names(SymbolKind.GRADIENT)


def test_apart_where_something_stands_between(tmp_path: Path) -> None:
    clipped = compile_spec(spec("res_ffn", max_grad_norm=1.0), CompileRequest("res_ffn", output_folder=tmp_path)).pef
    assert {section.kind for section in clipped.sections} == {"FWD", "GRADNORM", *APART}
    request = CompileRequest("res_ffn", output_folder=tmp_path, replicas=2)
    averaged = compile_spec(spec("res_ffn"), request).pef
    assert {section.kind for section in averaged.sections} == {"FWD", "REDUCE", *APART}


def test_only_where_parameters_are_much_of_what_is_moved() -> None:
    for batch, fused in ((4, True), (4096, False)):
        module = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64))
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        inputs = {"input": torch.randn(batch, 64)}
        subject = ModelSpec(module, inputs, optimizer=optimizer, loss=lambda y: y.square().mean(), name="mlp")
        program = capture(subject, inference=False).program
        assert (fused_where_it_pays(program).graph(SectionKind.BCKWD_OPT) is not None) == fused


def test_as_it_is_compiled_unless_asked_otherwise(tmp_path: Path) -> None:
    result = compile_spec(spec("res_ffn"), CompileRequest("res_ffn", output_folder=tmp_path))
    assert {section.kind for section in result.pef.sections} == {"FWD", "BCKWD_OPT"}
    inference = CompileRequest("res_ffn", inference=True, output_folder=tmp_path)
    assert {section.kind for section in compile_spec(spec("res_ffn"), inference).pef.sections} == {"FWD"}


def test_every_update_comes_right_behind_its_gradient_and_behind_all_who_read_the_parameter() -> None:
    program = compiled(tied("adamw")).program
    backward, fused = program.graph(SectionKind.BCKWD), with_fused_update(program).graph(SectionKind.BCKWD_OPT)
    assert backward is not None and fused is not None
    made = {result.name: number for number, node in enumerate(fused.nodes) for result in node.results}
    own = {result.name for node in backward.nodes for result in node.results}
    for output in fused.outputs:
        readers = [n for n, node in enumerate(fused.nodes) for value in node.operands if value.name == output.symbol]
        before = [number for number in readers if fused.nodes[number].results[0].name in own]
        assert made[output.value.name] > max(before, default=-1)
    hidden = made[next(output.value.name for output in fused.outputs if output.symbol == "hidden.weight")]
    assert any(result.name in own for node in fused.nodes[hidden:] for result in node.results)  # not at the end


def test_no_part_of_a_parameter_is_stored_before_who_reads_it_has_loaded_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops cut a weight for its product and for its update in other ways: some phases are not considered."""
    found = {True: 0, False: 0}
    decide = Cutter._updates_in_step

    def counted(cutter: Cutter, phase: Phase) -> bool:
        legal = decide(cutter, phase)
        found[legal] += 1
        return legal

    monkeypatch.setattr(Cutter, "_updates_in_step", counted)
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(1600, 6400), nn.GELU(), nn.Linear(6400, 1600))
        inputs = {"input": torch.empty(4096, 1600)}
    optimizer = torch.optim.AdamW(module.parameters())
    subject = ModelSpec(module, inputs, optimizer=optimizer, loss=lambda y: y.square().mean(), name="mlp")
    program = PassManager(standard_pipeline("mp4")).run(capture(subject, inference=False).program)
    decoded = DecodedPef(compile_unplaced(with_fused_update(program), load_machine("sn30")))
    configurations = {number: decoded.configuration(number) for number in range(len(decoded.record.configurations))}
    assert list(updated_in_step(decoded.record, configurations)) == []
    assert found[True] and found[False]


def test_an_update_starts_from_what_back_propagation_has_stored() -> None:
    """As where forward itself writes into a parameter: the optimizer goes on from that."""
    type = TensorType(DType.F32, (4,))
    graphs = []
    for kind in (SectionKind.BCKWD, SectionKind.OPT):
        builder = GraphBuilder(kind)
        builder.location = Location("model.py", 1, "", "")
        weight, gradient = builder.input("w", type), builder.input("x" if kind is SectionKind.BCKWD else "w.grad", type)
        builder.output("w", builder.add(OPS["add"](), weight, gradient))
        if kind is SectionKind.BCKWD:
            builder.output("w.grad", builder.add(OPS["mul"](), weight, gradient))
        graphs.append(builder.build())
    kinds = {"w": SymbolKind.PARAMETER, "x": SymbolKind.INPUT, "w.grad": SymbolKind.GRADIENT}
    program = Program("step", tuple(Symbol(name, type, kind) for name, kind in kinds.items()), tuple(graphs))
    values = {"w": np.float32([1, 2, 3, 4]), "x": np.float32([5, 6, 7, 8])}
    apart = {**values}
    for graph in program.graphs:
        apart.update(interpreter.run(graph, apart))
    (fused,) = with_fused_update(program).graphs
    assert np.array_equal(interpreter.run(fused, values)["w"], apart["w"])
    assert [output.symbol for output in fused.outputs] == ["w"]
