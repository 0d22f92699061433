"""The checker accepts the samples and refuses whatever breaks one rule, naming the thing that breaks it."""

from __future__ import annotations

import re

import pytest

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.check import check
from pef.codec import encode_op, encode_type
from tests.pef.mutations import MUTATIONS
from tests.pef.samples import SAMPLES, ConfigurationBuilder, PefBuilder, f32, op


def problems(pef: pb.Pef) -> list[str]:
    """What the checker finds, one text per problem."""
    try:
        check(pef)
    except IllegalPefError as error:
        return [str(problem) for problem in error.problems]
    return []


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
    x, y, u = (pef.symbol(name, f32(64, 64), "state") for name in "xyu")
    configuration = pef.configuration(b.build())
    pef.section("OPT", "opt_0", configuration, *((x, x, u, y) if related else (x, y, u, x)))
    return pef.record


def test_update_in_place_is_legal() -> None:
    assert problems(in_place(store_axis=0, related=True)) == []


def test_update_across_slices_is_refused() -> None:
    (problem,) = problems(in_place(store_axis=1, related=True))
    assert "symbol 0 (x) is stored cut [1] while it is loaded cut [0]" in problem


def test_update_that_does_not_wait_is_refused() -> None:
    (problem,) = problems(in_place(store_axis=0, related=False))
    assert "symbol 0 (x) may be stored before section 0 (opt_0), phase 0, load stream 0 has loaded it" in problem


def test_all_violations_are_listed() -> None:
    pef = SAMPLES["two_products"]()
    names = ("no bytes", "unaligned", "slices combined", "location missing")
    for name in names:
        MUTATIONS[name].change(pef)
    found = problems(pef)
    assert all(any(re.search(MUTATIONS[name].expected, problem) for problem in found) for name in names)
