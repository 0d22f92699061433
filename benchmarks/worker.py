"""One side of a comparison in a process of its own: runs steps when told to over standard input.

    python -m benchmarks.worker eager|compiled|onnxruntime|rdu NAME forward|train PEF THREADS

Answers each line "N" with a line of JSON: the wall and processor time of N steps, in seconds each; and the line
"losses" with the loss of every step so far. The simulator's process does not import PyTorch.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Step = Callable[[], float]


def torch_step(name: str, training: bool, threads: int, compiled: bool) -> Step:
    """PyTorch, eager or compiled: a training step, or the forward pass in evaluation mode without gradients."""
    import torch

    from benchmarks.models import make, sgd

    torch.set_num_threads(threads)
    module, inputs = make(name, training)
    optimizer = sgd(module.parameters())
    model = torch.compile(module) if compiled else module

    def train() -> float:
        optimizer.zero_grad()
        loss = model(**inputs)[0]
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def forward() -> float:
        with torch.no_grad():
            return float(model(**inputs)[0])

    return train if training else forward


def onnx_step(name: str, threads: int, path: Path) -> Step:
    """The forward pass in ONNX Runtime."""
    import onnxruntime
    import torch

    from benchmarks.models import make

    module, inputs = make(name, training=False)
    torch.onnx.export(module, kwargs=inputs, f=path, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    arrays = {key: value.numpy() for key, value in inputs.items()}
    return lambda: float(session.run(None, arrays)[0])


def rdu_step(pef: Path, threads: int) -> Step:
    """The simulated RDU: every section of the PEF once, with the inputs written and the outputs read."""
    from ir.graph import SymbolKind
    from runtime.session import Session

    session = Session(pef, threads=threads)
    with np.load(pef.with_suffix(".npz")) as values:
        session.load_weights(dict(values), strict=False)
        inputs = {name: values[name] for name in session.names(SymbolKind.INPUT)}

    def step() -> float:
        return float(next(iter(session.run(inputs=inputs).values())))

    return step


def serve(step: Step) -> None:
    """Answer requests until standard input ends."""
    losses: list[float] = []
    for request in sys.stdin:
        if request.strip() == "losses":
            print(json.dumps(losses), flush=True)
            continue
        print(json.dumps(timed(lambda: losses.append(step()), int(request))), flush=True)


def timed(step: Callable[[], object], count: int) -> list[tuple[float, float]]:
    """Wall and processor time of each of `count` steps, in seconds."""
    times = []
    for _ in range(count):
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def main() -> None:
    side, name, mode, pef, threads = sys.argv[1:]
    if side == "rdu":
        serve(rdu_step(Path(pef), int(threads)))
    elif side == "onnxruntime":
        with tempfile.TemporaryDirectory() as folder:
            serve(onnx_step(name, int(threads), Path(folder) / f"{name}.onnx"))
    else:
        serve(torch_step(name, mode == "train", int(threads), side == "compiled"))


if __name__ == "__main__":
    main()
