"""A residual feed-forward network that ends in a logistic regression, over scikit-learn's digits.

    python res_ffn.py compile -b 64 --pef-name=res_ffn
    python res_ffn.py run -b 64 --pef=out/res_ffn/res_ffn.pef
    python res_ffn.py run -b 64 --inference --pef=out/res_ffn/res_ffn.pef

Two gemms with layer norms and different activations, the first one's result added back after the second.
"""

from __future__ import annotations

import argparse
import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import sambaflow.samba as samba
import sambaflow.samba.utils as utils
from sambaflow.samba.sambaloader import SambaLoader
from sambaflow.samba.utils.argparser import parse_app_args


def basic_weight_init(module: nn.Module) -> None:
    """Xavier's initial weights for linear layers."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)


class ResFFNLogReg(nn.Module):
    """Feed-forward network with two activation functions and a residual connection; returns the loss and the logits."""

    def __init__(self, num_features: int, hidden_size: int, num_classes: int) -> None:
        super().__init__()
        self.gemm1 = nn.Linear(num_features, hidden_size, bias=False)
        self.gemm2 = nn.Linear(hidden_size, hidden_size, bias=False)
        self.gemm3 = nn.Linear(hidden_size, num_classes, bias=False)
        self.norm1 = nn.LayerNorm(hidden_size)
        self.norm2 = nn.LayerNorm(hidden_size)
        self.tanh1 = nn.Tanh()
        self.sigmoid1 = nn.Sigmoid()
        self.criterion = nn.CrossEntropyLoss()
        self.apply(basic_weight_init)

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and logits [batch, classes]."""
        out = self.tanh1(self.norm1(self.gemm1(inputs)))
        residual = out
        out = self.norm2(self.gemm2(out)) + residual
        out = self.gemm3(self.sigmoid1(out))
        return self.criterion(out, targets), out


def add_args(parser: argparse.ArgumentParser) -> None:
    """Options of every verb."""
    parser.add_argument("--num-features", type=int, default=64)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--num-classes", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--num-epochs", type=int, default=5)


def loader(args: argparse.Namespace) -> SambaLoader:
    """The digits in batches, as named SambaTensors read ahead by a thread."""
    digits = load_digits()
    images, labels = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    batches = DataLoader(TensorDataset(images, labels), batch_size=args.batch_size, shuffle=True, drop_last=True)
    return SambaLoader(batches, ["image", "label"])


def train(args: argparse.Namespace, model: nn.Module) -> None:
    """Train and print the loss of every epoch, and the gradient's size on the device."""
    hyper = {"lr": args.lr, "momentum": args.momentum, "weight_decay": args.weight_decay}
    for epoch in range(args.num_epochs):
        total, batches = 0.0, loader(args)
        for inputs in batches:
            outputs = samba.session.run(
                input_tensors=inputs,
                output_tensors=model.output_tensors,
                hyperparam_dict=hyper,
                section_types=["fwd", "bckwd", "opt"],
            )
            total += samba.to_torch(outputs[0]).item()
        gradient = model.gemm1.weight.sn_grad.abs().mean().item()
        print(f"Epoch {epoch + 1}, Loss: {total / len(batches):.4f}, mean gradient of gemm1: {gradient:.2e}")
    samba.session.to_cpu(model)


def infer(args: argparse.Namespace, model: nn.Module) -> None:
    """Run the forward sections only, and print the mean loss."""
    losses = []
    for inputs in loader(args):
        loss, _ = samba.session.run(inputs, model.output_tensors, section_types=["fwd"])
        losses.append(samba.to_torch(loss).item())
    print(f"Mean loss: {sum(losses) / len(losses):.4f}")


def main(argv: list[str]) -> None:
    """The verbs."""
    args = parse_app_args(argv, common_parser_fn=add_args)
    utils.set_seed(1)
    image = samba.randn(args.batch_size, args.num_features, name="image", batch_dim=0)
    label = samba.randint(args.num_classes, (args.batch_size,), name="label", batch_dim=0)
    model = ResFFNLogReg(args.num_features, args.hidden_size, args.num_classes)
    samba.from_torch_model_(model)
    optim = samba.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay)
    if args.command == "run":
        utils.trace_graph(model, (image, label), optim, pef=args.pef, mapping=args.mapping)
        (infer if args.inference else train)(args, model)
    else:
        samba.session.compile(
            model=model,
            inputs=(image, label),
            optim=optim,
            name=model.__class__.__name__,
            init_output_grads=not args.inference,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
