"""The rules of the Open Inference Protocol over HTTP/REST.

Source: the protocol's specification, `specification/protocol/inference_rest.md`, and Triton's `binary_data` extension.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import httpx

from modelbox.conformance.rules import Broken, NotOffered, Rules, require
from modelbox.conformance.samples import nested, raw, sample


@dataclass(frozen=True)
class Http:
    """A server and the model that it is asked for."""

    client: httpx.Client
    model: str
    inputs: list[dict[str, Any]]
    """Instead of those made from the metadata."""

    def get(self, path: str) -> httpx.Response:
        """GET."""
        return self.client.get(path)

    def infer(self, body: Any, path: str | None = None) -> httpx.Response:
        """POST; a dictionary is sent as JSON."""
        path = path or f"/v2/models/{self.model}/infer"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content, headers={"Content-Type": "application/json"})

    def metadata(self) -> dict[str, Any]:
        """Of the model."""
        found: dict[str, Any] = self.get(f"/v2/models/{self.model}").json()
        return found

    def given(self) -> list[dict[str, Any]]:
        """Inputs that should be legal."""
        return self.inputs or [sample(tensor) for tensor in self.metadata()["inputs"]]

    def answer(self, body: Any) -> dict[str, Any]:
        """The answer to a legal request. Raises Broken where there is none."""
        response = self.infer(body)
        require(response.status_code == 200, f"status {response.status_code}: {response.text[:200]}")
        found: dict[str, Any] = response.json()
        return found


RULES: Rules[Http] = Rules("http")


@RULES
def live(server: Http) -> None:
    """GET v2/health/live answers 200 while the server runs."""
    _status(server.get("/v2/health/live"), 200)


@RULES
def ready(server: Http) -> None:
    """GET v2/health/ready answers 200 when all models are ready."""
    _status(server.get("/v2/health/ready"), 200)


@RULES
def model_ready(server: Http) -> None:
    """GET v2/models/{model}/ready answers 200 when the model is ready."""
    _status(server.get(f"/v2/models/{server.model}/ready"), 200)


@RULES
def server_metadata(server: Http) -> None:
    """GET v2 gives the server's name, its version, and a list of extensions."""
    found = server.get("/v2").json()
    require(isinstance(found.get("name"), str) and isinstance(found.get("version"), str), f"{found}")
    require(all(isinstance(name, str) for name in found.get("extensions", [None])), f"extensions of {found}")


@RULES
def model_metadata(server: Http) -> None:
    """GET v2/models/{model} gives name, platform, and inputs and outputs with name, datatype and shape."""
    found = server.metadata()
    require(found.get("name") == server.model and isinstance(found.get("platform"), str), f"{found}")
    for tensor in [*found["inputs"], *found["outputs"]]:
        require({"name", "datatype", "shape"} <= tensor.keys(), f"{tensor}")
        require(all(isinstance(extent, int) for extent in tensor["shape"]), f"{tensor}")


@RULES
def model_versions(server: Http) -> None:
    """GET v2/models/{model}/versions/{version} describes each version that the metadata list."""
    versions = server.metadata().get("versions")
    if not versions:
        raise NotOffered("the metadata list no versions")
    for version in versions:
        _status(server.get(f"/v2/models/{server.model}/versions/{version}"), 200)


@RULES
def unknown_model(server: Http) -> None:
    """What is asked of a model that is not there is refused with a 4xx status and {"error": text}."""
    _refused(server.get("/v2/models/no-such-model"))
    _refused(server.infer({"inputs": []}, "/v2/models/no-such-model/infer"))


@RULES
def infer(server: Http) -> None:
    """An answer has model_name and, for every output of the metadata, name, datatype, shape and that many elements."""
    found = server.answer({"inputs": server.given()})
    require(found.get("model_name") == server.model, f"model_name is {found.get('model_name')!r}")
    wanted = {tensor["name"]: tensor for tensor in server.metadata()["outputs"]}
    require({tensor["name"] for tensor in found["outputs"]} == wanted.keys(), f"outputs {found['outputs']}"[:300])
    for tensor in found["outputs"]:
        described = wanted[tensor["name"]]
        require(tensor["datatype"] == described["datatype"], f"{tensor['name']} is {tensor['datatype']}")
        require(_fits(tensor["shape"], described["shape"]), f"{tensor['name']} has shape {tensor['shape']}")
        count = len(_flat(tensor["data"]))
        require(count == math.prod(tensor["shape"]), f"{tensor['name']} has {count} elements")


@RULES
def identity(server: Http) -> None:
    """The answer has the request's id, where it has one."""
    found = server.answer({"id": "an id", "inputs": server.given()})
    require(found.get("id") == "an id", f"id is {found.get('id')!r}")


