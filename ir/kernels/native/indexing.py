"""Reading, writing and adding up by index along the middle one of three axes; every index is known to be inside.

Slices that belong to one place are added in their order.
"""

from __future__ import annotations

import numpy as np

from ir.kernels.native.compiler import compiled
from ir.kernels.native.vectors import clear_bytes, copy_bytes, floats_at, integers_line_at, line_at
from ir.op import Array

ARRAYS, INDEX = "float32[:,:,:]", "int32[:]"
INDICES = "int32[:,:,:]"


@compiled(f"void({ARRAYS}, {INDEX}, {ARRAYS})")
def take(x: Array, index: Array, out: Array) -> None:
    """out[b, i] = x[b, index[i]]"""
    batch, count, length = out.shape
    for b in range(batch):
        if length == 1 and x.strides[1] == 4 and index.strides[0] == 4 and out.strides[1] == 4:
            line, made = floats_at(x[b].ctypes.data), line_at(out[b].ctypes.data, count)
            places = integers_line_at(index.ctypes.data, count)
            for i in range(count):
                made[i] = line[np.uint64(np.uint32(places[i]))]
        elif x.strides[2] == 4 and out.strides[2] == 4:
            for i in range(count):
                copy_bytes(x[b, np.uint32(index[i])].ctypes.data, 4 * length, out[b, i].ctypes.data)
        else:
            for i in range(count):
                for j in range(length):
                    out[b, i, j] = x[b, np.uint32(index[i]), j]


@compiled(f"void({ARRAYS}, {INDEX}, {ARRAYS})")
def add(x: Array, index: Array, out: Array) -> None:
    """Zeros, to which every slice is added: out[b, index[i]] += x[b, i]."""
    batch, count, length = x.shape
    for b in range(batch):
        if out.strides[2] == 4 and out.strides[1] == 4 * length:
            clear_bytes(out[b].ctypes.data, 4 * length * out.shape[1])
            continue
        for i in range(out.shape[1]):
            if out.strides[2] == 4:
                clear_bytes(out[b, i].ctypes.data, 4 * length)
            else:
                out[b, i] = 0
    if length == 1:
        for b in range(batch):
            line, sums = x[b, :, 0], out[b, :, 0]
            place, total = np.uint32(index[0]), np.float32(0)
            for i in range(count):
                if np.uint32(index[i]) != place:
                    sums[place] = total
                    place = np.uint32(index[i])
                    total = sums[place]
                total += line[i]
            sums[place] = total
    elif x.strides[2] == 4 and out.strides[2] == 4:
        for b in range(batch):
            for i in range(count):
                given = line_at(x[b, i].ctypes.data, length)
                total = line_at(out[b, np.uint32(index[i])].ctypes.data, length)
                for j in range(length):
                    total[j] += given[j]
    else:
        for b in range(batch):
            for i in range(count):
                for j in range(length):
                    out[b, np.uint32(index[i]), j] += x[b, i, j]


