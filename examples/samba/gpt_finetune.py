"""Fine-tuning a GPT with one loss per token, gradients clipped to a global norm, and three parameter groups.

    python gpt_finetune.py compile --pef-name=gpt -b 8
    python gpt_finetune.py run --pef=out/gpt/gpt.pef -b 8 --steps 120 --checkpoint gpt.pt

The model returns a loss for every token; what back-propagation starts from is set once on the traced output, through
`sn_grad`: one over the number of tokens makes it the mean.
"""

from __future__ import annotations

import argparse
import sys

import torch
from gpt import GPT, TEXT, Config, encode_text
from torch import Tensor, nn

from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.utils.argparser import parse_app_args
from sambaflow.samba.utils.pef_utils import get_pefmeta
from sambaflow.sambacollections import OrderedSet


def add_args(parser: argparse.ArgumentParser) -> None:
    """Options of every verb."""
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--max-grad-norm", type=float, default=1.0)


def add_run_args(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--checkpoint", default="", help="where to save the weights")


def dummy_inputs(args: argparse.Namespace) -> tuple[samba.SambaTensor | None, ...]:
    """The positional arguments of forward; there is no attention mask."""
    shape = (args.batch_size, args.length)
    positions = torch.arange(args.length).repeat(args.batch_size, 1)
    return (
        samba.randint(len(set(TEXT)), shape, name="input_ids", batch_dim=0),
        None,
        samba.from_torch_tensor(positions, name="position_ids", batch_dim=0),
        samba.randint(len(set(TEXT)), shape, name="labels", batch_dim=0),
    )


def optimizers(args: argparse.Namespace, model: nn.Module) -> list[torch.optim.Optimizer]:
    """AdamW over embeddings, over other matrices with weight decay, and over the rest without."""
    embeddings = OrderedSet(model.wte.parameters())
    embeddings.update(model.wpe.parameters())
    matrices = [p for p in model.parameters() if p.dim() > 1 and p not in embeddings]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = ((list(embeddings), 0.0), (matrices, args.weight_decay), (others, 0.0))
    return [
        samba.optim.AdamW(
            parameters, lr=args.learning_rate, weight_decay=decay, max_grad_norm=args.max_grad_norm, betas=(0.9, 0.95)
        )
        for parameters, decay in groups
    ]


def batches(args: argparse.Namespace) -> list[tuple[Tensor, Tensor]]:
    """Inputs and labels [batch, length] of every step: random stretches of the text."""
    letters = encode_text(TEXT)
    starts = torch.randint(len(letters) - args.length - 1, (args.steps, args.batch_size))
    stretch = torch.arange(args.length)
    return [(letters[s[:, None] + stretch], letters[s[:, None] + stretch + 1]) for s in starts]


def train(args: argparse.Namespace, model: nn.Module, traced: tuple[samba.SambaTensor, ...]) -> None:
    """Train, with the learning rate falling to zero."""
    positions = torch.arange(args.length).repeat(args.batch_size, 1)
    traced[0].sn_grad = torch.full(traced[0].shape, 1 / traced[0].numel())
    for step, (input_ids, labels) in enumerate(batches(args)):
        inputs = (
            samba.from_torch_tensor(input_ids, name="input_ids"),
            None,
            samba.from_torch_tensor(positions, name="position_ids"),
            samba.from_torch_tensor(labels, name="labels"),
        )
        losses, _ = samba.session.run(
            input_tensors=inputs,
            output_tensors=traced,
            hyperparam_dict={"lr": args.learning_rate * (1 - step / args.steps)},
            section_types=["FWD", "BCKWD", "GRADNORM", "OPT"],
        )
        if (step + 1) % 20 == 0 or step + 1 == args.steps:
            print(f"step {step + 1}, loss {samba.to_torch(losses).mean().item():.4f}")


def main(argv: list[str]) -> None:
    """The verbs."""
    args = parse_app_args(argv, common_parser_fn=add_args, run_parser_fn=add_run_args)
    utils.set_seed(0)
    model = GPT(Config(length=args.length))
    samba.from_torch_model_(model)
    inputs = dummy_inputs(args)
    updates = None if args.inference else optimizers(args, model)
    if args.command == "compile":
        metadata = {**get_pefmeta(args, model), "input_shapes": [t.shape for t in inputs if t is not None]}
        samba.session.compile(model, inputs, updates, name="gpt", config_dict=vars(args), pef_metadata=metadata)
    elif args.command == "run":
        traced = utils.trace_graph(model, inputs, updates, pef=args.pef)
        train(args, model, traced)
        samba.session.to_cpu(model)
        if args.checkpoint:
            torch.save(model.state_dict(), args.checkpoint)


if __name__ == "__main__":
    main(sys.argv[1:])
