"""Prompts and completions in JSON lines, turned into HDF5 files of token sequences of one length.

A line is {"prompt": "...", "completion": "..."}; the prompt may be missing. Articles follow one another in a sequence,
each ended by the tokenizer's end token, and the last sequence of a file is filled up. Beside `input_ids` the files
have `token_type_ids`: what a token belongs to. Only tokens of completions are learned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ir.errors import Problem, UsageError
from ir.op import Array

PROMPT, COMPLETION, PADDING = 0, 1, 2
IGNORED = -100
"""The label of a token that is not learned, in PyTorch and transformers."""


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer."""

    eos_token_id: int | None

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """The tokens of a text."""


def prepare(
    source: Path, folder: Path, tokenizer: Tokenizer, length: int, *, training_files: int, dev_share: float, seed: int
) -> dict[str, int]:
    """Write train_1_of_N.hdf5 and so on, and dev_1_of_1.hdf5; returns the sequences in each file.

    Articles are shuffled by the seed and dealt out to the files. Raises UsageError for lines that cannot be used.
    """
    articles = list(read_articles(source))
    order = np.random.default_rng(seed).permutation(len(articles))
    held_out = round(dev_share * len(articles))
    training = [articles[i] for i in order[held_out:]]
    parts = {f"train_{n + 1}_of_{training_files}": training[n::training_files] for n in range(training_files)}
    if held_out:
        parts["dev_1_of_1"] = [articles[i] for i in order[:held_out]]
    if empty := [name for name, part in parts.items() if not part]:
        hint = f"{len(articles)} articles fill at most {len(training)} training files"
        raise UsageError(Problem(f"nothing is left for {', '.join(empty)}", hint=hint))
    counts = {}
    for name, part in parts.items():
        tokens, types = packed(part, tokenizer, length)
        write_sequences(folder / f"{name}.hdf5", tokens, types)
        counts[name] = len(tokens)
    return counts


def read_articles(source: Path) -> Iterator[tuple[str, str]]:
    """Prompt and completion of every line. Raises UsageError for all lines that have none."""
    problems = []
    if not source.is_file():
        raise UsageError(Problem(f"there is no file {source}", hint="give a .jsonl file"))
    for number, line in enumerate(source.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            article: Any = json.loads(line)
            yield str(article.get("prompt", "")), str(article["completion"])
        except (json.JSONDecodeError, KeyError, AttributeError):
            hint = 'write {"prompt": "...", "completion": "..."}'
            problems.append(Problem("the line holds no completion", f"{source}:{number}", hint))
    UsageError.raise_if(problems)


def packed(articles: Sequence[tuple[str, str]], tokenizer: Tokenizer, length: int) -> tuple[Array, Array]:
    """Tokens and their types [sequences, length] of articles one after another."""
    ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    tokens: list[int] = []
    types: list[int] = []
    for prompt, completion in articles:
        asked = tokenizer.encode(prompt, add_special_tokens=False) if prompt else []
        answer = [*tokenizer.encode(completion, add_special_tokens=False), *ends]
        tokens += [*asked, *answer]
        types += [PROMPT] * len(asked) + [COMPLETION] * len(answer)
    missing = -len(tokens) % length
    tokens += (ends or [0]) * missing
    types += [PADDING] * missing
    return np.array(tokens, np.int32).reshape(-1, length), np.array(types, np.int32).reshape(-1, length)


def write_sequences(path: Path, tokens: Array, types: Array) -> None:
    """One file, atomically."""
    import h5py

    from pef.files import replacing

    with replacing(path) as new, h5py.File(new, "w") as file:
        file.create_dataset("input_ids", data=tokens, compression="gzip")
        file.create_dataset("token_type_ids", data=types, compression="gzip")


def read_sequences(paths: Sequence[Path]) -> dict[str, Array]:
    """Tokens and labels [sequences, length] of some files. Raises UsageError for files without them."""
    import h5py

    tokens, types = [], []
    for path in paths:
        try:
            with h5py.File(path, "r") as file:
                tokens.append(np.asarray(file["input_ids"], np.int32))
                types.append(np.asarray(file["token_type_ids"], np.int32))
        except (OSError, KeyError) as error:
            hint = "make it with `snc zoo prepare`"
            raise UsageError(Problem(f"{path} holds no input_ids and token_type_ids: {error}", hint=hint)) from error
    ids, kinds = np.concatenate(tokens), np.concatenate(types)
    return {"input_ids": ids, "labels": np.where(kinds == COMPLETION, ids, IGNORED).astype(np.int32)}


def files_of(folder: Path, part: str) -> list[Path]:
    """The files of `train` or `dev` in a folder, in their order."""
    return sorted(folder.glob(f"{part}_*_of_*.hdf5"), key=lambda path: int(path.stem.split("_")[1]))
