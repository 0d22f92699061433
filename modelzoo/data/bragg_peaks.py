"""Bragg peaks as an area detector sees them: pseudo-Voigt profiles, counted photon by photon, above a background."""

from __future__ import annotations

import numpy as np

from ir.op import Array


def bragg_peaks(count: int, size: int, seed: int) -> dict[str, Array]:
    """`count` patches [count, 1, size, size] scaled to 0..1, and peak centres [count, 2] as fractions of the size.

    Each peak is elliptical, rotated, a mixture of a Gaussian and a Lorentzian (the usual pseudo-Voigt profile of
    powder and far-field diffraction), off the middle by up to a quarter of the patch; pixels hold Poisson counts.
    """
    random = np.random.default_rng(seed)

    def drawn(low: float, high: float) -> Array:
        return random.uniform(low, high, (count, 1, 1))

    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    middle, reach = (size - 1) / 2, size / 4
    row, column = drawn(middle - reach, middle + reach), drawn(middle - reach, middle + reach)
    angle, mixing = drawn(0, np.pi), drawn(0.0, 0.8)
    along, across = drawn(0.9, 2.0), drawn(0.9, 2.0)
    u = ((rows - row) * np.cos(angle) + (columns - column) * np.sin(angle)) / along
    v = ((columns - column) * np.cos(angle) - (rows - row) * np.sin(angle)) / across
    radius = u**2 + v**2
    profile = (1 - mixing) * np.exp(-radius / 2) + mixing / (1 + radius)
    counts = random.poisson(drawn(60, 600) * profile + drawn(2, 12)).astype(np.float32)
    low, high = counts.min((1, 2), keepdims=True), counts.max((1, 2), keepdims=True)
    centres = np.concatenate([row, column], 1)[:, :, 0] / size
    return {"patch": ((counts - low) / (high - low))[:, None], "centre": centres.astype(np.float32)}
