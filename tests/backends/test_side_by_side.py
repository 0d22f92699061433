"""Graphs cut in processes of their own: the same sections, the same errors, and no process that has to live."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.cut import side_by_side
from backends.rdu.cut.sections import Partition
from backends.rdu.cut.side_by_side import SideBySide
from backends.rdu.infeasibility import Contributor, DoesNotFitError, Resource, require
from ir.builder import GraphBuilder
from ir.errors import InfeasibleError, Problem
from ir.graph import Graph, Program, SectionKind, Symbol, SymbolKind
from ir.location import Location
from ir.op import OPS
from ir.types import DType, TensorType
from tests.backends.machines import small_machine

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes beside this one, for graphs of any size."""
    monkeypatch.setattr(side_by_side, "LARGE", 1)
    monkeypatch.setattr(side_by_side, "host_cores", lambda: 3)


def program() -> Program:
    """A product with an exponential behind it, the other way round, and a smaller graph that stays in this process."""
    types = {"x": TensorType(DType.F32, (64, 32)), "w": TensorType(DType.F32, (32, 32))}
    symbols = [Symbol("x", types["x"], SymbolKind.INPUT), Symbol("w", types["w"], SymbolKind.PARAMETER)]
    graphs = []
    kinds = ((SectionKind.FWD, "matmul"), (SectionKind.BCKWD, "exp"), (SectionKind.OPT, ""))
    for kind, first in kinds:
        builder = GraphBuilder(kind)
        builder.location = Location("model.py", 1, "net")
        x, w = (builder.input(name, of) for name, of in types.items())
        product = OPS["matmul"](dtype=DType.F32)
        if first == "matmul":
            result = builder.add(OPS["exp"](), builder.add(product, x, w))
        elif first == "exp":
            result = builder.add(product, builder.add(OPS["exp"](), x), w)
        else:
            result = builder.add(product, x, w)
        name = f"{kind.value.lower()}_result"
        builder.output(name, result)
        symbols.append(Symbol(name, result.type, SymbolKind.OUTPUT))
        graphs.append(builder.build())
    return Program("three", tuple(symbols), tuple(graphs))


def cut_elsewhere(here: int, graph: Graph, budget: float) -> Partition:
    """As the compiler cuts, but only the smallest graph in the process of the test."""
    assert (os.getpid() == here) == (graph.kind is SectionKind.OPT)
    return BackendOptions().partition(graph, small_machine(8), budget)


def cut_where_possible(here: int, graph: Graph, budget: float) -> Partition:
    """As the compiler cuts, but other processes are killed over it."""
    if os.getpid() != here:
        os.kill(os.getpid(), signal.SIGKILL)
    return BackendOptions().partition(graph, small_machine(8), budget)


def refuse(here: int, graph: Graph, budget: float) -> Partition:
    """Refuse every graph, of which only the smallest may be cut in the process of the test."""
    assert (os.getpid() == here) == (graph.kind is SectionKind.OPT)
    raise InfeasibleError(Problem("too large", graph.nodes[0].location, "a larger machine"))


def test_sections_are_those_that_this_process_would_cut() -> None:
    graphs = program().graphs
    cuts = SideBySide(functools.partial(cut_elsewhere, os.getpid()), graphs, 0.9)
    for graph in graphs:
        assert cuts.partition(graph, 0.9) == BackendOptions().partition(graph, small_machine(8), 0.9)


def cut_after_the_smallest(folder: str, graph: Graph, budget: float) -> Partition:
    """As the compiler cuts, but the others wait until the smallest graph has been cut."""
    cut = Path(folder, "cut")
    if graph.kind is SectionKind.OPT:
        cut.touch()
    else:
        wait_until(cut.exists)
    return BackendOptions().partition(graph, small_machine(8), budget)


def test_who_waits_for_a_graph_cuts_another_meanwhile(tmp_path: Path) -> None:
    graphs = program().graphs
    cuts = SideBySide(functools.partial(cut_after_the_smallest, str(tmp_path)), graphs, 0.9)
    for graph in graphs:
        assert cuts.partition(graph, 0.9) == BackendOptions().partition(graph, small_machine(8), 0.9)


def refuse_the_smallest(graph: Graph, budget: float) -> Partition:
    """As the compiler cuts, but the smallest graph fits in no way."""
    if graph.kind is SectionKind.OPT:
        raise InfeasibleError(Problem("too large"))
    time.sleep(1)
    return BackendOptions().partition(graph, small_machine(8), budget)


