"""DCRNN: traffic on a road network some steps ahead.

After Y. Li et al., "Diffusion convolutional recurrent neural network: data-driven traffic forecasting", 2018: gated
recurrent cells whose products are diffusion convolutions, sums over steps of random walks along the roads in both
directions; an encoder reads the past, a decoder goes on from its own predictions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.data.traffic import SPREAD, road_graph, traffic
from modelzoo.entry import Arrays, Entry, Outputs, Quality, Recipe, Size, Tensors, split
from modelzoo.optimizers import adamw


class Diffusion(nn.Module):
    """A linear map of features [batch, nodes, features] and of what walks of up to `steps` steps bring to each node."""

    def __init__(self, inside: int, outside: int, steps: int, bias: float) -> None:
        super().__init__()
        self.steps = steps
        self.linear = nn.Linear(inside * (1 + 2 * steps), outside)
        nn.init.constant_(self.linear.bias, bias)

    def forward(self, x: Tensor, walks: tuple[Tensor, Tensor]) -> Tensor:
        reached = [x]
        for walk in walks:
            y = x
            for _ in range(self.steps):
                y = walk @ y
                reached.append(y)
        return self.linear(torch.cat(reached, -1))


class Cell(nn.Module):
    """A gated recurrent unit over diffusion convolutions."""

    def __init__(self, features: int, hidden: int, steps: int) -> None:
        super().__init__()
        self.gates = Diffusion(features + hidden, 2 * hidden, steps, bias=1.0)
        self.candidate = Diffusion(features + hidden, hidden, steps, bias=0.0)

    def forward(self, x: Tensor, state: Tensor, walks: tuple[Tensor, Tensor]) -> Tensor:
        reset, update = torch.sigmoid(self.gates(torch.cat([x, state], -1), walks)).chunk(2, -1)
        candidate = torch.tanh(self.candidate(torch.cat([x, reset * state], -1), walks))
        return update * state + (1 - update) * candidate


class DCRNN(nn.Module):
    """Speeds [batch, horizon, nodes] for a history [batch, steps, nodes, 2] of speeds and times of day."""

    def __init__(self, nodes: int, hidden: int, layers: int, horizon: int, steps: int) -> None:
        super().__init__()
        graph = torch.from_numpy(road_graph(nodes))
        self.register_buffer("forth", graph / graph.sum(1, keepdim=True))
        self.register_buffer("back", graph.T / graph.T.sum(1, keepdim=True))
        self.hidden, self.horizon = hidden, horizon
        self.encoder = nn.ModuleList(Cell(2 if n == 0 else hidden, hidden, steps) for n in range(layers))
        self.decoder = nn.ModuleList(Cell(1 if n == 0 else hidden, hidden, steps) for n in range(layers))
        self.speed = nn.Linear(hidden, 1)

    def forward(self, history: Tensor) -> Tensor:
        walks = self.forth, self.back
        empty = history.new_zeros(history.shape[0], history.shape[2], self.hidden)
        states = [empty] * len(self.encoder)
        for x in history.unbind(1):
            states = self.advance(self.encoder, x, states, walks)
        x, predicted = history[:, -1, :, :1], []
        for _ in range(self.horizon):
            states = self.advance(self.decoder, x, states, walks)
            x = x + self.speed(states[-1])
            predicted.append(x[..., 0])
        return torch.stack(predicted, 1)

    def advance(
        self, cells: nn.ModuleList, x: Tensor, states: list[Tensor], walks: tuple[Tensor, Tensor]
    ) -> list[Tensor]:
        """One step of all layers."""
        found = []
        for cell, state in zip(cells, states):
            x = cell(x, state, walks)
            found.append(x)
        return found


TINY = {"nodes": 12, "history": 4, "horizon": 3}
FULL = {"nodes": 207, "history": 12, "horizon": 12}
"""The sensors of Los Angeles, an hour of the past and an hour ahead in steps of five minutes."""


def _samples(shape: dict[str, int]) -> Callable[[int, int | None], tuple[Tensors, Tensors]]:
    def of(batch: int, length: int | None) -> tuple[Tensors, Tensors]:
        history = torch.zeros(batch, shape["history"], shape["nodes"], 2)
        return {"history": history}, {"future": torch.zeros(batch, shape["horizon"], shape["nodes"])}

    return of


def _data(seed: int) -> tuple[Arrays, Arrays]:
    return split(traffic(6, TINY["nodes"], TINY["history"], TINY["horizon"], seed), 144)


def _error(outputs: Outputs, test: Arrays) -> float:
    return float(SPREAD * abs(outputs["output"] - test["future"]).mean())


ENTRY = Entry(
    name="dcrnn",
    title="DCRNN",
    about="Forecasts traffic on a road network: recurrent cells over random walks along the roads.",
    source="Y. Li et al., Diffusion convolutional recurrent neural network: data-driven traffic forecasting, 2018",
    sizes={
        "tiny": Size(lambda: DCRNN(12, 16, 1, 3, 1), _samples(TINY), 32, "12 sensors, 4 steps of past, 3 ahead"),
        "full": Size(lambda: DCRNN(207, 64, 2, 12, 2), _samples(FULL), 64, "207 sensors, 12 steps of past, 12 ahead"),
    },
    recipe=Recipe(
        data=_data,
        optimizer=adamw(1e-2, eps=1e-5),
        epochs=6,
        quality=Quality("mean error of the speed", _error, 2.5, "km/h"),
    ),
    loss=lambda output, future: F.l1_loss(output, future),
    notes=("The decoder predicts changes of the speed, and always goes on from its own predictions.",),
)
