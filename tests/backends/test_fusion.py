"""Fusion by rules: what matches, what becomes one section, and what rule files are refused for."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest
from networkx.algorithms.isomorphism import DiGraphMatcher

from backends.rdu.cut.sections import materialise, partition_graph
from backends.rdu.fuse.groups import _Flow, _matches, _Partition, fuse_by_rules
from backends.rdu.fuse.rules_file import read_rules
from backends.rdu.machine import load_machine
from compiler.frontend.capture import capture
from compiler.frontend.model_file import load_model
from ir.errors import UsageError
from ir.graph import Graph, SectionKind, Value
from ir.location import Location
from ir.types import DType
from tests.backends.test_mapping import Net

SN30 = load_machine("sn30")
EXAMPLES = Path(__file__).parents[2] / "examples"


def rules_of(tmp_path: Path, text: str, with_default: bool = False) -> tuple:  # type: ignore[type-arg]
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return read_rules(path, with_default=with_default)


def fused(graph: Graph, rules: tuple) -> list[tuple[str, list[str]]]:  # type: ignore[type-arg]
    """The groups that something fused: label, and the first results' names."""
    groups = fuse_by_rules(graph, rules)
    busy = [node for node in graph.nodes if not node.op.is_free]
    assert sorted(map(id, busy)) == sorted(id(node) for group in groups for node in group.nodes)
    return [(group.label, [node.op.name for node in group.nodes]) for group in groups if group.label]


def layer(net: Net, x: Value, name: str) -> Value:
    """relu(x w + b), with a view before the bias."""
    product = net("matmul", x, net.weight(f"{name}.w", 16, 16))
    viewed = net("reshape", net("reshape", product, shape=(2, 4, 16)), shape=(8, 16))
    return net("relu", net("add", viewed, net.weight(f"{name}.b", 16)))


def two_layers() -> Graph:
    net = Net()
    net.output("y", layer(net, layer(net, net.input("x", 8, 16), "a"), "b"))
    return net.graph()


GEMM = """
- gemm:
    priority: {priority}
    heuristic: {{name: SAFE_GEMM, tp_dim: 1}}
    pattern:
      product: {{op_type: linear, child: bias}}
      bias: {{op_type: add, required: false, child: activation}}
      activation: {{op_type: [relu, gelu], required: false}}
"""


def test_a_product_its_bias_and_its_activation_become_one_section(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, GEMM.format(priority=1))
    assert fused(two_layers(), rules) == [("gemm (SAFE_GEMM)", ["matmul", "add", "relu"])] * 2
    cut = materialise(partition_graph(two_layers(), SN30, fuse=False, budget=0.9, rules=rules))
    assert [section.rule for section in cut.sections] == ["gemm (SAFE_GEMM)"] * 2


@pytest.mark.parametrize("present", [("add",), ("relu",), ()])
def test_what_is_optional_may_be_absent(tmp_path: Path, present: tuple[str, ...]) -> None:
    net = Net()
    y = net("matmul", net.input("x", 8, 16), net.weight("w", 16, 16))
    y = net("add", y, net.weight("b", 16)) if "add" in present else y
    y = net("relu", y) if "relu" in present else y
    net.output("y", y)
    expected = [("gemm (SAFE_GEMM)", ["matmul", *present])] if present else []
    assert fused(net.graph(), rules_of(tmp_path, GEMM.format(priority=1))) == expected


def test_the_higher_priority_matches_first_and_a_file_comes_before_the_default_rules(tmp_path: Path) -> None:
    other = "- tail: {priority: 5, pattern: {bias: {op_type: add, child: end}, end: {op_type: relu}}}\n"
    assert fused(two_layers(), rules_of(tmp_path, GEMM.format(priority=9) + other))[0][1] == ["matmul", "add", "relu"]
    assert fused(two_layers(), rules_of(tmp_path, GEMM.format(priority=1) + other)) == [("tail", ["add", "relu"])] * 2
    assert fused(two_layers(), rules_of(tmp_path, other, with_default=True)) == [("tail", ["add", "relu"])] * 2


