"""Compiling a language model for training, and training it: what rdu_train_llm.py does, alone or as one of several."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from compiler.driver import CompileResult, compile_spec
from compiler.frontend.model_file import ModelSpec
from ir.errors import Problem, UsageError
from ir.graph import SectionKind, SymbolKind
from ir.op import Array
from modelzoo.checkpoints import hugging_face
from modelzoo.data.prompts import IGNORED, files_of, read_sequences
from modelzoo.device import open_pef
from modelzoo.hollow import beside
from modelzoo.runners.requests import compile_request, recorded
from modelzoo.runners.schema import TrainingApplication
from modelzoo.runners.summary import TrainingSummary, write_training
from modelzoo.training import batches
from pef.exchange import Replicas
from runtime.collective import ALONE, Collective
from runtime.session import Session
from runtime.snrun.train import loss_name

LOSS_ONLY = "loss"


def compile_training(settings: TrainingApplication) -> CompileResult:
    """The training PEF of a configuration, without weights."""
    config = hugging_face.read_config(settings.checkpoint.folder)
    spec = training_spec(
        config, settings.training.batch_size, settings.model.max_seq_length, settings.training.learning_rate
    )
    request = compile_request(settings, f"{config.model_type}_train", settings.training.batch_size, inference=False)
    metadata = {**recorded(settings), "configuration": hugging_face.describe(config)}
    result = compile_spec(spec, request, metadata=metadata)
    print(f"PEF: {result.pef_path.resolve()}")
    return result


def training_spec(config: PretrainedConfig, batch: int, length: int, learning_rate: float) -> ModelSpec:
    """A causal language model without content that returns the mean loss of the labelled tokens, and AdamW."""
    longest = getattr(config, "max_position_embeddings", length)
    if length > longest:
        hint = f"give model.max_seq_length={longest} or less"
        raise UsageError(Problem(f"the model takes sequences of {longest} tokens, not of {length}", hint=hint))
    model = hugging_face.hollow(config).train()
    ids = torch.zeros(batch, length, dtype=torch.int64)
    samples = beside(model, {"input_ids": ids, "labels": ids.clone()})
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    return ModelSpec(model, samples, optimizer, name="llm", call=mean_loss)


def mean_loss(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The loss alone: logits of all tokens would be stored at every step."""
    return {LOSS_ONLY: model(**inputs, use_cache=False).loss}


@dataclass(frozen=True)
class StepMetrics:
    """One step: tokens that were learned from, mean loss over replicas, learning rate, seconds of host time."""

    tokens: int
    loss: float
    learning_rate: float
    seconds: float


@dataclass
class Trainer:
    """A session with the weights in it, and the data of one replica."""

    settings: TrainingApplication
    session: Session
    data: Mapping[str, Array]
    collective: Collective = ALONE
    metrics: list[StepMetrics] = field(default_factory=list)

    @property
    def batch(self) -> int:
        """Sequences in a step of one replica."""
        return self.session.symbols["input_ids"].type.shape[0]

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of one replica."""
        return len(self.data["input_ids"]) // self.batch

    def run(self, steps_per_epoch: int) -> Iterator[str]:
        """Train; yields what there is to say about each step."""
        training = self.settings.training
        ways = f"DP: {self.collective.size}-way, " if self.collective.size > 1 else ""
        order = training.seed + self.collective.rank
        last = min(training.num_epochs * steps_per_epoch, training.end_early_at_step or 2**63)
        rate = {"lr": training.learning_rate}
        for epoch in range(training.num_epochs):
            for step, batch in enumerate(self._epoch(order, epoch)):
                if step == steps_per_epoch or len(self.metrics) == last:
                    break
                began = time.perf_counter()
                outputs = self.session.run(inputs=batch, hyper=rate, collective=self.collective)
                loss = self._mean(float(outputs[loss_name(self.session)]))
                tokens = int((batch["labels"][:, 1:] != IGNORED).sum()) * self.collective.size
                seconds = time.perf_counter() - began
                self.metrics.append(StepMetrics(tokens, loss, training.learning_rate, seconds))
                place = f"Epoch [{epoch + 1}/{training.num_epochs}], Step [{step + 1}/{steps_per_epoch}]"
                yield f"{ways}{place}, Loss: {loss:.4f}"

    def _epoch(self, seed: int, epoch: int) -> Iterator[dict[str, Array]]:
        yield from batches(self.data, self.batch, 1, seed * 1_000_003 + epoch)

    def _mean(self, loss: float) -> float:
        """Over the replicas, whose batches differ."""
        total = np.array([loss], np.float32)
        self.collective.all_reduce(total)
        return float(total[0]) / self.collective.size

    def evaluate(self, data: Mapping[str, Array]) -> float:
        """The mean loss over sequences that were not trained on, whole batches of them."""
        found = []
        for batch in batches(data, self.batch, 1, 0):
            outputs = self.session.run([SectionKind.FWD.value], inputs=batch)
            found.append(float(outputs[loss_name(self.session)]))
        return float(np.mean(found))


def open_training(settings: TrainingApplication) -> tuple[Session, PretrainedConfig]:
    """The PEF with the checkpoint's weights, or with random ones where only a configuration is given."""
    assert settings.samba_run is not None
    session = open_pef(settings.samba_run.pef)
    config = hugging_face.read_config(settings.checkpoint.folder)
    _require_length(session, settings)
    if settings.checkpoint.model_name_or_path is not None:
        hugging_face.bind(hugging_face.pretrained(settings.checkpoint.model_name_or_path), session)
    else:
        hugging_face.bind(hugging_face.initialised(config, settings.training.seed), session)
    return session, config


