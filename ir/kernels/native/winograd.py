"""The transforms of Winograd's F(2 x 2, 3 x 3), tile by tile without passes over memory (`ir/kernels/winograd.py`).

Tiles of an image are numbered row by row, each row with one more than there are: so a tile's neighbours lie at the same
distance for all tiles of an image, and a step of a transform is one loop over all of them. What is made of the extra
tiles is not used.
"""

from __future__ import annotations

import numpy as np

from ir.kernels.native.compiler import compiled, inlined
from ir.op import Array

IMAGES = "float32[:,:,:,:]"
PLACES = "float32[:,:,::1]"
SCRATCH = "float32[:,::1]"
ONE, OTHER = (0, 1, 2, 1), (2, 2, 1, 3)
"""Of the four pixels of a tile's row, those that each element of its transform combines."""


@inlined
def _every_other(line: Array, out: Array) -> None:
    for place in range(len(out)):
        out[place] = line[2 * place]


@compiled(f"void(float32[:,:,:,::1], {PLACES})")
def transform_weight(w: Array, out: Array) -> None:
    """G w G^T of a weight [co, ci, 3, 3] into [16, co, ci]."""
    outputs, inputs, _, _ = w.shape
    half = np.float32(0.5)
    # Places of one weight are apart in `out`, often by a power of two, and would drive each other out of the cache.
    made = np.empty((16, inputs + 16), np.float32)
    for output in range(outputs):
        for place in range(inputs):
            kernel = w[output, place]
            for column in range(3):
                above, inside, below = kernel[0, column], half * kernel[1, column], kernel[2, column]
                outer = half * (above + below)
                made[column, place] = above
                made[4 + column, place] = outer + inside
                made[8 + column, place] = outer - inside
                made[12 + column, place] = below
        for row in range(4):
            first, second, third, fourth = made[4 * row], made[4 * row + 1], made[4 * row + 2], made[4 * row + 3]
            for place in range(inputs):
                outer, inside = half * (first[place] + third[place]), half * second[place]
                fourth[place] = third[place]
                second[place] = outer + inside
                third[place] = outer - inside
        for place in range(16):
            out[place, output] = made[place, :inputs]


