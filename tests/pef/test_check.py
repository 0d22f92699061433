"""The checker accepts the samples and refuses whatever breaks one rule, naming the thing that breaks it."""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import replace

import pytest

from pef import pef_pb2 as pb
from pef.belonging import seal
from pef.checks.symbols import no_overlap
from pef.codec import encode_op, encode_type
from pef.nest import WHOLE, holds_stored
from tests.pef.mutations import MUTATIONS
from tests.pef.problems import problems
from tests.pef.samples import MACHINE, SAMPLES, ConfigurationBuilder, PefBuilder, f32, op


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_legal(name: str) -> None:
    assert problems(SAMPLES[name]()) == []


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_refused(name: str) -> None:
    mutation = MUTATIONS[name]
    pef = SAMPLES[mutation.sample]()
    mutation.change(pef)
    found = problems(pef)
    assert any(re.search(mutation.expected, problem) for problem in found), found


def in_place(store_axis: int, related: bool) -> pb.Pef:
    """One section that loads a matrix by rows and stores it: by rows or columns, after computing with it or not."""
    b = ConfigurationBuilder()
    slots = [b.slot(f32(64, 64)) for _ in range(4)]
    buffers = [b.buffer(name, f32(64, 64), 0, 4, depth=2) for name in ("x", "y", "u", "v")]
    b.phase(4)
    for source, target in (buffers[:2], buffers[2:]):
        record = b.stage("double")
        value = record.read(source, 0)
        record.write(record.apply(op("add"), value, value, axis=0), target)
        record.place()
    for slot, buffer in ((0, 0), (2, 2)):
        b.load(slots[slot], buffers[buffer], 0)
    for slot, buffer in ((1, 1), (3, 3)):
        transfer = b.store(slots[slot], buffers[buffer], 0)
        if store_axis == 1:
            transfer.operations.append(encode_op(op("permute", dims=(1, 0)), [0], [1]))
            transfer.values.add(type=encode_type(f32(64, 16)), axes=[1])
    pef = PefBuilder()
    x, y, u = (pef.symbol(name, f32(64, 64), "parameter") for name in "xyu")
    configuration = pef.configuration(b.build())
    pef.section("OPT", "opt_0", configuration, *((x, x, u, y) if related else (x, y, u, x)))
    return pef.record


def test_update_in_place_is_legal() -> None:
    assert problems(in_place(store_axis=0, related=True)) == []


def test_what_is_stored_lies_in_the_slice_that_was_loaded() -> None:
    assert holds_stored((0,), (0, 0)) and holds_stored((0,), (0, WHOLE)) and holds_stored((1, 0), (1, 0, 0))
    assert holds_stored((WHOLE, 0), (WHOLE, 0))
    assert not holds_stored((0, 0), (0,)) and not holds_stored((1,), (0, 1))
    assert not holds_stored((WHOLE, 0), (WHOLE, 0, 1)), "it is loaded again in every outer iteration"


def test_update_across_slices_is_refused() -> None:
    (problem,) = problems(in_place(store_axis=1, related=True))
    assert "symbol 0 (x) is stored cut [1] while it is loaded cut [0]" in problem


def test_update_that_does_not_wait_is_refused() -> None:
    (problem,) = problems(in_place(store_axis=0, related=False))
    assert "symbol 0 (x) may be stored before section 0 (opt_0), phase 0, load stream 0 has loaded it" in problem


def through_memory(kind: str, backwards: bool) -> pb.Pef:
    """One section of two phases: x -> y, then y -> z; or, `backwards`, z from y and then y from x."""
    b = ConfigurationBuilder()
    x, y, z = (b.slot(f32(64, 64)) for _ in range(3))
    for source, target in ((y, z), (x, y)) if backwards else ((x, y), (y, z)):
        taken, made = (b.buffer(f"{name}{source}", f32(64, 64), 0, 4, depth=2) for name in ("in", "out"))
        b.phase(4)
        record = b.stage("double")
        value = record.read(taken, 0)
        record.write(record.apply(op("add"), value, value, axis=0), made)
        record.place()
        b.load(source, taken, 0)
        b.store(target, made, 0)
    pef = PefBuilder()
    lifetime = [(0, 0)] if kind == "activation" else []
    symbols = pef.symbol("x", f32(64, 64), "input"), pef.symbol("y", f32(64, 64), kind, *lifetime)
    pef.section("FWD", "fwd_0", pef.configuration(b.build()), *symbols, pef.symbol("z", f32(64, 64), "output"))
    return pef.record


