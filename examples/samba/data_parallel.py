"""Data parallel training over scikit-learn's 8x8 digits: several replicas, each with its own part of every batch.

python data_parallel.py compile -b 32 --data-parallel -ws 2 --pef-name=digits
torchrun --nproc-per-node 2 data_parallel.py run -b 32 --data-parallel --reduce-on-rdu --pef=out/digits/digits.pef
mpirun -np 4 python data_parallel.py run -b 32 --data-parallel --reduce-on-rdu --pef=out/digits/digits.pef
python data_parallel.py run -b 32 --pef=out/digits/digits.pef

-b is the batch of one replica. Two replicas with 32 samples each do what one replica does with 64.
"""

from __future__ import annotations

import argparse
import sys

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.utils.argparser import parse_app_args
from sambaflow.samba.utils.common import common_app_driver


class Classifier(nn.Module):
    """Two linear layers and a softmax cross entropy; returns the loss and the logits."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.features = nn.Linear(64, hidden)
        self.scores = nn.Linear(hidden, 10)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar, the mean over the batch) and logits [batch, 10]."""
        logits = self.scores(torch.relu(self.features(image)))
        return self.criterion(logits, label), logits


def add_args(parser: argparse.ArgumentParser) -> None:
    """Options of every verb."""
    parser.add_argument("--hidden", type=int, default=48)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--momentum", type=float, default=0.9)


def add_run_args(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument("-e", "--num-epochs", type=int, default=1)
    parser.add_argument("--checkpoint", help="where rank 0 writes the trained model")


def dummy_inputs(args: argparse.Namespace) -> tuple[samba.SambaTensor, samba.SambaTensor]:
    """Tensors of the right shapes and names, to trace with."""
    image = samba.randn(args.batch_size, 64, name="image", batch_dim=0)
    label = samba.randint(10, (args.batch_size,), name="label", batch_dim=0)
    return image, label


def this_replicas_batches(args: argparse.Namespace) -> DataLoader:
    """Batches of 1,500 digits; of every global batch, the part that is this replica's."""
    digits = load_digits()
    images = torch.tensor(digits.data[:1500] / 16, dtype=torch.float32)
    data = TensorDataset(images, torch.tensor(digits.target[:1500], dtype=torch.int64))
    sampler = DistributedSampler(data, utils.get_world_size(), utils.get_rank(), shuffle=False)
    return DataLoader(data, batch_size=args.batch_size, sampler=sampler, drop_last=True)


def mean_over_replicas(loss: Tensor) -> float:
    """A replica's loss is that of its own samples: print the mean."""
    total = loss.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(total)
    return total.item() / utils.get_world_size()


def train(args: argparse.Namespace, model: nn.Module) -> None:
    """Train, print the loss of every epoch once, and let one replica write the model: all hold the same."""
    hyper = {"lr": args.lr, "momentum": args.momentum}
    batches = this_replicas_batches(args)
    for epoch in range(args.num_epochs):
        total = 0.0
        for image, label in batches:
            inputs = samba.from_named_dict({"image": image, "label": label})
            loss, _ = samba.session.run(
                inputs,
                model.output_tensors,
                hyperparam_dict=hyper,
                data_parallel=args.data_parallel,
                reduce_on_rdu=args.reduce_on_rdu,
            )
            total += mean_over_replicas(samba.to_torch(loss))
        if utils.is_main_process():
            print(f"Epoch [{epoch + 1}/{args.num_epochs}], Loss: {total / len(batches):.6f}", flush=True)
    samba.session.to_cpu(model)
    if args.checkpoint and utils.is_main_process():
        torch.save({name: tensor.torch_tensor() for name, tensor in model.state_dict().items()}, args.checkpoint)


def main(argv: list[str]) -> None:
    """The verbs."""
    args = parse_app_args(argv, common_parser_fn=add_args, run_parser_fn=add_run_args)
    utils.set_seed(256)
    model = Classifier(args.hidden)
    samba.from_torch_model_(model)
    inputs = dummy_inputs(args)
    optimizer = samba.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum)
    common_app_driver(args, model, inputs, optimizer, name="digits", app_dir=utils.get_file_dir(__file__))
    if args.command == "run":
        utils.trace_graph(model, inputs, optimizer, pef=args.pef, mapping=args.mapping)
        train(args, model)


if __name__ == "__main__":
    main(sys.argv[1:])
