"""Text in, text out: what lies between strings and the decoder's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ir.op import Array
from modelzoo.generation.decoder import Decoder
from modelzoo.generation.generate import Request, generate
from modelzoo.generation.sampling import Sampling

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What decoding ends with where the bytes of a character are not all there yet."""


@dataclass
class TextStream:
    """The text of one answer, token by token. Stop strings end it and are not part of it."""

    tokenizer: Any
    stop: Sequence[str] = ()
    text: str = ""
    taken: int = 0
    stopped: bool = False
    unfinished: str = ""
    """What follows `text`: shown only if the answer ends with it."""

    def ends(self, answer: Sequence[int]) -> bool:
        """Read an answer that has grown by a token; whether a stop string has come."""
        decoded: str = self.tokenizer.decode(list(answer), skip_special_tokens=True)
        self.text = decoded.rstrip(UNFINISHED)
        self.unfinished = decoded[len(self.text) :]
        places = [place for place in (self.text.find(string) for string in self.stop if string) if place >= 0]
        if places:
            self.stopped = True
            self.text, self.unfinished = self.text[: min(places)], ""
        return self.stopped

    def take(self, finished: bool) -> str:
        """What may be shown and was not yet: all of it at the end, before that nothing that may begin a stop string."""
        if finished:
            self.text, self.unfinished = self.text + self.unfinished, ""
        held = 0 if finished or self.stopped else max((_overlap(self.text, string) for string in self.stop), default=0)
        end = max(self.taken, len(self.text) - held)
        shown, self.taken = self.text[self.taken : end], end
        return shown


def _overlap(text: str, string: str) -> int:
    """The most letters at the end of the text that `string` begins with."""
    return next((n for n in range(min(len(string), len(text)), 0, -1) if text.endswith(string[:n])), 0)


@dataclass(frozen=True)
class Piece:
    """More of the answer to one prompt; `finished` says why it is the last of it."""

    prompt: int
    text: str
    token: int
    logits: Array
    finished: str | None = None


@dataclass(frozen=True)
class Writer:
    """A decoder with the tokenizer of its checkpoint."""

    decoder: Decoder
    tokenizer: Any

    def stream(
        self, prompts: Sequence[str], max_new_tokens: int, sampling: Sequence[Sampling], stop: Sequence[str] = ()
    ) -> Iterator[Piece]:
        """The answers to all prompts, piece by piece; how tokens are chosen is given for each."""
        streams = [TextStream(self.tokenizer, stop) for _ in prompts]
        ended = self.tokenizer.eos_token_id
        ends = frozenset() if ended is None else frozenset([ended])
        requests = [
            Request(self.tokenizer.encode(prompt), max_new_tokens, chosen, ends, until=stream.ends)
            for prompt, chosen, stream in zip(prompts, sampling, streams, strict=True)
        ]
        for token in generate(self.decoder, requests):
            text = streams[token.request].take(token.finished is not None)
            yield Piece(token.request, text, token.token, token.logits, token.finished)

    def write(
        self, prompts: Sequence[str], max_new_tokens: int, sampling: Sequence[Sampling], stop: Sequence[str] = ()
    ) -> list[str]:
        """The answers."""
        found = [""] * len(prompts)
        for piece in self.stream(prompts, max_new_tokens, sampling, stop):
            found[piece.prompt] += piece.text
        return found
