"""Structured arguments, a model without weights, kept through a checkpoint."""

import sys

import torch
from torch import nn

from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.argconf.args import CompileArgs, RunArgs
from sambaflow.samba.lazy_param import lazy_param
from sambaflow.samba.utils.pef_utils import PefInfoStruct, get_pef_info, get_pefmeta_dict


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(30, 16)
        self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in range(3)])
        self.out = nn.Linear(16, 4)
        self.register_buffer("scale", torch.full((16,), 0.5))

    def forward(self, ids):
        x = self.emb(ids).mean(1) * self.scale
        for layer in self.layers:
            x = x + torch.nn.functional.silu(layer(x))
        return self.out(x)


command = sys.argv[1]
pef = next((a.split("=")[1] for a in sys.argv if a.startswith("--pef=")), "")
folder = next((a.split("=")[1] for a in sys.argv if a.startswith("--output-folder=")), "out")
with lazy_param():
    model = Tower()
samba.from_torch_model_(model)
ids = samba.SambaTensor(name="ids", shape=(4, 7), dtype=torch.int64, batch_dim=0)
if command == "compile":
    cfg = CompileArgs(
        output_folder=folder,
        pef_name="structured",
        batch_size=4,
        inference=True,
        arch="sn40",
        optim_level="o1",
        use_air_ce=True,
    )
    samba.session.setup(cfg)
    print(
        samba.session.compile(
            model,
            (ids,),
            None,
            name="tower",
            config_dict=cfg.model_dump(),
            pef_metadata={"pydantic_app_args": {"a": [1, 2.5, None, "x"]}, **get_pefmeta_dict(cfg.model_dump(), model)},
        )
    )
else:
    samba.session.setup(RunArgs(pef=pef, inference=True))
    info = get_pef_info(pef, {"pydantic_app_args": PefInfoStruct({})})
    assert info["pydantic_app_args"] == {"a": [1, 2.5, None, "x"]}
    traced = utils.trace_graph(model, (ids,), pef=pef)
    real = samba.randint(30, (4, 7), name="ids")
    out = samba.session.run((real,), traced)
    model.eval()
    utils.assert_close(out[0], model(real), "out", 1e-4)
    print("structured ok", samba.to_torch(out[0]).std().item())
