"""One random program beside PyTorch: its outputs, every gradient, every buffer and parameter, over some steps.

`python -m tests.frontend.fuzz_gradients 0 500` runs programs and counts what came of them.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import load_machine
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec, load_model
from compiler.frontend.returned import flat_tensors
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir import interpreter
from ir.errors import SncError
from ir.graph import Program, SymbolKind
from ir.op import Array
from runtime.session import Session
from tests.frontend import fuzz_programs

STEPS = 2
LEARNING_RATE = 0.05
RELATIVE, ABSOLUTE = 1e-4, 1e-6
MARGIN = 16
"""How many times as far as PyTorch's float32 result ours may be from the result in float64."""


class Status(Enum):
    """What came of a program: the first three are good."""

    EQUAL = "equal"
    REFUSED = "refused with a place and a remedy"
    NOT_VALID = "refused by PyTorch and by us"
    WRONG = "wrong"


@dataclass(frozen=True)
class Outcome:
    """The status of a program and why."""

    status: Status
    reason: str = ""


State = dict[str, Array]
Step = Callable[[State], State]
"""Runs all of a program's graphs once, from what its symbols hold to what they hold then."""


def run(seed: int, backend: bool = False) -> Outcome:
    """The program of `seed` beside PyTorch, by the reference interpreter, or through the backend and the simulator."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "fuzzed.py"
        file.write_text(fuzz_programs.Program(seed).text())
        steps = 1 if backend else STEPS
        try:
            expected = eager_steps(_load(file), steps, torch.float32)
        except Exception as error:
            return _not_valid(file, error)
        try:
            captured = capture(_load(file), inference=False)
        except SncError as error:
            return _refusal(error)
        except Exception as error:
            return Outcome(Status.WRONG, f"capture raises {type(error).__name__}: {error}")
        program = PassManager(standard_pipeline("mp0")).run(captured.program)
        step = _simulated(program) if backend else _interpreted(program)
        return _compared(file, program, dict(captured.values), step, expected)


def _load(file: Path) -> ModelSpec:
    spec = load_model(str(file))
    return replace(spec, optimizer=torch.optim.SGD(spec.model.parameters(), lr=LEARNING_RATE))


def eager_steps(spec: ModelSpec, steps: int, dtype: torch.dtype) -> list[dict[str, Tensor]]:
    """What PyTorch computes in each step: outputs by their positions, gradients, parameters and buffers."""
    model = spec.model.to(dtype)
    inputs = {name: tensor.to(dtype) for name, tensor in spec.inputs.items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    found = []
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        returned = model(**inputs)
        outputs = flat_tensors(returned)
        (returned["loss"] if isinstance(returned, dict) else outputs[0]).backward()
        made = {f"#{i}": tensor.detach().clone() for i, tensor in enumerate(outputs)}
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                made[f"{name}.grad"] = parameter.grad.detach().clone()
        optimizer.step()
        held = (*model.named_parameters(), *model.named_buffers())
        found.append({**made, **{name: tensor.detach().clone() for name, tensor in held}})
    return found


def _not_valid(file: Path, error: Exception) -> Outcome:
    """What PyTorch refuses must not compile."""
    try:
        capture(_load(file), inference=False)
    except SncError:
        return Outcome(Status.NOT_VALID, str(error).splitlines()[0])
    except Exception as other:
        return Outcome(Status.WRONG, f"capture raises {type(other).__name__}: {other}")
    return Outcome(Status.WRONG, f"compiles, though PyTorch says: {error}")


def _refusal(error: SncError) -> Outcome:
    for problem in error.problems:
        if "fuzzed.py:" not in str(problem.where) or not problem.hint:
            return Outcome(Status.WRONG, f"a refusal without place or remedy: {problem}")
    return Outcome(Status.REFUSED, "; ".join(problem.message for problem in error.problems))


def _interpreted(program: Program) -> Step:
    def step(state: State) -> State:
        for graph in program.graphs:
            state = {**state, **interpreter.run(graph, state)}
        return state

    return step


def _simulated(program: Program) -> Step:
    session = Session(compile_program(program, load_machine("sn30"), BackendOptions()))
    known = {symbol.name for symbol in program.symbols}

    def step(state: State) -> State:
        for name in known & set(state):
            session.write(name, state[name])
        session.run()
        return {name: session.read(name) for name in known}

    return step


def _compared(file: Path, program: Program, state: State, step: Step, expected: list[dict[str, Tensor]]) -> Outcome:
    outputs = [symbol.name for symbol in program.symbols if symbol.kind is SymbolKind.OUTPUT]
    exact: list[dict[str, Tensor]] = []
    for number, wanted in enumerate(expected):
        state = step(state)
        grads = {name for name in wanted if name.endswith(".grad")}
        made = {symbol.name for symbol in program.symbols if symbol.kind is SymbolKind.GRADIENT}
        if grads != made:
            return Outcome(Status.WRONG, f"gradients of {sorted(grads ^ made)} are PyTorch's or ours alone")
        for name, tensor in wanted.items():
            own = outputs[int(name[1:])] if name.startswith("#") else name
            if own not in state:
                continue  # what the program does not use
            array = to_array(tensor)
            if _close(state[own], array):
                continue
            exact = exact or eager_steps(_load(file), len(expected), torch.float64)
            if not _as_exact(state[own], array, exact[number][name].numpy()):
                gap = np.abs(state[own] - array).max()
                return Outcome(Status.WRONG, f"{own} in step {number}: off by {gap:.3g} of {np.abs(array).max():.3g}")
    return Outcome(Status.EQUAL)


def _close(actual: Array, expected: Array) -> bool:
    scale = float(np.abs(expected).max(initial=0))
    return bool(np.allclose(actual, expected, rtol=RELATIVE, atol=ABSOLUTE + 1e-5 * scale, equal_nan=True))


def _as_exact(actual: Array, expected: Array, exact: Array) -> bool:
    """Whether ours is not much further from the exact result than PyTorch's own."""
    own, ours = np.abs(expected - exact).max(initial=0), np.abs(actual - exact).max(initial=0)
    return bool(ours <= MARGIN * own + ABSOLUTE)


def main(first: int, last: int, backend: bool) -> None:
    """Run programs, print what is wrong as it is found, and the figures."""
    logging.getLogger("snc").setLevel(logging.ERROR)  # what programs return beside tensors is no news
    counts: Counter[Status] = Counter()
    reasons: Counter[str] = Counter()
    for seed in range(first, last):
        outcome = run(seed, backend)
        counts[outcome.status] += 1
        if outcome.status is Status.WRONG:
            print(f"seed {seed}: {outcome.reason}", flush=True)
        elif outcome.status is Status.REFUSED:
            reasons[outcome.reason] += 1
    print({status.value: count for status, count in counts.items()}, dict(reasons))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), "--backend" in sys.argv)
