"""Compiling a language model to generate text, and generating: what rdu_generate_text.py does."""

from __future__ import annotations

import time

from transformers import AutoTokenizer

from compiler.driver import CompileResult
from ir.errors import Problem, UsageError
from modelzoo.checkpoints import hugging_face
from modelzoo.generation.decoder import Decoder
from modelzoo.generation.graphs import DECODE, Profile, compile_generation, graph_name
from modelzoo.generation.sampling import Sampling
from modelzoo.generation.text import Writer
from modelzoo.runners.requests import compile_request, log, recorded
from modelzoo.runners.schema import Generation, GenerationApplication
from modelzoo.runners.summary import Latencies, write_generation


def compile_text_generation(settings: GenerationApplication) -> CompileResult:
    """The PEF of a configuration; weights are bound when it runs, so that all checkpoints of one shape share it."""
    config = hugging_face.read_config(settings.checkpoint.folder)
    length = settings.model.max_seq_length
    prefill = tuple(settings.generation.static_seq_lengths or [length])
    profile = Profile(settings.generation.batch_size, length, prefill, config.vocab_size)
    request = compile_request(settings, f"{config.model_type}_generate", profile.batch, inference=True)
    metadata = {**recorded(settings), "configuration": hugging_face.describe(config)}
    result = compile_generation(hugging_face.hollow(config), profile, request, metadata)
    print(f"PEF: {result.pef_path.resolve()}")
    return result


def generate_text(settings: GenerationApplication) -> list[str]:
    """Answer the prompts, print them, and write the summary; returns the answers."""
    assert settings.samba_run is not None
    asked = settings.generation
    decoder = Decoder.open(settings.samba_run.pef)
    if decoder.profile.batch != asked.batch_size:
        hint = f"give generation.batch_size={decoder.profile.batch} and as many prompts, or compile again"
        what = f"the PEF answers {decoder.profile.batch} prompts at a time, not {asked.batch_size}"
        raise UsageError(Problem(what, hint=hint))
    if decoder.profile.length != settings.model.max_seq_length:
        log.warning(
            "note: model.max_seq_length=%d has no effect on a run: the PEF was compiled for %d",
            settings.model.max_seq_length,
            decoder.profile.length,
        )
    folder = settings.checkpoint.model_name_or_path
    if folder is None:
        hint = "give checkpoint.model_name_or_path, a folder with weights and a tokenizer"
        raise UsageError(Problem("a model with random weights writes nonsense", hint=hint))
    writer = Writer(decoder, AutoTokenizer.from_pretrained(folder, local_files_only=True))
    _require_room(writer, asked)
    hugging_face.bind(hugging_face.pretrained(folder), decoder.session)
    sampling = [sampling_of(settings, number) for number in range(asked.batch_size)]
    answers = [""] * asked.batch_size
    seconds: list[float] = []
    began = time.perf_counter()
    written: set[int] = set()
    for piece in writer.stream(asked.prompts, asked.max_new_tokens, sampling, asked.stop):
        answers[piece.prompt] += piece.text
        if piece.prompt in written or not seconds:
            now = time.perf_counter()
            seconds.append(now - began)
            began, written = now, set()
        written.add(piece.prompt)
    for prompt, answer in zip(asked.prompts, answers):
        print(f"prompt: {prompt!r}\nanswer: {answer!r}", flush=True)
    longest = max(len(writer.tokenizer.encode(prompt)) for prompt in asked.prompts)
    print(f"summary: {write_generation(asked.output_dir, _latencies(decoder, seconds, longest))}")
    return answers


def _require_room(writer: Writer, asked: Generation) -> None:
    """Raises UsageError for prompts whose answers may not fit: after the last token that fits all would be lost."""
    longest = writer.decoder.capacity
    problems = []
    for number, prompt in enumerate(asked.prompts):
        tokens = len(writer.tokenizer.encode(prompt))
        if tokens + asked.max_new_tokens > longest:
            new = f"with {asked.max_new_tokens} new ones, more than the {longest} that fit"
            what = f"prompt {number} has {tokens} tokens: {new}"
            rest = longest - tokens
            less = f"give generation.max_new_tokens={rest} or less" if rest > 0 else "give a shorter prompt"
            problems.append(Problem(what, hint=f"{less}, or compile with a longer model.max_seq_length"))
    UsageError.raise_if(problems)


def sampling_of(settings: GenerationApplication, prompt: int) -> Sampling:
    """How the answer to one of the prompts is chosen; each draws from a seed of its own."""
    asked = settings.generation
    if not asked.do_sample:
        return Sampling()
    return Sampling(asked.temperature, asked.top_k, asked.top_p, asked.seed + prompt)


def _latencies(decoder: Decoder, seconds: list[float], prompt: int) -> Latencies:
    """`seconds` of each round of tokens; simulated times of the graph that reads the prompts, and of one token."""
    lengths = sorted(decoder.profile.prefill)
    width = next((length for length in lengths if length >= prompt), lengths[-1])
    runs = -(-prompt // width)
    return Latencies(
        seconds, decoder.rows, runs * decoder.simulated_us(graph_name(width)), decoder.simulated_us(DECODE)
    )
