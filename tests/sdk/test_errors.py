"""What users see when program and PEF do not fit: the parameter, both sides, and the fix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import sambaflow.samba as samba
from ir.errors import SncError
from sambaflow.samba import utils
from tests.sdk.programs import batch, classifier, compiled, loaded

ROOT = Path(__file__).parent.parent.parent


def refused(*words: str) -> Any:
    """The raised message holds all words."""
    pattern = "(?s)" + "".join(f"(?=.*{word})" for word in words)
    return pytest.raises(SncError, match=pattern)


def renamed(names: tuple[str, str]) -> tuple[samba.SambaTensor, ...]:
    return tuple(samba.from_torch_tensor(t.torch(), name=name) for t, name in zip(batch(), names))


def test_wrong_and_missing_input_names() -> None:
    _, (_, label), _ = loaded()
    with refused("no input 'picture'", "expects image, label"):
        samba.session.run(renamed(("picture", "label")), section_types=["fwd"])
    with refused("input 'image' is missing", r"image f32\[4,6\]"):
        samba.session.run([label], section_types=["fwd"])


def test_wrong_shape_in_a_run() -> None:
    loaded()
    with refused("'image' has shape", r"\[3, 6\]", r"\[4, 6\]", "batches of 4"):
        samba.session.run(batch(size=3), section_types=["fwd"])


def test_tracing_for_other_shapes_and_names() -> None:
    model = classifier()
    pef = compiled(model, batch())
    with refused("input 'image' has shape", r"\[8, 6\]", r"\[4, 6\]", "-b 4"):
        utils.trace_graph(model, batch(size=8), pef=pef)
    with refused("input 'image' of the PEF is missing", "gives picture, label"):
        utils.trace_graph(model, renamed(("picture", "label")), pef=pef)


def test_a_model_that_computes_something_else() -> None:
    model = classifier()
    pef = compiled(model, batch())
    model.criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    model.lin_layer = torch.nn.Sequential(model.lin_layer, torch.nn.ReLU())
    with refused("parameter 'lin_layer.weight'", "missing in the model"):
        utils.trace_graph(model, batch(), pef=pef)


def test_an_inference_pef_does_not_train() -> None:
    model = classifier()
    optimizer = samba.optim.SGD(model.parameters(), lr=0.1)
    outputs = utils.trace_graph(model, batch(), optimizer, pef=compiled(model, batch(), inference=True))
    with refused("compiled for inference", "BCKWD", "without --inference"):
        samba.session.run(batch(), outputs, section_types=["fwd", "bckwd", "opt"])
    with refused("takes no gradient"):
        outputs[0].sn_grad = 1.0


def test_no_pef_and_no_such_pef() -> None:
    model = classifier()
    with refused("no PEF is given", "--pef"):
        utils.trace_graph(model, batch())
    with refused("missing.pef does not exist"):
        utils.trace_graph(model, batch(), pef="missing.pef")
    with refused("no PEF is loaded", "trace_graph"):
        samba.session.run(batch())


def test_a_pef_of_another_origin(tmp_path: Path) -> None:
    from pef import file

    pef = compiled(classifier(), batch())
    record = file.read(pef)
    record.header.metadata_json = "{}"
    file.write(record, tmp_path / "other.pef")
    with refused("not compiled by a SambaFlow program", "snrun"):
        utils.trace_graph(classifier(), batch(), pef=str(tmp_path / "other.pef"))


def test_a_pef_of_another_toolchain(tmp_path: Path) -> None:
    from pef import file

    pef = compiled(classifier(), batch())
    record = file.read(pef)
    record.header.toolchain_version = "0.0.1"
    file.write(record, pef)
    with refused("toolchain 0.0.1", "compile again"):
        utils.trace_graph(classifier(), batch(size=8), pef=pef)
    utils.trace_graph(classifier(), batch(), pef=pef)


def test_two_inputs_of_one_name() -> None:
    with refused("two inputs are called 'same'", "its own name"):
        compiled(classifier(), renamed(("same", "same")))


def test_a_forward_that_does_not_take_the_inputs() -> None:
    with refused("tracing the model raised", "x=label, y=image"):
        compiled(classifier(), tuple(reversed(batch())))


def test_optimizers_that_the_device_does_not_have() -> None:
    model = classifier()
    with refused("optimizer RMSprop is not supported", "samba.optim.SGD"):
        compiled(model, batch(), torch.optim.RMSprop(model.parameters()))
    hooked = samba.optim.SGD(model.parameters(), lr=0.1)
    hooked.register_step_post_hook(lambda *_: None)
    with refused("optimizer SGD has hooks that run around its step", "register_hook"):
        compiled(model, batch(), hooked)
    with refused("one model is updated by AdamW, SGD"):
        compiled(model, batch(), [samba.optim.SGD(model.parameters()), samba.optim.AdamW(model.parameters())])


def test_kinds_of_numbers_names_given_twice_and_labels_beyond_the_classes() -> None:
    _, (image, label), _ = loaded()
    with refused("input 'image' is int64", "expects float32", r"image.float\(\)"):
        samba.session.run((image.long(), label), section_types=["fwd"])
    with refused("input 'label' is float32", "expects int32", r"label.long\(\)"):
        samba.session.run((image, label.float()), section_types=["fwd"])
    with refused("two inputs of this run are called 'image'"):
        samba.session.run((image, label, image), section_types=["fwd"])
    beyond = samba.from_torch_tensor(torch.full((4,), 7), name="label")
    with refused("index 7 is outside 0 .. 2", "number of classes"):
        samba.session.run((image, beyond), section_types=["fwd"])


def test_gradients_of_other_shapes() -> None:
    _, inputs, outputs = loaded()
    with refused("gradient of output 'output'", r"\[2, 2\]", r"\[4, 3\]"):
        outputs[1].sn_grad = torch.ones(2, 2)
    with refused("gradient of output 'loss'", "one number"):
        samba.session.run(inputs, outputs, grad_of_outputs=[torch.ones(3), None])


class Deciding(torch.nn.Module):
    """Branches on what a tensor holds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x


