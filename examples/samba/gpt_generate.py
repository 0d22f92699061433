"""Generating text with a key-value cache: two graphs in one PEF that share the cache on the device.

    python gpt_generate.py compile --inference --pef-name=generate
    python gpt_generate.py run --inference --pef=out/generate/generate.pef --checkpoint gpt.pt --prompt "the quick"

`prefill` reads the whole prompt and fills the cache; `decode` reads one token, updates the cache in place and gives the
next token's logits. Inputs and outputs that are the cache have one region name, so it never leaves the device.
"""

from __future__ import annotations

import argparse
import sys

import torch
from gpt import GPT, Config, decode_text, encode_text
from torch import Tensor, nn

from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.graph import FwdGraph
from sambaflow.samba.utils.argparser import parse_app_args
from sambaflow.samba.utils.pef_utils import PefInfoStruct, get_pef_info


class Prefill(nn.Module):
    """The model over a whole prompt; returns logits and the cache of every layer."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, position_ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits [1, length, vocabulary], and keys and values of every layer."""
        return self.model.encode(input_ids, position_ids)


class Decode(nn.Module):
    """The model over one token after a cache; returns logits and the updated cache."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, token: Tensor, position: Tensor, here: Tensor, cache: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits [1, 1, vocabulary], and keys and values of every layer; `here` [length] is one at the position."""
        x = self.model.wte(token) + self.model.wpe(position)
        updated: list[Tensor] = []
        for block, keys, values in zip(self.model.h, cache[::2], cache[1::2]):
            change, keys, values = block.attn.step(block.ln_1(x), keys, values, here)
            x = block.feed_forward(x + change)
            updated += [keys, values]
        return self.model.lm_head(self.model.ln_f(x)), updated


def trace_graphs(model: GPT) -> None:
    """Trace both graphs, let them share the cache, and add them to the session."""
    config = model.config
    prompt = {
        "input_ids": samba.randint(config.vocabulary, (1, config.length), name="input_ids"),
        "position_ids": samba.from_torch_tensor(torch.arange(config.length)[None], name="position_ids"),
    }
    shape = (1, config.heads, config.length, config.width // config.heads)
    names = [f"{part}_{layer}" for layer in range(config.layers) for part in ("key", "value")]
    cache = [samba.SambaTensor(name=f"past_{name}", region_name=f"cache_{name}", shape=shape) for name in names]
    token = {
        "token": samba.randint(config.vocabulary, (1, 1), name="token"),
        "position": samba.randint(config.length, (1, 1), name="position"),
        "here": samba.from_torch_tensor(torch.zeros(config.length), name="here"),
        "cache": cache,
    }
    for name, module, inputs in (("prefill", Prefill(model), prompt), ("decode", Decode(model), token)):
        outputs = utils.trace_multigraph(module, inputs, trace_prefix=f"{name}_")
        for tensor, region in zip(outputs[1:], names):
            tensor.sn_region_name = f"cache_{region}"
        samba.session.add_graph(FwdGraph(inputs, outputs, name=name))


def generate(model: GPT, prompt: str, count: int) -> str:
    """The prompt and the `count` most likely letters after it."""
    config = model.config
    letters = encode_text(prompt)
    padded = torch.zeros(1, config.length, dtype=torch.int64)
    padded[0, : len(letters)] = letters
    inputs = {
        "input_ids": samba.from_torch_tensor(padded, name="input_ids"),
        "position_ids": samba.from_torch_tensor(torch.arange(config.length)[None], name="position_ids"),
    }
    logits = samba.to_torch(samba.session.run(inputs, graph_name="prefill")[0])
    found = letters.tolist()
    following = int(logits[0, len(found) - 1].argmax())
    while len(found) < min(len(letters) + count, config.length):
        found.append(following)
        place = len(found) - 1
        inputs = {
            "token": samba.from_torch_tensor(torch.tensor([[following]]), name="token"),
            "position": samba.from_torch_tensor(torch.tensor([[place]]), name="position"),
            "here": samba.from_torch_tensor((torch.arange(config.length) == place).float(), name="here"),
        }
        logits = samba.to_torch(samba.session.run(inputs, graph_name="decode")[0])
        following = int(logits[0, 0].argmax())
    return decode_text(found)


def generate_on_host(model: GPT, prompt: str, count: int) -> str:
    """The same in PyTorch, without a cache: what the device is compared with."""
    found = encode_text(prompt).tolist()
    with torch.no_grad():
        while len(found) < min(len(prompt) + count, model.config.length):
            ids = torch.tensor([found])
            logits, _ = model.encode(ids, torch.arange(len(found))[None])
            found.append(int(samba.to_torch(logits)[0, -1].argmax()))
    return decode_text(found)


def add_run_args(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument("--checkpoint", default="", help="weights, as gpt_finetune.py saves them")
    parser.add_argument("--prompt", default="the quick ")
    parser.add_argument("--count", type=int, default=16)


def main(argv: list[str]) -> None:
    """The verbs."""
    args = parse_app_args(argv, run_parser_fn=add_run_args)
    utils.set_seed(0)
    model = GPT(Config())
    samba.from_torch_model_(model)
    if args.command == "run" and args.checkpoint:
        model.load_state_dict(torch.load(args.checkpoint))
    trace_graphs(model)
    if args.command == "compile":
        metadata = {"lengths": [model.config.length], "vocabulary": model.config.vocabulary}
        samba.session.compile_multigraph(name="generate", config_dict=vars(args), pef_metadata=metadata)
        return
    compiled = get_pef_info(args.pef, {"lengths": PefInfoStruct([32])})
    print(f"compiled for {compiled['lengths'][0]} letters")
    samba.session.init_multigraph_runtime(args.pef)
    print(f"device: {generate(model, args.prompt, args.count)!r}")
    print(f"host:   {generate_on_host(model, args.prompt, args.count)!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
