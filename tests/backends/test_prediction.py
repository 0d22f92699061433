"""What the compiler predicts: sections that can be worked out by hand, and models beside the simulation."""

from __future__ import annotations

import math

import pytest

from backends.rdu.forecast import Arrival, LoadTimes, PhaseTimes, Source, StageTimes, StoreTimes, section_cycles
from backends.rdu.machine import load_machine
from benchmarks.prediction import compared, unplaced_model

SN30 = load_machine("sn30")
RATE = SN30.tier_bytes_per_cycle(0)

CLOSE = 0.05
"""How far the prediction of nearly every section may be from the simulation."""

FAR = 0.16
"""How far any may be: where many streams share the few AGCUs of a fast memory."""


def load(cycles: float, *, whole: bool = False, held: float = 1.0) -> LoadTimes:
    """A load that memory needs so many cycles for."""
    return LoadTimes(cycles * RATE, 0, (), held, whole)


def store(cycles: float, stage: int, *, transfers: int = 1, held: float = 1.0) -> StoreTimes:
    """A store of what a stage makes, a firing for each transfer."""
    return StoreTimes(cycles * RATE, 0, (), stage, 1, transfers, held)


def test_a_whole_load_comes_before_the_first_firing_and_a_whole_store_after_the_last() -> None:
    stage = StageTimes(10, 100, 7, arrivals=(Arrival(0, 1.0, 9),))
    assert predicted(PhaseTimes((stage,), (load(500, whole=True),), (store(300, 0),))) == 500 + 1000 + 7 + 300


def test_a_streamed_load_that_memory_is_slow_for_ends_the_phase_one_firing_later() -> None:
    stage = StageTimes(10, 100, 7, arrivals=(Arrival(0, 0.1, 0),))
    assert predicted(PhaseTimes((stage,), (load(5000),), ())) == 5000 + 100 + 7


def test_a_fast_load_delays_the_phase_by_its_first_slice() -> None:
    stage = StageTimes(10, 100, 7, arrivals=(Arrival(0, 0.1, 0),))
    assert predicted(PhaseTimes((stage,), (load(200),), ())) == 20 + 1000 + 7


def test_a_reader_starts_after_the_first_firing_and_ends_after_the_last() -> None:
    stages = (StageTimes(10, 100, 7), StageTimes(10, 100, 5, (Source(0, 1, 0, 0.2),)))
    assert predicted(PhaseTimes(stages, (), ())) == 10 * 100 + 7 + 100 + 5


def test_a_ring_lets_its_writer_be_ahead_by_what_it_holds() -> None:
    """The slow reader of a short ring holds up the writer, and with it the writer's other reader."""
    writer, slow = StageTimes(10, 10, 0), StageTimes(10, 100, 0, (Source(0, 1, 0, 0.0),))
    other = StageTimes(10, 10, 0, (Source(0, 1, 0, 0.0),))
    ends = predicted(PhaseTimes((writer, slow, other), (), (store(500, 2),)))
    assert ends == pytest.approx(9 * 100 + 2 * 10 + 500)


def test_loads_of_the_next_phase_come_while_a_phase_computes() -> None:
    first = PhaseTimes((StageTimes(10, 100, 0),), (), ())
    second = PhaseTimes((StageTimes(1, 50, 0, arrivals=(Arrival(0, 1.0, 0),)),), (load(600, whole=True),), ())
    assert predicted(first, second) == 1000 + 50


def test_loads_of_the_next_phase_take_their_share_of_memory() -> None:
    first = PhaseTimes((StageTimes(10, 1, 0, arrivals=(Arrival(0, 0.1, 0),)),), (load(1000),), ())
    second = PhaseTimes((StageTimes(1, 50, 0, arrivals=(Arrival(1, 1.0, 0),)),), (load(600, whole=True),), ())
    assert predicted(first, second) == 1600 + 1 + 50


def test_stores_that_begin_at_one_moment_are_told_apart() -> None:
    """The third is found when the first has begun, and begins together with the second."""
    early, late = StageTimes(1, 0.25, 0), StageTimes(1, 4, 0)
    waiting = StageTimes(1, 2.25, 0, arrivals=(Arrival(0, 1.0, 0),))
    stores = (store(8, 0), store(8, 1), store(8, 2))
    assert predicted(PhaseTimes((early, late, waiting), (load(1),), stores)) == pytest.approx(1 + 3 * 8)


def test_stores_go_on_in_later_phases_and_end_the_section() -> None:
    first = PhaseTimes((StageTimes(10, 100, 0),), (), (store(5000, 0),))
    second = PhaseTimes((StageTimes(10, 100, 0),), (), ())
    assert predicted(first, second) == 1000 + 5000


def test_a_slow_store_holds_up_what_its_ring_does_not_hold() -> None:
    stage = StageTimes(10, 100, 0)
    following = PhaseTimes((StageTimes(1, 10, 0),), (), ())
    ends = predicted(PhaseTimes((stage,), (), (store(5000, 0, transfers=10, held=0.2),)), following)
    assert ends == pytest.approx(100 + 5000)


def predicted(*phases: PhaseTimes) -> float:
    return section_cycles(phases, SN30)


MODELS = [
    ("llama-2-7b-prefill", "sn30", 1),
    ("llama-2-7b-decode", "sn40l", 1),
    *(
        pytest.param(*case, marks=pytest.mark.full)
        for case in (
            ("gpt-2-xl-training", "sn30", 2),
            ("gpt-2-xl-training", "sn40l", 2),
            ("llama-2-7b-training", "sn30", 2),
            ("llama-2-7b-prefill", "sn40l", 2),
            ("vit-large-training", "sn30", 2),
            ("resnet-50-training", "sn30", 1),
            ("unet-2d-training", "sn30", 3),
            ("mixtral-8x7b-prefill", "sn40l", 1),
        )
    ),
]


@pytest.mark.parametrize("model, arch, layers", MODELS)
def test_sections_take_as_long_as_predicted(model: str, arch: str, layers: int) -> None:
    rows = compared(unplaced_model(model, arch, layers))
    ratios = sorted(abs(math.log(row.ratio)) for row in rows)
    assert ratios[-1] <= FAR
    assert ratios[len(ratios) * 9 // 10 - 1] <= CLOSE
