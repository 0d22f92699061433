"""`snrun`: run a PEF on the simulated machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ir.version import VERSION


def _hyper(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """`name=number` pairs."""
    pairs: dict[str, float] = {}
    for text in values:
        name, separator, number = text.partition("=")
        try:
            pairs[name] = float(number)
        except ValueError:
            separator = ""
        if not separator or not name:
            raise click.BadParameter(f"{text!r} is not name=number, such as lr=0.01")
    return pairs


FILE = click.Path(path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
COUNT = click.IntRange(min=1)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("pef", type=FILE)
@click.option("--input", "--data", "data", type=FILE, help="Named arrays (.npz) for the inputs; any number of samples.")
@click.option("--weights", type=FILE, help="Weights (.safetensors, .npz, .pt); default: the file beside the PEF.")
@click.option("--output", type=FOLDER, help="Where results go; default: results/ beside the PEF.")
@click.option("--hyper", multiple=True, callback=_hyper, metavar="NAME=NUMBER", help="A hyper-parameter; repeatable.")
@click.option("--train", is_flag=True, help="Train: forward, backward and update sections.")
@click.option("--steps", type=COUNT, help="Training steps of this run (after --resume: steps more).")
@click.option("--epochs", type=COUNT, help="Instead of --steps: passes over the data.")
@click.option("--seed", type=click.IntRange(min=0), help="Order of the training samples; default 0.")
@click.option("--log-every", type=COUNT, default=1, show_default=True, help="Print the loss every so many steps.")
@click.option("--checkpoint-every", type=COUNT, help="Write a checkpoint every so many steps.")
@click.option("--checkpoint-dir", type=FOLDER, help="Where checkpoints go; default: checkpoints/ beside the PEF.")
@click.option("--resume", type=FILE, help="Continue exactly from a checkpoint.")
@click.option("--accept-recompiled", is_flag=True, help="Of --resume: the same program, mapped anew, may continue.")
@click.option("--test", is_flag=True, help="Compare the outputs with a reference; exit status 1 if they differ.")
@click.option("--reference", type=FILE, help="Expected outputs (.npz); default: <name>.reference.npz beside the PEF.")
@click.option("--rtol", type=float, help="Relative tolerance of --test; default 1e-3, with bf16 2^-6.")
@click.option("--atol", type=float, help="Absolute tolerance of --test; default 1e-4, with bf16 2^-6.")
@click.option("--profile", is_flag=True, help="Print where the simulated time of a whole step goes.")
@click.option("--trace", type=click.Path(dir_okay=False, path_type=Path), help="Write the simulated time for Perfetto.")
@click.option("--timing-only", is_flag=True, help="Simulate the time, compute no numbers.")
@click.option("-ws", "--world-size", type=COUNT, help="Simulated time: that of one of so many replicas.")
@click.option("--reduce-on-rdu", is_flag=True, help="Simulated time: gradients go from RDU to RDU, not by the host.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="On a node that is taken: wait so long.")
@click.option("--gres", metavar="rdu:N|rdu_tile:N", help="On a node: hold so many RDUs or tiles, as in Slurm's --gres.")
@click.option("--threads", type=COUNT, help="Host threads; default: all cores. Never changes a result.")
@click.option("--strict", is_flag=True, help="Run slice by slice as the PEF is defined: slow, on one thread.")
@click.option("--top", type=click.IntRange(min=0), default=10, show_default=True, help="Rows of a table; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-v", "--verbose", is_flag=True, help="Print sections, symbols and plans too.")
@click.option("-q", "--quiet", is_flag=True, help="Print results only: losses, comparisons, reports.")
@click.version_option(VERSION, prog_name="snrun")
def main(**options: object) -> None:
    """Run a PEF on the simulated RDU: inference, or training with --train.

    Without --input, the inputs recorded when the model was compiled are used. Simulated time (of the RDU) and host
    time (of this computer) are always labelled as such.
    """
    from ir.ending import exit_status

    def run() -> bool:
        from runtime.snrun.command import Options, execute

        return execute(Options(**options))  # type: ignore[arg-type]

    sys.exit(exit_status(run, verbose=bool(options["verbose"])))


if __name__ == "__main__":
    main()
