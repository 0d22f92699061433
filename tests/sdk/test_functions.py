"""What samba's functions take beyond torch's: narrow integers, transposed products, windows by index, device types."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ir.errors import SncError
from sambaflow import samba
from sambaflow.samba import sn_private, utils
from sambaflow.samba.functional import stir
from sambaflow.samba.utils import SNType
from tests.sdk.programs import compiled


def ran(model: nn.Module, inputs: tuple[samba.SambaTensor, ...], optimizer: Any = None) -> tuple[Any, ...]:
    """The device's outputs."""
    outputs = utils.trace_graph(model, inputs, optimizer, pef=compiled(model, inputs, optimizer))
    return samba.session.run(inputs, outputs)


class Tagger(nn.Module):
    """Tokens to classes, with a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 3)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.head(self.embedding(tokens))
        return self.criterion(logits, labels), logits


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32])
def test_tokens_and_classes_of_any_width(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Tagger()
    samba.from_torch_model_(model)
    tokens = samba.randint(7, (5,), name="tokens", dtype=dtype)
    labels = samba.randint(3, (5,), name="labels", dtype=dtype)
    optimizer = samba.optim.SGD(model.parameters(), lr=0.0)
    loss, logits = ran(model, (tokens, labels), optimizer)
    expected = model(samba.to_torch(tokens).long(), samba.to_torch(labels).long())
    utils.assert_close(loss, expected[0], "loss", 1e-6)
    utils.assert_close(logits, expected[1], "logits", 1e-6)
    utils.assert_close(model(tokens, labels)[0], expected[0], "eager", 1e-6)
    expected[0].backward()
    for name, parameter in model.named_parameters():
        utils.assert_close(parameter.sn_grad, parameter.grad, name, 1e-6)


def test_a_product_with_a_transposed_matrix_of_any_rank() -> None:
    bias, rows, weight = torch.rand(5), torch.rand(2, 3, 4), torch.rand(5, 4)
    wanted = 2 * bias + 3 * (rows @ weight.T)
    found = samba.addmm(bias, rows, weight, beta=2, alpha=3, is_transposed=True)
    torch.testing.assert_close(samba.to_torch(found), wanted)
    stacked = torch.rand(2, 5, 4)
    found = samba.addmm(bias, rows, stacked, is_transposed=True)
    torch.testing.assert_close(samba.to_torch(found), bias + rows @ stacked.mT)
    plain = samba.addmm(bias, rows[0], weight.T)
    torch.testing.assert_close(samba.to_torch(plain), torch.addmm(bias, rows[0], weight.T))

    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

        def forward(self, x: Tensor) -> Tensor:
            return samba.addmm(self.bias, x, self.weight, is_transposed=True)

    (out,) = ran(Projected(), (samba.from_torch_tensor(rows, name="x"),))
    utils.assert_close(out, bias + rows @ weight.T, "product", 1e-5)


def window(x: Tensor, start: Tensor, dims: list[int], lengths: list[int]) -> Tensor:
    """One slice by plain slicing."""
    for dim, begin, length in zip(dims, start.tolist(), lengths):
        x = x.narrow(dim, begin, length)
    return x


def test_gathered_rows_have_the_index_s_axes_first() -> None:
    x = torch.rand(10, 2)
    found = sn_private.sn_gather(x, torch.arange(8).reshape(2, 4, 1), [0], [1])
    assert found.shape == (2, 4, 1, 2)
    assert torch.equal(found, x[:8].reshape(2, 4, 1, 2))


def test_windows_count_their_axes_from_behind_the_batch() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 6, 4, 5)
    starts = torch.stack([torch.randint(5, (2, 3, 7)), torch.randint(3, (2, 3, 7))], -1)
    found = sn_private.sn_gather(x, starts, [2, 0], [1, 4], batched_dims=2)
    assert found.shape == (2, 3, 7, 4, 4, 1)
    for a in range(2):
        for b in range(3):
            for i in range(7):
                assert torch.equal(found[a, b, i], window(x[a, b], starts[a, b, i], [2, 0], [1, 4]))


def test_windows_are_written_where_they_are_read() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 8, 3)
    starts = torch.tensor([[[0], [4]], [[1], [6]]])
    update = torch.rand(2, 2, 2, 3)
    written = sn_private.sn_scatter(x, update, starts, [0], batched_dims=1)
    assert torch.equal(sn_private.sn_gather(written, starts, [0], [2], batched_dims=1), update)
    assert int((written != x).any(-1).sum()) == 8
    added = sn_private.sn_scatter(x, update, torch.zeros_like(starts), [0], rmw_op="kAdd", batched_dims=1)
    torch.testing.assert_close(added[:, :2], x[:, :2] + update.sum(1))
    with pytest.raises(SncError, match="one start for each axis"):
        sn_private.sn_gather(x, starts, [0, 1], [1, 1], batched_dims=1)


def test_windows_and_their_gradients_on_the_device() -> None:
    class Cache(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.rand(2, 6, 3))

        def forward(self, update: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
            table = sn_private.sn_scatter(self.table, update, starts, [0], batched_dims=1)
            return table, sn_private.sn_gather(table * table, starts, [0], [3], batched_dims=1)

    torch.manual_seed(0)
    model = Cache()
    samba.from_torch_model_(model)
    update = samba.randn(2, 1, 2, 3, name="update")
    starts = samba.from_torch_tensor(torch.tensor([[[1]], [[3]]], dtype=torch.int32), name="starts")
    table, slices = ran(model, (update, starts), samba.optim.SGD(model.parameters(), lr=0.0))
    expected = model(update, starts)
    for device, host, name in zip((table, slices), expected, ("table", "slices")):
        utils.assert_close(device, host, name, 1e-5)
    (expected[0].sum() + expected[1].sum()).backward()
    utils.assert_close(model.table.sn_grad, model.table.grad, "gradient", 1e-5)


def test_kernels_name_types_as_the_device_does() -> None:
    def kernel(attrs: stir.Attributes, a: Tensor) -> Tensor:
        index = stir.sn_iteridx(attrs, 1, SNType.INT32)
        assert index.dtype is torch.int32
        return stir.sn_select(index >= stir.sn_imm(1, SNType.INT32), a, stir.sn_imm(0.0, SNType.FP32))

    found = stir.sn_zipmapreduce(kernel, [torch.arange(6.0).reshape(2, 3)], reduce_func="sum", reduce_dim=1)
    assert found.tolist() == [3.0, 9.0]
    assert stir.sn_imm(3, SNType.UINT16).dtype is torch.int32


def test_tensors_made_inside_forward_stay_in_the_graph() -> None:
    class Old(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.rand(3))

        def forward(self, x: Tensor) -> Tensor:
            grown = samba.from_torch(samba.to_torch(x * self.scale).exp(), name="grown", batch_dim=0)
            grown.host_memory = False
            return samba.SambaTensor(grown * 2, name="twice")

    model = Old()
    samba.from_torch_model_(model)
    x = samba.randn(4, 3, name="x", batch_dim=0)
    (out,) = ran(model, (x,), samba.optim.SGD(model.parameters(), lr=0.0))
    expected = model(x)
    utils.assert_close(out, expected, "output", 1e-5)
    expected.sum().backward()
    utils.assert_close(model.scale.sn_grad, model.scale.grad, "gradient", 1e-5)
