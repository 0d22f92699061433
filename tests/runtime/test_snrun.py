"""`snrun` end to end, as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pef import file
from tests.pef.samples import two_products
from tests.runtime import programs
from tests.runtime.programs import rand

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

INDEPENDENT = """
import sys
from runtime.session import Session
import numpy as np
session = Session(sys.argv[1])
session.load_weights({"a": np.ones((32, 48), np.float32), "b": np.ones((48, 16), np.float32)})
session.run(inputs={"x": np.ones((256, 32), np.float32)})
session.run_timing()
foreign = [name for name in sys.modules if name.split(".")[0] in ("torch", "compiler", "backends", "sambaflow")]
sys.exit(", ".join(foreign) or None)
"""


def snrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runtime.snrun.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def inference(tmp_path: Path) -> Path:
    """A PEF with weights, recorded inputs and a reference beside it."""
    path = tmp_path / "model.pef"
    file.write(two_products(), path)
    x, a, b = rand(256, 32), rand(32, 48, seed=1), rand(48, 16, seed=2)
    save_file({"x": x, "a": a, "b": b}, path.with_suffix(".safetensors"))
    np.savez(tmp_path / "model.reference.npz", y=np.tanh(x @ a) @ b)
    return path


@pytest.fixture
def training(tmp_path: Path) -> Path:
    path = tmp_path / "train.pef"
    file.write(programs.training(), path)
    save_file({"w": rand(8, 4), "lr": np.array(1e-4, np.float32)}, path.with_suffix(".safetensors"))
    np.savez(tmp_path / "data.npz", x=rand(200, 8, seed=5))
    return path


def test_help() -> None:
    done = snrun("--help")
    assert done.returncode == 0 and "--train" in done.stdout


def test_help_imports_little() -> None:
    code = "import sys, runtime.snrun.cli; sys.exit(not {'numpy', 'google.protobuf', 'rich'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_pef_is_all_the_simulator_needs(inference: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INDEPENDENT, inference], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_recorded_inputs(inference: Path) -> None:
    done = snrun(inference, "--test")
    assert done.returncode == 0, done.stderr
    assert "recorded when the model was compiled" in done.stdout and "this computer, not the RDU" in done.stdout
    with np.load(inference.parent / "results" / "model.npz") as results:
        assert results["y"].shape == (256, 16)


def test_strict(inference: Path) -> None:
    done = snrun(inference, "--strict", "--test", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["threads"] == 1
    together = snrun(inference, "--strict", "--threads", 2)
    assert together.returncode == 2 and "leave out --threads" in together.stderr


def test_more_samples_than_a_batch(inference: Path) -> None:
    x = rand(300, 32, seed=7)
    np.savez(inference.parent / "x.npz", x=x)
    done = snrun(inference, "--input", inference.parent / "x.npz", "--json")
    record = json.loads(done.stdout)
    assert record["outputs"]["y"]["shape"] == [300, 16] and "44 samples" in record["notes"][0]
    weights = load_file(inference.with_suffix(".safetensors"))
    with np.load(record["results"]) as results:
        np.testing.assert_allclose(results["y"], np.tanh(x @ weights["a"]) @ weights["b"], rtol=1e-3, atol=1e-3)


def test_a_failed_comparison_is_the_exit_status(inference: Path) -> None:
    np.savez(inference.parent / "other.npz", y=np.zeros((256, 16), np.float32), z=np.zeros(3))
    done = snrun(inference, "--test", "--reference", inference.parent / "other.npz")
    assert done.returncode == 1 and "FAILED" in done.stdout and "no such output" in done.stdout


def test_other_weights(inference: Path) -> None:
    weights = load_file(inference.with_suffix(".safetensors"))
    save_file({"a": 0 * weights["a"], "b": weights["b"], "more": weights["b"]}, inference.parent / "zero.safetensors")
    done = snrun(inference, "--weights", inference.parent / "zero.safetensors")
    assert done.returncode == 0 and "also holds more" in done.stderr
    with np.load(inference.parent / "results" / "model.npz") as results:
        assert not results["y"].any()


def test_profile_and_trace(inference: Path) -> None:
    trace = inference.parent / "trace.json"
    done = snrun(inference, "--profile", "--trace", trace, "--timing-only")
    assert done.returncode == 0, done.stderr
    assert "simulated" in done.stdout and json.loads(trace.read_text())
    assert json.loads(snrun(inference, "--profile", "--json").stdout)["simulated"]


def test_training_resumes_exactly(training: Path) -> None:
    data, folder = training.parent / "data.npz", training.parent
    options = [training, "--train", "--data", data, "--json", "--hyper", "lr=0.0001"]
    whole = json.loads(snrun(*options, "--steps", 8, "--seed", 3, "--checkpoint-dir", folder / "a").stdout)
    half = snrun(*options, "--steps", 5, "--seed", 3, "--checkpoint-dir", folder / "b", "--checkpoint-every", 2)
    assert sorted(p.name for p in (folder / "b").iterdir()) == [f"step-00000{n}.safetensors" for n in (2, 4, 5)]
    rest = json.loads(
        snrun(
            *options,
            "--steps",
            3,
            "--resume",
            folder / "b" / "step-000005.safetensors",
            "--checkpoint-dir",
            folder / "b",
        ).stdout
    )
    assert json.loads(half.stdout)["losses"] + rest["losses"] == whole["losses"]
    assert whole["losses"][-1]["loss"] < whole["losses"][0]["loss"]
    final = [load_file(folder / name / "step-000008.safetensors")["w"] for name in "ab"]
    assert np.array_equal(*final)


def test_sigterm_ends_training_with_a_checkpoint_to_go_on_from(training: Path) -> None:
    data, folder = training.parent / "data.npz", training.parent
    options = [training, "--train", "--data", data, "--hyper", "lr=0.0001", "--seed", 3, "--checkpoint-dir", folder]
    command = [sys.executable, "-m", "runtime.snrun.cli", *map(str, [*options, "--steps", 10**9])]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert any(line.startswith("step 3 ") for line in process.stdout)
        process.terminate()
        rest, said = process.stdout.read(), process.stderr.read()
    (checkpoint,) = folder.glob("step-*.safetensors")
    assert process.returncode == -signal.SIGTERM
    assert f"checkpoint {checkpoint}" in rest and f"snrun --resume {checkpoint} goes on from there" in said
    step = int(checkpoint.stem.removeprefix("step-"))
    arguments = [*options[:-2], "--json", "--checkpoint-dir", folder / "b"]
    whole = json.loads(snrun(*arguments, "--steps", step + 2).stdout)["losses"]
    assert json.loads(snrun(*arguments, "--steps", 2, "--resume", checkpoint).stdout)["losses"] == whole[-2:]


def test_a_checkpoint_goes_on_in_another_compile_of_the_same_program(training: Path) -> None:
    """Only where that is asked for, and only of the same program; how far training had come goes along."""
    folder, data = training.parent, training.parent / "data.npz"
    options = ["--train", "--data", data, "--json", "--hyper", "lr=0.0001"]
    moved = programs.training()
    moved.header.program_sha256 = b"p" * 32
    file.write(moved, training)
    whole = json.loads(snrun(training, *options, "--steps", 8, "--seed", 3, "--checkpoint-dir", folder / "a").stdout)
    half = json.loads(snrun(training, *options, "--steps", 5, "--seed", 3, "--checkpoint-dir", folder / "b").stdout)
    checkpoint = folder / "b" / "step-000005.safetensors"
    moved.header.options_json = '{"avoid": ["tile:3"]}'
    again = folder / "again" / "train.pef"
    again.parent.mkdir()
    file.write(moved, again)
    save_file({"w": rand(8, 4, seed=9), "lr": np.array(1e-4, np.float32)}, again.with_suffix(".safetensors"))
    resumed = [again, *options, "--steps", 3, "--resume", checkpoint]

    refused = snrun(*resumed)
    assert refused.returncode == 2
    assert "compiled from the same program" in refused.stderr and "--accept-recompiled" in refused.stderr
    rest = json.loads(snrun(*resumed, "--accept-recompiled").stdout)
    assert half["losses"] + rest["losses"] == whole["losses"]

    moved.header.program_sha256 = b"q" * 32
    file.write(moved, again)
    other = snrun(*resumed, "--accept-recompiled")
    assert other.returncode == 2 and "computes something else" in other.stderr
    moved.header.program_sha256 = b""
    file.write(moved, again)
    assert "earlier version" in snrun(*resumed, "--accept-recompiled").stderr


def test_training_equals_numpy(training: Path) -> None:
    x = rand(64, 8, seed=5)
    np.savez(training.parent / "batch.npz", x=x)
    done = snrun(
        training, "--train", "--epochs", 4, "--data", training.parent / "batch.npz", "--json", "--hyper", "lr=0.001"
    )
    losses, _ = programs.expected_training(x, rand(8, 4), 1e-3, 4)
    np.testing.assert_allclose(
        [entry["loss"] for entry in json.loads(done.stdout)["losses"]], losses, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--steps", 3], 2, "--train"),
        (["--train"], 2, "--steps N"),
        (["--train", "--steps", 3], 2, "no BCKWD and no OPT"),
        (["--train", "--steps", 3, "--epochs", 2], 2, "contradict"),
        (["--hyper", "lr"], 2, "name=number"),
        (["--hyper", "lr=0.1"], 1, "no hyper-parameter 'lr'"),
        (["--input", "ROOT/model.reference.npz"], 1, "not an input"),
        (["--input", "ROOT/model.pef"], 2, "cannot be read"),
        (["--weights", "ROOT/model.reference.npz"], 2, "lacks 'a'"),
        (["--test", "--reference", "ROOT/model.pef"], 2, "cannot be read"),
    ],
)
def test_errors_are_one_message(inference: Path, options: list[object], status: int, said: str) -> None:
    given = [str(option).replace("ROOT", str(inference.parent)) for option in options]
    done = snrun(inference, *given)
    assert done.returncode == status, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr


def test_a_file_that_is_no_pef(tmp_path: Path) -> None:
    (tmp_path / "x.pef").write_text("not at all")
    done = snrun(tmp_path / "x.pef")
    assert done.returncode == 1 and "not a PEF" in done.stderr and "Traceback" not in done.stderr
