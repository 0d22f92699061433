"""What the two commands write and print when all is well."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from compiler.convention import MODEL_FILE
from compiler.frontend.model_file import load_model
from ir.version import VERSION
from pef import file
from tests.cli.conftest import MODEL, Compiled, assert_refused, run_snc, run_snrun

ROOT = Path(__file__).parents[2]
Write = Callable[..., Path]

SECTION_KEYS = {
    "name",
    "kind",
    "configuration",
    "operators",
    "stages",
    "phases",
    "loops",
    "pcus",
    "pmus",
    "predicted_us",
    "load_us",
    "bound",
    "flops",
    "dram_read_bytes",
    "dram_write_bytes",
}


def test_compile_report_as_json(training: Compiled) -> None:
    report = training.report
    keys = {"pef", "pef_bytes", "weights", "log", "machine", "sections", "total_predicted_us", "configurations"}
    assert keys | {"passes", "preset_us", "advice"} <= report.keys()
    assert [section["kind"] for section in report["sections"]] == ["FWD", "BCKWD_OPT"]
    for section in report["sections"]:
        assert section.keys() >= SECTION_KEYS
        assert section["pcus"] > 0 and section["pmus"] > 0 and section["predicted_us"] > 0
    assert report["pef_bytes"] == training.pef.stat().st_size
    assert report["preset_us"] == {}


def test_compile_writes_its_files_and_no_others(training: Compiled) -> None:
    names = {path.name for path in training.folder.iterdir()}
    assert names == {"small.pef", "small.safetensors", "small.reference.npz", "small.log"}
    assert {"first.weight", "second.bias", "features", "label", "lr"} <= load_file(training.weights).keys()


def test_what_other_precisions_would_gain_is_said_when_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "small.py"
    source.write_text(MODEL)
    asked = ["compile", source, "-o", tmp_path / "out", "--compare-presets", "--json"]
    gains = json.loads(run_snc(*asked).stdout)["preset_us"]
    assert set(gains) == {"mp0", "mp1", "mp4"} and all(time > 0 for time in gains.values())


def test_an_inference_pef_is_less_than_half_as_big(training: Compiled, inference: Compiled) -> None:
    assert inference.pef.stat().st_size < training.pef.stat().st_size / 2
    assert {section.kind for section in file.read(inference.pef).sections} == {"FWD"}


def test_compile_for_people(tmp_path: Path) -> None:
    source = tmp_path / "small.py"
    source.write_text(MODEL)
    options = ["--inference", "--o0", "-b", 4, "--time-passes", "--print-after", "dce", "--arch", "sn10"]
    result = run_snc("compile", source, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    for text in (
        "SN10",
        "fwd_0",
        "bound by",
        "canonicalize",
        "after dce",
        str(tmp_path / "out" / "small" / "small.pef"),
    ):
        assert text in result.stdout, text
    pef = file.read(tmp_path / "out" / "small" / "small.pef")
    assert len(pef.sections) > 3, "one operator per section"
    assert json.loads(pef.header.options_json)["batch_size"] == 4


def test_describe_and_check(training: Compiled) -> None:
    result = run_snc("describe", training.pef)
    assert result.exit_code == 0 and "parameter" in result.stdout and "fwd_0" in result.stdout
    assert "first.weight" in run_snc("describe", training.pef, "--section", "fwd_0").stdout
    described = json.loads(run_snc("describe", training.pef, "--json").stdout)
    assert len(described["sections"]) == 2
    assert run_snc("check", training.pef).exit_code == 0


def test_inference_equals_pytorch(inference: Compiled) -> None:
    result = run_snrun(inference.pef, "--test", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["test"]["passed"] and all(output["passed"] for output in record["test"]["outputs"].values())
    assert "recorded" in record["inputs"]


def test_a_reference_that_differs_fails(inference: Compiled) -> None:
    path = inference.folder / "small.reference.npz"
    with np.load(path) as loaded:
        changed = {name: loaded[name] + 0.1 for name in loaded.files}
    np.savez(path, **changed)
    result = run_snrun(inference.pef, "--test")
    assert_refused(result, "PEF", "small.reference.npz does not hold the reference outputs", "--reference")
    result = run_snrun(inference.pef, "--test", "--reference", path)
    assert result.exit_code == 1 and "FAILED" in result.stdout and "DIFFERS" in result.stdout


def test_inference_with_the_users_data_and_weights(inference: Compiled, data: Write, tmp_path: Path) -> None:
    """More samples than a batch, weights saved by PyTorch: the same predictions."""
    (tmp_path / "small.py").write_text(MODEL)
    model = load_model(str(tmp_path / "small.py"), 16, seed=5).model
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    path = data()
    result = run_snrun(inference.pef, "--weights", tmp_path / "mine.pt", "--input", path, "--output", tmp_path / "r")
    assert result.exit_code == 0, result.output
    with np.load(path) as given, np.load(tmp_path / "r" / "small.npz") as results:
        features, label = torch.from_numpy(given["features"]), torch.from_numpy(given["label"]).long()
        logits = next(results[name] for name in results.files if results[name].shape == (40, 3))
        np.testing.assert_allclose(logits, model(features, label)[1].detach().numpy(), rtol=1e-5, atol=1e-6)


def losses(text: str) -> list[float]:
    return [entry["loss"] for entry in json.loads(text)["losses"]]


def test_training_lowers_the_loss(training: Compiled, data: Write, tmp_path: Path) -> None:
    options = ["--train", "--data", data(), "--epochs", 30, "--json", "--checkpoint-dir", tmp_path / "kept"]
    result = run_snrun(training.pef, *options)
    assert result.exit_code == 0, result.output
    found = losses(result.stdout)
    assert len(found) == 30 * (40 // 16) and found[-1] < 0.8 * found[0]


def test_resuming_is_bit_identical(training: Compiled, data: Write, tmp_path: Path) -> None:
    common = ["--train", "--data", data(), "--json"]
    whole = run_snrun(training.pef, *common, "--steps", 7, "--seed", 2, "--checkpoint-dir", tmp_path / "a")
    half = run_snrun(
        training.pef, *common, "--steps", 4, "--seed", 2, "--checkpoint-every", 2, "--checkpoint-dir", tmp_path / "b"
    )
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [f"step-00000{n}.safetensors" for n in (2, 4)]
    kept = tmp_path / "b" / "step-000004.safetensors"
    rest = run_snrun(training.pef, *common, "--steps", 3, "--resume", kept, "--checkpoint-dir", tmp_path / "b")
    assert losses(half.stdout) + losses(rest.stdout) == losses(whole.stdout)
    last = [(tmp_path / name / "step-000007.safetensors").read_bytes() for name in "ab"]
    assert last[0] == last[1]


def test_hyper_parameters_from_the_command_line(training: Compiled, tmp_path: Path) -> None:
    result = run_snrun(
        training.pef, "--train", "--steps", 2, "--hyper", "lr=0", "--hyper", "momentum=0", "--checkpoint-dir", tmp_path
    )
    assert result.exit_code == 0, result.output
    kept = load_file(tmp_path / "step-000002.safetensors")
    initial = load_file(training.weights)
    assert (kept["first.weight"] == initial["first.weight"]).all()


def test_profile_as_json(training: Compiled) -> None:
    result = run_snrun(training.pef, "--train", "--timing-only", "--profile", "--json")
    assert result.exit_code == 0, result.output
    simulated = json.loads(result.stdout)["simulated"]
    assert len(simulated["sections"]) == 2
    assert all(np.isfinite(number) for number in numbers(simulated))


def numbers(value: object) -> list[float]:
    """Every number in nested plain data."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


