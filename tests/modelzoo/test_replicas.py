"""Two replicas with data of their own train as one PyTorch process does with both batches."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from modelzoo.checkpoints.hugging_face import initialised, read_config
from modelzoo.data.prompts import read_sequences, write_sequences
from modelzoo.training import batches
from tests.modelzoo.languages import CONFIGS, VOCABULARY

RUNNER = Path(__file__).parents[2] / "modelzoo" / "runners" / "rdu_train_llm_dp.py"
LENGTH, BATCH, STEPS, SEED, RATE = 12, 4, 3, 42, 5e-3


def runner(home: Path, launcher: list[str], *words: str) -> str:
    """What the runner prints, started by a launcher in a folder."""
    shape = [f"model.max_seq_length={LENGTH}", f"training.batch_size={BATCH}", f"training.learning_rate={RATE}"]
    command = [*launcher, str(RUNNER), "checkpoint.config_name=tiny", *shape, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@pytest.mark.full
def test_two_replicas_train_as_one_process_with_both_batches(tmp_path: Path) -> None:
    CONFIGS["llama"]().save_pretrained(tmp_path / "tiny")
    random = np.random.default_rng(0)
    files = [tmp_path / "data" / f"train_{n}_of_2.hdf5" for n in (1, 2)]
    for file in files:
        ids = random.integers(3, VOCABULARY, (BATCH * STEPS, LENGTH)).astype(np.int32)
        write_sequences(file, ids, np.ones_like(ids))
    pef = runner(tmp_path, [sys.executable], "command=compile").split("PEF: ")[1].strip()
    together = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", f"--master-port={free_port()}"]
    said = runner(tmp_path, together, "command=run", f"samba_run.pef={pef}", "training.dataset=data")
    assert f"DP: 2-way, Epoch [1/1], Step [{STEPS}/{STEPS}], Loss: " in said

    model = initialised(read_config(tmp_path / "tiny"), SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    replicas = [batches(read_sequences([file]), BATCH, 1, (SEED + n) * 1_000_003) for n, file in enumerate(files)]
    expected = []
    for pair in zip(*replicas, strict=True):
        ids = torch.from_numpy(np.concatenate([batch["input_ids"] for batch in pair])).long()
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    rows = list(csv.DictReader((tmp_path / "output" / "per_step_metrics.csv").open()))
    np.testing.assert_allclose([float(row["Step Loss"]) for row in rows], expected, rtol=1e-4, atol=1e-5)
    assert int(rows[0]["Tokens in Step"]) == 2 * BATCH * (LENGTH - 1)
