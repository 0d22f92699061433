"""A cache on the device, written and read by index, in two graphs."""

import sys

import torch
from torch import nn

from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.graph import FwdGraph
from sambaflow.samba.sn_private import sn_gather, sn_scatter
from sambaflow.samba.utils.argparser import parse_app_args


class Write(nn.Module):
    def __init__(self, proj):
        super().__init__()
        self.proj = proj

    def forward(self, token, at, cache):
        k = self.proj(token)  # [b, 1, d]
        return {"cache": sn_scatter(cache, k.unsqueeze(1), at, [0], batched_dims=1)}


class Read(nn.Module):
    def __init__(self, proj):
        super().__init__()
        self.proj = proj

    def forward(self, at, cache):
        row = sn_gather(cache, at, [0], [1], batched_dims=1).squeeze(1)
        return row, cache.sum(1)


args = parse_app_args(sys.argv[1:])
utils.set_seed(0)
proj = nn.Linear(4, 6)


def graphs():
    for name, cls in (("write", Write), ("read", Read)):
        cache = samba.SambaTensor(name="cache_in", shape=(2, 5, 6), dtype=torch.float32, region_name="kv")
        at = samba.randint(5, (2, 1, 1), name="at", dtype=torch.int32)
        inputs = (
            {"token": samba.randn(2, 1, 4, name="token"), "at": at, "cache": cache}
            if name == "write"
            else {"at": at, "cache": cache}
        )
        outs = utils.trace_multigraph(cls(proj), inputs, trace_prefix=name + "_")
        if name == "write":
            outs[0].sn_region_name = "kv"
        samba.session.add_graph(FwdGraph(inputs, outs, name=name))


graphs()
if args.command == "compile":
    samba.session.compile_multigraph(name="kv", config_dict=vars(args), inference=True)
elif args.command == "run":
    samba.session.init_multigraph_runtime(args.pef)
    want = torch.zeros(2, 5, 6)
    for step in range(5):
        token = torch.randn(2, 1, 4)
        at = torch.tensor([[[step]], [[4 - step]]], dtype=torch.int32)
        samba.session.run({"token": token, "at": at}, graph_name="write")
        with torch.no_grad():
            k = samba.to_torch(proj(token))
        want[0, step], want[1, 4 - step] = k[0, 0], k[1, 0]
    row, total = samba.session.run({"at": torch.tensor([[[1]], [[2]]], dtype=torch.int32)}, graph_name="read")
    utils.assert_close(row[:, 0], torch.stack([want[0, 1], want[1, 2]]), "row", 1e-5)
    utils.assert_close(total, want.sum(1), "total", 1e-5)
    print("kv ok")
