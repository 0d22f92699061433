"""Models of billions of parameters go through `snc check` without being materialised."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.graph import SymbolKind

LARGE = Path(__file__).parent / "large.py"
MOST_BYTES = 4 << 30

needs_library = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")


class Net(nn.Module):
    """A layer with a buffer, for any device."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.register_buffer("scale", torch.ones(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(6, device=x.device) * 2.0
        return (self.fc(x) * self.scale + positions).square().sum()


def test_models_without_content_have_the_same_program() -> None:
    inputs = {"x": torch.randn(4, 6)}
    with torch.device("meta"):
        hollow = Net()
    solid = Net()
    specs = [ModelSpec(m, inputs, optimizer=torch.optim.AdamW(m.parameters())) for m in (hollow, solid)]
    first, second = (capture(spec, inference=False) for spec in specs)
    assert first.program == second.program
    assert set(second.values) - set(first.values) == {"fc.weight", "fc.bias", "scale"}
    assert [s.name for s in first.program.symbols if s.kind is SymbolKind.CONSTANT and s.name not in first.values] == []


def checked(name: str, *options: str) -> tuple[dict[str, object], int]:
    """The report of `snc check` in a process of its own, and the most bytes it held at any time."""
    code = (
        "import sys, resource; from compiler.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "check", f"{LARGE}:{name}", "--json", *options]
    result = subprocess.run(command, capture_output=True, text=True, cwd=LARGE.parents[2], check=True)
    return json.loads(result.stdout), int(result.stderr.split()[-1])


@needs_library
@pytest.mark.full
def test_gpt2_xl_for_training() -> None:
    report, peak_bytes = checked("gpt2_xl")
    assert report["supported"]
    assert report["parameters"] == 1_557_611_200
    assert peak_bytes < MOST_BYTES


@needs_library
@pytest.mark.full
def test_llama2_7b_for_inference() -> None:
    report, peak_bytes = checked("llama2_7b", "--inference")
    assert report["supported"]
    assert report["parameters"] == 6_738_415_616
    assert peak_bytes < MOST_BYTES
