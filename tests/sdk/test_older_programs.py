"""What programs of older releases do."""

from __future__ import annotations

import argparse
import copy
import io
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ir.errors import UsageError
from sambaflow import samba
from sambaflow.models.unet import UNet
from sambaflow.samba import utils
from sambaflow.samba._capture.convert import lacks_content
from sambaflow.samba.experiment_logger import AccMeter, CountMeter, DisplayMeter
from sambaflow.samba.lazy_param import lazy_param
from sambaflow.samba.materialize import materialize
from sambaflow.samba.utils.tensorboard_debug import dump_accuracy_debug_info
from tests.sdk.programs import BATCH, batch, compiled
from tests.sdk.test_options import SPATIAL, trained


class Tower(nn.Module):
    """Layers of every kind, with initial values of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8, padding_idx=2)
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.BatchNorm1d(8), nn.ReLU())
        self.gain = nn.Parameter(torch.empty(8))
        self.offset = nn.Parameter(torch.arange(8.0))
        self.register_buffer("mask", torch.ones(8, 8).tril())
        nn.init.trunc_normal_(self.gain, std=0.1)
        nn.init.xavier_uniform_(self.layers[0].weight, gain=3.0)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.layers(self.embedding(tokens))
        return (x * self.gain + self.offset) @ self.mask


def test_lazy_parameters_are_initialised_when_they_go_to_the_device() -> None:
    torch.manual_seed(7)
    eager = Tower()
    with lazy_param():
        model = Tower()
    assert model.gain.is_meta and model.embedding.weight.is_meta and not model.mask.is_meta
    samba.from_torch_model_(model)
    tokens = samba.randint(9, (4,), name="tokens")
    pef = compiled(model, (tokens,), inference=True)
    assert lacks_content(model)
    outputs = utils.trace_graph(model, (tokens,), pef=pef)
    (found,) = samba.session.run((tokens,), outputs)
    model.eval()
    utils.assert_close(found, model(tokens), "output", 1e-5)
    assert samba.to_torch(model.embedding.weight)[2].abs().sum() == 0
    assert samba.to_torch(model.layers[2].running_var).tolist() == [1.0] * 8
    assert 0 < float(samba.to_torch(model.gain).detach().std()) < 0.3
    for (name, parameter), (_, twin) in zip(model.named_parameters(), eager.named_parameters()):
        assert parameter.shape == twin.shape and parameter.dtype is twin.dtype, name


def test_lazy_parameters_start_as_eager_ones_do() -> None:
    torch.manual_seed(3)
    eager = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    with lazy_param():
        model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    torch.manual_seed(3)
    with materialize(samba.from_torch_model_(model)) as real:
        for (name, parameter), twin in zip(real.named_parameters(), eager.parameters()):
            assert torch.equal(samba.to_torch(parameter), twin), name


def test_parameters_nobody_can_fill_are_named() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, device="meta"))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight

    model, x = Bare(), samba.randn(3, name="x")
    pef = compiled(model, (x,), inference=True)
    with pytest.raises(UsageError, match="parameter 'weight' has no content and no way to get it"):
        utils.trace_graph(model, (x,), pef=pef)


def test_several_spatial_batches_can_be_traced_with() -> None:
    whole = batch(3 * BATCH)
    assert torch.equal(
        trained([whole], SPATIAL, trace_with=whole)[0],
        trained([whole], SPATIAL)[0],
    )


class Regressor(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.lin_layer = layer
        self.criterion = nn.MSELoss()

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        out = self.lin_layer(x)
        return self.criterion(out, y), out


def test_weight_norm_is_applied_and_trained() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 3)
    start = layer.weight.detach().clone()
    model = Regressor(utils.weight_norm_(layer))
    assert torch.allclose(layer.weight, start)
    expected = nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))
    with torch.no_grad():
        expected.bias.copy_(layer.bias)
        expected.parametrizations.weight.original0.copy_(layer.weight_magnitude)
        expected.parametrizations.weight.original1.copy_(layer.weight_direction)
    twin = Regressor(expected)
    samba.from_torch_model_(model)
    assert layer.weight_magnitude.sn_name == "regressor__lin_layer__weight_magnitude"
    inputs = (samba.randn(6, 5, name="x", batch_dim=0), samba.randn(6, 3, name="y", batch_dim=0))
    optimizer = samba.optim.SGD(model.parameters(), lr=0.1)
    outputs = utils.trace_graph(model, inputs, optimizer, pef=compiled(model, inputs, optimizer))
    plain = torch.optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(4):
        loss, _ = samba.session.run(inputs, outputs)
        plain.zero_grad()
        wanted, _ = twin(*map(samba.to_torch, inputs))
        wanted.backward()
        plain.step()
        utils.assert_close(loss, wanted, "loss", 1e-5)
    magnitude, direction = samba.session.get_tensors_by_name(
        ["regressor__lin_layer__weight_magnitude", "regressor__lin_layer__weight_direction"]
    )
    utils.assert_close(magnitude, expected.parametrizations.weight.original0, "magnitude", 1e-5)
    utils.assert_close(direction, expected.parametrizations.weight.original1, "direction", 1e-5)
    samba.session.to_cpu(model)
    utils.assert_close(layer.weight, expected.weight, "weight", 1e-5)


@pytest.mark.parametrize("layer", [nn.Conv1d(2, 3, 2), nn.Conv2d(2, 3, 2), nn.Conv3d(2, 3, 2), nn.Linear(2, 3)])
def test_normalised_layers_are_copied_and_stored_like_others(layer: nn.Module) -> None:
    before = layer.weight.detach().clone()
    utils.weight_norm_(layer)
    assert utils.weight_norm_(layer) is layer
    stored = io.BytesIO()
    torch.save(layer, stored)
    stored.seek(0)
    for other in (copy.deepcopy(layer), torch.load(stored, weights_only=False)):
        torch.testing.assert_close(other.weight, before)
        assert sorted(other.state_dict()) == ["bias", "weight_direction", "weight_magnitude"]


def test_other_layers_have_no_normalised_weight() -> None:
    with pytest.raises(UsageError, match="weight_norm_ does not take a LayerNorm"):
        utils.weight_norm_(nn.LayerNorm(3))


class Judge(nn.Module):
    """Two outputs, neither of which is a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.sigmoid(self.first(x))
        return torch.sigmoid(self.second(hidden)), hidden


