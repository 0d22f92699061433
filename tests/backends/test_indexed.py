"""Tables read by index are fetched row by row, caches updated by index get the new rows only: and the numbers agree."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest

import ir.ops  # noqa: F401  (declares the operators that the programs name)
from backends.rdu.compile import BackendOptions, compile_program
from ir import interpreter
from ir.errors import IndexOutsideError
from ir.graph import Program, SymbolKind
from ir.op import Array
from ir.rounding import round_to_bf16
from ir.text import parse_program
from ir.types import DType
from pef import pef_pb2 as pb
from pef.check import check
from pef.machine import Machine
from runtime.session import Session
from runtime.timing import simulate
from tests.backends.machines import small_machine

ROOMY, LITTLE = small_machine(12), small_machine(10, pmu_bytes=1 << 10)

EMBEDDING = """program @embedding {
  symbol %table : f32[500,16] parameter
  symbol %weight : f32[16,8] parameter
  symbol %ids : i32[4,8] input
  symbol %y : f32[4,8,8] output
  graph FWD (%table, %weight, %ids) {
    %rows = index_select(%table, %ids) {dim=0} : f32[4,8,16]
    %flat = reshape(%rows) {shape=[32,16]} : f32[32,16]
    %product = matmul(%flat, %weight) {dtype=f32} : f32[32,8]
    %y.2 = reshape(%product) {shape=[4,8,8]} : f32[4,8,8]
    store %y.2 -> %y
  }
}
"""

ROWS_ALONE = """program @rows {
  symbol %table : f32[500,16] parameter
  symbol %ids : i32[4,8] input
  symbol %y : f32[4,8,16] output
  graph FWD (%table, %ids) {
    %rows = index_select(%table, %ids) {dim=0} : f32[4,8,16]
    store %rows -> %y
  }
}
"""

COLUMNS = """program @columns {
  symbol %table : bf16[4,300,6] parameter
  symbol %ids : i32[8] input
  symbol %y : bf16[4,8,6] output
  graph FWD (%table, %ids) {
    %columns = index_select(%table, %ids) {dim=1} : bf16[4,8,6]
    %e = exp(%columns) : bf16[4,8,6]
    store %e -> %y
  }
}
"""

COMPUTED_INDEX = """program @computed {
  symbol %table : f32[500,16] parameter
  symbol %ids : i32[8,4] input
  symbol %y : f32[4,8,16] output
  symbol %z : f32[4,8,16] output
  graph FWD (%table, %ids) {
    %one = full() {shape=[], value=1.0, dtype=i32} : i32[]
    %next = add(%ids, %one) : i32[8,4]
    %turned = permute(%next) {dims=[1,0]} : i32[4,8]
    %rows = index_select(%table, %turned) {dim=0} : f32[4,8,16]
    %e = exp(%rows) : f32[4,8,16]
    %sum = sum(%e) {dims=[2], keepdim=true} : f32[4,8,1]
    %share = div(%e, %sum) : f32[4,8,16]
    %again = tanh(%rows) : f32[4,8,16]
    store %share -> %y
    store %again -> %z
  }
}
"""

SMALL_TABLE = """program @small {
  symbol %table : f32[20,16] parameter
  symbol %ids : i32[4,8] input
  symbol %y : f32[4,8,16] output
  graph FWD (%table, %ids) {
    %rows = index_select(%table, %ids) {dim=0} : f32[4,8,16]
    %e = exp(%rows) : f32[4,8,16]
    store %e -> %y
  }
}
"""

DECODE = """program @decode {
  symbol %keys : bf16[1,2,64,8] buffer
  symbol %weight : bf16[16,16] parameter
  symbol %x : bf16[1,16] input
  symbol %position : i32[1] input
  symbol %y : bf16[1,2,1,8] output
  graph FWD (%keys, %weight, %x, %position) {
    %zero = full() {shape=[], value=0.0, dtype=i32} : i32[]
    %extent = full() {shape=[], value=64.0, dtype=i32} : i32[]
    %negative = lt(%position, %zero) : bool[1]
    %wrapped = add(%position, %extent) : i32[1]
    %place = where(%negative, %wrapped, %position) : i32[1]
    %place.2 = reshape(%place) {shape=[1,1]} : i32[1,1]
    %place.3 = expand(%place.2) {shape=[1,2,1,8]} : i32[1,2,1,8]
    %product = matmul(%x, %weight) {dtype=bf16} : bf16[1,16]
    %apart = reshape(%product) {shape=[1,1,2,8]} : bf16[1,1,2,8]
    %key = permute(%apart) {dims=[0,2,1,3]} : bf16[1,2,1,8]
    %updated = scatter(%keys, %place.3, %key) {dim=2} : bf16[1,2,64,8]
    %flat = reshape(%updated) {shape=[2,64,8]} : bf16[2,64,8]
    %turned = permute(%flat) {dims=[0,2,1]} : bf16[2,8,64]
    %query = reshape(%key) {shape=[2,1,8]} : bf16[2,1,8]
    %scores = matmul(%query, %turned) {dtype=bf16} : bf16[2,1,64]
    %shares = softmax(%scores) {dim=2} : bf16[2,1,64]
    %read = matmul(%shares, %flat) {dtype=bf16} : bf16[2,1,8]
    %out = reshape(%read) {shape=[1,2,1,8]} : bf16[1,2,1,8]
    store %out -> %y
    store %updated -> %keys
  }
}
"""

WRITE_ONLY = """program @write {
  symbol %cache : f32[64,3] buffer
  symbol %rows : f32[4,3] input
  symbol %places : i32[4] input
  symbol %y : f32[4,3] output
  graph FWD (%cache, %rows, %places) {
    %index = reshape(%places) {shape=[4,1]} : i32[4,1]
    %index.2 = expand(%index) {shape=[4,3]} : i32[4,3]
    %e = exp(%rows) : f32[4,3]
    %updated = scatter(%cache, %index.2, %e) {dim=0} : f32[64,3]
    store %updated -> %cache
    store %e -> %y
  }
}
"""

OLD_AND_NEW = """program @old {
  symbol %cache : f32[64,3] buffer
  symbol %rows : f32[4,3] input
  symbol %places : i32[4] input
  symbol %y : f32[64,3] output
  graph FWD (%cache, %rows, %places) {
    %index = reshape(%places) {shape=[4,1]} : i32[4,1]
    %index.2 = expand(%index) {shape=[4,3]} : i32[4,3]
    %updated = scatter(%cache, %index.2, %rows) {dim=0} : f32[64,3]
    %difference = sub(%updated, %cache) : f32[64,3]
    store %difference -> %y
    store %updated -> %cache
  }
}
"""

PROGRAMS = {
    "embedding": EMBEDDING,
    "rows alone": ROWS_ALONE,
    "columns": COLUMNS,
    "computed index": COMPUTED_INDEX,
    "small table": SMALL_TABLE,
    "decode": DECODE,
    "write only": WRITE_ONLY,
    "old and new": OLD_AND_NEW,
}


@dataclass
class Compiled:
    """A program, its PEF, and values for what it reads."""

    program: Program
    pef: pb.Pef
    given: dict[str, Array]

    def traffic(self) -> tuple[int, int]:
        """Bytes that a step reads and writes, as simulated."""
        sections = simulate(self.pef).sections
        read = sum(sum(section.execution.read_bytes) for section in sections)
        return read, sum(sum(section.execution.write_bytes) for section in sections)

    def indexed(self) -> list[tuple[bool, str]]:
        """Who streams by index: whether it stores, and the symbol."""
        found = []
        for section in self.pef.sections:
            for phase in self.pef.configurations[section.configuration].phases:
                for stream in phase.streams:
                    if stream.HasField("index"):
                        found.append((stream.store, self.pef.symbols[section.bindings[stream.slot]].name))
        return found


def located(text: str) -> str:
    """The program with a line of source for every operation."""
    return re.sub(r"(%.* = .*)", r'\1 @ "model.py":1 "net"', text)


def compiled(text: str, machine: Machine = ROOMY, fuse: bool = True) -> Compiled:
    program = parse_program(located(text))
    random, given = np.random.default_rng(0), {}
    for symbol in program.symbols:
        if symbol.kind is SymbolKind.OUTPUT:
            continue
        if symbol.type.dtype is DType.I32:
            given[symbol.name] = random.integers(0, 20, symbol.type.shape).astype(np.int32)
        else:
            array = random.standard_normal(symbol.type.shape, np.float32)
            if symbol.type.dtype is DType.BF16:
                round_to_bf16(array)
            given[symbol.name] = array
    pef = compile_program(program, machine, BackendOptions(fuse=fuse))
    check(pef)
    return Compiled(program, pef, given)


def run_twice(own: Compiled, strict: bool) -> list[dict[str, Array]]:
    """The results of two steps, the second on what the first has left in the buffers."""
    session = Session(own.pef, strict=strict)
    session.load_weights(own.given)
    kept = [symbol.name for symbol in own.program.symbols if symbol.kind is SymbolKind.BUFFER]
    results = []
    for _ in range(2):
        found = dict(session.run())
        results.append({**found, **{name: np.array(session.read(name)) for name in kept}})
    return results


def expected_twice(own: Compiled) -> list[dict[str, Array]]:
    given, results = dict(own.given), []
    for _ in range(2):
        found = interpreter.run(own.program.graphs[0], given)
        given |= {name: value for name, value in found.items() if name in given}
        results.append(found)
    return results


@pytest.mark.parametrize("machine", [ROOMY, LITTLE], ids=["roomy", "little"])
@pytest.mark.parametrize("fuse", [True, False], ids=["o3", "o0"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_numbers(name: str, fuse: bool, machine: Machine) -> None:
    own = compiled(PROGRAMS[name], machine, fuse)
    for strict in (True, False):
        for found, wanted in zip(run_twice(own, strict), expected_twice(own), strict=True):
            for symbol, value in wanted.items():
                tolerance = 2**-6 if own.program.symbol[symbol].type.dtype is DType.BF16 else 1e-5
                np.testing.assert_allclose(found[symbol], value, rtol=0, atol=tolerance * max(1, np.abs(value).max()))


BURSTS = 64
"""Bytes that a row of 16 floats takes, and what a shorter one is rounded up to."""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("embedding", [(False, "table")]),
        ("rows alone", [(False, "table")]),
        ("columns", [(False, "table")]),
        ("computed index", [(False, "table")]),
        ("small table", []),
        ("decode", [(True, "keys")]),
        ("write only", [(True, "cache")]),
        ("old and new", [(True, "cache")]),
    ],
)
def test_who_goes_by_index(name: str, expected: list[tuple[bool, str]]) -> None:
    """A table smaller than the rows it gives stays on chip; no other table, and no updated cache, crosses memory."""
    assert sorted(set(compiled(PROGRAMS[name]).indexed())) == expected


def test_only_rows_are_read() -> None:
    """32 rows of a table of 500, their numbers, and the weight."""
    assert compiled(EMBEDDING).traffic() == (32 * BURSTS + 32 * 4 + 16 * 8 * 4, 32 * 8 * 4)


def test_only_the_new_rows_are_written() -> None:
    """Two heads' rows of 8 numbers, a burst each, beside the result; the cache is read once, to attend over it."""
    read, written = compiled(DECODE).traffic()
    assert written == 2 * BURSTS + 2 * 8 * 2
    assert read == 2 * 64 * 8 * 2 + 16 * 16 * 2 + 16 * 2 + 4


