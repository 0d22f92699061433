"""Planted faults: a wrong kernel, a wrong pass, a wrong section, a wrong tile. Each is found, and reduced."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import workbench.bisect.bisect as bisecting
from backends.rdu.compile import BackendOptions, emit_program
from backends.rdu.machine import load_machine
from compiler.driver import CompileRequest, Target
from compiler.passes import PASSES
from ir.graph import Graph, Node, Program
from ir.op import OPS, Array
from ir.ops.elementwise import Add, Sub
from ir.text import parse_program, print_program
from pef import pef_pb2 as pb
from tests.cli.conftest import assert_refused, run_snc
from workbench.bisect.bisect import bisect, bisect_program
from workbench.bisect.findings import Bisection, Finding
from workbench.numbers.runs import complete_values
from workbench.numbers.subject import Subject
from workbench.reduce.reduce import fails_with, numbers_differ, reduce_program, size

LINE = next(
    number
    for number, line in enumerate(Path("tests/cli/conftest.py").read_text().partition('MODEL = """')[2].splitlines(), 1)
    if "torch.tanh" in line
)
"""Where the small model calls tanh."""

TWO_ROWS = """
program @net {
  symbol %x : f32[64,32] input
  symbol %w : f32[32,32] parameter
  symbol %v : f32[32,16] parameter
  symbol %y : f32[64,16] output
  symbol %z : f32[64,32] output
  graph FWD (%x, %w, %v) {
    %a = matmul(%x, %w) {dtype=f32} : f32[64,32] @ "net.py":3 ""
    %b = tanh(%a) : f32[64,32] @ "net.py":4 ""
    %c = add(%b, %x) : f32[64,32] @ "net.py":5 ""
    %d = matmul(%c, %v) {dtype=f32} : f32[64,16] @ "net.py":6 ""
    %e = mul(%c, %c) : f32[64,32] @ "net.py":7 ""
    store %d -> %y
    store %e -> %z
  }
}
"""


def subject(text: str = TWO_ROWS) -> Subject:
    program = parse_program(text)
    return Subject(program, complete_values(program, {}))


def target(passes: str = "canonicalize,dce", **options: Any) -> Target:
    request = CompileRequest("m.py", passes=passes)
    return replace(request.target(), options=BackendOptions(**options))


def plant(monkeypatch: pytest.MonkeyPatch, op: str, damage: Callable[[Array, Array], None]) -> None:
    """Let the kernel of an operator of one operand damage its result, which it is told with the operand."""
    right = OPS[op].kernel

    def kernel(self: Any, operand: Array, result: Array, *scratch: Array) -> None:
        right(self, operand, result, *scratch)
        damage(operand, result)

    monkeypatch.setattr(OPS[op], "kernel", kernel)


@dataclass(frozen=True)
class Sloppy:
    """Makes a difference of every sum whose result another sum reads."""

    name: ClassVar[str] = "sloppy"

    def __call__(self, program: Program) -> Program:
        def changed(node: Node) -> Node:
            return replace(node, op=Sub()) if isinstance(node.op, Add) else node

        def each(graph: Graph) -> Graph:
            return graph.with_nodes(tuple(map(changed, graph.nodes)))

        return replace(program, graphs=tuple(map(each, program.graphs)))


def test_right_numbers_are_found_right(workshop: Path) -> None:
    found = bisect(CompileRequest(str(workshop / "small.py")))
    assert found.sentence() == "the numbers agree with PyTorch's at every step"
    assert {finding.level for finding in found.findings} == {"operator", "capture", "pass", "section"}
    assert not any(finding.is_off for finding in found.findings)
    assert all(finding.isolated is not None for finding in found.findings)


