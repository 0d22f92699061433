"""Generated tokens are those of transformers, whatever shares the batch; sampling follows from its seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from ir.errors import UsageError
from modelzoo.checkpoints.hugging_face import bind
from modelzoo.generation.decoder import Decoder
from modelzoo.generation.generate import Request, answers, generate
from modelzoo.generation.sampling import Sampling
from tests.modelzoo.languages import CONFIGS, VOCABULARY, generation_pef, model

NEW = 12
LENGTHS = (3, 8, 1, 11, 5)
"""Of the prompts: shorter and longer than what is read at a time, and more of them than rows."""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Decoder, transformers.PreTrainedModel]:
    subject = model("llama")
    return ready(subject, tmp_path_factory.mktemp("llama")), subject


def ready(subject: transformers.PreTrainedModel, folder: Path, prefill: tuple[int, ...] = (4, 8)) -> Decoder:
    decoder = Decoder.open(generation_pef(subject.config, folder, prefill=prefill))
    bind(subject, decoder.session)
    return decoder


def prompts() -> list[list[int]]:
    random = np.random.default_rng(2)
    return [random.integers(3, VOCABULARY, length).tolist() for length in LENGTHS]


def expected(subject: transformers.PreTrainedModel, prompt: Sequence[int], new: int = NEW) -> list[int]:
    ids = torch.tensor([prompt])
    settings = {"do_sample": False, "max_new_tokens": new, "attention_mask": torch.ones_like(ids)}
    return subject.generate(ids, **settings)[0, len(prompt) :].tolist()


def greedy(decoder: Decoder, subject: transformers.PreTrainedModel) -> None:
    ends = frozenset([subject.config.eos_token_id])
    found = answers(decoder, [Request(prompt, NEW, ends=ends) for prompt in prompts()])
    assert found == [expected(subject, prompt) for prompt in prompts()]
    assert len({token for answer in found for token in answer}) > 5


def test_greedy_answers_are_those_of_transformers(llama: tuple[Decoder, transformers.PreTrainedModel]) -> None:
    greedy(*llama)


@pytest.mark.parametrize(
    "kind",
    [kind if kind == "falcon" else pytest.param(kind, marks=pytest.mark.full) for kind in CONFIGS if kind != "llama"],
)
def test_greedy_answers_of_other_models(kind: str, tmp_path: Path) -> None:
    subject = model(kind)
    greedy(ready(subject, tmp_path, prefill=(4,)), subject)


def test_logits_are_those_of_transformers(llama: tuple[Decoder, transformers.PreTrainedModel]) -> None:
    decoder, subject = llama
    prompt = prompts()[3]
    for token in generate(decoder, [Request(prompt, 4)]):
        with torch.no_grad():
            logits = subject(torch.tensor([prompt])).logits[0, -1].numpy()
        np.testing.assert_allclose(token.logits, logits, rtol=1e-4, atol=1e-4)
        prompt = [*prompt, token.token]


def test_an_answer_does_not_depend_on_what_shares_the_batch(
    llama: tuple[Decoder, transformers.PreTrainedModel],
) -> None:
    decoder, _ = llama
    requests = [Request(p, NEW, Sampling(temperature=1.2, top_k=20, seed=n)) for n, p in enumerate(prompts())]
    together = answers(decoder, requests)
    assert [answers(decoder, [request])[0] for request in requests] == together
    assert answers(decoder, requests[::-1]) == together[::-1]


def test_sampling_follows_from_its_seed(llama: tuple[Decoder, transformers.PreTrainedModel]) -> None:
    decoder, _ = llama

    def drawn(**settings: float) -> list[int]:
        return answers(decoder, [Request(prompts()[0], NEW, Sampling(**settings))])[0]  # type: ignore[arg-type]

    assert drawn(temperature=1.5, seed=1) == drawn(temperature=1.5, seed=1)
    assert drawn(temperature=1.5, seed=1) != drawn(temperature=1.5, seed=2)
    assert drawn(temperature=1.5, top_k=1) == drawn()
    assert drawn(temperature=1.5, top_p=1e-6) == drawn()


def test_an_answer_ends_at_a_stop_sequence(llama: tuple[Decoder, transformers.PreTrainedModel]) -> None:
    decoder, _ = llama
    request = Request(prompts()[1], NEW)
    whole = answers(decoder, [request])[0]
    stop = tuple(whole[4:6])
    end = next(i for i in range(1, NEW) if tuple(whole[i - 1 : i + 1]) == stop)
    tokens = list(generate(decoder, [Request(request.prompt, NEW, stop=(stop,))]))
    assert [token.token for token in tokens] == whole[: end + 1]
    assert [token.finished for token in tokens] == [None] * end + ["stop"]


def test_what_does_not_fit_is_refused(llama: tuple[Decoder, transformers.PreTrainedModel]) -> None:
    decoder, _ = llama
    with pytest.raises(UsageError, match="row 0 would hold 32 tokens of at most 31"):
        answers(decoder, [Request([5] * 32, 1)])
    with pytest.raises(UsageError, match="is given no tokens"):
        answers(decoder, [Request([], 1)])
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}):
        with pytest.raises(UsageError):
            Sampling(**wrong)  # type: ignore[arg-type]
