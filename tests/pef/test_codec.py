"""Records and the project's types: what is encoded is decoded, and the generated module is the schema's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from ir.errors import PefError
from ir.op import OPS, Op
from ir.op import op as declare
from ir.space import Space
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.codec import decode_machine, decode_op, decode_type, encode_machine, encode_op, encode_type
from tests.pef.samples import MACHINE, MATMUL, op

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("dtype", DType)
@pytest.mark.parametrize("shape", [(), (1,), (2, 3, 2**40)])
def test_types(dtype: DType, shape: tuple[int, ...]) -> None:
    tensor = TensorType(dtype, shape)
    assert decode_type(pb.TensorType.FromString(encode_type(tensor).SerializeToString())) == tensor


def test_machine() -> None:
    assert decode_machine(pb.Machine.FromString(encode_machine(MACHINE).SerializeToString())) == MACHINE


OPERATORS = {
    "dtype": MATMUL,
    "integers": op("permute", dims=(1, 0)),
    "no integers": op("reshape", shape=()),
    "integer": op("slice", dim=0, start=0, stop=2**40, step=1),
    "real and several": op("full", shape=(2,), value=-0.1, dtype=DType.BF16),
    "negative integers": op("permute", dims=(-1, -(2**40))),
    "infinity": op("full", shape=(), value=float("-inf"), dtype=DType.F32),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_attributes(name: str) -> None:
    record = encode_op(OPERATORS[name], [3, 1], [4])
    found = pb.Operation.FromString(record.SerializeToString())
    assert decode_op(found) == OPERATORS[name]
    assert (list(found.operands), list(found.results)) == ([3, 1], [4])


def test_flags_and_texts() -> None:
    @declare("flagged")
    class Flagged(Op):
        """An operator with the attributes that no other sample has."""

        flag: bool
        off: bool
        text: str

        def space(self, *operands: TensorType) -> Space:
            return Space.elementwise(operands, operands[0])

    try:
        given = Flagged(True, False, "ü")
        found = decode_op(encode_op(given, [], []))
        assert found == given
        assert [type(value) for value in found.attributes().values()] == [bool, bool, str]
    finally:
        del OPS["flagged"]


def test_unknown_operator() -> None:
    with pytest.raises(PefError, match="unknown operator 'nothing'"):
        decode_op(pb.Operation(op="nothing"))


def test_missing_attribute() -> None:
    with pytest.raises(PefError, match="takes the attributes dtype, not none"):
        decode_op(pb.Operation(op="matmul"))


def test_unknown_element_type() -> None:
    with pytest.raises(PefError, match="unknown element type 'f64'"):
        decode_type(pb.TensorType(dtype="f64"))


def test_generated_module_is_current(tmp_path: Path) -> None:
    """The schema that the module holds is that of pef.proto, whichever compiler is installed here."""
    pytest.importorskip("grpc_tools")
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I.",
        f"--descriptor_set_out={tmp_path}/set",
        "pef/pef.proto",
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    (current,) = FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file
    generated = FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(generated)
    for file in (current, generated):
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")
    assert generated == current, "run `make proto`"


def test_generated_module_runs_on_the_oldest_protobuf_that_is_allowed() -> None:
    written_by = re.search(r"Protobuf Python Version: (\d+)\.(\d+)", (ROOT / "pef" / "pef_pb2.py").read_text())
    allowed = re.search(r"protobuf>=(\d+)\.(\d+),<(\d+)", (ROOT / "setup.cfg").read_text())
    assert written_by and allowed
    assert written_by.groups() == allowed.groups()[:2]
    assert int(allowed[3]) == int(written_by[1]) + 2, "protobuf runs what its previous major version generated"
