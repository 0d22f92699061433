"""Digital image correlation: a speckled surface before and after a load, and how each point of it moved."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ir.op import Array

SPECKLE = 1.2
"""Radius of a speckle, a standard deviation in pixels."""


def speckles(count: int, size: int, seed: int, most_pixels: float = 2.0) -> dict[str, Array]:
    """Pairs of images [count, 2, size, size], and displacements (down, right) [count, 2, size, size] in pixels.

    The field is a stretch, a shear and a turn of the whole surface, plus a smooth local part, at most `most_pixels`.
    The second image is the first one looked up where each of its points came from, with camera noise on both.
    """
    random = np.random.default_rng(seed)
    rows, columns = np.meshgrid(*[np.arange(size, dtype=float)] * 2, indexing="ij")
    centred = np.stack([rows, columns]) / (size - 1) - 0.5
    pairs, moves = np.zeros((2, count, 2, size, size), np.float32)
    margin = int(np.ceil(most_pixels)) + 2
    for number in range(count):
        surface = ndimage.gaussian_filter(random.normal(size=(size + 2 * margin,) * 2), SPECKLE)
        surface /= surface.std()
        field = np.tensordot(random.normal(0, 1, (2, 2)), centred, 1) + random.normal(0, 0.7, (2, 1, 1))
        field += ndimage.gaussian_filter(random.normal(size=(2, size, size)), (0, size / 5, size / 5)) * size / 3
        field *= random.uniform(0.3, 1) * most_pixels / np.abs(field).max()
        before = surface[margin:-margin, margin:-margin]
        places = [rows - field[0] + margin, columns - field[1] + margin]
        after = ndimage.map_coordinates(surface, places, order=3)
        pairs[number] = np.stack([before, after]) + random.normal(0, 0.02, (2, size, size))
        moves[number] = field
    return {"pair": pairs, "displacement": moves}
