"""What every module of a model computes on the device: a second PEF of the model, whose modules' results are outputs.

A section keeps to itself what only it needs, so the program's own PEF cannot tell. The second one is compiled with the
same options; its sections store more, and compute the same.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from compiler.driver import CompileRequest, compile_spec
from ir.errors import Problem, UsageError
from ir.graph import SectionKind, SymbolKind
from pef import pef_pb2 as pb
from pef.npz import read_npz
from pef.reference import judges
from runtime.files.weights import read_weights
from runtime.session import Session
from sambaflow.samba._capture.compilation import model_spec
from sambaflow.samba._capture.convert import model_name, plain_torch
from sambaflow.samba._capture.tracing import trace
from sambaflow.samba._tensor.overrides import NoDropout

Observed = tuple[str, Tensor, Tensor, Tensor | None]
"""A name, what the device has, what the host has, and what it is in float64 where float32 is off by much."""


def layers(model: nn.Module, inputs: Any, pef: pb.Pef) -> list[Observed]:
    """The results of every module in the order in which they run, compiled as `pef` was."""
    traced = trace(model, inputs)
    name = model_name(model)
    options = json.loads(pef.header.options_json)
    seen: list[str] = []
    with tempfile.TemporaryDirectory() as folder, plain_torch(model):
        spec = model_spec(traced, name)
        spec = replace(spec, call=_observed(_without_dropout(spec.call), seen), every_gradient=False)
        request = CompileRequest(
            name,
            options["inference"],
            None,
            Path(folder),
            "layers",
            options["arch"],
            options.get("level", "o3"),
            options["preset"],
        )
        result = compile_spec(spec, request)
        if not result.reference_path.exists():
            hint = "give TestWithGold a batch of data: dummy inputs are for compiling only"
            raise UsageError(Problem("PyTorch does not run the inputs of the test", hint=hint))
        expected = read_npz(result.reference_path, "reference")
        session = Session(result.decoded)
        session.load_weights(read_weights(result.weights_path), strict=False)
    outputs = session.run([SectionKind.FWD.value])
    session.close()
    names = [name for name in session.names(SymbolKind.OUTPUT) if name in expected]
    observed = zip(seen, names[len(names) - len(seen) :], strict=True)
    exact = {name: torch.from_numpy(array) for name, array in judges(expected).items()}
    return [
        (label, torch.from_numpy(outputs[key]), torch.from_numpy(expected[key]), exact.get(key))
        for label, key in observed
    ]


Call = Callable[[nn.Module, Mapping[str, Tensor]], Any]


def _without_dropout(call: Call) -> Call:
    """`call` with all dropout rates at zero: host and device draw different masks."""

    def undropped(model: nn.Module, tensors: Mapping[str, Tensor]) -> Any:
        with NoDropout():
            return call(model, tensors)

    return undropped


def _observed(call: Call, names: list[str]) -> Call:
    """`call` with the results of all modules behind its own; `names` are those of the last call."""

    def observing(model: nn.Module, tensors: Mapping[str, Tensor]) -> Any:
        names.clear()
        copies: list[Tensor] = []

        def observe(path: str) -> Callable[..., None]:
            def hook(module: nn.Module, arguments: Any, result: Any) -> None:
                for leaf in pytree.tree_leaves(result):
                    if isinstance(leaf, Tensor):
                        copies.append(leaf.clone())  # what follows may work in place
                        names.append(path)

            return hook

        hooks = [
            module.register_forward_hook(observe(path)) for path, module in model.named_modules() if module is not model
        ]
        try:
            result = call(model, tensors)
        finally:
            for handle in hooks:
                handle.remove()
        return result, copies

    return observing
