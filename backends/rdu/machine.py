"""Machine files: a TOML description of one RDU socket, read into `pef.machine.Machine`.

Every number of a machine file says where it comes from:

    clock_ghz = { value = 1.40, source = "derived: 688 TFLOPS / (1280 PCU x 192 MAC x 2)" }

where the source starts with `published:`, `derived:` or `guess:`. To describe a machine of your own, copy a file of
`backends/rdu/machines`, change it, and give its path where a machine's name is expected.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from backends.extensions import MACHINES, added, load_added
from backends.rdu.avoid import usable
from ir.errors import MachineError, Problem
from pef.machine import Machine, Tier

tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

MACHINE_FOLDER = Path(__file__).parent / "machines"
SOURCES = ("published", "derived", "guess")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a number of a machine file must be."""

    whole: bool
    zero: bool = False

    def accepts(self, value: object) -> bool:
        """Whether `value` is a finite number of the wanted kind and sign."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return math.isfinite(value) and (value > 0 or (self.zero and value == 0))

    def __str__(self) -> str:
        return f"a {'whole ' if self.whole else ''}number {'of 0 or more' if self.zero else 'above 0'}"


COUNT = Rule(whole=True)
COUNT_OR_NONE = Rule(whole=True, zero=True)
QUANTITY = Rule(whole=False)
QUANTITY_OR_NONE = Rule(whole=False, zero=True)

RULES: Mapping[str, Mapping[str, Rule]] = {
    "grid": {
        "rdu_tile_rows": COUNT,
        "rdu_tile_columns": COUNT,
        "rdu_tiles_down": COUNT,
        "rdu_tiles_across": COUNT,
        "agcus_per_rdu_tile": COUNT,
    },
    "pcu": {
        "clock_ghz": QUANTITY,
        "pcu_lanes": COUNT,
        "pcu_stages": COUNT,
        "fp32_cycles_per_vector": COUNT,
        "tail_cycles_per_vector": COUNT,
    },
    "pmu": {
        "pmu_bytes": COUNT,
        "pmu_port_bytes_per_cycle": COUNT,
        "pmu_read_ports": COUNT,
        "pmu_write_ports": COUNT,
    },
    "network": {
        "link_bytes_per_cycle": COUNT,
        "hop_cycles": COUNT_OR_NONE,
        "agcu_bytes_per_cycle": COUNT,
        "memory_burst_bytes": COUNT,
    },
    "orchestration": {
        "program_load_us": QUANTITY_OR_NONE,
        "argument_load_us": QUANTITY_OR_NONE,
        "launch_us": QUANTITY_OR_NONE,
    },
    "replicas": {"ring_bytes_per_s": QUANTITY, "ring_step_us": QUANTITY_OR_NONE, "host_bytes_per_s": QUANTITY},
}
TIER_RULES: Mapping[str, Rule] = {"capacity_bytes": COUNT, "bandwidth_bytes_per_s": QUANTITY}


@dataclass(frozen=True, slots=True)
class Entry:
    """One number of a machine file and where it comes from."""

    key: str
    value: float
    source: str


@dataclass(slots=True)
class MachineFile:
    """A machine file being read: what it says, and everything that is wrong with it."""

    path: Path
    name: str = ""
    faulty_sites: tuple[int, ...] = ()
    tier_names: tuple[str, ...] = ()
    entries: dict[str, Entry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def report(self, message: str, key: str = "", hint: str | None = None) -> None:
        """Note a problem with `key`, to be raised together with all the others."""
        where = f"{self.path}: {key}" if key else str(self.path)
        self.problems.append(Problem(message, where=where, hint=hint))

    def section(self, name: str) -> dict[str, Any]:
        """The numbers of one table, by key."""
        return {key.removeprefix(f"{name}."): e.value for key, e in self.entries.items() if key.startswith(f"{name}.")}


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid as a machine file describes it: RDU tiles of so many sites, so many of them down and across."""

    rdu_tile_rows: int
    rdu_tile_columns: int
    rdu_tiles_down: int
    rdu_tiles_across: int
    agcus_per_rdu_tile: int

    @property
    def rows(self) -> int:
        """Rows of sites of the whole chip."""
        return self.rdu_tile_rows * self.rdu_tiles_down

    @property
    def columns(self) -> int:
        """Columns of sites of the whole chip."""
        return self.rdu_tile_columns * self.rdu_tiles_across

    def agcu_sites(self) -> Iterator[int]:
        """The sites AGCUs are attached to, RDU tile by RDU tile, spread evenly along each tile's outer edge."""
        for tile_row in range(self.rdu_tiles_down):
            for tile_column in range(self.rdu_tiles_across):
                for agcu in range(self.agcus_per_rdu_tile):
                    down = (2 * agcu + 1) * self.rdu_tile_rows // (2 * self.agcus_per_rdu_tile)
                    across = self._outer_column(tile_column, agcu)
                    yield (tile_row * self.rdu_tile_rows + down) * self.columns + across

    def _outer_column(self, tile_column: int, agcu: int) -> int:
        """West edge of a tile left of the middle of the chip, east edge right of it; in the middle both in turn."""
        beyond_middle = 2 * tile_column + 1 - self.rdu_tiles_across
        west = beyond_middle < 0 or (beyond_middle == 0 and agcu % 2 == 0)
        return tile_column * self.rdu_tile_columns + (0 if west else self.rdu_tile_columns - 1)


