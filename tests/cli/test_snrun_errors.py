"""What `snrun` says when something is wrong, one case per thing a user can do; nothing is left behind."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from safetensors.numpy import load_file, save_file

from pef import file
from tests.cli.conftest import Compiled, assert_refused, listing, run_snrun

ROOT = Path(__file__).parents[2]
Write = Callable[..., Path]


def snrun_in(folder: Path, *arguments: object) -> Result:
    """`snrun`, and a check that it wrote nothing."""
    before = listing(folder)
    result = run_snrun(*arguments)
    assert listing(folder) == before
    return result


def floats(*shape: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.zeros(shape, np.float32)


# ---- the PEF


def test_missing_pef(tmp_path: Path) -> None:
    result = snrun_in(tmp_path, tmp_path / "nowhere.pef")
    assert_refused(result, "PEF", "nowhere.pef does not exist", "check the path")


def test_a_folder(tmp_path: Path) -> None:
    assert_refused(snrun_in(tmp_path, tmp_path), "PEF", "is a folder")


def test_a_foreign_file(tmp_path: Path) -> None:
    (tmp_path / "text.pef").write_text("hello")
    assert_refused(snrun_in(tmp_path, tmp_path / "text.pef"), "PEF", "text.pef is not a PEF")


def test_a_corrupted_pef(inference: Compiled, tmp_path: Path) -> None:
    content = bytearray(inference.pef.read_bytes())
    content[len(content) // 2] ^= 1
    inference.pef.write_bytes(content)
    assert_refused(snrun_in(tmp_path, inference.pef), "PEF", "small.pef is corrupted", "compile the model")


def test_a_newer_pef(inference: Compiled, tmp_path: Path) -> None:
    content = bytearray(inference.pef.read_bytes())
    struct.pack_into("<I", content, 8, file.FORMAT_VERSION + 1)
    inference.pef.write_bytes(content)
    assert_refused(snrun_in(tmp_path, inference.pef), "PEF", f"version {file.FORMAT_VERSION + 1}", "upgrade")


def test_an_illegal_pef(inference: Compiled, tmp_path: Path) -> None:
    pef = file.read(inference.pef)
    next(net for net in pef.configurations[0].nets if net.route).ClearField("route")
    file.write(pef, inference.pef)
    assert_refused(snrun_in(tmp_path, inference.pef), "CHECK", "the route does not lead from")


# ---- data


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"features": floats(40, 9)}, ["'features' has shape [40, 9]", "the PEF expects [16, 8]", "try: "]),
        ({"features": floats(40)}, ["'features' has shape [40]", "try: "]),
        ({"features": np.zeros((40, 8), np.int64)}, ["'features' is int64", "the PEF expects f32", "try: "]),
        ({"label": floats(40)}, ["'label' is float32", "the PEF expects i32", "try: "]),
        ({"label": np.full(40, 1 << 40)}, ["'label' has values", "beyond i32", "try: "]),
        ({"colour": floats(40)}, ["'colour', which is not an input", "features, label"]),
        ({"label": np.zeros(30, np.int32)}, ["different numbers of samples", "features 40", "label 30"]),
        ({"features": floats(40, 7), "label": floats(40, 2)}, ["'features' has shape", "'label' has shape"]),
        ({"features": floats(0, 8), "label": np.zeros(0, np.int32)}, ["'features' has shape [0, 8]"]),
    ],
)
def test_data_that_does_not_fit(
    inference: Compiled, data: Write, tmp_path: Path, changes: dict[str, object], expected: list[str]
) -> None:
    path = data(**changes)
    assert_refused(snrun_in(tmp_path, inference.pef, "--input", path), "BIND", *expected)


def test_data_that_lacks_an_input(inference: Compiled, data: Write, tmp_path: Path) -> None:
    """Nothing is recorded where the compiler's file is not beside the PEF."""
    inference.weights.rename(tmp_path / "w.safetensors")
    path = data(label=None)
    result = snrun_in(tmp_path, inference.pef, "--weights", tmp_path / "w.safetensors", "--input", path)
    assert_refused(result, "BIND", "the data lacks input 'label' (i32[16])")


