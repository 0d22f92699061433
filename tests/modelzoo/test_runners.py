"""The Model Zoo's command lines as people type them: prepare data, compile, train, generate from what was trained."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

from compiler.cli import main
from modelzoo.checkpoints.hugging_face import initialised, read_config
from modelzoo.data.documents import tokenizer, write_jsonl
from modelzoo.data.prompts import files_of, read_sequences
from modelzoo.training import batches
from tests.modelzoo.languages import CONFIGS

RUNNERS = Path(__file__).parents[2] / "modelzoo" / "runners"
LENGTH, BATCH, STEPS, RATE = 24, 4, 4, 5e-3
ROUNDED = 1e-2
"""Gradients that float32 changes by more of themselves are left out: AdamW steps as far by rounding as by anything."""
PROMPTS = ["The compiler", "A section"]


def typed(script: str, *words: str) -> None:
    """Run a script with a command line, in the present folder."""
    before = sys.argv
    sys.argv = [script, *words]
    try:
        runpy.run_path(str(RUNNERS / script), run_name="__main__")
    finally:
        sys.argv = before


def refused(script: str, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        typed(script, *words)
    told = capsys.readouterr().err
    assert end.value.code == (2 if "error[USAGE]" in told else 1)
    return told


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, a tokenizer and prepared data."""
    folder = tmp_path_factory.mktemp("home")
    config = CONFIGS["llama"]()
    config.num_hidden_layers = 1
    config.vocab_size, config.eos_token_id, config.bos_token_id = 512, 0, 0
    config.save_pretrained(folder / "tiny")
    tokenizer().save_pretrained(folder / "tiny")
    write_jsonl(folder / "docs.jsonl", paragraphs=40)
    words = ["--input_file_path", str(folder / "docs.jsonl"), "--output_path", str(folder / "data")]
    words += ["--pretrained_tokenizer", str(folder / "tiny"), "--max_seq_length", str(LENGTH)]
    result = CliRunner().invoke(main, ["zoo", "prepare", *words, "--num_training_splits", "2"])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    """A checkpoint, trained for some steps by the runner from a relative PEF path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        shared = [f"model.max_seq_length={LENGTH}", f"training.batch_size={BATCH}", f"training.learning_rate={RATE}"]
        compiled = ["command=compile", "checkpoint.config_name=tiny", "samba_compile.arch=sn30", *shared]
        compiled += ["samba_compile.pef_name=llm", "+samba_compile.target_sambaflow_version=1.23.3"]
        typed("rdu_train_llm.py", *compiled)
        run = ["command=run", "checkpoint.config_name=tiny", "samba_run.pef=out/llm/llm.pef", *shared]
        run += ["training.dataset=data", f"training.end_early_at_step={STEPS}", "training.output_dir=trained"]
        typed("rdu_train_llm.py", *run, "training.evaluate=true")
    return home / "trained"


def test_prepared_data_is_the_text_in_order(home: Path) -> None:
    files = files_of(home / "data", "train")
    assert [file.name for file in files] == ["train_1_of_2.hdf5", "train_2_of_2.hdf5"]
    assert (home / "data" / "dev_1_of_1.hdf5").is_file()
    found = read_sequences(files)
    assert found["input_ids"].shape[1] == LENGTH
    learned = found["labels"] >= 0
    assert np.array_equal(found["labels"][learned], found["input_ids"][learned])
    text = tokenizer().decode(found["input_ids"][:20].flatten())
    articles = [json.loads(line)["completion"] for line in (home / "docs.jsonl").read_text().splitlines()]
    assert any(article[:200] in text for article in articles)


def test_prompts_and_padding_are_not_learned(tmp_path: Path) -> None:
    from modelzoo.data.prompts import packed

    tokens, types = packed([("ab", "cd"), ("", "e")], tokenizer(), 16)
    learned = tokenizer().decode(tokens[types == 1])
    assert learned == "cd<|endoftext|>e<|endoftext|>"
    assert tokenizer().decode(tokens[types == 0]) == "ab"


def eager_training(
    home: Path, dtype: torch.dtype
) -> tuple[dict[str, torch.Tensor], list[float], list[dict[str, torch.Tensor]]]:
    """The parameters after STEPS steps by PyTorch in `dtype`, and each step's loss and gradients."""
    model = initialised(read_config(home / "tiny"), 42).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    found = read_sequences(files_of(home / "data", "train"))
    learned = (found["labels"][:, 1:] >= 0).any(1)  # a sequence that is all prompt teaches nothing
    data = {name: array[learned] for name, array in found.items()}
    losses, gradients = [], []
    for batch in list(batches(data, BATCH, 1, 42 * 1_000_003))[:STEPS]:
        optimizer.zero_grad()
        loss = model(**{name: torch.from_numpy(array).long() for name, array in batch.items()}).loss
        loss.backward()
        losses.append(loss.item())
        gradients.append({name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None})
        optimizer.step()
    return {name: p.detach().double() for name, p in model.named_parameters()}, losses, gradients


