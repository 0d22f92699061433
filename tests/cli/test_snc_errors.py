"""What `snc` says when something is wrong, one case per thing a user can do; nothing is left behind."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pef import file
from tests.cli.conftest import MODEL, Compiled, assert_refused, listing, run_snc
from tests.honesty.subjects import machine_file

ROOT = Path(__file__).parents[2]

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x):
        {body}

model = Net
inputs = (torch.randn(4, 8),)
{rest}
"""


def net(body: str, rest: str = "") -> str:
    return NET.format(body=body, rest=rest)


FILES = {
    "syntax error": ("model = (\n", "USAGE", ["model.py:1", "syntax error"]),
    "raises": ("import torch\n\n1 / 0\n", "USAGE", ["model.py:3", "ZeroDivisionError"]),
    "missing module": ("import no_such_module_here\n", "USAGE", ["model.py:1", "no_such_module_here"]),
    "no model": ("import torch\n", "USAGE", ["model.py:1: the file does not define 'model'", "try: write `model = "]),
    "no inputs": (
        "from torch import nn\nmodel = nn.Linear(8, 4)\n",
        "USAGE",
        ["model.py:1: the file does not define 'inputs'", "try: write `def inputs("],
    ),
    "model of another kind": ("model = 3\n", "USAGE", ["model.py:1: model is of type int", "try: "]),
    "inputs that are not tensors": (
        "from torch import nn\nmodel = nn.Linear(8, 4)\ninputs = (1, 2)\n",
        "USAGE",
        ["model.py:3: inputs are not tensors", "try: "],
    ),
    "model that raises": (
        "import torch\ndef model():\n    raise ValueError('no weights here')\ninputs = (torch.zeros(1),)\n",
        "USAGE",
        ["model.py:3", "no weights here"],
    ),
    "optimizer of another kind": (
        net("return self.linear(x).sum()", "optimizer = 3"),
        "USAGE",
        ["model.py:15: optimizer is of type int"],
    ),
    "loss without targets": (
        net("return self.linear(x)", "def loss(outputs, label): return nn.functional.cross_entropy(outputs, label)"),
        "USAGE",
        ["model.py:15: loss takes label", "try: write `def targets(", "--inference"],
    ),
    "unknown optimizer": (
        net("return self.linear(x).sum()", "optimizer = lambda parameters: torch.optim.LBFGS(parameters)"),
        "UNSUPPORTED",
        ["LBFGS", "try: "],
    ),
    "norm that is not a number": (
        net("return self.linear(x).sum()", "max_grad_norm = -1"),
        "USAGE",
        ["model.py:15: max_grad_norm is -1"],
    ),
    "data-dependent control flow": (
        net("return self.linear(x) if x.sum() > 0 else x"),
        "CAPTURE",
        ["model.py:11", "depends on the values of a tensor", "torch.where"],
    ),
    "number from a tensor": (
        net("return self.linear(x) * x.max().item()"),
        "CAPTURE",
        ["model.py:11", "try: keep it a tensor"],
    ),
    "unsupported operator": (
        net("return torch.linalg.svd(self.linear(x))[0]"),
        "UNSUPPORTED",
        ["model.py:11", "svd"],
    ),
    "shapes that do not fit": (net("return self.linear(x[:, :5])"), "CAPTURE", ["model.py:11", "try: "]),
    "too many inputs": (
        net("return self.linear(x)", "inputs = (torch.randn(4, 8), torch.randn(4, 8))"),
        "CAPTURE",
        ["do not match the parameters", "try: "],
    ),
    "complex inputs of double precision": (
        net("return self.linear(x)", "inputs = (torch.randn(4, 8, dtype=torch.complex128),)"),
        "UNSUPPORTED",
        ["input x is complex128", "use complex64"],
    ),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def compile_in(folder: Path, *arguments: object):  # type: ignore[no-untyped-def]
    """`snc compile`, and a check that it wrote nothing."""
    before = listing(folder)
    result = run_snc("compile", *arguments, "-o", folder / "out")
    assert {n for n in listing(folder) if "__pycache__" not in n} == {n for n in before if "__pycache__" not in n}
    return result


@pytest.mark.parametrize("case", FILES)
def test_model_files(tmp_path: Path, case: str) -> None:
    content, code, expected = FILES[case]
    path = tmp_path / "model.py"
    path.write_text(content)
    only_in_training = any(word in content for word in ("optimizer =", "max_grad_norm", "def loss"))
    result = compile_in(tmp_path, path, *([] if only_in_training else ["--inference"]))
    assert_refused(result, code, *expected)


def test_missing_file(tmp_path: Path) -> None:
    assert_refused(compile_in(tmp_path, tmp_path / "nowhere.py"), "USAGE", "nowhere.py", "try: ")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text(MODEL)
    assert_refused(compile_in(tmp_path, tmp_path / "model.txt"), "USAGE", "model.txt is not a Python file", "try: ")


def test_a_name_that_is_not_there(tmp_path: Path, source: Path) -> None:
    assert_refused(compile_in(tmp_path, f"{source}:tiny"), "USAGE", "does not define 'tiny'", "try: ")


@pytest.mark.parametrize(
    "options, code, expected",
    [
        (["--arch", "sn50"], "MACHINE", ["'sn50'", "sn10, sn30"]),
        (["--arch", "nowhere.toml"], "MACHINE", ["nowhere.toml"]),
        (["--graphamp-preset", "mp7"], "USAGE", ["'mp7'", "mp0, mp1, mp4"]),
        (["--print-after", "polish"], "USAGE", ["'polish'", "canonicalize"]),
    ],
)
def test_option_values(tmp_path: Path, source: Path, options: list[str], code: str, expected: list[str]) -> None:
    result = compile_in(tmp_path, source, *options)
    assert_refused(result, code, "try: " if len(expected) > 1 else "", *expected)


def test_a_file_without_rules(tmp_path: Path, source: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("- a:\n    pattern:\n      x: {op_type: linaer}\n")
    refused = run_snc("compile", source, "-o", tmp_path / "out", "--o1", "--optimization-rules", rules)
    assert_refused(refused, "USAGE", "rules.yaml:3: there is no operator 'linaer'", "did you mean linear")
    rules.write_text("x: [1\n")
    refused = compile_in(tmp_path, source, "--o1", "--optimization-rules", rules)
    assert_refused(refused, "USAGE", "rules.yaml cannot be read: line 2, column 1: expected ',' or ']'", "syntax")
    refused = compile_in(tmp_path, source, "--o1", "--optimization-rules", tmp_path / "none.yaml")
    assert_refused(refused, "USAGE", "none.yaml cannot be read: No such file or directory\n")
    refused = run_snc("compile", source, "-o", tmp_path / "out", "--optimization-rules", rules)
    assert_refused(refused, "USAGE", "--o3 takes no rules", "give --o1")
    assert not (tmp_path / "out").exists()


def test_a_broken_machine_file(tmp_path: Path, source: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\n[pcu]\nclock_ghz = { value = -1, source = "guess: x" }\n')
    result = compile_in(tmp_path, source, "--arch", tmp_path / "mine.toml")
    assert_refused(result, "MACHINE", "mine.toml", "pcu.clock_ghz", "expected a number above 0", "grid", "tier")


def test_a_batch_size_the_file_does_not_follow(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(net("return self.linear(x)"))
    result = compile_in(tmp_path, tmp_path / "model.py", "-b", 32)
    assert_refused(result, "USAGE", "the batch size is 32", "model.py:14", "inputs are x [4, 8]", "try: ")


@pytest.mark.parametrize("option", [["-b", "0"], ["-b", "many"], ["--frobnicate"], []])
def test_unusable_command_lines(tmp_path: Path, option: list[str]) -> None:
    result = run_snc("compile", *option)
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert "Usage: " in result.stderr and "Error: " in result.stderr


def test_an_output_folder_that_cannot_be_written(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before the work, not after it."""
    (tmp_path / "out").write_text("a file where the folder should be")
    monkeypatch.setattr("compiler.frontend.capture.capture", lambda *_, **__: pytest.fail("captured in vain"))
    for more in ([], ["--stop-after", "cut"]):
        result = run_snc("compile", source, "-o", tmp_path / "out", "--inference", *more)
        assert_refused(result, "USAGE", str(tmp_path / "out"), "try: ")
    assert {name for name in listing(tmp_path) if "pycache" not in name} == {"model.py", "out"}


def test_a_model_that_does_not_fit(tmp_path: Path, source: Path) -> None:
    tiny = machine_file(tmp_path, pmu_bytes=4, bandwidth_bytes_per_s="1e9", rdu_tile_rows=4, rdu_tile_columns=4)
    result = compile_in(tmp_path, source, "--arch", tiny, "--inference", "-b", 65536)
    assert_refused(result, "INFEASIBLE", "PMU", "try: ")


# ---- check and describe


@pytest.mark.parametrize("command", ["check", "describe"])
def test_files_that_are_no_pef(tmp_path: Path, command: str) -> None:
    cases = {"empty.pef": b"", "text.pef": b"hello, this is a text\n" * 10, "zeros.pef": bytes(1000)}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        assert_refused(run_snc(command, tmp_path / name), "PEF", name)
    assert_refused(run_snc(command, tmp_path / "nowhere.pef"), "PEF", "does not exist")
    assert_refused(run_snc(command, tmp_path), "PEF", "is a folder")


@pytest.mark.parametrize("command", ["check", "describe"])
def test_a_newer_pef(inference: Compiled, command: str) -> None:
    content = bytearray(inference.pef.read_bytes())
    struct.pack_into("<I", content, 8, file.FORMAT_VERSION + 1)
    inference.pef.write_bytes(content)
    assert_refused(run_snc(command, inference.pef), "PEF", f"version {file.FORMAT_VERSION + 1}", "upgrade")


def test_check_lists_every_violation(inference: Compiled) -> None:
    pef = file.read(inference.pef)
    pef.configurations[0].units[1].site = pef.configurations[0].units[0].site
    pef.symbols[1].offset = pef.symbols[0].offset
    file.write(pef, inference.pef)
    result = run_snc("check", inference.pef)
    assert_refused(result, "CHECK", "unit 1 stands on site", "shares memory with")


def test_check_says_what_is_legal(inference: Compiled) -> None:
    result = run_snc("check", inference.pef)
    assert result.exit_code == 0 and "legal" in result.stdout


@pytest.mark.parametrize("arguments, status", [(["compile", "nowhere.py"], 2), (["check", "nowhere.pef"], 1)])
def test_a_process_ends_with_the_message_alone(tmp_path: Path, arguments: list[str], status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from compiler.cli import main; sys.argv[0] = 'snc'; main()", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status and done.stdout == ""
    assert done.stderr.startswith("error[") and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
