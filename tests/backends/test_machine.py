"""Machine files: what they say, that every number has a source, and how a wrong file is refused."""

from pathlib import Path

import pytest

from backends.rdu.machine import MACHINE_FOLDER, SOURCES, load_machine, machine_entries, machine_names
from ir.errors import MachineError
from pef.machine import SiteKind

PUBLISHED = {
    # PCUs, PMUs, memory tiers, bf16 TFLOPS (between)
    "sn10": (640, 640, ("DDR",), 300, 326),
    "sn30": (1280, 1280, ("DDR",), 687, 689),
    "sn40l": (1040, 1040, ("HBM", "DDR"), 637, 640),
}


def test_the_machines_come_with_the_toolchain() -> None:
    assert set(machine_names()) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_units_memory_and_peak_are_the_published_ones(name: str) -> None:
    pcus, pmus, tiers, least, most = PUBLISHED[name]
    machine = load_machine(name)
    assert len(machine.working_sites(SiteKind.PCU)) == pcus
    assert len(machine.working_sites(SiteKind.PMU)) == pmus
    assert tuple(tier.name for tier in machine.tiers) == tiers
    peak = pcus * machine.pcu_lanes * machine.pcu_stages * 2 * machine.clock_ghz / 1e3
    assert least <= peak <= most


@pytest.mark.parametrize("name", PUBLISHED)
def test_agcus_sit_on_the_outer_columns_four_to_an_rdu_tile(name: str) -> None:
    machine = load_machine(name)
    assert len(set(machine.agcu_sites)) == len(machine.agcu_sites)
    per_tile: dict[tuple[int, int], int] = {}
    for site in machine.agcu_sites:
        row, column = divmod(site, machine.columns)
        assert column in (0, machine.columns - 1)
        tile = (row // machine.rdu_tile_rows, column // machine.rdu_tile_columns)
        per_tile[tile] = per_tile.get(tile, 0) + 1
    tiles = machine.sites // (machine.rdu_tile_rows * machine.rdu_tile_columns)
    assert len(per_tile) == tiles
    assert set(per_tile.values()) == {4}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_number_has_a_source(name: str) -> None:
    for entry in machine_entries(name):
        kind, _, reason = entry.source.partition(": ")
        assert kind in SOURCES and len(reason) > 10, entry


def test_a_name_is_found_in_any_case() -> None:
    assert load_machine("SN30") == load_machine("sn30")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(MachineError, match="no machine is called 'sn99'") as error:
        load_machine("sn99")
    assert ", ".join(machine_names()) in str(error.value)


def changed(folder: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the SN30's file with some texts replaced."""
    text = (MACHINE_FOLDER / "sn30.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_a_users_file_describes_a_machine(tmp_path: Path) -> None:
    path = changed(tmp_path, ('name = "SN30"', 'name = "mine"'), ("faulty_sites = []", "faulty_sites = [7, 3, 7]"))
    machine = load_machine(path)
    assert machine.name == "mine"
    assert machine.faulty_sites == (3, 7)
    assert len(machine.working_sites(SiteKind.PMU)) == 1278
    assert load_machine(str(path)) == machine


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clock_ghz", "clock", "pcu.clock: unknown key"),
        ("clock_ghz", "clock", "pcu.clock_ghz: missing"),
        ("[pmu]", "[pum]", "pum: unknown key"),
        ("[pmu]", "[pum]", "pmu: missing, or not a table"),
        ("value = 1.40", 'value = "fast"', "pcu.clock_ghz: value is 'fast', expected a number above 0"),
        ("value = 1.40", "value = nan", "pcu.clock_ghz: value is nan"),
        ("value = 32,", "value = true,", "pcu.pcu_lanes: value is True, expected a whole number above 0"),
        ("value = 524_288", "value = 0", "pmu.pmu_bytes: value is 0"),
        ("value = 1.0,", "value = -1.0,", "orchestration.launch_us: value is -1.0, expected a number of 0 or more"),
        ("derived: 688", "I think 688", "pcu.clock_ghz: source is"),
        ("{ value = 1.40, source", "{ value = 1.40, from", "pcu.clock_ghz: is not a value with its source"),
        ('name = "SN30"', "name = 30", "name: missing or not a text"),
        ('name = "DDR"', "", r"tier\[0\].name: missing or not a text"),
        ("bandwidth_bytes_per_s", "bandwidth", r"tier\[0\].bandwidth_bytes_per_s: missing"),
        ("[[tier]]", "[[tears]]", "tier: a machine needs at least one memory tier"),
        ("faulty_sites = []", "", "grid.faulty_sites: missing"),
        ("faulty_sites = []", "faulty_sites = [-1]", "grid.faulty_sites: missing, or not a list"),
        ("faulty_sites = []", "faulty_sites = [2560]", "there is no site 2560; the grid has 2560"),
        ("agcus_per_rdu_tile = { value = 4", "agcus_per_rdu_tile = { value = 17", "more AGCUs than"),
        ("[grid]", "[grid", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = changed(tmp_path, (old, new))
    with pytest.raises(MachineError, match=message) as error:
        load_machine(path)
    assert str(path) in str(error.value)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = changed(tmp_path, ("pcu_lanes", "lanes"), ("value = 524_288", "value = 0.5"), ('name = "SN30"', ""))
    with pytest.raises(MachineError) as error:
        load_machine(path)
    assert len(error.value.problems) == 4


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"none\.toml: cannot be read"):
        load_machine(tmp_path / "none.toml")


def test_the_middle_rdu_tile_has_agcus_on_both_edges(tmp_path: Path) -> None:
    path = changed(tmp_path, ("rdu_tiles_across = { value = 2", "rdu_tiles_across = { value = 1"))
    machine = load_machine(path)
    assert [site % machine.columns for site in machine.agcu_sites[:4]] == [0, 19, 0, 19]
