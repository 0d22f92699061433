"""Choosing the next token from logits: greedily, or drawn with temperature, top-k and top-p; reproducible by a seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from ir.errors import Problem, UsageError
from ir.op import Array


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. A temperature of 0 takes the most likely one; top_k of 0 and top_p of 1 exclude none."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 12345

    def __post_init__(self) -> None:
        problems = []
        if self.temperature < 0:
            problems.append(
                Problem(f"the temperature is {self.temperature}", hint="give 0 for the likeliest token, or more")
            )
        if self.top_k < 0:
            problems.append(
                Problem(f"top_k is {self.top_k}", hint="give 0 to keep all tokens, 50 to keep the 50 likeliest")
            )
        if not 0 < self.top_p <= 1:
            problems.append(
                Problem(f"top_p is {self.top_p}", hint="give a number above 0, and at most 1, which keeps all tokens")
            )
        UsageError.raise_if(problems)

    def sampler(self) -> Sampler:
        """Something that chooses the tokens of one row, one after another."""
        return Sampler(self)


class Sampler:
    """Chooses the tokens of one row. What it draws depends on its seed and on what it drew before, on nothing else."""

    def __init__(self, sampling: Sampling) -> None:
        self.greedy = sampling.temperature == 0
        self.random = torch.Generator().manual_seed(sampling.seed)
        self.warpers = LogitsProcessorList()
        if not self.greedy and sampling.temperature != 1:
            self.warpers.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            self.warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            self.warpers.append(TopPLogitsWarper(sampling.top_p))

    def next(self, logits: Array) -> int:
        """The next token for logits [vocabulary]."""
        scores = torch.from_numpy(logits)[None]
        if self.greedy:
            return int(scores.argmax())
        return int(torch.multinomial(self.probabilities(scores)[0], 1, generator=self.random))

    def probabilities(self, scores: Tensor) -> Tensor:
        """What tokens are drawn by, for scores [1, vocabulary]."""
        no_tokens = torch.zeros(1, 0, dtype=torch.int64)
        return torch.softmax(self.warpers(no_tokens, scores.float()), -1)
