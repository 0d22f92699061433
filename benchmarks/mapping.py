"""How much of the machine a mapping uses: large models against the roofline.

    python -m benchmarks.mapping                                  every model on SN30 and SN40L
    python -m benchmarks.mapping llama-2-7b-prefill --arch sn30 --layers 2 --json
    python -m benchmarks.mapping gpt-2-xl-training --unplaced     without place and route, in a fraction of the time

A model is captured without content, mapped in bf16 (`mp4`), placed and routed, checked, and simulated. Its share of the
roofline is max(FLOPs / peak, compulsory bytes / bandwidth) / simulated time. FLOPs are counted by PyTorch's own counter
on the eager model. Compulsory are weights, inputs, outputs and buffers once each; for training also gradients and
optimizer state once each, and what is saved for the backward pass twice: written and read. What does not fit the
fastest tier counts at the rate of the next.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click
import torch
from torch.utils.flop_counter import FlopCounterMode

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import load_machine
from benchmarks.mapping_models import MODELS, Workload
from benchmarks.unplaced import compile_unplaced
from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from compiler.update_fusion import fused_where_it_pays
from ir.errors import SncError
from ir.graph import Program, SymbolKind
from pef.check import check
from pef.machine import Machine, SiteKind
from runtime.timing import simulate


@dataclass(frozen=True)
class Row:
    """One model on one machine; times are simulated milliseconds, or seconds of this computer's clock where so named.
    The peak of memory is that of this process: those that cut graphs beside it take less."""

    model: str
    arch: str
    layers: int | None
    simulated_ms: float
    roofline_ms: float
    predicted_ms: float
    dram_gb: float
    compulsory_gb: float
    sections: int
    configurations: int
    compile_s: float
    peak_gib: float

    @property
    def share(self) -> float:
        """The part of the roofline that is reached."""
        return self.roofline_ms / self.simulated_ms


def flops(workload: Workload) -> int:
    """Floating-point operations of one run, with the backward pass where the model is trained."""
    inputs = {name: tensor.to("meta") for name, tensor in workload.inputs.items()}
    if workload.masked:  # without a mask the library looks into the tokens, which have no content
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    counter = FlopCounterMode(display=False)
    with counter:
        if workload.training:
            result = workload.model(**inputs)
            loss = result if isinstance(result, torch.Tensor) else result[0]
            loss.backward()
        else:
            with torch.no_grad():
                workload.model(**inputs)
    workload.model.zero_grad()
    return int(counter.get_total_flops())


TIMES = {
    SymbolKind.PARAMETER: 1,
    SymbolKind.INPUT: 1,
    SymbolKind.OUTPUT: 1,
    SymbolKind.BUFFER: 1,
    SymbolKind.CONSTANT: 1,
    SymbolKind.GRADIENT: 1,
    SymbolKind.STATE: 1,
    SymbolKind.ACTIVATION: 2,
}
"""How often a symbol of a kind has to cross the memory's pins."""


def compulsory_bytes(program: Program) -> int:
    """Bytes that have to be moved whatever the mapping."""
    return sum(TIMES.get(symbol.kind, 0) * symbol.type.nbytes for symbol in program.symbols)


def roofline_ms(operations: int, nbytes: int, program: Program, machine: Machine) -> float:
    """The least time of so many operations and so much traffic, of which the fastest tier serves what it can hold."""
    pcus = len(machine.working_sites(SiteKind.PCU))
    peak = pcus * machine.pcu_lanes * machine.pcu_stages * 2 * machine.clock_ghz * 1e9
    held = sum(symbol.type.nbytes for symbol in program.symbols)
    left, memory_s = 1.0, 0.0
    for tier in machine.tiers:
        part = min(left, tier.capacity_bytes / held) if tier is not machine.tiers[-1] else left
        memory_s += part * nbytes / tier.bandwidth_bytes_per_s
        left -= part
    return 1e3 * max(operations / peak, memory_s)


def captured(name: str, workload: Workload) -> Program:
    """A model in bf16, with AdamW where it is trained."""
    optimizer = torch.optim.AdamW(workload.model.parameters()) if workload.training else None
    spec = ModelSpec(workload.model, workload.inputs, optimizer=optimizer, name=name)
    return PassManager(standard_pipeline("mp4")).run(capture(spec, inference=not workload.training).program)


def measure(name: str, arch: str, layers: int | None, *, placed: bool = True) -> Row:
    """Map and simulate one model."""
    workload = MODELS[name](layers)
    operations = flops(workload)
    start = time.perf_counter()
    program = captured(name, workload)
    machine = load_machine(arch)
    if placed:
        pef = compile_program(fused_where_it_pays(program), machine, BackendOptions())
        check(pef)
    else:
        pef = compile_unplaced(fused_where_it_pays(program), machine)
    compile_s = time.perf_counter() - start
    report = simulate(pef)
    milliseconds = 1 / machine.cycles(1e3)
    nbytes = compulsory_bytes(program)
    moved = sum(sum(s.execution.read_bytes) + sum(s.execution.write_bytes) for s in report.sections)
    return Row(
        name,
        arch,
        layers,
        sum(section.cycles for section in report.sections) * milliseconds,
        roofline_ms(operations, nbytes, program, machine),
        sum(s.prediction.cycles + s.prediction.load_cycles for s in pef.sections) * milliseconds,
        moved / 1e9,
        nbytes / 1e9,
        len(pef.sections),
        len(pef.configurations),
        compile_s,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20),
    )


HEADINGS = ("model", "arch", "simulated ms", "roofline", "predicted", "DRAM GB", "compulsory", "sections", "compile s")


def _cells(row: Row) -> Iterator[str]:
    yield row.model + (f" ({row.layers} layers)" if row.layers else "")
    yield row.arch
    yield f"{row.simulated_ms:,.2f}"
    yield f"{100 * row.share:.0f} %"
    yield f"{row.predicted_ms:,.2f}"
    yield f"{row.dram_gb:.2f}"
    yield f"{row.compulsory_gb:.2f}"
    yield f"{row.sections} of {row.configurations}"
    yield f"{row.compile_s:.0f}"


@click.command(help=__doc__)
@click.argument("models", nargs=-1, type=click.Choice(list(MODELS)))
@click.option("--arch", "archs", multiple=True, default=("sn30", "sn40l"), show_default=True, help="Machines.")
@click.option("--layers", type=int, help="Layers instead of the published depth.")
@click.option("--unplaced", is_flag=True, help="Neither place nor route: every unit is wired directly.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def main(models: tuple[str, ...], archs: tuple[str, ...], layers: int | None, unplaced: bool, as_json: bool) -> None:
    """Print a row for every model and machine."""
    if not as_json:
        click.echo(" | ".join(HEADINGS))
    for name in models or MODELS:
        for arch in archs:
            try:
                row = measure(name, arch, layers, placed=not unplaced)
            except SncError as error:
                click.echo(f"{name} | {arch} | {error}")
                continue
            click.echo(json.dumps({**asdict(row), "share": row.share}) if as_json else " | ".join(_cells(row)))


if __name__ == "__main__":
    main()
