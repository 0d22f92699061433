"""An epoch of logistic regression at batch 1 over 60,000 images in MNIST's format, on the SDK and in PyTorch.

    python -m benchmarks.mnist_epoch [--images 60000]

The images are scikit-learn's 1,797 digits, enlarged to 28 x 28 and shifted at random, in the four files that MNIST has.
Both sides read the same files in the same order and start from the same weights. Printed are steps per second of wall
and of processor time, data loading included, and the test accuracy of both, which must be the same.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import shift, zoom
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.sdk_overhead import LogReg
from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.sambaloader import SambaLoader
from sambaflow.samba.utils.dataset.mnist import prepare_dataloader

HYPER = {"lr": 0.0015, "momentum": 0.0, "weight_decay": 1e-4}


def write_images(folder: Path, name: str, count: int, generator: np.random.Generator) -> None:
    """A pair of files in MNIST's format: images and labels."""
    digits = load_digits()
    picks = generator.integers(len(digits.target), size=count)
    large = zoom(digits.images / 16, (1, 3.5, 3.5), order=1)
    images = np.stack([shift(large[pick], generator.integers(-2, 3, size=2), order=0) for pick in picks])
    pixels = (255 * images.clip(0, 1)).astype(np.uint8)
    for kind, array in (("images-idx3", pixels), ("labels-idx1", digits.target[picks].astype(np.uint8))):
        header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
        (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes(), 1))


def loaders(folder: Path) -> tuple[DataLoader, DataLoader]:
    """Batches of one image; the order of training images is the seed's."""
    torch.manual_seed(1)
    return prepare_dataloader({"data_dir": str(folder), "batch_size": 1})


class Rate:
    """Steps per second of wall time and of the process's processor time, since it was made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def of(self, steps: int) -> str:
        """Both, of so many steps."""
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return f"{steps / wall:,.0f} steps/s, {steps / cpu:,.0f} a second of processor time"


def train_here(model: nn.Module, folder: Path) -> str:
    """PyTorch's epoch; how fast it was."""
    optimizer = torch.optim.SGD(model.parameters(), **HYPER)
    rate, steps = Rate(), 0
    for image, label in loaders(folder)[0]:
        optimizer.zero_grad()
        loss, _ = model(image, label)
        loss.backward()
        optimizer.step()
        steps += 1
    return rate.of(steps)


def train_on_rdu(model: nn.Module, folder: Path) -> str:
    """The same epoch through `samba.session.run`; how fast it was."""
    samba.from_torch_model_(model)
    optimizer = samba.optim.SGD(model.parameters(), **HYPER)
    image = samba.randn(1, 784, name="image", batch_dim=0)
    label = samba.randint(10, (1,), name="label", batch_dim=0)
    arguments = {"output_folder": str(folder), "pef_name": "logreg", "log_level": "error"}
    pef = samba.session.compile(model, (image, label), optimizer, name="logreg", config_dict=arguments)
    outputs = utils.trace_graph(model, (image, label), optimizer, pef=pef)
    loader = loaders(folder)[0]
    rate, steps = Rate(), 0
    for inputs in SambaLoader(loader, ["image", "label"]):
        samba.session.run(inputs, outputs, hyperparam_dict=HYPER)
        steps += 1
    told = rate.of(steps)
    samba.session.to_cpu(model)
    return told


def accuracy(weights: list[torch.Tensor], folder: Path) -> float:
    """The percentage of test images that a linear layer of these weights and biases names."""
    images, labels = loaders(folder)[1].dataset.tensors
    return float(100 * ((images @ weights[0].T + weights[1]).argmax(1) == labels).float().mean())


def main() -> None:
    """Both epochs, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = LogReg()
    twin = copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as name:
        folder, generator = Path(name), np.random.default_rng(0)
        write_images(folder, "train", arguments.images, generator)
        write_images(folder, "t10k", 10_000, generator)
        here, rdu = train_here(twin, folder), train_on_rdu(model, folder)
        expected = [parameter.detach() for parameter in twin.parameters()]
        trained = [samba.to_torch(parameter).detach() for parameter in model.parameters()]
        correct = accuracy(expected, folder), accuracy(trained, folder)
    furthest = max(float((a - b).abs().max()) for a, b in zip(expected, trained))
    print(f"PyTorch: {here}; test accuracy {correct[0]:.2f} %")
    print(f"session.run: {rdu}; test accuracy {correct[1]:.2f} %")
    print(f"weights differ by {furthest:.1e} at most")
    if correct[0] != correct[1]:
        sys.exit("the accuracies differ")


if __name__ == "__main__":
    main()
