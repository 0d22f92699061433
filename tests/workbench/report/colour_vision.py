"""How far apart two colours look, to people with all three kinds of cones and to people who lack one.

Cones that lack are simulated by the matrices of G. Machado, M. Oliveira and L. Fernandes, A physiologically-based model
for simulation of color vision deficiency, 2009, at severity 1; differences are those of CIEDE2000, as in G. Sharma,
W. Wu and E. Dalal, The CIEDE2000 color-difference formula, 2005: 1 is just seen side by side, 10 at a glance.
"""

from __future__ import annotations

import numpy as np

from ir.op import Array

SIGHT: dict[str, Array] = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""On linear red, green and blue."""
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""From linear sRGB."""


def lab(colour: str, sight: str = "all cones") -> Array:
    """The CIELAB coordinates of `#rrggbb` as it looks to somebody."""
    encoded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    share = XYZ @ np.clip(SIGHT[sight] @ linear, 0, 1) / (XYZ @ np.ones(3))
    x, y, z = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def ciede2000(one: Array, other: Array) -> float:
    """The difference of two colours in CIELAB."""
    lightness, a, b = np.array([one, other]).T
    mean_chroma = np.hypot(a, b).mean()
    a = a * (1 + 0.5 * (1 - np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))))
    chroma, hue = np.hypot(a, b), np.arctan2(b, a)
    turn = (hue[1] - hue[0] + np.pi) % (2 * np.pi) - np.pi if chroma.all() else 0.0
    middle = np.degrees(hue[0] + turn / 2) if chroma.all() else np.degrees(hue.sum())
    cosines = zip((-0.17, 0.24, 0.32, -0.20), (1, 2, 3, 4), (-30, 0, 6, -63))
    weight = 1 + sum(factor * np.cos(np.radians(times * middle + off)) for factor, times, off in cosines)
    light, mean = (lightness.mean() - 50) ** 2, chroma.mean()
    in_lightness = np.diff(lightness)[0] / (1 + 0.015 * light / np.sqrt(20 + light))
    in_chroma = np.diff(chroma)[0] / (1 + 0.045 * mean)
    in_hue = 2 * np.sqrt(chroma.prod()) * np.sin(turn / 2) / (1 + 0.015 * mean * weight)
    blue = 60 * np.exp(-((((middle % 360) - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(mean**7 / (mean**7 + 25.0**7)) * np.sin(np.radians(blue))
    return float(np.sqrt(in_lightness**2 + in_chroma**2 + in_hue**2 + rotation * in_chroma * in_hue))
