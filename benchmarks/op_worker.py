"""One side of a comparison of operators, in a process of its own.

    python -m benchmarks.op_worker torch|rdu FOLDER THREADS

Answers lines of JSON: [stem, mode, N] with the wall and processor time of N steps, in seconds each, after as many
unmeasured ones at the first request; [stem, mode, "save"] by writing the results into the folder. The simulator's
process does not import PyTorch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.worker import timed
from ir.op import Array

Step = Callable[[], object]
Results = Callable[[], list[Array]]
SECTION = {"forward": "FWD", "gradient": "BCKWD"}
"""By mode: the kind of the sections that are measured."""


def torch_side(path: Path, mode: str) -> tuple[Step, Results]:
    """PyTorch eager: the function without gradients, or its gradients alone."""
    import torch

    from benchmarks.op_cases import CASES, module_of

    module = module_of(CASES[path.name.rpartition(".")[0]])
    inputs = tuple(module.inputs.values())
    if mode == "forward":
        result = torch.no_grad()(lambda: module(*inputs))
        return result, lambda: [result().numpy()]
    made, weights = module(*inputs), tuple(module.weights)
    with np.load(path.with_name(f"{path.name}.npz")) as values:
        tangent = torch.from_numpy(values["tangent"]).reshape(made.shape)

    def gradients() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(made, weights, tangent, retain_graph=True)

    return gradients, lambda: [gradient.numpy() for gradient in gradients()]


def rdu_side(path: Path, mode: str, threads: int) -> tuple[Step, Results]:
    """The simulated RDU: the sections of the mode, from device memory to device memory."""
    from ir.graph import SymbolKind
    from runtime.session import Session

    session = Session(path.with_name(f"{path.name}.pef"), threads=threads)
    with np.load(path.with_name(f"{path.name}.npz")) as values:
        session.load_weights({name: values[name] for name in values if name != "tangent"}, strict=False)
    session.run()
    kind = SymbolKind.OUTPUT if mode == "forward" else SymbolKind.GRADIENT
    return session.prepare([SECTION[mode]]).run, lambda: [session.read(name) for name in session.names(kind)]


class Server:
    """Answers requests; a case is made ready at the first of its own, and forgotten at the first of another's."""

    def __init__(self, side: str, folder: Path, threads: int) -> None:
        self.side, self.folder, self.threads = side, folder, threads
        self._ready: tuple[str, tuple[Step, Results]] | None = None

    def answer(self, name: str, mode: str, request: int | str) -> object:
        """Times of steps, or true when results are saved."""
        stem = f"{name}.{mode}"
        if self._ready is None or self._ready[0] != stem:
            path = self.folder / stem
            made = torch_side(path, mode) if self.side == "torch" else rdu_side(path, mode, self.threads)
            self._ready = stem, made
        step, results = self._ready[1]
        if isinstance(request, int):
            return timed(step, request)
        step()
        np.savez(self.folder / f"{stem}.{self.side}.npz", *results())
        return True


def main() -> None:
    side, folder, threads = sys.argv[1:]
    if side == "torch":
        import torch

        torch.set_num_threads(int(threads))
    server = Server(side, Path(folder), int(threads))
    for line in sys.stdin:
        print(json.dumps(server.answer(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