@compiled(f"void({ARRAYS}, {INDICES}, {ARRAYS})")
def scatter(x: Array, index: Array, out: Array) -> None:
    """out[b, index[b, i, j], j] = x[b, i, j]"""
    for b in range(x.shape[0]):
        if x.shape[2] == 1:
            source, places, made = x[b, :, 0], index[b, :, 0], out[b, :, 0]
            for i in range(len(source)):
                made[np.uint32(places[i])] = source[i]
        elif x.strides[2] == 4 and index.strides[2] == 4 and out.strides[2] == 4:
            target, step = floats_at(out[b].ctypes.data), np.uint64(out.strides[1] // 4)
            for i in range(x.shape[1]):
                source = line_at(x[b, i].ctypes.data, x.shape[2])
                places = integers_line_at(index[b, i].ctypes.data, x.shape[2])
                for j in range(len(source)):
                    target[np.uint64(np.uint32(places[j])) * step + np.uint64(j)] = source[j]
        else:
            for i in range(x.shape[1]):
                source, places = x[b, i], index[b, i]
                for j in range(len(source)):
                    out[b, np.uint32(places[j]), j] = source[j]


@compiled(f"void({ARRAYS}, {INDICES}, {ARRAYS})")
def scatter_add(x: Array, index: Array, out: Array) -> None:
    """out[b, index[b, i, j], j] += x[b, i, j]"""
    for b in range(x.shape[0]):
        if x.shape[2] == 1:
            source, places, made = x[b, :, 0], index[b, :, 0], out[b, :, 0]
            for i in range(len(source)):
                made[np.uint32(places[i])] += source[i]
        elif x.strides[2] == 4 and index.strides[2] == 4 and out.strides[2] == 4:
            target, step = floats_at(out[b].ctypes.data), np.uint64(out.strides[1] // 4)
            for i in range(x.shape[1]):
                source = line_at(x[b, i].ctypes.data, x.shape[2])
                places = integers_line_at(index[b, i].ctypes.data, x.shape[2])
                for j in range(len(source)):
                    target[np.uint64(np.uint32(places[j])) * step + np.uint64(j)] += source[j]
        else:
            for i in range(x.shape[1]):
                source, places = x[b, i], index[b, i]
                for j in range(len(source)):
                    out[b, np.uint32(places[j]), j] += source[j]


@compiled(f"void({ARRAYS}, {INDICES}, {ARRAYS})")
def gather(x: Array, index: Array, out: Array) -> None:
    """out[b, i, j] = x[b, index[b, i, j], j]"""
    length = out.shape[2]
    for b in range(out.shape[0]):
        if length == 1:
            line, places, made = x[b, :, 0], index[b, :, 0], out[b, :, 0]
            for i in range(len(made)):
                made[i] = line[np.uint32(places[i])]
        elif x.strides[2] == 4 and index.strides[2] == 4 and out.strides[2] == 4:
            source, step = floats_at(x[b].ctypes.data), np.uint64(x.strides[1] // 4)
            for i in range(out.shape[1]):
                made, places = line_at(out[b, i].ctypes.data, length), integers_line_at(index[b, i].ctypes.data, length)
                for j in range(length):
                    made[j] = source[np.uint64(np.uint32(places[j])) * step + np.uint64(j)]
        else:
            for i in range(out.shape[1]):
                made, places = out[b, i], index[b, i]
                for j in range(len(made)):
                    made[j] = x[b, np.uint32(places[j]), j]


@compiled("boolean(int32[:,:], int32[:,:], int32)")
def wrap(index: Array, out: Array, extent: np.int32) -> bool:
    """The indices of an axis with negative ones counted from its end; whether all are then inside."""
    largest = np.uint32(0)  # which a negative one is, as an unsigned number
    for i in range(out.shape[0]):
        if index.strides[1] == 4 and out.strides[1] == 4:
            given = integers_line_at(index[i].ctypes.data, out.shape[1])
            made = integers_line_at(out[i].ctypes.data, out.shape[1])
            for j in range(len(made)):
                number = given[j]
                number = number + extent if number < 0 else number
                made[j] = number
                largest = max(largest, np.uint32(number))
        else:
            for j in range(out.shape[1]):
                number = index[i, j]
                number = number + extent if number < 0 else number
                out[i, j] = number
                largest = max(largest, np.uint32(number))
    return largest < np.uint32(extent)  # type: ignore[no-any-return]


@compiled("boolean(float32[:,:], int32[:], int64, float32[:])")
def negative_of_class(x: Array, target: Array, ignored: int, out: Array) -> bool:
    """out[i] = -x[i, target[i]], or 0 where the target is `ignored`; False where another target is no class."""
    classes = np.uint32(x.shape[1])
    for i in range(len(target)):
        place = target[i]
        if place == ignored:
            out[i] = 0
        elif np.uint32(place) < classes:
            out[i] = -x[i, np.uint32(place)]
        else:
            return False
    return True


PARTS = "float32[:,:,:,:]"


@compiled(f"void({PARTS}, {INDEX}, {PARTS})")
def take_parts(x: Array, index: Array, out: Array) -> None:
    """`take` of every part."""
    for part in range(len(x)):
        take(x[part], index, out[part])


@compiled(f"void({PARTS}, {INDEX}, {PARTS})")
def add_parts(x: Array, index: Array, out: Array) -> None:
    """`add` of every part."""
    for part in range(len(x)):
        add(x[part], index, out[part])
