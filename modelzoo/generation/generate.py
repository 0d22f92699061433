"""Generating text: prompts in, tokens out one by one, several sequences at a time, until each has come to an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ir.op import Array
from modelzoo.generation.decoder import Decoder
from modelzoo.generation.sampling import Sampler, Sampling

STOP = "stop"
LENGTH = "length"


@dataclass(frozen=True)
class Request:
    """A prompt, and when its answer ends: after `max_new_tokens`, at an end token, or at one of the stop sequences.

    ends: tokens that finish an answer at once. stop: sequences of tokens; an answer that comes to end with one is
    finished. until: asked after every token about the answer so far; True finishes it.
    """

    prompt: Sequence[int]
    max_new_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    ends: frozenset[int] = frozenset()
    stop: tuple[tuple[int, ...], ...] = ()
    until: Callable[[Sequence[int]], bool] | None = None


@dataclass(frozen=True)
class Token:
    """A new token of the request with this number; `finished` says why it is the last one."""

    request: int
    token: int
    logits: Array
    finished: str | None = None


@dataclass
class _Row:
    number: int
    request: Request
    sampler: Sampler
    answer: list[int] = field(default_factory=list)

    def take(self, logits: Array) -> Token:
        """Choose the next token."""
        token = self.sampler.next(logits)
        self.answer.append(token)
        return Token(self.number, token, logits, self.finished())

    def finished(self) -> str | None:
        request = self.request
        until = request.until is not None and request.until(self.answer)
        if until or self.answer[-1] in request.ends or any(_ends_with(self.answer, end) for end in request.stop):
            return STOP
        return LENGTH if len(self.answer) >= request.max_new_tokens else None


def generate(decoder: Decoder, requests: Sequence[Request]) -> Iterator[Token]:
    """The tokens of all requests, as they come. A request that finds no free row waits for one."""
    waiting = [_Row(number, request, request.sampling.sampler()) for number, request in enumerate(requests)]
    waiting.reverse()
    running: dict[int, _Row] = {}
    free = list(reversed(range(decoder.rows)))
    while waiting or running:
        feed: dict[int, Sequence[int]] = {row: [state.answer[-1]] for row, state in running.items()}
        while waiting and free:
            row = free.pop()
            decoder.clear(row)
            running[row] = waiting.pop()
            feed[row] = running[row].request.prompt
        for row, logits in _fed(decoder, feed):
            token = running[row].take(logits)
            if token.finished is not None:
                del running[row]
                free.append(row)
            yield token


def _fed(decoder: Decoder, feed: dict[int, Sequence[int]]) -> Iterator[tuple[int, Array]]:
    """Prompts first, then single tokens: a prompt's graph would move the others along at its own cost."""
    prompts = {row: tokens for row, tokens in feed.items() if len(tokens) != 1}
    single = {row: tokens for row, tokens in feed.items() if len(tokens) == 1}
    for group in (prompts, single):
        if group:
            yield from decoder.feed(group).items()


def answers(decoder: Decoder, requests: Sequence[Request]) -> list[list[int]]:
    """The new tokens of every request, in order."""
    found: list[list[int]] = [[] for _ in requests]
    for token in generate(decoder, requests):
        found[token.request].append(token.token)
    return found


def _ends_with(tokens: Sequence[int], sequence: Sequence[int]) -> bool:
    return bool(sequence) and list(tokens[-len(sequence) :]) == list(sequence)
