"""The rules of the Open Inference Protocol over gRPC.

Source: the protocol's specification, `specification/protocol/inference_grpc.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import grpc

from modelbox.conformance.rules import Broken, Rules, require
from modelbox.conformance.samples import raw, sample
from modelbox.protocol import open_inference_pb2 as pb
from modelbox.protocol.contents import CONTENTS
from modelbox.protocol.open_inference_pb2_grpc import GRPCInferenceServiceStub

SECONDS = 60


@dataclass(frozen=True)
class Grpc:
    """A server and the model that it is asked for."""

    stub: Any
    model: str
    inputs: list[dict[str, Any]]

    @staticmethod
    def at(address: str, model: str, inputs: list[dict[str, Any]]) -> Grpc:
        """A server at HOST:PORT."""
        return Grpc(GRPCInferenceServiceStub(grpc.insecure_channel(address)), model, inputs)

    def metadata(self) -> Any:
        """Of the model."""
        return self.stub.ModelMetadata(pb.ModelMetadataRequest(name=self.model), timeout=SECONDS)

    def given(self) -> list[dict[str, Any]]:
        """Inputs that should be legal, as over HTTP."""
        described = [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in self.metadata().inputs]
        return self.inputs or [sample(tensor) for tensor in described]

    def request(self, raw_contents: bool, **values: Any) -> Any:
        """A legal request, with typed contents or with bytes."""
        request = pb.ModelInferRequest(model_name=self.model, **values)
        for tensor in self.given():
            added = request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
            if raw_contents:
                request.raw_input_contents.append(raw(tensor["datatype"], tensor["data"]))
                continue
            data = [text.encode() for text in tensor["data"]] if tensor["datatype"] == "BYTES" else tensor["data"]
            getattr(added.contents, CONTENTS[tensor["datatype"]]).extend(data)
        return request

    def infer(self, request: Any) -> Any:
        """ModelInfer."""
        return self.stub.ModelInfer(request, timeout=SECONDS)


RULES: Rules[Grpc] = Rules("grpc")


@RULES
def live_and_ready(server: Grpc) -> None:
    """ServerLive, ServerReady and ModelReady say yes."""
    require(server.stub.ServerLive(pb.ServerLiveRequest(), timeout=SECONDS).live, "not live")
    require(server.stub.ServerReady(pb.ServerReadyRequest(), timeout=SECONDS).ready, "not ready")
    require(server.stub.ModelReady(pb.ModelReadyRequest(name=server.model), timeout=SECONDS).ready, "model not ready")


@RULES
def metadata(server: Grpc) -> None:
    """ServerMetadata and ModelMetadata give names, and inputs and outputs with name, datatype and shape."""
    require(
        bool(server.stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=SECONDS).name), "the server has no name"
    )
    found = server.metadata()
    require(found.name == server.model, f"name is {found.name!r}")
    require(all(t.name and t.datatype for t in [*found.inputs, *found.outputs]), f"{found}")


@RULES
def infer(server: Grpc) -> None:
    """An answer has every output with its datatype, its shape, and that many elements as contents or bytes."""
    found = server.infer(server.request(raw_contents=False))
    wanted = {tensor.name: tensor.datatype for tensor in server.metadata().outputs}
    require({tensor.name: tensor.datatype for tensor in found.outputs} == wanted, f"{found}"[:300])
    for number, tensor in enumerate(found.outputs):
        count = math.prod(tensor.shape)
        if found.raw_output_contents:
            size = len(found.raw_output_contents[number])
            known = tensor.datatype in ("BYTES", "FP16", "BF16")
            require(known or size == len(raw(tensor.datatype, [0] * count)), f"{tensor.name} has {size} bytes")
        else:
            contents = getattr(tensor.contents, CONTENTS[tensor.datatype])
            require(len(contents) == count, f"{tensor.name} has {len(contents)} elements")


@RULES
def bytes_mean_the_same(server: Grpc) -> None:
    """raw_input_contents mean the same as typed contents."""
    first, second = (server.infer(server.request(raw_contents)) for raw_contents in (False, True))
    require(_outputs(first) == _outputs(second), "the two answers differ")


@RULES
def identity(server: Grpc) -> None:
    """The answer has the request's id."""
    found = server.infer(server.request(raw_contents=True, id="an id"))
    require(found.id == "an id", f"id is {found.id!r}")


@RULES
def unknown_model(server: Grpc) -> None:
    """What is asked of a model that is not there fails with a status of the client's fault."""
    _fails(lambda: server.stub.ModelMetadata(pb.ModelMetadataRequest(name="no-such-model"), timeout=SECONDS))
    _fails(lambda: server.infer(pb.ModelInferRequest(model_name="no-such-model")))


@RULES
def what_is_wrong_is_refused(server: Grpc) -> None:
    """A request that is not as the metadata say fails with a status of the client's fault."""

    def changed(change: Any) -> Any:
        request = server.request(raw_contents=True)
        change(request)
        return lambda: server.infer(request)

    wrong = {
        "no inputs": lambda r: (r.ClearField("inputs"), r.ClearField("raw_input_contents")),
        "too few bytes": lambda r: r.raw_input_contents.__setitem__(0, r.raw_input_contents[0][:-1]),
        "no such input": lambda r: setattr(r.inputs[0], "name", "no-such-input"),
        "no such datatype": lambda r: setattr(r.inputs[0], "datatype", "FP1"),
        "a rank too many": lambda r: r.inputs[0].shape.append(1),
        "no such output": lambda r: r.outputs.add(name="no-such-output"),
    }
    for name, change in wrong.items():
        try:
            _fails(changed(change))
        except Broken as broken:
            raise Broken(f"{name}: {broken}") from broken


def _outputs(answer: Any) -> list[Any]:
    return [*(tensor.SerializeToString() for tensor in answer.outputs), *answer.raw_output_contents]


def _fails(call: Any) -> None:
    codes = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED")
    try:
        call()
    except grpc.RpcError as error:
        require(error.code().name in codes, f"status {error.code().name}")
    else:
        raise Broken("it was answered")
