"""What one `samba.session.run` costs: logistic regression over 784 features, batch 1, all sections.

    python -m benchmarks.sdk_overhead

Prints training steps per second with inputs, hyper-parameters and outputs moved each step, and of the graph alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sambaflow import samba
from sambaflow.samba import utils

STEPS = 3000


class LogReg(nn.Module):
    """Logistic regression over flat images."""

    def __init__(self) -> None:
        super().__init__()
        self.lin_layer = nn.Linear(784, 10)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and logits."""
        out = self.lin_layer(image)
        return self.criterion(out, label), out


def steps_per_second(step: Callable[[int], object]) -> float:
    """How often `step` runs in a second, after a warm-up."""
    for number in range(100):
        step(number)
    began = time.perf_counter()
    for number in range(STEPS):
        step(number)
    return STEPS / (time.perf_counter() - began)


def main() -> None:
    """Compile, load, measure."""
    torch.manual_seed(0)
    model = LogReg()
    samba.from_torch_model_(model)
    images, labels = torch.randn(64, 1, 784), torch.randint(10, (64, 1))
    optimizer = samba.optim.SGD(model.parameters(), lr=0.01)

    def batch(number: int) -> tuple[samba.SambaTensor, samba.SambaTensor]:
        image = samba.from_torch_tensor(images[number % 64], name="image", batch_dim=0)
        return image, samba.from_torch_tensor(labels[number % 64], name="label", batch_dim=0)

    with tempfile.TemporaryDirectory() as folder:
        arguments = {"output_folder": folder, "pef_name": "logreg", "log_level": "error"}
        pef = samba.session.compile(model, batch(0), optimizer, name="logreg", config_dict=arguments)
        outputs = utils.trace_graph(model, batch(0), optimizer, pef=pef)
    hyper = {"lr": 0.01, "momentum": 0.0, "weight_decay": 1e-4}
    whole = steps_per_second(lambda number: samba.session.run(batch(number), outputs, hyperparam_dict=hyper))
    prepared = samba.session.device.prepared(None, None)
    alone = steps_per_second(lambda number: prepared.run())
    print(f"session.run: {whole:,.0f} steps/s; the graph alone: {alone:,.0f} steps/s")


if __name__ == "__main__":
    main()