@pytest.mark.parametrize("option, what", [("--input", "data"), ("--reference", "reference"), ("--weights", "")])
def test_files_that_are_not_there(inference: Compiled, tmp_path: Path, option: str, what: str) -> None:
    result = run_snrun(inference.pef, option, tmp_path / "nowhere.npz")
    assert_refused(result, "USAGE", "nowhere.npz does not exist", what, "try: ")


@pytest.mark.parametrize("option", ["--input", "--weights", "--reference"])
@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04broken"])
def test_files_that_are_no_npz(inference: Compiled, tmp_path: Path, option: str, content: bytes) -> None:
    (tmp_path / "broken.npz").write_bytes(content)
    result = run_snrun(inference.pef, option, tmp_path / "broken.npz")
    assert_refused(result, "USAGE", "broken.npz cannot be read", "try: ")


def test_one_unnamed_array(inference: Compiled, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", floats(16, 8))
    result = snrun_in(tmp_path, inference.pef, "--input", tmp_path / "x.npy")
    assert_refused(result, "USAGE", "x.npy holds one unnamed array", "try: ")


def test_pickled_data(inference: Compiled, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", features=np.array([{"a": 1}], dtype=object))
    result = snrun_in(tmp_path, inference.pef, "--input", tmp_path / "x.npz")
    assert_refused(result, "USAGE", "x.npz cannot be read", "try: ")


# ---- weights


def test_weights_that_do_not_match(inference: Compiled, tmp_path: Path) -> None:
    weights = load_file(inference.weights)
    weights["first.weight"] = weights["first.weight"][:5].copy()
    del weights["second.bias"]
    save_file(weights, tmp_path / "other.safetensors")
    result = snrun_in(tmp_path, inference.pef, "--weights", tmp_path / "other.safetensors")
    assert_refused(result, "USAGE", "other.safetensors lacks 'second.bias' (f32[3])")
    weights["second.bias"] = floats(3)
    save_file(weights, tmp_path / "other.safetensors")
    result = snrun_in(tmp_path, inference.pef, "--weights", tmp_path / "other.safetensors")
    assert_refused(result, "BIND", "'first.weight' has shape [5, 8]", "the PEF expects [12, 8]", "try: ")


@pytest.mark.parametrize("name", ["weights.txt", "weights.safetensors", "weights.pt"])
def test_weights_that_cannot_be_read(inference: Compiled, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"these are no weights")
    assert_refused(snrun_in(tmp_path, inference.pef, "--weights", tmp_path / name), "USAGE", name, "try: ")


def test_weights_of_another_model(inference: Compiled, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 3).state_dict(), tmp_path / "other.pt")
    result = snrun_in(tmp_path, inference.pef, "--weights", tmp_path / "other.pt")
    assert_refused(result, "USAGE", "lacks 'first.weight'", "lacks 'second.bias'")


def test_no_weights_at_all(inference: Compiled, data: Write, tmp_path: Path) -> None:
    inference.weights.unlink()
    path = data()
    assert_refused(snrun_in(tmp_path, inference.pef, "--input", path), "BIND", "parameter 'first.weight'")


def test_no_reference_to_test_against(inference: Compiled) -> None:
    (inference.folder / "small.reference.npz").unlink()
    result = run_snrun(inference.pef, "--test")
    assert_refused(result, "USAGE", "the reference", "does not exist", "try: ")
    assert not (inference.folder / "results").exists()


# ---- training


def test_training_an_inference_pef(inference: Compiled, tmp_path: Path) -> None:
    result = snrun_in(tmp_path, inference.pef, "--train", "--steps", 2)
    assert_refused(result, "USAGE", "the PEF cannot train", "BCKWD", "compile for training")


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--train"], "--train needs to know when to stop"),
        (["--train", "--steps", 1, "--epochs", 1], "--steps and --epochs contradict"),
        (["--steps", 3], "--steps is for training"),
        (["--train", "--steps", 1, "--test"], "--test compares the outputs of inference"),
        (["--timing-only", "--test"], "--timing-only computes no outputs"),
        (["--gres", "rdus:2"], "SNC_GRES is 'rdus:2'"),
    ],
)
def test_options_that_contradict(training: Compiled, tmp_path: Path, options: list[object], expected: str) -> None:
    assert_refused(snrun_in(tmp_path, training.pef, *options), "USAGE", expected, "try: ")