def test_gradients_are_written_under_the_names_of_operators() -> None:
    torch.manual_seed(0)
    model = Judge()
    samba.from_torch_model_(model)
    x = samba.randn(3, 4, name="x", batch_dim=0)
    optimizer = samba.optim.SGD(model.parameters(), lr=0.0)
    outputs = utils.trace_graph(model, (x,), optimizer, pef=compiled(model, (x,), optimizer))
    first, second = torch.rand(3, 4), torch.rand(3, 1)
    samba.session.run((x,), outputs, section_types=["fwd"])
    samba.session.ctx.set_tensors(
        {"sigmoid__outputs__0__grad": first.numpy(), "judge__sigmoid_1__outputs__0__grad": second.numpy()}
    )
    samba.session.run((x,), outputs, section_types=["bckwd"])
    judged, hidden = model(x)
    torch.autograd.backward([samba.to_torch(judged), samba.to_torch(hidden)], [second, first])
    for name, parameter in model.named_parameters():
        utils.assert_close(parameter.sn_grad, parameter.grad, name, 1e-5)


def test_debug_information_is_written_as_older_programs_ask() -> None:
    model = Judge()
    samba.from_torch_model_(model)
    x = samba.randn(3, 4, name="x", batch_dim=0)
    args = argparse.Namespace(pef=compiled(model, (x,), samba.optim.SGD(model.parameters(), lr=0.0)))
    traced = utils.trace_graph(model, (x,), pef=args.pef)
    results = samba.session.run((x,), traced, section_types=["fwd", "bckwd"])
    path = dump_accuracy_debug_info(args, model, (x,), traced)
    assert path.endswith("out/model/accuracy_debug.pt")
    written = torch.load(path)
    assert torch.equal(written["outputs"][1], results[1].data) and written["inputs"].keys() == {"x"}
    assert written["gradients"].keys() == dict(model.named_parameters()).keys()


def test_names_of_the_vendor_alone_say_what_is_missing() -> None:
    for statement in (
        "from sambaflow.frameworks.quantized.quantized_linear import QuantizedLinear",
        "from sambaflow.online_inference_service.sn_sqs_handler import SnSqsHandler",
    ):
        with pytest.raises(ImportError, match=r"no public interface; (use torch\.nn\.Linear|load an inference PEF)"):
            exec(statement)
    from sambaflow.frameworks.quantized import quantized_linear

    assert not hasattr(quantized_linear, "__path__")


def test_models_and_meters_take_the_older_arguments() -> None:
    assert UNet(in_channels=1, out_channels=5, channels=4, depth=1)(torch.zeros(1, 1, 4, 4)).shape == (1, 5, 4, 4)
    shown = []
    for meter in (AccMeter("acc", format=":.2f"), CountMeter("n", format="%d"), DisplayMeter("loss", format=".3f")):
        meter.update(2.0)
        meter.update(5.0)
        shown.append(str(meter))
    assert shown == ["acc 3.50", "n 7", "loss 5.000"]


class Output(OrderedDict[str, Tensor]):
    """A mapping of a class of its own, as transformers 4.45 returns."""


@dataclass
class Fields:
    """A dataclass, as some programs return."""

    loss: Tensor
    logits: Tensor | None = None
    cache: object = None


