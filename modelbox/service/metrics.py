"""What Prometheus is told. Simulated time of the RDU and time of this computer are never mixed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "box_requests", "Requests answered or refused.", ["protocol", "route", "code"], registry=registry
        )
        self.latency = Histogram(
            "box_request_seconds", "Host time of requests.", ["protocol", "route"], buckets=SECONDS, registry=registry
        )
        self.first_token = Histogram(
            "box_time_to_first_token_seconds", "Host time to the first token.", buckets=SECONDS, registry=registry
        )
        self.prompt_tokens = Counter("box_prompt_tokens", "Tokens read.", registry=registry)
        self.answer_tokens = Counter("box_answer_tokens", "Tokens written.", registry=registry)
        self.token_rate = Histogram(
            "box_tokens_per_second",
            "Tokens of an answer per second of host time.",
            buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10000),
            registry=registry,
        )
        self.batch_fill = Histogram(
            "box_batch_fill", "Share of a batch's rows that requests had.", buckets=SHARES, registry=registry
        )
        self.host = Counter("box_device_host_seconds", "Host time spent on running sections.", registry=registry)
        self.simulated = Counter(
            "box_simulated_rdu_seconds", "SIMULATED time that the RDU would take for the same runs.", registry=registry
        )
        self._series = cache(self._series_of)
        self._waiting = Gauge("box_waiting_requests", "Requests in the queue.", registry=registry)
        self._pending = Gauge("box_pending_requests", "Requests in the queue and at work.", registry=registry)

    def answered(self, protocol: str, route: str, code: str, seconds: float) -> None:
        """A request was answered or refused after so many seconds of host time."""
        requests, latency = self._series(protocol, route, code)
        requests.inc()
        latency.observe(seconds)

    def _series_of(self, protocol: str, route: str, code: str) -> tuple[Counter, Histogram]:
        return self.requests.labels(protocol, route, code), self.latency.labels(protocol, route)

    def ran(self, seconds: float, simulated_rdu_ns: int, fill: float) -> None:
        """Sections ran: how long here, how long on the RDU, and how full their batch was."""
        self.host.inc(seconds)
        self.simulated.inc(simulated_rdu_ns / 1e9)
        self.batch_fill.observe(fill)

    def watch(self, waiting: Callable[[], float], pending: Callable[[], float]) -> None:
        """Where the gauges read."""
        self._waiting.set_function(waiting)
        self._pending.set_function(pending)

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self.registry)
