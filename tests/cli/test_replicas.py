"""`snc compile --data-parallel`, and the simulated time of one of many replicas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import MODEL, Compiled, assert_refused, run_snc, run_snrun


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model compiled for three replicas or more."""
    folder = tmp_path_factory.mktemp("parallel")
    (folder / "small.py").write_text(MODEL)
    options = ["--data-parallel", "-ws", "3", "-b", "16", "-mb", "4"]
    done = run_snc("compile", folder / "small.py", "-o", folder, "--pef-name", "small", "--json", *options)
    assert done.exit_code == 0, done.output
    assert [section["kind"] for section in json.loads(done.stdout)["sections"]].count("REDUCE") == 1
    return folder / "small" / "small.pef"


def reduce_us(pef: Path, *options: str) -> float:
    done = run_snrun(pef, "--train", "--timing-only", "--json", *options)
    assert done.exit_code == 0, done.output
    (report,) = [value for value in json.loads(done.stdout).values() if isinstance(value, dict) and "kinds" in value]
    return float(report["kinds"]["REDUCE"]["exec_us"])


def test_more_replicas_take_longer_around_the_ring(parallel: Path) -> None:
    times = [reduce_us(parallel, *options) for options in ([], ["-ws", "3", "--reduce-on-rdu"])]
    times.append(reduce_us(parallel, "-ws", "64", "--reduce-on-rdu"))
    assert times == sorted(times) and len(set(times)) == 3


def test_the_report_says_how_many_replicas_there_are(parallel: Path) -> None:
    done = run_snrun(parallel, "--train", "--timing-only", "-ws", "4")
    assert "One of 4 replicas, which average gradients by the host." in done.stdout


def test_such_a_pef_trains_alone_too(parallel: Path, tmp_path: Path) -> None:
    done = run_snrun(parallel, "--train", "--steps", "2", "--checkpoint-dir", tmp_path)
    assert done.exit_code == 0, done.output


def test_too_few_replicas(parallel: Path) -> None:
    assert_refused(
        run_snrun(parallel, "--train", "--timing-only", "-ws", "2"),
        "REPLICA",
        "for 3 replicas or more",
        "only 2",
        "-ws 2",
    )


def test_a_pef_that_is_not_data_parallel(training: Compiled) -> None:
    refused = run_snrun(training.pef, "--train", "--timing-only", "-ws", "2")
    assert_refused(refused, "REPLICA", "has no REDUCE section", "--data-parallel -ws 2")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--train", "--steps", "1", "-ws", "2"], "-ws is about simulated time"),
        (["--timing-only", "-ws", "2"], "-ws is for training"),
        (["--train", "--timing-only", "--reduce-on-rdu"], "--reduce-on-rdu is about several replicas"),
    ],
)
def test_options_without_a_meaning(parallel: Path, options: list[str], expected: str) -> None:
    assert_refused(run_snrun(parallel, *options), "USAGE", expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [(["--data-parallel", "--inference"], "no gradients"), (["-b", "16", "-mb", "5"], "has no microbatches of 5")],
)
def test_compiling_what_makes_no_sense(tmp_path: Path, options: list[str], expected: str) -> None:
    (tmp_path / "small.py").write_text(MODEL)
    assert_refused(run_snc("compile", tmp_path / "small.py", "-o", tmp_path / "out", *options), "USAGE", expected)
    assert not list((tmp_path / "out").rglob("*.pef"))


def test_a_world_size_without_data_parallel(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(MODEL)
    done = run_snc("compile", tmp_path / "small.py", "-ws", "2")
    assert done.exit_code == 2 and "-ws/--world-size counts replicas" in done.stderr
