"""Damaged files of arrays, weights and checkpoints: the numbers that were written, or one error in our own words."""

from __future__ import annotations

import io
import random
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from ir.errors import PefError, SncError, UsageError
from ir.op import Array
from pef.belonging import WEIGHTS, require_own, seal
from pef.npz import read_npz
from runtime.files.checkpoint import Progress, resume, write_checkpoint
from runtime.files.weights import read_weights
from runtime.session import Session
from tests.mutants.damage import damaged, with_other_header
from tests.mutants.judge import time_limit
from tests.runtime import programs
from tests.runtime.programs import rand

FEW, MANY = 100, 1000

Fate = Callable[[Path, bytes, random.Random], str]


def arrays() -> dict[str, Array]:
    """Some of every kind that data files hold."""
    return {
        "features": rand(40, 8),
        "label": np.arange(40, dtype=np.int64) % 3,
        "mask": np.arange(12).reshape(3, 4) % 2 == 0,
        "scale": np.array(0.5, np.float32),
        "turned": rand(6, 5).T,
    }


def same(found: Mapping[str, Array], expected: Mapping[str, Array]) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype for name in expected
    )


def npz(compressed: bool) -> bytes:
    content = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(content, **arrays())  # type: ignore[arg-type]
    return content.getvalue()


def fate_of_npz(path: Path, content: bytes, pick: random.Random) -> str:
    path.write_bytes(damaged(content, pick))
    try:
        found = read_npz(path, "data file")
    except UsageError as error:
        assert len(str(error).splitlines()) == 2, str(error)
        return "refused"
    assert same(found, arrays()), "other arrays than were written"
    return "unharmed"


def trained() -> Session:
    session = Session(programs.training(), threads=1)
    session.load_weights({"w": rand(8, 4)})
    return session


def checkpoint(folder: Path) -> bytes:
    path = folder / "whole.safetensors"
    write_checkpoint(path, trained(), Progress(7, 3, {"lr": 0.5}))
    return path.read_bytes()


def fate_of_checkpoint(path: Path, content: bytes, pick: random.Random) -> str:
    change = pick.choice([damaged, with_other_header])
    path.write_bytes(change(content, pick))
    session = Session(programs.training(), threads=1)
    try:
        progress = resume(path, session)
    except UsageError as error:
        assert len(str(error).splitlines()) == 2, str(error)
        return "refused"
    assert path.read_bytes() == content, "a changed checkpoint was taken"
    assert progress == Progress(7, 3, {"lr": 0.5}) and np.array_equal(session.read("w"), rand(8, 4))
    return "unharmed"


def fate_of_own_weights(path: Path, content: bytes, pick: random.Random) -> str:
    """The compiler's file beside a PEF: whatever is changed is noticed."""
    pef = programs.training()
    seal(pef, sha256(content).digest(), b"")
    change = damaged(content, pick)
    try:
        require_own(pef, WEIGHTS, path, change)
    except PefError:
        return "refused"
    assert change == content
    return "unharmed"


def fate_of_weights(path: Path, content: bytes, pick: random.Random) -> str:
    """A file that the user names. Its format has no checksum: it is taken, or refused in our own words."""
    path.write_bytes(pick.choice([damaged, with_other_header])(content, pick))
    session = Session(programs.training(), threads=1)
    try:
        session.load_weights(read_weights(path))
    except SncError as error:
        assert error.problems and all(problem.message for problem in error.problems)
        assert not session.has_value("w")
        return "refused"
    return "taken"


def state_dict() -> bytes:
    content = io.BytesIO()
    torch.save({"w": torch.from_numpy(rand(8, 4))}, content)
    return content.getvalue()


def fate_of_state_dict(path: Path, content: bytes, pick: random.Random) -> str:
    path = path.with_suffix(".pt")
    path.write_bytes(damaged(content, pick))
    try:
        read_weights(path)
    except UsageError as error:
        assert len(str(error).splitlines()) == 2, str(error)
        return "refused"
    return "taken"


CASES: dict[str, tuple[Callable[[Path], bytes], Fate]] = {
    "npz": (lambda folder: npz(compressed=False), fate_of_npz),
    "compressed npz": (lambda folder: npz(compressed=True), fate_of_npz),
    "checkpoint": (checkpoint, fate_of_checkpoint),
    "weights of the compiler": (checkpoint, fate_of_own_weights),
    "weights of the user": (checkpoint, fate_of_weights),
    "state dict": (lambda folder: state_dict(), fate_of_state_dict),
}


def fates(case: str, folder: Path, seeds: range) -> Counter[str]:
    make, fate = CASES[case]
    content, path = make(folder), folder / "damaged.safetensors"
    found: Counter[str] = Counter()
    wrong = []
    for seed in seeds:
        try:
            with time_limit():
                found[fate(path, content, random.Random(f"{case} {seed}"))] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            wrong.append(f"seed {seed}: {type(error).__name__}: {error}")
            traceback.print_exc()
            print(wrong[-1], flush=True)
    assert not wrong, f"{len(wrong)} of {len(seeds)}:\n" + "\n".join(wrong)
    return found


@pytest.mark.parametrize("case", CASES)
def test_some_damaged_files(case: str, tmp_path: Path) -> None:
    assert fates(case, tmp_path, range(FEW))["refused"] > FEW // 4


@pytest.mark.full
@pytest.mark.parametrize("case", CASES)
def test_many_damaged_files(case: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    found = fates(case, tmp_path, range(FEW, FEW + MANY))
    assert found["refused"] > MANY // 4
    record_property(case, dict(found))
