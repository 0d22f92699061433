"""box.yaml: what it may say, and a check that needs nothing loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from compiler.cli import main
from ir.errors import UsageError
from modelbox.box_file import Box, Home, Parameter, as_text, parse, schema
from modelbox.legality import problems
from modelbox.parameters import legal
from modelbox.refusal import Refusal
from tests.modelbox.boxes import changed

Copy = Callable[[Home], Home]


def test_a_box_survives_its_own_yaml(dense: Home) -> None:
    assert parse(as_text(dense.box)) == dense.box
    assert Home.read(dense.folder).box == dense.box


def test_everything_wrong_in_a_box_file_is_told_at_once() -> None:
    text = "box: 1\nname: 'a b'\nmodel: nothing\nprofiles: []\nfish: 1\n"
    with pytest.raises(UsageError) as error:
        parse(text)
    told = str(error.value)
    assert all(word in told for word in ("name:", "model:", "there is no setting fish"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "box.yaml holds no settings"),
        ("- box", "box.yaml holds no settings"),
        ("{box: 1, name: m, model: 'file:m.py', profiles: [], security: {tls_key: k}}", "security: TLS takes both"),
    ],
)
def test_what_is_wrong_is_told_in_our_words(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert said in str(error.value) and "`snc box schema` prints" in str(error.value)


def test_the_schema_names_every_field() -> None:
    assert set(schema()["properties"]) == set(Box.model_fields)
    assert schema()["additionalProperties"] is False


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 8}, [1, 8], [0, 9, 1.0, True, "1"]),
        ({"type": "number", "minimum": 0}, [0, 0.5], [-1, float("nan"), "x"]),
        ({"type": "text", "values": ["a", "b"]}, ["a"], ["c", 1]),
        ({"type": "boolean"}, [True], [1, "true"]),
    ],
)
def test_parameters_are_checked_against_their_legal_values(rule: dict, good: list, bad: list) -> None:
    box = Box.model_validate({"box": 1, "name": "m", "model": "file:m.py", "profiles": [], "parameters": {"p": rule}})
    assert [legal(box, {"p": value})["p"] for value in good] == good
    for value in bad:
        with pytest.raises(Refusal) as error:
            legal(box, {"p": value})
        assert error.value.parameter == "p"
    with pytest.raises(Refusal, match="no parameter 'q'"):
        legal(box, {"q": 1})


def test_a_default_outside_its_own_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="not legal"):
        Parameter(type="integer", default=9, maximum=8)


def test_a_legal_box_has_no_problems(dense: Home) -> None:
    assert problems(dense) == []


def test_profiles_must_be_what_their_pefs_were_compiled_for(dense: Home, copy: Copy) -> None:
    home = copy(dense)
    inference, training = (profile.model_dump() for profile in home.box.profiles)
    wrong = changed(home, profiles=[inference | {"batch": 8}, training | {"pef": inference["pef"]}], machine="sn10")
    told = "\n".join(str(problem) for problem in problems(wrong))
    assert "batch of 4, not 8" in told
    assert "cannot train" in told
    assert "sn30, and the box for sn10" in told


def test_checkpoints_are_checked_by_their_headers_alone(dense: Home, copy: Copy) -> None:
    home = copy(dense)
    tensors = {
        "first.weight": np.zeros((16, 8), np.float32),
        "first.bias": np.zeros(15, np.float32),
        "second.weight": np.zeros((3, 16), np.float32),
    }
    path = home.folder / "weights.safetensors"
    save_file(tensors, path)
    content = bytearray(path.read_bytes())
    content[-16:] = b"\xff" * 16  # the data are never looked at
    path.write_bytes(content)
    told = [problem.message for problem in problems(changed(home, checkpoint="weights.safetensors"))]
    assert "the checkpoint lacks 'second.bias'" in told
    assert any(message.startswith("'first.bias' is [15] in the checkpoint and [16]") for message in told)
    assert len(set(told)) == 3  # the shape is told for each of the two PEFs, which are named


def test_paths_never_lead_out_of_the_box(dense: Home, copy: Copy, tmp_path: Path) -> None:
    home = copy(dense)
    outside = tmp_path / "outside.pef"
    shutil.copyfile(home.path(home.box.profiles[0].pef), outside)
    (home.folder / "link.pef").symlink_to(outside)
    for pef in ("../outside.pef", str(outside), "link.pef"):
        wrong = changed(home, profiles=[home.box.profiles[0].model_dump() | {"pef": pef}])
        assert any("lies outside the box" in problem.message for problem in problems(wrong))


def test_the_commands_teach(dense: Home, copy: Copy) -> None:
    home = copy(dense)
    run = CliRunner()
    assert "serve" in run.invoke(main, ["box", "--help"]).output
    good = run.invoke(main, ["box", "check", str(home.folder)])
    assert (good.exit_code, good.output) == (0, "dense can serve: inference-b4, training-b4\n")
    home.path(home.box.profiles[0].pef).write_bytes(b"nothing")
    bad = run.invoke(main, ["box", "check", str(home.folder), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.output)["legal"] is False
    key, digest = (line.rpartition(" ")[2] for line in run.invoke(main, ["box", "key"]).output.splitlines())
    assert len(digest) == 64 and key not in digest
