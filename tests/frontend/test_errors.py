"""What users read when something is wrong with their model or model file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compiler.frontend.capture import capture
from compiler.frontend.locations import Locator
from compiler.frontend.model_file import ModelSpec, load_model
from ir.errors import CaptureError, SncError, UnsupportedError, UsageError

START = """import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
"""
EMPTY = START + "        pass\n"
END = """
model = Model
inputs = (torch.randn(2, 4),)
"""


IDENTITY = "from torch import nn\nmodel = nn.Identity\n"
LOSS = "def loss(outputs, label):\n    return nn.functional.cross_entropy(outputs, label)\n"


def write(folder: Path, text: str) -> str:
    """A model file."""
    path = folder / "model.py"
    path.write_text(text)
    return str(path)


def message(folder: Path, body: str, kind: type[SncError], inference: bool = False) -> str:
    """The error for a model with this forward."""
    spec = load_model(write(folder, START + "".join(f"        {line}\n" for line in body.splitlines()) + END))
    with pytest.raises(kind) as raised:
        capture(spec, inference=inference)
    return str(raised.value)


def load_message(folder: Path, text: str, name: str = "", batch_size: int | None = None) -> str:
    """The error for loading a model file."""
    with pytest.raises(UsageError) as raised:
        load_model(write(folder, text) + name, batch_size)
    return str(raised.value)


def test_all_unsupported_operators_at_once(tmp_path: Path) -> None:
    body = "y = torch.linalg.inv(self.fc(x)[:, :2])\nreturn y.sum() + torch.special.bessel_j0(self.fc(x)).sum()"
    assert message(tmp_path, body, UnsupportedError).splitlines()[:4] == [
        "error[UNSUPPORTED]: model.py:11: operator aten.linalg_inv_ex is not supported",
        "    try: solve on the host, before or after the run",
        "error[UNSUPPORTED]: model.py:12: operator aten.special_bessel_j0 is not supported",
        "    try: express it with supported operators (docs/operators.md lists them), or compute it on the host",
    ]


def test_shapes_that_depend_on_values(tmp_path: Path) -> None:
    body = "y = self.fc(x)\ny = y[y > 0]\nreturn y.sum()"
    text = message(tmp_path, body, CaptureError)
    assert "model.py:12: the size of what aten.index returns depends on the values of a tensor" in text
    assert "torch.where(condition, a, b)" in text


def test_dropout_is_identity_in_inference(tmp_path: Path) -> None:
    spec = load_model(write(tmp_path, START + "        return self.drop(self.fc(x))\n" + END))
    program = capture(spec, inference=True).program
    assert [node.op.name for node in program.graphs[0].nodes] == ["permute", "matmul", "add"]


def test_data_dependent_control_flow(tmp_path: Path) -> None:
    body = "y = self.fc(x)\nif y.sum() > 0:\n    y = -y\nreturn y.sum()"
    assert message(tmp_path, body, CaptureError) == (
        "error[CAPTURE]: model.py:12: the model's control flow depends on the values of a tensor\n"
        "    try: both branches must be part of the graph: choose with torch.where(condition, a, b), or decide from a "
        "Python value or a shape, which are known when compiling"
    )


def test_reading_a_value(tmp_path: Path) -> None:
    assert "model.py:11: a number is read from a tensor into Python" in message(
        tmp_path, "n = int(x[0, 0].item())\nreturn self.fc(x)[:n].sum()", CaptureError
    )


def test_tensors_without_content_are_called_tensors(tmp_path: Path) -> None:
    text = message(tmp_path, "return self.fc(x).summ()", CaptureError)
    assert "model.py:11: PyTorch could not trace the model: 'Tensor' object has no attribute 'summ'" in text


def test_mistake_in_forward(tmp_path: Path) -> None:
    text = message(tmp_path, "return self.fc(x.reshape(4, 2)).sum()", CaptureError)
    assert text.startswith("error[CAPTURE]: model.py:11: PyTorch could not trace the model: ")
    assert len(text.splitlines()) == 2


def test_nothing_to_differentiate(tmp_path: Path) -> None:
    assert "returns no floating-point tensor" in message(tmp_path, "return self.fc(x).argmax(1)", CaptureError)


def test_double_precision_inside_the_model(tmp_path: Path) -> None:
    body = "y = self.fc(x).double() * 2\nreturn (y + 1).float().sum()"
    assert message(tmp_path, body, UnsupportedError, inference=True) == (
        "error[UNSUPPORTED]: model.py:11: aten._to_copy makes a float64 tensor\n"
        "    try: use float32: `x.float()`, `model.float()`, or dtype=torch.float32 where the tensor is made"
    )


def test_element_types_of_the_model(tmp_path: Path) -> None:
    spec = load_model(write(tmp_path, START + "        return self.fc(x).sum()\n" + END))
    spec.model.double()
    wrong = replace(spec, inputs={"x": torch.zeros(2, 4, dtype=torch.complex128)})
    with pytest.raises(UnsupportedError) as raised:
        capture(wrong, inference=True)
    assert str(raised.value) == (
        "error[UNSUPPORTED]: model.py:14: input x is complex128\n"
        "    try: use complex64: `x.to(torch.complex64)`, or make it of float32 parts\n"
        "error[UNSUPPORTED]: model.py:13: parameters fc.weight, fc.bias are float64\n"
        "    try: use float32: `x.float()`, `model.float()`, or dtype=torch.float32 where the tensor is made"
    )


def test_integers_beyond_32_bits(tmp_path: Path) -> None:
    spec = load_model(write(tmp_path, START + "        return self.fc(x.float()).sum()\n" + END))
    with pytest.raises(UnsupportedError, match="input x holds 4294967296, which does not fit 32 bits"):
        capture(replace(spec, inputs={"x": torch.full((2, 4), 2**32)}), inference=True)


OPTIMIZERS = """
class Clipping(torch.optim.SGD):
    def step(self, closure=None):
        torch.nn.utils.clip_grad_value_(self.param_groups[0]["params"], 0.1)
        return super().step(closure)

