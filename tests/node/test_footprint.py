"""Where a PEF fits on an RDU beside the tiles that it was mapped onto."""

from __future__ import annotations

import json

import pytest

from pef import pef_pb2 as pb
from runtime.node.footprint import placements
from tests.backends.test_avoid import compiled


@pytest.mark.parametrize(
    ("avoided", "first", "count"),
    [
        (("tile:2-7",), {0, 1}, 4),
        (("tile:0-5",), {6, 7}, 4),
        (("tile:0-3,tile:6-7",), {4, 5}, 4),
        (("tile:2-7", "unit:41"), {0, 1}, 1),
        (("tile:2-7", "agcu:0"), {0, 1}, 1),
    ],
)
def test_a_row_of_tiles_fits_every_row(avoided: tuple[str, ...], first: set[int], count: int) -> None:
    """Unless it was mapped around single units or AGCUs, which are where they are."""
    pef: pb.Pef = compiled(*avoided)
    pef.header.options_json = json.dumps({"avoid": avoided})
    places = placements(pef)
    assert places[0] == first and len(places) == len(set(places)) == count
    assert all(max(tiles) - min(tiles) == 1 and min(tiles) % 2 == 0 for tiles in places)
