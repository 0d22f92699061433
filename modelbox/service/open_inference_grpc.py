"""The Open Inference Protocol, version 2, over gRPC."""

from __future__ import annotations

from typing import Any

import numpy as np

from ir.op import Array
from modelbox.protocol import open_inference_pb2 as pb
from modelbox.protocol import open_inference_pb2_grpc
from modelbox.protocol.contents import CONTENTS
from modelbox.refusal import Reason, Refusal
from modelbox.service.open_inference import RESERVED, SERVER, SERVER_VERSION, SIMULATED, chosen, options
from modelbox.service.service import PLATFORM, VERSION, Service
from modelbox.service.tensors import BF16, BYTES, NUMPY, Described, from_raw, require_shape, to_raw

REMAINING = 0.95
"""Share of a call's time that is left to the model; the rest is for the answer's way back."""


class OpenInference(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """The protocol's calls. Errors are raised as refusals; `Calls` makes statuses of them."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        return pb.ServerReadyResponse(ready=self._service.ready)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        self._service.require_model(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._service.ready)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        return pb.ServerMetadataResponse(name=SERVER, version=SERVER_VERSION)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        service = self._service
        service.require_model(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=service.name,
            versions=[VERSION],
            platform=PLATFORM,
            inputs=[_told(tensor) for tensor in service.inputs],
            outputs=[_told(tensor) for tensor in service.outputs],
        )

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        service = self._service
        service.require_model(request.model_name, request.model_version)
        parameters = {name: _parameter(value) for name, value in request.parameters.items()}
        profile, seconds = options(parameters)
        given = {name: value for name, value in parameters.items() if name not in RESERVED}
        wanted = chosen(service, [tensor.name for tensor in request.outputs] or None)
        if seconds is None and context.time_remaining() is not None:
            seconds = context.time_remaining() * REMAINING
        found = await service.infer(_inputs(request), given, profile=profile, seconds=seconds)
        answer = pb.ModelInferResponse(model_name=service.name, model_version=VERSION, id=request.id)
        answer.parameters[SIMULATED].int64_param = found.simulated_rdu_ns
        answer.parameters["profile"].string_param = found.profile
        for tensor in wanted:
            array = found.outputs[tensor.name]
            answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
            answer.raw_output_contents.append(to_raw(tensor.datatype, array))
        return answer


def _inputs(request: Any) -> dict[str, Array]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Refusal(Reason.INVALID, f"there are {len(request.inputs)} inputs and {len(raw)} raw contents")
    arrays: dict[str, Array] = {}
    for number, tensor in enumerate(request.inputs):
        if tensor.name in arrays:
            raise Refusal(Reason.INVALID, f"there are two inputs {tensor.name!r}")
        shape = list(tensor.shape)
        if raw:
            if tensor.HasField("contents"):
                raise Refusal(Reason.INVALID, f"{tensor.name} has contents and raw contents")
            arrays[tensor.name] = from_raw(tensor.name, tensor.datatype, shape, raw[number])
        else:
            arrays[tensor.name] = _typed(tensor, shape)
    return arrays


def _typed(tensor: Any, shape: list[int]) -> Array:
    """Elements from the field for their datatype."""
    extents = require_shape(tensor.name, tensor.datatype, shape)
    if tensor.datatype in (BF16, "FP16"):
        raise Refusal(Reason.INVALID, f"{tensor.name}: {tensor.datatype} is given as raw bytes alone")
    field = CONTENTS[tensor.datatype]
    if other := [found.name for found, _ in tensor.contents.ListFields() if found.name != field]:
        raise Refusal(Reason.INVALID, f"{tensor.name}: {tensor.datatype} is given in {field}, not in {other[0]}")
    values = list(getattr(tensor.contents, field))
    count = int(np.prod(extents, dtype=object)) if extents else 1
    if len(values) != count:
        what = f"{tensor.name}: {tensor.datatype}{list(extents)} has {count} elements, and {len(values)} were given"
        raise Refusal(Reason.INVALID, what)
    if tensor.datatype == BYTES:
        array = np.empty(len(values), object)
        array[:] = values
        return array.reshape(extents)
    try:
        return np.array(values, NUMPY[tensor.datatype]).reshape(extents)
    except OverflowError as error:
        raise Refusal(Reason.INVALID, f"{tensor.name}: an element is out of the range of {tensor.datatype}") from error


def _parameter(value: Any) -> Any:
    which = value.WhichOneof("parameter_choice")
    return getattr(value, which) if which else None


def _told(tensor: Described) -> Any:
    shape = list(tensor.shape)
    return pb.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=shape)
