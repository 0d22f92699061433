"""Data for training, checked against the PEF that is going to read it, and kept in the box under a name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ir.graph import SymbolKind
from ir.op import Array
from modelbox.box_file import Home, Profile
from modelbox.refusal import Reason, Refusal
from modelbox.service.tensors import DEVICE, as_device
from modelbox.sources import Source
from pef import file as pef_file
from pef.codec import decode_type
from pef.files import write_bytes
from pef.npz import npz_bytes, read_npz

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
FOLDER = "data"
"""In the box: where files lie that requests may name."""


@dataclass(frozen=True)
class Stored:
    """A data set in the box."""

    name: str
    samples: int
    sha256: str


def path_of(home: Home, name: str) -> Path:
    """Where a data set is kept. Raises Refusal for a name that cannot be one."""
    if not NAME.match(name):
        raise Refusal(Reason.INVALID, "a data set's name has letters, digits, - and _", parameter="dataset")
    return home.state / "data" / f"{name}.npz"


def require(home: Home, name: str) -> Path:
    """The file of a data set. Raises Refusal where there is none."""
    path = path_of(home, name)
    if not path.is_file():
        raise Refusal(Reason.NOT_FOUND, f"there is no data set {name!r}: Preprocess makes one", parameter="dataset")
    return path


def preprocess(
    home: Home, profile: Profile, name: str, tensors: Mapping[str, Array], jsonl: bytes, file: str
) -> Stored:
    """Check data and keep it; it is on the disk when this returns. Raises Refusal."""
    path = path_of(home, name)
    if sum([bool(tensors), bool(jsonl), bool(file)]) != 1:
        raise Refusal(Reason.INVALID, "give exactly one of tensors, jsonl and file")
    if file:
        tensors, jsonl = _read(home, file)
    arrays = _sequences(home, profile, jsonl) if jsonl else dict(tensors)
    checked, samples = _checked(home, profile, arrays)
    content = npz_bytes(checked)
    write_bytes(path, content)
    return Stored(name, samples, hashlib.sha256(content).hexdigest())


def _read(home: Home, file: str) -> tuple[dict[str, Array], bytes]:
    """A file in the box's data folder."""
    folder = (home.folder / FOLDER).resolve()
    path = (folder / file).resolve()
    if not path.is_relative_to(folder) or not path.is_file() or path.suffix not in (".npz", ".jsonl"):
        raise Refusal(Reason.NOT_FOUND, f"there is no .npz or .jsonl file {file!r} in the box's data", parameter="file")
    return ({}, path.read_bytes()) if path.suffix == ".jsonl" else (read_npz(path, "data set"), b"")


def _sequences(home: Home, profile: Profile, jsonl: bytes) -> dict[str, Array]:
    """Prompts and completions as sequences of tokens with labels."""
    if not home.box.is_text or profile.length is None:
        raise Refusal(Reason.INVALID, "jsonl is for text models: give tensors", parameter="jsonl")
    from transformers import AutoTokenizer

    from modelzoo.data.prompts import COMPLETION, IGNORED, packed

    articles = []
    for number, line in enumerate(jsonl.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            article = json.loads(line)
            articles.append((str(article.get("prompt", "")), str(article["completion"])))
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            what = f'line {number} is not {{"prompt": "...", "completion": "..."}}'
            raise Refusal(Reason.INVALID, what, parameter="jsonl") from error
    if not articles:
        raise Refusal(Reason.INVALID, "there are no lines", parameter="jsonl")
    tokenizer = AutoTokenizer.from_pretrained(home.path(Source.of(home.box.model).what), local_files_only=True)
    tokens, types = packed(articles, tokenizer, profile.length)
    learned = ((types == COMPLETION)[:, 1:]).any(1)
    labels = np.where(types == COMPLETION, tokens, IGNORED).astype(np.int32)
    return {"input_ids": tokens[learned], "labels": labels[learned]}


def _checked(home: Home, profile: Profile, arrays: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
    """Arrays as the PEF takes them, but for the number of rows, and that number."""
    pef = pef_file.read(home.path(profile.pef))
    inputs = {s.name: decode_type(s.type) for s in pef.symbols if SymbolKind(s.kind) is SymbolKind.INPUT}
    if arrays.keys() != inputs.keys():
        raise Refusal(Reason.INVALID, f"{profile.name} reads {', '.join(inputs)}, not {', '.join(arrays) or 'nothing'}")
    found: dict[str, Array] = {}
    for name, array in arrays.items():
        wanted = inputs[name].shape
        if array.ndim != len(wanted) or array.shape[1:] != wanted[1:]:
            what = f"{name} is {list(array.shape)}, not {[-1, *wanted[1:]]}"
            raise Refusal(Reason.INVALID, what)
        found[name] = as_device(name, array, DEVICE[inputs[name].dtype])
        if found[name].dtype.kind == "f" and not np.isfinite(found[name]).all():
            raise Refusal(Reason.INVALID, f"{name} is not finite everywhere")
    rows = {len(array) for array in found.values()}
    if len(rows) != 1:
        numbers = ", ".join(map(str, sorted(rows)))
        raise Refusal(Reason.INVALID, f"the tensors differ in how many rows they have: {numbers}")
    if rows == {0}:
        raise Refusal(Reason.INVALID, "the tensors have no rows")
    if (count := rows.pop()) < profile.batch:
        raise Refusal(Reason.INVALID, f"{count} samples do not fill a batch of {profile.batch}")
    return found, count
