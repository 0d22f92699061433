"""The Open Inference Protocol, version 2, over HTTP, with its binary extension."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ir.op import Array
from ir.version import VERSION as TOOLCHAIN_VERSION
from modelbox.refusal import Reason, Refusal
from modelbox.service.http import SIMULATED_HEADER, answers, parsed, takes, until_gone, validated
from modelbox.service.service import PLATFORM, VERSION, Service
from modelbox.service.tensor_model import Inference
from modelbox.service.tensors import Described, from_list, from_raw, to_list, to_raw

EXTENSIONS = ("binary_tensor_data",)
HEADER_LENGTH = "Inference-Header-Content-Length"
SIMULATED = "simulated_rdu_ns"
RESERVED = ("binary_data_size", "binary_data", "binary_data_output", "profile", "timeout", "classification")

PREFIX = "/v2"
MODEL_PATH = "/models/{model}"
VERSION_PATH = MODEL_PATH + "/versions/{version}"
INFER_PATH, INFER_VERSION_PATH = (f"{PREFIX}{path}/infer" for path in (MODEL_PATH, VERSION_PATH))

Parameters = dict[str, bool | int | float | str]


class _Tolerant(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class InputTensor(_Tolerant):
    """An input: elements in row-major order, flat or nested, or `binary_data_size` bytes after the JSON."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters = {}
    data: list[Any] | None = None


class RequestedOutput(_Tolerant):
    """An output that is asked for."""

    name: str
    parameters: Parameters = {}


class InferenceRequest(_Tolerant):
    """A request. parameters: those of box.yaml, `profile`, and `timeout` in microseconds."""

    id: str | None = Field(None, max_length=1000)
    parameters: Parameters = {}
    inputs: list[InputTensor]
    outputs: list[RequestedOutput] | None = None


class OutputTensor(BaseModel):
    """An output; without `data` it follows the JSON as bytes."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | None = None
    data: list[Any] | None = None


class InferenceResponse(BaseModel):
    """The answer; parameters.simulated_rdu_ns is simulated time of the RDU, in nanoseconds."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: Parameters
    outputs: list[OutputTensor]


class TensorMetadata(BaseModel):
    """A tensor; -1 is any extent."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Whether the server runs."""

    live: bool


class Ready(BaseModel):
    """Whether it takes requests."""

    ready: bool


class ModelReady(BaseModel):
    """Whether the model takes requests."""

    name: str
    ready: bool


class Error(BaseModel):
    """Why there is no answer."""

    error: str


BODIES = (InferenceRequest,)
"""What routes read themselves."""

SERVER = "snc model box"
SERVER_VERSION = TOOLCHAIN_VERSION


def routes(service: Service) -> APIRouter:
    """The protocol's routes."""
    router = APIRouter(prefix=PREFIX, tags=["Open Inference Protocol"])
    refusals = answers(Error)
    path, versioned = MODEL_PATH, VERSION_PATH
    known: Any = Path(json_schema_extra={"enum": [service.name]})
    known_version: Any = Path(json_schema_extra={"enum": [VERSION]})

    # First, because routes are tried in order. Most requests never come here: the door answers them itself.
    async def infer(request: Request, model: str = known) -> Response:
        return await _infer(service, request, model)

    async def infer_version(request: Request, model: str = known, version: str = known_version) -> Response:
        return await _infer(service, request, model, version)

    for where, called in ((path, infer), (versioned, infer_version)):
        router.add_api_route(
            f"{where}/infer",
            called,
            methods=["POST"],
            response_model=InferenceResponse,
            responses=refusals,
            openapi_extra=takes(InferenceRequest),
        )

    @router.get("/health/live", response_model=Live)
    async def live() -> Live:
        return Live(live=True)

    @router.get("/health/ready", response_model=Ready, responses={503: {"model": Ready}})
    async def ready(response: Response) -> Ready:
        response.status_code = 200 if service.ready else 503
        return Ready(ready=service.ready)

    @router.get("", response_model=ServerMetadata, responses=refusals)
    async def server() -> ServerMetadata:
        return ServerMetadata(name=SERVER, version=SERVER_VERSION, extensions=list(EXTENSIONS))

    @router.get(path, response_model=ModelMetadata, responses=refusals)
    async def metadata(model: str = known) -> ModelMetadata:
        return _metadata(service, model)

    @router.get(versioned, response_model=ModelMetadata, responses=refusals)
    async def metadata_version(model: str = known, version: str = known_version) -> ModelMetadata:
        return _metadata(service, model, version)

    @router.get(f"{path}/ready", response_model=ModelReady, responses=refusals)
    async def model_ready(response: Response, model: str = known) -> ModelReady:
        return _model_ready(service, response, model)

    @router.get(f"{versioned}/ready", response_model=ModelReady, responses=refusals)
    async def model_version_ready(response: Response, model: str = known, version: str = known_version) -> ModelReady:
        return _model_ready(service, response, model, version)

    return router


async def _infer(service: Service, request: Request, model: str, version: str = "") -> Response:
    service.require_model(model, version)
    asked = read(await request.body(), request.headers.get(HEADER_LENGTH))
    work = service.infer(asked.arrays, asked.parameters, profile=asked.profile, seconds=asked.seconds)
    fields, content = written(service, asked.request, await until_gone(request, work))
    return Response(content, headers=fields)


