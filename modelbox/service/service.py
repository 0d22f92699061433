"""What all protocols call: one model, whatever it is, and the state of the service around it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ir.op import Array
from modelbox.box_file import Home
from modelbox.parameters import legal
from modelbox.refusal import Reason, Refusal
from modelbox.service.metrics import Metrics
from modelbox.service.tensor_model import Inference, TensorModel
from modelbox.service.tensors import BYTES, Described
from modelbox.service.waiting import deadline

if TYPE_CHECKING:
    from modelbox.service.text_model import Piece, TextModel

PLATFORM = "snc_pef"
VERSION = "1"
TEXT_IN, TEXT_OUT = "text_input", "text_output"
"""What a text model's tensors are called."""


LATE_SECONDS = 1.0
"""What the device is given to notice a deadline by itself."""


@dataclass(frozen=True)
class Prompt:
    """What is to be answered by a text, as tokens, and how; parameters are legal ones."""

    tokens: list[int]
    parameters: Mapping[str, Any]
    stop: tuple[str, ...] = ()
    profile: str | None = None
    draw: int = 0
    """The how-manieth answer to the same prompt: each draws from a seed of its own."""


class Service:
    """A box that is loaded and answers."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.metrics = Metrics()
        self.text: TextModel | None = None
        self.tensors: TensorModel | None = None
        if home.box.is_text:
            from modelbox.service.text_model import TextModel

            self.text = TextModel(home, self.metrics)
        else:
            self.tensors = TensorModel(home, self.metrics)
        self.fingerprint = _fingerprint(home)
        self.started = int(time.time())
        self.ready = True
        self.metrics.watch(lambda: len(self._model.waiting), lambda: self._model.waiting.pending)

    @property
    def _model(self) -> TextModel | TensorModel:
        model = self.text or self.tensors
        assert model is not None
        return model

    @property
    def name(self) -> str:
        """What clients call the model."""
        return self.home.box.name

    def require_model(self, name: str, version: str = "") -> None:
        """Raises Refusal where a request is for another model."""
        if name != self.name:
            raise Refusal(
                Reason.NOT_FOUND, f"there is no model {name!r}: this box has {self.name!r}", parameter="model"
            )
        if version not in ("", VERSION):
            raise Refusal(Reason.NOT_FOUND, f"{name} has no version {version!r}: {VERSION} is all there is")

    @property
    def inputs(self) -> list[Described]:
        """What the first profile takes."""
        return self._metadata()[0]

    @property
    def outputs(self) -> list[Described]:
        """What the first profile gives."""
        return self._metadata()[1]

    def _metadata(self) -> tuple[list[Described], list[Described]]:
        if self.tensors is None:
            return [Described(TEXT_IN, BYTES, (-1,))], [Described(TEXT_OUT, BYTES, (-1,))]
        return next(iter(self.tensors.profiles.values())).metadata

    async def infer(
        self,
        arrays: Mapping[str, Array],
        parameters: Mapping[str, Any],
        *,
        profile: str | None = None,
        seconds: float | None = None,
    ) -> Inference:
        """Answer a request for tensors; of a text model, prompts as BYTES. Raises Refusal."""
        if self.tensors is None:
            return await self._write(arrays, legal(self.home.box, parameters), profile, seconds)
        arrived = asyncio.Event()
        future = self.submit(arrays, parameters, arrived.set, profile=profile, seconds=seconds)
        try:
            await asyncio.wait_for(arrived.wait(), self.home.box.limits.request_seconds)
        except asyncio.TimeoutError as error:
            raise late() from error
        finally:
            future.cancel()  # where nobody waits any more; an answer that is there stays
        return future.result()

    def submit(
        self,
        arrays: Mapping[str, Array],
        parameters: Mapping[str, Any],
        arrived: Callable[[], None],
        *,
        profile: str | None = None,
        seconds: float | None = None,
    ) -> Future[Inference]:
        """The answer of a model of tensors, in the future; the running event loop calls `arrived` when it is there.
        Raises Refusal."""
        assert self.tensors is not None
        legal(self.home.box, parameters)
        return self.tensors.submit(arrays, deadline(self.home.box.limits, seconds), profile, arrived)

    async def _write(
        self, arrays: Mapping[str, Array], parameters: Mapping[str, Any], profile: str | None, seconds: float | None
    ) -> Inference:
        if arrays.keys() != {TEXT_IN} or arrays[TEXT_IN].dtype != object or arrays[TEXT_IN].ndim != 1:
            raise Refusal(Reason.INVALID, f"a text model takes one input, {TEXT_IN}: BYTES of shape [prompts]")
        try:
            texts = [value.decode() for value in arrays[TEXT_IN]]
        except UnicodeDecodeError as error:
            raise Refusal(Reason.INVALID, f"{TEXT_IN} is not UTF-8") from error
        if not texts:
            raise Refusal(Reason.INVALID, "there are no prompts")
        prompts = [Prompt(self.encode(text), parameters, profile=profile) for text in texts]
        answers = [""] * len(prompts)
        simulated = 0
        async for number, piece in self.write(prompts, seconds):
            answers[number] += piece.text
            simulated += piece.simulated_rdu_ns if piece.finished else 0
        assert self.text is not None
        used = self.text.choose(prompts[0].tokens, parameters["max_tokens"], profile).name
        found = np.empty(len(answers), object)
        found[:] = [answer.encode() for answer in answers]
        return Inference({TEXT_OUT: found}, used, simulated)

    def encode(self, text: str) -> list[int]:
        """The tokens of a prompt. Raises Refusal where the model is none of texts."""
        return self._writer.encode(text)

    def conversation(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """The tokens of a conversation."""
        return self._writer.encode(self._writer.conversation(messages))

    @property
    def _writer(self) -> TextModel:
        if self.text is None:
            raise Refusal(Reason.NOT_FOUND, f"{self.name} writes no text: use /v2/models/{self.name}/infer")
        return self.text

    async def write(self, prompts: Sequence[Prompt], seconds: float | None = None) -> AsyncIterator[tuple[int, Piece]]:
        """The answers to all prompts, piece by piece; whoever stops listening cancels them. Raises Refusal."""
        from modelbox.service.text_model import TextTicket
        from modelzoo.generation.sampling import Sampling

        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[int, Piece | Refusal]] = asyncio.Queue()
        until = deadline(self.home.box.limits, seconds)
        tickets = []
        for number, prompt in enumerate(prompts):
            given = prompt.parameters
            decoder = self._writer.choose(prompt.tokens, given["max_tokens"], prompt.profile)
            sampling = Sampling(given["temperature"], given["top_k"], given["top_p"], given["seed"] + prompt.draw)

            def deliver(piece: Piece | Refusal, number: int = number) -> None:
                loop.call_soon_threadsafe(pieces.put_nowait, (number, piece))

            tickets.append(
                TextTicket(decoder.name, prompt.tokens, given["max_tokens"], sampling, prompt.stop, until, deliver)
            )
        self._writer.submit(tickets)
        try:
            running = len(tickets)
            while running:
                number, piece = await asyncio.wait_for(pieces.get(), until + LATE_SECONDS - time.monotonic())
                if isinstance(piece, Refusal):
                    raise piece
                yield number, piece
                running -= piece.finished is not None
        except asyncio.TimeoutError as error:
            raise late() from error
        finally:
            for ticket in tickets:
                ticket.cancelled.set()

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and nothing is worked on."""
        return self._model.waiting.pending == 0

    def has_room(self, in_flight: int = 0) -> bool:
        """Whether a request can be taken at this moment."""
        return self._model.waiting.has_room(in_flight)

    def full(self, in_flight: int = 0) -> Refusal | None:
        """Why no request can be taken at this moment, if so. in_flight: requests that were let in and have no answer
        yet, waiting or not."""
        return self._model.waiting.full(in_flight)

    def refuse(self) -> None:
        """Take no more requests; what was taken is still answered."""
        self.ready = False
        self._model.waiting.close(Refusal(Reason.UNAVAILABLE, "the service is ending"))

    async def drained(self) -> bool:
        """Wait until all that was taken is answered; False where that took too long."""
        until = time.monotonic() + self.home.box.limits.drain_seconds
        while self._model.waiting.pending:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.01)
        return True

    def close(self) -> None:
        """End the device's thread."""
        self._model.close()


def late() -> Refusal:
    """What a request gets that took too long."""
    return Refusal(Reason.LATE, "the request took longer than it is allowed to")


def _fingerprint(home: Home) -> str:
    """What answers depend on: the PEFs and the checkpoint's name and size."""
    digest = hashlib.sha256()
    for profile in home.box.profiles:
        digest.update(home.path(profile.pef).read_bytes())
    if home.box.checkpoint is not None:
        path = home.path(home.box.checkpoint)
        files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
        for file in files:
            digest.update(f"{file.name} {file.stat().st_size}".encode())
    return f"fp_{digest.hexdigest()[:12]}"
