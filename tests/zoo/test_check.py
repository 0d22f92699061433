"""`snc check model.py`: what users read, whole, for everything that can stand in their way."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compiler.cli import main

FILE = """import numpy as np
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(5))

    def forward(self, x):
{body}

class Block(nn.Module):
    def forward(self, x):
        return torch.linalg.inv(x) if x.dtype == torch.float32 else x

model = Model
inputs = (torch.randn(4, 4),)
"""

CHOICE = (
    "    try: both branches must be part of the graph: choose with torch.where(condition, a, b), or decide from a "
    "Python value or a shape, which are known when compiling"
)
MASK = "    try: keep every element and choose with a mask: torch.where(condition, a, b), or multiply by the condition"
DOUBLE = "    try: use float32: `x.float()`, `model.float()`, or dtype=torch.float32 where the tensor is made"
LEAVES = "the model leaves PyTorch: it turns a tensor into a NumPy array or hands its memory to other code"
SUBJECT = "model.py (training; x float32 [4, 4]; 20 parameters)"

MESSAGES = {
    "data-dependent control flow": (
        "y = self.fc(x)\nif y.sum() > 0:\n    y = -y\nreturn y.sum()",
        f"""model.py:13: the model's control flow depends on the values of a tensor
{CHOICE}
not supported: {SUBJECT}: 1 problem
""",
    ),
    "data-dependent sizes": (
        "y = self.fc(x)\nz = y[y > 0]\nreturn z.sum() + torch.nonzero(x).sum()",
        f"""model.py:13: the size of what aten.index returns depends on the values of a tensor
{MASK}
model.py:14: the size of what aten.nonzero returns depends on the values of a tensor
{MASK}
not supported: {SUBJECT}: 2 problems, 2 of {{total}} operators
""",
    ),
    "a number read into Python": (
        "scale = x.max().item()\nreturn (self.fc(x) * (2 * scale)).sum()",
        f"""model.py:12: a number is read from a tensor into Python, by item(), tolist(), int(), float() or bool()
    try: keep it a tensor: arithmetic with tensors of one element runs on the device
not supported: {SUBJECT}: 1 problem
""",
    ),
    "leaving PyTorch": (
        "y = self.fc(x)\ny = torch.from_numpy(np.tanh(y.detach().numpy()))\nreturn y.sum()",
        f"""model.py:13: {LEAVES}
    try: write it with torch's functions, or move it out of forward, to the host's side of the run
not supported: {SUBJECT}: 1 problem
""",
    ),
    "complex numbers": (
        "return torch.fft.fft(self.fc(x)).tan().abs().sum()",
        f"""model.py:12: operator aten.tan of complex numbers is not supported
    try: express it with supported operators (docs/operators.md lists them), or compute it on the host
not supported: {SUBJECT}: 1 problem, 1 of {{total}} operators
""",
    ),
    "double precision": (
        "y = self.fc(x).double()\nreturn y.sum()",
        f"""model.py:12: aten._to_copy makes a float64 tensor
{DOUBLE}
not supported: {SUBJECT}: 1 problem, 1 of {{total}} operators
""",
    ),
    "many at once": (
        "n = int(x.sum().item()) % 3 + 1\ny = self.fc(x)\nif y.sum() > 0:\n    y = -y\nfor block in self.blocks:\n    "
        "y = block(y)\nz = y[y > 0]\nw = torch.from_numpy(np.tanh(x.numpy()))\nprint(f'{n} of {y}')\n"
        "return z.sum() + torch.special.bessel_j0(y).sum() + (w * n).sum() + torch.unique(x).sum()",
        f"""model.py:12: a number is read from a tensor into Python, by item(), tolist(), int(), float() or bool()
    try: keep it a tensor: arithmetic with tensors of one element runs on the device
model.py:14: the model's control flow depends on the values of a tensor
{CHOICE}
model.py:18: the size of what aten.index returns depends on the values of a tensor
{MASK}
model.py:19: {LEAVES}
    try: write it with torch's functions, or move it out of forward, to the host's side of the run
model.py:21: operator aten.special_bessel_j0 is not supported
    try: express it with supported operators (docs/operators.md lists them), or compute it on the host
model.py:21: the size of what aten._unique2 returns depends on the values of a tensor
    try: find unique elements on the host, before or after the run
model.py:26 (blocks.0, blocks.1, blocks.2 and 2 more): operator aten.linalg_inv_ex is not supported
    try: solve on the host, before or after the run
not supported: {SUBJECT}: 7 problems, 8 of {{total}} operators
""",
    ),
    "an operator in many layers": (
        "y = self.fc(x)\nfor block in self.blocks:\n    y = block(y)\nreturn y.sum() + torch.linalg.det(x)",
        f"""model.py:20 (blocks.0, blocks.1, blocks.2 and 2 more): operator aten.linalg_inv_ex is not supported
    try: solve on the host, before or after the run
model.py:15: operator aten._linalg_det is not supported
    try: factorise on the host, before or after the run