def test_what_is_cut_ahead_is_refused_when_it_is_asked_for() -> None:
    graphs = program().graphs
    cuts = SideBySide(refuse_the_smallest, graphs, 0.9)
    assert all(cuts.partition(graph, 0.9).sections for graph in graphs[:2])
    with pytest.raises(InfeasibleError):
        cuts.partition(graphs[2], 0.9)


def test_a_pef_is_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = compile_program(program(), small_machine(8))
    monkeypatch.setattr(side_by_side, "host_cores", lambda: 1)
    alone = compile_program(program(), small_machine(8))
    assert beside.SerializeToString(deterministic=True) == alone.SerializeToString(deterministic=True)


def test_graphs_whose_process_dies_are_cut_here(caplog: pytest.LogCaptureFixture) -> None:
    graphs = program().graphs
    with caplog.at_level("INFO", logger="snc"):
        cuts = SideBySide(functools.partial(cut_where_possible, os.getpid()), graphs, 0.9)
        found = [cuts.partition(graph, 0.9) for graph in graphs]
    assert found == [BackendOptions().partition(graph, small_machine(8), 0.9) for graph in graphs]
    assert "cutting FWD here" in caplog.text


def test_graphs_are_cut_here_where_no_process_can_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("loky.get_reusable_executor", refuse)
    graphs = program().graphs
    with caplog.at_level("INFO", logger="snc"):
        cuts = SideBySide(functools.partial(cut_where_possible, os.getpid()), graphs, 0.9)
    assert cuts.partition(graphs[0], 0.9) == BackendOptions().partition(graphs[0], small_machine(8), 0.9)
    assert "cutting all graphs here" in caplog.text


def cut_all(answers: multiprocessing.SimpleQueue[bool]) -> None:
    side_by_side.LARGE, side_by_side.host_cores = 1, lambda: 3  # type: ignore[assignment]
    graphs = program().graphs
    cuts = SideBySide(functools.partial(cut_where_possible, os.getpid()), graphs, 0.9)
    answers.put(all(cuts.partition(graph, 0.9).sections for graph in graphs))


def test_a_daemon_cuts_all_graphs_itself() -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.SimpleQueue[bool] = context.SimpleQueue()
    daemon = context.Process(target=cut_all, args=(answers,), daemon=True)
    daemon.start()
    daemon.join(120)
    assert daemon.exitcode == 0 and answers.get()


def test_a_refusal_arrives_as_it_was_raised() -> None:
    graphs = program().graphs
    cuts = SideBySide(functools.partial(refuse, os.getpid()), graphs, 0.9)
    with pytest.raises(InfeasibleError) as caught:
        cuts.partition(graphs[0], 0.9)
    assert caught.value.problems == (Problem("too large", graphs[0].nodes[0].location, "a larger machine"),)


def test_another_budget_is_cut_here() -> None:
    graphs = program().graphs
    cuts = SideBySide(functools.partial(refuse, os.getpid()), graphs, 0.9)
    with pytest.raises(AssertionError):
        cuts.partition(graphs[0], 0.7)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT)
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        parent.kill()
        parent.wait()
    children = [int(path.name) for path in tmp_path.iterdir()]
    wait_until(lambda: not any(map(is_running, children)))


KILLED = """
import functools, sys
from backends.rdu.cut import side_by_side
from tests.backends.test_side_by_side import program, wait
side_by_side.LARGE, side_by_side.host_cores = 1, lambda: 3
graphs = program().graphs
side_by_side.SideBySide(functools.partial(wait, sys.argv[1]), graphs, 0.9).partition(graphs[0], 0.9)
"""


def wait(folder: str, graph: Graph, budget: float) -> Partition:
    """Tell who is at it, by a file, and never end: but for the smallest, which the process of the test cuts."""
    if graph.kind is SectionKind.OPT:
        return BackendOptions().partition(graph, small_machine(8), budget)
    Path(folder, str(os.getpid())).touch()
    while True:
        time.sleep(1)


def wait_until(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    pytest.fail("waited for a minute")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_what_does_not_fit_keeps_its_figures() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        require(Resource.PMU, 3, [Contributor("a", 1), Contributor("b", 4)])
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.infeasibility, again.problems, str(again)) == (
        caught.value.infeasibility,
        caught.value.problems,
        str(caught.value),
    )


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_operator_has_a_name_that_pickles_refer_to(name: str) -> None:
    assert pickle.loads(pickle.dumps(OPS[name])) is OPS[name]
