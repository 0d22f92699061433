"""Files: what is written is read, and anything else is refused in one sentence."""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path

import pytest

from ir.errors import PefError, UsageError
from pef import file
from pef import pef_pb2 as pb
from pef.check import check
from tests.pef.samples import SAMPLES, step, two_products

DATA = Path(__file__).parent / "data"


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.pef"
    file.write(two_products(), path)
    return path


def refusal(path: Path) -> str:
    """The one sentence `read` refuses with."""
    with pytest.raises(PefError) as caught:
        file.read(path)
    (problem,) = caught.value.problems
    assert str(path) in problem.message
    assert "\n" not in problem.message and ";" in problem.message
    return problem.message


@pytest.mark.parametrize("name", SAMPLES)
def test_round_trip(name: str, tmp_path: Path) -> None:
    pef = SAMPLES[name]()
    file.write(pef, tmp_path / "a.pef")
    assert file.read(tmp_path / "a.pef") == pef


def test_same_record_same_bytes(tmp_path: Path) -> None:
    file.write(two_products(), tmp_path / "a.pef")
    file.write(two_products(), tmp_path / "b.pef")
    assert (tmp_path / "a.pef").read_bytes() == (tmp_path / "b.pef").read_bytes()
    assert file.content_hash(tmp_path / "a.pef") == file.content_hash(tmp_path / "b.pef")


def test_content_hash_follows_the_content(tmp_path: Path) -> None:
    pef = two_products()
    file.write(pef, tmp_path / "a.pef")
    pef.header.name = "other"
    file.write(pef, tmp_path / "b.pef")
    assert file.content_hash(tmp_path / "a.pef") != file.content_hash(tmp_path / "b.pef")


def test_write_replaces_and_leaves_nothing_else(sample: Path) -> None:
    file.write(pb.Pef(), sample)
    assert file.read(sample) == pb.Pef()
    assert os.listdir(sample.parent) == [sample.name]


def test_failed_write_keeps_the_old_file(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UsageError, match="No space left"):
        file.write(pb.Pef(), sample)
    assert file.read(sample) == two_products()
    assert os.listdir(sample.parent) == [sample.name]


def test_write_makes_missing_folders(tmp_path: Path) -> None:
    file.write(pb.Pef(), tmp_path / "missing" / "a.pef")
    assert file.read(tmp_path / "missing" / "a.pef") == pb.Pef()


def test_write_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        file.write(pb.Pef(), tmp_path / "taken" / "a.pef")


def test_metadata_round_trips_exactly(tmp_path: Path) -> None:
    metadata = {"nested": [{"ü": None}, [True, -1, 0.1, 1e300, 2**80, ""]], "empty": {}}
    pef = two_products()
    pef.header.metadata_json = json.dumps(metadata)
    file.write(pef, tmp_path / "a.pef")
    assert json.loads(file.read(tmp_path / "a.pef").header.metadata_json) == metadata


def test_missing(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.pef")


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_empty(sample: Path) -> None:
    sample.write_bytes(b"")
    assert "is empty" in refusal(sample)


def test_foreign(sample: Path) -> None:
    sample.write_bytes(b"PK\x03\x04" + bytes(100))
    assert "is not a PEF" in refusal(sample)


def test_special_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe")


def test_unreadable(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert "Permission denied" in refusal(sample)


def test_newer(sample: Path) -> None:
    content = bytearray(sample.read_bytes())
    struct.pack_into("<I", content, 8, file.FORMAT_VERSION + 1)
    sample.write_bytes(content)
    assert "newer" in refusal(sample)


def test_trailing_bytes(sample: Path) -> None:
    sample.write_bytes(sample.read_bytes() + b"x")
    assert "is corrupted" in refusal(sample)


def test_sound_envelope_around_no_record(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nonsense:
        def SerializeToString(self, deterministic: bool) -> bytes:
            return b"\xff" * 64

    file.write(Nonsense(), sample)  # type: ignore[arg-type]
    assert "does not hold a PEF record" in refusal(sample)


@pytest.mark.parametrize("seed", range(200))
def test_any_flipped_byte_is_refused(sample: Path, seed: int) -> None:
    draw = random.Random(seed)
    content = bytearray(sample.read_bytes())
    content[draw.randrange(len(content))] ^= draw.randrange(1, 256)
    sample.write_bytes(content)
    refusal(sample)


@pytest.mark.parametrize("seed", range(200))
def test_any_truncation_is_refused(sample: Path, seed: int) -> None:
    content = sample.read_bytes()
    sample.write_bytes(content[: random.Random(seed).randrange(len(content))])
    refusal(sample)


@pytest.mark.parametrize("version", range(1, file.FORMAT_VERSION + 1))
def test_every_released_version_still_loads(version: int) -> None:
    pef = file.read(DATA / f"v{version}.pef")
    check(pef)
    assert list(pef.configurations) == list(step().configurations)
