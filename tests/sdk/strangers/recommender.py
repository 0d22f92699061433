"""Embeddings of int32 categories, two optimizers, targets that randn makes."""

import sys

import torch
from torch import nn

import sambaflow.samba as samba
import sambaflow.samba.utils as utils
from sambaflow.samba.utils.argparser import parse_app_args
from sambaflow.samba.utils.common import common_app_driver


class Rec(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(n, 8) for n in (20, 30, 40)])
        self.bottom = nn.Sequential(nn.Linear(5, 8), nn.ReLU())
        self.top = nn.Linear(8 + 6, 1)
        self.criterion = nn.BCELoss()

    def forward(self, dense, categories, clicked):
        parts = [self.bottom(dense)] + [t(categories[:, i]) for i, t in enumerate(self.tables)]
        stacked = torch.stack(parts, 1)
        pairs = torch.bmm(stacked, stacked.transpose(1, 2))
        i, j = torch.triu_indices(4, 4, 1)
        x = torch.cat([parts[0], pairs[:, i, j]], 1)
        p = torch.sigmoid(self.top(x)).squeeze(1)
        return self.criterion(p, clicked), p


args = parse_app_args(sys.argv[1:])
utils.set_seed(0)
model = Rec()
samba.from_torch_model_(model)
b = args.batch_size
inputs = (
    samba.randn(b, 5, name="dense", batch_dim=0),
    samba.randint(1000, (b, 3), name="categories", batch_dim=0, dtype=torch.int32),
    samba.randn(b, name="clicked", batch_dim=0),
)
opts = [
    samba.optim.SGD(model.tables.parameters(), lr=0.1),
    samba.optim.SGD([*model.bottom.parameters(), *model.top.parameters()], lr=0.1, weight_decay=0.01),
]
real = (
    inputs[0],
    samba.randint(20, (b, 3), name="categories", dtype=torch.int32),
    samba.from_torch_tensor((torch.rand(b) > 0.5).float(), name="clicked"),
)
if args.command != "measure-performance":
    common_app_driver(args, model, inputs, opts, name="rec")
if args.command == "run":
    out = utils.trace_graph(model, inputs, opts, pef=args.pef)
    first = None
    for _i in range(50):
        loss, p = samba.session.run(real, out, hyperparam_dict={"lr": 0.5})
        first = first or loss.item()
    print(first, loss.item())
    assert loss.item() < first
elif args.command == "test":
    out = utils.trace_graph(model, inputs, opts, pef=args.pef)
    r = samba.session.run(real, out, section_types=["fwd", "bckwd"])
    g = model(*real)
    g[0].backward()
    utils.assert_close(r[0], g[0], "loss", 1e-5)
    for n, p in model.named_parameters():
        utils.assert_close(p.sn_grad, p.grad, n, 1e-5)
    print("rec ok")
elif args.command == "measure-performance":
    common_app_driver(args, model, real, opts)
