"""Compile, trace and run: numbers against PyTorch, gradients, copies, hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sambaflow.samba as samba
from pef import file
from sambaflow.samba import utils
from tests.sdk.programs import BATCH, CLASSES, batch, classifier, compiled, loaded, plain_copy


def sgd(parameters: Any) -> samba.optim.SGD:
    return samba.optim.SGD(parameters, lr=0.0)


def adamw(parameters: Any) -> samba.optim.AdamW:
    return samba.optim.AdamW(parameters, lr=0.01, weight_decay=0.1, max_grad_norm=0.5)


def train_plain(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, clip: float | None) -> list[float]:
    """Losses of steps in PyTorch."""
    losses = []
    for seed in range(steps):
        loss, _ = model(*map(samba.to_torch, batch(seed=seed)))
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("make", "twin", "hyper", "clip"),
    [
        (
            sgd,
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
            {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "p": 0.1},
            None,
        ),
        (adamw, lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.9, 0.997), weight_decay=0.1), {"lr": 0.02}, 0.5),
    ],
)
def test_training_equals_torch(
    make: Callable[..., Any], twin: Callable[..., Any], hyper: dict[str, float], clip: float | None
) -> None:
    model, _, outputs = loaded(make)
    expected = plain_copy(model)
    losses = train_plain(expected, twin(expected.parameters()), 5, clip)
    for seed, loss in enumerate(losses):
        results = samba.session.run(batch(seed=seed), outputs, hyperparam_dict=hyper)
        assert samba.to_torch(results[0]).item() == pytest.approx(loss, rel=1e-5)
    before = model.lin_layer.weight.data.clone()
    samba.session.to_cpu(model)
    assert not torch.equal(before, model.lin_layer.weight.data)
    torch.testing.assert_close(model.lin_layer.weight.data, expected.lin_layer.weight.data, rtol=1e-4, atol=1e-6)


def test_host_weights_change_only_when_asked() -> None:
    model, inputs, outputs = loaded(sgd)
    loss, _ = model(*inputs)
    samba.session.run(inputs, outputs, hyperparam_dict={"lr": 0.5})
    loss.mean().backward()
    gradient = model.lin_layer.weight.sn_grad
    torch.testing.assert_close(samba.to_torch(gradient), samba.to_torch(model.lin_layer.weight.grad))
    assert not torch.equal(model.lin_layer.weight.sn_data, model.lin_layer.weight.data)
    model.lin_layer.weight.cpu()
    assert torch.equal(model.lin_layer.weight.sn_data, model.lin_layer.weight.data)


def test_inputs_are_matched_by_name_in_every_container() -> None:
    model, (image, label), outputs = loaded(sgd)
    expected = samba.to_torch(model(image, label)[0]).item()
    containers = [
        (image, label),
        [label, image],
        {"image": image, "label": label},
        {"a": (label, image)},
        samba.from_named_dict({"label": label.torch(), "image": image.torch()}),
        [image, None, label],
        (image.torch(), label.torch()),
    ]
    for inputs in containers:
        loss = samba.session.run(inputs, section_types=["fwd"])[0]
        assert samba.to_torch(loss).item() == pytest.approx(expected)
    assert outputs[0].item() == pytest.approx(expected), "the traced outputs are brought up to date"


def test_results_of_a_run_do_not_change_later() -> None:
    _, inputs, outputs = loaded(sgd)
    first = samba.session.run(inputs, outputs, hyperparam_dict={"lr": 0.5})[0]
    kept = first.item()
    samba.session.run(inputs, outputs)
    assert first.item() == kept


def test_gradients_start_at_the_loss_and_can_be_set() -> None:
    model, inputs, outputs = loaded(sgd)
    weight = model.lin_layer.weight
    samba.session.run(inputs, outputs, section_types=["FWD", "BCKWD"])
    plain = samba.to_torch(weight.sn_grad)
    samba.session.run(inputs, outputs, section_types=["fwd", "bckwd"], grad_of_outputs=[torch.tensor(2.0), None])
    torch.testing.assert_close(samba.to_torch(weight.sn_grad), 2 * plain)
    samba.session.run(inputs, outputs, section_types=["bckwd"])
    torch.testing.assert_close(samba.to_torch(weight.sn_grad), plain, msg="grad_of_outputs counts for one run")
    outputs[0].sn_grad = 0.0
    outputs[1].sn_grad = torch.ones(BATCH, CLASSES)
    samba.session.run(inputs, outputs, section_types=["bckwd"])
    expected = samba.to_torch(inputs[0]).sum(0).expand(CLASSES, -1)
    torch.testing.assert_close(samba.to_torch(weight.sn_grad), expected)


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        ({"loss_indices": [(1,)]}, (0.0, 1.0)),
        ({"loss_indices": [0]}, (1.0, 0.0)),
        ({"init_output_grads": False}, (0.0, 0.0)),
    ],
)
def test_loss_indices_say_where_gradients_start(
    options: dict[str, Any], starts: tuple[float, float], capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, outputs = loaded(sgd, **options)
    named = next((name for name, start in zip(("loss", "output"), starts) if start), "no output")
    assert f"Gradients start from {named}, of loss, output" in capsys.readouterr().out
    assert tuple(float(output.sn_grad.max()) for output in outputs) == starts


class Variational(nn.Module):
    """A total loss, and what it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = self.fc(x)
        recon, kl = nn.functional.mse_loss(y, x), y.square().mean()
        return recon + 0.1 * kl, recon, kl


