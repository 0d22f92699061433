"""Tensors that are one number take no place in a file, and come back as they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compiler.driver import CompileRequest, compile_model
from ir.errors import UsageError
from ir.graph import SymbolKind
from pef.uniform import KEY, is_uniform, uniform_metadata, uniform_tensors
from runtime.files.safetensors_file import decode_safetensors
from runtime.session import Session

LENET = Path(__file__).parents[2] / "examples" / "lenet.py"


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_they_come_back(dtype: str) -> None:
    array = np.broadcast_to(np.asarray(1.1, np.float32).astype(dtype), (3, 2))
    assert is_uniform(array) and not is_uniform(np.zeros((3, 2))) and not is_uniform(np.zeros(1))
    found = uniform_tensors(uniform_metadata({"a": array}))["a"]
    assert found.dtype == array.dtype and found.tobytes() == array.tobytes()


def test_others_say_nothing() -> None:
    assert uniform_metadata({}) == {} and uniform_tensors({"format": "pt"}) == {}


@pytest.mark.parametrize(
    "told", ["", "[]", "{", '{"a": 1}', '{"a": {"dtype": "object", "shape": [2], "number": 1}}',
             '{"a": {"dtype": "float32", "shape": [-2], "number": 1}}',
             '{"a": {"dtype": "float32", "shape": [2], "number": [1, 2]}}'],
)  # fmt: skip
def test_damage_is_found(told: str) -> None:
    content = json.dumps({"__metadata__": {KEY: told}}).encode()
    with pytest.raises(UsageError, match="cannot be read"):
        decode_safetensors(Path("weights.safetensors"), len(content).to_bytes(8, "little") + content)


def test_an_optimizers_states_are_in_the_metadata_and_start_as_they_did(tmp_path: Path) -> None:
    result = compile_model(CompileRequest(str(LENET), batch_size=4, output_folder=tmp_path))
    content = result.weights_path.read_bytes()
    told = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"][KEY])
    session = Session(result.decoded)
    states = session.names(SymbolKind.STATE)
    assert set(told) == set(states) != set()
    session.load_weights(decode_safetensors(result.weights_path, content)[0], strict=False)
    assert all(session.has_value(name) and not session.read(name).any() for name in states)
