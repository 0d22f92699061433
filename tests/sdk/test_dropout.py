"""Dropout rates as arguments of a run: their names, what they start from, and that they take effect."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.composites_dropout import SELU_FLOOR
from ir.errors import UsageError
from sambaflow import samba
from sambaflow.samba import utils
from tests.sdk.programs import compiled
from tests.sdk.test_options import warnings  # noqa: F401

NAMES = ["net__block__drop__p", "net__out__p"]


class Block(nn.Module):
    """A layer with a dropout of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)
        self.drop = nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.linear(x) + 10)


class Net(nn.Module):
    """Two dropouts: one within a block, one behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.out = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.block(x)
        return y, self.out(torch.ones_like(x) * 3)


class Trained(nn.Module):
    """A loss behind a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.linear(x)).mean()


def loaded(model: nn.Module, optimizer: bool = False) -> tuple[samba.SambaTensor, ...]:
    """Inputs of a model on the device."""
    torch.manual_seed(0)
    samba.from_torch_model_(model)
    inputs = (samba.from_torch_tensor(torch.randn(256, 64), name="x"),)
    sgd = samba.optim.SGD(model.parameters(), lr=0.1) if optimizer else None
    utils.trace_graph(model, inputs, sgd, pef=compiled(model, inputs, sgd))
    return inputs


def dropped(outputs: tuple[samba.SambaTensor, ...]) -> list[float]:
    """The share of zeros in each output."""
    return [float((samba.to_torch(output) == 0).float().mean()) for output in outputs]


def test_each_dropout_has_a_name_and_starts_from_its_own_rate() -> None:
    inputs = loaded(Net())
    assert samba.session.get_dropout_rate_argin_names() == NAMES
    assert dropped(samba.session.run(inputs, section_types=["fwd"])) == pytest.approx([0.25, 0.5], abs=0.02)


def test_p_counts_for_all_and_a_name_for_one_whatever_their_order() -> None:
    inputs = loaded(Net())

    def shares(**rates: float) -> list[float]:
        return dropped(samba.session.run(inputs, hyperparam_dict=rates, section_types=["fwd"]))

    assert shares(p=0.0) == [0, 0]
    assert shares(p=0.8) == pytest.approx([0.8, 0.8], abs=0.02)
    assert shares(net__block__drop__p=0.1, p=0.6) == pytest.approx([0.1, 0.6], abs=0.02)
    assert shares(p=0.6, net__out__p=1.0) == pytest.approx([0.6, 1.0], abs=0.02)
    filled = dict.fromkeys(samba.session.get_dropout_rate_argin_names(), 0.3)
    assert shares(**filled) == pytest.approx([0.3, 0.3], abs=0.02)


def test_what_is_kept_is_scaled_by_the_rate_of_the_run() -> None:
    inputs = loaded(Net())
    _, ones = samba.session.run(inputs, hyperparam_dict={"p": 0.75}, section_types=["fwd"])
    assert set(samba.to_torch(ones).unique().tolist()) == {0.0, 12.0}


def test_gradients_follow_the_same_rate() -> None:
    model = Trained()
    inputs = loaded(model, optimizer=True)
    samba.session.run(inputs, hyperparam_dict={"p": 1.0, "lr": 0.0}, section_types=["fwd", "bckwd"])
    assert not samba.to_torch(model.linear.weight.sn_grad).any()
    samba.session.run(inputs, hyperparam_dict={"p": 0.0, "lr": 0.0}, section_types=["fwd", "bckwd"])
    expected = inputs[0].torch_tensor().mean(0, keepdim=True)
    torch.testing.assert_close(samba.to_torch(model.linear.weight.sn_grad), expected, rtol=1e-4, atol=1e-6)


def test_masks_follow_from_the_seed_and_change_every_step() -> None:
    def two_steps(seed: int) -> list[Tensor]:
        inputs = loaded(Net())
        utils.set_seed(seed)
        samba.session.loaded.hyper.seed(0)
        return [samba.to_torch(samba.session.run(inputs, section_types=["fwd"])[1]).clone() for _ in range(2)]

    first, again, other = two_steps(5), two_steps(5), two_steps(6)
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], other[0])


@pytest.mark.parametrize("key", ["p", NAMES[0]])
def test_a_rate_that_is_no_probability_is_refused(key: str) -> None:
    inputs = loaded(Net())
    with pytest.raises(UsageError, match=f"dropout rate '{key}' is 1.5"):
        samba.session.run(inputs, hyperparam_dict={key: 1.5}, section_types=["fwd"])


