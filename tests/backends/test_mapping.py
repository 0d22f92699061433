"""From graphs to sections, phases, tiles and buffers: each decision of the mapper on graphs small enough to see."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from backends.rdu.allocate.plan import plan_section
from backends.rdu.allocate.units import allocate
from backends.rdu.compile import BackendOptions, compile_program, estimate_cycles
from backends.rdu.cut.search import Cutter
from backends.rdu.cut.sections import materialise, partition_graph
from backends.rdu.fuse.stages import form_stages
from backends.rdu.infeasibility import DoesNotFitError, Resource
from backends.rdu.machine import load_machine
from backends.rdu.stream.nests import NestedStage, Phase, inner_cuttings, streaks
from backends.rdu.stream.spread import options
from ir import interpreter
from ir.builder import GraphBuilder
from ir.errors import IllegalPefError
from ir.graph import Graph, Program, SectionKind, Symbol, SymbolKind, Value
from ir.location import Location
from ir.op import OPS, Gemm
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.check import check
from pef.cycles import StageWork
from pef.decoded import Configuration
from pef.machine import Machine, SiteKind
from pef.nest import WHOLE
from runtime.session import Session
from runtime.timing.simulate import simulate
from tests.backends.inner_loops import with_inner_loop
from tests.backends.machines import small_machine

SN30 = load_machine("sn30")


class Net:
    """A graph under construction, with its symbols."""

    def __init__(self) -> None:
        self.builder = GraphBuilder(SectionKind.FWD)
        self.builder.location = Location("model.py", 1, "net")
        self.symbols: list[Symbol] = []

    def input(self, name: str, *shape: int, kind: SymbolKind = SymbolKind.INPUT) -> Value:
        tensor = TensorType(DType.F32, shape)
        self.symbols.append(Symbol(name, tensor, kind))
        return self.builder.input(name, tensor)

    def weight(self, name: str, *shape: int) -> Value:
        return self.input(name, *shape, kind=SymbolKind.PARAMETER)

    def __call__(self, op: str, *operands: Value, **attributes: object) -> Value:
        if op == "matmul":
            attributes["dtype"] = DType.F32
        return self.builder.add(OPS[op](**attributes), *operands)

    def output(self, name: str, value: Value) -> None:
        self.symbols.append(Symbol(name, value.type, SymbolKind.OUTPUT))
        self.builder.output(name, value)

    def graph(self) -> Graph:
        return self.builder.build()

    def program(self) -> Program:
        return Program("net", tuple(self.symbols), (self.graph(),))


def residual() -> Net:
    """x -> two layers, the first one's activations added back."""
    net = Net()
    hidden = net("tanh", net("matmul", net.input("x", 256, 64), net.weight("w1", 64, 128)))
    deep = net("layer_norm", net("matmul", hidden, net.weight("w2", 128, 128)), *norm(net), axes=1, eps=1e-5)
    wide = net("matmul", net("tanh", deep), net.weight("w3", 128, 128))
    net.output("y", net("add", wide, hidden))
    return net


def norm(net: Net) -> tuple[Value, Value]:
    return net.weight("gamma", 128), net.weight("beta", 128)


def names(graph: Graph, *, fuse: bool = True) -> list[str]:
    return [stage.name for stage in form_stages(graph, fuse=fuse)]


def test_elementwise_work_joins_the_product_before_it() -> None:
    assert names(residual().graph()) == ["matmul+tanh", "matmul", "layer_norm+tanh", "matmul+add"]


def test_without_fusion_every_operator_is_a_stage() -> None:
    assert names(residual().graph(), fuse=False) == ["matmul", "tanh", "matmul", "layer_norm", "tanh", "matmul", "add"]


def test_a_value_that_others_read_first_does_not_pull_its_reader_in() -> None:
    net = Net()
    a = net("tanh", net.input("x", 64, 64))
    b = net("matmul", a, net.weight("w", 64, 64))
    net.output("y", net("add", net("exp", a), b))
    stages = form_stages(net.graph(), fuse=True)
    done: set[str] = set()
    for stage in stages:
        made = {result.name for node in stage.nodes for result in node.results}
        assert all(value.name in done or value.name in ("x", "w") for value in stage.reads)
        done |= made


def test_free_operators_belong_to_their_readers() -> None:
    net = Net()
    turned = net("permute", net.weight("w", 10, 64), dims=(1, 0))
    net.output("y", net("matmul", net.input("x", 32, 64), turned))
    (stage,) = form_stages(net.graph(), fuse=True)
    assert stage.name == "matmul"
    assert [value.name for value in stage.reads] == ["x", "w"]


