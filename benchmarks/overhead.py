"""What a run costs beyond its arithmetic: steps per second of a model in which there is next to none.

    python -m benchmarks.overhead [--steps 2000] [--profile]

Logistic regression of one image of 784 pixels in ten classes, trained by SGD: three sections a step, two inputs.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable
from itertools import cycle
from statistics import median

import torch
from torch import Tensor, nn

from backends.rdu.compile import compile_program
from backends.rdu.machine import load_machine
from benchmarks.models import sgd
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from compiler.update_fusion import fused_where_it_pays
from runtime.session import Session

REPEATS = 7
BATCHES = 512


class LogReg(nn.Module):
    """One linear layer and its cross entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and logits [batch, 10] of images [batch, 784] and labels [batch]."""
        logits = self.linear(image)
        return nn.functional.cross_entropy(logits, label), logits


def batches() -> list[dict[str, Tensor]]:
    """Images and labels by turns. One alone would be learned until gradients are denormal numbers, which are slow."""
    return [{"image": torch.randn(1, 784), "label": torch.randint(10, (1,))} for _ in range(BATCHES)]


def session_step(module: nn.Module, given: list[dict[str, Tensor]]) -> Callable[[], object]:
    """A training step on the simulated RDU."""
    inputs = given[0]
    captured = capture(ModelSpec(module, inputs, optimizer=sgd(module.parameters()), name="logreg"), inference=False)
    program = fused_where_it_pays(PassManager(standard_pipeline("mp0")).run(captured.program))
    session = Session(compile_program(program, load_machine("sn30")))
    known = {symbol.name for symbol in program.symbols}
    session.load_weights({name: value for name, value in captured.values.items() if name in known}, strict=False)
    turns = cycle([{name: to_array(tensor) for name, tensor in inputs.items()} for inputs in given])
    return lambda: session.run(inputs=next(turns))


def torch_step(module: nn.Module, given: list[dict[str, Tensor]]) -> Callable[[], object]:
    """A training step in PyTorch eager."""
    turns = cycle(given)
    optimizer = sgd(module.parameters())

    def step() -> float:
        optimizer.zero_grad()
        loss = module(**next(turns))[0]
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def rate(step: Callable[[], object], steps: int) -> float:
    """Steps per second of processor time."""
    start = time.process_time()
    for _ in range(steps):
        step()
    return steps / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000, help="in each of several repeats")
    parser.add_argument("--profile", action="store_true", help="show where the time of a step goes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, given = LogReg(), batches()
    simulated, eager = session_step(module, given), torch_step(module, given)
    for step in (simulated, eager):
        rate(step, 50)
    if arguments.profile:
        with cProfile.Profile() as profiler:
            rate(simulated, arguments.steps)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(20)
        return
    rates = [(rate(simulated, arguments.steps), rate(eager, arguments.steps)) for _ in range(REPEATS)]
    ours, theirs = (median(column) for column in zip(*rates))
    print(f"steps per second of processor time: snc {ours:,.0f}, PyTorch eager {theirs:,.0f}")


if __name__ == "__main__":
    main()
