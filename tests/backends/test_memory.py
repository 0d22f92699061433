"""Where symbols live where they do not all fit the fastest tier, and what the cut takes memory to be then."""

from __future__ import annotations

import pytest

from backends.rdu.emit.memory import Place, place_symbols, with_shared_bandwidth
from backends.rdu.machine import load_machine
from ir.graph import Symbol, SymbolKind
from ir.types import DType, TensorType

SN40L = load_machine("sn40l")
GIB = 1 << 30
HBM, DDR = SN40L.tiers


def symbol(name: str, gib: int, kind: SymbolKind = SymbolKind.PARAMETER) -> Symbol:
    return Symbol(name, TensorType(DType.I8, (gib, GIB)), kind)


def placed(*symbols: Symbol) -> dict[str, Place]:
    """Places of symbols, of which activation number i lives from section i to the one behind."""
    lifetimes = {s.name: (number, number + 1) for number, s in enumerate(symbols) if s.kind is SymbolKind.ACTIVATION}
    return place_symbols(symbols, lifetimes, SN40L)


def test_what_fits_the_fastest_tier_is_there_in_order() -> None:
    places = placed(symbol("a", 20), symbol("h", 2, SymbolKind.ACTIVATION), symbol("b", 20))
    assert [(p.tier, p.offset // GIB) for p in (places["a"], places["b"], places["h"])] == [(0, 0), (0, 20), (0, 40)]


def test_weights_that_overflow_it_leave_room_for_what_sections_hand_over() -> None:
    room = HBM.capacity_bytes // GIB
    weights = [symbol(f"w{number}", 10) for number in range(12)]
    handed = [symbol(f"h{number}", 3, SymbolKind.ACTIVATION) for number in range(4)]
    places = placed(*handed, *weights)
    assert {places[s.name].tier for s in handed} == {0}
    near = [s.name for s in weights if places[s.name].tier == 0]
    assert len(near) == (room - 6) // 10, "two of those that are handed over live at a time"
    assert {places[s.name].tier for s in weights} == {0, 1}


def test_what_is_handed_over_gets_half_of_it_at_most() -> None:
    weights = [symbol(f"w{number}", 4) for number in range(30)]
    handed = [symbol(f"h{number}", 20, SymbolKind.ACTIVATION) for number in range(4)]
    places = placed(*handed, *weights)
    near = sum(4 * GIB for s in weights if places[s.name].tier == 0)
    assert HBM.capacity_bytes // 2 - 4 * GIB < near <= HBM.capacity_bytes // 2


def test_the_cut_takes_memory_to_be_as_fast_as_one_pass_over_all_weights() -> None:
    few, many = [symbol("w", 30)], [symbol(f"w{number}", 30) for number in range(5)]
    assert with_shared_bandwidth(SN40L, few) is SN40L
    held = 150 * GIB
    seconds = HBM.capacity_bytes / HBM.bandwidth_bytes_per_s
    seconds += (held - HBM.capacity_bytes) / DDR.bandwidth_bytes_per_s
    reckoned = with_shared_bandwidth(SN40L, [*many, symbol("h", 90, SymbolKind.ACTIVATION)])
    assert reckoned.tiers[0].bandwidth_bytes_per_s == pytest.approx(held / seconds)
    assert reckoned.tiers[1:] == SN40L.tiers[1:]