def test_profile_for_people_keeps_the_two_times_apart(inference: Compiled) -> None:
    result = run_snrun(inference.pef, "--profile")
    assert result.exit_code == 0, result.output
    assert "simulated" in result.stdout and "this computer, not the RDU" in result.stdout


def test_trace_is_what_perfetto_reads(training: Compiled, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    assert run_snrun(training.pef, "--train", "--timing-only", "--trace", path).exit_code == 0
    events = json.loads(path.read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert spans and all(event["dur"] >= 0 and event["ts"] >= 0 and event["name"] for event in spans)
    assert "traceEvents" in path.read_text()[:200]


def test_two_runs_print_the_same(inference: Compiled) -> None:
    def outputs() -> object:
        record = json.loads(run_snrun(inference.pef, "--test", "--profile", "--json").stdout)
        return record["test"], record["simulated"]

    assert outputs() == outputs()


@pytest.mark.parametrize(
    "module, arguments, taught",
    [
        ("compiler.cli", ["--help"], ["compile", "check", "describe", "snrun"]),
        ("compiler.cli", ["compile", "--help"], ["MODEL.PY", "--arch", "mp0|mp1|mp4", "optimizer", "--o0"]),
        ("runtime.snrun.cli", ["--help"], ["--train", "--weights", "--profile", "--resume", "recorded", "--hyper"]),
    ],
)
def test_help_teaches_and_imports_nothing_heavy(module: str, arguments: list[str], taught: list[str]) -> None:
    heavy = ("torch", "numpy", "google.protobuf", "safetensors", "scipy", "rich")
    call = (
        f"import sys; from {module} import main\nsys.argv = ['program', *{arguments!r}]\n"
        "try:\n    main()\nfinally:\n"
        f"    print('heavy:', [name for name in {heavy!r} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    for text in taught:
        assert text in done.stdout, text
    commands = set(re.findall(r"--[a-z][a-z-]+", done.stdout))
    assert "--help" in commands


def test_a_run_imports_neither_torch_nor_the_compiler(inference: Compiled) -> None:
    call = (
        "import sys; from runtime.snrun.cli import main\n"
        f"sys.argv = ['snrun', {str(inference.pef)!r}, '--test', '--profile']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "foreign = ('torch', 'compiler', 'backends', 'sambaflow')\n"
        "print('foreign:', [name for name in sys.modules if name.split('.')[0] in foreign])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "foreign: []" in done.stdout


def test_o1_says_which_rule_made_which_section(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(MODEL)
    rules = tmp_path / "rules.yaml"
    rules.write_text("tanh_layer: {pattern: {product: {op_type: linear, child: b}, b: {op_type: addbias, child: t}, ")
    rules.write_text(rules.read_text() + "t: {op_type: tanh}}}")
    options = ("--o1", "--optimization-rules", rules, "-o", tmp_path / "out", "--inference")
    report = json.loads(run_snc("compile", tmp_path / "small.py", *options, "--json").stdout)
    made = [section["rule"] for section in report["sections"]]
    assert made[0] == "tanh_layer" and "gemm (SAFE_GEMM)" in made and "loss" in made
    shown = run_snc("compile", tmp_path / "small.py", *options).stdout
    assert "rule" in shown and "tanh_layer" in shown
    pef = tmp_path / "out" / "small" / "small.pef"
    assert [section.rule for section in file.read(pef).sections] == made
    assert "tanh_layer" in run_snc("describe", pef, "--no-grid").stdout


def test_one_is_told_in_the_singular(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(MODEL)
    shown = run_snc("compile", tmp_path / "small.py", "--inference", "-o", tmp_path / "out").stdout
    assert "1 section, 1 configuration;" in shown
    pef = tmp_path / "out" / "small" / "small.pef"
    assert "legal; 1 section, 1 configuration\n" in run_snc("check", pef).stdout
    assert "1 FWD section for" in run_snrun(pef).stdout


WITHOUT_OPTIMIZER = MODEL.partition("def optimizer")[0]
LOSS_APART = """
import torch
from torch import nn


model = nn.Linear(8, 3)
inputs = torch.randn(4, 8)


def loss(outputs, label):
    return nn.functional.cross_entropy(outputs, label)
"""


def test_training_without_an_optimizer_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "plain.py").write_text(WITHOUT_OPTIMIZER)
    result = run_snc("compile", tmp_path / "plain.py", "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert "updates no parameters" in caplog.text and "try: `def optimizer(parameters)" in caplog.text
    assert [section["kind"] for section in json.loads(result.stdout)["sections"]] == ["FWD", "BCKWD"]
    caplog.clear()
    result = run_snc("compile", tmp_path / "plain.py", "-o", tmp_path / "out", "--inference")
    assert result.exit_code == 0 and "optimizer" not in caplog.text


def test_inference_of_a_file_with_a_loss_needs_no_targets(tmp_path: Path) -> None:
    (tmp_path / "apart.py").write_text(LOSS_APART)
    result = run_snc("compile", tmp_path / "apart.py", "-o", tmp_path / "out", "--inference")
    assert result.exit_code == 0, result.output
    symbols = {symbol.name: symbol.kind for symbol in file.read(tmp_path / "out" / "apart" / "apart.pef").symbols}
    assert [name for name, kind in symbols.items() if kind in ("input", "output")] == ["input", "output"]


def test_a_pef_is_called_like_the_file_or_like_the_name_in_it(tmp_path: Path) -> None:
    (tmp_path / "vae.py").write_text(MODEL + "\n\nclass V:\n    model, inputs = Small, inputs\n")
    for subject, name in (("vae.py", "vae"), ("vae.py:V", "V")):
        result = run_snc("compile", tmp_path / subject, "-o", tmp_path / "out", "--inference")
        assert result.exit_code == 0, result.output
        assert (tmp_path / "out" / name / f"{name}.pef").exists()


def test_help_of_compile_says_what_a_model_file_defines() -> None:
    shown = run_snc("compile", "--help").stdout
    for name, what in MODEL_FILE.items():
        assert re.search(rf"^ +{name} +{re.escape(what[:20])}", shown, re.M), name


def test_one_version_everywhere() -> None:
    assert run_snc("--version").stdout.strip().endswith(VERSION)
    assert run_snrun("--version").stdout.strip().endswith(VERSION)