def test_a_wrong_kernel_is_found_beside_pytorch(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "tanh", lambda operand, result: np.multiply(result, 1.01, out=result))
    found = bisect(CompileRequest(str(workshop / "small.py")))
    [culprit] = found.culprits
    assert culprit.level == "operator" and culprit.name == "tanh, for aten.tanh"
    assert culprit.where.startswith(f"small.py:{LINE}")
    assert culprit.isolated == pytest.approx(0.01, rel=0.01)
    behind = [finding for finding in found.findings if finding.is_off and not finding.is_wrong]
    assert behind, "what is computed from it is off, and not to blame"
    assert all(finding.level in ("operator", "capture") for finding in found.findings if finding.is_off)


def test_a_wrong_pass_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "sloppy", Sloppy)
    findings = bisect_program(subject(), target("canonicalize,sloppy,dce"))
    [culprit] = Bisection(findings).culprits
    assert (culprit.level, culprit.name) == ("pass", "sloppy")
    after = next(finding for finding in findings if finding.name == "dce")
    assert after.is_off and not after.is_wrong


def test_opt_refuses_a_wrong_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "sloppy", Sloppy)
    path = tmp_path / "net.ir"
    path.write_text(TWO_ROWS)
    result = run_snc("opt", path, "-p", "canonicalize,sloppy", "--verify")
    assert result.exit_code == 2 and "pass sloppy changes" in result.stderr
    assert "sub(" in result.stdout, "the program is printed all the same"
    assert run_snc("opt", path, "-p", "canonicalize,sloppy").exit_code == 0, "nobody asked for the numbers"
    shown = run_snc("opt", path, "-p", "canonicalize,precision{preset=mp4},dce", "--verify", "--print-between")
    assert shown.exit_code == 0, shown.output
    assert [line for line in shown.stdout.splitlines() if line.startswith("//")] == [
        "// after canonicalize",
        "// after precision",
        "// after dce",
    ]
    assert_refused(run_snc("opt", path, "-p", "sail"), "USAGE", "there is no pass 'sail'")


def test_a_wrong_section_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(*arguments: Any) -> pb.Pef:
        pef = emit_program(*arguments)
        section = pef.sections[-1]
        names = [pef.symbols[index].name for index in section.bindings]
        first, second = names.index("w"), names.index("u")
        section.bindings[first], section.bindings[second] = section.bindings[second], section.bindings[first]
        return pef

    monkeypatch.setattr(bisecting, "emit_program", swapped)
    text = TWO_ROWS.replace("%v : f32[32,16]", "%u : f32[32,32]").replace("%v", "%u")
    text = text.replace("%y : f32[64,16]", "%y : f32[64,32]").replace("f32[64,16] @", "f32[64,32] @")
    findings = bisect_program(subject(text), target())
    culprits = Bisection(findings).culprits
    assert culprits[0].level == "section" and culprits[0].name == "fwd_0"
    assert {culprit.name for culprit in culprits if culprit.level == "load"} == {"u", "w"}
    assert not any(culprit.level == "stage" for culprit in culprits), "stages are right on right inputs"


def in_tiles(damage: Callable[[Array, Array], None]) -> Callable[[Array, Array], None]:
    """Damage that only a stage that fires several times meets."""

    def kernel(operand: Array, result: Array) -> None:
        if len(operand) < 64:
            damage(operand, result)

    return kernel


def counted(own: Subject, monkeypatch: pytest.MonkeyPatch, row: int) -> None:
    """Let tanh be wrong in the tile that holds a row of the whole tensor, and nowhere else."""
    rows = own.values["x"] @ own.values["w"]
    marked = rows[row]

    def damage(operand: Array, result: Array) -> None:
        where = np.isclose(operand.reshape(-1, rows.shape[1]), marked, atol=1e-5).all(axis=1)
        result.reshape(-1, rows.shape[1])[where] = 7.0

    plant(monkeypatch, "tanh", in_tiles(damage))


