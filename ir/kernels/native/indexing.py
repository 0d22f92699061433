"""Reading, writing and adding up by index along the middle one of three axes; every index is known to be inside.

Slices that belong to one place are added in their order.
"""

from __future__ import annotations

import numpy as np

from ir.kernels.native.compiler import compiled
from ir.kernels.native.vectors import clear_bytes, copy_bytes, line_at
from ir.op import Array

ARRAYS, INDEX = "float32[:,:,:]", "int32[:]"
INDICES = "int32[:,:,:]"


@compiled(f"void({ARRAYS}, {INDEX}, {ARRAYS})")
def take(x: Array, index: Array, out: Array) -> None:
    """out[b, i] = x[b, index[i]]"""
    batch, count, length = out.shape
    for b in range(batch):
        if length == 1 and x.strides[1] == 4:
            line, made = line_at(x[b].ctypes.data, x.shape[1]), out[b, :, 0]
            for i in range(count):
                made[i] = line[np.uint32(index[i])]
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
        else:
            for i in range(x.shape[1]):
                source, places = x[b, i], index[b, i]
                for j in range(len(source)):
                    out[b, np.uint32(places[j]), j] += source[j]


@compiled(f"void({ARRAYS}, {INDICES}, {ARRAYS})")
def gather(x: Array, index: Array, out: Array) -> None:
    """out[b, i, j] = x[b, index[b, i, j], j]"""
    for b in range(out.shape[0]):
        if out.shape[2] == 1:
            line, places, made = x[b, :, 0], index[b, :, 0], out[b, :, 0]
            for i in range(len(made)):
                made[i] = line[np.uint32(places[i])]
        else:
            for i in range(out.shape[1]):
                made, places = out[b, i], index[b, i]
                for j in range(len(made)):
                    made[j] = x[b, np.uint32(places[j]), j]
