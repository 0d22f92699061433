"""OpenAI's routes for text models: models, completions and chat completions, whole and streamed."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from modelbox.parameters import legal
from modelbox.refusal import Reason, Refusal, refused
from modelbox.service.http import SIMULATED_HEADER, answers, parsed, takes, until_gone, validated
from modelbox.service.service import Prompt, Service

MOST_STOPS = 16


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: dict[str, bool] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None


class CompletionRequest(_Asked):
    """A request for completions. What this service does not do is refused by name."""

    prompt: str | list[str] | list[int] | list[list[int]]
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None
    logprobs: int | None = None


class ContentPart(BaseModel):
    """A part of a message."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A message of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """As templates take it."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": content}


class ChatCompletionRequest(_Asked):
    """A request for chat completions. What this service does not do is refused by name."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | None = None
    store: bool | None = None


class ErrorDetail(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """Why there is no answer."""

    error: ErrorDetail


class ModelCard(BaseModel):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


BODIES = (CompletionRequest, ChatCompletionRequest)
"""What routes read themselves."""

WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "echo": (None, False),
    "suffix": (None, ""),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "store": (None, False),
}
"""Arguments with the values that ask for nothing. Any other value is refused."""


def routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])
    refusals = answers(OpenAIError)
    written: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
    card = ModelCard(id=service.name, created=service.started, owned_by="snc")

    @router.get("/models", response_model=ModelList, responses=refusals)
    async def models() -> ModelList:
        return ModelList(data=[card])

    @router.get("/models/{model}", response_model=ModelCard, responses=refusals)
    async def model_card(model: str) -> ModelCard:
        service.require_model(model)
        return card

    @router.post("/completions", responses=refusals | written, openapi_extra=takes(CompletionRequest))
    async def completions(request: Request) -> Response:
        asked = validated(CompletionRequest, parsed(await request.body()))
        service.require_model(asked.model)
        parameters = parameters_of(service, asked)
        if asked.best_of not in (None, parameters["n"]):
            raise Refusal(Reason.INVALID, "best_of is not supported", parameter="best_of")
        prompts = _drawn(asked, [_tokens(service, prompt) for prompt in _prompts(asked.prompt)], parameters)
        return await _answer(service, request, asked, prompts, chat=False)

    @router.post("/chat/completions", responses=refusals | written, openapi_extra=takes(ChatCompletionRequest))
    async def chat_completions(request: Request) -> Response:
        asked = validated(ChatCompletionRequest, parsed(await request.body()))
        service.require_model(asked.model)
        parameters = parameters_of(service, asked)
        tokens = service.conversation([message.plain() for message in asked.messages])
        return await _answer(service, request, asked, _drawn(asked, [tokens], parameters), chat=True)

    return router


def parameters_of(service: Service, asked: _Asked) -> dict[str, Any]:
    """The legal parameters of a request. Raises Refusal for illegal ones, and for what is not supported."""
    given = asked.model_dump()
    for name, harmless in WITHOUT_EFFECT.items():
        if given.get(name) not in harmless:
            raise Refusal(Reason.INVALID, f"{name} is not supported", parameter=name)
    names = ("max_tokens", "temperature", "top_p", "top_k", "n", "seed")
    chosen = {name: given[name] for name in names if given[name] is not None}
    if given.get("max_completion_tokens") is not None:
        if "max_tokens" in chosen:
            raise Refusal(Reason.INVALID, "give either max_tokens or max_completion_tokens", parameter="max_tokens")
        chosen["max_tokens"] = given["max_completion_tokens"]
    unknown = (given["stream_options"] or {}).keys() - {"include_usage", "include_obfuscation"}
    if unknown:
        raise Refusal(Reason.INVALID, f"unrecognised argument: {sorted(unknown)[0]}", parameter="stream_options")
    return legal(service.home.box, chosen)


def _drawn(asked: _Asked, prompts: list[list[int]], parameters: Mapping[str, Any]) -> list[Prompt]:
    """Every prompt as often as answers are asked for."""
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    if len(stop) > MOST_STOPS or not all(stop):
        raise Refusal(Reason.INVALID, f"stop takes at most {MOST_STOPS} texts, none of them empty", parameter="stop")
    return [Prompt(tokens, parameters, stop, draw=draw) for tokens in prompts for draw in range(parameters["n"])]


def _prompts(given: Any) -> list[str | list[int]]:
    """One or several prompts, each a text or tokens."""
    if isinstance(given, str) or (given and isinstance(given[0], int)):
        return [given]
    if not given:
        raise Refusal(Reason.INVALID, "there is no prompt", parameter="prompt")
    return list(given)


def _tokens(service: Service, prompt: str | list[int]) -> list[int]:
    return service.encode(prompt) if isinstance(prompt, str) else prompt


class _Shape:
    """How completions and chat completions are written; everything else about them is the same."""

    def __init__(self, service: Service, request: Request, chat: bool) -> None:
        identity = request.scope["request_id"]
        self.chat = chat
        self._common = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{identity}",
            "created": int(time.time()),
            "model": service.name,
            "system_fingerprint": service.fingerprint,
        }

    def whole(self, texts: list[str], ends: list[str | None], usage: dict[str, int], simulated: int) -> dict[str, Any]:
        """The whole answer."""
        choices = [
            {"index": index, **self._content(text), "logprobs": None, "finish_reason": end}
            for index, (text, end) in enumerate(zip(texts, ends, strict=True))
        ]
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._common, "object": kind, "choices": choices, "usage": usage, **_simulated(simulated)}

    def chunk(self, index: int, text: str, end: str | None, first: bool) -> dict[str, Any]:
        """A piece of a streamed answer."""
        content: dict[str, Any] = {"text": text}
        if self.chat:
            content = {
                "delta": {**({"role": "assistant"} if first else {}), **({"content": text} if text or first else {})}
            }
        choice = {"index": index, **content, "logprobs": None, "finish_reason": end}
        return {**self._common, "object": self._streamed, "choices": [choice]}

    def last(self, usage: dict[str, int], simulated: int) -> dict[str, Any]:
        """What follows the last piece where usage is asked for."""
        return {**self._common, "object": self._streamed, "choices": [], "usage": usage, **_simulated(simulated)}

    @property
    def _streamed(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _content(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}


def _simulated(nanoseconds: int) -> dict[str, Any]:
    return {"simulated": {"rdu_ns": nanoseconds, "note": "simulated time of the RDU, not of this service"}}


class _Usage:
    """Tokens and simulated time of a request, counted as pieces come."""

    def __init__(self, prompts: list[Prompt]) -> None:
        draws = max(prompt.draw for prompt in prompts) + 1
        self.read = sum(len(prompt.tokens) for prompt in prompts) // draws
        self.written = [0] * len(prompts)
        self.simulated = 0

    def told(self) -> dict[str, int]:
        """As OpenAI's clients read it."""
        written = sum(self.written)
        return {"prompt_tokens": self.read, "completion_tokens": written, "total_tokens": self.read + written}


