"""What programs of older releases do."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from ir.errors import UsageError
from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.convert import lacks_content
from sambaflow.samba.lazy_param import lazy_param
from sambaflow.samba.materialize import materialize
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
    assert 0 < float(samba.to_torch(model.gain).std()) < 0.3
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
