"""Options and verbs either act, or are named as without effect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ir.errors import UsageError
from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba._program.ending import progress
from sambaflow.samba.utils.argparser import parse_app_args
from sambaflow.samba.utils.common import common_app_driver
from tests.sdk.programs import batch, classifier, compiled, loaded

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import sys
from torch import nn
from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.utils.argparser import parse_app_args

args = parse_app_args(argv=sys.argv[1:])
kept = open("kept.txt", "w")
kept.write("not lost")
model = nn.Linear(4, 2)
samba.from_torch_model_(model)
x = samba.randn(args.batch_size, 4, name="x", batch_dim=0)
if args.command == "compile":
    samba.session.compile(model, (x,), name="app", config_dict=vars(args))
elif args.command == "run":
    samba.session.run((x,), utils.trace_graph(model, (x,), pef=args.pef))
"""


def program(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "app.py").write_text(f"import sys; sys.path.append({str(ROOT)!r})\n{PROGRAM}")
    command = [sys.executable, "app.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the program was compiled, with a report that acts."""
    folder = tmp_path_factory.mktemp("built")
    compiling = program(folder, "compile", "--inference", "--pef-name=app", "--resource-report-path=resources.json")
    assert compiling.returncode == 0 and "without effect" not in compiling.stdout + compiling.stderr, compiling.stderr
    return folder


def test_a_program_says_which_verbs_it_does_not_have(built: Path) -> None:
    (section,) = json.loads((built / "resources.json").read_text())
    assert section["name"] == "fwd_0" and section["pcus"] >= 1
    (built / "kept.txt").unlink()
    result = program(built, "test", "--pef=out/app/app.pef")
    assert "app.py has done nothing for the verb 'test': TestWithGold" in result.stderr
    assert result.returncode == 2 and (built / "kept.txt").read_text() == "not lost"


def test_a_run_says_which_options_it_does_not_follow(built: Path) -> None:
    options = ["--acc-report-json=a.json", "--num-tiles=2", "--mock-inference", "--gold-file-path=gold.pt"]
    result = program(built, "run", "--inference", "--pef=out/app/app.pef", *options)
    assert result.returncode == 0, result.stderr
    assert "without effect on the simulated device: --num-tiles, --mock-inference" in result.stdout
    assert "--acc-report-json is without effect: nothing wrote a.json" in result.stderr
    assert "--gold-file-path is without effect: nothing compared with gold.pt" in result.stderr


def test_measuring_writes_counters_and_statistics(tmp_path: Path) -> None:
    model, inputs, _ = loaded(lambda p: samba.optim.SGD(p, lr=0.0))
    utils.measure_performance(
        model, inputs, n_iterations=1, json_counters="counters.json", compiled_stats_json="stats.json"
    )
    counters = json.loads((tmp_path / "counters.json").read_text())
    assert list(counters["sections"]) == ["fwd_0", "bckwd_0", "opt_0"] and counters["cycles"] > 0
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert [section["name"] for section in stats] == ["fwd_0", "bckwd_0", "opt_0"]


def test_the_common_driver_measures_as_it_was_asked(tmp_path: Path) -> None:
    model, inputs = classifier(), batch()
    pef = compiled(model, inputs, inference=True)
    for verb, wanted in (("measure-performance", {"c.json", "s.json", "b.json"}), ("measure-sections", {"m.json"})):
        options = ["--json-counters=c.json", "--compiled-stats-json=s.json", "--bench-report-json=b.json"]
        if verb == "measure-sections":
            options = ["--bench-report-json=m.json"]
        args = parse_app_args([verb, "-p", pef, "--inference", "-n", "1", *options])
        common_app_driver(args, model, inputs)
        assert wanted <= {path.name for path in tmp_path.iterdir()}
        assert progress.unfinished() == []


def test_what_is_left_undone_is_known(tmp_path: Path) -> None:
    parse_app_args(["measure-sections", "-p", "x.pef"])
    assert any("nothing for the verb 'measure-sections'" in line for line in progress.unfinished())
    progress.worked = True
    assert any("measured nothing for the verb 'measure-sections'" in line for line in progress.unfinished())
    (tmp_path / "old.json").write_text("{}")
    parse_app_args(["run", "-p", "x.pef", "--acc-report-json=old.json"])
    progress.worked = True
    assert any("nothing wrote old.json" in line for line in progress.unfinished())
    samba.utils.benchmark_acc.AccuracyReport(val_metrics={"acc": 1.0}).save("old.json")
    assert progress.unfinished() == []


def test_a_gold_file_that_is_not_there_is_named_first() -> None:
    with pytest.raises(UsageError, match=r"the gold file nowhere\.npz does not exist"):
        parse_app_args(["test", "-p", "x.pef", "--gold-file-path=nowhere.npz"])
