"""`snc box`: make a box, check it, serve it, and build an image of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from ir.ending import readable_errors

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group("box")
def box() -> None:
    """One model as a service.

    \b
      snc box init mybox --model zoo:braggnn/tiny  a compiled PEF, a box.yaml
      snc box check mybox                          can it serve?
      snc box serve mybox                          HTTP and gRPC, here
      snc box build mybox image --base FOLDER      an OCI image
      snc box containerfile mybox folder           what engines build from
    """


@box.command("init", short_help="Make a box: compile, and write box.yaml.")
@click.argument("folder", type=FOLDER)
@click.option("--model", required=True, metavar="zoo:NAME/SIZE|file:MODEL.PY|huggingface:FOLDER")
@click.option("--name", help="What clients call it; default: after the model.")
@click.option("--arch", default="sn30", show_default=True, metavar="sn10|sn30|sn40l|FILE")
@click.option("-b", "--batch-size", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--length", type=click.IntRange(min=1), help="Of sequences, for models that have any.")
@click.option(
    "--prefill", type=click.IntRange(min=1), multiple=True, help="Tokens of a prompt read at once; repeatable."
)
@click.option("--use", "uses", multiple=True, type=click.Choice(["inference", "training", "generation"]))
def init_command(
    folder: Path,
    model: str,
    name: str | None,
    arch: str,
    batch_size: int,
    length: int | None,
    prefill: tuple[int, ...],
    uses: tuple[str, ...],
) -> None:
    """Make a box: compile the model, and write a box.yaml to adapt."""
    with readable_errors():
        from modelbox.creation import create

        home = create(
            folder,
            model,
            name=name,
            machine=arch,
            batch=batch_size,
            length=length,
            prefill=prefill,
            uses=uses,  # type: ignore[arg-type]
        )
        click.echo(f"{folder}/box.yaml: {home.box.name}, {', '.join(p.name for p in home.box.profiles)}")


@box.command("check", short_help="Say whether a box can serve.")
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
def check_command(folder: Path, as_json: bool) -> None:
    """Say whether a box can serve: every problem at once, and nothing is loaded; exit status 0 for yes."""
    with readable_errors():
        from ir.errors import UsageError
        from modelbox.box_file import Home
        from modelbox.legality import problems

        home = Home.read(folder)
        found = problems(home)
        if as_json:
            told = [{"message": p.message, "where": str(p.where or ""), "hint": p.hint} for p in found]
            click.echo(json.dumps({"box": home.box.name, "legal": not found, "problems": told}, indent=2))
        else:
            UsageError.raise_if(found)
            click.echo(f"{home.box.name} can serve: {', '.join(p.name for p in home.box.profiles)}")
    raise SystemExit(1 if found else 0)


@box.command("serve")
@click.argument("folder", type=FOLDER)
@click.option("--host", help="Instead of what box.yaml says.")
@click.option("--http-port", type=click.IntRange(0, 65535), help="Instead of what box.yaml says; 0: any free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="Instead of what box.yaml says; 0: any free one.")
def serve_command(folder: Path, host: str | None, http_port: int | None, grpc_port: int | None) -> None:
    """Serve a box until SIGTERM or SIGINT. Prints one line of JSON with the addresses once it is ready."""
    with readable_errors():
        # Read when transformers is loaded, and passed on to jobs: bars would stand between the lines of JSON.
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        from modelbox.box_file import Home
        from modelbox.service.server import serve

        home = Home.read(folder)
        given = {"host": host, "http": http_port, "grpc": grpc_port}
        listen = home.box.listen.model_copy(update={k: v for k, v in given.items() if v is not None})
        serve(Home(home.folder, home.box.model_copy(update={"listen": listen})))


@box.command("build", short_help="Write an OCI image layout.")
@click.argument("folder", type=FOLDER)
@click.argument("image", type=FOLDER)
@click.option(
    "--base",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with a root file system that has this Python, or an OCI layout. Nothing is pulled.",
)
def build_command(folder: Path, image: Path, base: Path) -> None:
    """Write an OCI image layout: base, installed distributions, toolchain and box; the same bytes every time.

    \b
      skopeo copy docker://python:3.11-slim oci:base
      snc box build mybox image --base base
      podman pull oci:image
    """
    with readable_errors():
        from modelbox.box_file import Home
        from modelbox.image.layout import write

        for path in write(Home.read(folder), image, base, lambda step: click.echo(f"{step} ...", err=True)):
            click.echo(path)


@box.command("containerfile", short_help="Write what a container engine builds from.")
@click.argument("folder", type=FOLDER)
@click.argument("target", type=FOLDER)
@click.option("--base", default="python:3.11-slim", show_default=True, help="Image to build on.")
def containerfile_command(folder: Path, target: Path, base: str) -> None:
    """Write a folder that a container engine builds an image from, with examples for compose and Kubernetes."""
    with readable_errors():
        from modelbox.box_file import Home
        from modelbox.image.containerfile import write

        for path in write(Home.read(folder), target, base):
            click.echo(path)


@box.command("schema")
def schema_command() -> None:
    """Print the JSON schema of box.yaml."""
    with readable_errors():
        from modelbox.box_file import schema

        click.echo(json.dumps(schema(), indent=2))


@box.command("key", short_help="Make an API key.")
def key_command() -> None:
    """Make an API key: what clients send, and its digest for box.yaml."""
    import hashlib
    import secrets

    key = secrets.token_urlsafe(32)
    click.echo(f"key (for clients; it is shown once): {key}")
    click.echo(f"api_key_sha256 (for box.yaml): {hashlib.sha256(key.encode()).hexdigest()}")
