"""Hugging Face folders in and out: a configuration, safetensors (one file or several), and a tokenizer.

A PEF is compiled from the configuration alone, without any content; its symbols have the names of the model's
parameters and buffers, so that a folder's weights are bound late, and written back under the same names.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PretrainedConfig, PreTrainedModel

from ir.errors import BindError, Problem, UsageError
from ir.graph import SymbolKind
from ir.types import DType
from modelzoo.checkpoints.folders import replacing_folder
from modelzoo.hollow import without_content
from runtime.session import Session

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
"""What a folder may hold beside weights and configuration that a tokenizer is made from."""

LFS_POINTER = b"version https://git-lfs"
"""How a file begins that git-lfs has not fetched."""

SHARD_SIZE = "5GB"

log = logging.getLogger("snc")


def read_config(folder: Path) -> PretrainedConfig:
    """The configuration in a folder. Raises UsageError where there is none that transformers knows."""
    if not (folder / "config.json").is_file():
        hint = "give the folder of a Hugging Face checkpoint, or one with a config.json"
        raise UsageError(Problem(f"{folder} has no config.json", hint=hint))
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(Problem(f"{folder}/config.json cannot be used: {error}")) from error


def element_type(config: PretrainedConfig) -> torch.dtype:
    """What a checkpoint's weights are in: float32 unless it says otherwise. Raises UsageError for float16."""
    dtype = getattr(config, "dtype", None) or torch.float32
    if dtype not in (torch.float32, torch.bfloat16):
        hint = "save the checkpoint in bfloat16 or float32"
        raise UsageError(Problem(f"the checkpoint is in {dtype}, which the device does not have", hint=hint))
    return dtype


def hollow(config: PretrainedConfig) -> PreTrainedModel:
    """The model of a configuration without content: what a PEF is compiled from."""
    return without_content(lambda: AutoModelForCausalLM.from_config(config, dtype=element_type(config)))


def initialised(config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """The model of a configuration with random weights."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=element_type(config))


def pretrained(folder: Path) -> PreTrainedModel:
    """The model in a folder with its weights. Raises UsageError for a folder that is not whole."""
    config = read_config(folder)
    _require_weights(folder)
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=element_type(config), local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # transformers and safetensors raise many kinds for files that are not whole
        raise UsageError(Problem(f"{folder} cannot be loaded: {error}", hint="copy the checkpoint again")) from error
    problems = [
        Problem(f"{folder} lacks {name!r}", hint="give the whole checkpoint, or its own config.json")
        for name in sorted(found["missing_keys"])
    ]
    problems += [
        Problem(f"{folder}: {str(name)!r} does not have the shape that config.json says")
        for name in found["mismatched_keys"]
    ]
    UsageError.raise_if(problems)
    return model


def bind(model: PreTrainedModel, session: Session) -> None:
    """Write a model's parameters and buffers into a session, by name.

    Raises BindError that lists everything of the PEF that the model lacks, and every shape that differs.
    """
    tensors = _tensors(model)
    needed = [n for n in session.names(SymbolKind.PARAMETER, SymbolKind.BUFFER) if not session.has_value(n)]
    BindError.raise_if(
        [Problem(f"the checkpoint lacks {n!r}") for n in needed if n not in tensors and not n.startswith("cache.")]
    )
    taken = {name: tensors[name] for name in tensors if name in session.symbols}
    rounded = [n for n, t in taken.items() if t.dtype is torch.float32 and session.symbols[n].type.dtype is DType.BF16]
    if rounded:
        log.warning("the PEF holds %d tensors in bfloat16 that the checkpoint has in float32: rounded", len(rounded))
    problems: list[Problem] = []
    for name, tensor in taken.items():
        try:
            session.write(name, tensor.detach().float().numpy() if tensor.is_floating_point() else tensor.numpy())
        except BindError as error:
            problems += error.problems
    BindError.raise_if(problems)


def write(
    session: Session,
    config: PretrainedConfig,
    folder: Path,
    tokenizer_from: Path | None = None,
    shard_size: str = SHARD_SIZE,
) -> None:
    """Write what a session holds as a folder that `from_pretrained` loads, bit by bit as the device holds it.

    The folder appears whole or not at all. `tokenizer_from` is where the tokenizer's files are copied from.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=element_type(config))
    state = {name: _as_tensor(session, name) for name, _ in model.named_parameters()}
    model.load_state_dict(state, strict=False, assign=True)
    model.tie_weights()
    if (tokenizer_from or folder).joinpath("generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(tokenizer_from or folder)
    with replacing_folder(folder) as new:
        model.save_pretrained(new, max_shard_size=shard_size)
        for name in TOKENIZER_FILES:
            if tokenizer_from is not None and (tokenizer_from / name).is_file():
                shutil.copyfile(tokenizer_from / name, new / name)


def _tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _as_tensor(session: Session, name: str) -> Tensor:
    raw = torch.from_numpy(session.raw(name))
    return raw.view(torch.bfloat16) if session.symbols[name].type.dtype is DType.BF16 else raw


def _require_weights(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        hint = "only safetensors are read; with config_name the weights are random"
        raise UsageError(Problem(f"{folder} holds no .safetensors file", hint=hint))
    pointers = [file.name for file in files if _starts(file) == LFS_POINTER]
    if pointers:
        raise UsageError(Problem(f"{folder}: {', '.join(pointers)} are pointers, not weights", hint="git lfs pull"))


def _starts(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(LFS_POINTER))


def describe(config: PretrainedConfig) -> dict[str, Any]:
    """What a PEF tells of the model it was compiled for: its configuration, without where it came from."""
    found: dict[str, Any] = config.to_dict()
    return {key: value for key, value in found.items() if key not in ("_name_or_path", "transformers_version")}