def machine_names() -> tuple[str, ...]:
    """The machines that come with the toolchain."""
    return tuple(sorted(path.stem for path in MACHINE_FOLDER.glob("*.toml")))


def load_machine(name_or_path: str | Path | Machine) -> Machine:
    """The machine of a name (`sn30`, in any case; also one that an installed package adds) or of a user's TOML file; a
    machine is its own.

    Raises `MachineError` holding every problem of the file, each with the file and the key; also where faulty sites
    leave nothing that could run a section.
    """
    if isinstance(name_or_path, Machine):
        return usable(name_or_path)
    if str(name_or_path) in added(MACHINES) and str(name_or_path) not in machine_names():
        found = load_added(MACHINES, str(name_or_path))
        return load_machine(found() if callable(found) else found)
    return usable(_build(_read(_find(name_or_path))))


def machine_entries(name_or_path: str | Path) -> tuple[Entry, ...]:
    """Every number of a machine file with its source, in the file's order. Raises `MachineError` as `load_machine`."""
    return tuple(_read(_find(name_or_path)).entries.values())


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return path
    known = machine_names()
    if str(name_or_path).lower() in known:
        return MACHINE_FOLDER / f"{str(name_or_path).lower()}.toml"
    hint = f"one of {', '.join((*known, *added(MACHINES)))}, or the path of a .toml file"
    raise MachineError(Problem(f"no machine is called '{name_or_path}'", hint=hint))


def _read(path: Path) -> MachineFile:
    """The checked content of a file."""
    file = MachineFile(path)
    table = _parse(path)
    _read_name(file, table)
    for section, rules in RULES.items():
        _read_section(file, section, table.get(section), rules)
    _read_faulty_sites(file, table)
    _read_tiers(file, table.get("tier"))
    for key in table.keys() - RULES.keys() - {"name", "tier"}:
        file.report("unknown key", key)
    MachineError.raise_if(sorted(file.problems, key=str))
    _check_grid(file)
    MachineError.raise_if(file.problems)
    return file


