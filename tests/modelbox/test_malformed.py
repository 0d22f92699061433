"""Requests that nobody would send on purpose: every one gets a clear status, and the service lives on."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from modelbox.box_file import Home
from modelbox.protocol import box_pb2 as pb
from modelbox.protocol import open_inference_pb2 as oi
from modelbox.protocol import open_inference_pb2_grpc
from tests.modelbox.boxes import changed, serving

CLEAR = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
}
CALLS = {
    "/inference.GRPCInferenceService/ModelInfer": oi.ModelInferRequest,
    "/inference.GRPCInferenceService/ModelMetadata": oi.ModelMetadataRequest,
    "/snc.box.v1.ModelBox/Infer": pb.InferRequest,
    "/snc.box.v1.ModelBox/Preprocess": pb.PreprocessRequest,
    "/snc.box.v1.ModelBox/Cancel": pb.CancelRequest,
}


@pytest.fixture(scope="module")
def served(dense: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Path]]:
    log = tmp_path_factory.mktemp("log") / "log"
    with serving(dense, log) as (_, where):
        yield where, log


def good() -> dict[str, bytes]:
    """A right message for every call."""
    x = np.zeros((1, 8), np.float32)
    infer = oi.ModelInferRequest(model_name="dense", id="1", raw_input_contents=[x.tobytes()])
    infer.inputs.add(name="x", datatype="FP32", shape=[1, 8])
    tensor = pb.Tensor(name="x", datatype="FP32", shape=[1, 8], data=x.tobytes())
    messages = (
        infer,
        oi.ModelMetadataRequest(name="dense"),
        pb.InferRequest(inputs=[tensor]),
        pb.PreprocessRequest(dataset="d", tensors=[tensor]),
        pb.CancelRequest(id="1"),
    )
    return {call: message.SerializeToString() for call, message in zip(CALLS, messages, strict=True)}


def mutated(message: bytes, chance: random.Random) -> bytes:
    """A message with some bytes changed, cut off, or put in."""
    content = bytearray(message)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content) + 1)
        match chance.randrange(3):
            case 0 if place < len(content):
                content[place] = chance.randrange(256)
            case 1:
                del content[place : place + chance.randint(1, 5)]
            case _:
                content[place:place] = chance.randbytes(chance.randint(1, 5))
    return bytes(content)


def wire(call: Any, message: bytes) -> tuple[str, grpc.StatusCode]:
    try:
        call(message, timeout=60)
    except grpc.RpcError as error:
        return error.details(), error.code()
    return "", grpc.StatusCode.OK


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.full)])
def test_damaged_messages_get_a_clear_status(served: tuple[dict[str, str], Path], count: int) -> None:
    where, log = served
    chance = random.Random(7)
    refused = 0
    with grpc.insecure_channel(where["grpc"]) as channel:
        for name, message in good().items():
            call = channel.unary_unary(name)
            for _ in range(count // len(CALLS)):
                details, code = wire(call, mutated(message, chance))
                assert code in CLEAR | {grpc.StatusCode.OK}, (name, details)
                refused += code is not grpc.StatusCode.OK
        assert refused > count / 3
        assert open_inference_pb2_grpc.GRPCInferenceServiceStub(channel).ServerReady(oi.ServerReadyRequest()).ready
    assert '"level": "error"' not in log.read_text()


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.full)])
def test_damaged_json_gets_a_clear_status(served: tuple[dict[str, str], Path], count: int) -> None:
    where, log = served
    chance = random.Random(8)
    text = b'{"id": "1", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2]}], "a": []}'
    odd = [b"null", b"[]", b"-1", b"1e400", b'""', b"{}", b"true", b"[[]]", b"18446744073709551616", b"NaN"]
    with httpx.Client(base_url=where["http"], timeout=60) as client:
        for _ in range(count):
            content = mutated(text, chance)
            for value in (b"1.0", b"[1, 2]", b'"FP32"', b'"x"'):
                if chance.random() < 0.3:
                    content = content.replace(value, chance.choice(odd))
            answer = client.post("/v2/models/dense/infer", content=content)
            assert answer.status_code in (200, 400), (content, answer.text)
        assert client.get("/v2/health/ready").status_code == 200
    assert '"level": "error"' not in log.read_text()


def test_a_client_that_goes_away_within_its_body_is_no_fault(served: tuple[dict[str, str], Path]) -> None:
    where, log = served
    host, _, port = where["http"].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v2/models/dense/infer HTTP/1.1\r\nHost: box\r\nContent-Length: 90\r\n\r\n{")
        assert httpx.get(f"{where['http']}/health").status_code == 200
    counted = 'box_requests_total{code="499",protocol="http",route="/v2/models/{model}/infer"} 1.0'
    while counted not in httpx.get(f"{where['http']}/metrics").text:
        time.sleep(0.01)
    assert '"level": "error"' not in log.read_text()


def test_a_body_of_unknown_length_is_bounded(dense: Home, copy: Callable[[Home], Home], tmp_path: Path) -> None:
    home = changed(copy(dense), limits={"body_bytes": 1000})

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    with serving(home, tmp_path / "log") as (_, where):
        assert httpx.post(f"{where['http']}/v2/models/dense/infer", content=endless()).status_code == 413
        with grpc.insecure_channel(where["grpc"]) as channel:
            request = oi.ModelInferRequest(model_name="m" * 2000)
            with pytest.raises(grpc.RpcError) as error:
                open_inference_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
            assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