def test_a_value_does_not_go_from_phase_to_phase_through_memory() -> None:
    """Loads see symbols as they were when the section began: of an activation that is nothing, of a buffer the old."""
    stored = r"symbol 1 \(y\) is loaded after section 0 \(fwd_0\), phase 0, store stream 1 has replaced it"
    assert any(re.search(stored, problem) for problem in problems(through_memory("buffer", backwards=False)))
    activation = problems(through_memory("activation", backwards=False))
    assert any(re.search(stored, problem) for problem in activation)
    assert any("symbol 1 (y) is loaded before it is stored" in problem for problem in activation)
    assert problems(through_memory("buffer", backwards=True)) == []


def two_steps(y_shares_with: str) -> pb.Pef:
    """y = tanh(tanh(x)), a phase each, on PMUs that hold one of the tensors; y is in the PMU of another."""
    machine = replace(MACHINE, pmu_bytes=f32(64, 32).nbytes)
    b = ConfigurationBuilder(machine)
    slots = [b.slot(f32(64, 32)), b.slot(f32(64, 32))]
    x, h = (b.buffer(name, f32(64, 32), axes=0, counts=4, depth=4) for name in "xh")
    shared = b.record.buffers[{"x": x, "h": h}[y_shares_with]].units
    y = b.buffer("y", f32(64, 32), axes=0, counts=4, depth=4, units=shared)
    for source, target in ((x, h), (h, y)):
        b.phase(4)
        stage = b.stage("tanh")
        stage.write(stage.apply(op("tanh"), stage.read(source, 0), axis=0), target)
        stage.place()
        if source == x:
            b.load(slots[0], x, 0)
        else:
            b.store(slots[1], y, 0)
    pef = PefBuilder(machine)
    configuration = pef.configuration(b.build())
    symbols = [pef.symbol(name, f32(64, 32), kind) for name, kind in (("x", "input"), ("y", "output"))]
    pef.section("FWD", "fwd_0", configuration, *symbols)
    return pef.record


def test_buffers_that_live_in_no_common_phase_may_share_a_pmu() -> None:
    assert not problems(two_steps(y_shares_with="x"))
    (problem,) = problems(two_steps(y_shares_with="h"))
    assert re.search(r"in phase 1, PMU unit 1 on site \d+ holds 16384 bytes of buffer 1 \(h\), buffer 2 \(y\)", problem)


def test_all_violations_are_listed() -> None:
    pef = SAMPLES["two_products"]()
    names = ("no bytes", "unaligned", "slices combined", "location missing")
    for name in names:
        MUTATIONS[name].change(pef)
    found = problems(pef)
    assert all(any(re.search(MUTATIONS[name].expected, problem) for problem in found) for name in names)


def sealed_step() -> pb.Pef:
    """A step whose symbols say how often they are stored."""
    pef = SAMPLES["step"]()
    seal(pef, b"", b"")
    return pef


def test_a_sealed_pef_is_legal() -> None:
    assert problems(sealed_step()) == []


@pytest.mark.parametrize("number", range(3))
def test_a_missing_section_is_noticed(number: int) -> None:
    pef = sealed_step()
    del pef.sections[number]
    for symbol in pef.symbols:
        symbol.last = min(symbol.last, 1)
        symbol.first = min(symbol.first, 1)
    assert any("0 sections store it, but it says that 1 do" in problem for problem in problems(pef))


def test_a_section_that_is_there_twice_is_noticed() -> None:
    pef = sealed_step()
    pef.sections.append(pef.sections[0])
    assert any("2 sections store it, but it says that 1 do" in problem for problem in problems(pef))


def test_checking_stops_after_many_problems() -> None:
    pef = SAMPLES["two_products"]()
    for number in range(2000):
        pef.symbols.add(name=f"s{number}", kind="parameter", persistent=True, tier=0).type.CopyFrom(pef.symbols[0].type)
    found = problems(pef)
    assert len(found) == 100 and found[-1] == "the PEF: checking stopped after 99 problems"
    assert "symbol 4 (s0): the symbol shares memory with symbol 0 (x) while both live" in found


def test_overlaps_are_found_whatever_lives_when() -> None:
    """The sweep finds a symbol to blame exactly where comparing all pairs does."""
    draw = random.Random(3)
    for _ in range(200):
        pef = SAMPLES["step"]()
        del pef.symbols[:]
        for number in range(12):
            first = draw.randrange(3)
            pef.symbols.add(
                name=f"s{number}", type=encode_type(f32(16 * draw.randint(1, 3))), offset=64 * draw.randrange(40),
                persistent=draw.random() < 0.2, first=first, last=draw.randint(first, 2),
            )  # fmt: skip
        pairs = [
            (a, b)
            for a, b in itertools.combinations(pef.symbols, 2)
            if a.offset < b.offset + 4 * b.type.shape[0]
            and b.offset < a.offset + 4 * a.type.shape[0]
            and (a.persistent or b.persistent or (a.first <= b.last and b.first <= a.last))
        ]
        assert bool(list(no_overlap(pef))) == bool(pairs)