def phases_of(graph: Graph, machine: Machine = SN30) -> list[Phase]:
    """The phases of every section, as cut."""
    cutter = Cutter(graph, form_stages(graph, fuse=True), machine, 0.9)
    return [phase for section in cutter.best() for phase in section.phases]


def names_in(phase: Phase) -> list[str]:
    return [stage.stage.name for stage in phase.stages]


def read(stage: NestedStage, name: str) -> Value:
    return next(value for value in stage.stage.reads if value.name == name)


def test_a_network_streams_along_its_batch_with_weights_whole() -> None:
    (phase,) = phases_of(residual().graph())
    assert phase.divisor == 256
    first = phase.stages[0]
    assert first.slicing(read(first, "x"))[0] == 0
    assert set(first.slicing(read(first, "w1"))) == {WHOLE}


def test_a_reduction_over_the_outer_loop_ends_the_phase() -> None:
    net = Net()
    total = net("sum", net("tanh", net.input("x", 64, 96)), dims=(0, 1), keepdim=False)
    net.output("y", net("exp", total))
    phases = phases_of(net.graph())
    assert [names_in(phase) for phase in phases] == [["tanh+sum"], ["exp"]]
    assert phases[0].stages[0].accumulates(phases[0].stages[0].stage.writes[0])


def test_a_weight_gradient_accumulates_in_the_phase_of_its_operands() -> None:
    net = Net()
    dy = net("tanh", net.input("dy", 64, 32))
    x = net.input("x", 64, 48)
    net.output("dw", net("matmul", net("permute", dy, dims=(1, 0)), x))
    net.output("dx", net("matmul", dy, net.weight("w", 32, 48)))
    stages = [NestedStage.of(stage) for stage in form_stages(net.graph(), fuse=True)]
    phase = streaks(stages)[0].phase(3, 64)
    summed = [value.name for stage in phase.stages for value in stage.stage.writes if stage.accumulates(value)]
    assert summed == ["matmul"]
    sliced = [(stage, value) for stage in phase.stages for value in stage.stage.reads if value.name in ("x", "tanh")]
    assert sliced and all(stage.slicing(value)[0] == 0 for stage, value in sliced)


def attention() -> Net:
    net = Net()
    q, k, v = (net.input(name, 8, 16, 32) for name in "qkv")
    flat = [net("reshape", net("permute", heads(net, t), dims=(0, 2, 1, 3)), shape=(32, 16, 8)) for t in (q, k, v)]
    scores = net("softmax", net("matmul", flat[0], net("permute", flat[1], dims=(0, 2, 1))), dim=2)
    net.output("y", net("matmul", scores, flat[2]))
    return net


def test_attention_streams_through_views() -> None:
    (phase,) = phases_of(attention().graph())
    assert names_in(phase) == ["matmul", "softmax", "matmul"]
    assert phase.divisor > 1
    assert phase.stages[0].slicing(read(phase.stages[0], "q"))[0] >= 0


def test_rows_of_attention_stream_inside_its_batch_while_keys_and_values_stay() -> None:
    stages = [NestedStage.of(stage) for stage in form_stages(attention().graph(), fuse=True)]
    batch = next(streak for streak in streaks(stages) if streak.cuttings[0].axes[0] == 0)
    outer = batch.phase(3, 8)
    cuttings, divisor = inner_cuttings(outer, 0, (outer.stages[0].form.operations.index(product(outer)), "m"))
    nested = with_inner_loop(outer, cuttings, divisor)
    assert nested.nest.counts == (8, 16)
    assert [stage.level for stage in nested.stages] == [2, 2, 2]
    first, _, last = nested.stages
    assert first.slicing(read(first, "q")) == (0, 1)
    assert first.slicing(read(first, "k")) == (0, WHOLE)
    assert last.slicing(read(last, "v")) == (0, WHOLE)


def product(phase: Phase) -> object:
    return next(operation for operation in phase.stages[0].form.operations if operation.op.name == "matmul")


def heads(net: Net, value: Value) -> Value:
    return net("reshape", value, shape=(8, 16, 4, 8))


def test_the_short_arm_of_a_residual_gets_a_deeper_buffer() -> None:
    cut = materialise(partition_graph(residual().graph(), SN30, fuse=True, budget=0.9))
    layout = plan_section(cut.sections[0], SN30)
    depth = {buffer.name: buffer.depth for buffer in layout.buffers}
    assert layout.phases[0].phase.phase.tiles >= 4
    assert depth["tanh"] > depth["matmul.1"] >= 2


