"""SambaTensor and SambaParameter: torch tensors with names, and files that plain torch reads."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import sambaflow.samba as samba
from sambaflow.samba._capture.tracing import Record
from sambaflow.samba.sambatensor import SambaTensor


def test_a_samba_tensor_shares_memory_and_acts_like_torch() -> None:
    plain = torch.arange(6.0).reshape(2, 3)
    tensor = samba.from_torch_tensor(plain, name="x", batch_dim=0)
    plain[0, 0] = 7
    assert tensor[0, 0] == 7 and tensor.data_ptr() == plain.data_ptr()
    assert (tensor.sn_name, tensor.batch_dim, tuple(tensor.shape)) == ("x", 0, (2, 3))
    assert isinstance(tensor.abs().sum(), SambaTensor)
    assert type(tensor.data) is torch.Tensor and type(samba.to_torch(tensor)) is torch.Tensor
    assert bool((plain == tensor).all())
    assert tensor.numpy().shape == (2, 3)


def test_casts_keep_the_name() -> None:
    tensor = samba.randn(2, 3, name="image", batch_dim=0).bfloat16().float()
    assert (tensor.sn_name, tensor.batch_dim, tensor.dtype) == ("image", 0, torch.float32)
    assert tensor.to(torch.int32).long().sn_name == "image"
    for cast in (tensor.half(), tensor.double(), tensor.type(torch.int32), tensor.contiguous()):
        assert (cast.sn_name, cast.batch_dim) == ("image", 0)
    assert (tensor + 1).sn_name is None


@pytest.mark.parametrize("make", [lambda: samba.randint(5, (2, 3)), lambda: samba.randint(0, 5, (2, 3))])
def test_randint_takes_both_forms(make: object) -> None:
    tensor = make()
    assert tensor.dtype is torch.int64 and int(tensor.max()) < 5


def test_printing_names_the_tensor() -> None:
    assert repr(samba.zeros(2, name="x", batch_dim=0)).startswith("SambaTensor('x', batch_dim=0, [0., 0.]")


def test_a_single_number_is_formatted_as_torch_does() -> None:
    loss = samba.full((), 1.25, name="loss", requires_grad=True)
    assert (f"{loss:.1f}", f"{loss * 2:.2f}", f"{loss}") == ("1.2", "2.50", f"{loss.torch_tensor()}")
    assert f"{samba.zeros(2, name='x')}" == repr(samba.zeros(2, name="x"))


def test_conversion_keeps_identity_ties_and_optimizers() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    optimizer = samba.optim.SGD(model.parameters(), lr=0.1)
    before = list(model.parameters())
    samba.from_torch_model_(model)
    assert all(a is b for a, b in zip(before, model.parameters()))
    assert optimizer.param_groups[0]["params"][0] is model[0].weight
    assert isinstance(model[0].weight, samba.SambaParameter) and isinstance(model[0].weight, nn.Parameter)


def test_names_follow_the_modules() -> None:
    linear = nn.Linear(2, 2)
    samba.from_torch_model_(linear)
    assert (linear.name, linear.weight.sn_name) == ("linear", "linear__weight")


def test_a_converted_model_runs_and_differentiates_on_the_cpu() -> None:
    plain, model = nn.Linear(3, 2), nn.Linear(3, 2)
    model.load_state_dict(plain.state_dict())
    samba.from_torch_model_(model)
    x = torch.randn(4, 3)
    result = model(x)
    result.mean().backward()
    plain(x).mean().backward()
    assert isinstance(result, SambaTensor) and type(result.torch()) is torch.Tensor
    assert torch.equal(samba.to_torch(model.weight.grad), plain.weight.grad)


def test_mixed_precisions_multiply_in_the_wider() -> None:
    linear = nn.Linear(3, 2)
    samba.from_torch_model_(linear)
    assert linear(torch.randn(4, 3).bfloat16()).dtype is torch.float32
    assert (samba.randn(2, 3).bfloat16() @ torch.randn(3, 2)).dtype is torch.float32


def test_saved_state_loads_without_the_sdk(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    samba.from_torch_model_(model)
    torch.save({"model": model.state_dict(), "x": samba.ones(2, name="x")}, tmp_path / "state.pt")
    code = (
        "import torch, sys; s = torch.load('state.pt'); "
        "print(type(s['model']['weight']).__name__, type(s['x']).__name__, 'sambaflow' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["Tensor", "Tensor", "False"]


def test_a_whole_model_can_be_saved_and_loaded(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    samba.from_torch_model_(model)
    torch.save(model, tmp_path / "model.pt")
    assert torch.equal(torch.load(tmp_path / "model.pt")[0].weight, samba.to_torch(model[0].weight))


def test_a_deep_copy_has_memory_of_its_own() -> None:
    model = nn.Linear(3, 2)
    samba.from_torch_model_(model)
    twin = copy.deepcopy(model)
    assert twin.weight.data_ptr() != model.weight.data_ptr()
    assert (twin.weight.sn_name, isinstance(twin.weight, samba.SambaParameter)) == ("linear__weight", True)


def test_an_empty_tensor_has_shape_but_no_content() -> None:
    tensor = SambaTensor(name="cache", region_name="r", shape=(2, 3), dtype=torch.bfloat16)
    assert (tensor.has_data, tuple(tensor.shape), tensor.sn_region_name) == (False, (2, 3), "r")


def test_torch_functions_on_samba_tensors_are_recorded() -> None:
    a, b = samba.ones(2, 3, name="a"), samba.ones(3, name="b")
    with Record({"a": a, "b": b}) as record:
        torch.add(a, b)
    assert [str(op) for op in record.operators] == ["torch.add(float32[2, 3], float32[3]) -> float32[2, 3]"]
    assert record.operators[0].where.startswith("test_tensors.py:")


def test_samba_functions_mirror_torch() -> None:
    assert torch.equal(samba.add(torch.ones(2), 20).data, torch.full((2,), 21.0))
    x, w, b = torch.randn(2, 3), torch.randn(4, 3), torch.randn(4)
    assert torch.equal(samba.addmm(b, x, w, is_transposed=True).data, torch.addmm(b, x, w.T))
    assert samba.triu_fill(torch.zeros(2, 2), 5.0).tolist() == [[0.0, 5.0], [0.0, 0.0]]
    with pytest.raises(Exception, match="does not take out="):
        samba.add(x, x, out=x)