def test_a_wrong_tile_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    own = subject()
    counted(own, monkeypatch, row=41)
    findings = bisect_program(own, target())
    section, stage, tile = Bisection(findings).culprits
    assert (section.level, stage.level, tile.level) == ("section", "stage", "tile")
    assert "tanh" in stage.name and stage.where.startswith("net.py")
    first, last = map(int, tile.name.split("[")[1].split(",")[0].split(":"))
    assert first <= 41 < last and last - first < 64
    assert tile.isolated is not None and stage.isolated is not None and tile.isolated > stage.isolated
    others = [f for f in findings if f.level in ("stage", "load") and f is not stage]
    assert others and not any(finding.is_wrong for finding in others), "the others are right on right inputs"


def test_a_wrong_tile_is_reduced_to_one_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    own = subject()
    plant(monkeypatch, "tanh", in_tiles(lambda operand, result: np.multiply(result, 2, out=result)))
    shows = numbers_differ(own, target("dce"), "section")
    assert shows(own.program)
    found = reduce_program(own.program, shows)
    [graph] = found.program.graphs
    assert [node.op.name for node in graph.nodes] == ["tanh"]
    assert size(found.program) < size(own.program)
    assert shows(parse_program(print_program(found.program)))


def test_a_wrong_pass_is_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "sloppy", Sloppy)
    path, small = tmp_path / "net.ir", tmp_path / "small.ir"
    path.write_text(TWO_ROWS)
    result = run_snc("reduce", path, "--passes", "sloppy,dce", "-o", small)
    assert result.exit_code == 0, result.output
    [graph] = parse_program(small.read_text()).graphs
    assert [node.op.name for node in graph.nodes] == ["add"]
    assert all(value.type.numel <= 4 for value in graph.values()), "and its extents are small"
    assert "left: 1 node, " in result.stderr


def test_an_error_is_reduced_to_what_causes_it() -> None:
    machine = replace(load_machine("sn30"), tiers=(replace(load_machine("sn30").tiers[0], capacity_bytes=8_000),))
    own = subject()
    shows = fails_with("INFEASIBLE", replace(target("dce"), machine=machine))
    assert shows(own.program)
    found = reduce_program(own.program, shows)
    assert len(found.program.graphs[0].nodes) == 1
    assert shows(found.program)


def test_a_command_says_what_to_look_for(tmp_path: Path) -> None:
    path = tmp_path / "net.ir"
    path.write_text(TWO_ROWS)
    result = run_snc("reduce", path, "--command", "grep -q mul {} && grep -q tanh {}")
    assert result.exit_code == 0, result.output
    names = [node.op.name for node in parse_program(result.stdout).graphs[0].nodes]
    assert len(names) <= 3 and "tanh" in names and any("mul" in name for name in names)
    assert_refused(run_snc("reduce", path, "--command", "grep -q sail {}"), "USAGE", "does not show it")
    assert_refused(run_snc("reduce", path), "USAGE", "nothing to reduce")
    single = run_snc("reduce", path, "--command", "grep -q tanh {}")
    assert "left: 1 node, 2 symbols, 2 elements" in single.stderr
    assert_refused(run_snc("reduce", path, "--error", "SAIL"), "USAGE", "there is no error 'SAIL'", "INFEASIBLE")
    both = run_snc("reduce", path, "--error", "INFEASIBLE", "--command", "true")
    assert_refused(both, "USAGE", "--error and --command are two faults to look for")


def test_the_command_bisect(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_snc("bisect", workshop / "small.py", "--inference", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["result"].startswith("the numbers agree")
    plant(monkeypatch, "tanh", lambda operand, result: np.multiply(result, 1.01, out=result))
    result = run_snc("bisect", workshop / "small.py", "--inference")
    assert result.exit_code == 1
    assert f"operator tanh, for aten.tanh (small.py:{LINE}) is off by 1" in result.stdout


def test_errors_that_only_add_up_are_said_to() -> None:
    findings = [Finding("pass", name, 0.5e-4, total, 1e-4) for name, total in (("a", 0.5e-4), ("b", 2e-4))]
    assert Bisection(findings).culprits == []
    assert Bisection(findings).sentence() == "errors add up to 2.0e-04 at pass b, and no step makes them by itself"
