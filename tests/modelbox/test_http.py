"""The Open Inference Protocol over HTTP: right answers, the same bits in any company, and a clear refusal else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import numpy as np
import pytest
from starlette.testclient import TestClient

from modelbox.box_file import Home
from modelbox.service.app import create_app
from modelbox.service.service import Service
from modelbox.service.tensor_model import LoadedProfile, TensorModel
from modelzoo.device import open_pef
from tests.modelbox import boxes

INFER = "/v2/models/dense/infer"


@pytest.fixture(scope="module")
def client(dense_service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(dense_service), raise_server_exceptions=False) as client:
        yield client


def samples(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, 8), np.float32)


def body(x: np.ndarray, **more: object) -> dict:
    tensor = {"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.tolist()}
    return {"inputs": [tensor], **more}


def test_answers_are_those_of_the_pef(client: TestClient, dense: Home) -> None:
    x = samples(4)
    expected = open_pef(dense.path(dense.box.profiles[0].pef)).run(inputs={"x": x})["output"]
    answer = client.post(INFER, json=body(x, id="7")).json()
    assert answer["id"] == "7" and answer["model_name"] == "dense"
    assert np.array(answer["outputs"][0]["data"], np.float32).tobytes() == expected.tobytes()
    assert answer["outputs"][0]["shape"] == [4, 3]


def test_simulated_time_is_that_of_the_runs_and_labelled(client: TestClient, dense: Home) -> None:
    session = open_pef(dense.path(dense.box.profiles[0].pef))
    report = session.run_timing(["FWD"])
    once = round(1000 * report.us(report.cycles))
    answer = client.post(INFER, json=body(samples(9)))
    assert answer.json()["parameters"]["simulated_rdu_ns"] == 3 * once
    assert answer.headers["x-simulated-rdu-nanoseconds"] == str(3 * once)


def test_binary_data_goes_both_ways(client: TestClient) -> None:
    x = samples(2)
    header = json.dumps(
        {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 8], "parameters": {"binary_data_size": 64}}],
            "outputs": [{"name": "output", "parameters": {"binary_data": True}}],
        }
    ).encode()
    size = {"Inference-Header-Content-Length": str(len(header))}
    answer = client.post(INFER, content=header + x.tobytes(), headers=size)
    split = int(answer.headers["inference-header-content-length"])
    told = json.loads(answer.content[:split])["outputs"][0]
    assert told["parameters"] == {"binary_data_size": 24}
    listed = client.post(INFER, json=body(x)).json()["outputs"][0]["data"]
    assert answer.content[split:] == np.array(listed, np.float32).tobytes()


def test_metadata_and_health(client: TestClient) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    found = client.get("/v2/models/dense/versions/1").json()
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}]
    assert found["outputs"] == [{"name": "output", "datatype": "FP32", "shape": [-1, 3]}]
    assert client.get("/v2/models/dense/ready").json() == {"name": "dense", "ready": True}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        (b"{}", "inputs"),
        (b'{"inputs": [], "fish": 1}', "'x' is missing"),
        (json.dumps(body(samples(1)[:, :7])).encode(), "x is [1, 7], not [-1, 8]"),
        (json.dumps(body(samples(0))).encode(), "no rows"),
        (json.dumps(body(samples(1), outputs=[{"name": "y"}])).encode(), "no output 'y'"),
        (json.dumps(body(samples(1), parameters={"fish": 1})).encode(), "no parameter 'fish'"),
        (json.dumps(body(samples(1), parameters={"profile": "z"})).encode(), "no profile 'z'"),
        (json.dumps(body(samples(1), parameters={"timeout": "z"})).encode(), "timeout"),
    ],
)
def test_what_is_no_request_is_refused_in_words(client: TestClient, content: bytes, says: str) -> None:
    answer = client.post(INFER, content=content)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


@pytest.mark.parametrize("size", ["x", "-1", "9" * 30, "5"])
def test_a_wrong_header_length_is_refused(client: TestClient, size: str) -> None:
    answer = client.post(INFER, content=b"{}", headers={"Inference-Header-Content-Length": size})
    assert answer.status_code == 400


def test_other_models_and_paths_are_not_found(client: TestClient) -> None:
    for path in ("/v2/models/other", "/v2/models/dense/versions/2", "/nothing"):
        answer = client.get(path)
        assert (answer.status_code, list(answer.json())) == (404, ["error"])
    assert client.post("/v2/models/other/infer", json=body(samples(1))).status_code == 404
    assert client.get("/nothing").json()["error"].startswith("this box has no /nothing")
    text = client.post("/v1/completions", json={}).json()["error"]
    assert text["message"].startswith("this box has no /v1/completions"), "a box of tensors writes no text"
    assert client.get(INFER).status_code == 405


def test_a_body_that_is_no_object_is_told_in_our_words(client: TestClient) -> None:
    answer = client.post(INFER, json=[])
    assert (answer.status_code, answer.json()) == (400, {"error": "the body is not a JSON object"})


def test_requests_keep_their_ids_and_get_one_where_they_have_none(client: TestClient) -> None:
    assert client.get("/v2", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = client.get("/v2", headers={"X-Request-Id": "a b\x7f"}).headers["x-request-id"]
    assert len(made) == 32 and made != client.get("/v2").headers["x-request-id"]


def test_the_openapi_page_tells_every_route_with_its_body(client: TestClient) -> None:
    page = client.get("/openapi.json").json()
    infer = page["paths"]["/v2/models/{model}/infer"]["post"]
    reference = infer["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert reference.rpartition("/")[2] in page["components"]["schemas"]
    assert {"400", "429", "503"} <= infer["responses"].keys()
    assert client.get("/docs").status_code == 200


def test_metrics_count_and_keep_simulated_time_apart(client: TestClient) -> None:
    client.post(INFER, json=body(samples(1)))
    text = client.get("/metrics").text
    line = next(line for line in text.splitlines() if line.startswith("box_requests_total") and 'code="200"' in line)
    assert 'route="/v2/models/{model}/infer"' in text and float(line.split()[-1]) >= 1
    assert "box_simulated_rdu_seconds_total" in text and "box_device_host_seconds_total" in text


def test_an_answer_is_the_same_bits_alone_and_in_company(dense_service: Service) -> None:
    model = dense_service.tensors
    assert model is not None and next(iter(model.profiles.values())).shares
    until = time.monotonic() + 60
    requests = [samples(rows) for rows in (1, 3, 2, 1, 5, 4, 1, 1, 2, 7)]
    alone = [model.submit({"x": x}, until).result().outputs["output"].tobytes() for x in requests]
    together = [model.submit({"x": x}, until) for x in reversed(requests)]
    assert [future.result().outputs["output"].tobytes() for future in reversed(together)] == alone


class Counted(LoadedProfile):
    """Notes the requests of every batch."""

    batches: list[int]

    def run(self, tickets):  # type: ignore[no-untyped-def]
        self.batches.append(len(tickets))
        return super().run(tickets)


def test_requests_that_wait_share_batches(dense: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelbox.service.tensor_model.LoadedProfile", Counted)
    Counted.batches = []
    model = Service(dense).tensors
    assert isinstance(model, TensorModel)
    until = time.monotonic() + 60
    first = model.submit({"x": samples(40_000)}, until)  # the others come while it runs
    others = [model.submit({"x": samples(1)}, until) for _ in range(8)]
    assert all(future.result().outputs["output"].shape == (1, 3) for future in others)
    first.result()
    model.close()
    assert Counted.batches == [1, 4, 4]


def test_rows_that_influence_one_another_never_share(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = boxes.mixed(tmp_path_factory.mktemp("boxes") / "mixed")
    service = Service(home)
    with TestClient(create_app(service)) as client:
        path = "/v2/models/mixed/infer"
        assert client.get("/v2/models/mixed").json()["inputs"][0]["shape"] == [4, 8]
        assert "x is [1, 8], not [4, 8]" in client.post(path, json=body(samples(1))).json()["error"]
        x = samples(4)
        answer = np.array(client.post(path, json=body(x)).json()["outputs"][0]["data"], np.float32)
        np.testing.assert_allclose(answer.reshape(4, 8), x - x.mean(0), rtol=1e-5, atol=1e-6)
    service.close()
