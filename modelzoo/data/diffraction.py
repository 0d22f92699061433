"""Coherent X-ray diffraction of nanocrystals: faceted objects with a strain field, and the patterns they scatter."""

from __future__ import annotations

import numpy as np

from ir.op import Array


def diffraction(count: int, size: int, seed: int) -> dict[str, Array]:
    """Diffraction amplitudes [count, 1, size, size, size] of random crystals, each scaled to a largest of one.

    A crystal fills the middle half of the box along each axis at most: its pattern is sampled finely enough for the
    phases to be found again. It is bounded by random planes; atoms are displaced by a smooth field, which shows as a
    phase. Zero frequency lies in the middle.
    """
    random = np.random.default_rng(seed)
    patterns = np.zeros((count, 1, size, size, size), np.float32)
    for number in range(count):
        amplitude = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(crystal(size, random)))))
        patterns[number, 0] = amplitude / amplitude.max()
    return {"amplitude": patterns}


def crystal(size: int, random: np.random.Generator) -> Array:
    """The complex density of a crystal in the middle of a box."""
    grid = np.stack(np.meshgrid(*[np.arange(size) - size // 2] * 3, indexing="ij")) / (size / 4)
    inside = np.abs(grid).max(0) < 0.95
    for _ in range(8):
        normal = random.normal(size=3)
        normal /= np.linalg.norm(normal)
        inside &= np.tensordot(normal, grid, 1) < random.uniform(0.55, 0.95)
    strain = sum(
        random.normal(0, 0.6) * np.sin(np.tensordot(random.normal(0, 1.5, 3), grid, 1) + random.uniform(0, 6))
        for _ in range(3)
    )
    return np.asarray(inside * np.exp(1j * strain))