class Named(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})

    def step(self, closure=None):
        pass

Named.__name__ = "Adam"

def hooked(optimizer, before=False):
    register = optimizer.register_step_pre_hook if before else optimizer.register_step_post_hook
    register(lambda *_: None)
    return optimizer
"""


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (
            "torch.optim.Rprop(p)",
            "model.py:16: optimizer Rprop is not supported\n    try: use one of torch.optim's SGD",
        ),
        (
            "torch.optim.SGD(p, momentum=0.9, dampening=0.1)",
            "sgd with dampening=0.1 is not supported\n    try: leave dampening out",
        ),
        ("Clipping(p)", "optimizer Clipping has a step of its own, not that of torch.optim.SGD\n    try: use torch"),
        ("Named(p)", "optimizer Adam is not supported"),
        ("hooked(torch.optim.Adam(p))", "optimizer Adam has hooks that run around its step\n    try: change grad"),
        ("hooked(torch.optim.Adam(p), True)", "optimizer Adam has hooks that run around its step"),
        ("torch.optim.SGD([torch.zeros(2, requires_grad=True)])", "parameters that the model does not have"),
    ],
)
def test_optimizers(tmp_path: Path, optimizer: str, expected: str) -> None:
    made = f"\noptimizer = lambda p: {optimizer}\n{OPTIMIZERS}"
    text = START + "        return self.fc(x).sum()\n" + END + made
    spec = load_model(write(tmp_path, text))
    with pytest.raises(UnsupportedError) as raised:
        capture(spec, inference=False)
    assert expected in str(raised.value)


def test_a_scheduler_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = START + "        return self.fc(x).sum()\n" + END
    text += """
