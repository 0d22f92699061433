"""A loss computed on the host: forward on the device, the loss in PyTorch, backward and update on the device.

    python host_loss.py compile -b 32 --pef-name=host_loss
    python host_loss.py run -b 32 --pef=out/host_loss/host_loss.pef

The model returns its prediction alone. Its gradient comes from the host, as `sn_grad` of the output.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.utils.argparser import parse_app_args


class Regressor(nn.Module):
    """A small network from 8 features to one number."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(8, 32)
        self.out = nn.Linear(32, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Predictions [batch]."""
        return self.out(torch.tanh(self.hidden(features))).squeeze(1)


def host_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """The log-cosh loss, which punishes outliers less than squares do."""
    error = prediction - target
    return torch.log(torch.cosh(error)).mean()


def main(argv: list[str]) -> None:
    """The verbs."""
    args = parse_app_args(argv)
    utils.set_seed(3)
    model = Regressor()
    samba.from_torch_model_(model)
    dummy = samba.randn(args.batch_size, 8, name="features", batch_dim=0)
    optimizer = samba.optim.AdamW(model.parameters(), lr=0.01)
    if args.command == "compile":
        samba.session.compile(model, dummy, optimizer, name="host_loss", config_dict=vars(args))
        return
    outputs = utils.trace_graph(model, dummy, optimizer, pef=args.pef)
    for step in range(200):
        features = torch.randn(args.batch_size, 8)
        target = features.sin().sum(1)
        inputs = [samba.from_torch_tensor(features, name="features")]
        predicted = samba.session.run(inputs, outputs, section_types=["fwd"])[0]
        prediction = samba.to_torch(predicted).float().requires_grad_()
        loss = host_loss(prediction, target)
        loss.backward()
        outputs[0].sn_grad = prediction.grad
        samba.session.run(inputs, outputs, section_types=["bckwd", "opt"])
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}, loss {loss.item():.4f}")


if __name__ == "__main__":
    main(sys.argv[1:])
