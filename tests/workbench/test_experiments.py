"""Ablations, and the replay that proves a change neutral."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import ablate, replay


def test_one_option_varied(workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, svg = str(workshop / "small.py"), tmp_path / "plot.svg"
    words = [model, "--inference", "--vary", "preset=mp0,mp4,mp7", "--plot", str(svg)]
    assert ablate.main(words) == 2 and "mp7" in capsys.readouterr().err
    assert ablate.main([*words[:-3], "batch_size=1,64", "--plot", str(svg), "--json"]) == 0
    one, many = json.loads(capsys.readouterr().out)
    assert many["us_per_sample"] < one["us_per_sample"], "loads are spread over more samples"
    bars = [e for e in ElementTree.parse(svg).iter() if e.tag.endswith("rect")]
    assert len(bars) == 2 and float(bars[0].attrib["width"]) > 0
    assert ablate.main([model, "--vary", "sail=1"]) == 2


def test_what_does_not_compile_is_a_point(workshop: Path) -> None:
    from compiler.driver import CompileRequest

    request = CompileRequest(str(workshop / "small.py"), inference=True)
    point = ablate.measure(request, "arch", "no-such-rdu")
    assert "no machine is called" in point.error and "no machine" in ablate.plot("arch", [point])


def test_a_replay_tells_what_changed(tmp_path: Path) -> None:
    kept = replay.record(tmp_path / "before", ["lenet"])
    assert set(kept["lenet"]) == {"pef", "description", "profile"}
    assert json.loads((tmp_path / "before" / replay.DIGESTS).read_text()) == kept
    assert replay.differences(kept, kept) == {}
    other = replay.Case("lenet", "examples/lenet.py", inference=True, batch=4)
    (tmp_path / "after").mkdir()
    found = {"lenet": replay._digests(other, tmp_path / "after")}
    changed = replay.differences(kept, found)
    assert changed == {"lenet": ["pef", "description", "profile"]}
    lines = list(replay.told(changed, tmp_path / "before", tmp_path / "after"))
    assert lines[0] == "lenet: changed: pef, description, profile"
    assert any(line.startswith("    Symbols: ") for line in lines)


@pytest.mark.full
def test_a_checkout_stands_beside_a_commit() -> None:
    """Without changes since the commit there are none to tell."""
    command = [sys.executable, "-m", "benchmarks.replay", "HEAD", "--only", "lenet"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    changes = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    if not changes.strip():
        assert result.returncode == 0 and "1 compiled, 0 changed" in result.stdout, result.stderr
    assert "1 compiled" in result.stdout
