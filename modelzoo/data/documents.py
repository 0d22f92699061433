"""The project's own documentation as a text to learn, and a byte-level tokenizer trained on it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ir.errors import Problem, UsageError
from ir.op import Array
from pef.files import write_bytes

HOME = Path(__file__).resolve().parents[2]
END = "<|endoftext|>"
VOCABULARY = 512
HELD_OUT = 8
"""Of so many windows, one is kept for the test."""
TRAINED_WINDOWS, TESTED_WINDOWS = 4096, 512
"""At most, from all over the documentation: training takes no longer when that grows."""


def pages() -> list[str]:
    """The documentation, page by page. Raises UsageError where the package is installed without it."""
    found = [HOME / "README.md", *sorted((HOME / "docs").glob("*.md"))]
    texts = [path.read_text() for path in found if path.is_file()]
    if not texts:
        raise UsageError(Problem(f"there is no documentation in {HOME}", hint="use a checkout of the project"))
    return texts


@cache
def tokenizer(vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Byte pairs merged by how often they occur in the documentation; every text can be written in it."""
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    pairs.train_from_iterator(pages(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=pairs, eos_token=END, bos_token=END, pad_token=END)


def windows(length: int, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Training and test sequences of tokens [n, length]; the seed says where the first one begins."""
    tokens = np.array(tokenizer().encode(END.join(pages())), np.int32)
    start = int(np.random.default_rng(seed).integers(length))
    count = (len(tokens) - start) // length
    ids = tokens[start : start + count * length].reshape(count, length)
    tests = np.arange(count) % HELD_OUT == HELD_OUT - 1
    return {"input_ids": _spread(ids[~tests], TRAINED_WINDOWS)}, {"input_ids": _spread(ids[tests], TESTED_WINDOWS)}


def _spread(rows: Array, most: int) -> Array:
    """At most so many of the rows, evenly from first to last."""
    kept: Array = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    return kept


def write_jsonl(path: Path, paragraphs: int = 1) -> int:
    """The documentation as articles of some paragraphs each, in JSON lines without prompts; returns how many."""
    articles = []
    for page in pages():
        parts = [part.strip() for part in page.split("\n\n") if part.strip()]
        groups = (parts[i : i + paragraphs] for i in range(0, len(parts), paragraphs))
        articles += [json.dumps({"prompt": "", "completion": "\n\n".join(group)}) for group in groups]
    write_bytes(path, ("\n".join(articles) + "\n").encode())
    return len(articles)
