"""Low-rank adapters: only they change, as in PyTorch, and they come back to where peft saves them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from compiler.driver import CompileRequest, compile_spec
from compiler.frontend.model_file import ModelSpec
from ir.graph import SymbolKind
from modelzoo.device import open_pef
from modelzoo.runners.language_training import mean_loss
from tests.modelzoo.languages import VOCABULARY, model

peft = pytest.importorskip("peft")


def test_adapters_train_as_in_pytorch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], lora_dropout=0.0)
    adapted = peft.get_peft_model(model("llama", layers=1).train(), settings)
    trained = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    ids = torch.randint(3, VOCABULARY, (4, 12))
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    spec = ModelSpec(adapted, {"input_ids": ids, "labels": ids.clone()}, optimizer, name="lora", call=mean_loss)
    twin, updates = copy.deepcopy((adapted, optimizer))
    request = CompileRequest("lora", batch_size=4, output_folder=tmp_path, separate_optimizer=True)
    session = open_pef(compile_spec(spec, request).pef_path)
    gradients = {name.removesuffix(".grad") for name in session.names(SymbolKind.GRADIENT)}
    assert gradients == set(trained)
    frozen = {name: session.read(name) for name in session.names(SymbolKind.PARAMETER) if name not in trained}
    for _ in range(3):
        loss = session.run(inputs={"input_ids": ids.numpy(), "labels": ids.numpy()})["loss"]
        updates.zero_grad()
        expected = mean_loss(twin, {"input_ids": ids, "labels": ids})["loss"]
        expected.backward()
        updates.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)
    assert frozen and all((session.read(name) == array).all() for name, array in frozen.items())
    for name, parameter in trained.items():
        parameter.data = torch.from_numpy(session.read(name))
    adapted.save_pretrained(tmp_path / "adapters")
    loaded = peft.PeftModel.from_pretrained(model("llama", layers=1), tmp_path / "adapters").eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, twin.eval()(ids).logits, rtol=1e-3, atol=1e-3)
