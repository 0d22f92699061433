"""A damaged PEF file is refused in one sentence, wherever the damage is and whoever opens it."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compiler.cli import main as snc
from ir.errors import PefError, SncError
from pef import file
from pef.check import check
from runtime.snrun.cli import main as snrun
from runtime.timing import simulate
from tests.honesty.subjects import Subject

ROOT = Path(__file__).parents[2]
PLACES = 200
FORGED = 60
ENVELOPE = struct.Struct("<8sIQ32s")


@pytest.fixture(scope="module")
def content(step: Subject, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("bytes") / "step.pef"
    file.write(step.pef, path)
    return path.read_bytes()


def flipped(content: bytes, offset: int, pick: random.Random) -> bytes:
    return content[:offset] + bytes([content[offset] ^ pick.randrange(1, 256)]) + content[offset + 1 :]


def damaged(content: bytes) -> list[bytes]:
    """The file cut off and with one byte changed, each at 200 random offsets; and at each of its first bytes."""
    pick = random.Random(0)
    offsets = [pick.randrange(len(content)) for _ in range(PLACES)]
    head = range(ENVELOPE.size)
    return [
        *(content[:offset] for offset in (*offsets, *head)),
        *(flipped(content, offset, pick) for offset in (*offsets, *head)),
    ]


def assert_one_message(result: Result) -> None:
    """Failed with one message of the project's own, not with a traceback."""
    assert result.exit_code != 0
    assert isinstance(result.exception, SystemExit), result.exception
    lines = result.output.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error[PEF]: "), result.output


def test_damage_anywhere_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged.pef"
    for number, damage in enumerate(damaged(content)):
        path.write_bytes(damage)
        with pytest.raises(PefError) as refusal:
            file.read(path)
        message = str(refusal.value)
        assert "\n" not in message and str(path) in message, (number, message)


@pytest.mark.parametrize("command", ["snc check", "snc describe", "snrun"])
def test_commands_refuse_damage_in_one_sentence(content: bytes, tmp_path: Path, command: str) -> None:
    path = tmp_path / "damaged.pef"
    program, arguments = (snc, [command.split()[1]]) if command != "snrun" else (snrun, [])
    for damage in damaged(content)[:: 11 if command != "snc check" else 3]:
        path.write_bytes(damage)
        assert_one_message(CliRunner().invoke(program, [*arguments, str(path)]))
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("module, arguments", [("compiler.cli", ["check"]), ("runtime.snrun.cli", [])])
@pytest.mark.parametrize("place", ["half", "flip"])
def test_processes_refuse_damage(content: bytes, tmp_path: Path, module: str, arguments: list[str], place: str) -> None:
    path = tmp_path / "damaged.pef"
    half = len(content) // 2
    path.write_bytes(content[:half] if place == "half" else flipped(content, half, random.Random(1)))
    call = f"import sys; from {module} import main; sys.argv[0] = 'x'; main()"
    done = subprocess.run(
        [sys.executable, "-c", call, *arguments, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and done.stderr.count("error[PEF]") == 1, done.stderr
    assert ("truncated" if place == "half" else "corrupted") in done.stderr


def test_damage_under_a_valid_hash_never_makes_a_traceback(content: bytes, tmp_path: Path) -> None:
    """Whoever forges the hash as well gets a record, a sentence, or another program; never a crash."""
    pick = random.Random(3)
    path = tmp_path / "forged.pef"
    magic, version, _, _ = ENVELOPE.unpack_from(content)
    refused = 0
    for _ in range(FORGED):
        payload = bytearray(content[ENVELOPE.size :])
        for _ in range(pick.choice([1, 1, 3])):
            payload[pick.randrange(len(payload))] = pick.randrange(256)
        envelope = ENVELOPE.pack(magic, version, len(payload), hashlib.sha256(payload).digest())
        path.write_bytes(envelope + payload)
        try:
            record = file.read(path)
            check(record)
            simulate(record)
        except SncError as error:
            assert error.problems
            refused += 1
    assert refused > FORGED // 2
