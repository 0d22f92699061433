"""Who gets which tiles, without any daemon."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.node.allocation import Grant, Holder, Need, Refusal, State, allocate
from runtime.node.hardware import load_node

NODE = load_node("sn30-8")
HALF = Need("half.pef", "SN30", (frozenset(range(4)), frozenset(range(4, 8))))
WHOLE = Need("whole.pef", "SN30", (frozenset(range(8)),))
SOMEBODY = Holder(7, "someone", "snrun other.pef")


def state(held: set[int] = frozenset(), excluded: set[int] = frozenset()) -> State:  # type: ignore[assignment]
    return State(NODE, dict.fromkeys(held, SOMEBODY), dict.fromkeys(excluded, "FTYPE_TILE_EXCLUDED"))


def granted(answer: Grant | Refusal) -> list[int]:
    assert isinstance(answer, Grant), answer
    return sorted(answer.tiles)


def refused(answer: Grant | Refusal) -> Refusal:
    assert isinstance(answer, Refusal), answer
    return answer


def test_two_halves_share_an_rdu() -> None:
    assert granted(allocate(state(), HALF)) == [0, 1, 2, 3]
    assert granted(allocate(state({0, 1, 2, 3}), HALF)) == [4, 5, 6, 7]


def test_the_least_room_that_suffices() -> None:
    """A half goes where an RDU is broken into already, and leaves whole ones."""
    assert granted(allocate(state({8, 9, 10, 11}), HALF)) == [12, 13, 14, 15]
    assert granted(allocate(state({1}), WHOLE)) == [*range(8, 16)]


def test_a_process_keeps_its_own_tiles() -> None:
    assert granted(allocate(state({0, 1, 2, 3}), HALF, own=frozenset({0, 1, 2, 3}))) == [0, 1, 2, 3]


def test_what_is_out_of_service_is_avoided_where_it_can_be() -> None:
    assert granted(allocate(state(excluded={2}), WHOLE)) == [*range(8, 16)]
    assert granted(allocate(state(excluded={2}), replace(HALF, affinity=0xFF))) == [4, 5, 6, 7]


def test_an_excluded_tile_has_a_lever() -> None:
    answer = refused(allocate(state(excluded={2}), replace(WHOLE, affinity=0xFF)))
    assert "/XRDU_0/RDU_0/TILE_2 (FTYPE_TILE_EXCLUDED) is out of service" in answer.reason
    assert "--avoid tile:2" in answer.lever and not answer.busy
    lost = refused(allocate(state(excluded=set(range(8))), replace(WHOLE, affinity=0xFF)))
    assert "SF_RNT_TILE_AFFINITY" in lost.lever


def test_a_narrow_mask_has_a_lever() -> None:
    answer = refused(allocate(state(), replace(WHOLE, affinity=0x0F00)))
    assert "0xf00" in answer.reason and "--avoid tile:4-7" in answer.lever
    nothing = refused(allocate(state(), replace(WHOLE, affinity=1 << 64)))
    assert "no tile of this node" in nothing.reason


def test_who_is_in_the_way_is_named() -> None:
    answer = refused(allocate(state(set(range(64))), HALF))
    assert "PID 7 (someone: snrun other.pef)" in answer.reason and answer.busy


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/opt/snc/bin/python /opt/snc/bin/snrun out/a.pef --train", "snrun out/a.pef --train"),
        ("python3.11 mine.py run", "mine.py run"),
        ("/usr/bin/python -m modelbox.jobs.work", "python -m modelbox.jobs.work"),
        ("/usr/bin/python", "python"),
        ("snrun " + "x" * 100, "snrun " + "x" * 50 + " ..."),
    ],
)
def test_the_holder_is_named_by_what_was_typed(command: str, shown: str) -> None:
    assert str(Holder(7, "ann", command)) == f"PID 7 (ann: {shown})"


def test_counts() -> None:
    assert granted(allocate(state(), replace(HALF, rdu=2))) == [*range(16)]
    assert granted(allocate(state({3}), replace(HALF, rdu=1))) == [*range(8, 16)]
    assert granted(allocate(state(), replace(HALF, rdu_tile=6))) == [0, 1, 2, 3, 4, 5]
    assert "has 8" in refused(allocate(state(), replace(HALF, rdu=9))).reason
    assert "rdu:N" in refused(allocate(state(), replace(HALF, rdu_tile=9))).lever
    assert "--avoid tile:2-7" in refused(allocate(state(), replace(HALF, rdu_tile=2))).lever


def test_a_pef_of_another_machine() -> None:
    answer = refused(allocate(state(), replace(HALF, machine="SN10")))
    assert "--arch sn30" in answer.lever and "SNC_NODE=off" in answer.lever


TILES = st.sets(st.integers(0, NODE.tiles - 1))
PLACEMENT = st.frozensets(st.integers(0, 7), min_size=1)


@given(TILES, TILES, st.one_of(st.none(), st.integers(0, 2**64 - 1)), st.lists(PLACEMENT, min_size=1, max_size=3),
       st.integers(0, 2), st.integers(0, 8))  # fmt: skip
def test_what_is_granted_is_free_allowed_and_works(
    held: set[int], excluded: set[int], affinity: int | None, placed: list[frozenset[int]], rdu: int, rdu_tile: int
) -> None:
    need = Need("x.pef", "SN30", tuple(placed), affinity, rdu, rdu_tile)
    answer = allocate(state(held, excluded), need)
    if isinstance(answer, Refusal):
        assert answer.reason and answer.lever
        possible = not rdu and not rdu_tile and any(
            all(t not in held and t not in excluded and (affinity is None or affinity >> t & 1) for t in tiles)
            for rdu_number in range(NODE.rdus)
            for tiles in ([NODE.tiles_of(rdu_number)[t] for t in placement] for placement in placed)
        )  # fmt: skip
        assert not possible
        return
    assert not answer.tiles & (held | excluded)
    assert affinity is None or all(affinity >> tile & 1 for tile in answer.tiles)
    assert set(answer.used) <= answer.tiles
    assert len({NODE.rdu_of(tile) for tile in answer.used}) == 1
    assert frozenset(tile % 8 for tile in answer.used) in placed
    assert len(answer.tiles) >= max(rdu * 8, rdu_tile)
