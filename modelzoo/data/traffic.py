"""Traffic on a network of road sensors: rush hours, and jams that spread against the direction of travel."""

from __future__ import annotations

from functools import cache

import numpy as np

from ir.op import Array

STEPS_A_DAY = 288
"""One every five minutes."""
FREE_KM_PER_H = 105.0
SPREAD = 25.0
"""Of speeds, a standard deviation in km/h: what they are scaled by."""


@cache
def road_graph(nodes: int, seed: int = 0) -> Array:
    """Weights [nodes, nodes] of directed edges from each sensor to those downstream, by distance.

    Sensors lie along a few roads that branch off one another; weights fall with the square of the distance.
    """
    random = np.random.default_rng(seed)
    parent = np.array([-1] + [random.integers(max(0, n - 3), n) for n in range(1, nodes)])
    distance = np.full((nodes, nodes), np.inf)
    np.fill_diagonal(distance, 0)
    for node in range(1, nodes):
        distance[parent[node], node] = random.uniform(0.4, 2.5)
    for middle in range(nodes):
        distance = np.minimum(distance, distance[:, middle, None] + distance[None, middle])
    finite = distance[np.isfinite(distance) & (distance > 0)]
    weights = np.exp(-((distance / finite.std()) ** 2))
    return np.where(weights >= 0.1, weights, 0).astype(np.float32)


def traffic(days: int, nodes: int, history: int, horizon: int, seed: int) -> dict[str, Array]:
    """Windows of a simulation: speeds and time of day [n, history, nodes, 2], then speeds [n, horizon, nodes].

    Speeds are scaled to mean about 0; they fall where density rises, which demand, accidents, and jams at the sensors
    downstream raise.
    """
    random = np.random.default_rng(seed)
    upstream = road_graph(nodes) * (1 - np.eye(nodes))
    upstream = upstream / np.maximum(upstream.sum(1, keepdims=True), 1e-6)
    busy = random.uniform(0.4, 1.2, nodes)
    jam = np.zeros(nodes)
    speeds = np.zeros((days * STEPS_A_DAY, nodes))
    for step in range(len(speeds)):
        hour = 24 * (step % STEPS_A_DAY) / STEPS_A_DAY
        demand = busy * (np.exp(-((hour - 8) ** 2) / 2) + np.exp(-((hour - 17.5) ** 2) / 4))
        accident = (random.random(nodes) < 0.002) * random.uniform(0.5, 1.5, nodes)
        jam = 0.9 * jam + 0.25 * upstream @ np.maximum(jam - 0.2, 0) + 0.06 * demand + accident
        speeds[step] = FREE_KM_PER_H / (1 + jam) + random.normal(0, 1.5, nodes)
    scaled = ((speeds - 0.8 * FREE_KM_PER_H) / SPREAD).astype(np.float32)
    day = (np.arange(len(speeds)) % STEPS_A_DAY / STEPS_A_DAY).astype(np.float32)
    inputs = np.stack([scaled, np.broadcast_to(day[:, None], scaled.shape)], -1)
    starts = np.arange(0, len(speeds) - history - horizon, 2)
    return {
        "history": np.stack([inputs[start : start + history] for start in starts]),
        "future": np.stack([scaled[start + history : start + history + horizon] for start in starts]),
    }
