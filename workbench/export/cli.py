"""`snc export`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from compiler.cli import CONTEXT
from ir.ending import exit_status


@click.command("export", short_help="Write a graph for other tools.", context_settings=CONTEXT)
@click.argument("pef", type=click.Path(path_type=Path))
@click.option("--what", type=click.Choice(["ir", "sections", "stages", "netlist"]), default="stages", show_default=True)
@click.option("--format", "form", type=click.Choice(["graphml", "dot", "json"]), default="json", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file; default: standard output.")
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an unforeseen error.")
def export(pef: Path, what: str, form: str, output: Path | None, verbose: bool) -> None:
    """Write what is in a PEF as a graph for other tools.

    \b
    ir        operators, symbols, the values between them, source lines
    sections  sections, and the symbols that they leave in memory for one another
    stages    stages, buffers and streams of every configuration
    netlist   units at their sites, and the nets between them

    \b
      snc export out/m/m.pef --what stages --format dot | dot -Tsvg > stages.svg
      snc export out/m/m.pef -o m.json

    In Python, the JSON is read by networkx.node_link_graph(json.load(open("m.json")), edges="edges").
    """

    def run() -> bool:
        from pef.file import read
        from pef.files import write_bytes
        from workbench.export.formats import FORMATS
        from workbench.export.graphs import export_graph

        text = FORMATS[form](export_graph(read(pef), what))
        if output is None:
            click.echo(text, nl=not text.endswith("\n"))
        else:
            write_bytes(output, text.encode())
        return True

    sys.exit(exit_status(run, verbose))