async def _answer(service: Service, request: Request, asked: _Asked, prompts: list[Prompt], chat: bool) -> Response:
    shape = _Shape(service, request, chat)
    if not asked.stream:
        return await until_gone(request, _whole(service, shape, prompts))
    pieces = service.write(prompts)
    first = await anext(pieces)  # a refusal comes before anything is sent
    with_usage = (asked.stream_options or {}).get("include_usage", False)
    events = _events(shape, prompts, first, pieces, with_usage)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _whole(service: Service, shape: _Shape, prompts: list[Prompt]) -> Response:
    texts = [""] * len(prompts)
    ends: list[str | None] = [None] * len(prompts)
    usage = _Usage(prompts)
    async for index, piece in service.write(prompts):
        texts[index] += piece.text
        ends[index] = piece.finished
        usage.written[index] = piece.tokens
        usage.simulated += piece.simulated_rdu_ns if piece.finished else 0
    body = shape.whole(texts, ends, usage.told(), usage.simulated)
    return JSONResponse(body, headers={SIMULATED_HEADER: str(usage.simulated)})


async def _events(
    shape: _Shape, prompts: list[Prompt], first: tuple[int, Any], rest: AsyncIterator[tuple[int, Any]], with_usage: bool
) -> AsyncIterator[bytes]:
    """Server-sent events; an error in the middle is an event too, and no [DONE] follows it."""
    usage = _Usage(prompts)
    try:
        item: tuple[int, Any] | None = first
        while item is not None:
            index, piece = item
            if piece.text or piece.finished or piece.tokens == 1:
                yield _event(shape.chunk(index, piece.text, piece.finished, piece.tokens == 1))
            usage.written[index] = piece.tokens
            usage.simulated += piece.simulated_rdu_ns if piece.finished else 0
            item = await anext(rest, None)
        if with_usage:
            yield _event(shape.last(usage.told(), usage.simulated))
        yield b"data: [DONE]\n\n"
    except Exception as error:
        yield _event(error_body(refused(error)))
    finally:
        await rest.aclose()  # type: ignore[attr-defined]


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"


def error_body(refusal: Refusal) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    code = {Reason.NOT_FOUND: "model_not_found", Reason.BUSY: "rate_limit_exceeded"}.get(refusal.reason)
    if refusal.reason is Reason.UNAUTHENTICATED:
        code = "invalid_api_key"
    return {
        "error": {
            "message": refusal.message,
            "type": refusal.reason.open_ai,
            "param": refusal.parameter,
            "code": code,
        }
    }
