"""Holds a running server to the Open Inference Protocol, rule by rule.

    python -m modelbox.conformance http://localhost:8080 --model braggnn --grpc localhost:8081

Any server will do. Exit status 1 where a rule is broken, or where there is no server.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import httpx

from modelbox.conformance import over_grpc, over_http
from modelbox.conformance.rules import Verdict

SIGNS = {"passed": "✓", "failed": "✗", "skipped": "-"}


@click.command(help=(__doc__ or "").strip().split("\n\n")[0])
@click.argument("url")
@click.option("--model", required=True, help="What the server calls it.")
@click.option("--grpc", "address", metavar="HOST:PORT", help="Its gRPC service; left out: HTTP only.")
@click.option(
    "--inputs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON with a list of legal inputs, as in a request; left out: made from the metadata.",
)
@click.option("--key", help="Sent as Authorization: Bearer KEY, over HTTP.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
def main(url: str, model: str, address: str | None, inputs: Path | None, key: str | None, as_json: bool) -> None:
    """Try all rules."""
    given = json.loads(inputs.read_text()) if inputs else []
    fields = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=fields, timeout=60) as client:
        try:
            client.get("/v2/health/live")
        except httpx.HTTPError as error:
            raise click.ClickException(f"no server answers at {url}: {error}") from error
        verdicts = over_http.RULES.hold(over_http.Http(client, model, given))
    if address:
        verdicts += over_grpc.RULES.hold(over_grpc.Grpc.at(address, model, given))
    if as_json:
        click.echo(json.dumps([verdict.as_json() for verdict in verdicts], indent=2))
    else:
        _table(verdicts)
    raise SystemExit(any(verdict.result == "failed" for verdict in verdicts))


def _table(verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        click.echo(f"{SIGNS[verdict.result]} {verdict.protocol}  {verdict.says}")
        if verdict.seen:
            click.echo(f"        {verdict.seen}")
    counts = {result: sum(verdict.result == result for verdict in verdicts) for result in SIGNS}
    click.echo(", ".join(f"{count} {result}" for result, count in counts.items()))


if __name__ == "__main__":
    main()