def test_a_cache_that_nobody_reads_does_not_come_on_chip() -> None:
    read, written = compiled(WRITE_ONLY).traffic()
    assert read == 4 * 3 * 4 + 4 * 4
    assert written == 4 * BURSTS + 4 * 3 * 4


def test_one_operator_per_section_writes_only_the_new_rows_too() -> None:
    """The update is a section without stages, and attention reads the updated cache from memory."""
    own = compiled(DECODE, fuse=False)
    keys = 2 * 64 * 8 * 2
    written = [sum(section.execution.write_bytes) for section in simulate(own.pef).sections]
    assert own.indexed() == [(True, "keys")]
    assert max(written) < keys


def test_a_table_larger_than_the_chip_compiles() -> None:
    """A gigabyte of table on a machine of a few megabytes: one token fetches one row."""
    text = EMBEDDING.replace("500,16", "16777216,16").replace("i32[4,8]", "i32[1,1]").replace("[4,8,16]", "[1,1,16]")
    text = text.replace("[32,16]", "[1,16]").replace("[32,8]", "[1,8]").replace("[4,8,8]", "[1,1,8]")
    program = parse_program(located(text))
    pef = compile_program(program, ROOMY, BackendOptions())
    check(pef)
    read = sum(sum(section.execution.read_bytes) for section in simulate(pef).sections)
    assert read == BURSTS + 4 + 16 * 8 * 4


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", ["embedding", "decode"])
def test_a_number_outside_of_the_table_is_refused(name: str, strict: bool) -> None:
    """As the operator says: 500 is no row of 500, and 64 none of a cache of 64."""
    own = compiled(PROGRAMS[name])
    own.given["ids" if name == "embedding" else "position"][...] = 500
    with pytest.raises(IndexOutsideError, match="index 500 is outside"):
        run_twice(own, strict)


@pytest.mark.parametrize("strict", [True, False])
def test_a_place_counts_from_the_end_where_it_is_negative(strict: bool) -> None:
    own = compiled(DECODE)
    own.given["position"][...] = -1
    (found, _), (wanted, _) = run_twice(own, strict), expected_twice(own)
    np.testing.assert_allclose(found["keys"], wanted["keys"], rtol=0, atol=2**-6)
    assert np.abs(found["keys"][:, :, 63] - own.given["keys"][:, :, 63]).max() > 0.1


def test_predicted_bytes_are_those_simulated() -> None:
    for text in PROGRAMS.values():
        pef = compiled(text).pef
        for section, report in zip(pef.sections, simulate(pef).sections):
            assert section.prediction.dram_read_bytes == sum(report.execution.read_bytes)
            assert section.prediction.dram_write_bytes == sum(report.execution.write_bytes)