def optimizer(p):
    made = torch.optim.SGD(p, lr=0.5)
    torch.optim.lr_scheduler.StepLR(made, 10)
    return made
"""
    captured = capture(load_model(write(tmp_path, text)), inference=False)
    assert captured.values["lr"] == 0.5
    assert "note: a scheduler changes the optimizer's learning rate on the host" in caplog.text
    caplog.clear()
    capture(
        load_model(write(tmp_path, text.replace("    torch.optim.lr_scheduler.StepLR(made, 10)\n", ""))),
        inference=False,
    )
    assert not caplog.text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "return torch.cond(x.sum() > 0, lambda t: self.fc(t), lambda t: t, (x,)).sum()",
            r"model\.py:11: operators that take functions, such as torch\.cond(.|\n)*try: compute both branches",
        ),
        (
            "self.fc = torch.jit.script(nn.Linear(4, 4))",
            r"model\.py:13 \(fc\): module fc was compiled by torch\.jit(.|\n)*try: give the module itself",
        ),
        (
            "return self.fc(x.cuda()).sum()",
            r"model\.py:11: forward moves a tensor to a device that this PyTorch does not have(.|\n)*x\.device",
        ),
        (
            "return torch.nested.as_nested_tensor([self.fc(x[0]), self.fc(x[1])]).to_padded_tensor(0.0).sum()",
            r"model\.py:11: nested tensors are not supported(.|\n)*try: pad the parts to one length",
        ),
    ],
    ids=["cond", "jit", "cuda", "nested"],
)
def test_what_has_no_operators(tmp_path: Path, line: str, expected: str) -> None:
    is_forward = line.startswith("return")
    text = START if is_forward else START.replace("self.fc = nn.Linear(4, 4)", line)
    spec = load_model(write(tmp_path, f"{text}        {line if is_forward else 'return x.sum()'}\n{END}"))
    with pytest.raises(CaptureError, match=expected):
        capture(spec, inference=True)


class TrainsItself(torch.nn.Module):
    """Steps of an optimizer in forward, which was made before."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.optimizer = torch.optim.SGD(self.inner.parameters(), lr=0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.optimizer.zero_grad()
        self.inner(x).square().mean().backward()
        self.optimizer.step()
        return self.outer(self.inner(x)).square().mean()


def test_an_optimizer_that_forward_uses() -> None:
    with pytest.raises(
        CaptureError, match=r"test_errors\.py:\d+: forward makes a step of an optimizer that was made outs"
    ):
        capture(ModelSpec(TrainsItself(), {"x": torch.randn(6, 4)}), inference=False)


def test_a_model_compiled_by_jit_is_refused_as_a_whole() -> None:
    model = torch.jit.trace(torch.nn.Sequential(torch.nn.Linear(4, 4)), torch.randn(2, 4))
    with pytest.raises(CaptureError) as raised:
        capture(ModelSpec(model, {"x": torch.randn(2, 4)}), inference=True)
    assert str(raised.value).count("was compiled by torch.jit") == 1


def test_missing_file() -> None:
    with pytest.raises(UsageError) as raised:
        load_model("nowhere/model.py:name")
    assert str(raised.value) == (
        "error[USAGE]: there is no file nowhere/model.py\n    try: give the path of a model file, such as model.py"
    )


