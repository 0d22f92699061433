"""Small boxes: a dense network, one whose rows influence one another, and a language model with random weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelbox.box_file import FILE, Home
from modelbox.creation import create
from pef.files import write_bytes

SNC = (sys.executable, "-c", "from compiler.cli import main; main()")

DENSE = """
import torch
from torch import nn


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 3)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


model = Dense


def inputs(batch_size=4):
    return {"x": torch.randn(batch_size, 8)}


def optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def loss(output, target):
    return ((output - target) ** 2).mean()


def targets(batch_size=4):
    return {"target": torch.randn(batch_size, 3)}
"""

MIXED = """
import torch
from torch import nn


class Mixed(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


model = Mixed


def inputs(batch_size=4):
    return {"x": torch.randn(batch_size, 8)}
"""


def dense(folder: Path, *, training: bool = False) -> Home:
    """A box of the dense network, batch 4."""
    uses = ("inference", "training") if training else ("inference",)
    return _of_file(folder, "dense", DENSE, uses)


def mixed(folder: Path) -> Home:
    """A box of the network that subtracts the batch's mean."""
    return _of_file(folder, "mixed", MIXED, ("inference",))


def llama(folder: Path) -> Home:
    """A box of a tiny Llama with random weights: three rows of at most 47 tokens."""
    from transformers import LlamaConfig

    from modelzoo.checkpoints.hugging_face import initialised
    from modelzoo.data.documents import VOCABULARY, tokenizer

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
        initializer_range=0.2,
    )
    checkpoint = folder.with_name("checkpoint")
    initialised(config, seed=1).save_pretrained(checkpoint)
    tokenizer().save_pretrained(checkpoint)
    return create(folder, f"huggingface:{checkpoint}", name="llama", batch=3, length=48, prefill=(8,))


def changed(home: Home, **values: Any) -> Home:
    """The same box with other values in box.yaml."""
    box = home.box.model_validate(home.box.model_dump() | values)
    write_bytes(home.folder / FILE, json.dumps(box.model_dump(mode="json")).encode())
    return Home(home.folder, box)


@contextmanager
def serving(home: Home, log: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The box's service in a process, and where it listens."""
    command = [
        sys.executable,
        "-c",
        "from compiler.cli import main; main()",
        "box",
        "serve",
        str(home.folder),
        "--http-port=0",
        "--grpc-port=0",
    ]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _of_file(folder: Path, name: str, source: str, uses: tuple[Any, ...]) -> Home:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder.parent / f"{name}.py"
    file.write_text(source)
    return create(folder, f"file:{file}", name=name, batch=4, uses=uses)
