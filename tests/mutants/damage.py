"""Random damage to the bytes of a file, and to the JSON header that safetensors files begin with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any


def damaged(content: bytes, pick: random.Random) -> bytes:
    """The content with one thing wrong: other bits, a piece lost, moved, doubled or overwritten, or cut off."""
    return pick.choice(_DAMAGES)(content, pick)


def with_other_header(content: bytes, pick: random.Random) -> bytes:
    """A safetensors file with one value of its header changed, all lengths right."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    _change_one(header, pick)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _flip(content: bytes, pick: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(pick.choice([1, 1, 1, 2, 8])):
        changed[pick.randrange(len(changed))] ^= 1 << pick.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, pick: random.Random) -> bytes:
    start = pick.randrange(len(content))
    piece = pick.randbytes(pick.choice([1, 4, 64]))
    return content[:start] + piece + content[start + len(piece) :]


def _lose(content: bytes, pick: random.Random) -> bytes:
    start = pick.randrange(len(content))
    return content[:start] + content[start + pick.choice([1, 4, 64, 512]) :]


def _double(content: bytes, pick: random.Random) -> bytes:
    start = pick.randrange(len(content))
    return content[:start] + content[start : start + pick.choice([1, 4, 64, 512])] + content[start:]


def _cut(content: bytes, pick: random.Random) -> bytes:
    return content[: pick.randrange(len(content))]


def _append(content: bytes, pick: random.Random) -> bytes:
    return content + pick.randbytes(pick.choice([1, 8, 100]))


def _swap(content: bytes, pick: random.Random) -> bytes:
    size = pick.choice([4, 16, 64])
    first, second = sorted(pick.sample(range(max(2, len(content) - size)), 2))
    second = max(second, first + size)
    ends = content[first : first + size], content[second : second + size]
    return content[:first] + ends[1] + content[first + size : second] + ends[0] + content[second + size :]


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _flip, _overwrite, _lose, _double, _cut, _append, _swap,
)  # fmt: skip

_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**40, 2**70, 0.5, "", "x", "F32", "BF16", "F8_E4M3", "C64", "nan", "{}", "[1]", "1e999",
    [], {}, [0, 0], [[0]], {"dtype": "F32"},
)  # fmt: skip


def _change_one(container: Any, pick: random.Random) -> None:
    """Walk down a random way and change, drop or add what is there."""
    keys = list(container) if isinstance(container, dict) else list(range(len(container)))
    if not keys or pick.random() < 0.1:
        if isinstance(container, dict):
            container[pick.choice(["x", "format", "hyper", "__metadata__"])] = pick.choice(_VALUES)
        else:
            container.append(pick.choice(_VALUES))
        return
    key = pick.choice(keys)
    if isinstance(container[key], (dict, list)) and pick.random() < 0.7:
        _change_one(container[key], pick)
    elif pick.random() < 0.2:
        del container[key]
    else:
        container[key] = pick.choice(_VALUES)
