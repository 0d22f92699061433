"""Our own box keeps the protocol, and servers that break it are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from fastapi import FastAPI, Request

from modelbox.box_file import Home
from modelbox.conformance import over_http
from modelbox.conformance.__main__ import main
from modelbox.conformance.rules import Verdict
from tests.modelbox import boxes


@pytest.fixture(scope="module")
def where(dense: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with boxes.serving(dense, tmp_path_factory.mktemp("log") / "log") as (_, address):
        yield address


def test_a_box_keeps_every_rule(where: dict[str, str]) -> None:
    result = CliRunner().invoke(main, [where["http"], "--model=dense", "--grpc", where["grpc"]])
    assert result.exit_code == 0, result.output
    assert "0 failed, 0 skipped" in result.output


def test_a_text_box_keeps_every_rule(llama: Home, tmp_path: Path) -> None:
    with boxes.serving(llama, tmp_path / "log") as (_, address):
        result = CliRunner().invoke(main, [address["http"], "--model=llama", "--grpc", address["grpc"]])
    assert result.exit_code == 0, result.output
    assert " 0 failed" in result.output


def careless(request_id: bool) -> FastAPI:
    """A server that answers anything with the same, and refuses nothing."""
    app = FastAPI()
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}

    @app.get("/v2/models/{model}")
    async def metadata(model: str) -> Any:
        return {"name": model, "platform": "p", "inputs": [tensor], "outputs": [tensor]}

    @app.post("/v2/models/{model}/infer")
    async def infer(model: str, request: Request) -> Any:
        body = await request.body()
        found: dict[str, Any] = {"model_name": model, "outputs": [{**tensor, "shape": [1, 2], "data": [0.0, 0.0]}]}
        return found | ({"id": "an id"} if request_id and b"an id" in body else {})

    return app


def verdicts(app: FastAPI) -> dict[str, Verdict]:
    from starlette.testclient import TestClient

    client: httpx.Client = TestClient(app, base_url="http://server")
    return {verdict.rule: verdict for verdict in over_http.RULES.hold(over_http.Http(client, "m", []))}


def test_a_careless_server_is_found_out() -> None:
    found = verdicts(careless(request_id=True))
    broken = {rule for rule, verdict in found.items() if verdict.result == "failed"}
    assert {"live", "ready", "server_metadata", "unknown_model", "what_is_wrong_is_refused"} <= broken
    assert found["infer"].result == "passed" and found["identity"].result == "passed"
    assert "no JSON" in found["what_is_wrong_is_refused"].seen
    assert verdicts(careless(request_id=False))["identity"].result == "failed"


def test_no_server_is_one_sentence_and_no_broken_rules() -> None:
    result = CliRunner().invoke(main, ["http://127.0.0.1:9", "--model=dense"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: no server answers at http://127.0.0.1:9: ")
    assert result.output.count("\n") == 1