def read_data(settings: TrainingApplication, part: str, rank: int = 0, size: int = 1) -> dict[str, Array]:
    """The sequences of a replica: every `size`-th file. Raises UsageError where there is nothing, or too little."""
    folder = settings.training.dataset
    assert folder is not None
    files = files_of(folder, part)
    if not files:
        hint = "make it with `snc zoo prepare`"
        raise UsageError(Problem(f"{folder} has no {part}_1_of_N.hdf5", hint=hint))
    if len(files) < size:
        hint = f"split the data into {size} files or more: --num_training_splits={size}"
        raise UsageError(Problem(f"{folder} has {len(files)} {part} files for {size} replicas", hint=hint))
    data = read_sequences(files[rank::size])
    length = data["input_ids"].shape[1]
    if length != settings.model.max_seq_length:
        hint = f"prepare the data with --max_seq_length={settings.model.max_seq_length}"
        raise UsageError(Problem(f"{folder} has sequences of {length} tokens", hint=hint))
    learned = (data["labels"][:, 1:] != IGNORED).any(1)
    return {name: array[learned] for name, array in data.items()}


def train(settings: TrainingApplication) -> Path:
    """Train on one device, write the checkpoint and the summaries; returns the checkpoint's folder."""
    session, config = open_training(settings)
    trainer = Trainer(settings, session, read_data(settings, "train"))
    _require_batch(trainer)
    for line in trainer.run(trainer.steps_per_epoch):
        print(line, flush=True)
    return finish(trainer, config)


def finish(trainer: Trainer, config: PretrainedConfig) -> Path:
    """Evaluate where asked for, and write everything."""
    settings, session = trainer.settings, trainer.session
    evaluation = None
    if settings.training.evaluate:
        evaluation = trainer.evaluate(read_data(settings, "dev"))
        print(f"Evaluation loss: {evaluation:.4f}")
    folder = settings.training.output_dir
    hugging_face.write(session, config, folder, tokenizer_from=settings.checkpoint.folder)
    replicas = Replicas(trainer.collective.size, False)
    report = session.run_timing(replicas=replicas)
    summary = TrainingSummary(
        epochs=settings.training.num_epochs,
        batch_per_worker=trainer.batch,
        parameters=sum(session.symbols[name].type.numel for name in session.names(SymbolKind.PARAMETER)),
        simulated_us_per_step=report.us(report.cycles),
        evaluation_loss=evaluation,
    )
    write_training(folder, summary, trainer.metrics)
    print(f"checkpoint: {folder}")
    return folder


def _require_length(session: Session, settings: TrainingApplication) -> None:
    shape: tuple[int, ...] = session.symbols["input_ids"].type.shape if "input_ids" in session.symbols else ()
    if len(shape) != 2 or "labels" not in session.symbols:
        hint = "compile with rdu_train_llm.py command=compile"
        raise UsageError(Problem(f"{session.pef.header.name} was not compiled to train a language model", hint=hint))
    wanted = (settings.training.batch_size, settings.model.max_seq_length)
    if shape != wanted:
        hint = f"give training.batch_size={shape[0]} model.max_seq_length={shape[1]}, or compile again"
        raise UsageError(Problem(f"the PEF is for {shape[0]} sequences of {shape[1]} tokens, not {wanted}", hint=hint))


def _require_batch(trainer: Trainer) -> None:
    if trainer.steps_per_epoch == 0:
        count = len(trainer.data["input_ids"])
        hint = "give more data, or compile for a smaller batch"
        raise UsageError(Problem(f"{count} sequences do not fill a batch of {trainer.batch}", hint=hint))


def configuration_in(session: Session) -> dict[str, Any]:
    """The model's configuration as the PEF tells it."""
    found: dict[str, Any] = json.loads(session.pef.header.metadata_json).get("configuration", {})
    return found
