"""Particle tracks in a liquid argon chamber, as three planes of wires see them: cosmic rays, and a neutrino's products.

A charge drifts to the wires: its time is one coordinate, and each plane's wires, at 60 degrees to the next plane's,
tell another. Cosmic muons cross the chamber from the top; a neutrino interacts somewhere within, and its products fly
forward for a short way.
"""

from __future__ import annotations

import numpy as np

from ir.op import Array

BACKGROUND, COSMIC, NEUTRINO = 0, 1, 2
PLANES = 3
ANGLES = np.deg2rad([0.0, 60.0, -60.0])
NOISE = 0.05
"""Of the electronics, beside a deposit of about one."""
POINTS = 400
"""On a track."""


def tracks(count: int, height: int, width: int, seed: int) -> dict[str, Array]:
    """Deposits [count, planes, height, width] over drift time and wire, and what they come from."""
    random = np.random.default_rng(seed)
    charge = np.abs(random.normal(0, NOISE, (count, PLANES, height, width))).astype(np.float32)
    label = np.zeros((count, PLANES, height, width), np.int32)
    for event in range(count):
        for _ in range(random.integers(1, 4)):
            start = np.array([random.random(), 1.0, random.random()])
            end = np.array([random.random(), 0.0, random.random()])
            _draw(charge[event], label[event], start, end, COSMIC, random)
        vertex = random.uniform(0.25, 0.7, 3)
        for _ in range(random.integers(2, 5)):
            direction = np.array([random.normal(0, 0.6), random.normal(0, 0.6), 1.0])
            reach = random.uniform(0.12, 0.3) / np.linalg.norm(direction)
            _draw(charge[event], label[event], vertex, vertex + reach * direction, NEUTRINO, random)
    return {"planes": charge, "label": label}


def _draw(charge: Array, label: Array, start: Array, end: Array, kind: int, random: np.random.Generator) -> None:
    """Deposit along a straight track in all planes; losses fluctuate upwards, as Landau described."""
    _, height, width = charge.shape
    points = start + np.linspace(0, 1, POINTS)[:, None] * (end - start)
    loss = (1 + 0.3 * random.gumbel(size=POINTS)).clip(0.2) * (4 * np.linalg.norm(end - start) * height / POINTS)
    drift, up, along = points.T
    for plane, angle in enumerate(ANGLES):
        wire = 0.5 + ((along - 0.5) * np.cos(angle) + (up - 0.5) * np.sin(angle)) / (np.cos(angle) + abs(np.sin(angle)))
        row, column = (drift * height).astype(int), (wire * width).astype(int)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        row, column = row[inside], column[inside]
        np.add.at(charge[plane], (row, column), loss[inside])
        label[plane, row, column] = np.maximum(label[plane, row, column], kind)