not supported: {SUBJECT}: 2 problems, 6 of {{total}} operators
""",
    ),
}  # fmt: skip


IN_MEMORY = "model = Model\n"
WITHOUT_CONTENT = "def model():\n    with torch.device('meta'):\n        return Model()\n"


def write(folder: Path, body: str, definition: str = IN_MEMORY) -> Path:
    """A file of a model with this forward."""
    path = folder / "model.py"
    text = FILE.format(body="".join(f"        {line}\n" for line in body.splitlines()))
    path.write_text(text.replace(IN_MEMORY, definition))
    return path


def check(folder: Path, body: str, *options: str, definition: str = IN_MEMORY) -> Result:
    """Run the command on a model with this forward; the report names the file without its folder."""
    path = write(folder, body, definition)
    return CliRunner().invoke(main, ["check", str(path), *options], catch_exceptions=False)


@pytest.mark.parametrize("definition", [IN_MEMORY, WITHOUT_CONTENT], ids=["in memory", "without content"])
@pytest.mark.parametrize("what", MESSAGES)
def test_what_is_not_supported(tmp_path: Path, what: str, definition: str) -> None:
    body, expected = MESSAGES[what]
    result = check(tmp_path, body, definition=definition)
    report = json.loads(check(tmp_path, body, "--json", definition=definition).output)
    total = sum(operator["count"] for operator in report["operators"])
    problems = result.output[result.output.index("model.py:") :].replace(f"{tmp_path}/", "")
    assert problems == expected.replace("{total}", str(total))
    assert (result.exit_code, report["supported"]) == (1, False)


@pytest.mark.parametrize("definition", [IN_MEMORY, WITHOUT_CONTENT], ids=["in memory", "without content"])
@pytest.mark.parametrize("what", MESSAGES)
def test_a_compile_tells_the_same(tmp_path: Path, what: str, definition: str) -> None:
    body, expected = MESSAGES[what]
    arguments = ["compile", str(write(tmp_path, body, definition)), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    *problems, _ = expected.splitlines()
    code = re.findall(r"error\[(\w+)\]", result.stderr)[0]
    found = [line.removeprefix(f"error[{code}]: ") for line in result.stderr.splitlines()]
    assert found == problems
    assert (result.exit_code, list(tmp_path.iterdir())) == (1, [tmp_path / "model.py"])


def test_a_model_in_double_precision_and_its_operators(tmp_path: Path) -> None:
    result = check(tmp_path, "return torch.linalg.det(self.fc(x).double()).float()", "--inference")
    assert [line for line in result.output.splitlines() if line.startswith(("model.py", "parameter"))] == [
        "model.py:12: aten._to_copy makes a float64 tensor",
        "model.py:12: operator aten._linalg_det is not supported",
    ]


@pytest.mark.parametrize("command", ["check", "compile"])
def test_a_model_of_doubles(tmp_path: Path, command: str) -> None:
    path = write(tmp_path, "return torch.special.bessel_j0(self.fc(x)).sum()", "model = lambda: Model().double()\n")
    path.write_text(path.read_text().replace("(4, 4),)", "(4, 4).double(),)"))
    result = CliRunner().invoke(main, [command, str(path), "--inference"], catch_exceptions=False)
    expected = f"""model.py:20: input x is float64
{DOUBLE}
model.py:19: parameters fc.weight, fc.bias are float64
{DOUBLE}
model.py:12: operator aten.special_bessel_j0 is not supported
    try: express it with supported operators (docs/operators.md lists them), or compute it on the host
"""
    if command == "compile":
        assert result.stderr.replace("error[UNSUPPORTED]: ", "") == expected
        return
    answer = "not supported: model.py (inference; x float64 [4, 4]; 20 parameters): 3 problems, 1 of 4 operators\n"
    assert result.output[result.output.index("model.py:") :].replace(f"{tmp_path}/", "") == expected + answer


def test_a_running_average_over_all_steps(tmp_path: Path) -> None:
    body = "return torch.nn.functional.relu(self.norm(self.fc(x))).sum()"
    text = FILE.format(body=f"        {body}\n").replace(
        "        self.blocks", "        self.norm = nn.BatchNorm1d(4, momentum=None)\n        self.blocks"
    )
    path = tmp_path / "model.py"
    path.write_text(text)
    result = CliRunner().invoke(main, ["check", str(path)], catch_exceptions=False)
    assert [line for line in result.output.splitlines() if line.startswith("model.py")] == [
        "model.py:13 (norm): batch norm with momentum=None reads how many batches it has seen into Python"
    ]


def test_a_model_that_is_supported(tmp_path: Path) -> None:
    result = check(tmp_path, "return torch.relu(self.fc(x)).sum()", "--inference")
    assert result.exit_code == 0
    lines = [line.strip() for line in result.output.splitlines() if line.strip()]
    assert [line.split() for line in lines if line.startswith("aten.")] == [
        ["aten.addmm", "1"],
        ["aten.relu", "1"],
        ["aten.sum", "1"],
        ["aten.t", "1"],
    ]
    assert lines[-1].endswith(
        "(inference; x float32 [4, 4]; 20 parameters): all 4 operators, 5 on the device"
    ) and lines[-1].startswith("supported: ")


def test_json(tmp_path: Path) -> None:
    report = json.loads(check(tmp_path, "return torch.linalg.det(self.fc(x))", "--json", "--inference").output)
    assert report["operators"][0] == {"name": "aten._linalg_det", "count": 1, "refused": 1}
    assert report["problems"] == [
        {
            "message": "operator aten._linalg_det is not supported",
            "file": "model.py",
            "line": 12,
            "modules": [],
            "try": "factorise on the host, before or after the run",
        }
    ]
    assert (report["parameters"], report["parameter_bytes"]) == (20, 80)


def test_no_such_file() -> None:
    result = CliRunner().invoke(main, ["check", "nowhere.py"])
    assert (result.exit_code, result.output) == (
        2,
        "error[USAGE]: there is no file nowhere.py\n    try: give the path of a model file, such as model.py\n",
    )


def test_a_pef_is_checked_as_a_pef(tmp_path: Path) -> None:
    path = tmp_path / "broken.pef"
    path.write_bytes(b"not a PEF")
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 1
    assert result.output.startswith("error[PEF]")