def _metadata(service: Service, model: str, version: str = "") -> ModelMetadata:
    service.require_model(model, version)
    inputs, outputs = ([_told(tensor) for tensor in tensors] for tensors in (service.inputs, service.outputs))
    return ModelMetadata(name=service.name, versions=[VERSION], platform=PLATFORM, inputs=inputs, outputs=outputs)


def _model_ready(service: Service, response: Response, model: str, version: str = "") -> ModelReady:
    service.require_model(model, version)
    response.status_code = 200 if service.ready else 503
    return ModelReady(name=model, ready=service.ready)


def options(parameters: Mapping[str, Any]) -> tuple[str | None, float | None]:
    """The profile, and the seconds that an answer may take. Raises Refusal for others than text and microseconds."""
    profile, timeout = parameters.get("profile"), parameters.get("timeout")
    if profile is not None and not isinstance(profile, str):
        raise Refusal(Reason.INVALID, "the parameter profile takes a profile's name", parameter="profile")
    if timeout is not None and (isinstance(timeout, (bool, str)) or timeout < 0):
        raise Refusal(Reason.INVALID, "the parameter timeout takes a number of microseconds", parameter="timeout")
    return profile, None if not timeout else timeout / 1e6


@dataclass(frozen=True)
class Question:
    """A request that was read: its inputs, the box's parameters, the profile, and the seconds it may take."""

    request: InferenceRequest
    arrays: dict[str, Array]
    parameters: dict[str, Any]
    profile: str | None
    seconds: float | None


def read(body: bytes, header_length: str | None) -> Question:
    """A request's body. Raises Refusal for what is not as the protocol says."""
    header, rest = memoryview(body), memoryview(b"")
    if header_length is not None:
        if not header_length.isascii() or not header_length.isdigit() or int(header_length[:20]) > len(body):
            raise Refusal(Reason.INVALID, f"{HEADER_LENGTH} must be the number of bytes of JSON at the body's start")
        header, rest = header[: int(header_length)], header[int(header_length) :]
    asked = validated(InferenceRequest, parsed(header))
    arrays: dict[str, Array] = {}
    for tensor in asked.inputs:
        if tensor.name in arrays:
            raise Refusal(Reason.INVALID, f"there are two inputs {tensor.name!r}")
        size = tensor.parameters.get("binary_data_size")
        if (size is None) == (tensor.data is None):
            raise Refusal(Reason.INVALID, f"{tensor.name}: give either data or binary_data_size")
        if size is None:
            arrays[tensor.name] = from_list(tensor.name, tensor.datatype, tensor.shape, tensor.data)
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
            raise Refusal(Reason.INVALID, f"{tensor.name}: the body does not hold its binary_data_size")
        arrays[tensor.name] = from_raw(tensor.name, tensor.datatype, tensor.shape, rest[:size])
        rest = rest[size:]
    if len(rest):
        raise Refusal(Reason.INVALID, f"{len(rest)} bytes at the end of the body belong to no input")
    profile, seconds = options(asked.parameters)
    given = {name: value for name, value in asked.parameters.items() if name not in RESERVED}
    return Question(asked, arrays, given, profile, seconds)


def chosen(service: Service, names: Sequence[str] | None) -> list[Described]:
    """The outputs that are asked for; all of them where none is. Raises Refusal for others."""
    known = {tensor.name: tensor for tensor in service.outputs}
    if wrong := [name for name in names or () if name not in known]:
        raise Refusal(Reason.INVALID, f"there is no output {wrong[0]!r}: outputs are {', '.join(known)}")
    return [known[name] for name in names or known]


def written(service: Service, asked: InferenceRequest, found: Inference) -> tuple[dict[str, str], bytes]:
    """Headers and body of an answer: JSON and, where they are asked for, bytes after it."""
    wanted = {tensor.name: tensor for tensor in asked.outputs or ()}
    everything = asked.parameters.get("binary_data_output", False) is True
    outputs, raw = [], []
    for tensor in chosen(service, list(wanted) or None):
        array = found.outputs[tensor.name]
        told: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(array.shape)}
        binary = wanted[tensor.name].parameters.get("binary_data", everything) if wanted else everything
        if binary is True:
            raw.append(to_raw(tensor.datatype, array))
            told["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            told["data"] = to_list(tensor.name, tensor.datatype, array)
        outputs.append(told)
    body: dict[str, Any] = {"model_name": service.name, "model_version": VERSION}
    if asked.id is not None:
        body["id"] = asked.id
    body["parameters"] = {SIMULATED: found.simulated_rdu_ns, "profile": found.profile}
    body["outputs"] = outputs
    text = json.dumps(body, separators=(",", ":")).encode()
    fields = {SIMULATED_HEADER: str(found.simulated_rdu_ns), "Content-Type": "application/json"}
    if raw:
        fields |= {HEADER_LENGTH: str(len(text)), "Content-Type": "application/octet-stream"}
    content = b"".join([text, *raw])
    return {**fields, "Content-Length": str(len(content))}, content


def _told(tensor: Described) -> TensorMetadata:
    return TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape))