def test_what_is_not_included_must_match_and_stays_outside(tmp_path: Path) -> None:
    text = """
    epilogue:
      pattern:
        product: {op_type: gemm, included: false, child: bias}
        bias: {op_type: add, child: end}
        end: {op_type: relu}
    """
    net = Net()
    x = net.input("x", 8, 16)
    net.output("y", layer(net, x, "a"))
    net.output("z", net("relu", net("add", x, net.weight("c", 16))))
    assert fused(net.graph(), rules_of(tmp_path, text)) == [("epilogue", ["add", "relu"])]


@pytest.mark.parametrize(("options", "taken"), [("[plus, times]", "add"), ("[times, plus]", "mul")])
def test_the_first_option_that_matches_is_the_child(tmp_path: Path, options: str, taken: str) -> None:
    text = f"""
    choice:
      pattern:
        product: {{op_type: matmul, match_first_option: {options}}}
        plus: {{op_type: add}}
        times: {{op_type: mul}}
    """
    net = Net()
    y = net("matmul", net.input("x", 8, 16), net.weight("w", 16, 16))
    net.output("a", net("add", y, y))
    net.output("b", net("mul", y, y))
    assert fused(net.graph(), rules_of(tmp_path, text)) == [("choice", ["matmul", taken])]


def test_several_children_must_all_match(tmp_path: Path) -> None:
    text = """
    fork:
      pattern:
        start: {op_type: relu, children: [left, right]}
        left: {op_type: matmul}
        right: {op_type: sum}
    """
    net = Net()
    x, w = net.input("x", 8, 16), net.weight("w", 16, 16)
    both, one = net("relu", x), net("relu", net("neg", x))
    net.output("a", net("matmul", both, w))
    net.output("b", net("sum", both, dims=(0,), keepdim=False))
    net.output("c", net("matmul", one, w))
    assert fused(net.graph(), rules_of(tmp_path, text)) == [("fork", ["relu", "matmul", "sum"])]


def test_repeat_takes_what_is_connected_and_the_rest_is_as_at_o0(tmp_path: Path) -> None:
    net = Net()
    x = net.input("x", 8, 16)
    left, right = net("exp", x), net("neg", x)
    net.output("y", net("mul", left, right))
    net.output("z", net("sqrt", net.input("other", 8, 16)))
    rules = rules_of(tmp_path, "chain: {pattern: {first: {op_type: elementwise, repeat: true}}}")
    assert fused(net.graph(), rules) == [("chain", ["exp", "neg", "mul"])]
    assert len(materialise(partition_graph(net.graph(), SN30, fuse=False, budget=0.9, rules=rules)).sections) == 2
    assert len(materialise(partition_graph(net.graph(), SN30, fuse=False, budget=0.9, rules=())).sections) == 4


def test_a_group_never_waits_for_what_waits_for_it(tmp_path: Path) -> None:
    """exp and add are connected, but a product lies on another way from one to the other."""
    net = Net()
    start = net("exp", net.input("x", 16, 16))
    net.output("y", net("add", start, net("matmul", start, net.weight("w", 16, 16))))
    pair = "pair: {pattern: {first: {op_type: exp, child: second}, second: {op_type: add}}}"
    assert fused(net.graph(), rules_of(tmp_path, pair)) == []
    chain = "chain: {pattern: {first: {op_type: elementwise, repeat: true}}}"
    assert fused(net.graph(), rules_of(tmp_path, chain)) == []


def test_patterns_look_through_casts_and_fuse_them(tmp_path: Path) -> None:
    net = Net()
    y = net("matmul", net.input("x", 8, 16), net.weight("w", 16, 16))
    y = net("cast", net("cast", y, dtype=DType.BF16), dtype=DType.F32)
    net.output("y", net("relu", y))
    rules = rules_of(tmp_path, GEMM.format(priority=1))
    assert fused(net.graph(), rules) == [("gemm (SAFE_GEMM)", ["matmul", "cast", "cast", "relu"])]