@pytest.mark.parametrize(
    ("text", "name", "batch_size", "expected"),
    [
        ("x = (\n", "", None, "model.py:1: the file has a syntax error: '(' was never closed"),
        ("x = 1\ny = x.z\n", "", None, "model.py:2: running the file raised AttributeError: 'int' object has no"),
        ("x = 1\n", "", None, "model.py:1: the file does not define 'model'\n    try: write `model = MyModule` (mo"),
        ("model = 3\n", "", None, "model.py:1: model is of type int, not a torch.nn.Module\n    try: write"),
        (IDENTITY, "", None, "model.py:1: the file does not define 'inputs'"),
        ("def model():\n    return 1 / 0\n", "", None, "model.py:2: calling model() raised ZeroDivisionError"),
        (EMPTY + "model = Model\ninputs = {'x': 1}\n", "", None, "model.py:13: inputs are not tensors"),
        (EMPTY + END, "", 3, "model.py:14: the batch size is 3, but inputs are x [2, 4]"),
        (EMPTY + END, "", 0, "a batch size of 0 is not positive"),
        (EMPTY + "model = Model\ndef inputs(n): pass\n", "", None, "model.py:13: inputs(n) of model.py needs a batch"),
        (EMPTY + END, ":other", None, "model.py does not define 'other'"),
        (EMPTY + END + "optimizer = 3\n", "", None, "model.py:15: optimizer is of type int"),
        (EMPTY + END + "max_grad_norm = -1\n", "", None, "model.py:15: max_grad_norm is -1"),
        (EMPTY + END + "loss = 3\n", "", None, "model.py:15: loss is of type int"),
        (EMPTY + END + LOSS, "", None, ":15: loss takes label, but the file defines no targets\n    try: write `def"),
        (EMPTY + END + LOSS + "targets = 3", "", None, "model.py:17: targets are not tensors"),
    ],
)  # fmt: skip
def test_model_files(tmp_path: Path, text: str, name: str, batch_size: int | None, expected: str) -> None:
    shown = load_message(tmp_path, text, name, batch_size)
    assert shown.startswith("error[USAGE]: ")
    assert expected in shown


def test_inference_takes_nothing_that_only_training_uses(tmp_path: Path) -> None:
    path = write(tmp_path, EMPTY + END + LOSS + "optimizer = 3\n")
    spec = load_model(path, inference=True)
    assert (spec.loss, spec.optimizer, dict(spec.targets)) == (None, None, {})


def test_a_loss_of_a_module_needs_the_targets_of_its_forward(tmp_path: Path) -> None:
    path = write(tmp_path, EMPTY + END + "loss = nn.CrossEntropyLoss()\n")
    with pytest.raises(UsageError, match="loss takes target, but the file defines no targets"):
        load_model(path)
    path = write(tmp_path, EMPTY + END + "loss = nn.CrossEntropyLoss()\ntargets = torch.zeros(2, dtype=torch.long)\n")
    assert load_model(path).targets["target"].shape == (2,)


ALTERNATIVES = """
def pair():
    return Model(), (torch.randn(3, 4),), torch.optim.SGD(Model().parameters()), None

class Other:
    model = Model

    @staticmethod
    def inputs(batch_size=5):
        return torch.randn(batch_size, 4)
"""


def test_alternatives_and_batch_size(tmp_path: Path) -> None:
    path = write(tmp_path, START + "        return self.fc(x)\n" + END + ALTERNATIVES)
    assert load_model(path).inputs["x"].shape == (2, 4)
    assert load_model(path).name == "model"
    pair = load_model(f"{path}:pair")
    assert pair.inputs["x"].shape == (3, 4)
    assert isinstance(pair.optimizer, torch.optim.SGD)
    assert load_model(f"{path}:Other").inputs["x"].shape == (5, 4)
    assert load_model(f"{path}:Other", 7).inputs["x"].shape == (7, 4)


def test_seed_fixes_initial_weights(tmp_path: Path) -> None:
    path = write(tmp_path, START + "        return self.fc(x)\n" + END)
    first, second, other = (load_model(path, seed=seed).model.fc.weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_locations_do_not_depend_on_the_models_loaded_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beside an earlier model keeps its name."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "models").mkdir()
    earlier = tmp_path / "models" / "model.py"
    earlier.write_text(START + "        return self.fc(x).sum()\n" + END)
    beside = str(tmp_path / "models" / "layers.py")
    locator = Locator(Path("elsewhere/model.py"), 1)
    before = locator.shown(beside)
    load_model(str(earlier))
    assert locator.shown(beside) == before == "models/layers.py"
