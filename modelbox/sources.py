"""What a box's model is made from, and compiling it for a profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.driver import CompileRequest, CompileResult, Progress, compile_spec
from ir.errors import Problem, UsageError
from modelbox.box_file import Home, Profile, Use

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ZOO, FILE, HUGGING_FACE = "zoo", "file", "huggingface"
LEARNING_RATE = 1e-5
"""What a language model's PEF is compiled with; requests give their own."""


@dataclass(frozen=True)
class Source:
    """`kind`:`what`, as box.yaml writes it."""

    kind: str
    what: str

    @staticmethod
    def of(model: str) -> Source:
        """From the text in box.yaml."""
        kind, _, what = model.partition(":")
        return Source(kind, what)

    @property
    def uses(self) -> tuple[Use, ...]:
        """What it can be compiled for."""
        return ("generation", "training") if self.kind == HUGGING_FACE else ("inference", "training")


def configuration(home: Home) -> PretrainedConfig:
    """The configuration of a language model. Raises UsageError where there is none."""
    from modelzoo.checkpoints.hugging_face import read_config

    return read_config(home.path(Source.of(home.box.model).what))


def compile_profile(
    home: Home, profile: Profile, folder: Path, progress: Progress = lambda what, done: None
) -> CompileResult:
    """Compile the box's model for a profile, into `folder`/NAME/NAME.pef. Raises SncError."""
    source = Source.of(home.box.model)
    if profile.use not in source.uses:
        hint = f"its profiles can be for {' and '.join(source.uses)}"
        raise UsageError(Problem(f"{home.box.model} cannot be compiled for {profile.use}", hint=hint))
    inference = profile.use != "training"
    name = profile.name
    request = CompileRequest(name, inference, profile.batch, folder, name, home.box.machine)
    if source.kind == ZOO:
        from modelzoo.catalogue import find

        model, _, size = source.what.partition("/")
        spec = find(model).spec(size, training=not inference, batch=profile.batch, length=profile.length)
        return compile_spec(spec, request, progress)
    if source.kind == FILE:
        from compiler.frontend.model_file import load_model

        file, colon, attribute = source.what.partition(":")
        spec = load_model(f"{home.path(file)}{colon}{attribute}", profile.batch, inference=inference)
        return compile_spec(spec, request, progress)
    return _compile_language_model(home, profile, request, progress)


def _compile_language_model(home: Home, profile: Profile, request: CompileRequest, progress: Progress) -> CompileResult:
    from modelzoo.checkpoints.hugging_face import describe, hollow
    from modelzoo.generation.graphs import Profile as GenerationProfile
    from modelzoo.generation.graphs import compile_generation
    from modelzoo.runners.language_training import training_spec

    if profile.length is None:
        raise UsageError(Problem(f"profile {profile.name} has no length", hint="give the tokens of a sequence"))
    config = configuration(home)
    metadata = {"configuration": describe(config)}
    if profile.use == "training":
        spec = training_spec(config, profile.batch, profile.length, LEARNING_RATE)
        return compile_spec(spec, request, progress, metadata)
    prefill = profile.prefill or (profile.length,)
    shape = GenerationProfile(profile.batch, profile.length, prefill, config.vocab_size)
    return compile_generation(hollow(config), shape, request, metadata, progress)
