"""Plans as text: a mapping stopped after any step and taken on from what was written ends in the same PEF."""

from __future__ import annotations

import pytest
import yaml

from backends.rdu.compile import BackendOptions, advance, compile_program, emit_program
from backends.rdu.dump.plan_text import parse_plan, print_plan
from backends.rdu.fuse.rules_file import read_rules
from backends.rdu.machine import load_machine
from backends.rdu.plan import Plan, Step
from compiler.frontend.capture import capture
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir.errors import UsageError
from ir.graph import Program
from ir.text import parse_program, print_program
from pef.check import check
from tests.models.toolchain import spec

SN30 = load_machine("sn30")
LEVELS = {
    "o0": BackendOptions(fuse=False),
    "o1": BackendOptions(fuse=False, rules=read_rules(None, with_default=True)),
    "o3": BackendOptions(),
}


def program_of(model: str) -> Program:
    return PassManager(standard_pipeline("mp0")).run(capture(spec(model), inference=model == "lenet").program)


def dumped(program: Program, options: BackendOptions, step: Step) -> str:
    plan = Plan.of(program)
    advance(plan, SN30, options, step)
    return print_plan(plan, SN30, options, step)


FULL = pytest.mark.full
CASES = [
    ("lenet", "o3"),
    *(
        pytest.param(m, o, marks=FULL)
        for m, o in (("lenet", "o0"), ("lenet", "o1"), ("res_ffn", "o0"), ("res_ffn", "o3"))
    ),
    *(pytest.param("transformer", level, marks=FULL) for level in LEVELS),
]


@pytest.mark.parametrize(("model", "level"), CASES)
def test_a_plan_goes_on_from_its_text_to_the_same_pef(model: str, level: str) -> None:
    program, options = program_of(model), LEVELS[level]
    plan = Plan.of(program)
    texts = {}
    for step in Step:
        advance(plan, SN30, options, step)
        texts[step] = print_plan(plan, SN30, options, step)
    whole = emit_program(plan, SN30, options).SerializeToString(deterministic=True)
    assert whole == compile_program(program, SN30, options).SerializeToString(deterministic=True)
    for step, text in texts.items():
        again = parse_program(print_program(program))
        read, machine, found, last = parse_plan(text, again, "plan.yaml")
        assert last is step
        assert print_plan(read, machine, found, last) == text, "the text says all there is"
        advance(read, machine, found)
        assert emit_program(read, machine, found).SerializeToString(deterministic=True) == whole, step


def test_a_changed_plan_is_what_is_compiled() -> None:
    program = program_of("lenet")
    data = yaml.safe_load(dumped(program, BackendOptions(), Step.PLACE))
    sites = data["configurations"][0]["sites"]
    first, second = (next(i for i, s in enumerate(sites) if s[0] == "pcu" and i > after) for after in (-1, 5))
    sites[first][2], sites[second][2] = sites[second][2], sites[first][2]
    plan, machine, options, _ = parse_plan(yaml.safe_dump(data), program, "plan.yaml")
    advance(plan, machine, options)
    pef = emit_program(plan, machine, options)
    check(pef)
    assert pef.configurations[0].units[first].site == sites[first][2]
    before = compile_program(program, SN30)
    assert pef.configurations[0].units[first].site == before.configurations[0].units[second].site


def test_an_operator_moves_to_a_section_of_its_own() -> None:
    program = program_of("lenet")
    data = yaml.safe_load(dumped(program, BackendOptions(), Step.CUT))
    [graph] = data["graphs"]
    stages = graph["sections"][0]["stages"]
    assert len(graph["sections"]) == 1 and len(stages) > 2
    graph["sections"] = [{"stages": stages[:-1]}, {"stages": stages[-1:]}]
    plan, machine, options, _ = parse_plan(yaml.safe_dump(data), program, "plan.yaml")
    advance(plan, machine, options)
    pef = emit_program(plan, machine, options)
    check(pef)
    assert len(pef.sections) == 2
    graph["sections"].reverse()
    with pytest.raises(UsageError, match=r"plan.yaml: graphs\[0\].sections: .* before it is made"):
        parse_plan(yaml.safe_dump(data), program, "plan.yaml")


BROKEN = {
    "not YAML": ("step: cut", "step: [cut", "is not YAML"),
    "no plan": ("step: cut", "step: sail", "is not a dump of a plan"),
    "another format": ("format: 1", "format: 9", "format 9"),
    "an unknown value": ("writes: [", "writes: [nowhere, ", "has no value %nowhere"),
    "an unknown stage": ("- stages: [0 ", "- stages: [7777 ", "there is no stage"),
    "an unknown option": ("fuse: true", "fuze: true", "expected fuse"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_dump_is_refused_with_its_place(what: str) -> None:
    program = program_of("lenet")
    text = dumped(program, BackendOptions(), Step.CUT)
    old, new, message = BROKEN[what]
    assert old in text, text
    with pytest.raises(UsageError, match=r"plan\.yaml") as caught:
        parse_plan(text.replace(old, new, 1), program, "plan.yaml")
    assert message in str(caught.value)