@compiled(f"void({IMAGES}, int64, int64, int64, int64, int64, {PLACES}, {SCRATCH})")
def transform_pixels(
    x: Array, top: int, left: int, first: int, rows: int, columns: int, out: Array, phases: Array
) -> None:
    """B^T x B of the tile rows `first` to `first + rows` of images x [n, c, h, w], padded by `top` and `left`, into
    [16, c, n * rows * (columns + 1)]; `phases` is a temporary array [4, (rows + 1) * (columns + 1) + 1]."""
    images, channels, height, width = x.shape
    pitch = columns + 1
    count = rows * pitch
    first_even, last_even = (left + 1) // 2, min(pitch, (width - 1 + left) // 2 + 1)
    first_odd, last_odd = left // 2, min(pitch, (width - 2 + left) // 2 + 1)
    phases[:, (rows + 1) * pitch] = 0  # what the last extra tile reads beyond the image
    for image in range(images):
        start = image * count
        for channel in range(channels):
            for row in range(rows + 1):
                for half in range(2):
                    even = phases[2 * half, row * pitch : (row + 1) * pitch]
                    odd = phases[2 * half + 1, row * pitch : (row + 1) * pitch]
                    at = 2 * (first + row) + half - top
                    if at < 0 or at >= height:
                        even[:] = 0
                        odd[:] = 0
                        continue
                    line = x[image, channel, at]
                    even[:first_even] = 0
                    even[last_even:] = 0
                    odd[:first_odd] = 0
                    odd[last_odd:] = 0
                    _every_other(line[2 * first_even - left :], even[first_even:last_even])
                    _every_other(line[2 * first_odd + 1 - left :], odd[first_odd:last_odd])
            for across in range(4):
                # Along a row, B^T takes of a tile's pixels 0 to 3: 0 - 2, 1 + 2, 2 - 1 and 1 - 3.
                one, other = ONE[across], OTHER[across]
                sign = np.float32(1 if across == 1 else -1)
                a, b = phases[one % 2, one // 2 :], phases[other % 2, other // 2 :]
                c, d = phases[2 + one % 2, one // 2 :], phases[2 + other % 2, other // 2 :]
                e, f, g, h = a[pitch:], b[pitch:], c[pitch:], d[pitch:]
                p0 = out[across, channel, start : start + count]
                p1 = out[4 + across, channel, start : start + count]
                p2 = out[8 + across, channel, start : start + count]
                p3 = out[12 + across, channel, start : start + count]
                for tile in range(count):
                    p0[tile] = (a[tile] + sign * b[tile]) - (e[tile] + sign * f[tile])
                for tile in range(count):
                    p1[tile] = (c[tile] + sign * d[tile]) + (e[tile] + sign * f[tile])
                for tile in range(count):
                    p2[tile] = (e[tile] + sign * f[tile]) - (c[tile] + sign * d[tile])
                for tile in range(count):
                    p3[tile] = (c[tile] + sign * d[tile]) - (g[tile] + sign * h[tile])


@compiled(f"void({PLACES}, {IMAGES}, int64, int64, int64, {SCRATCH})")
def transform_results(places: Array, y: Array, first: int, rows: int, columns: int, half: Array) -> None:
    """A^T M A: the results y [n, c, h, w] of tile rows from places [16, c, n * rows * (columns + 1)]; `half` is a
    temporary array [12, rows * (columns + 1)]."""
    images, channels, height, width = y.shape
    pitch = columns + 1
    count = rows * pitch
    for image in range(images):
        start = image * count
        for channel in range(channels):
            for column in range(4):
                m0 = places[column, channel, start : start + count]
                m1 = places[4 + column, channel, start : start + count]
                m2 = places[8 + column, channel, start : start + count]
                m3 = places[12 + column, channel, start : start + count]
                upper, lower = half[column], half[4 + column]
                for tile in range(count):
                    upper[tile] = m0[tile] + m1[tile] + m2[tile]
                for tile in range(count):
                    lower[tile] = m1[tile] - m2[tile] - m3[tile]
            for part in range(2):
                h0, h1, h2, h3 = half[4 * part], half[4 * part + 1], half[4 * part + 2], half[4 * part + 3]
                even, odd = half[8 + 2 * part], half[9 + 2 * part]
                for tile in range(count):
                    even[tile] = h0[tile] + h1[tile] + h2[tile]
                for tile in range(count):
                    odd[tile] = h1[tile] - h2[tile] - h3[tile]
            for row in range(rows):
                for part in range(2):
                    at = 2 * (first + row) + part
                    if at >= height:
                        continue
                    line = y[image, channel, at]
                    even = half[8 + 2 * part, row * pitch : (row + 1) * pitch]
                    odd = half[9 + 2 * part, row * pitch : (row + 1) * pitch]
                    for column in range(width // 2):
                        line[2 * column] = even[column]
                        line[2 * column + 1] = odd[column]
                    if width % 2:
                        line[width - 1] = even[width // 2]


@compiled(f"void({IMAGES}, int64, int64, int64, {PLACES}, {SCRATCH})")
def transform_gradient(dy: Array, first: int, rows: int, columns: int, out: Array, phases: Array) -> None:
    """A dY A^T of tile rows of the result's gradient dy [n, c, h, w] into [16, c, n * rows * (columns + 1)], with zeros
    for the extra tiles; `phases` is a temporary array [4, rows * (columns + 1)]."""
    images, channels, height, width = dy.shape
    pitch = columns + 1
    count = rows * pitch
    for image in range(images):
        start = image * count
        for channel in range(channels):
            for row in range(rows):
                for half in range(2):
                    even = phases[2 * half, row * pitch : (row + 1) * pitch]
                    odd = phases[2 * half + 1, row * pitch : (row + 1) * pitch]
                    even[:] = 0
                    odd[:] = 0
                    at = 2 * (first + row) + half
                    if at >= height:
                        continue
                    line = dy[image, channel, at]
                    for column in range(width // 2):
                        even[column] = line[2 * column]
                        odd[column] = line[2 * column + 1]
                    if width % 2:
                        even[width // 2] = line[width - 1]
            for down in range(4):
                # Rows of A: (1, 0), (1, 1), (1, -1), (0, -1).
                upper = np.float32(0) if down == 3 else np.float32(1)
                lower = np.float32(0) if down == 0 else (np.float32(1) if down == 1 else np.float32(-1))
                even0, odd0, even1, odd1 = phases[0], phases[1], phases[2], phases[3]
                p0 = out[4 * down, channel, start : start + count]
                p1 = out[4 * down + 1, channel, start : start + count]
                p2 = out[4 * down + 2, channel, start : start + count]
                p3 = out[4 * down + 3, channel, start : start + count]
                for tile in range(count):
                    p0[tile] = upper * even0[tile] + lower * even1[tile]
                for tile in range(count):
                    p3[tile] = -(upper * odd0[tile] + lower * odd1[tile])
                for tile in range(count):
                    p1[tile] = p0[tile] - p3[tile]
                for tile in range(count):
                    p2[tile] = p0[tile] + p3[tile]