def _parse(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MachineError(Problem(f"cannot be read: {error.strerror}", where=str(path))) from error
    except ValueError as error:
        raise MachineError(Problem(f"this is not TOML: {error}", where=str(path))) from error
    return table


def _read_name(file: MachineFile, table: Mapping[str, Any]) -> None:
    name = table.get("name")
    if isinstance(name, str) and name:
        file.name = name
    else:
        file.report("missing or not a text", "name", hint='name = "my-rdu"')


def _read_section(file: MachineFile, section: str, table: object, rules: Mapping[str, Rule]) -> None:
    """Read the numbers of one table, reporting what is missing, unknown or wrong."""
    if not isinstance(table, dict):
        file.report("missing, or not a table", section)
        return
    for key in table.keys() - rules.keys() - ({"faulty_sites"} if section == "grid" else {"name"}):
        file.report("unknown key", f"{section}.{key}", hint=f"the keys here are {', '.join(rules)}")
    for key, rule in rules.items():
        if key in table:
            _read_entry(file, f"{section}.{key}", table[key], rule)
        else:
            file.report("missing", f"{section}.{key}", hint=f'{key} = {{ value = ..., source = "guess: ..." }}')


def _read_entry(file: MachineFile, key: str, entry: object, rule: Rule) -> None:
    if not isinstance(entry, dict) or entry.keys() != {"value", "source"}:
        file.report("is not a value with its source", key, hint='{ value = ..., source = "guess: why" }')
        return
    value, source = entry["value"], entry["source"]
    if not rule.accepts(value):
        file.report(f"value is {value!r}, expected {rule}", key)
    kind, colon, reason = source.partition(":") if isinstance(source, str) else ("", "", "")
    if kind not in SOURCES or not colon or not reason.strip():
        hint = " or ".join(f"'{kind}: ...'" for kind in SOURCES)
        file.report(f"source is {source!r}, which does not say where the number comes from", key, hint)
    file.entries[key] = Entry(key, value, source)


def _read_faulty_sites(file: MachineFile, table: Mapping[str, Any]) -> None:
    grid = table.get("grid")
    faulty = grid.get("faulty_sites") if isinstance(grid, dict) else []
    if isinstance(faulty, list) and all(COUNT_OR_NONE.accepts(site) for site in faulty):
        file.faulty_sites = tuple(sorted(set(faulty)))
    else:
        file.report("missing, or not a list of site numbers", "grid.faulty_sites", hint="faulty_sites = []")


def _read_tiers(file: MachineFile, tiers: object) -> None:
    if not isinstance(tiers, list) or not tiers:
        file.report("a machine needs at least one memory tier", "tier", hint="add a [[tier]] table")
        return
    for index, tier in enumerate(tiers):
        name = tier.get("name") if isinstance(tier, dict) else None
        if isinstance(name, str) and name:
            file.tier_names += (name,)
        else:
            file.report("missing or not a text", f"tier[{index}].name", hint='name = "DDR"')
        _read_section(file, f"tier[{index}]", tier, TIER_RULES)


def _check_grid(file: MachineFile) -> None:
    """What has to fit together between numbers that are each fine."""
    grid = Grid(**file.section("grid"))
    for site in file.faulty_sites:
        if site >= grid.rows * grid.columns:
            file.report(f"there is no site {site}; the grid has {grid.rows * grid.columns}", "grid.faulty_sites")
    if grid.agcus_per_rdu_tile > grid.rdu_tile_rows:
        file.report("more AGCUs than an RDU tile's edge has rows", "grid.agcus_per_rdu_tile")


def _build(file: MachineFile) -> Machine:
    """The machine of a checked file: its keys are the fields' names, except where the grid is derived."""
    grid = Grid(**file.section("grid"))
    return Machine(
        name=file.name,
        rows=grid.rows,
        columns=grid.columns,
        rdu_tile_rows=grid.rdu_tile_rows,
        rdu_tile_columns=grid.rdu_tile_columns,
        faulty_sites=file.faulty_sites,
        agcu_sites=tuple(grid.agcu_sites()),
        tiers=tuple(Tier(name=name, **file.section(f"tier[{i}]")) for i, name in enumerate(file.tier_names)),
        **file.section("pcu"),
        **file.section("pmu"),
        **file.section("network"),
        **file.section("orchestration"),
        **file.section("replicas"),
    )