def test_training_equals_pytorch(home: Path, trained: Path) -> None:
    like, expected, gradients = eager_training(home, torch.float32)
    _, _, exact = eager_training(home, torch.float64)
    rows = list(csv.DictReader((trained / "per_step_metrics.csv").open()))
    assert list(rows[0]) == ["Tokens in Step", "Step Loss", "Learning Rate", "Time per Step"]
    np.testing.assert_allclose([float(row["Step Loss"]) for row in rows], expected, rtol=1e-4, atol=1e-5)
    before = dict(initialised(read_config(home / "tiny"), 42).named_parameters())
    loaded = dict(AutoModelForCausalLM.from_pretrained(trained).named_parameters())
    assert list(loaded) == list(like) == list(gradients[0])
    rounded = {
        name: torch.stack([(g[name] - e[name]).abs() > ROUNDED * e[name].abs() for g, e in zip(gradients, exact)]).any(
            0
        )
        for name in like
    }
    assert sum(mask.sum() for mask in rounded.values()) < 1e-1 * sum(mask.numel() for mask in rounded.values())
    for name, tensor in loaded.items():
        distance = (tensor - like[name]).masked_fill(rounded[name], 0).norm()
        assert distance < 5e-3 * (like[name] - before[name]).norm(), name


def test_the_summary_says_what_was_done(trained: Path) -> None:
    lines = dict(line.split(": ") for line in (trained / "summary.txt").read_text().splitlines())
    assert lines["Number of epochs"] == "1"
    assert lines["Per worker batch size"] == str(BATCH)
    assert lines["Total tokens seen"] == str(BATCH * STEPS * (LENGTH - 1))
    assert lines["Model params"] == str(
        sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(trained).parameters())
    )
    assert {"Tokens per second", "Average time per step", "Simulated RDU time per step", "Evaluation loss"} <= set(
        lines
    )


def test_generating_from_what_was_trained(
    trained: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(home)
    where = [f"checkpoint.model_name_or_path={trained}", "model.max_seq_length=32", "generation.batch_size=2"]
    typed("rdu_generate_text.py", "command=compile", *where, "generation.static_seq_lengths=[8,16]")
    pef = capsys.readouterr().out.split("PEF: ")[1].strip()
    asked = ["generation.max_new_tokens=8", f"generation.prompts={json.dumps(PROMPTS)}"]
    typed("rdu_generate_text.py", "command=run", *where, f"samba_run.pef={Path(pef).relative_to(home)}", *asked)
    shown = capsys.readouterr().out
    assert shown.count("answer: ") == 2
    for prompt in PROMPTS:
        assert f"answer: {written_by_transformers(trained, prompt)!r}" in shown
    summary = (home / "output" / "text_gen_telemetry" / "summary.txt").read_text()
    assert "time to first token" in summary and "simulated RDU time" in summary
    longer = [word for word in where if "max_seq_length" not in word]
    typed("rdu_generate_text.py", "command=run", *longer, f"samba_run.pef={pef}", *asked)
    assert "model.max_seq_length=4096 has no effect on a run: the PEF was compiled for 32" in caplog.text
    told = refused("rdu_generate_text.py", capsys, "command=run", *where, f"samba_run.pef={pef}")
    assert "generation.batch_size is 2, but there are 0 prompts" in told
    long = [f"samba_run.pef={pef}", "generation.max_new_tokens=32", *asked[1:]]
    told = refused("rdu_generate_text.py", capsys, "command=run", *where, *long)
    assert told.count("with 32 new ones, more than the 31 that fit") == 2 and "give generation.max_new_tokens=" in told
    told = refused("rdu_generate_text.py", capsys, "command=run", *where, *asked)
    assert "samba_run.pef is not given" in told


def written_by_transformers(folder: Path, prompt: str) -> str:
    words = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([words.encode(prompt)])
    model = AutoModelForCausalLM.from_pretrained(folder)
    found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, pad_token_id=0)
    return str(words.decode(found[0, ids.shape[1] :], skip_special_tokens=True))


WRONG: list[tuple[Sequence[str], str]] = [
    (["+training.learning_speed=1"], "there is no setting training.learning_speed"),
    (["training.learning_speed=1"], "Could not override 'training.learning_speed'"),
    (["training.batch_size"], "training.batch_size"),
    (["--config-name=nowhere"], "Cannot find primary config 'nowhere'"),
    (["checkpoint.model_name_or_path=tiny"], "give exactly one of checkpoint.config_name"),
    (["samba_compile.n_chips=4"], "a model lies on one RDU here"),
    (["model.max_seq_length=4096"], "the model takes sequences of 64 tokens"),
    (["checkpoint.config_name=nowhere"], "has no config.json"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_told_by_name(
    words: Sequence[str], message: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    told = refused("rdu_train_llm.py", capsys, "command=compile", "checkpoint.config_name=tiny", *words)
    assert message in told
    assert "Traceback" not in told


def test_training_compiles_without_weights(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    told = refused("rdu_train_llm.py", capsys, "command=compile", "checkpoint.model_name_or_path=tiny")
    assert "give checkpoint.config_name" in told


transformers.logging.set_verbosity_error()
