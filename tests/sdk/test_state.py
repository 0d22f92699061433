"""A model that keeps something from one call to the next: tracing leaves it as it was."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sambaflow import samba
from sambaflow.samba import utils
from tests.sdk.programs import compiled

TABLES: dict[int, Tensor] = {}
"""A cache that every model of a program shares."""

LATEST: list[Tensor] = []


def angles(length: int, width: int) -> Tensor:
    """Rotary angles [length, width]."""
    rates = 1 / 10 ** (torch.arange(width) / width)
    return torch.outer(torch.arange(length).float(), rates)


@functools.lru_cache(maxsize=4)
def remembered(length: int) -> Tensor:
    return torch.ones(length, length).tril().log()


@functools.cache
def always_remembered(length: int) -> Tensor:
    return torch.ones(length).cumsum(0)


def _counted(length: int, seen: dict[int, Tensor] = {}) -> Tensor:  # noqa: B006
    return seen.setdefault(length, torch.arange(length).float())


class Rotary:
    """A plain object with a table of its own."""

    def __init__(self) -> None:
        self.table: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = angles(x.shape[1], x.shape[2])
        return x * self.table.cos()


class Kept(nn.Module):
    """Everything that forward may fill once."""

    shared: Tensor | None = None

    def __init__(self, part: str) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4))
        self.part = part
        self.rotary = Rotary()
        self.cached: dict[str, list[Tensor]] = {}
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        parts: dict[str, Callable[[Tensor], Tensor]] = {
            "buffer": self.buffer,
            "attribute": self.attribute,
            "dict": self.nested,
            "object": self.rotary,
            "global": self.table,
            "class": self.of_class,
            "lru_cache": lambda x: x + remembered(x.shape[1]).exp() @ x,
            "cache": lambda x: x * always_remembered(x.shape[1])[:, None],
            "default": lambda x: x * _counted(x.shape[1])[:, None],
        }
        return parts[self.part](x * self.scale)

    def buffer(self, x: Tensor) -> Tensor:
        if not hasattr(self, "mask"):
            self.register_buffer("mask", torch.ones(x.shape[1], x.shape[1]).tril(), persistent=False)
        return self.mask @ x

    def attribute(self, x: Tensor) -> Tensor:
        if not hasattr(self, "cos"):
            self.cos = angles(x.shape[1], x.shape[2]).cos()
        return x * self.cos

    def nested(self, x: Tensor) -> Tensor:
        if "cos" not in self.cached:
            self.cached["cos"] = [angles(x.shape[1], x.shape[2]).cos()]
        return x * self.cached["cos"][0]

    def table(self, x: Tensor) -> Tensor:
        if x.shape[1] not in TABLES:
            TABLES[x.shape[1]] = angles(x.shape[1], x.shape[2])
            LATEST.append(TABLES[x.shape[1]])
        return x + TABLES[x.shape[1]]

    def of_class(self, x: Tensor) -> Tensor:
        if Kept.shared is None:
            Kept.shared = angles(x.shape[1], x.shape[2])
        return x - Kept.shared


PARTS = ("buffer", "attribute", "dict", "object", "global", "class", "lru_cache", "cache", "default")


@pytest.mark.parametrize("part", PARTS)
def test_every_verb_finds_the_model_as_it_was(part: str) -> None:
    TABLES.clear()
    LATEST.clear()
    torch.manual_seed(0)
    model = Kept(part)
    samba.from_torch_model_(model)
    x = samba.randn(2, 3, 4, name="x", batch_dim=0)
    optimizer = samba.optim.SGD(model.parameters(), lr=0.0)
    before = {**vars(model), "_buffers": dict(model._buffers), "cached": dict(model.cached)}
    pef = compiled(model, (x,), optimizer)
    outputs = utils.trace_graph(model, (x,), optimizer, pef=pef)
    assert {**vars(model), "_buffers": dict(model._buffers), "cached": dict(model.cached)} | {
        "output_tensors": outputs
    } == {**before, "output_tensors": outputs}
    (found,) = samba.session.run((x,), outputs)
    utils.assert_close(found, model(x), part, 1e-5)
    assert not LATEST or part == "global"