def test_matches_are_the_subgraphs_that_networkx_finds() -> None:
    spec = load_model(f"{EXAMPLES / 'transformer.py'}:tiny", 2)
    found = 0
    for graph in capture(spec, inference=False, recompute=False).program.graphs[:2]:
        flow = _Flow(graph)
        target = nx.DiGraph()
        target.add_nodes_from((index, {"op": node.op.name}) for index, node in enumerate(flow.nodes))
        target.add_edges_from((index, reader) for index, readers in enumerate(flow.links) for reader in readers)
        for variant in (variant for rule in read_rules() for variant in rule.variants()):
            pattern = nx.DiGraph(variant.edges)
            pattern.add_nodes_from((index, {"ops": node.op_types}) for index, node in enumerate(variant.nodes))
            types = frozenset[str]().union(*(node.op_types for node in variant.nodes))
            near = target.subgraph(index for index, node in enumerate(flow.nodes) if node.op.name in types)
            matcher = DiGraphMatcher(near, pattern, node_match=lambda node, wanted: node["op"] in wanted["ops"])
            maps = ({part: node for node, part in match.items()} for match in matcher.subgraph_monomorphisms_iter())
            expected = sorted(tuple(match[part] for part in range(len(variant.nodes))) for match in maps)
            anchors = range(len(flow.nodes))
            assert expected == sorted(m for at in anchors for m in _matches(variant, at, flow, _Partition(flow)))
            found += len(expected)
    assert found > 50


def test_rules_are_for_the_sections_they_name(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, "chain: {sections: opt, pattern: {first: {op_type: elementwise, repeat: true}}}")
    assert rules[0].sections == (SectionKind.OPT,)
    assert fused(two_layers(), rules) == []


def test_a_symbol_is_updated_after_everything_that_reads_it(tmp_path: Path) -> None:
    """The rule pulls the update (sub) forward; the other reader of w must still run before it."""
    net = Net()
    w, g = net.weight("w", 8, 16), net.input("g", 8, 16)
    update = net("sub", net("neg", w), g)
    net.output("y", net("exp", net("matmul", g, net("permute", w, dims=(1, 0)))))
    net.builder.output("w", update)
    rules = rules_of(tmp_path, "update: {pattern: {first: {op_type: neg, child: end}, end: {op_type: sub}}}")
    cut = materialise(partition_graph(net.graph(), SN30, fuse=False, budget=0.9, rules=rules))
    assert [section.stages[0].busy[0].op.name for section in cut.sections] == ["matmul", "neg", "exp"]


def test_a_group_too_large_for_the_machine_is_cut_and_says_so(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, "all: {pattern: {first: {op_type: any, repeat: true}}}")
    assert len(materialise(partition_graph(two_layers(), SN30, fuse=False, budget=0.9, rules=rules)).sections) == 1
    cut = materialise(partition_graph(two_layers(), SN30, fuse=False, budget=0.004, rules=rules))
    count = len(cut.sections)
    assert count > 1
    assert [section.rule for section in cut.sections] == [f"all, cut {i} of {count}" for i in range(1, count + 1)]


