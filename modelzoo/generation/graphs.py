"""The graphs that generate text: one for prompts of each length, one for a single new token, all over one cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from transformers import PreTrainedModel

from compiler.driver import CompileRequest, CompileResult, Progress, compile_graphs
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.multigraph import ForwardGraph
from ir.errors import Problem, UsageError
from modelzoo.generation.cache import NAME, KeyValueCache, seen
from modelzoo.hollow import beside

SECTION = "generation"
"""Where a PEF's metadata tell of its profile."""
DECODE = "decode"


@dataclass(frozen=True)
class Profile:
    """What a PEF can generate: `batch` rows of at most `length` - 1 tokens, prompts read `prefill` tokens at a time."""

    batch: int
    length: int
    prefill: tuple[int, ...]
    vocabulary: int

    def __post_init__(self) -> None:
        if not self.prefill or not all(0 < tokens <= self.length for tokens in self.prefill):
            hint = "give lengths from 1 to the longest sequence"
            raise UsageError(
                Problem(f"prompts of {list(self.prefill)} tokens do not fit sequences of {self.length}", hint=hint)
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "prefill": list(self.prefill)}


def graph_name(tokens: int) -> str:
    """The graph that reads so many tokens of a prompt."""
    return f"prefill_{tokens}"


def compile_generation(
    model: PreTrainedModel,
    profile: Profile,
    request: CompileRequest,
    metadata: Mapping[str, Any] | None = None,
    progress: Progress = lambda what, done: None,
) -> CompileResult:
    """One PEF with all graphs of a causal language model, which may be without content."""
    graphs = generation_graphs(model, profile)
    name = request.pef_name or str(model.config.model_type)
    return compile_graphs(graphs, name, request, progress, {SECTION: profile.as_dict(), **(metadata or {})})


def generation_graphs(model: PreTrainedModel, profile: Profile) -> Sequence[ForwardGraph]:
    """The graphs over one model, which gets the cache as a module of its own."""
    if model.get_output_embeddings() is None:
        raise UsageError(Problem(f"{type(model).__name__} predicts no tokens", hint="give a causal language model"))
    model.eval()
    model.add_module(NAME, _cache(model, profile))
    lengths = {graph_name(tokens): tokens for tokens in sorted(set(profile.prefill))} | {DECODE: 1}
    return [
        ForwardGraph(name, ModelSpec(model, samples, name=name, call=next_logits))
        for name, samples in ((n, beside(model, _samples(profile.batch, t))) for n, t in lengths.items())
    ]


def _cache(model: PreTrainedModel, profile: Profile) -> KeyValueCache:
    """The cache, without content where the model has none."""
    first = next(model.parameters())
    with first.fake_mode if isinstance(first, FakeTensor) else nullcontext():
        return KeyValueCache(model, profile.batch, profile.length)


def next_logits(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """The logits [rows, vocabulary] of what follows the token that `last` [rows] picks among each row's new ones.

    token, position [rows, tokens]: the new tokens and where they stand.
    """
    position, cache = inputs["position"], model.get_submodule(NAME)
    assert isinstance(cache, KeyValueCache)
    hidden = model.base_model(
        input_ids=inputs["token"],
        position_ids=position,
        attention_mask=seen(position, cache.length, getattr(model.config, "sliding_window", None)),
        cache=cache.at(position),
        use_cache=True,
    )[0]
    rows = torch.arange(hidden.shape[0], device=hidden.device)
    return model.get_output_embeddings()(hidden[rows, inputs["last"]])


def _samples(rows: int, tokens: int) -> dict[str, Tensor]:
    return {
        "token": torch.zeros(rows, tokens, dtype=torch.int64),
        "position": torch.arange(tokens).repeat(rows, 1),
        "last": torch.zeros(rows, dtype=torch.int64),
    }
