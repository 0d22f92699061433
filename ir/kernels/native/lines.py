"""Copies between images and the lines of their residues (`ir/kernels/residues.py`), whose rows may be short."""

from __future__ import annotations

from ir.kernels.native.compiler import compiled
from ir.kernels.native.products import copy_every_other, copy_part, move
from ir.kernels.native.vectors import LANES
from ir.op import Array

IMAGES = "float32[:,:,:,:]"


@compiled("void(int64, int64, int64, int64)")
def copy_row(source: int, step: int, count: int, target: int) -> None:
    """`count` elements, `step` apart, to places side by side."""
    if step == 1:
        for i in range(0, count, LANES):
            copy_part(source + 4 * i, min(LANES, count - i), target + 4 * i)
    elif step == 2:
        for i in range(0, count, LANES):
            copy_every_other(source + 8 * i, min(LANES, count - i), target + 4 * i)
    else:
        for i in range(count):
            move(source + 4 * step * i, target + 4 * i)


@compiled("void(int64, int64, int64, int64)")
def place_row(source: int, count: int, target: int, step: int) -> None:
    """`count` elements side by side, to places `step` apart."""
    if step == 1:
        copy_row(source, 1, count, target)
        return
    for i in range(count):
        move(source + 4 * i, target + 4 * step * i)


@compiled(f"void({IMAGES}, int64, int64, int64, int64, int64, int64, float32, float32[:,:,::1])")
def spread(
    x: Array, down: int, across: int, top: int, left: int, rows: int, pitch: int, around: float, lines: Array
) -> None:
    """Images x [n, c, h, w], padded by `top` and `left`, as lines [down * across, c, n * rows * pitch] by residue, with
    the number `around` about them."""
    images, channels, height, width = x.shape
    next_row, next_pixel = x.strides[2], x.strides[3] // 4
    for residue in range(down * across):
        row, column = (residue // across - top) % down, (residue % across - left) % across
        below, beside = (row + top) // down, (column + left) // across
        count = (width - column + across - 1) // across
        for channel in range(channels):
            for image in range(images):
                line = lines[residue, channel, image * rows * pitch : (image + 1) * rows * pitch]
                for i in range(len(line)):
                    line[i] = around
                source = x[image, channel].ctypes.data + 4 * column * next_pixel
                target = line.ctypes.data + 4 * (below * pitch + beside)
                for at in range(row, height, down):
                    copy_row(source + at * next_row, across * next_pixel, count, target)
                    target += 4 * pitch


@compiled(f"void(float32[:,::1], int64, int64, {IMAGES})")
def collect(lines: Array, pixels: int, pitch: int, y: Array) -> None:
    """The results y [n, c, h, w], whose rows are contiguous, of lines [c, n * pixels] with `pitch` elements from a row
    to the next."""
    images, channels, height, width = y.shape
    for image in range(images):
        for channel in range(channels):
            source, target = lines[channel].ctypes.data + 4 * image * pixels, y[image, channel].ctypes.data
            for row in range(height):
                copy_row(source + 4 * row * pitch, 1, width, target + row * y.strides[2])


@compiled(f"void({IMAGES}, float32[:,:,:,::1])")
def exchange(w: Array, out: Array) -> None:
    """A weight [co, ci, kh, kw] with its channels exchanged and its positions in reverse."""
    outputs, inputs, height, width = w.shape
    for channel in range(inputs):
        for output in range(outputs):
            for row in range(height):
                for column in range(width):
                    out[channel, output, row, column] = w[output, channel, height - 1 - row, width - 1 - column]