class Leaving(torch.nn.Module):
    """Computes with NumPy."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(x.numpy() * 2)


def test_forwards_that_are_no_graph() -> None:
    with refused("control flow depends on the values", "torch.where"):
        compiled(Deciding(), samba.randn(2, name="x"))
    with refused("the model leaves PyTorch", "torch's functions"):
        compiled(Leaving(), samba.randn(2, name="x"))
    for nothing in ((), None):
        with refused("no inputs are given", "x, y"):
            compiled(classifier(), nothing)


def test_an_output_folder_that_cannot_be() -> None:
    Path("file").write_text("")
    with refused("cannot be written", "is not a folder"):
        compiled(classifier(), batch(), arguments={"output_folder": "file/out"})


def test_hyper_parameters_must_be_numbers() -> None:
    loaded(lambda parameters: samba.optim.SGD(parameters, lr=0.1))
    with refused("'lr' is 'fast'", "not a number"):
        samba.session.run(batch(), hyperparam_dict={"lr": "fast"})


FAILING = """
import sys
import torch
from torch import nn
from sambaflow import samba


class Net(nn.Module):
    def forward(self, x):
        if sys.argv[1] == "shape":
            return torch.cat([x, torch.ones(3, 3)] * 200)
        return x[x > 0]


samba.session.compile(Net(), (samba.randn(2, 4, name="x"),), name="net", config_dict={"pef_name": "net"})
"""


@pytest.mark.parametrize(("kind", "words"), [("shape", "Sizes of tensors"), ("size", "depends on the values")])
def test_tracing_prints_no_traceback_of_its_own(tmp_path: Path, kind: str, words: str) -> None:
    (tmp_path / "app.py").write_text(FAILING)
    command = [sys.executable, "app.py", kind]
    result = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    lines = result.stderr.splitlines()
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert len(lines) == 3 and lines[1].startswith("error[USAGE]: app.py:") and words in lines[1]
    assert all(len(line) < 600 for line in lines)


def test_long_lists_in_messages_are_cut() -> None:
    class Many(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ParameterList(torch.zeros(1) for _ in range(40))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + sum(self.parts)

    x = samba.zeros(1, name="x")
    pef = compiled(Many(), (x,), inference=True, arguments={"o0": True})
    with refused("parameter 'parts.0'", "and 30 more differences") as raised:
        utils.trace_graph(torch.nn.Identity(), (x,), pef=pef)
    assert len(raised.value.problems) == 11
    utils.trace_graph(Many(), (x,), pef=pef)
    with refused("no tensor called 'nothing'", "and [0-9]+ more"):
        samba.session.get_tensors_by_name(["nothing"])


def test_an_uncaught_error_is_short(tmp_path: Path) -> None:
    program = "from sambaflow import samba\nsamba.session.run([])\n"
    (tmp_path / "app.py").write_text(program)
    result = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    lines = result.stderr.splitlines()
    assert result.returncode == 1 and len(lines) == 3
    assert lines[0].endswith("app.py:2: samba.session.run([])") and lines[1].startswith("error[USAGE]: no PEF")
