"""Device memory: fair sharing against closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pef.machine import Machine, Tier
from runtime.timing import Bound
from runtime.timing.memory_model import Client, DeviceMemory, Limit
from tests.timing.build import FREE_MEMORY, chain, execution_of, stage_reports

ONE_TIER = replace(FREE_MEMORY, agcu_bytes_per_cycle=64, tiers=(Tier("ddr", 1 << 40, 64e9),))
TWO_TIERS = replace(ONE_TIER, tiers=(Tier("hbm", 1 << 30, 64e9), Tier("ddr", 1 << 40, 32e9)))


def client(number: int, tier: int = 0, agcus: tuple[int, ...] | None = None, rate: float = 1e9) -> Client:
    """A stream with its own AGCU."""
    return Client(tier, False, agcus if agcus is not None else (number,), rate, Limit.NETWORK)


def finishes(memory: DeviceMemory) -> dict[int, float]:
    """When each client's transfer ends."""
    ends = {}
    while done := memory.step():
        ends.update({transfer.client: time for transfer, time in done})
    return ends


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 10**4))
@settings(deadline=None)
def test_two_transfers_share_fairly(first: int, second: int, delay: int) -> None:
    memory = DeviceMemory([client(0), client(1)], ONE_TIER)
    memory.request(0, 0, first)
    memory.request(1, delay, second)
    alone = min(first, 64 * delay)
    left = first - alone
    begin = delay
    if left <= second:
        end_first = begin + left / 32 if left else first / 64
        end_second = begin + left / 32 + (second - left) / 64
    else:
        end_second = begin + second / 32
        end_first = end_second + (left - second) / 64
    ends = finishes(memory)
    assert ends[0] == pytest.approx(end_first, rel=1e-12)
    assert ends[1] == pytest.approx(end_second, rel=1e-12)


@given(st.lists(st.integers(1, 10**5), min_size=1, max_size=12))
@settings(deadline=None)
def test_equal_shares_finish_in_order_of_size_and_waste_nothing(sizes: list[int]) -> None:
    memory = DeviceMemory([client(i) for i in range(len(sizes))], ONE_TIER)
    for number, size in enumerate(sizes):
        memory.request(number, 0, size)
    ends = finishes(memory)
    assert max(ends.values()) == pytest.approx(sum(sizes) / 64)
    assert [sizes[i] for i in sorted(ends, key=lambda i: (ends[i], sizes[i]))] == sorted(sizes)


def test_a_capped_transfer_leaves_its_share_to_others() -> None:
    memory = DeviceMemory([client(0, rate=8), client(1)], ONE_TIER)
    memory.request(0, 0, 80)
    memory.request(1, 0, 560)
    assert finishes(memory) == {0: 10, 1: 10}


def test_one_agcu_divides_its_rate() -> None:
    fast = replace(ONE_TIER, tiers=(Tier("hbm", 1 << 40, 1e15),))
    memory = DeviceMemory([client(0, agcus=(3,)), client(1, agcus=(3,)), client(2, agcus=(4, 5))], fast)
    for number in range(3):
        memory.request(number, 0, 640)
    assert finishes(memory) == {0: 20, 1: 20, 2: 5}


def test_tiers_do_not_disturb_each_other() -> None:
    memory = DeviceMemory([client(0, 0), client(1, 1)], TWO_TIERS)
    memory.request(0, 0, 640)
    memory.request(1, 0, 640)
    assert finishes(memory) == {0: 10, 1: 20}


def naive(clients: list[Client], requests: list[tuple[int, int]], machine: Machine) -> list[float]:
    """End times by brute force: at every event all rates anew, by raising them together until something binds."""
    left = [float(size) for _, size in requests]
    ends: dict[int, float] = {}
    now = 0.0
    while len(ends) < len(clients):
        active = [i for i in range(len(clients)) if i not in ends and requests[i][0] <= now]
        users = [agcu for i in active for agcu in clients[i].agcus]
        caps = {
            i: min(
                clients[i].route_bytes_per_cycle,
                sum(machine.agcu_bytes_per_cycle / users.count(agcu) for agcu in clients[i].agcus),
            )
            for i in active
        }
        rate = dict.fromkeys(active, 0.0)
        for tier in range(len(machine.tiers)):
            rising = [i for i in active if clients[i].tier == tier]
            spare = machine.tier_bytes_per_cycle(tier)
            while rising and spare > 1e-12:
                step = min(spare / len(rising), min(caps[i] - rate[i] for i in rising))
                for i in rising:
                    rate[i] += step
                spare -= step * len(rising)
                rising = [i for i in rising if caps[i] - rate[i] > 1e-12]
        starts = [time for time, _ in requests if time > now]
        following = min([now + left[i] / rate[i] for i in active] + starts)
        for i in active:
            left[i] -= (following - now) * rate[i]
            if left[i] <= 1e-7:
                ends[i] = following
        now = following
    return [ends[i] for i in range(len(clients))]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True),
            st.sampled_from((1.0, 5.0, 30.0, 1e9)),
            st.integers(0, 50),
            st.integers(1, 5000),
        ),
        min_size=1,
        max_size=10,
    )
)
@settings(max_examples=150, deadline=None)
def test_any_mixture_against_brute_force(mixture: list[tuple[int, list[int], float, int, int]]) -> None:
    clients = [client(i, tier, tuple(agcus), rate) for i, (tier, agcus, rate, _, _) in enumerate(mixture)]
    requests = [(time, size) for *_, time, size in mixture]
    memory = DeviceMemory(clients, TWO_TIERS)
    for number, (time, size) in enumerate(requests):
        memory.request(number, time, size)
    ends = finishes(memory)
    assert [ends[i] for i in range(len(clients))] == pytest.approx(naive(clients, requests, TWO_TIERS), abs=1e-5)


def test_half_the_bandwidth_doubles_a_memory_bound_section() -> None:
    def run(gb_per_s: float) -> tuple[float, Bound]:
        machine = replace(FREE_MEMORY, tiers=(Tier("ddr", 1 << 40, gb_per_s * 1e9),))
        configuration = chain((4, 4), 64, rows=64, machine=machine, parallel=(8,)).build()
        execution = execution_of(configuration, machine)
        return execution.cycles, max(execution.path.items(), key=lambda item: item[1])[0]

    (full, bound), (half, _), (quarter, _) = run(16), run(8), run(4)
    assert bound is Bound.DRAM
    assert half / full == pytest.approx(2, rel=0.02)
    assert quarter / half == pytest.approx(2, rel=0.02)


def test_achieved_bandwidth_never_exceeds_the_peak() -> None:
    machine = replace(FREE_MEMORY, tiers=(Tier("ddr", 1 << 40, 16e9),))
    execution = execution_of(chain((4, 4), 64, rows=64, machine=machine).build(), machine)
    assert sum(execution.read_bytes + execution.write_bytes) <= 16 * execution.cycles
    assert all(sum(sample.read) + sum(sample.write) <= 16 * (1 + 1e-12) for sample in execution.traffic)
    assert stage_reports(execution)[0].time.dram > 0


def test_traffic_adds_up_to_the_bytes_moved() -> None:
    machine = replace(FREE_MEMORY, tiers=(Tier("ddr", 1 << 40, 48e9),))
    execution = execution_of(chain((2, 2, 2), 16, rows=64, machine=machine).build(), machine)
    spans = zip(execution.traffic, [s.time for s in execution.traffic[1:]] + [execution.cycles])
    moved = sum((end - sample.time) * (sample.read[0] + sample.write[0]) for sample, end in spans)
    assert moved == pytest.approx(sum(execution.read_bytes) + sum(execution.write_bytes))
