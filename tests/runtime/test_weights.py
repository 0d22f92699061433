"""Weights in files and checkpoints: what is written is what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ir.errors import UsageError
from runtime.files.checkpoint import Progress, resume, write_checkpoint
from runtime.files.weights import read_weights
from runtime.session import Session
from tests.runtime import programs
from tests.runtime.programs import rand


def test_checkpoints_are_read_by_the_library_and_back(tmp_path: Path) -> None:
    session = Session(programs.training())
    session.load_weights({"w": rand(8, 4)})
    path = tmp_path / "w.safetensors"
    write_checkpoint(path, session, Progress(1, 2))
    assert np.array_equal(load_file(path)["w"], rand(8, 4))
    assert np.array_equal(read_weights(path)["w"], rand(8, 4))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_bf16_is_kept_bit_by_bit(tmp_path: Path) -> None:
    pef = programs.half_precision()
    next(symbol for symbol in pef.symbols if symbol.name == "x").kind = "buffer"
    session = Session(pef)
    session.write("x", rand(programs.ROWS, 16))
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, session, Progress(1, 2))
    with safe_open(path, "np") as kept:
        assert kept.get_slice("x").get_dtype() == "BF16"
    assert np.array_equal(read_weights(path)["x"], session.read("x"))


def test_npz_and_safetensors(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", w=rand(8, 4))
    save_file({"w": rand(8, 4)}, tmp_path / "w.safetensors")
    assert all(np.array_equal(read_weights(tmp_path / name)["w"], rand(8, 4)) for name in ("w.npz", "w.safetensors"))


@pytest.mark.parametrize("key", [None, "model", "state_dict"])
def test_pytorch_files(tmp_path: Path, key: str | None) -> None:
    torch = pytest.importorskip("torch")
    state = {"w": torch.ones(2, 2, dtype=torch.bfloat16), "n": torch.tensor(3)}
    torch.save({key: state} if key else state, tmp_path / "w.pt")
    weights = read_weights(tmp_path / "w.pt")
    assert weights["w"].dtype == np.float32 and weights["n"] == 3
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UsageError, match="no state dict"):
        read_weights(tmp_path / "list.pt")


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "w.pt", "w.txt"])
def test_unreadable_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match=name):
        read_weights(tmp_path / name)


def test_checkpoints_resume(tmp_path: Path) -> None:
    first, second = Session(programs.training()), Session(programs.training())
    first.load_weights({"w": rand(8, 4)})
    progress = Progress(7, 3, {"lr": 0.5})
    write_checkpoint(tmp_path / "c.safetensors", first, progress)
    assert resume(tmp_path / "c.safetensors", second) == progress
    assert np.array_equal(second.read("w"), rand(8, 4))
    save_file({"w": rand(8, 4)}, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="not a checkpoint"):
        resume(tmp_path / "w.safetensors", second)
