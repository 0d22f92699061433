"""A convolutional VAE with noise as an input."""

import torch
from torch import nn
from torch.nn import functional as F

import sambaflow.samba as samba
import sambaflow.samba.utils as utils
from sambaflow.mac.metadata import ConvTilingMetadata
from sambaflow.samba.utils.argparser import parse_app_args
from sambaflow.samba.utils.pef_utils import PefInfoStruct, get_pef_info, get_pefmeta


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.mu, self.logvar = nn.Linear(16 * 16, 4), nn.Linear(16 * 16, 4)
        self.lift = nn.Linear(4, 16 * 16)
        self.dec = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 2, 2), nn.ReLU(), nn.ConvTranspose2d(8, 1, 2, 2), nn.Sigmoid()
        )

    def forward(self, image, noise):
        h = self.enc(image).flatten(1)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + noise * torch.exp(0.5 * logvar)
        out = self.dec(F.relu(self.lift(z)).view(-1, 16, 4, 4))
        recon = F.binary_cross_entropy(out, image, reduction="mean")
        kl = -0.5 * torch.mean(1 + logvar - mu.pow(2) - logvar.exp())
        return {"loss": recon + 0.01 * kl, "recon": recon, "kl": kl, "image": out}


def main():
    args = parse_app_args(common_parser_fn=lambda p: (p.add_argument("--steps", type=int, default=50), None)[1])
    utils.set_seed(0)
    model = VAE()
    samba.from_torch_model_(model)
    inputs = {
        "image": samba.randn(args.batch_size, 1, 16, 16, name="image", batch_dim=0),
        "noise": samba.randn(args.batch_size, 4, name="noise", batch_dim=0),
    }
    opt = samba.optim.AdamW(model.parameters(), lr=1e-3)
    if args.command == "compile":
        meta = get_pefmeta(args, model)
        meta["input_shapes"] = [list(t.shape) for t in inputs.values()]
        samba.session.compile(
            model,
            inputs,
            optimizers=opt,
            name="vae",
            config_dict=vars(args),
            pef_metadata=meta,
            metadata={ConvTilingMetadata.key: ConvTilingMetadata(original_size=[16, 16])},
        )
        return
    if args.command in ("run", "test"):
        info = get_pef_info(args.pef, {"input_shapes": PefInfoStruct(None), "batch_size": PefInfoStruct(1)})
        assert info["batch_size"] == args.batch_size
        out = utils.trace_graph(model, inputs, opt, pef=args.pef, loss_indices=[0])
    if args.command == "run":
        g = torch.Generator().manual_seed(0)
        images = (torch.rand(args.batch_size, 1, 16, 16, generator=g) > 0.7).float()
        samba.session.start_runtime_profile()
        losses = []
        for _i in range(args.steps):
            with samba.session.profiler.event("step"):
                r = samba.session.run(
                    {"image": images, "noise": torch.randn(args.batch_size, 4)}, out, hyperparam_dict={"lr": 5e-3}
                )
            losses.append(r[0].item())
        samba.session.end_runtime_profile("vae_profile.txt")
        print(losses[0], losses[-1], [t.shape for t in r])
        assert losses[-1] < losses[0]
    elif args.command == "test":
        x = {"image": samba.rand(args.batch_size, 1, 16, 16, name="image"), "noise": inputs["noise"]}
        r = samba.session.run(x, section_types=["fwd", "bckwd"])
        gold = model(**x)
        gold["loss"].backward()
        for a, (k, b) in zip(r, gold.items()):
            utils.assert_close(a, b, k, 1e-4)
        for n, p in model.named_parameters():
            utils.assert_close(p.sn_grad, p.grad, n, 1e-4)
        print("vae ok")
    elif args.command == "measure-performance":
        utils.trace_graph(model, inputs, opt, pef=args.pef)
        utils.measure_performance(
            model, inputs, args.batch_size, 1, args.inference, n_iterations=3, json_counters=args.json_counters
        )


main()
