"""Metrics, and the file that says which there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ir.errors import UsageError
from runtime.node.exporter import CONFIG_VARIABLE, PORT, Collectors, ExporterConfig, NodeCollector, read_config
from runtime.node.hardware import load_node
from runtime.node.manager import Manager
from runtime.node.store import Store

LINK = "/XRDU_1/RDU_0/PCIE_2"
OF_A_COLLECTOR = {
    "platform": "sambanova_platform_error_count",
    "tile": "sambanova_tile_idle_percent{",
    "ddr": 'snc_node_ddr_gigabytes{xrdu="7"} 3072.0',
    "hbm": 'snc_node_hbm_gigabytes{rdu="1",xrdu="7"} 64.0',
    "pcie": 'snc_node_pcie_up{pcie="3",rdu="1",xrdu="7"} 1.0',
}


def metrics(folder: Path, name: str, collectors: Collectors) -> str:
    manager = Manager(load_node(name), Store(folder / "node.db", name))
    manager.start()
    manager.inject(LINK)
    registry = CollectorRegistry()
    registry.register(NodeCollector(manager, collectors))
    text = generate_latest(registry).decode()
    manager.store.close()
    return text


@pytest.mark.parametrize("off", OF_A_COLLECTOR)
def test_each_collector_can_be_switched_off(tmp_path: Path, off: str) -> None:
    found = metrics(tmp_path, "sn40l-16", Collectors(**{off: False}))
    assert {name for name, text in OF_A_COLLECTOR.items() if text in found} == OF_A_COLLECTOR.keys() - {off}


def test_a_broken_link_is_down_and_no_hbm_is_no_metric(tmp_path: Path) -> None:
    found = metrics(tmp_path, "sn30-8", Collectors())
    assert 'snc_node_pcie_up{pcie="2",rdu="0",xrdu="1"} 0.0' in found
    assert "hbm" not in found


def test_the_file_is_given_or_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    assert read_config(None) == ExporterConfig() and ExporterConfig().http_port == PORT
    path = tmp_path / "exporter.conf"
    path.write_text("http_port = 9200\n[collectors]\ntile = false\n")
    assert read_config(path) == ExporterConfig(http_port=9200, collectors=Collectors(tile=False))
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    assert read_config(None).http_port == 9200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http_port = 70000\ntiles = true\n", "http_port: .*tiles: "),
        ("[collectors]\ntile = 0\n", "collectors.tile: "),
        ("http_port 9101\n", "is not TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_at_once(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "exporter.conf"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"(?s){said}") as error:
        read_config(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exporter-config"):
        read_config(tmp_path / "none")
