"""Every entry of the zoo is whole: sizes, samples, data that fit them, and a card that is its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from compiler.cli import main
from compiler.frontend.reference import call
from ir.errors import UsageError
from modelzoo.card import page, stored
from modelzoo.catalogue import NAMES, find
from modelzoo.combination import CARDS, Combination, listed
from modelzoo.measurement import measure
from modelzoo.trial import PROMISE, Trial
from pef import file


@pytest.mark.parametrize("name", NAMES)
def test_samples_and_data_fit_the_tiny_configuration(name: str) -> None:
    entry = find(name)
    assert entry.name == name
    assert next(iter(entry.sizes)) == "tiny" and len(entry.sizes) > 1
    spec = entry.spec("tiny", training=True, batch=4)
    train, test = entry.recipe.data(0)
    wanted = {**spec.inputs, **spec.targets}
    for part in (train, test):
        assert set(part) == set(wanted)
        assert {n: (a.shape[1:], torch.from_numpy(a[:1]).is_floating_point()) for n, a in part.items()} == {
            n: (t.shape[1:], t.is_floating_point()) for n, t in wanted.items()
        }
    assert call(spec, spec.model)[0].numel() == 1


@pytest.mark.parametrize("name", NAMES)
def test_data_follow_from_the_seed(name: str) -> None:
    data = find(name).recipe.data
    (first, _), (same, _), (other, _) = data(3), data(3), data(4)
    assert all((first[key] == same[key]).all() for key in first)
    assert any((first[key] != other[key]).any() for key in first)


@pytest.mark.parametrize("name", [name for name in NAMES if (CARDS / f"{name}.json").exists()])
def test_the_card_is_what_its_measurements_say(name: str) -> None:
    entry = find(name)
    content = stored(entry)
    assert (CARDS / f"{name}.md").read_text() == page(entry, content)
    trial = Trial(**content["trial"])
    assert trial.reached
    assert trial.largest_difference < PROMISE or (trial.verdict is not None and trial.verdict.is_chaos)
    assert all(entry.recipe.quality.reached(found) for found in content["seeds"].values())
    assert listed(name)


def test_an_unknown_model_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"(?s)no model 'bragnn'.*braggnn"):
        find("bragnn")


def test_the_list_and_a_card() -> None:
    assert "braggnn" in CliRunner().invoke(main, ["zoo", "list"]).output
    shown = CliRunner().invoke(main, ["zoo", "show", "braggnn"]).output
    assert "## Tested combinations" in shown and "pixels" in shown


def test_an_unlisted_combination_warns_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    result = CliRunner().invoke(main, ["zoo", "run", "braggnn", "-b", "96", "--epochs", "1"])
    assert result.exit_code == 0, result.output
    assert "tiny training, batch 96, on sn30 has not been tested" in caplog.text
    assert str(Combination("tiny", "training", 64, None, "sn30")) in caplog.text
    assert "losses differ from PyTorch's run by at most" in result.output


def test_what_is_compiled_alone_is_a_pef_to_look_into(tmp_path: Path) -> None:
    words = ["zoo", "run", "uno", "--inference", "-o", str(tmp_path)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "uno, tiny inference, batch 128, on sn30: " in result.output and "% of the roofline" in result.output
    path = tmp_path / "uno_tiny" / "uno_tiny.pef"
    assert str(path) in result.output and file.read(path).sections
    refused = CliRunner().invoke(main, [*words, "--arch", "sn99"])
    assert refused.exit_code == 1 and "error[MACHINE]" in refused.output


def test_a_compile_that_takes_too_long_is_on_the_card_as_such() -> None:
    record = measure("braggnn", Combination("full", "training", 512, None, "sn30"), limit_seconds=1)
    assert record["refused"] == "the compiler had not finished after 1 s"
    assert record["size"] == "full"
