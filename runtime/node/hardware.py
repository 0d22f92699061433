"""A node's hardware, read from a data file: Node > XRDU > RDU > tiles, PCIe links, DDR channels with DIMMs.

Every component has a path, which the tools print and take: /XRDU_0/RDU_1, /XRDU_0/RDU_1/TILE_3, /XRDU_0/RDU_1/PCIE_0,
/XRDU_0/RDU_1/DDRCH_6/DIMM_L0. RDUs of the node are numbered on from XRDU to XRDU, and tiles from RDU to RDU: the
number of a tile is its bit in SF_RNT_TILE_AFFINITY.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

from ir.errors import Problem, UsageError

tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

NODE_FOLDER = Path(__file__).parent / "nodes"
HOST_LINK = 0
"""The PCIe link of an RDU that leads to the host; the others lead to other RDUs."""


MOST_LINKS = 4
"""To the host, to the other RDU of the XRDU, and to those of the neighbouring XRDUs."""


class Kind(Enum):
    """What a path names."""

    RDU = "rdu"
    TILE = "tile"
    DIMM = "dimm"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Component:
    """A piece of hardware: its kind, the number of its RDU in the node, and its path."""

    kind: Kind
    rdu: int
    path: str


@dataclass(frozen=True, slots=True)
class Pcie:
    """The PCIe links of an RDU, all alike."""

    per_rdu: int
    bandwidth_gb_s: int
    speed_gt_s: int
    width: int


@dataclass(frozen=True, slots=True)
class Dimm:
    """A slot of a DDR channel; a size of 0 is an empty one."""

    name: str
    size_gb: float


@dataclass(frozen=True, slots=True)
class Node:
    """A node of `xrdus` XRDUs; `machine` is the name of the machine that each of its RDUs is, hbm_gb each one's HBM."""

    platform: str
    machine: str
    xrdus: int
    rdus_per_xrdu: int
    tiles_per_rdu: int
    pcie: Pcie
    channels: tuple[tuple[Dimm, ...], ...]
    hbm_gb: float = 0.0

    @property
    def rdus(self) -> int:
        """RDUs of the whole node."""
        return self.xrdus * self.rdus_per_xrdu

    @property
    def tiles(self) -> int:
        """RDU tiles of the whole node."""
        return self.rdus * self.tiles_per_rdu

    def rdu_path(self, rdu: int) -> str:
        """The path of an RDU of the node."""
        xrdu, own = divmod(rdu, self.rdus_per_xrdu)
        return f"/XRDU_{xrdu}/RDU_{own}"

    def tile_path(self, tile: int) -> str:
        """The path of a tile of the node."""
        rdu, own = divmod(tile, self.tiles_per_rdu)
        return f"{self.rdu_path(rdu)}/TILE_{own}"

    def link_path(self, rdu: int, link: int) -> str:
        """The path of a PCIe link of an RDU."""
        return f"{self.rdu_path(rdu)}/PCIE_{link}"

    def dimm_path(self, rdu: int, channel: int, dimm: Dimm) -> str:
        """The path of a DIMM of a channel of an RDU."""
        return f"{self.rdu_path(rdu)}/DDRCH_{channel}/{dimm.name}"

    def tiles_of(self, rdu: int) -> range:
        """The tiles of an RDU."""
        return range(rdu * self.tiles_per_rdu, (rdu + 1) * self.tiles_per_rdu)

    def rdu_of(self, tile: int) -> int:
        """The RDU of a tile."""
        return tile // self.tiles_per_rdu

    @property
    def xrdu_memory_gb(self) -> float:
        """Device memory of one XRDU."""
        return self.rdus_per_xrdu * sum(dimm.size_gb for channel in self.channels for dimm in channel)

    def components(self) -> Iterator[Component]:
        """Every RDU, followed by its tiles, links and DIMMs; empty slots are left out."""
        for rdu in range(self.rdus):
            yield Component(Kind.RDU, rdu, self.rdu_path(rdu))
            for tile in self.tiles_of(rdu):
                yield Component(Kind.TILE, rdu, self.tile_path(tile))
            for link in range(self.pcie.per_rdu):
                yield Component(Kind.LINK, rdu, self.link_path(rdu, link))
            for number, channel in enumerate(self.channels):
                for dimm in channel:
                    if dimm.size_gb:
                        yield Component(Kind.DIMM, rdu, self.dimm_path(rdu, number, dimm))

    def find(self, path: str) -> Component:
        """The component with this path. Raises UsageError that shows how paths look."""
        for component in self.components():
            if component.path == path:
                return component
        first: dict[Kind, str] = {}
        for component in self.components():
            first.setdefault(component.kind, component.path)
        hint = f"paths are written like {', '.join(first.values())}"
        raise UsageError(Problem(f"{self.platform} has no {path!r}", hint=hint))

    def tile_number(self, path: str) -> int:
        """The number of the tile with this path."""
        xrdu, rdu, tile = map(int, re.findall(r"\d+", path))
        return (xrdu * self.rdus_per_xrdu + rdu) * self.tiles_per_rdu + tile

    def far_end(self, rdu: int, link: int) -> str:
        """Where a link leads: the host, the other RDU of the XRDU, or a neighbour in the ring of XRDUs (a guess)."""
        xrdu, own = divmod(rdu, self.rdus_per_xrdu)
        if link == HOST_LINK:
            return "host"
        if link == 1:
            return self.link_path(xrdu * self.rdus_per_xrdu + (own + 1) % self.rdus_per_xrdu, 1)
        step = 1 if link == 2 else -1
        return self.link_path((xrdu + step) % self.xrdus * self.rdus_per_xrdu + own, 5 - link)


