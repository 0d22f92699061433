"""LeNet over scikit-learn's 8x8 digits, as a SambaFlow program with checkpoints, a test and inference.

python lenet.py compile --pef-name=lenet
python lenet.py run --pef=out/lenet/lenet.pef --num-epochs 2 --ckpt-dir checkpoints
python lenet.py run --pef=out/lenet/lenet.pef --ckpt-file checkpoints/92.pt      # continues
python lenet.py run --test --pef=out/lenet/lenet.pef                             # CPU against RDU
python lenet.py compile --inference --pef-name=lenet_inference
python lenet.py run --inference --pef=out/lenet_inference/lenet_inference.pef --ckpt-file checkpoints/92.pt
"""

from __future__ import annotations

import argparse
import os
import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.utils.argparser import parse_app_args
from sambaflow.samba.utils.common import common_app_driver


class LeNet(nn.Module):
    """Two convolutions with pooling, three linear layers; returns the loss and the logits."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=3, padding=1)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=3, padding=1)
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(64, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and logits [batch, classes] of images [batch, 1, 8, 8] and labels [batch]."""
        x = self.pool1(self.conv1(image).relu())
        x = self.pool2(self.conv2(x).relu())
        x = x.reshape(x.shape[0], -1)
        x = self.fc2(self.fc1(x).relu()).relu()
        logits = self.fc3(x)
        return self.criterion(logits, label), logits


def add_args(parser: argparse.ArgumentParser) -> None:
    """Options of every verb; the batch size replaces the framework's."""
    parser.add_argument("-b", "--batch-size", type=int, default=32)
    parser.add_argument("--num-classes", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--weight-decay", type=float, default=1e-4)


def add_run_args(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument("-e", "--num-epochs", type=int, default=1)
    parser.add_argument("--ckpt-dir", default="checkpoints", help="folder for checkpoints")
    parser.add_argument("--ckpt-file", default="", help="checkpoint to begin with")
    parser.add_argument("--results-dir", default="results", help="folder for the results of inference")
    parser.add_argument("--test", action="store_true", help="compare CPU and RDU on one batch")


def dummy_inputs(args: argparse.Namespace) -> tuple[samba.SambaTensor, samba.SambaTensor]:
    """Tensors of the right shapes and names, to trace with."""
    image = samba.randn(args.batch_size, 1, 8, 8, name="image", batch_dim=0).bfloat16().float()
    label = samba.randint(args.num_classes, (args.batch_size,), name="label", batch_dim=0)
    return image, label


def datasets() -> tuple[TensorDataset, TensorDataset]:
    """1,500 images to train on, 297 to test with."""
    digits = load_digits()
    images = torch.tensor(digits.images / 8 - 1, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(digits.target)
    return TensorDataset(images[:1500], labels[:1500]), TensorDataset(images[1500:], labels[1500:])


def load_checkpoint(path: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load model and optimizer before they go to the device; returns the steps done."""
    if not path:
        return 0
    checkpoint = torch.load(path)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    return int(checkpoint["completed_steps"])


def save_checkpoint(folder: str, steps: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    """Fetch weights and optimizer state from the device and write them, whole or not at all."""
    samba.session.to_cpu(model, optimizer)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"{steps}.pt")
    state = {"completed_steps": steps, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)
    return path


def train(args: argparse.Namespace, model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Train; every epoch prints its loss and writes a checkpoint. The order of images follows from the epoch."""
    loader = DataLoader(datasets()[0], batch_size=args.batch_size, drop_last=True)
    hyper = {"lr": args.lr, "momentum": args.momentum, "weight_decay": args.weight_decay}
    for epoch in range(args.num_epochs):
        total = 0.0
        for images, labels in loader:
            inputs = (
                samba.from_torch_tensor(images, name="image", batch_dim=0),
                samba.from_torch_tensor(labels, name="label", batch_dim=0),
            )
            loss, _ = samba.session.run(
                input_tensors=inputs,
                output_tensors=model.output_tensors,
                hyperparam_dict=hyper,
                section_types=["fwd", "bckwd", "opt"],
            )
            total += samba.to_torch(loss).item()
            steps += 1
        path = save_checkpoint(args.ckpt_dir, steps, model, optimizer)
        print(f"Epoch [{epoch + 1}/{args.num_epochs}], Loss: {total / len(loader):.4f}, checkpoint {path}")


def infer(args: argparse.Namespace, model: nn.Module) -> None:
    """Classify the test images on the device, print the accuracy, and write the classes found."""
    loader = DataLoader(datasets()[1], batch_size=args.batch_size, drop_last=True)
    correct, classes = 0, []
    for images, labels in loader:
        inputs = [samba.from_torch_tensor(images, name="image"), samba.from_torch_tensor(labels, name="label")]
        _, logits = samba.session.run(inputs, model.output_tensors, section_types=["fwd"])
        predicted = torch.max(samba.to_torch(logits), 1).indices
        correct += int((predicted == labels).sum())
        classes += predicted.tolist()
    os.makedirs(args.results_dir, exist_ok=True)
    with open(os.path.join(args.results_dir, "predictions.txt"), "w") as file:
        file.write("\n".join(map(str, classes)) + "\n")
    print(f"Test Accuracy: {100 * correct / len(classes):.2f}")


def compare(model: nn.Module, inputs: tuple[samba.SambaTensor, ...]) -> None:
    """One batch on CPU and RDU: outputs and the gradient of the first layer."""
    expected_loss, expected_logits = model(*inputs)
    loss, logits = samba.session.run(inputs, model.output_tensors)
    expected_loss.mean().backward()
    utils.assert_close(loss, expected_loss, "loss", threshold=3e-3)
    utils.assert_close(logits, expected_logits, "logits", threshold=3e-3)
    utils.assert_close(model.conv1.weight.sn_grad, model.conv1.weight.grad, "conv1.weight.grad", threshold=3e-3)
    print("CPU and RDU agree.")


def main(argv: list[str]) -> None:
    """The verbs."""
    args = parse_app_args(argv=argv, common_parser_fn=add_args, run_parser_fn=add_run_args)
    utils.set_seed(256)
    model = LeNet(args.num_classes)
    samba.from_torch_model_(model)
    optimizer = samba.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay)
    inputs = dummy_inputs(args)
    common_app_driver(args, model, inputs, optimizer, name="lenet", app_dir=utils.get_file_dir(__file__))
    if args.command != "run":
        return
    steps = load_checkpoint(args.ckpt_file, model, optimizer)
    utils.trace_graph(model, inputs, optimizer, pef=args.pef, mapping=args.mapping)
    if args.inference:
        infer(args, model)
    elif args.test:
        compare(model, inputs)
    else:
        train(args, model, optimizer, steps)


if __name__ == "__main__":
    main(sys.argv[1:])
