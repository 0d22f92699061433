"""The time model beside published measurements: GPT-2 training on half an SN30 (DABench-LLM).

    python benchmarks/published.py --layers 1 --layers 12  # one operator per section: a forced mapping, a fair test
    python benchmarks/published.py --layers 1 --fused      # our mapping against the vendor's

Width 1600, 25 heads, sequence 1024, batch 16, everything bf16, four of the eight RDU tiles. Published device time of a
step, in seconds, as read from the source; rows used to choose a constant of the machine: none. Simulated time only:
no numbers are computed, and mapping takes minutes.
"""

from __future__ import annotations

from dataclasses import replace

import click
import torch
from rich.console import Console
from rich.table import Table

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import load_machine
from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from examples.transformer import Transformer
from pef import pef_pb2 as pb
from pef.machine import Machine
from runtime.timing import simulate

WIDTH, HEADS, LENGTH, BATCH, VOCABULARY = 1600, 25, 1024, 16, 50257

PUBLISHED_FUSED_S = {1: 0.314, 6: 0.666, 12: 1.088, 24: 1.934, 36: 2.783}
PUBLISHED_UNFUSED_S = {1: 0.819, 12: 3.584, 24: 6.603, 36: 9.626}


def half_sn30() -> Machine:
    """Four of an SN30's eight RDU tiles, with the memory of the whole socket."""
    whole = load_machine("sn30")
    rows = whole.rows // 2
    agcus = tuple(site for site in whole.agcu_sites if site < rows * whole.columns)
    return replace(whole, name="half an SN30", rows=rows, agcu_sites=agcus)


def compiled(layers: int, *, fused: bool) -> pb.Pef:
    """A GPT-2 of this depth with AdamW, mapped for training."""
    model = Transformer(VOCABULARY, LENGTH, WIDTH, HEADS, layers)
    tokens = {name: torch.randint(VOCABULARY, (BATCH, LENGTH)) for name in ("tokens", "targets")}
    spec = ModelSpec(model, tokens, optimizer=torch.optim.AdamW(model.parameters()))
    program = PassManager(standard_pipeline("mp4")).run(capture(spec, inference=False, recompute=fused).program)
    return compile_program(program, half_sn30(), BackendOptions(fuse=fused))


@click.command()
@click.option("--layers", multiple=True, type=int, default=(1,), show_default=True, help="Depths; repeatable.")
@click.option("--fused", is_flag=True, help="The optimiser's sections instead of one operator each.")
def main(layers: tuple[int, ...], fused: bool) -> None:
    """Simulated against published device time of a training step."""
    published = PUBLISHED_FUSED_S if fused else PUBLISHED_UNFUSED_S
    table = Table(title="GPT-2 1600 wide, sequence 1024, batch 16, mp4, half an SN30: device time of a training step")
    for heading in ("layers", "sections", "simulated s", "published s", "simulated / published"):
        table.add_column(heading, justify="right")
    for depth in layers:
        pef = compiled(depth, fused=fused)
        report = simulate(pef)
        seconds = report.us(report.cycles) / 1e6
        known = published.get(depth)
        ratio = f"{seconds / known:.2f}" if known else "-"
        table.add_row(str(depth), str(len(pef.sections)), f"{seconds:.3f}", f"{known or '-'}", ratio)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