def serial_number(path: str, digits: int) -> str:
    """A made-up serial number, the same in every run."""
    return hashlib.sha256(f"serial number of {path}".encode()).hexdigest()[:digits].upper()


def node_names() -> tuple[str, ...]:
    """The nodes that come with the toolchain."""
    return tuple(sorted(path.stem for path in NODE_FOLDER.glob("*.toml")))


def load_node(name_or_path: str) -> Node:
    """The node of a name (`sn30-8`, in any case) or of a user's TOML file. Raises UsageError."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = NODE_FOLDER / f"{name_or_path.lower()}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return _node(table)
    except FileNotFoundError as error:
        hint = f"give one of {', '.join(node_names())}, or the path of a .toml file"
        raise UsageError(Problem(f"no node is called {name_or_path!r}", hint=hint)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = f"copy one of {NODE_FOLDER} and change it"
        problem = Problem(f"{path} does not describe a node: {type(error).__name__}: {error}", hint=hint)
        raise UsageError(problem) from error


def _node(table: dict[str, Any]) -> Node:
    pcie, memory = table["pcie"], table["memory"]
    sizes = memory["dimm_gb"]["value"]
    if _count(pcie, "per_rdu") > MOST_LINKS:
        raise ValueError(f"an RDU has at most {MOST_LINKS} PCIe links")
    return Node(
        platform=str(table["platform"]),
        machine=str(table["machine"]),
        xrdus=_count(table, "xrdus"),
        rdus_per_xrdu=_count(table, "rdus_per_xrdu"),
        tiles_per_rdu=_count(table, "tiles_per_rdu"),
        pcie=Pcie(*(_count(pcie, name) for name in ("per_rdu", "bandwidth_gb_s", "speed_gt_s", "width"))),
        channels=tuple(
            tuple(Dimm(f"DIMM_{letter}{slot}", float(size)) for slot, size in enumerate(sizes))
            for letter in memory["channels"]["value"]
        ),
        hbm_gb=float(memory["hbm_gb"]["value"]) if "hbm_gb" in memory else 0.0,
    )


def _count(table: dict[str, Any], key: str) -> int:
    value = table[key]["value"]
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{key} is {value!r}, expected a whole number above 0")
    return value
