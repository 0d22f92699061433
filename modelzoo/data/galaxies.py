"""Galaxies as a survey sees them: smooth ellipticals, spirals, discs from the side, and pairs that merge."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ir.op import Array

KINDS = ("elliptical", "spiral", "edge-on disc", "merger")
SEEING = 0.8
"""Blur of the atmosphere, a standard deviation in pixels."""


def galaxies(count: int, size: int, seed: int, channels: int = 1) -> dict[str, Array]:
    """Images [count, channels, size, size] with sky noise, mean 0 and deviation 1 each, and kinds [count]."""
    random = np.random.default_rng(seed)
    kinds = random.integers(len(KINDS), size=count)
    rows, columns = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")
    images = np.zeros((count, channels, size, size), np.float32)
    for number, kind in enumerate(kinds):
        light = _light(KINDS[kind], rows, columns, random)
        light = ndimage.gaussian_filter(light / light.max(), SEEING)
        for channel in range(channels):
            seen = light * random.uniform(0.8, 1.2) + random.normal(0, 0.04, light.shape)
            images[number, channel] = (seen - seen.mean()) / seen.std()
    return {"image": images, "kind": kinds.astype(np.int32)}


def _light(kind: str, rows: Array, columns: Array, random: np.random.Generator) -> Array:
    if kind == "merger":
        offset = random.uniform(0.3, 0.5)
        angle = random.uniform(0, 2 * np.pi)
        down, right = offset * np.sin(angle), offset * np.cos(angle)
        first = _sersic(rows - down, columns - right, random.uniform(0.15, 0.25), random.uniform(0.6, 1), random)
        second = _sersic(rows + down, columns + right, random.uniform(0.15, 0.25), random.uniform(0.6, 1), random)
        return np.asarray(first / first.max() + random.uniform(0.6, 1) * second / second.max())
    if kind == "edge-on disc":
        return _sersic(rows, columns, random.uniform(0.35, 0.5), random.uniform(0.12, 0.2), random, 1.0)
    if kind == "elliptical":
        return _sersic(rows, columns, random.uniform(0.2, 0.4), random.uniform(0.65, 1), random, 4.0)
    disc = _sersic(rows, columns, random.uniform(0.4, 0.55), random.uniform(0.75, 1), random, 1.0)
    radius, around = np.hypot(rows, columns) + 1e-3, np.arctan2(rows, columns)
    pitch, turn = random.choice([-1, 1]) * random.uniform(2.5, 4.0), random.uniform(0, 2 * np.pi)
    arms = 1 + 0.9 * np.cos(2 * (around - pitch * np.log(radius)) + turn)
    return np.asarray(disc * arms + 2 * disc.max() * np.exp(-((radius / 0.1) ** 2)))


def _sersic(
    rows: Array, columns: Array, radius: float, axis_ratio: float, random: np.random.Generator, index: float = 2.0
) -> Array:
    """Sersic's law of a galaxy's brightness: exp(-b (r / radius) ** (1 / index)), turned at random."""
    turn = random.uniform(0, np.pi)
    along = rows * np.cos(turn) + columns * np.sin(turn)
    across = (columns * np.cos(turn) - rows * np.sin(turn)) / axis_ratio
    distance = np.hypot(along, across) / radius
    return np.asarray(np.exp(-(2 * index - 1 / 3) * (distance + 1e-3) ** (1 / index)))
