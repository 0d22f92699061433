"""The process: gRPC, training with checkpoints, keys, back-pressure, and an end in order."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from compiler.driver import CompileRequest, compile_spec
from compiler.frontend.model_file import load_model
from modelbox.box_file import Home
from modelbox.protocol import box_pb2 as pb
from modelbox.protocol import box_pb2_grpc, open_inference_pb2_grpc
from modelbox.protocol import open_inference_pb2 as oi
from modelbox.sources import Source
from pef.file import read
from runtime.files.checkpoint import read_values
from tests.modelbox.boxes import changed, serving

Copy = Callable[[Home], Home]
X = np.random.default_rng(0).standard_normal((24, 8), np.float32)
TARGET = np.random.default_rng(1).standard_normal((24, 3), np.float32)


def tensor(name: str, array: np.ndarray) -> Any:
    return pb.Tensor(name=name, datatype="FP32", shape=array.shape, data=array.tobytes())


@pytest.fixture(scope="module")
def served(dense: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with serving(dense, tmp_path_factory.mktemp("log") / "log") as (_, where):
        yield where


@pytest.fixture(scope="module")
def channel(served: dict[str, str]) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served["grpc"]) as channel:
        yield channel


@pytest.fixture(scope="module")
def model(channel: grpc.Channel) -> Any:
    return open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.fixture(scope="module")
def box(channel: grpc.Channel) -> Any:
    return box_pb2_grpc.ModelBoxStub(channel)


def infer_request(x: np.ndarray, raw: bool = True) -> Any:
    request = oi.ModelInferRequest(model_name="dense", id="9")
    given = request.inputs.add(name="x", datatype="FP32", shape=x.shape)
    if raw:
        request.raw_input_contents.append(x.tobytes())
    else:
        given.contents.fp32_contents.extend(x.reshape(-1).tolist())
    return request


def test_all_protocols_give_the_same_bits(served: dict[str, str], model: Any, box: Any) -> None:
    raw = model.ModelInfer(infer_request(X[:2]))
    typed = model.ModelInfer(infer_request(X[:2], raw=False))
    own = box.Infer(pb.InferRequest(inputs=[tensor("x", X[:2])]))
    given = {"name": "x", "datatype": "FP32", "shape": [2, 8], "data": X[:2].tolist()}
    answer = httpx.post(f"{served['http']}/v2/models/dense/infer", json={"inputs": [given]}).json()
    assert raw.id == "9" and list(raw.outputs[0].shape) == [2, 3]
    bits = np.array(answer["outputs"][0]["data"], np.float32).tobytes()
    assert {raw.raw_output_contents[0], typed.raw_output_contents[0], own.outputs[0].data} == {bits}
    assert raw.parameters["simulated_rdu_ns"].int64_param == own.simulated_rdu_ns > 0


def test_health_reflection_and_metadata(channel: grpc.Channel, model: Any) -> None:
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="snc.box.v1.ModelBox"))
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert {"snc.box.v1.ModelBox", "inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(services)
    assert model.ServerLive(oi.ServerLiveRequest()).live and model.ServerReady(oi.ServerReadyRequest()).ready
    assert model.ModelReady(oi.ModelReadyRequest(name="dense")).ready
    found = model.ModelMetadata(oi.ModelMetadataRequest(name="dense"))
    assert [(t.name, t.datatype, list(t.shape)) for t in found.inputs] == [("x", "FP32", [-1, 8])]


def test_calls_that_are_none_are_refused_with_a_status(model: Any, box: Any) -> None:
    both = infer_request(X[:1])
    both.inputs[0].contents.fp32_contents.append(1)
    bf16 = oi.ModelInferRequest(model_name="dense")
    bf16.inputs.add(name="x", datatype="BF16", shape=[1, 8])
    wrong = [
        (model.ModelInfer, oi.ModelInferRequest(model_name="other"), grpc.StatusCode.NOT_FOUND),
        (model.ModelInfer, oi.ModelInferRequest(model_name="dense"), grpc.StatusCode.INVALID_ARGUMENT),
        (model.ModelInfer, both, grpc.StatusCode.INVALID_ARGUMENT),
        (model.ModelInfer, bf16, grpc.StatusCode.INVALID_ARGUMENT),
        (box.Infer, pb.InferRequest(), grpc.StatusCode.INVALID_ARGUMENT),
        (box.Cancel, pb.CancelRequest(id="x"), grpc.StatusCode.NOT_FOUND),
        (box.Preprocess, pb.PreprocessRequest(dataset="../x", jsonl=b"{}"), grpc.StatusCode.INVALID_ARGUMENT),
        (box.Preprocess, pb.PreprocessRequest(dataset="x", file="../box.yaml"), grpc.StatusCode.NOT_FOUND),
        (box.Preprocess, pb.PreprocessRequest(dataset="x", jsonl=b"{}"), grpc.StatusCode.INVALID_ARGUMENT),
    ]
    for call, request, code in wrong:
        with pytest.raises(grpc.RpcError) as error:
            call(request)
        assert error.value.code() is code
        assert dict(error.value.trailing_metadata())["x-request-id"]
    with pytest.raises(grpc.RpcError) as error:
        list(box.Train(pb.TrainRequest(dataset="none", steps=1)))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def prepared(box: Any) -> None:
    given = [tensor("x", X), tensor("target", TARGET)]
    assert box.Preprocess(pb.PreprocessRequest(dataset="some", tensors=given)).samples == 24


def losses(events: list[Any]) -> list[float]:
    return [event.step.loss for event in events if event.WhichOneof("event") == "step"]


def test_training_goes_on_exactly_from_a_checkpoint(box: Any, dense: Home) -> None:
    prepared(box)
    whole = list(box.Train(pb.TrainRequest(dataset="some", steps=8, seed=3, hyper={"lr": 0.05})))
    half = list(box.Train(pb.TrainRequest(dataset="some", steps=5, seed=3, hyper={"lr": 0.05}, checkpoint_every=2)))
    rest = list(box.Train(pb.TrainRequest(dataset="some", steps=3, seed=3, hyper={"lr": 0.05}, resume=half[0].job)))
    assert losses(half) + losses(rest) == losses(whole)
    assert losses(whole)[-1] < losses(whole)[0]
    kept = [event.checkpoint for event in half if event.WhichOneof("event") == "checkpoint"]
    assert [checkpoint.step for checkpoint in kept] == [2, 4, 5]
    path = dense.folder / kept[-1].path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == kept[-1].sha256
    assert whole[-1].finished.state == "done" and whole[-1].finished.simulated_rdu_ns > 0
    job = next(job for job in box.Jobs(pb.JobsRequest()).jobs if job.id == half[0].job)
    assert (job.state, job.step, job.path) == ("done", 5, kept[-1].path)


def test_a_cancelled_training_leaves_a_checkpoint_to_go_on_from(box: Any, dense: Home) -> None:
    prepared(box)
    call = box.Train(pb.TrainRequest(dataset="some", steps=10_000_000))
    job = next(call).job
    assert next(call).WhichOneof("event") == "step"
    with pytest.raises(grpc.RpcError) as error:
        list(box.Train(pb.TrainRequest(dataset="some", steps=1)))
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    box.Cancel(pb.CancelRequest(id=job))
    events = list(call)
    assert events[-1].finished.state == "cancelled"
    assert events[-2].checkpoint.step == len(losses(events)) + 1
    again = list(box.Train(pb.TrainRequest(dataset="some", steps=1, resume=job)))
    assert again[-1].finished.state == "done"


def test_a_recompiled_pef_goes_on_only_where_that_is_accepted(dense: Home, copy: Copy, tmp_path: Path) -> None:
    """Mapped around a unit between two runs of the service: the same program, so the losses are those of one run."""
    home = copy(dense)
    asked = {"dataset": "some", "seed": 3, "hyper": {"lr": 0.05}}
    with serving(home, tmp_path / "log") as (_, where), grpc.insecure_channel(where["grpc"]) as channel:
        box = box_pb2_grpc.ModelBoxStub(channel)
        prepared(box)
        whole = losses(list(box.Train(pb.TrainRequest(steps=8, **asked))))
        half = list(box.Train(pb.TrainRequest(steps=5, **asked)))
    profile = next(profile for profile in home.box.profiles if profile.use == "training")
    before = home.path(profile.pef).read_bytes()
    first = read(home.path(profile.pef)).configurations[0].units[0].site
    source = load_model(str(home.path(Source.of(home.box.model).what)), profile.batch)
    request = CompileRequest(
        profile.name, False, profile.batch, tmp_path, profile.name, home.box.machine, avoid=(f"unit:{first}",)
    )
    home.path(profile.pef).write_bytes(compile_spec(source, request).pef_path.read_bytes())
    assert home.path(profile.pef).read_bytes() != before
    with serving(home, tmp_path / "log2") as (_, where), grpc.insecure_channel(where["grpc"]) as channel:
        box = box_pb2_grpc.ModelBoxStub(channel)
        refused = list(box.Train(pb.TrainRequest(steps=3, resume=half[0].job, **asked)))[-1].finished
        assert refused.state == "failed" and "another PEF" in refused.message
        again = pb.TrainRequest(steps=3, resume=half[0].job, accept_recompiled=True, **asked)
        assert losses(half) + losses(list(box.Train(again))) == whole
        with pytest.raises(grpc.RpcError) as error:
            list(box.Train(pb.TrainRequest(steps=3, accept_recompiled=True, **asked)))
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_nothing_acknowledged_is_lost_when_the_service_is_killed(dense: Home, copy: Copy, tmp_path: Path) -> None:
    home = copy(dense)
    with serving(home, tmp_path / "log") as (process, where), grpc.insecure_channel(where["grpc"]) as channel:
        box = box_pb2_grpc.ModelBoxStub(channel)
        prepared(box)
        call = box.Train(pb.TrainRequest(dataset="some", steps=10_000_000, checkpoint_every=3))
        kept = next(event for event in call if event.WhichOneof("event") == "checkpoint")
        process.kill()
    values = read_values(home.folder / kept.checkpoint.path)
    assert values["first.weight"].shape == (16, 8)
    with serving(home, tmp_path / "log2") as (_, where), grpc.insecure_channel(where["grpc"]) as channel:
        box = box_pb2_grpc.ModelBoxStub(channel)
        job = next(job for job in box.Jobs(pb.JobsRequest()).jobs if job.id == kept.job)
        assert job.state == "interrupted" and job.step >= kept.checkpoint.step
        again = list(box.Train(pb.TrainRequest(dataset="some", steps=1, resume=kept.job)))
        assert again[-1].finished.state == "done"


def test_without_the_key_only_probes_are_answered(dense: Home, copy: Copy, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    home = changed(copy(dense), security={"api_key_sha256": [digest]})
    with serving(home, tmp_path / "log") as (_, where), grpc.insecure_channel(where["grpc"]) as channel:
        http = where["http"]
        assert httpx.get(f"{http}/health").status_code == 200
        for fields in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            assert httpx.get(f"{http}/v2", headers=fields).status_code == 401
        assert httpx.get(f"{http}/v2", headers={"Authorization": "Bearer secret"}).status_code == 200
        model = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            model.ModelInfer(infer_request(X))
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert model.ModelInfer(infer_request(X), metadata=[("authorization", "Bearer secret")]).outputs
        with pytest.raises(grpc.RpcError):
            ProtoReflectionDescriptorDatabase(channel).get_services()
    assert "secret" not in (tmp_path / "log").read_text()


def test_more_than_fits_is_refused_and_the_rest_is_answered(dense: Home, copy: Copy, tmp_path: Path) -> None:
    home = changed(copy(dense), limits={"queue": 2, "body_bytes": 8 * 2**20})
    slow = {"name": "x", "datatype": "FP32", "shape": [20_000, 8], "data": np.zeros(160_000).tolist()}
    quick = {"name": "x", "datatype": "FP32", "shape": [1, 8], "data": X[0].tolist()}
    with serving(home, tmp_path / "log") as (_, where), ThreadPoolExecutor(30) as threads:
        url = f"{where['http']}/v2/models/dense/infer"
        too_large = httpx.post(url, content=b" " * (9 * 2**20))
        assert too_large.status_code == 413

        def ask(given: Any) -> httpx.Response:
            return httpx.post(url, json={"inputs": [given]}, timeout=60)

        answers = list(threads.map(ask, [slow] * 6 + [quick] * 24))
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)
    bits = {str(answer.json()["outputs"]) for answer in answers[6:] if answer.status_code == 200}
    assert len(bits) <= 1


def test_sigterm_lets_requests_in_flight_finish(dense: Home, copy: Copy, tmp_path: Path) -> None:
    home = copy(dense)
    slow = np.zeros((20_000, 8), np.float32)
    with serving(home, tmp_path / "log") as (process, where), grpc.insecure_channel(where["grpc"]) as channel:
        model = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        running = [model.ModelInfer.future(infer_request(slow)) for _ in range(2)]
        with httpx.Client() as client:
            while "box_pending_requests 2.0" not in client.get(f"{where['http']}/metrics").text:
                time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        refused = threading.Event()
        while not refused.is_set():
            try:
                model.ModelInfer(infer_request(X))
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                refused.set()
        assert [list(future.result().outputs[0].shape) for future in running] == [[20_000, 3]] * 2
        assert process.wait(timeout=60) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
