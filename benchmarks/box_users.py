"""Clients that others wrote, many at a time, for minutes: what they lose, how long they wait, and the box's memory.

    python -m benchmarks.box_users                                  # two minutes each; needs openai, tritonclient
    python -m benchmarks.box_users --client openai --seconds 20 --json

`openai` chats, completes and streams with a small language model; `http` and `grpc` are Triton's clients, with a small
dense network. Every client is one as its users make it, in a thread of its own, and sends its next request when it has
the answer. All threads are in one process on a core of its own, as in `benchmarks.box_load`, so the rates are those of
the clients; what counts is that each gets its own answer, the one that the same request got alone. A request that
fails, whatever the reason, is lost. The exit status is 1 where one was lost or wrong, or where the service's memory
grew by more than a tenth after the first quarter.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.box_load import Server, box, served, shared_out

REQUESTS = 32
"""Different requests; clients go round them, each from a place of its own."""
MOST_TOKENS = 24
GROWTH = 0.1
"""Of the service's memory after the first quarter: the allocator's, not a request's."""


class User(ABC):
    """One client of one library."""

    @abstractmethod
    def ask(self, number: int) -> Any:
        """The answer to a request, in a form that can be compared."""


class OpenAI(User):
    """Every request is a chat or a completion, whole or streamed."""

    def __init__(self, url: str) -> None:
        library: Any = importlib.import_module("openai")
        self._client = library.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)

    def ask(self, number: int) -> str:
        chats, streams = number % 2 == 0, number // 2 % 2 == 0
        given = {"model": "writer", "max_tokens": 1 + number % MOST_TOKENS, "stream": streams, "temperature": 0.7}
        text = f"number {number}"
        if chats:
            answer = self._client.chat.completions.create(messages=[{"role": "user", "content": text}], **given)
        else:
            answer = self._client.completions.create(prompt=text, **given)
        pieces = [chunk.choices[0] for chunk in answer] if streams else answer.choices
        if not chats:
            return "".join(piece.text for piece in pieces)
        return "".join((piece.delta if streams else piece.message).content or "" for piece in pieces)


class Triton(User):
    """One row of a dense network a time. kind: `http` or `grpc`."""

    def __init__(self, kind: str, url: str) -> None:
        self._library: Any = importlib.import_module(f"tritonclient.{kind}")
        self._client = self._library.InferenceServerClient(url.removeprefix("http://"))
        self._rows = np.random.default_rng(0).standard_normal((REQUESTS, 1, 64), np.float32)

    def ask(self, number: int) -> bytes:
        given = self._library.InferInput("x", [1, 64], "FP32")
        given.set_data_from_numpy(self._rows[number])
        found: np.ndarray = self._client.infer("deep", [given]).as_numpy("output")
        return found.tobytes()


@dataclass
class Kind:
    """A client's library, and the box that it asks."""

    name: str

    @contextmanager
    def serving(self, folder: Path, clients: int) -> Iterator[Server]:
        """A box in which all clients find room."""
        queue = max(64, clients)
        with box(folder, "light", queue) if self.name != "openai" else writer(folder, queue) as server:
            yield server

    def user(self, server: Server) -> User:
        """A new client."""
        if self.name == "openai":
            return OpenAI(server.http)
        return Triton(self.name, server.http if self.name == "http" else server.grpc)


@contextmanager
def writer(folder: Path, queue: int) -> Iterator[Server]:
    """The service of a small language model with random weights."""
    from transformers import LlamaConfig

    from modelbox.creation import create
    from modelzoo.checkpoints.hugging_face import initialised
    from modelzoo.data.documents import VOCABULARY, tokenizer

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
        initializer_range=0.2,
    )
    checkpoint = folder / "checkpoint"
    initialised(config, seed=1).save_pretrained(checkpoint)
    tokenizer().save_pretrained(checkpoint)
    home = create(folder / "box", f"huggingface:{checkpoint}", name="writer", batch=8, length=64, prefill=(16,))
    with served(home, queue) as server:
        yield server


