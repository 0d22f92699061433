"""Prometheus metrics of the node, and the file that configures them.

Public are the port, the variable that names the file, its `http_port`, the collectors, and the names
sambanova_tile_<column>_percent (labels xrdu, rdu, tile) and sambanova_platform_error_count. Other metrics start with
snc_node_. A tile out of service has no shares: NaN. That the file is TOML, and what switches a collector, is ours:

    http_port = 9101
    [collectors]
    tile = false
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ir.errors import Problem, UsageError
from pef.files import readable_refusal
from runtime.node.activity import COLUMNS
from runtime.node.diagnosis import FaultType
from runtime.node.manager import Manager

PORT = 9101
CONFIG_VARIABLE = "SAMBANOVA_EXPORTER_CONFIG_FILE"
INTERVAL_SECONDS = 5.0
"""Shares are those of the last so many seconds, as sntilestat's by default."""

tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


class Collectors(BaseModel):
    """Which metrics there are."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    platform: bool = True
    tile: bool = True
    ddr: bool = True
    hbm: bool = True
    pcie: bool = True


class ExporterConfig(BaseModel):
    """What the exporter's file says. http_port: on loopback; 0 for any."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    http_port: int = Field(default=PORT, ge=0, le=65535)
    collectors: Collectors = Collectors()


def read_config(path: Path | None) -> ExporterConfig:
    """The configuration in a file, else in the one that the environment names, else the usual one.

    Raises UsageError with everything in the file that is not as it should be.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = path or (Path(named) if named else None)
    if path is None:
        return ExporterConfig()
    with readable_refusal(path, "read", f"give a TOML file with --exporter-config or {CONFIG_VARIABLE}"):
        content = path.read_bytes()
    try:
        return ExporterConfig.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        known = ", ".join(["http_port", *(f"collectors.{name}" for name in Collectors.model_fields)])
        found = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]
        problems = [Problem(f"{path}: {place}: {what}", hint=f"it may say {known}") for place, what in found]
        raise UsageError(*problems) from error
    except ValueError as error:
        raise UsageError(Problem(f"{path} is not TOML: {error}")) from error


class NodeCollector:
    """Asks the manager at every scrape."""

    def __init__(self, manager: Manager, collectors: Collectors) -> None:
        self._manager, self._collectors = manager, collectors

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All metrics whose collectors are on."""
        found = {
            "platform": self._platform,
            "tile": self._tiles,
            "ddr": self._ddr,
            "hbm": self._hbm,
            "pcie": self._pcie,
        }
        for name, metrics in found.items():
            if getattr(self._collectors, name):
                yield from metrics()

    def _platform(self) -> Iterator[GaugeMetricFamily]:
        store = self._manager.store
        errors = store.error_count()
        yield GaugeMetricFamily("sambanova_platform_error_count", "Entries of the error log.", value=errors)
        counts = Counter(fault.type for fault in store.faults())
        faults = GaugeMetricFamily("snc_node_faults", "Faults that stand.", labels=["type"])
        for kind in FaultType:
            faults.add_metric([kind.value], counts[kind])
        yield faults
        yield GaugeMetricFamily("snc_node_sessions", "Open sessions.", value=len(store.sessions()))

    def _ddr(self) -> Iterator[GaugeMetricFamily]:
        node = self._manager.node
        memory = GaugeMetricFamily("snc_node_ddr_gigabytes", "DDR of an XRDU.", labels=["xrdu"])
        for xrdu in range(node.xrdus):
            memory.add_metric([str(xrdu)], node.xrdu_memory_gb)
        yield memory

    def _hbm(self) -> Iterator[GaugeMetricFamily]:
        """Nothing, where RDUs have none."""
        node = self._manager.node
        if node.hbm_gb:
            memory = GaugeMetricFamily("snc_node_hbm_gigabytes", "HBM of an RDU.", labels=["xrdu", "rdu"])
            for rdu in range(node.rdus):
                memory.add_metric(_numbers(node.rdu_path(rdu)), node.hbm_gb)
            yield memory

    def _pcie(self) -> Iterator[GaugeMetricFamily]:
        node, broken = self._manager.node, set(self._manager.store.conditions())
        links = GaugeMetricFamily("snc_node_pcie_up", "1: the link is trained.", labels=["xrdu", "rdu", "pcie"])
        for rdu in range(node.rdus):
            for link in range(node.pcie.per_rdu):
                path = node.link_path(rdu, link)
                links.add_metric(_numbers(path), path not in broken)
        yield links

    def _tiles(self) -> Iterator[GaugeMetricFamily]:
        labels = ["xrdu", "rdu", "tile"]
        families = [
            GaugeMetricFamily(f"sambanova_tile_{column}_percent", f"Simulated time, {column}.", labels=labels)
            for column in COLUMNS
        ]
        for status in self._manager.tiles(INTERVAL_SECONDS):
            for family, share in zip(families, status.percent or (math.nan,) * len(COLUMNS)):
                family.add_metric(_numbers(status.path), share)
        yield from families


def _numbers(path: str) -> list[str]:
    """The numbers in a component's path, which are its labels."""
    return [part.rpartition("_")[2] for part in path.strip("/").split("/")]


def serve_metrics(manager: Manager, host: str, port: int, collectors: Collectors) -> tuple[Any, int]:
    """Serve /metrics; returns the server and its port. Raises UsageError where the address is taken."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(manager, collectors))
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        what = f"the exporter cannot listen on {host}:{port}: {error.strerror or error}"
        raise UsageError(Problem(what, hint="give another --exporter-port, or 0 for any free one")) from error
    return server, int(server.server_address[1])
