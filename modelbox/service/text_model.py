"""Text generation: requests join and leave the rows of a decoder, and no answer depends on who else is there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from ir.op import Array
from modelbox.box_file import Home, Profile
from modelbox.refusal import Reason, Refusal, refused
from modelbox.service.loading import open_profile, sharing
from modelbox.service.metrics import Metrics
from modelbox.service.waiting import Waiting, guarded
from modelbox.sources import Source
from modelzoo.generation.decoder import Decoder
from modelzoo.generation.generate import LENGTH, STOP
from modelzoo.generation.graphs import DECODE
from modelzoo.generation.sampling import Sampler, Sampling
from modelzoo.generation.text import TextStream

log = logging.getLogger("snc.box")

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
"""For checkpoints without one of their own, where box.yaml has none either."""


@dataclass(frozen=True)
class Piece:
    """More of an answer; with `finished` it is the last of it: stop or length. tokens: written so far."""

    text: str
    tokens: int
    finished: str | None = None
    simulated_rdu_ns: int = 0


Deliver = Callable[["Piece | Refusal"], None]


@dataclass(eq=False)
class TextTicket:
    """A prompt that waits for a row. `deliver` is called on the device's thread, for every token."""

    profile: str
    prompt: list[int]
    max_tokens: int
    sampling: Sampling
    stop: tuple[str, ...]
    deadline: float
    deliver: Deliver
    began: float = field(default_factory=time.monotonic)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds, about."""
        return 8 * len(self.prompt)

    @property
    def gone(self) -> bool:
        """Whether nobody waits for it any more; one that waited too long is told so."""
        if not self.cancelled.is_set() and time.monotonic() > self.deadline:
            self.cancelled.set()
            self.deliver(Refusal(Reason.LATE, "the request took longer than it is allowed to"))
        return self.cancelled.is_set()


@dataclass
class _Row:
    """A ticket in a row of the decoder."""

    ticket: TextTicket
    sampler: Sampler
    stream: TextStream
    simulated_rdu_ns: int = 0
    answer: list[int] = field(default_factory=list)

    def take(self, logits: Array, ends: frozenset[int]) -> Piece:
        """Choose the next token."""
        token = self.sampler.next(logits)
        self.answer.append(token)
        stopped = token in ends
        stopped = self.stream.ends(self.answer) or stopped
        finished = STOP if stopped else LENGTH if len(self.answer) >= self.ticket.max_tokens else None
        return Piece(self.stream.take(finished is not None), len(self.answer), finished, self.simulated_rdu_ns)


class LoadedDecoder:
    """A profile's decoder with the checkpoint's weights. shares: several requests may be in its rows at a time."""

    def __init__(self, profile: Profile, decoder: Decoder) -> None:
        self.name, self.decoder = profile.name, decoder
        self.running: dict[int, _Row] = {}
        self.simulated_ns = cache(lambda graph: round(1000 * decoder.simulated_us(graph)))
        block = sharing(self._rows_are_independent)
        self.shares, self._block = block is not None, block or nullcontext()
        if not self.shares:
            log.warning("%s: rows influence one another: requests are answered one by one", self.name)
        for graph in {DECODE, *decoder.graphs_for(decoder.capacity)}:
            self.simulated_ns(graph)

    @property
    def rows(self) -> int:
        """How many requests there can be at a time."""
        return self.decoder.rows if self.shares else 1

    @property
    def is_full(self) -> bool:
        """Whether no row is free."""
        return len(self.running) >= self.rows

    def join(self, ticket: TextTicket, tokenizer: Any) -> int:
        """Put a ticket into a free row, and say which."""
        row = next(row for row in range(self.rows) if row not in self.running)
        self.decoder.clear(row)
        graphs = self.decoder.graphs_for(len(ticket.prompt))
        simulated = sum(self.simulated_ns(graph) for graph in graphs)
        stream = TextStream(tokenizer, ticket.stop)
        self.running[row] = _Row(ticket, ticket.sampling.sampler(), stream, simulated)
        return row

    def read(self, rows: Sequence[int]) -> Iterator[tuple[int, Array]]:
        """Logits after the prompts of new rows. Only prompts that take the same graphs alone are read together."""
        groups: dict[tuple[str, ...], list[int]] = {}
        for row in rows:
            graphs = tuple(self.decoder.graphs_for(len(self.running[row].ticket.prompt)))
            groups.setdefault(graphs, []).append(row)
        for group in groups.values():
            yield from self._feed({row: self.running[row].ticket.prompt for row in group}).items()

    def go_on(self, rows: Sequence[int]) -> Iterator[tuple[int, Array]]:
        """Logits after the latest token of rows."""
        for row in rows:
            self.running[row].simulated_rdu_ns += self.simulated_ns(DECODE)
        if rows:
            yield from self._feed({row: [self.running[row].answer[-1]] for row in rows}).items()

    def _feed(self, tokens: dict[int, list[int]]) -> dict[int, Array]:
        with self._block:
            return self.decoder.feed(tokens)

    def _rows_are_independent(self) -> bool:
        """Try it: a prompt and a token in every row, alone, and beside others."""
        decoder = self.decoder
        vocabulary = decoder.profile.vocabulary
        length = min(decoder.capacity - 1, 3)
        prompt = [number % vocabulary for number in range(1, length + 1)]

        def bits(rows: Sequence[int], beside: int) -> set[bytes]:
            found = set()
            fed = dict.fromkeys(rows, prompt) | {
                row: [(token + row + 1) % vocabulary for token in prompt] for row in range(beside) if row not in rows
            }
            for row in fed:
                decoder.clear(row)
            for tokens in (fed, {row: row_prompt[-1:] for row, row_prompt in fed.items()}):
                logits = decoder.feed(tokens)
                found |= {bytes([len(tokens[rows[0]]) > 1]) + logits[row].tobytes() for row in rows}
            return found

        alone = bits([0], 0)
        others = [bits([row], 0) for row in range(1, decoder.rows)]
        crowd = [bits([row], decoder.rows) for row in range(decoder.rows)]
        for row in range(decoder.rows):
            decoder.clear(row)
        return all(found == alone for found in (*others, *crowd))


class TextModel:
    """The generation profiles of a box, its tokenizer, and the one thread that runs them."""

    def __init__(self, home: Home, metrics: Metrics) -> None:
        within = home.box.checkpoint or Source.of(home.box.model).what
        self.tokenizer: Any = AutoTokenizer.from_pretrained(home.path(within), local_files_only=True)
        self._template = getattr(self.tokenizer, "chat_template", None) or home.box.chat_template or CHAT_TEMPLATE
        ended = self.tokenizer.eos_token_id
        self._ends: frozenset[int] = frozenset() if ended is None else frozenset([ended])
        opened = {p.name: LoadedDecoder(p, Decoder(open_profile(home, p))) for p in home.box.of_use("generation")}
        self.decoders = opened
        self.waiting: Waiting[TextTicket] = Waiting(home.box.limits)
        self._metrics = metrics
        self._thread = threading.Thread(target=guarded, args=(self._work, self.waiting), name="device", daemon=True)
        self._thread.start()

    @property
    def vocabulary(self) -> int:
        """Tokens there are."""
        return min(decoder.decoder.profile.vocabulary for decoder in self.decoders.values())

    def encode(self, text: str) -> list[int]:
        """The tokens of a prompt."""
        found: list[int] = self.tokenizer.encode(text)
        return found

    def conversation(self, messages: Sequence[dict[str, str]]) -> str:
        """The prompt that a conversation makes. Raises Refusal where its template does not take it."""
        try:
            text: str = self.tokenizer.apply_chat_template(
                list(messages), chat_template=self._template, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # templates raise whatever they like
            raise Refusal(Reason.INVALID, f"the model's template refuses it: {error}", parameter="messages") from error
        return text

    def choose(self, prompt: Sequence[int], max_tokens: int, profile: str | None = None) -> LoadedDecoder:
        """The decoder for a request, by the request alone: the named one, or the first that is long enough."""
        if profile is not None and profile not in self.decoders:
            raise Refusal(Reason.INVALID, f"there is no profile {profile!r}: {', '.join(self.decoders)}")
        if not prompt:
            raise Refusal(Reason.INVALID, "the prompt is empty", parameter="prompt")
        if wrong := [token for token in prompt if not 0 <= token < self.vocabulary]:
            raise Refusal(Reason.INVALID, f"there is no token {wrong[0]}", parameter="prompt")
        asked = [self.decoders[profile]] if profile is not None else list(self.decoders.values())
        for candidate in asked:
            if len(prompt) + max_tokens <= candidate.decoder.capacity:
                return candidate
        longest = max(candidate.decoder.capacity for candidate in asked)
        what = f"a prompt of {len(prompt)} tokens and an answer of {max_tokens} are more than {longest} together"
        raise Refusal(Reason.INVALID, what, parameter="max_tokens")

    def submit(self, tickets: Sequence[TextTicket]) -> None:
        """Let prompts wait for rows, all or none of them. Raises Refusal."""
        self.waiting.offer(tickets)

    def close(self) -> None:
        """End the thread once it has answered what it works on."""
        self.waiting.end()
        self._thread.join()

    def _work(self) -> None:
        while True:
            busy = any(decoder.running for decoder in self.decoders.values())
            new = self._admit(wait=not busy)
            if not busy and not new:
                return
            for decoder in self.decoders.values():
                self._step(decoder, new.get(decoder.name, []))

    def _admit(self, wait: bool) -> dict[str, list[int]]:
        """New rows, by profile."""
        new: dict[str, list[int]] = {}
        while ticket := self.waiting.take(lambda t: not self.decoders[t.profile].is_full, wait and not new):
            row = self.decoders[ticket.profile].join(ticket, self.tokenizer)
            new.setdefault(ticket.profile, []).append(row)
        return new

    def _step(self, decoder: LoadedDecoder, new: Sequence[int]) -> None:
        """A token for every row."""
        for row in [row for row, state in decoder.running.items() if state.ticket.gone]:
            self._leave(decoder, row)
        old = [row for row in decoder.running if row not in new]
        fresh = [row for row in new if row in decoder.running]
        try:
            for logits in (decoder.read(fresh), decoder.go_on(old)):
                began = time.perf_counter()
                for row, values in list(logits):
                    self._take(decoder, row, values)
                self._metrics.host.inc(time.perf_counter() - began)
        except Exception as error:
            log.exception("the decoder failed")
            for row in list(decoder.running):
                decoder.running[row].ticket.deliver(refused(error))
                self._leave(decoder, row)
            return
        if count := len(old) + len(fresh):
            self._metrics.batch_fill.observe(count / decoder.decoder.rows)

    def _take(self, decoder: LoadedDecoder, row: int, logits: Array) -> None:
        state = decoder.running[row]
        if np.isnan(logits).any() or not np.isfinite(logits).any():
            state.ticket.deliver(Refusal(Reason.FAULT, "the model's logits are not numbers: look at its weights"))
            self._leave(decoder, row)
            return
        piece = state.take(logits, self._ends)
        now = time.monotonic()
        if piece.tokens == 1:
            self._metrics.first_token.observe(now - state.ticket.began)
            self._metrics.prompt_tokens.inc(len(state.ticket.prompt))
        state.ticket.deliver(piece)
        if piece.finished:
            self._metrics.answer_tokens.inc(piece.tokens)
            self._metrics.token_rate.observe(piece.tokens / max(now - state.ticket.began, 1e-9))
            self._metrics.simulated.inc(piece.simulated_rdu_ns / 1e9)
            self._leave(decoder, row)

    def _leave(self, decoder: LoadedDecoder, row: int) -> None:
        state = decoder.running.pop(row)
        self.waiting.finished((time.monotonic() - state.ticket.began) / decoder.rows)
