"""Convolution of every channel by itself, a channel of an image at a time (`ir/kernels/depthwise.py`).

A channel is laid out by residues of the stride (`ir/kernels/residues.py`), where a position of the window is a shift
of a whole line: for the position, `residues[position]` is the line, `ahead[position]` the shift. So the loops over
pixels are long whatever the width of an image, and a channel stays in the first-level cache for all positions.
"""

from __future__ import annotations

import numpy as np

from ir.kernels.native.compiler import compiled, inlined
from ir.op import Array

IMAGES, WEIGHT, NUMBERS = "float32[:,:,:,:]", "float32[:,::1]", "int64[::1]"
LAYOUT = f"{NUMBERS}, {NUMBERS}, {NUMBERS}"
SCRATCH = "float32[:,::1], float32[::1]"


@inlined
def _spread(image: Array, sizes: Array, lines: Array) -> None:
    """An image [h, w] in residues; sizes are stride, padding and grid, each down and across."""
    down, across, top, left, _, pitch = sizes
    lines[:] = 0
    height, width = image.shape
    for row in range(height):
        below, residue = divmod(row + top, down)
        source = image[row]
        for column_residue in range(across):
            first = (column_residue - left) % across
            if first < width:
                start = below * pitch + (first + left) // across
                target = lines[residue * across + column_residue, start:]
                read = source[first:]
                for column in range((width - first + across - 1) // across):
                    target[column] = read[column * across]


@inlined
def _collect(lines: Array, sizes: Array, image: Array) -> None:
    """The image that residues hold."""
    down, across, top, left, _, pitch = sizes
    height, width = image.shape
    for row in range(height):
        below, residue = divmod(row + top, down)
        made = image[row]
        for column_residue in range(across):
            first = (column_residue - left) % across
            if first < width:
                start = below * pitch + (first + left) // across
                source = lines[residue * across + column_residue, start:]
                written = made[first:]
                for column in range((width - first + across - 1) // across):
                    written[column * across] = source[column]


@inlined
def _lay_out(windows: Array, pitch: int, line: Array) -> None:
    """One number per window [oh, ow] on the grid, zeros behind each row."""
    line[:] = 0
    for row in range(windows.shape[0]):
        target, source = line[row * pitch :], windows[row]
        for column in range(windows.shape[1]):
            target[column] = source[column]


@compiled(f"void({IMAGES}, {WEIGHT}, {IMAGES}, {LAYOUT}, {SCRATCH})")
def convolve(
    x: Array, w: Array, y: Array, residues: Array, ahead: Array, sizes: Array, lines: Array, total: Array
) -> None:
    """Images x [n, c, h, w] convolved with w [c, positions] into y [n, c, oh, ow]."""
    images, channels, height, width = y.shape
    pitch = sizes[5]
    count = (height - 1) * pitch + width
    positions = len(residues)
    for image in range(images):
        for channel in range(channels):
            _spread(x[image, channel], sizes, lines)
            total[:count] = 0
            made = total[:count]
            for position in range(0, positions - 3, 4):
                a = lines[residues[position], ahead[position] :]
                b = lines[residues[position + 1], ahead[position + 1] :]
                c = lines[residues[position + 2], ahead[position + 2] :]
                d = lines[residues[position + 3], ahead[position + 3] :]
                wa, wb = w[channel, position], w[channel, position + 1]
                wc, wd = w[channel, position + 2], w[channel, position + 3]
                for i in range(count):
                    made[i] += (wa * a[i] + wb * b[i]) + (wc * c[i] + wd * d[i])
            for position in range(positions - positions % 4, positions):
                a, wa = lines[residues[position], ahead[position] :], w[channel, position]
                for i in range(count):
                    made[i] += wa * a[i]
            for row in range(height):
                written, source = y[image, channel, row], total[row * pitch :]
                for column in range(width):
                    written[column] = source[column]


@compiled(f"void({IMAGES}, {WEIGHT}, {IMAGES}, {LAYOUT}, {SCRATCH})")
def input_gradient(
    dy: Array, w: Array, dx: Array, residues: Array, ahead: Array, sizes: Array, lines: Array, given: Array
) -> None:
    """The gradient dx of the images, from dy of the result."""
    images, channels, height, width = dy.shape
    pitch = sizes[5]
    count = (height - 1) * pitch + width
    for image in range(images):
        for channel in range(channels):
            _lay_out(dy[image, channel], pitch, given)
            lines[:] = 0
            for position in range(len(residues)):
                made, factor = lines[residues[position], ahead[position] :], w[channel, position]
                for i in range(count):
                    made[i] += factor * given[i]
            _collect(lines, sizes, dx[image, channel])


@compiled(f"void({IMAGES}, {IMAGES}, {WEIGHT}, {LAYOUT}, {SCRATCH})", reassociates=True)
def weight_gradient(
    dy: Array, x: Array, dw: Array, residues: Array, ahead: Array, sizes: Array, lines: Array, given: Array
) -> None:
    """The gradient dw [c, positions] of the weight, from dy of the result."""
    images, channels, height, width = dy.shape
    pitch = sizes[5]
    count = (height - 1) * pitch + width
    dw[:] = 0
    for image in range(images):
        for channel in range(channels):
            _spread(x[image, channel], sizes, lines)
            _lay_out(dy[image, channel], pitch, given)
            for position in range(len(residues)):
                read = lines[residues[position], ahead[position] :]
                share = np.float32(0)
                for i in range(count):
                    share += given[i] * read[i]
                dw[channel, position] += share