def test_a_checkpoint_that_is_none(training: Compiled, tmp_path: Path) -> None:
    result = snrun_in(tmp_path, training.pef, "--train", "--steps", 1, "--resume", training.weights)
    assert_refused(result, "USAGE", "is not a checkpoint", "--weights")


def trained(pef: Path, folder: Path) -> Path:
    """A checkpoint after one step."""
    done = run_snrun(pef, "--train", "--steps", 1, "--checkpoint-dir", folder)
    assert done.exit_code == 0, done.output
    (kept,) = folder.iterdir()
    return kept


def test_a_checkpoint_of_another_model(training: Compiled, tmp_path: Path) -> None:
    """Even one whose tensors have the same names and shapes."""
    kept = trained(training.pef, tmp_path / "kept")
    pef = file.read(training.pef)
    pef.header.name = "other"
    file.write(pef, training.pef)
    result = snrun_in(tmp_path, training.pef, "--train", "--steps", 1, "--resume", kept)
    assert_refused(result, "USAGE", "a checkpoint of another PEF, 'small'", "--weights")
    other = tmp_path / "other"
    assert run_snrun(training.pef, "--weights", kept, "--output", other).exit_code == 0


@pytest.mark.parametrize("place", [0.1, 0.3, 0.99])
@pytest.mark.parametrize("option", ["--resume", "--weights"])
def test_a_damaged_checkpoint(training: Compiled, tmp_path: Path, place: float, option: str) -> None:
    kept = trained(training.pef, tmp_path / "kept")
    content = bytearray(kept.read_bytes())
    content[int(place * len(content))] ^= 4
    kept.write_bytes(content)
    result = snrun_in(tmp_path, training.pef, "--train", "--steps", 1, option, kept)
    assert_refused(result, "USAGE", kept.name, "try: ")


def test_a_checkpoint_of_an_earlier_version(training: Compiled, tmp_path: Path) -> None:
    save_file(load_file(training.weights), tmp_path / "c.safetensors", {"format": "snc-checkpoint-1", "step": "1"})
    result = snrun_in(tmp_path, training.pef, "--train", "--steps", 1, "--resume", tmp_path / "c.safetensors")
    assert_refused(result, "USAGE", "an earlier version", "--weights")


def test_an_unknown_hyper_parameter(training: Compiled, tmp_path: Path) -> None:
    result = snrun_in(tmp_path, training.pef, "--train", "--steps", 1, "--hyper", "lrr=0.1")
    assert_refused(result, "BIND", "'lrr'", "did you mean 'lr'?")


# ---- the command line itself


@pytest.mark.parametrize(
    "options",
    [
        ["--hyper", "lr"],
        ["--hyper", "lr=fast"],
        ["--steps", "0"],
        ["--threads", "-1"],
        ["--frobnicate"],
        ["--rtol", "x"],
    ],
)
def test_unusable_command_lines(inference: Compiled, options: list[str]) -> None:
    result = run_snrun(inference.pef, *options)
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert "Usage: " in result.stderr and "Error: " in result.stderr


def test_no_pef_at_all() -> None:
    result = run_snrun()
    assert result.exit_code == 2 and "Missing argument 'PEF'" in result.stderr


# ---- places that cannot be written


def test_results_that_cannot_be_written(inference: Compiled, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    result = snrun_in(tmp_path, inference.pef, "--output", tmp_path / "taken" / "results")
    assert_refused(result, "USAGE", "cannot be written", "try: ")


def test_checkpoints_that_cannot_be_written(training: Compiled, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    result = snrun_in(tmp_path, training.pef, "--train", "--steps", 1, "--checkpoint-dir", tmp_path / "taken" / "kept")
    assert_refused(result, "USAGE", "cannot be written", "try: ")


def test_a_trace_that_cannot_be_written(inference: Compiled, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    result = snrun_in(tmp_path, inference.pef, "--timing-only", "--trace", tmp_path / "taken" / "trace.json")
    assert_refused(result, "USAGE", "cannot be written", "try: ")


@pytest.mark.parametrize("arguments", [["nowhere.pef"], ["--train"], ["model.pef", "--steps", "0"]])
def test_a_process_ends_with_the_message_alone(tmp_path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runtime.snrun.cli", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2) and done.stdout == ""
    assert ("rror" in done.stderr) and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
