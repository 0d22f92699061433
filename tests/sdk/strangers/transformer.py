"""A small transformer with per-token losses, several optimizers and gradient clipping."""

import math
import os
import sys

import torch
from torch import nn

import sambaflow.samba as samba
import sambaflow.samba.utils as utils
from sambaflow.logging import samba_logger
from sambaflow.samba.directives import op_fusion
from sambaflow.samba.utils.argparser import parse_app_args
from sambaflow.sambacollections import OrderedSet


class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h = h
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.proj = nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d), nn.Dropout(0.0))
        self._rope = None

    def rope(self, x):
        if self._rope is None:
            t, e = x.shape[-2:]
            a = torch.outer(torch.arange(t).float(), 1.0 / 10000 ** (torch.arange(e // 2) / (e // 2)))
            self._rope = a.cos(), a.sin()
        c, s = self._rope
        a, b = x.chunk(2, -1)
        return torch.cat([a * c - b * s, b * c + a * s], -1)

    def forward(self, x, mask):
        b, t, d = x.shape
        with op_fusion(func_name="MHA", heuristic="MHA"):
            q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.h, d // self.h).permute(2, 0, 3, 1, 4)
            q, k = self.rope(q), self.rope(k)
            w = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(d // self.h)
            w = samba.triu_fill(w, -1e9) + mask[:, None, None, :]
            a = torch.matmul(w.softmax(-1), v).transpose(1, 2).reshape(b, t, d)
            x = x + self.proj(a)
        return x + self.mlp(self.ln2(x))


class LM(nn.Module):
    def __init__(self, vocab=50, d=32, h=4, n=2, t=16):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, d), nn.Embedding(t, d)
        self.blocks = nn.ModuleList([Block(d, h) for _ in range(n)])
        self.ln = nn.LayerNorm(d)
        self.head = nn.Linear(d, vocab, bias=False)
        self.criterion = nn.CrossEntropyLoss(reduction="none")

    def forward(self, input_ids, attention_mask=None, position_ids=None, labels=None):
        x = self.wte(input_ids) + self.wpe(position_ids)
        mask = (1.0 - attention_mask) * -1e9 if attention_mask is not None else torch.zeros(1, x.shape[1])
        for b in self.blocks:
            x = b(x, mask)
        logits = self.head(self.ln(x))
        if labels is None:
            return logits
        return self.criterion(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)), logits


def inputs_(args):
    b, t = args.batch_size, 16
    ids = samba.randint(50, (b, t), name="input_ids", batch_dim=0, dtype=torch.int16)
    mask = samba.from_torch_tensor(torch.ones(b, t), name="attention_mask", batch_dim=0)
    pos = samba.from_torch_tensor(
        torch.arange(t).expand(b, t).contiguous().to(torch.int32), name="position_ids", batch_dim=0
    )
    labels = samba.randint(50, (b, t), name="labels", batch_dim=0, dtype=torch.int16)
    return (ids, mask, pos) if args.inference else (ids, mask, pos, labels)


def main(argv):
    args = parse_app_args(argv=argv, run_parser_fn=lambda p: p.add_argument("--steps", type=int, default=60))
    utils.set_seed(1)
    model = LM()
    samba.from_torch_model_(model)
    inputs = inputs_(args)
    optims = None
    if not args.inference:
        emb = OrderedSet(list(model.wte.parameters()) + list(model.wpe.parameters()))
        rest = [p for p in model.parameters() if p not in emb]
        optims = [
            samba.optim.AdamW(list(emb), lr=1e-3, max_grad_norm=1.0, argin_region_name="emb_"),
            samba.optim.AdamW(rest, lr=1e-3, weight_decay=0.1, max_grad_norm=1.0),
        ]
    if args.command == "compile":
        path = samba.session.compile(
            model, inputs, optims, name="lm", config_dict=vars(args), init_output_grads=not args.inference
        )
        assert os.path.exists(path)
        return
    traced = utils.trace_graph(model, inputs, optims, pef=args.pef, init_output_grads=False)
    if args.command == "run" and args.inference:
        logits = samba.session.run(inputs, traced, section_types=["fwd"])[0]
        model.eval()
        utils.assert_close(logits, model(*inputs), "logits", threshold=1e-3)
    elif args.command == "run":
        traced[0].sn_grad = torch.ones(traced[0].shape) / traced[0].numel()
        ids = (torch.arange(17).repeat(args.batch_size, 1) * 3 + torch.arange(args.batch_size)[:, None]) % 50
        losses = []
        for _i in range(args.steps):
            batch = (
                samba.from_torch_tensor(ids[:, :-1].short(), name="input_ids"),
                inputs[1],
                inputs[2],
                samba.from_torch_tensor(ids[:, 1:].short(), name="labels"),
            )
            out = samba.session.run(
                batch,
                traced,
                hyperparam_dict={"lr": 3e-3, "emb_lr": 1e-3},
                section_types=["FWD", "BCKWD", "GRADNORM", "OPT"],
            )
            losses.append(samba.to_torch(out[0]).float().mean().item())
        samba_logger.info("done", log_limit=1)
        print(losses[0], losses[-1])
        assert losses[-1] < losses[0] / 3
        samba.session.to_cpu(model, optims)
        torch.save({"m": model.state_dict(), "o": [o.state_dict() for o in optims]}, "lm.pt")
        torch.load("lm.pt")
    elif args.command == "test":
        from sambaflow.samba.test import TestWithGold

        TestWithGold(args, "lm", model, inputs, optims).test()
    elif args.command == "measure-performance":
        _thr, _lat = utils.measure_performance(
            model,
            inputs,
            args.batch_size,
            args.n_chips,
            args.inference,
            n_iterations=args.num_iterations,
            json=args.bench_report_json,
        )


main(sys.argv[1:])