NODE = "{op_type: matmul}"


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("3", 1, "the file holds no rules"),
        ("- a: {priority: 1}", 1, "rule a has no pattern"),
        ("- a: nothing", 1, "rule a says nothing"),
        (f"- a:\n    priority: high\n    pattern: {{x: {NODE}}}", 2, "rule a has priority 'high'"),
        (f"- a:\n    patern: {{x: {NODE}}}", 2, "unknown key 'patern'"),
        (f"- a:\n    sections: [FWD, OPTIM]\n    pattern: {{x: {NODE}}}", 2, "sections of type OPTIM"),
        ("- a:\n    pattern:\n      x: {child: y}", 3, "x has no op_type"),
        ("- a:\n    pattern:\n      x:\n        op_type: matmull", 4, "there is no operator 'matmull'"),
        ("- a:\n    pattern:\n      x: {op_type: transpose}", 3, "transpose is a view"),
        ("- a:\n    pattern:\n      x: {op_type: relu, requird: false}", 3, "unknown key 'requird'"),
        ("- a:\n    pattern:\n      x: {op_type: relu, required: maybe}", 3, "x has required: 'maybe'"),
        ("- a:\n    pattern:\n      x: {op_type: relu, child: z}", 3, "the child 'z' of x is not in the pattern"),
        (
            "- a:\n    pattern:\n      x: {op_type: relu, match_first_option: y}",
            3,
            "child are not a list",
        ),
        (f"- a: {{pattern: {{x: {NODE}, y: {NODE}}}}}", 1, "x, y of rule a are not connected"),
        ("- a: {pattern: {x: {op_type: relu, child: y}, y: {op_type: relu, child: x}}}", 1, "go in a circle"),
        ("- a: {pattern: {x: {op_type: relu, required: false}}}", 1, "the first operator of rule a is optional"),
    ],
)
def test_rule_files_are_refused_with_the_line(tmp_path: Path, text: str, place: int, expected: str) -> None:
    with pytest.raises(UsageError) as error:
        rules_of(tmp_path, text)
    assert any(expected in problem.message for problem in error.value.problems), str(error.value)
    assert f"rules.yaml:{place}:" in str(error.value)
    assert all(problem.hint for problem in error.value.problems)


def test_everything_wrong_in_a_file_is_told_at_once(tmp_path: Path) -> None:
    text = "- a: {priority: x}\n- b: {pattern: {n: {op_type: rellu}}}\n"
    with pytest.raises(UsageError) as error:
        rules_of(tmp_path, text)
    assert len(error.value.problems) == 3
    assert "did you mean relu" in str(error.value)


def test_rules_with_too_many_ways_to_match_are_refused(tmp_path: Path) -> None:
    nodes = [f"n{i}: {{op_type: relu, required: false, child: n{i + 1}}}" for i in range(1, 11)]
    pattern = ", ".join(["n0: {op_type: relu, child: n1}", *nodes, "n11: {op_type: relu}"])
    with pytest.raises(UsageError, match="split the rule in two"):
        rules_of(tmp_path, f"long: {{pattern: {{{pattern}}}}}")


@pytest.mark.parametrize("content", [None, b"a: [", b"\xff\xfe\xff"])
def test_unreadable_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rules.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"rules\.yaml cannot be read"):
        read_rules(path)


def test_regions_come_before_rules_and_keep_to_themselves(tmp_path: Path) -> None:
    """A product in a region of its own is not fused with its bias; two halves around something else become two."""
    net = Net()
    inside, outside = Location("model.py", 1, "net", "Encoder"), Location("model.py", 2, "net")
    net.builder.location = inside
    product = net("matmul", net.input("x", 16, 16), net.weight("w", 16, 16))
    net.builder.location = outside
    net.output("y", net("relu", net("add", product, net.weight("b", 16))))
    rules = rules_of(
        tmp_path, GEMM.format(priority=1) + "- end: {pattern: {a: {op_type: add, child: r}, r: {op_type: relu}}}"
    )
    assert fused(net.graph(), rules) == [("region Encoder", ["matmul"]), ("end", ["add", "relu"])]

    net = Net()
    net.builder.location = inside
    first = net("exp", net.input("x", 16, 16))
    net.builder.location = outside
    between = net("matmul", first, net.weight("w", 16, 16))
    net.builder.location = inside
    net.output("y", net("neg", net("add", first, between)))
    assert fused(net.graph(), ()) == [
        ("region Encoder, part 1 of 2", ["exp"]),
        ("region Encoder, part 2 of 2", ["add", "neg"]),
    ]


def test_a_file_that_grows_without_end(tmp_path: Path) -> None:
    lines = ["- a0: &a0 {pattern: {x: {op_type: add}}}"]
    lines += [f"- a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(UsageError, match=r"bomb.yaml:2: \*a0 is an alias"):
        read_rules(tmp_path / "bomb.yaml")
    (tmp_path / "deep.yaml").write_text("[" * 100_000)
    with pytest.raises(UsageError, match=r"deep.yaml:1: lists and mappings are nested deeper"):
        read_rules(tmp_path / "deep.yaml")
