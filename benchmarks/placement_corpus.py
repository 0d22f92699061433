"""Netlists of real sections, for judging placement and routing: mapped from models, and saved in a folder.

python -m benchmarks.placement_corpus out/netlists
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backends.rdu.compile import BackendOptions, advance
from backends.rdu.machine import load_machine
from backends.rdu.plan import Plan, Step
from backends.rdu.wire.netlist import Netlist, Placement
from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir.errors import SncError
from pef.machine import Machine, SiteKind

LEAST_UNITS = 40
"""Smaller sections are placed in no time, and well by anything."""
MOST_PER_MODEL = 4
"""Sections taken from a model on a machine: the largest, the smallest and those evenly between."""

Model = tuple[nn.Module, dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Source:
    """A model to take sections from, and the machine it is mapped onto."""

    model: Callable[[], Model]
    machine: str
    training: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """A section's netlist, and the name of the machine it is for."""

    name: str
    machine: str
    netlist: Netlist


class _ResidualBlock(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.short: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.short = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.short(x))


class ResNet18(nn.Module):
    """The residual network of 18 layers, for images of 224 x 224."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        blocks = [block for i, o, s in widths for block in (_ResidualBlock(i, o, s), _ResidualBlock(o, o, 1))]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(512, classes)

    def forward(self, image: Tensor) -> Tensor:
        features = self.blocks(self.pool(self.stem(image)))
        return self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))  # type: ignore[no-any-return]


class _UNet(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def double(inside: int, outside: int) -> nn.Sequential:
            first, second = nn.Conv2d(inside, outside, 3, padding=1), nn.Conv2d(outside, outside, 3, padding=1)
            return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

        self.down1, self.down2 = double(3, width), double(width, 2 * width)
        self.bottom = double(2 * width, 4 * width)
        self.up2, self.merge2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2), double(4 * width, 2 * width)
        self.up1, self.merge1 = nn.ConvTranspose2d(2 * width, width, 2, 2), double(2 * width, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        first = self.down1(image)
        second = self.down2(F.max_pool2d(first, 2))
        bottom = self.bottom(F.max_pool2d(second, 2))
        third = self.merge2(torch.cat([self.up2(bottom), second], 1))
        logits = self.head(self.merge1(torch.cat([self.up1(third), first], 1)))
        return F.binary_cross_entropy_with_logits(logits, mask), logits


def resnet18() -> Model:
    """Eight images."""
    return ResNet18().eval(), {"image": torch.randn(8, 3, 224, 224)}


def unet() -> Model:
    """Four images of 64 x 64, for training."""
    return _UNet(), {"image": torch.randn(4, 3, 64, 64), "mask": torch.rand(4, 1, 64, 64)}


def mlp() -> Model:
    """Three wide layers."""
    layers = [nn.Linear(1024, 4096), nn.GELU(), nn.Linear(4096, 4096), nn.GELU(), nn.Linear(4096, 1000)]
    return nn.Sequential(*layers), {"input": torch.randn(512, 1024)}


def gpt2() -> Model:
    """One block of GPT-2 and its head, for training on two texts of 256 tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=4096, n_positions=256, n_layer=1, use_cache=False, **off))
    ids = torch.randint(4096, (2, 256))
    return model, {"input_ids": ids, "labels": ids.clone()}


def llama() -> Model:
    """One layer of Llama's shape at width 2048, on 512 tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"vocab_size": 4096, "hidden_size": 2048, "intermediate_size": 5504, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(**shape, num_attention_heads=16, use_cache=False))
    return model.eval(), {"input_ids": torch.randint(4096, (1, 512))}


SOURCES = {
    "mlp-sn30": Source(mlp, "sn30", True),
    "resnet18-sn30": Source(resnet18, "sn30", False),
    "resnet18-sn40l": Source(resnet18, "sn40l", False),
    "unet-sn10": Source(unet, "sn10", True),
    "gpt2-sn30": Source(gpt2, "sn30", True),
    "gpt2-sn40l": Source(gpt2, "sn40l", True),
    "llama-sn30": Source(llama, "sn30", False),
}


def sections(source: Source) -> list[Netlist]:
    """The netlists of a model's distinct sections, in the order in which they are mapped."""
    torch.manual_seed(0)
    module, inputs = source.model()
    update = torch.optim.SGD(module.parameters(), lr=0.01) if source.training else None
    captured = capture(ModelSpec(module, inputs, optimizer=update, name="model"), inference=not source.training)
    program = PassManager(standard_pipeline("mp4")).run(captured.program)
    netlists: list[Netlist] = []

    def place(netlist: Netlist, machine: Machine, seed: int) -> Placement:
        netlists.append(netlist)
        free = {kind: iter(machine.working_sites(kind)) for kind in SiteKind}
        return Placement(tuple(next(free[unit.kind]) for unit in netlist.units))

    plan, machine, options = Plan.of(program), load_machine(source.machine), BackendOptions(placer=place)
    advance(plan, machine, options, Step.PLACE)
    return netlists


def samples(name: str) -> Iterator[Sample]:
    """Sections of one source, from the smallest to the largest."""
    source = SOURCES[name]
    large = sorted((n for n in sections(source) if len(n.units) >= LEAST_UNITS), key=lambda n: len(n.units))
    count = min(MOST_PER_MODEL, len(large))
    for number in range(count):
        index = number * (len(large) - 1) // max(1, count - 1)
        yield Sample(f"{name}-{number}", source.machine, large[index])


def load(folder: Path) -> list[Sample]:
    """The samples saved in a folder by this program, in order of size."""
    found = [Sample(path.stem, *pickle.loads(path.read_bytes())) for path in sorted(folder.glob("*.netlist"))]
    return sorted(found, key=lambda sample: (len(sample.netlist.units), sample.name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=sorted(SOURCES), action="append", help="this source; may be given again")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.only or SOURCES:
        try:
            for sample in samples(name):
                content = pickle.dumps((sample.machine, sample.netlist))
                (arguments.folder / f"{sample.name}.netlist").write_bytes(content)
                ends = sum(len(net.terminals) for net in sample.netlist.nets)
                size = f"{len(sample.netlist.units)} units, {len(sample.netlist.nets)} nets, {ends} ends"
                print(f"{sample.name}: {size}", flush=True)
        except SncError as error:
            print(f"{name}: {error}")


if __name__ == "__main__":
    main()
