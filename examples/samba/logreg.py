"""Logistic regression over scikit-learn's 8x8 digits, as a SambaFlow program.

python logreg.py compile --output-folder=out --pef-name=logreg
python logreg.py run --pef=out/logreg/logreg.pef
python logreg.py test --pef=out/logreg/logreg.pef
python logreg.py measure-performance --pef=out/logreg/logreg.pef
"""

from __future__ import annotations

import argparse
import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.sambaloader import SambaLoader
from sambaflow.samba.utils.argparser import parse_app_args
from sambaflow.samba.utils.pef_utils import get_pefmeta


class LogReg(nn.Module):
    """One linear layer and a softmax cross entropy; returns the loss and the logits."""

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.lin_layer = nn.Linear(num_features, num_classes)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and logits [batch, classes]."""
        out = self.lin_layer(inputs)
        return self.criterion(out, targets), out


def add_args(parser: argparse.ArgumentParser) -> None:
    """Options of every verb."""
    parser.add_argument("--num-features", type=int, default=64)
    parser.add_argument("--num-classes", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--weight-decay", type=float, default=1e-4)


def add_run_args(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument("-e", "--num-epochs", type=int, default=1)


def dummy_inputs(args: argparse.Namespace) -> tuple[samba.SambaTensor, samba.SambaTensor]:
    """Tensors of the right shapes and names, to trace with."""
    image = samba.randn(args.batch_size, args.num_features, name="image", batch_dim=0)
    label = samba.randint(args.num_classes, (args.batch_size,), name="label", batch_dim=0)
    return image, label


def datasets() -> tuple[TensorDataset, TensorDataset]:
    """1,500 digits to train on, 297 to test with; pixels from 0 to 1."""
    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target, dtype=torch.int64)
    return TensorDataset(images[:1500], labels[:1500]), TensorDataset(images[1500:], labels[1500:])


def train(args: argparse.Namespace, model: nn.Module) -> None:
    """Train epoch by epoch, and print loss and test accuracy."""
    train_set, test_set = datasets()
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, drop_last=True)
    test_loader = DataLoader(test_set, batch_size=args.batch_size, drop_last=True)
    hyper = {"lr": args.lr, "momentum": args.momentum, "weight_decay": args.weight_decay}
    for epoch in range(args.num_epochs):
        total = 0.0
        for step, inputs in enumerate(SambaLoader(train_loader, ["image", "label"])):
            loss, _ = samba.session.run(inputs, model.output_tensors, hyperparam_dict=hyper)
            total += samba.to_torch(loss).mean().item()
            if (step + 1) % max(1, 500 // args.batch_size) == 0:
                position = f"Epoch [{epoch + 1}/{args.num_epochs}], Step [{step + 1}/{len(train_loader)}]"
                print(f"{position}, Loss: {total / (step + 1):.4f}")
        samba.session.to_cpu(model)
        print("Test Accuracy: {:.2f}  Loss: {:.4f}".format(*evaluate(model, test_loader)))


def evaluate(model: nn.Module, loader: DataLoader) -> tuple[float, float]:
    """Accuracy in percent and mean loss of the converted model on the CPU."""
    correct, total, losses = 0, 0, 0.0
    with torch.no_grad():
        for images, labels in loader:
            loss, outputs = model(images, labels)
            predicted = torch.max(samba.to_torch(outputs), 1).indices
            correct += int((predicted == labels).sum())
            total += len(labels)
            losses += samba.to_torch(loss).item()
    return 100 * correct / total, losses / len(loader)


def compare(model: nn.Module, inputs: tuple[samba.SambaTensor, ...]) -> None:
    """Outputs and gradients of one batch, device against CPU."""
    expected_loss, expected_logits = model(*inputs)
    loss, logits = samba.session.run(inputs, model.output_tensors, section_types=["fwd", "bckwd"])
    expected_loss.mean().backward()
    utils.assert_close(logits, expected_logits, "logits", threshold=1e-4)
    utils.assert_close(loss, expected_loss, "loss", threshold=1e-4)
    weight = model.lin_layer.weight
    utils.assert_close(weight.sn_grad, weight.grad, "gradient of the weight", threshold=1e-4)
    print("CPU and RDU agree.")


def main(argv: list[str]) -> None:
    """The verbs."""
    args = parse_app_args(argv, common_parser_fn=add_args, run_parser_fn=add_run_args)
    utils.set_seed(256)
    model = LogReg(args.num_features, args.num_classes)
    samba.from_torch_model_(model)
    inputs = dummy_inputs(args)
    optimizer = samba.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay)
    if args.command == "compile":
        samba.session.compile(
            model,
            inputs,
            optimizer,
            name="logreg",
            app_dir=utils.get_file_dir(__file__),
            config_dict=vars(args),
            pef_metadata=get_pefmeta(args, model),
        )
        return
    utils.trace_graph(model, inputs, optimizer, pef=args.pef, mapping=args.mapping)
    if args.command == "run":
        train(args, model)
    elif args.command == "test":
        compare(model, inputs)
    elif args.command == "measure-performance":
        utils.measure_performance(
            model,
            inputs,
            args.batch_size,
            args.n_chips,
            args.inference,
            run_graph_only=args.run_graph_only,
            n_iterations=args.num_iterations,
            json=args.bench_report_json,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
