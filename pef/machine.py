"""The machine a PEF was compiled for, as the PEF records it.

The compiler reads a `Machine` from a data file (`backends/rdu/machines/*.toml`) and writes it into the PEF;
the simulator and the checker know the machine only from there. Every field says its unit.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum

from ir.hashed import hashed_once


class SiteKind(Enum):
    """What sits at one position of the unit grid."""

    PCU = "pcu"
    PMU = "pmu"


@dataclass(frozen=True, slots=True)
class Tier:
    """One level of off-chip memory, in order of preference (HBM before DDR)."""

    name: str
    capacity_bytes: int
    bandwidth_bytes_per_s: float


@hashed_once
@dataclass(frozen=True)
class Machine:
    """One RDU socket: a checkerboard of PCUs and PMUs on a switch mesh, with AGCUs at its edges.

    Site `i` is row `i // columns`, column `i % columns`; every site has a switch, and a PCU where row + column is
    even, a PMU where it is odd. Switches of neighbouring sites are joined by one directed link each way. An AGCU
    is attached to the switch of the site listed for it; its number is its index in `agcu_sites`.
    """

    name: str
    rows: int
    columns: int
    rdu_tile_rows: int
    rdu_tile_columns: int
    faulty_sites: tuple[int, ...]
    agcu_sites: tuple[int, ...]

    clock_ghz: float
    pcu_lanes: int
    pcu_stages: int
    fp32_cycles_per_vector: int
    """Cycles a PCU takes per vector of fp32, where bf16 takes one."""
    tail_cycles_per_vector: int
    """Cycles the tail takes per vector of a transcendental function."""

    pmu_bytes: int
    pmu_port_bytes_per_cycle: int
    pmu_read_ports: int
    pmu_write_ports: int
    link_bytes_per_cycle: int
    hop_cycles: int

    agcu_bytes_per_cycle: int
    memory_burst_bytes: int
    """What memory moves at least: rows that an indexed stream picks move in whole bursts."""
    tiers: tuple[Tier, ...]

    program_load_us: float
    argument_load_us: float
    launch_us: float
    """What starting a section costs besides the loads: host- or hardware-orchestrated launch."""

    ring_bytes_per_s: float
    """Bandwidth of the link to the next RDU of a ring of replicas."""
    ring_step_us: float
    """Latency of one step around that ring."""
    host_bytes_per_s: float
    """Bandwidth of the link to the host, each way."""

    @property
    def sites(self) -> int:
        """Positions of the grid, faulty ones included."""
        return self.rows * self.columns

    def kind(self, site: int) -> SiteKind:
        """What sits at `site`."""
        row, column = divmod(site, self.columns)
        return SiteKind.PCU if (row + column) % 2 == 0 else SiteKind.PMU

    @functools.cache  # noqa: B019  (a machine is a constant)
    def working_sites(self, kind: SiteKind) -> tuple[int, ...]:
        """The sites of one kind that are not faulty, in order."""
        faulty = set(self.faulty_sites)
        return tuple(site for site in range(self.sites) if site not in faulty and self.kind(site) is kind)

    @property
    def rdu_tiles(self) -> int:
        """How many RDU tiles the chip consists of."""
        return (self.rows // self.rdu_tile_rows) * self._rdu_tiles_across

    @property
    def _rdu_tiles_across(self) -> int:
        return self.columns // self.rdu_tile_columns

    def rdu_tile(self, site: int) -> int:
        """The RDU tile that `site` belongs to; tiles are numbered along rows, from the top."""
        row, column = divmod(site, self.columns)
        return row // self.rdu_tile_rows * self._rdu_tiles_across + column // self.rdu_tile_columns

    @functools.cache  # noqa: B019  (a machine is a constant)
    def excluded_rdu_tiles(self) -> frozenset[int]:
        """RDU tiles without a working unit."""
        working = {self.rdu_tile(site) for kind in SiteKind for site in self.working_sites(kind)}
        return frozenset(range(self.rdu_tiles)) - working

    @functools.cache  # noqa: B019  (a machine is a constant)
    def closed_switches(self) -> frozenset[int]:
        """Sites whose switches no net can pass and no AGCU can use: those of excluded RDU tiles. The switch of a unit
        that is faulty by itself works."""
        excluded = self.excluded_rdu_tiles()
        return frozenset(site for site in range(self.sites if excluded else 0) if self.rdu_tile(site) in excluded)

    def cycles(self, microseconds: float) -> float:
        """`microseconds` in cycles of the fabric clock."""
        return microseconds * self.clock_ghz * 1e3

    def tier_bytes_per_cycle(self, tier: int) -> float:
        """Bandwidth of memory tier `tier` in bytes per cycle of the fabric clock."""
        return self.bytes_per_cycle(self.tiers[tier].bandwidth_bytes_per_s)

    def bytes_per_cycle(self, bytes_per_s: float) -> float:
        """A bandwidth in bytes per cycle of the fabric clock."""
        return bytes_per_s / (self.clock_ghz * 1e9)