class Cache:
    """No container that PyTorch knows."""


@pytest.mark.parametrize("kind", ["mapping", "dataclass", "nested"])
def test_containers_of_other_libraries_are_returned_in_order(kind: str) -> None:
    class Model(Regressor):
        def forward(self, x: Tensor, y: Tensor) -> object:
            loss, logits = super().forward(x, y)
            if kind == "mapping":
                return Output(loss=loss, logits=logits)
            return Fields(loss, logits, Cache()) if kind == "dataclass" else ({"a": loss}, [Fields(logits)], None, 3)

    torch.manual_seed(0)
    model = Model(nn.Linear(5, 3))
    samba.from_torch_model_(model)
    inputs = (samba.randn(6, 5, name="x", batch_dim=0), samba.randn(6, 3, name="y", batch_dim=0))
    optimizer = samba.optim.SGD(model.parameters(), lr=0.0)
    outputs = utils.trace_graph(model, inputs, optimizer, pef=compiled(model, inputs, optimizer))
    loss, logits = samba.session.run(inputs, outputs)
    wanted, expected = Regressor.forward(model, *inputs)
    utils.assert_close(loss, wanted, "loss", 1e-5)
    utils.assert_close(logits, expected, "logits", 1e-5)
    wanted.backward()
    utils.assert_close(model.lin_layer.weight.sn_grad, model.lin_layer.weight.grad, "gradient", 1e-5)


def test_outputs_of_several_graphs_come_in_a_row() -> None:
    class Caching(nn.Module):
        def forward(self, x: Tensor, cache: list[Tensor]) -> tuple[Tensor, dict[str, list[Tensor]]]:
            return x * 2, {"cache": [part + 1 for part in cache]}

    cache = [samba.zeros(2, name=f"part_{number}") for number in range(2)]
    outputs = utils.trace_multigraph(Caching(), {"x": samba.ones(2, name="x"), "cache": cache}, trace_prefix="step_")
    assert isinstance(outputs, tuple) and [o.sn_name for o in outputs] == [f"step_output_{i}" for i in range(3)]


def test_auxiliary_tensors_are_replaced_when_a_model_is_traced_again() -> None:
    class Auxiliary(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            table = torch.arange(3.0)
            assert samba.session.is_valid_aux_tensor_name("table")
            samba.session.add_aux_tensor(table, "table")
            with pytest.raises(UsageError, match="'table' cannot name"):
                samba.session.add_aux_tensor(torch.zeros(3), "table")
            return x + table

    model, x = Auxiliary(), samba.ones(3, name="x")
    utils.trace_multigraph(model, (x,))
    first = samba.session.aux_tensors["table"]
    utils.trace_multigraph(model, (x,))
    assert samba.session.aux_tensors["table"] is not first


def test_dummy_inputs_need_names_shapes_and_types_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(10, 4), nn.Linear(4, 3)

        def forward(self, tokens: Tensor, target: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            logits = self.head(self.embedding(tokens))
            there = nn.functional.binary_cross_entropy(torch.sigmoid(logits), target)
            return there + nn.functional.cross_entropy(logits, label), there, logits

    model = Detector()
    samba.from_torch_model_(model)
    dummies = (
        samba.randint(10_000, (6,), name="tokens"),
        samba.randn(6, 3, name="target"),
        samba.randint(1000, (6,), name="label"),
    )
    pef = compiled(model, dummies, samba.optim.SGD(model.parameters(), lr=0.0))
    assert "PyTorch does not run the sample inputs" in caplog.text
    assert not Path(pef).with_suffix(".reference.npz").exists()
    real = (
        samba.randint(10, (6,), name="tokens"),
        samba.rand(6, 3, name="target"),
        samba.randint(3, (6,), name="label"),
    )
    outputs = utils.trace_graph(model, dummies, pef=pef)
    found = samba.session.run(real, outputs, section_types=["fwd"])
    for device, host in zip(found, model(*real)):
        utils.assert_close(device, host, "output", 1e-5)


def test_an_output_may_be_called_like_an_input() -> None:
    class Autoencoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Linear(6, 6)

        def forward(self, image: Tensor) -> dict[str, Tensor]:
            out = self.code(image)
            return {"loss": (out - image).square().mean(), "image": out}

    model = Autoencoder()
    samba.from_torch_model_(model)
    image = samba.randn(3, 6, name="image", batch_dim=0)
    optimizer = samba.optim.SGD(model.parameters(), lr=0.0)
    outputs = utils.trace_graph(model, {"image": image}, optimizer, pef=compiled(model, {"image": image}, optimizer))
    found = samba.session.run({"image": image}, outputs)
    assert [output.sn_name for output in found] == ["loss", "image_output"]
    utils.assert_close(found[1], model(image)["image"], "image", 1e-5)