@RULES
def requested_outputs(server: Http) -> None:
    """Where a request names outputs, the answer has those and no others."""
    name = server.metadata()["outputs"][-1]["name"]
    found = server.answer({"inputs": server.given(), "outputs": [{"name": name}]})
    require([tensor["name"] for tensor in found["outputs"]] == [name], f"{[t['name'] for t in found['outputs']]}")


@RULES
def flat_and_nested(server: Http) -> None:
    """Data may be flat or nested as the shape says: both mean the same."""
    given = server.given()
    other = [{**tensor, "data": nested(_flat(tensor["data"]), tensor["shape"])} for tensor in given]
    first, second = server.answer({"inputs": given}), server.answer({"inputs": other})
    require(first["outputs"] == second["outputs"], "the two answers differ")


@RULES
def what_is_wrong_is_refused(server: Http) -> None:
    """A request that is not as the metadata say is refused with a 4xx status and {"error": text}."""
    given = server.given()
    first = given[0]
    wrong = {
        "no JSON": b"{",
        "not an object": [1],
        "no inputs": {},
        "an input missing": {"inputs": given[1:]},
        "an input of no such name": {"inputs": [*given, {**first, "name": "no-such-input"}]},
        "a datatype of none": {"inputs": [{**first, "datatype": "FP1"}, *given[1:]]},
        "too few elements": {"inputs": [{**first, "data": _flat(first["data"])[:-1]}, *given[1:]]},
        "a rank too many": {"inputs": [{**first, "shape": [1, *first["shape"]]}, *given[1:]]},
        "a negative extent": {"inputs": [{**first, "shape": [-1] * len(first["shape"])}, *given[1:]]},
        "an output of no such name": {"inputs": given, "outputs": [{"name": "no-such-output"}]},
    }
    for name, body in wrong.items():
        try:
            _refused(server.infer(body))
        except Broken as broken:
            raise Broken(f"{name}: {broken}") from broken


@RULES
def binary_inputs(server: Http) -> None:
    """With the extension binary_tensor_data, inputs may follow the JSON as bytes, and mean the same."""
    given = _binary(server)
    blocks = [raw(tensor["datatype"], _flat(tensor["data"])) for tensor in given]
    heads = [
        {key: tensor[key] for key in ("name", "datatype", "shape")} | {"parameters": {"binary_data_size": len(block)}}
        for tensor, block in zip(given, blocks, strict=True)
    ]
    head = json.dumps({"inputs": heads}).encode()
    fields = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    path = f"/v2/models/{server.model}/infer"
    response = server.client.post(path, content=head + b"".join(blocks), headers=fields)
    _status(response, 200)
    plain = server.answer({"inputs": given})
    require(response.json()["outputs"] == plain["outputs"], "the answer is another one than to the same as JSON")


@RULES
def binary_outputs(server: Http) -> None:
    """With the extension binary_tensor_data, outputs that ask for it follow the JSON as bytes."""
    given = _binary(server)
    plain = {tensor["name"]: tensor for tensor in server.answer({"inputs": given})["outputs"]}
    asked = [{"name": name, "parameters": {"binary_data": True}} for name in plain]
    response = server.infer({"inputs": given, "outputs": asked})
    _status(response, 200)
    length = int(response.headers["Inference-Header-Content-Length"])
    rest = response.content[length:]
    for tensor in json.loads(response.content[:length])["outputs"]:
        size = tensor["parameters"]["binary_data_size"]
        wanted = plain[tensor["name"]]
        require(rest[:size] == raw(wanted["datatype"], _flat(wanted["data"])), f"the bytes of {tensor['name']}")
        rest = rest[size:]
    require(not rest, f"{len(rest)} bytes are left over")


@RULES
def alive_after_all(server: Http) -> None:
    """After all this the server still answers as at first."""
    live(server)
    infer(server)


def _binary(server: Http) -> list[dict[str, Any]]:
    if "binary_tensor_data" not in server.get("/v2").json().get("extensions", []):
        raise NotOffered("the server does not list binary_tensor_data")
    return server.given()


def _status(response: httpx.Response, wanted: int) -> None:
    require(response.status_code == wanted, f"status {response.status_code}: {response.text[:200]}")


def _refused(response: httpx.Response) -> None:
    require(400 <= response.status_code < 500, f"status {response.status_code}: {response.text[:200]}")
    try:
        found = response.json()
    except ValueError:
        found = None
    told = isinstance(found, dict) and isinstance(found.get("error"), str)
    require(told, f"the body is not an object with the text `error`: {response.text[:200]}")


def _fits(shape: list[int], described: list[int]) -> bool:
    pairs = zip(shape, described, strict=False)
    return len(shape) == len(described) and all(extent == wanted or wanted < 0 for extent, wanted in pairs)


def _flat(data: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in data:
        found.extend(_flat(item) if isinstance(item, list) else [item])
    return found
