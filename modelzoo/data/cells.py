"""Cells under a microscope, in two or three dimensions: blurred ellipsoids counted by photons, and their masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ir.op import Array

BLUR = 0.7
"""Standard deviation of the point spread, in pixels."""


def cells(count: int, shape: tuple[int, ...], seed: int) -> dict[str, Array]:
    """Images [count, 1, *shape], scaled to mean 0 and deviation 1 each, and masks of where cells are, 0 or 1."""
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(extent) for extent in shape), indexing="ij")
    images, masks = np.zeros((2, count, 1, *shape), np.float32)
    for number in range(count):
        light = np.full(shape, random.uniform(4, 10))
        for _ in range(random.integers(2, 6)):
            inside = _ellipsoid(axes, shape, random)
            light += inside * random.uniform(15, 40)
            masks[number, 0][inside] = 1
        seen = random.poisson(ndimage.gaussian_filter(light, BLUR)).astype(np.float32)
        images[number, 0] = (seen - seen.mean()) / seen.std()
    return {"image": images, "mask": masks}


def _ellipsoid(axes: Sequence[Array], shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Where a randomly placed cell is."""
    distance = np.zeros(shape)
    for axis, extent in zip(axes, shape):
        radius = random.uniform(0.1, 0.22) * extent
        distance += ((axis - random.uniform(0.1, 0.9) * extent) / radius) ** 2
    return np.asarray(distance <= 1)
