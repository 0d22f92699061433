"""Operators that share a stage only where that stage fits."""

from __future__ import annotations

import pytest

from backends.rdu.cut.sections import Partition, partition_graph
from backends.rdu.fuse.rules_file import read_rules
from backends.rdu.machine import load_machine
from ir.builder import GraphBuilder
from ir.graph import Graph, SectionKind
from ir.location import Location
from ir.op import OPS
from ir.types import DType, TensorType

PRIME = 5087
"""Rows that no loop of at most 64 iterations can cut."""


def product_and_sum(depth: int) -> Graph:
    """a^T b + c, where a has `depth` rows."""
    b = GraphBuilder(SectionKind.BCKWD)
    b.location = Location("m.py", 1)
    x = b.input("x", TensorType(DType.BF16, (depth, PRIME)))
    y = b.input("y", TensorType(DType.BF16, (depth, 1024)))
    c = b.input("c", TensorType(DType.BF16, (PRIME, 1024)))
    product = b.add(OPS["matmul"](DType.BF16), b.add(OPS["permute"](dims=(1, 0)), x), y)
    b.output("w.grad", b.add(OPS["add"](), product, c))
    return b.build()


def stages_of(partition: Partition) -> list[str]:
    return [stage.name for stage in partition.stages]


@pytest.mark.parametrize("rules", [False, True], ids=["o3", "o1"])
def test_what_follows_a_product_leaves_it_where_the_sum_has_to_be_made_in_parts(rules: bool) -> None:
    """667 MB of x do not fit SN10, and with the addition behind it the product cannot be summed over a loop."""
    fusion = read_rules(None, with_default=True) if rules else None
    for depth, expected in ((1024, ["matmul+add"]), (65536, ["matmul", "add"])):
        graph = product_and_sum(depth)
        partition = partition_graph(graph, load_machine("sn10"), fuse=not rules, budget=0.9, rules=fusion)
        assert stages_of(partition) == expected
        assert not any(section.excess for section in partition.sections)
