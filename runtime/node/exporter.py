"""Prometheus metrics of the node.

Public are the port and the names sambanova_tile_<column>_percent (labels xrdu, rdu, tile) and
sambanova_platform_error_count. Everything else starts with snc_node_. A tile out of service has no shares: NaN.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily

from ir.errors import Problem, UsageError
from runtime.node.activity import COLUMNS
from runtime.node.diagnosis import FaultType
from runtime.node.manager import Manager

PORT = 9101
INTERVAL_SECONDS = 5.0
"""Shares are those of the last so many seconds, as sntilestat's by default."""


class NodeCollector:
    """Asks the manager at every scrape."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All metrics."""
        yield from self._tiles()
        store, node = self._manager.store, self._manager.node
        errors = len(store.errors())
        yield GaugeMetricFamily("sambanova_platform_error_count", "Entries of the error log.", value=errors)
        counts = Counter(fault.type for fault in store.faults())
        faults = GaugeMetricFamily("snc_node_faults", "Faults that stand.", labels=["type"])
        for kind in FaultType:
            faults.add_metric([kind.value], counts[kind])
        yield faults
        yield GaugeMetricFamily("snc_node_sessions", "Open sessions.", value=len(store.sessions()))
        memory = GaugeMetricFamily("snc_node_ddr_gigabytes", "Device memory of an XRDU.", labels=["xrdu"])
        for xrdu in range(node.xrdus):
            memory.add_metric([str(xrdu)], node.xrdu_memory_gb)
        yield memory

    def _tiles(self) -> Iterator[GaugeMetricFamily]:
        labels = ["xrdu", "rdu", "tile"]
        families = [
            GaugeMetricFamily(f"sambanova_tile_{column}_percent", f"Simulated time, {column}.", labels=labels)
            for column in COLUMNS
        ]
        for status in self._manager.tiles(INTERVAL_SECONDS):
            where = [part.rpartition("_")[2] for part in status.path.strip("/").split("/")]
            for family, share in zip(families, status.percent or (math.nan,) * len(COLUMNS)):
                family.add_metric(where, share)
        yield from families


def serve_metrics(manager: Manager, host: str, port: int) -> tuple[Any, int]:
    """Serve /metrics; returns the server and its port. Raises UsageError where the address is taken."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(manager))
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        what = f"the exporter cannot listen on {host}:{port}: {error.strerror or error}"
        raise UsageError(Problem(what, hint="give another --exporter-port, or 0 for any free one")) from error
    return server, int(server.server_address[1])
