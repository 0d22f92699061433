"""Clients that others wrote, untouched, where they are installed; and a text service under load and at its end."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelbox.box_file import Home
from tests.modelbox.boxes import serving

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def served(llama: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(llama, tmp_path_factory.mktemp("log") / "log") as (_, where):
        yield where["http"]


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_the_clients_of_triton_see_a_server_of_their_protocol(dense: Home, tmp_path: Path, kind: str) -> None:
    """In a process of its own: this one may have our messages, and a process has one definition of each name."""
    if importlib.util.find_spec("tritonclient") is None:
        pytest.skip("tritonclient is not installed")
    client = Path(__file__).with_name("triton_client.py")
    with serving(dense, tmp_path / "log") as (_, where):
        url = where[kind].removeprefix("http://")
        result = subprocess.run([sys.executable, client, kind, url], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.full
def test_schemathesis_finds_nothing_that_breaks_the_service(served: str) -> None:
    """Requests that fit the OpenAPI page, and ones that do not; texts that fit may still be too long to be answered."""
    tool = shutil.which("schemathesis")
    if tool is None:
        pytest.skip("schemathesis is not installed")
    asked = [tool, "run", f"{served}/openapi.json", "--max-examples=300", "--exclude-checks=positive_data_acceptance"]
    result = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]
    assert httpx.get(f"{served}/v2/health/ready").status_code == 200


@pytest.mark.full
@pytest.mark.parametrize(
    ("client", "library"), [("openai", "openai"), ("http", "tritonclient"), ("grpc", "tritonclient")]
)
def test_many_clients_of_others_lose_nothing_in_two_minutes(client: str, library: str) -> None:
    """64 of them, each with its own answers, and the service's memory stays as it was after the first quarter."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    command = [sys.executable, "-m", "benchmarks.box_users", f"--client={client}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]


def complete(url: str, **asked: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/completions", json={"model": "llama", **asked}, timeout=120)


def test_openai_chats_completes_streams_and_understands_errors(served: str) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0)
    assert [card.id for card in client.models.list()] == ["llama"]
    messages = [{"role": "user", "content": "write"}]
    whole = client.chat.completions.create(model="llama", messages=messages, max_tokens=12)
    assert whole.usage.completion_tokens == 12
    stream = client.chat.completions.create(model="llama", messages=messages, max_tokens=12, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole.choices[0].message.content
    written = client.completions.create(model="llama", prompt="The", max_tokens=5, n=2, temperature=1, seed=4)
    assert len(written.choices) == 2
    with pytest.raises(openai.NotFoundError) as error:
        client.completions.create(model="gpt", prompt="The")
    assert error.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model="llama", prompt="The", logprobs=3)
    assert error.value.param == "logprobs"


def test_a_client_that_goes_away_leaves_its_row(served: str) -> None:
    asked = {"model": "llama", "prompt": "The", "max_tokens": 40, "stream": True, "n": 3}
    for _ in range(5):
        with httpx.stream("POST", f"{served}/v1/completions", json=asked, timeout=60) as answer:
            next(answer.iter_lines())
    while "box_pending_requests 0.0" not in httpx.get(f"{served}/metrics").text:
        time.sleep(0.01)
    assert complete(served, prompt="The", max_tokens=3).status_code == 200


def test_many_clients_each_get_their_own_answer_once(served: str) -> None:
    prompts = [f"{'word ' * (number % 5)}number {number}" for number in range(24)]
    alone = {prompt: complete(served, prompt=prompt, max_tokens=8).json()["choices"][0]["text"] for prompt in prompts}
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda p: (p, complete(served, prompt=p, max_tokens=8)), prompts * 3))
    assert {answer.status_code for _, answer in answers} == {200}
    assert all(answer.json()["choices"][0]["text"] == alone[prompt] for prompt, answer in answers)


def test_sigterm_lets_streams_finish(llama: Home, copy: Callable[[Home], Home], tmp_path: Path) -> None:
    log, home = tmp_path / "log", copy(llama)
    asked = {"model": "llama", "prompt": "The", "max_tokens": 44, "stream": True}
    with serving(home, log) as (process, where):
        with httpx.stream("POST", f"{where['http']}/v1/completions", json=asked, timeout=60) as answer:
            lines = answer.iter_lines()
            first = next(lines)
            process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert process.wait(timeout=60) == 0
    assert rest[-1] == "data: [DONE]"
    last = json.loads(rest[-2].removeprefix("data: "))
    assert first and last["choices"][0]["finish_reason"] in ("stop", "length")
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert logged and all("traceback" not in line for line in logged), "every line is JSON"
