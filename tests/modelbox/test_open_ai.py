"""OpenAI's routes: what transformers would write, whole and streamed, the same in any company; and error bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

from modelbox.box_file import Home
from modelbox.service.app import create_app
from modelbox.service.service import Service

PROMPTS = ["The compiler", "A section of the simulated RDU is ", "x", "Simulated time", "Why?", "memory and places"]


@pytest.fixture(scope="module")
def client(llama_service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(llama_service), raise_server_exceptions=False) as client:
        yield client


def complete(client: TestClient, **asked: Any) -> dict[str, Any]:
    answer = client.post("/v1/completions", json={"model": "llama", **asked})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_greedy_text_is_that_of_transformers(client: TestClient, llama: Home) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = llama.folder / "checkpoint"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(PROMPTS[1], return_tensors="pt")
    with torch.no_grad():
        written = model.generate(**tokens, max_new_tokens=12, do_sample=False)[0, tokens["input_ids"].shape[1] :]
    found = complete(client, prompt=PROMPTS[1], max_tokens=12)
    assert found["choices"][0]["text"] == tokenizer.decode(written, skip_special_tokens=True)
    assert found["usage"]["completion_tokens"] == len(written)
    assert found["usage"]["prompt_tokens"] == tokens["input_ids"].shape[1]
    assert found["simulated"]["rdu_ns"] > 0


def test_answers_are_the_same_alone_and_in_company(client: TestClient) -> None:
    asked = [{"prompt": p, "max_tokens": 6 + 3 * i, "temperature": 0.9, "seed": i} for i, p in enumerate(PROMPTS)]
    alone = [complete(client, **request)["choices"] for request in asked]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda request: complete(client, **request)["choices"], reversed(asked)))
    assert together[::-1] == alone
    assert len({choices[0]["text"] for choices in alone}) == len(alone)


def test_several_prompts_and_several_answers(client: TestClient) -> None:
    found = complete(client, prompt=PROMPTS[:2], n=2, temperature=1.0, max_tokens=8)
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2, 3]
    alone = complete(client, prompt=PROMPTS[1], n=2, temperature=1.0, max_tokens=8)["choices"]
    assert [choice["text"] for choice in found["choices"][2:]] == [choice["text"] for choice in alone]
    assert alone[0]["text"] != alone[1]["text"]


def test_a_stop_text_ends_an_answer_and_is_not_in_it(client: TestClient) -> None:
    whole = complete(client, prompt="The", max_tokens=20)["choices"][0]
    assert whole["finish_reason"] == "length"
    stop = whole["text"][5:8]
    ended = complete(client, prompt="The", max_tokens=20, stop=[stop])["choices"][0]
    assert ended["finish_reason"] == "stop"
    assert ended["text"] == whole["text"][: whole["text"].index(stop)]


def test_streams_add_up_to_the_whole(client: TestClient) -> None:
    asked = {"model": "llama", "max_tokens": 12, "messages": [{"role": "user", "content": "write"}]}
    whole = client.post("/v1/chat/completions", json=asked).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = client.post("/v1/chat/completions", json=asked | options)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    chunks = events(streamed.text)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"] == whole["usage"] and chunks[-1]["simulated"] == whole["simulated"]


@pytest.mark.parametrize(
    ("asked", "status", "parameter"),
    [
        ({"model": "gpt", "prompt": "a"}, 404, "model"),
        ({}, 400, "prompt"),
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": [10**6]}, 400, "prompt"),
        ({"prompt": "a", "max_tokens": 1000}, 400, "max_tokens"),
        ({"prompt": "a", "max_tokens": 0}, 400, "max_tokens"),
        ({"prompt": "a", "temperature": 3}, 400, "temperature"),
        ({"prompt": "a", "top_p": 0}, 400, "top_p"),
        ({"prompt": "a", "logprobs": 2}, 400, "logprobs"),
        ({"prompt": "a", "fish": 2}, 400, "fish"),
        ({"prompt": "a", "stop": [""]}, 400, "stop"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_as_clients_expect_them(
    client: TestClient, asked: dict[str, Any], status: int, parameter: str, stream: bool
) -> None:
    answer = client.post("/v1/completions", json={"model": "llama", "stream": stream, **asked})
    error = answer.json()["error"]
    assert answer.status_code == status
    assert error["param"].split(".")[0] == parameter
    assert error["type"] == "invalid_request_error" and error["message"]


def test_models_are_listed(client: TestClient) -> None:
    assert [card["id"] for card in client.get("/v1/models").json()["data"]] == ["llama"]
    assert client.get("/v1/models/llama").json()["object"] == "model"
    assert client.get("/v1/models/gpt").json()["error"]["code"] == "model_not_found"


def test_text_is_written_over_the_open_inference_protocol_too(client: TestClient) -> None:
    tensor = {"name": "text_input", "datatype": "BYTES", "shape": [2], "data": PROMPTS[:2]}
    answer = client.post("/v2/models/llama/infer", json={"inputs": [tensor], "parameters": {"max_tokens": 7}}).json()
    expected = [complete(client, prompt=prompt, max_tokens=7)["choices"][0]["text"] for prompt in PROMPTS[:2]]
    assert answer["outputs"][0]["data"] == expected


def test_the_page_of_the_interface_says_that_answers_may_be_streamed(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/v1/completions", "/v1/chat/completions"):
        assert set(paths[path]["post"]["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