def test_a_model_without_dropout_has_no_rates_and_ignores_p() -> None:
    inputs = loaded(nn.Sequential(nn.Linear(64, 4)))
    assert samba.session.get_dropout_rate_argin_names() == []
    samba.session.run(inputs, hyperparam_dict={"p": 0.5}, section_types=["fwd"])


class Kinds(nn.Module):
    """Dropouts of whole channels, and those that keep what SELU gives normal."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(64) if inplace else nn.Identity()
        self.channels = nn.Dropout2d(0.25, inplace)
        self.alpha = nn.AlphaDropout(0.5, inplace)
        self.both = nn.FeatureAlphaDropout(0.2, inplace)
        self.rows = nn.Dropout1d(0.3, inplace)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ones = torch.ones_like(x)[:, :, None, None].expand(-1, -1, 2, 3).contiguous()
        kept = self.norm(ones) if isinstance(self.norm, nn.BatchNorm2d) else ones
        signs = x[:, :, None, None].expand(-1, -1, 2, 3).sign().contiguous() + 0 * kept
        return self.channels(ones * 1), self.alpha(signs * 1), self.both(signs * 1), self.rows((ones * 1)[..., 0])


@pytest.mark.parametrize("inplace", [False, True])
def test_every_kind_of_dropout_reads_its_rate_at_run_time(inplace: bool) -> None:
    inputs = loaded(Kinds(inplace))
    names = ["kinds__channels__p", "kinds__alpha__p", "kinds__both__p", "kinds__rows__p"]
    assert samba.session.get_dropout_rate_argin_names() == names

    def outputs(**rates: float) -> list[Tensor]:
        return [samba.to_torch(t) for t in samba.session.run(inputs, hyperparam_dict=rates, section_types=["fwd"])]

    channels, alpha, both, rows = outputs()
    assert float((channels == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float((rows == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal((channels == 0).any(-1), (channels == 0).all(-1))
    assert torch.equal((rows == 0).any(-1), (rows == 0).all(-1))
    assert len(alpha[..., 0].unique()) == len(both.unique()) == 3
    assert not torch.equal(alpha[..., 0], alpha[..., 1]) and torch.equal(both[..., 0], both[..., 1])

    off = outputs(p=0.0)
    assert all(set(tensor.unique().tolist()) <= {-1.0, 1.0} for tensor in off)
    channels, alpha, both, rows = outputs(p=0.5, kinds__rows__p=0.75)
    assert set(channels.unique().tolist()) == {0.0, 2.0} and set(rows.unique().tolist()) == {0.0, 4.0}
    a = ((SELU_FLOOR**2 * 0.5 + 1) * 0.5) ** -0.5  # as in torch.nn.functional.alpha_dropout
    expected = sorted(a * (value + SELU_FLOOR * 0.5) for value in (-1.0, 1.0, -SELU_FLOOR))
    assert sorted(alpha.unique().tolist()) == pytest.approx(expected, rel=1e-5)
    assert sorted(both.unique().tolist()) == pytest.approx(expected, rel=1e-5)


def test_gradients_of_whole_channels_follow_the_rate_of_the_run() -> None:
    class Channels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 64)
            self.drop = nn.Dropout1d(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(self.linear(x)[..., None]).mean()

    model = Channels()
    inputs = loaded(model, optimizer=True)
    samba.session.run(inputs, hyperparam_dict={"p": 0.0, "lr": 0.0}, section_types=["fwd", "bckwd"])
    expected = (inputs[0].torch_tensor().mean(0) / 64).expand(64, 64)
    torch.testing.assert_close(samba.to_torch(model.linear.weight.sn_grad), expected, rtol=1e-4, atol=1e-6)
    samba.session.run(inputs, hyperparam_dict={"p": 0.5, "lr": 0.0}, section_types=["fwd", "bckwd"])
    bias = samba.to_torch(model.linear.bias.sn_grad)
    assert 0.8 / 64 < float(bias.mean()) < 1.2 / 64 and len(bias.unique()) > 5


def test_keys_that_nothing_is_called_are_told_once(warnings: pytest.LogCaptureFixture) -> None:  # noqa: F811
    inputs = loaded(Trained(), optimizer=True)
    for lr in (0.1, 0.2):
        samba.session.run(inputs, hyperparam_dict={"learning_rate": lr, "lr": lr, "momentum": 0.0, "p": 0.5})
    told = [line for line in warnings.text.splitlines() if "hyperparam_dict" in line]
    assert len(told) == 1
    assert "'learning_rate' ignored; the PEF's hyper-parameters are lr, momentum, weight_decay, p, " in told[0]