def test_a_total_beside_its_parts_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    model = Variational()
    x = torch.randn(8, 4)
    model(x)[0].backward()
    expected = model.fc.weight.grad
    samba.from_torch_model_(model)
    inputs = samba.from_torch_tensor(x, name="x", batch_dim=0)
    outputs = utils.trace_graph(model, inputs, pef=compiled(model, inputs))
    assert "gradients start from ones at loss, from zeros at loss_1, loss_2" in capsys.readouterr().out
    samba.session.run([inputs], outputs)
    torch.testing.assert_close(samba.to_torch(model.fc.weight.sn_grad), expected)


def test_input_gradients() -> None:
    model = nn.Linear(3, 2)
    samba.from_torch_model_(model)
    x = samba.randn(4, 3, name="input", batch_dim=0, requires_grad=True)
    outputs = utils.trace_graph(model, x, pef=compiled(model, x))
    samba.session.run([x], outputs)
    torch.testing.assert_close(samba.to_torch(x.sn_grad), model.weight.data.sum(0).expand(4, -1))
    assert samba.session.get_tensors_by_name(["input__grad"])[0].shape == (4, 3)


def test_tensors_by_name() -> None:
    model, inputs, outputs = loaded(sgd)
    samba.session.run(inputs, outputs)
    found = samba.session.get_tensors_by_name(["classifier__lin_layer__weight", "image"])
    assert torch.equal(found[0].data, model.lin_layer.weight.sn_data)
    assert "classifier__lin_layer__weight__grad" in samba.session.tensor_dict["grads"]
    assert {tensor.sn_name for tensor in samba.session._traced_tensors()} >= {"image", "label"}


def test_inference_pef_is_smaller_and_runs_forward_by_default() -> None:
    model, inputs = classifier(), batch()
    training = Path(compiled(model, inputs, sgd(model.parameters()))).stat().st_size
    pef = compiled(model, inputs, arguments={"inference": True, "pef_name": "inference"})
    assert Path(pef).stat().st_size < training
    outputs = utils.trace_graph(model, inputs, pef=pef)
    loss, logits = samba.session.run(inputs, outputs)
    utils.assert_close(logits, model(*inputs)[1], "logits", threshold=1e-5)
    assert loss.item() == pytest.approx(model(*inputs)[0].item())


def test_training_continues_bit_by_bit_from_a_checkpoint(tmp_path: Path) -> None:
    def losses(start: int, stop: int) -> list[float]:
        return [samba.session.run(batch(seed=s), outputs)[0].item() for s in range(start, stop)]

    model = classifier()
    optimizer = samba.optim.AdamW(model.parameters(), lr=0.01)
    pef = compiled(model, batch(), optimizer)
    outputs = utils.trace_graph(model, batch(), optimizer, pef=pef)
    losses(0, 3)
    samba.session.to_cpu(model, optimizer)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "3.pt")
    expected = losses(3, 6)
    model = classifier(seed=9)
    optimizer = samba.optim.AdamW(model.parameters(), lr=0.01)
    state = torch.load(tmp_path / "3.pt")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    outputs = utils.trace_graph(model, batch(), optimizer, pef=pef)
    assert losses(3, 6) == expected


def test_positional_none_and_keywords_reach_forward() -> None:
    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
            assert mask is None
            return x * self.scale + bias

    x, bias = samba.ones(2, 3, name="first"), samba.ones(3, name="second")
    for inputs in ((x, None, bias), {"x": x, "bias": bias}):
        model = Optional()
        pef = compiled(model, inputs, inference=True)
        outputs = utils.trace_graph(model, inputs, pef=pef)
        assert samba.session.run(inputs, outputs)[0].tolist() == [[2.0] * 3] * 2


def test_constants_held_by_the_model_are_part_of_the_graph() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.shift = samba.from_torch_tensor(torch.arange(3.0), name="shift")
            self.plain = torch.tensor([1.0, 5.0, 9.0])

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale + self.shift + self.plain

    model, x = Shifted(), samba.zeros(2, 3, name="x")
    outputs = utils.trace_graph(model, x, pef=compiled(model, x, inference=True))
    assert samba.session.run([x], outputs)[0].tolist() == [[1.0, 6.0, 11.0]] * 2


def test_runtime_profile(tmp_path: Path) -> None:
    _, inputs, outputs = loaded(sgd)
    samba.session.start_runtime_profile()
    samba.session.run(inputs, outputs)
    samba.session.end_runtime_profile("profile.txt")
    lines = (tmp_path / "profile.txt").read_text().splitlines()
    assert lines[1].startswith("fwd_0,bckwd_0,opt_0  1  ")


def test_measuring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, inputs, _ = loaded(sgd)
    throughput, latency = utils.measure_performance(model, inputs, BATCH, 1, False, n_iterations=10, json="r.json")
    printed = capsys.readouterr().out
    assert "Measuring peformance with world size: 1" in printed and "measured over 10 iterations." in printed
    assert throughput == pytest.approx(BATCH / latency) and (tmp_path / "r.json").is_file()
    assert list(utils.measure_sections(model, inputs, n_iterations=2)) == ["fwd_0", "bckwd_0", "opt_0"]


def test_a_model_without_weights_compiles_to_the_same_pef() -> None:
    records = []
    for device in ("cpu", "meta"):
        with torch.device(device):
            model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        x = samba.SambaTensor(name="x", shape=(2, 8), dtype=torch.float32)
        optimizer = samba.optim.AdamW(model.parameters(), lr=0.1)
        records.append(file.read(compiled(model, (x,), optimizer, arguments={"pef_name": device})))
    assert records[0].sections == records[1].sections
    assert records[0].configurations == records[1].configurations
    assert records[0].symbols == records[1].symbols
    trained = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    x = samba.randn(2, 8, name="x")
    outputs = utils.trace_graph(trained, (x,), pef="out/meta/meta.pef")
    utils.assert_close(samba.session.run((x,), outputs, section_types=["fwd"])[0], trained(x), "output", 1e-5)
