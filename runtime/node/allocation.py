"""Which tiles a session gets: from what it needs, what it may use, what works and what others hold.

A PEF is mapped onto tiles of one RDU. Where nothing but whole tiles was avoided it also fits rows of tiles further down
or up: the chip repeats there, so it takes the same time. The RDU with the least room that suffices is taken, so that
large PEFs find whole RDUs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pef.wording import counted
from runtime.node.hardware import Node
from runtime.node.words import numbers, ranges, shown_command

AFFINITY = "SF_RNT_TILE_AFFINITY"


@dataclass(frozen=True, slots=True)
class Need:
    """What a session asks for.

    placements: sets of tiles of an RDU, the PEF's own first, then where else it fits. affinity: a mask of the node's
    tiles, None for all. rdu: whole RDUs to hold; rdu_tile: tiles to hold, on one RDU; 0 for what the PEF needs.
    """

    pef: str
    machine: str
    placements: tuple[frozenset[int], ...]
    affinity: int | None = None
    rdu: int = 0
    rdu_tile: int = 0

    @property
    def tiles(self) -> frozenset[int]:
        """The tiles that the PEF was mapped onto."""
        return self.placements[0]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a tile."""

    pid: int
    user: str
    command: str

    def __str__(self) -> str:
        return f"PID {self.pid} ({self.user}: {shown_command(self.command)})"


