"""The strict executor: loops of any depth through rings of exactly the declared size, or an error saying who waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from ir.errors import IllegalPefError
from ir.types import DType
from pef import file
from pef import pef_pb2 as pb
from pef.check import check
from pef.decoded_pef import DecodedPef
from runtime.session import Session
from tests.pef.samples import SAMPLES
from tests.runtime import nests, programs
from tests.runtime.nests import NESTS
from tests.runtime.random_nests import RandomNest, random_nests
from tests.runtime.test_functional import everything, executed, given_values

many = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

RELEASED = sorted((Path(__file__).parents[1] / "pef" / "data").glob("v*.pef"))
"""A file of every version of the format ever released."""

PROGRAMS: dict[str, Callable[[], pb.Pef]] = {
    **SAMPLES,
    **{name: lambda make=make: make().pef for name, make in NESTS.items()},  # type: ignore[misc]
    "summed": lambda: programs.summed(4096, 96, 64),
    "summed_uneven": lambda: programs.summed(4032, 64, 63),
    "training": programs.training,
    "update_in_place": programs.update_in_place,
    "square_in_place": programs.square_in_place,
    "half_precision": programs.half_precision,
    "summed_inside_half": lambda: nests.summed_inside(DType.BF16).pef,
    "summed_outside_half": lambda: nests.summed_outside(DType.BF16).pef,
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", NESTS)
def test_nests_equal_numpy(name: str, strict: bool) -> None:
    example = NESTS[name]()
    session = executed(example.pef, strict=strict)
    for symbol, wanted in example.expected(given_values(session)).items():
        np.testing.assert_allclose(session.read(symbol), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_fast_executor_gives_the_numbers_of_the_strict_one(name: str) -> None:
    fast, strict = (everything(executed(PROGRAMS[name](), strict=strict)) for strict in (False, True))
    for symbol, wanted in strict.items():
        scale = float(np.abs(wanted).max(initial=1.0))
        np.testing.assert_allclose(fast[symbol], wanted, rtol=0, atol=1e-5 * scale, err_msg=symbol)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_stored_files_of_every_version_run(path: Path, strict: bool) -> None:
    session = executed(file.read(path), strict=strict)
    for symbol, wanted in programs.expected("step", given_values(session)).items():
        np.testing.assert_allclose(session.read(symbol), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", NESTS)
def test_threads_do_not_change_a_bit_of_a_nest(name: str) -> None:
    runs = [everything(executed(NESTS[name]().pef, threads=threads)) for threads in (1, 3)]
    assert {symbol for symbol in runs[0] if not np.array_equal(runs[0][symbol], runs[1][symbol])} == set()


def is_legal(pef: pb.Pef) -> bool:
    try:
        check(pef)
    except IllegalPefError:
        return False
    return True


def outputs(nest: RandomNest, strict: bool) -> dict[str, np.ndarray]:
    return Session(DecodedPef(nest.pef), strict=strict).run(inputs=nest.given)


@many
@given(random_nests(rings=False))
def test_random_nests_through_whole_buffers(nest: RandomNest) -> None:
    for strict in (True, False):
        found = outputs(nest, strict)
        for name, wanted in nest.expected.items():
            np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5, err_msg=f"{name}, strict={strict}")


@many
@given(random_nests(rings=True))
def test_random_nests_through_rings_give_the_same_or_are_refused(nest: RandomNest) -> None:
    """Whatever the checker accepts runs to its end; what it refuses may wait for ever, but is never wrong."""
    try:
        found = outputs(nest, strict=True)
    except IllegalPefError as error:
        assert "waits for ever" in str(error)
        with pytest.raises(IllegalPefError):
            check(nest.pef)
        return
    fast = outputs(nest, strict=False) if is_legal(nest.pef) else found
    for name, wanted in nest.expected.items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(fast[name], wanted, rtol=1e-5, atol=1e-5, err_msg=name)


@many
@given(random_nests(rings=False, dtype=DType.BF16))
def test_random_nests_in_half_precision_round_alike(nest: RandomNest) -> None:
    """A sum that associates differently may round to the neighbour, which later operators carry on."""
    fast, strict = outputs(nest, strict=False), outputs(nest, strict=True)
    for name, wanted in strict.items():
        np.testing.assert_allclose(fast[name], wanted, rtol=2**-5, atol=2**-5, err_msg=name)


def refusal(pef: pb.Pef) -> str:
    session = Session(DecodedPef(pef), strict=True)
    session.load_weights(given_values(session))
    with pytest.raises(IllegalPefError) as caught:
        session.run()
    return str(caught.value)


def test_a_ring_too_short_for_its_reader_is_named() -> None:
    """Softmax reads two blocks of scores at once."""
    pef = NESTS["blocks_read_whole"]().pef
    buffers = pef.configurations[0].buffers
    next(buffer for buffer in buffers if buffer.name == "scores").depth = 1
    message = refusal(pef)
    assert "stage 0 (scores): firing 1 of 8 waits for ever for " in message
    assert "stage 1 (softmax): firing 0 of 4 waits for ever for " in message


def test_a_ring_too_short_for_the_longer_path_is_named() -> None:
    """What a sum over rows reads is still needed when the sum is complete."""
    pef = NESTS["complete_before_read"]().pef
    pef.configurations[0].buffers[0].depth = 3
    message = refusal(pef)
    assert "load stream 0: firing 3 of 12 waits for ever" in message
    assert "stage 3 (centred): firing 0 of 12 waits for ever" in message


def test_a_ring_of_one_slice_suffices_where_all_keep_step() -> None:
    pef = NESTS["attention"]().pef
    for buffer in pef.configurations[0].buffers:
        buffer.depth = 1
    deep = everything(executed(NESTS["attention"]().pef, strict=True))
    assert np.array_equal(everything(executed(pef, strict=True))["out"], deep["out"])


def test_strict_runs_repeat_themselves_and_keep_symbols() -> None:
    session = executed(programs.training(), strict=True)
    before = session.read("w")
    session.run()
    assert not np.array_equal(session.read("w"), before)
