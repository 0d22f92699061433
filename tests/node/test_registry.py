"""`snc list`: what it finds, and what it says of each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compiler.cli import main as snc
from pef import file
from tests.pef.samples import two_products
from tests.runtime import programs


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A training PEF with two checkpoints, one for inference that was mapped around a tile, and a damaged one."""
    folder = tmp_path / "out"
    for name, record in (("a", programs.training()), ("b", two_products()), ("c", two_products())):
        (folder / name).mkdir(parents=True)
        options = {"level": "o3", "preset": "mp0", "batch_size": 64, "avoid": ["tile:3"] if name == "b" else []}
        record.header.options_json = json.dumps(options)
        file.write(record, folder / name / f"{name}.pef")
    damaged = folder / "c" / "c.pef"
    damaged.write_bytes(damaged.read_bytes()[:-10])
    for step in (20, 100):
        checkpoint = folder / "a" / "checkpoints" / f"step-{step:06d}.safetensors"
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.touch()
        os.utime(checkpoint, (1e9, 1e9 + step))
    return folder


def listed(*words: object, **environment: str) -> Result:
    return CliRunner().invoke(snc, ["list", *map(str, words)], env={"SNC_PEFS": "", "TZ": "UTC", **environment})


def test_facts(out: Path) -> None:
    found = json.loads(listed(out, "--json").stdout)
    first, second, third = found["pefs"]
    assert found["folders"] == [str(out)]
    assert (first["kind"], first["last_step"], len(first["checkpoints"])) == ("training", 100, 2)
    assert first["last_run"].startswith("2001-09-09") and first["bytes"] == (out / "a" / "a.pef").stat().st_size
    assert first["options"] == {"level": "o3", "preset": "mp0", "batch_size": 64}
    assert (second["kind"], second["avoided"], second["last_run"]) == ("inference", ["tile:3"], None)
    assert third["name"] is None and "truncated" in third["problem"]


def test_for_people(out: Path) -> None:
    lines = listed(out).stdout.splitlines()
    assert lines[1] == "2 PEFs" and lines[2].split()[:3] == ["name", "path", "kind"]
    assert "2, step 100" in lines[4] and "2001-09-09" in lines[4]
    assert "without tile:3" in lines[5] and "never" in lines[5]
    assert lines[7] == "1 file that cannot be read" and "truncated" in lines[8]


def test_where_it_looks(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out.parent)
    assert len(json.loads(listed("--json").stdout)["pefs"]) == 3, "below out/"
    assert len(json.loads(listed("--json", SNC_PEFS=f"{out / 'a'}:{out / 'b'}").stdout)["pefs"]) == 2
    missing = listed(out / "nowhere")
    assert missing.exit_code == 2 and "is not a folder" in missing.stderr
    monkeypatch.chdir(out / "a" / "checkpoints")
    assert "no PEFs below out" in listed().stdout