def test_options_are_a_pareto_front() -> None:
    work = StageWork(Gemm(2, 100, 50, 64), 0, 0, 0, False, False, 1, True, 0)
    found = options(work, SN30)
    assert all(a.units < b.units and a.cycles > b.cycles for a, b in pairwise(found))
    assert found[0].units == 1
    assert found[-1].cycles == 64 * SN30.fp32_cycles_per_vector


def test_pcus_share_out_the_pixels_of_a_weight_gradient() -> None:
    """Of 8 x 9 results, one PCU holds all: more of them help only where each takes rows of pixels of its own."""
    net = Net()
    dy, x = net.input("dy", 4, 8, 64, 64), net.input("x", 4, 1, 64, 64)
    attributes = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "dtype": DType.F32}
    net.output("dw", net("conv2d_weight_gradient", dy, x, weight_shape=(8, 1, 3, 3), **attributes))
    pef = compile_program(net.program(), SN30)
    check(pef)
    ((stage,),) = (phase.stages for phase in pef.configurations[0].phases)
    assert stage.batch_parallel > 1 == stage.row_parallel
    rng = np.random.default_rng(0)
    given = {name: rng.standard_normal(value.type.shape, np.float32) for name, value in (("dy", dy), ("x", x))}
    expected = interpreter.run(net.graph(), given)["dw"]
    for strict in (True, False):
        found = Session(pef, strict=strict).run(inputs=given)["dw"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    pef.configurations[0].nets.remove(next(net for net in pef.configurations[0].nets if net.kind == pb.Net.WRITE))
    with pytest.raises(IllegalPefError, match="the nets carry"):
        check(pef)


def test_allocation_stays_within_its_budget_and_uses_more_where_it_helps() -> None:
    phases = phases_of(residual().graph())
    few, many = (allocate(phases, [0.0], SN30, pcus)[0] for pcus in (8, 400))
    assert few.units <= 8
    assert many.units <= 400
    assert many.cycles < few.cycles


def test_a_phase_bound_by_memory_does_not_hoard_units() -> None:
    phases = phases_of(residual().graph())
    free, bound = (allocate(phases, [cycles], SN30, 400)[0] for cycles in (0.0, 1e9))
    assert bound.units < free.units


@pytest.mark.parametrize("side", [6, 5])
def test_a_small_machine_gets_more_sections(side: int) -> None:
    program = residual().program()
    roomy = compile_program(program, SN30)
    tight = compile_program(program, small_machine(side, pmu_bytes=1 << 13))
    check(tight)
    assert len(roomy.sections) == 1
    assert len(tight.sections) > 1
    carried = {symbol.name for symbol in tight.symbols} - {symbol.name for symbol in roomy.symbols}
    assert carried
    assert all(not symbol.persistent for symbol in tight.symbols if symbol.name in carried)


def test_cutting_is_no_worse_than_one_operator_per_section() -> None:
    program = residual().program()
    assert estimate_cycles(program, SN30) < estimate_cycles(program, SN30, BackendOptions(fuse=False))


def test_what_fits_in_no_way_says_what_it_needs_and_what_helps() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        compile_program(residual().program(), small_machine(4, pmu_bytes=1 << 10))
    found = caught.value.infeasibility
    assert found.resource is Resource.PMU
    assert found.demand > found.bound == 8
    assert found.contributors[0].amount >= found.contributors[-1].amount
    assert "--graphamp-preset mp4" in str(caught.value)
    assert "the machine has 8" in str(caught.value)


def turned_softmax(rows: int, dtype: DType) -> Program:
    """Softmax over the rows and then over the columns: all of the tensor between them is on chip at one time."""
    builder = GraphBuilder(SectionKind.FWD)
    builder.location = Location("model.py", 1, "net")
    x = builder.input("x", TensorType(dtype, (rows, 64)))
    y = builder.add(OPS["softmax"](dim=0), x)
    z = builder.add(OPS["softmax"](dim=1), builder.add(OPS["permute"](dims=(1, 0)), y))
    builder.output("y", y)
    builder.output("z", z)
    symbols = [Symbol("x", x.type, SymbolKind.INPUT)]
    symbols += [Symbol(name, value.type, SymbolKind.OUTPUT) for name, value in (("y", y), ("z", z))]
    return Program("net", tuple(symbols), (builder.build(),))


@pytest.mark.parametrize(
    "lever, rows, dtype, side",
    [
        ("use a smaller batch (-b)", 16, DType.F32, 4),
        ("use bf16 (--graphamp-preset mp4)", 64, DType.BF16, 4),
        ("use a machine with more PMUs (--arch)", 64, DType.F32, 6),
    ],
)
def test_the_levers_that_a_refusal_names_work(lever: str, rows: int, dtype: DType, side: int) -> None:
    with pytest.raises(DoesNotFitError) as caught:
        compile_program(turned_softmax(64, DType.F32), small_machine(4, pmu_bytes=128))
    assert lever in caught.value.infeasibility.levers
    check(compile_program(turned_softmax(rows, dtype), small_machine(side, pmu_bytes=128)))


def test_memory_that_is_too_small_is_refused() -> None:
    tiny = replace(SN30, tiers=(replace(SN30.tiers[0], capacity_bytes=1 << 16),))
    with pytest.raises(DoesNotFitError, match="bytes of memory"):
        compile_program(residual().program(), tiny)


def test_pmus_serve_values_that_live_in_no_common_phase_one_after_another() -> None:
    """Each value is read again when its sum is known, and so held whole for a phase; all of them
    together fit no section."""
    net = Net()
    value = net.input("x", 256, 64)
    for _ in range(5):
        value = net("tanh", net("sub", value, net("sum", value, dims=(0, 1), keepdim=True)))
    net.output("y", value)
    machine = small_machine(8, pmu_bytes=8192)
    pef = compile_program(net.program(), machine)
    check(pef)
    (configuration,) = (Configuration.of(record, machine, "configuration") for record in pef.configurations)
    held = [number for number, buffer in enumerate(configuration.buffers) if buffer.bytes == 256 * 64 * 4]
    assert sum(configuration.buffers[number].bytes for number in held) > len(machine.working_sites(SiteKind.PMU)) * 8192
    successors = [(number, other) for number in held for other in configuration.replaced[number]]
    assert successors
    for number, other in successors:
        assert configuration.lifetimes[other][1] < configuration.lifetimes[number][0]
    x = np.random.default_rng(0).standard_normal((256, 64), np.float32) / 4096
    expected = interpreter.run(net.graph(), {"x": x})["y"]
    np.testing.assert_allclose(Session(pef).run(inputs={"x": x})["y"], expected, rtol=1e-5, atol=1e-6)


def equal_layers(count: int) -> Net:
    """Products with a tanh behind each, all of one size."""
    net = Net()
    x = net.input("x", 64, 64)
    for layer in range(count):
        x = net("tanh", net("matmul", x, net.weight(f"w{layer}", 64, 64)))
    net.output("y", x)
    return net


def test_identical_sections_share_a_configuration() -> None:
    pef = compile_program(equal_layers(5).program(), SN30, BackendOptions(fuse=False))
    check(pef)
    assert len(pef.sections) == 10
    assert len(pef.configurations) == 2
    assert len({tuple(section.bindings) for section in pef.sections}) == 10


def test_layers_of_a_network_share_a_program_that_is_loaded_once() -> None:
    pef = compile_program(equal_layers(12).program(), small_machine(4), BackendOptions())
    check(pef)
    loaded = [section.load_cycles for section in simulate(pef).sections]
    assert len(pef.configurations) < len(pef.sections)
    assert len(set(loaded)) == 2
    assert [section.prediction.load_cycles for section in pef.sections] == loaded


def test_a_graph_that_only_moves_data_is_a_section_without_stages() -> None:
    net = Net()
    net.output("y", net("permute", net.input("x", 8, 4), dims=(1, 0)))
    pef = compile_program(net.program(), SN30)
    check(pef)
    x = np.arange(32, dtype=np.float32).reshape(8, 4)
    assert (Session(pef).run(inputs={"x": x})["y"] == x.T).all()


def test_lanes_are_dealt_their_own_parts_of_joined_operands_but_all_of_broadcast_ones() -> None:
    net = Net()
    a, b, bias = net.input("a", 64, 32, 512), net.input("b", 64, 512, 96), net.weight("bias", 512)
    joined = net("cat", a, net("permute", b, dims=(0, 2, 1)), dim=1)
    net.output("y", net("add", joined, net("expand", bias, shape=(64, 128, 512))))
    joining, adding = map(NestedStage.of, form_stages(net.graph(), fuse=True))
    assert {joining.names[number] for number in joining.form.dealt} == {"a", "b"}
    assert {adding.names[number] for number in adding.form.dealt} == {joined.name}