@dataclass(frozen=True, slots=True)
class Grant:
    """Tiles of the node that a session holds, and those of them that its PEF uses, in the order of its placement."""

    tiles: frozenset[int]
    used: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a session gets nothing, and what would help; `busy` where waiting would."""

    reason: str
    lever: str
    busy: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """The tiles of a node: who holds which, and which are out of service, with the type of the fault."""

    node: Node
    held: Mapping[int, Holder]
    excluded: Mapping[int, str]

    def works(self, tiles: frozenset[int]) -> bool:
        """Whether all of these are in service."""
        return not tiles & self.excluded.keys()

    def is_free(self, tiles: frozenset[int]) -> bool:
        """Whether nobody holds any of these."""
        return not tiles & self.held.keys()


def allocate(state: State, need: Need, own: frozenset[int] = frozenset()) -> Grant | Refusal:
    """Tiles for a session whose process holds `own` already, which count as free and are taken first."""
    node = state.node
    if need.machine != node.machine:
        reason = f"{need.pef} was compiled for {need.machine}, and the RDUs of this node are {node.machine}s"
        return Refusal(reason, f"snc compile --arch {node.machine.lower()}, or SNC_NODE=off to run without the node")
    wanted = _impossible(node, need)
    if wanted is not None:
        return wanted
    others = State(node, {tile: holder for tile, holder in state.held.items() if tile not in own}, state.excluded)
    allowed = _allowed(node, need)
    candidates = [Grant(_all_of(node, need, used), used) for used in _places(node, need)]
    fitting = [grant for grant in candidates if grant.tiles <= allowed]
    working = [grant for grant in fitting if state.works(grant.tiles)]
    free = [grant for grant in working if others.is_free(grant.tiles)]
    if free:
        return min(free, key=lambda grant: (not grant.tiles & own, _room(others, grant), grant.used))
    if working:
        return _busy(others, need, working)
    return _broken(state, need, fitting) if fitting else _outside(node, need)


def _impossible(node: Node, need: Need) -> Refusal | None:
    """A count that no RDU or node has, or that the PEF itself exceeds."""
    if need.rdu > node.rdus:
        return Refusal(f"rdu:{need.rdu} was asked for, and {node.platform} has {node.rdus}", "ask for fewer")
    if need.rdu_tile > node.tiles_per_rdu:
        reason = f"rdu_tile:{need.rdu_tile} was asked for, and an RDU has {node.tiles_per_rdu}"
        return Refusal(reason, "ask for whole RDUs: rdu:N")
    if need.rdu_tile and need.rdu_tile < len(need.tiles):
        reason = (
            f"{need.pef} is mapped onto {counted(len(need.tiles), 'tile')} and rdu_tile:{need.rdu_tile} was asked for"
        )
        last = node.tiles_per_rdu - 1
        return Refusal(reason, f"ask for more, or compile for fewer: --avoid tile:{need.rdu_tile}-{last}")
    return None


def _allowed(node: Node, need: Need) -> frozenset[int]:
    mask = need.affinity
    return frozenset(tile for tile in range(node.tiles) if mask is None or mask >> tile & 1)


def _places(node: Node, need: Need) -> Iterator[tuple[int, ...]]:
    """Everywhere on the node that the PEF fits, if all of it were free."""
    for rdu in range(node.rdus - max(0, need.rdu - 1)):
        for placement in need.placements:
            yield tuple(sorted(node.tiles_of(rdu)[tile] for tile in placement))


def _all_of(node: Node, need: Need, used: Sequence[int]) -> frozenset[int]:
    """What a session holds that uses these tiles: with rdu, all of so many RDUs from there on; with rdu_tile, the
    tiles next to them."""
    rdu = node.rdu_of(used[0])
    if need.rdu:
        return frozenset(tile for number in range(rdu, rdu + need.rdu) for tile in node.tiles_of(number))
    more = [tile for tile in node.tiles_of(rdu) if tile not in used]
    more.sort(key=lambda tile: min(abs(tile - one) for one in used))
    return frozenset([*used, *more[: max(0, need.rdu_tile - len(used))]])


def _room(state: State, grant: Grant) -> int:
    """Free tiles of the RDU that a grant is on."""
    tiles = frozenset(state.node.tiles_of(state.node.rdu_of(grant.used[0])))
    return len(tiles - state.held.keys() - state.excluded.keys())


def _busy(state: State, need: Need, working: Sequence[Grant]) -> Refusal:
    in_the_way = {state.held[tile]: None for grant in working for tile in sorted(grant.tiles & state.held.keys())}
    holders = ", ".join(map(str, list(in_the_way)[:4])) + (" and others" if len(in_the_way) > 4 else "")
    reason = f"{need.pef} needs {_wish(need)}, and what it may use is held by {holders}"
    return Refusal(reason, "wait for them: snrun --wait SECONDS, or SNC_NODE_WAIT=SECONDS", busy=True)


def _broken(state: State, need: Need, fitting: Sequence[Grant]) -> Refusal:
    """Where the fewest tiles are out of service, and the compile that would do without them."""
    node = state.node
    best = min(fitting, key=lambda grant: (len(grant.tiles & state.excluded.keys()), grant.used))
    out = sorted(best.tiles & state.excluded.keys())
    listed = ", ".join(f"{node.tile_path(tile)} ({state.excluded[tile]})" for tile in out[:3])
    listed += f" and {len(out) - 3} more" if len(out) > 3 else ""
    reason = f"{need.pef} needs {_wish(need)}, and out of service are {listed}"
    if len(out) == 1:
        reason = f"{need.pef} needs {_wish(need)}, and {listed} is out of service"
    inner = [tile % node.tiles_per_rdu for tile in out]
    every = frozenset(node.tiles_of(node.rdu_of(best.used[0])))
    if every <= state.excluded.keys():
        return Refusal(reason, f"let it use another RDU ({AFFINITY}), or repair the hardware: snfadm -l fault -v")
    return Refusal(reason, f"map around it: snc compile --avoid {_avoided(inner)}")


def _outside(node: Node, need: Need) -> Refusal:
    allowed = sorted(_allowed(node, need))
    reason = f"{need.pef} needs {_wish(need)}, and {AFFINITY}={need.affinity or 0:#x} allows "
    reason += f"only {', '.join(map(node.tile_path, allowed[:4]))}" if allowed else "no tile of this node"
    if not allowed:
        return Refusal(reason, f"the node has {node.tiles} tiles: the mask's bits 0 to {node.tiles - 1}")
    rdu = node.rdu_of(allowed[0])
    rest = [number for number, tile in enumerate(node.tiles_of(rdu)) if tile not in allowed]
    lever = f"widen the mask, or compile for what it allows: --avoid {_avoided(rest)}" if rest else "widen the mask"
    return Refusal(reason, lever)


def _wish(need: Need) -> str:
    if need.rdu:
        return counted(need.rdu, "whole RDU")
    tiles = need.tiles
    wish = f"{'tile' if len(tiles) == 1 else 'tiles'} {numbers(tiles)} of an RDU"
    return f"{wish}, {need.rdu_tile} in all" if need.rdu_tile > len(tiles) else wish


def _avoided(tiles: Sequence[int]) -> str:
    return ",".join(f"tile:{part}" for part in ranges(tiles))