@dataclass
class Found:
    """What became of the requests. latency: seconds, of all that were answered; memory: MiB after each quarter."""

    lost: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    latency: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    most_memory: int = 0
    seconds: float = 0.0

    @property
    def grew(self) -> bool:
        """Whether memory did after the first quarter."""
        return self.memory[-1] > self.memory[0] * (1 + GROWTH)

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        times = np.array(self.latency or [np.nan]) * 1e3
        return {
            "answers": len(self.latency),
            "answers_per_second": round(len(self.latency) / self.seconds, 1),
            **{f"p{q}_ms": round(float(np.percentile(times, q)), 1) for q in (50, 95, 99, 100)},
            "lost": dict(self.lost),
            "wrong": self.wrong,
            "resident_mib": {"by_quarter": self.memory, "peak": self.most_memory},
        }


def drive(kind: Kind, server: Server, clients: int, seconds: float) -> Found:
    """Let so many clients ask for so many seconds."""
    first = kind.user(server)
    alone = [first.ask(number) for number in range(REQUESTS)]
    found = Found()
    counting = threading.Lock()
    began = time.perf_counter()

    def client(number: int) -> None:
        user = kind.user(server)
        while time.perf_counter() - began < seconds:
            number = (number + 1) % REQUESTS
            asked = time.perf_counter()
            try:
                answer = user.ask(number)
            except Exception as error:
                with counting:
                    found.lost[f"{type(error).__name__}: {error}"[:200]] += 1
                continue
            took = time.perf_counter() - asked
            with counting:
                found.latency.append(took)
                found.wrong += answer != alone[number]

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for quarter in range(1, 5):
        time.sleep(max(0.0, began + seconds * quarter / 4 - time.perf_counter()))
        found.memory.append(server.mib("VmRSS"))
    for thread in threads:
        thread.join()
    found.seconds = time.perf_counter() - began
    found.most_memory = server.mib("VmHWM")
    return found


@click.command()
@click.option(
    "--client",
    "names",
    type=click.Choice(["openai", "http", "grpc"]),
    multiple=True,
    default=["openai", "http", "grpc"],
)
@click.option("--clients", default=64, show_default=True)
@click.option("--seconds", default=120.0, show_default=True, help="Of each kind of client.")
@click.option("--json", "as_json", is_flag=True)
def main(names: tuple[str, ...], clients: int, seconds: float, as_json: bool) -> None:
    """Measure."""
    os.sched_setaffinity(0, shared_out()[1])
    measured: dict[str, Found] = {}
    for name in names:
        kind = Kind(name)
        with tempfile.TemporaryDirectory() as folder, kind.serving(Path(folder), clients) as server:
            measured[name] = drive(kind, server, clients, seconds)
    if as_json:
        click.echo(json.dumps({name: found.summary() for name, found in measured.items()}, indent=2))
    else:
        _table(measured)
    if any(found.lost or found.wrong or found.grew for found in measured.values()):
        raise SystemExit("answers were lost or wrong, or memory grew")


def _table(measured: dict[str, Found]) -> None:
    click.echo(
        f"{'':8}{'answers':>10}{'per s':>9}{'p50':>9}{'p95':>9}{'p99':>9}{'most, ms':>10}{'lost':>6}{'wrong':>7}  MiB"
    )
    for name, found in measured.items():
        row = found.summary()
        times = "".join(f"{row[f'p{q}_ms']:9.1f}" for q in (50, 95, 99))
        counts = f"{times}{row['p100_ms']:10.1f}{sum(found.lost.values()):6}{found.wrong:7}"
        memory = f"{', '.join(map(str, found.memory))}; at most {found.most_memory}"
        click.echo(f"{name:8}{row['answers']:10}{row['answers_per_second']:9.1f}{counts}  {memory}")
        for error, count in found.lost.most_common(3):
            click.echo(f"    {count} times {error}")


if __name__ == "__main__":
    main()
