"""A GAN: both networks in one graph, an optimizer each, losses that start from one each."""

import sys

import torch
from torch import nn
from torch.nn import functional as F

from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.utils.argparser import parse_app_args
from sambaflow.samba.utils.common import common_app_driver


class GAN(nn.Module):
    def __init__(self, z=8, d=16):
        super().__init__()
        self.g = nn.Sequential(nn.Linear(z, 32), nn.LeakyReLU(0.2), nn.Linear(32, d), nn.Tanh())
        self.d = nn.Sequential(nn.Linear(d, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def forward(self, real, noise):
        fake = self.g(noise)
        on_real, on_fake = self.d(real), self.d(fake.detach())
        ones, zeros = torch.ones_like(on_real), torch.zeros_like(on_real)
        d_loss = F.binary_cross_entropy_with_logits(on_real, ones) + F.binary_cross_entropy_with_logits(on_fake, zeros)
        frozen = F.linear(
            F.leaky_relu(F.linear(fake, self.d[0].weight.detach(), self.d[0].bias.detach()), 0.2),
            self.d[2].weight.detach(),
            self.d[2].bias.detach(),
        )
        g_loss = F.binary_cross_entropy_with_logits(frozen, ones)
        return d_loss, g_loss, fake


args = parse_app_args(argv=sys.argv[1:], common_parser_fn=lambda p: p.add_argument("--steps", type=int, default=40))
utils.set_seed(3)
model = GAN()
samba.from_torch_model_(model)
inputs = (
    samba.randn(args.batch_size, 16, name="real", batch_dim=0),
    samba.randn(args.batch_size, 8, name="noise", batch_dim=0),
)
opts = [
    samba.optim.AdamW(model.g.parameters(), lr=1e-3, argin_region_name="g_"),
    samba.optim.AdamW(model.d.parameters(), lr=1e-3, argin_region_name="d_"),
]
common_app_driver(args, model, inputs, opts, name="gan")
if args.command == "run":
    out = utils.trace_graph(model, inputs, opts, pef=args.pef, loss_indices=[(0,), (1,)])
    for _i in range(args.steps):
        batch = samba.from_named_dict(
            {"real": torch.tanh(torch.randn(args.batch_size, 16) + 1), "noise": torch.randn(args.batch_size, 8)}
        )
        d, g, fake = samba.session.run(batch, out, hyperparam_dict={"g_lr": 1e-3, "d_lr": 2e-3})
    print(f"d {d.item():.3f} g {g.item():.3f}", samba.to_torch(fake).mean().item())
elif args.command == "test":
    out = utils.trace_graph(model, inputs, opts, pef=args.pef, loss_indices=[0, 1])
    found = samba.session.run(inputs, out, section_types=["fwd", "bckwd"])
    gold = model(*inputs)
    (gold[0] + gold[1]).backward()
    for n, p in model.named_parameters():
        utils.assert_close(p.sn_grad, p.grad, n, 1e-4)
    print("gan ok")
