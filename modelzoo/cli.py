"""`snc zoo`: the models there are, what is known of each, and running one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ir.ending import readable_errors, show_messages
from pef.tables import Column, print_table, text
from pef.wording import counted, duration
from pef.wording import size as size_of

if TYPE_CHECKING:
    from rich.console import Console

    from modelzoo.combination import Combination
    from modelzoo.entry import Entry


@click.group("zoo")
def zoo() -> None:
    """Models that are ready for the RDU.

    \b
      snc zoo list          what there is
      snc zoo show braggnn  its card: sizes, quality, simulated time
      snc zoo run braggnn   train its tiny configuration, beside PyTorch
    """
    show_messages()


@zoo.command("list")
def list_command() -> None:
    """List the models."""
    with readable_errors():
        from rich.console import Console

        from modelzoo.catalogue import NAMES, find

        console = Console()
        print_models([find(name) for name in NAMES], console if console.is_terminal else Console(width=120))


def print_models(entries: Sequence[Entry], console: Console) -> None:
    """Print what there is, as a table."""
    columns: list[Column[Entry]] = [
        text("name", lambda entry: entry.name),
        text("what it is", lambda entry: entry.about),
        text("configurations", lambda entry: ", ".join(entry.sizes)),
    ]
    print_table(console, counted(len(entries), "model"), columns, entries)


@zoo.command("show")
@click.argument("name")
def show_command(name: str) -> None:
    """Show the card of a model."""
    with readable_errors():
        from modelzoo.card import read
        from modelzoo.catalogue import find

        click.echo(read(find(name)))


@zoo.command("run", short_help="Train a tiny configuration beside PyTorch.")
@click.argument("name")
@click.option("--size", default="tiny", show_default=True, help="Sizes other than tiny are compiled and timed.")
@click.option("--inference", is_flag=True, help="Of other sizes: forward only.")
@click.option("-b", "--batch-size", type=click.IntRange(min=1), help="Default: the configuration's.")
@click.option("--length", type=click.IntRange(min=1), help="Of sequences; default: the configuration's.")
@click.option("--arch", default="sn30", show_default=True, metavar="sn10|sn30|sn40l|FILE")
@click.option("--epochs", type=click.IntRange(min=1), help="Default: what it takes to reach the stated quality.")
@click.option("-o", "--output-folder", type=click.Path(path_type=Path), default=Path("out"), show_default=True)
@click.option("--log-every", type=click.IntRange(min=1), default=20, show_default=True)
def run_command(
    name: str,
    size: str,
    inference: bool,
    batch_size: int | None,
    length: int | None,
    arch: str,
    epochs: int | None,
    output_folder: Path,
    log_every: int,
) -> None:
    """Train a model's tiny configuration on data made for it, or compile a larger one.

    A combination of batch, length and machine that is not on the card's list is tried all the same, with a warning.
    """
    with readable_errors():
        from modelzoo.catalogue import find
        from modelzoo.combination import Combination, warn_unless_listed

        entry = find(name)
        chosen = entry.size(size)
        mode = "inference" if inference else "training"
        asked = Combination(size, mode, batch_size or chosen.batch, length or chosen.length, arch)
        warn_unless_listed(entry, asked)
        if size != "tiny" or inference:
            _compile(name, asked, output_folder)
            return
        from modelzoo.training import Step
        from modelzoo.trial import try_tiny

        def said(step: Step) -> None:
            if step.number % log_every == 0 or step.number == 1:
                click.echo(f"step {step.number}  loss {step.loss:.5f}")

        trial = try_tiny(entry, output_folder, arch=arch, batch=batch_size, length=length, epochs=epochs, said=said)
        quality = entry.recipe.quality
        click.echo(
            f"{trial.steps} steps on the simulated RDU; {trial.host_seconds:.0f} s of processor time with compiling"
        )
        click.echo(
            f"{quality.told(trial.quality)}; PyTorch with these weights: {quality.shown(trial.quality_in_pytorch)}"
        )
        click.echo(f"losses differ from PyTorch's run by at most {trial.largest_difference:.1e}")
        if trial.verdict is not None:
            click.echo(str(trial.verdict))
        click.echo(f"goal {quality.shown(quality.goal)}: {'reached' if trial.reached else 'missed'}")


def _compile(name: str, asked: Combination, output_folder: Path) -> None:
    from modelzoo.measurement import compile_measured, what_to_compile

    result, found = compile_measured(*what_to_compile(name, asked, output_folder))
    share = found["roofline_us"] / found["simulated_us"]
    click.echo(f"{name}, {asked}: {found['parameters']:,} parameters")
    click.echo(f"{counted(found['sections'], 'section')}, {found['configurations']} different")
    click.echo(f"{duration(found['simulated_us'])} simulated time for all of them, {share:.0%} of the roofline")
    click.echo(f"compiling took {found['processor_seconds']:.1f} s of processor time, {found['host_peak_mib']:,} MiB")
    click.echo(f"PEF {result.pef_path} ({size_of(found['pef_bytes'])})")


@zoo.command("card", short_help="Measure models anew and write their cards.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--size", help="Measure this configuration alone, and keep the rest of the card.")
@click.option(
    "--seeds", "only_seeds", is_flag=True, help="Train from other seeds alone, and keep the rest of the card."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=1800,
    show_default=True,
    help="Seconds of processor time for each compile of a published size.",
)
def card_command(names: tuple[str, ...], size: str | None, only_seeds: bool, limit: int) -> None:
    """Measure models anew and write their cards; all models unless some are named."""
    with readable_errors():
        from modelzoo.card import make, make_seeds
        from modelzoo.catalogue import NAMES, find

        def told(what: str) -> None:
            click.echo(what, err=True)

        for name in names or NAMES:
            if only_seeds:
                make_seeds(find(name), told)
            else:
                make(find(name), size, told, limit)


@zoo.command("prepare", short_help="Make training data of JSON lines.")
@click.option("--input_file_path", "source", type=click.Path(path_type=Path), required=True, help="JSON lines.")
@click.option("--output_path", "folder", type=click.Path(path_type=Path), required=True)
@click.option("--pretrained_tokenizer", "tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--max_seq_length", "length", type=click.IntRange(min=2), required=True)
@click.option("--num_training_splits", "splits", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--dev_ratio", "dev_share", type=click.FloatRange(0, 0.5), default=0.1, show_default=True)
@click.option("--seed", default=42, show_default=True, help="Of the order of articles.")
def prepare_command(
    source: Path, folder: Path, tokenizer: Path, length: int, splits: int, dev_share: float, seed: int
) -> None:
    """Turn JSON lines into the HDF5 files that training reads.

    A line is {"prompt": "...", "completion": "..."}. The number of training splits bounds the number of replicas that
    can train together.
    """
    with readable_errors():
        from transformers import AutoTokenizer

        from modelzoo.data.prompts import prepare

        words = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
        counts = prepare(source, folder, words, length, training_files=splits, dev_share=dev_share, seed=seed)
        for name, count in counts.items():
            click.echo(f"{folder / name}.hdf5: {count} sequences of {length} tokens")
