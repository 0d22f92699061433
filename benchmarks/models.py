"""The models that the benchmarks run, compiled once into a folder: a PEF, its weights and one batch of inputs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from backends.rdu.compile import compile_program
from backends.rdu.machine import load_machine
from benchmarks.case import Case
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from compiler.update_fusion import fused_where_it_pays
from examples.lenet import LeNet
from examples.res_ffn import ResFFNLogReg
from examples.transformer import Transformer
from pef import file as pef_file
from pef.check import check
from pef.npz import write_npz

LEARNING_RATE, MOMENTUM = 0.01, 0.9
SEED = 0


def _classified(*shape: int) -> dict[str, Tensor]:
    return {"image": torch.randn(*shape), "label": torch.randint(10, shape[:1])}


def _text(batch: int, length: int, vocabulary: int) -> dict[str, Tensor]:
    text = torch.randint(vocabulary, (batch, length + 1))
    return {"tokens": text[:, :-1].contiguous(), "targets": text[:, 1:].contiguous()}


CASES = {
    "res_ffn": Case(
        lambda: ResFFNLogReg(256, 1024, 10), lambda: _classified(1024, 256), "256-1024-1024-10, batch 1024"
    ),
    "lenet": Case(LeNet, lambda: _classified(1024, 1, 28, 28), "28x28 images, batch 1024"),
    "transformer": Case(
        lambda: Transformer(vocabulary=1000, length=64, width=128, heads=4, depth=4),
        lambda: _text(16, 64, 1000),
        "width 128, 4 layers, 16 texts of 64 tokens",
    ),
}


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of every training step here."""
    return torch.optim.SGD(parameters, lr=LEARNING_RATE, momentum=MOMENTUM)


NETWORKS = ("bert", "gpt2", "llama", "vit", "resnet18", "efficientnet", "convnext", "unet")
"""The cases of `benchmarks.networks`, which is imported for these only: it needs transformers."""


def case(name: str) -> Case:
    """The case of this name."""
    if name in CASES:
        return CASES[name]
    from benchmarks.networks import CASES as networks

    return networks[name]


def make(name: str, training: bool = True) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model and its inputs, the same in every process; for inference in evaluation mode."""
    torch.manual_seed(SEED)
    found = case(name)
    module, inputs = found.model(), found.inputs()
    if not training:
        _take_statistics(module, inputs)
    return module.train(training), inputs


def _take_statistics(module: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Have batch norms know the statistics of the inputs, as those of a trained network do of its data: else the
    activations of a deep network vanish, and denormal numbers slow every side down."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        module.train()(**inputs)
    for norm, momentum in zip(norms, before):
        norm.momentum = momentum


def compile_case(name: str, training: bool, folder: Path) -> Path:
    """Compile a model, write it with its symbols' initial values and its inputs, and return the path of the PEF."""
    module, inputs = make(name, training)
    update = sgd(module.parameters()) if training else None
    spec = ModelSpec(module, inputs, optimizer=update, name=name)
    captured = capture(spec, inference=not training)
    program = fused_where_it_pays(PassManager(standard_pipeline("mp0")).run(captured.program))
    pef = compile_program(program, load_machine("sn30"))
    check(pef)
    known = {symbol.name for symbol in program.symbols}
    path = folder / f"{name}.{'train' if training else 'forward'}.pef"
    pef_file.write(pef, path)
    values = {key: value for key, value in captured.values.items() if key in known}
    values.update({key: to_array(value) for key, value in inputs.items()})
    write_npz(path.with_suffix(".npz"), values)
    return path
