"""A language model from nothing: it learns to write from this project's documentation, and then writes.

    make zoo-demo

No weights are loaded from anywhere. A byte-level tokenizer is trained on the documentation, a small Llama is compiled
from its configuration, trained on the simulated RDU, saved as a Hugging Face folder, and generates from a second PEF,
before and after. Every step is a command line that you can type yourself.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from transformers import LlamaConfig

from modelzoo.checkpoints.hugging_face import initialised
from modelzoo.data.documents import VOCABULARY, tokenizer, write_jsonl

OUT = Path("out") / "zoo-demo"
RUNNERS = Path(__file__).parent / "runners"
LENGTH, BATCH, EPOCHS = 64, 16, 4
PROMPTS = ["The compiler ", "A section ", "Simulated time "]
LEAST_GAIN = 2.0
"""What the loss must fall by: from even chances among all tokens, which is log(512) = 6.2."""


def main() -> None:
    """Do it all, and fail where the model did not learn."""
    began = time.perf_counter()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
    )
    start = OUT / "untrained"
    initialised(config, seed=1).save_pretrained(start)
    tokenizer().save_pretrained(start)
    write_jsonl(OUT / "docs.jsonl", paragraphs=4)

    snc = [str(Path(sys.executable).with_name("snc")), "zoo", "prepare"]
    paths = [f"--input_file_path={OUT / 'docs.jsonl'}", f"--output_path={OUT / 'data'}"]
    run([*snc, *paths, f"--pretrained_tokenizer={start}", f"--max_seq_length={LENGTH}", "--num_training_splits=1"])

    train, shape = runner("rdu_train_llm.py"), [f"model.max_seq_length={LENGTH}", f"training.batch_size={BATCH}"]
    folder = f"samba_compile.output_folder={OUT}"
    run([*train, "command=compile", f"checkpoint.config_name={start}", *shape, folder, "samba_compile.pef_name=train"])
    learning = [f"training.num_epochs={EPOCHS}", "training.learning_rate=3e-3", "training.evaluate=true"]
    learning += [f"training.dataset={OUT}/data", f"training.output_dir={OUT}/trained"]
    pef = f"samba_run.pef={OUT}/train/train.pef"
    run([*train, "command=run", f"checkpoint.model_name_or_path={start}", *shape, pef, *learning])

    write = runner("rdu_generate_text.py")
    limits = ["model.max_seq_length=128", f"generation.batch_size={len(PROMPTS)}"]
    names = ["generation.static_seq_lengths=[16]", folder, "samba_compile.pef_name=write"]
    run([*write, "command=compile", f"checkpoint.model_name_or_path={start}", *limits, *names])
    asked = [f"samba_run.pef={OUT}/write/write.pef", f"generation.prompts={json.dumps(PROMPTS)}"]
    asked += ["generation.max_new_tokens=48", f"generation.output_dir={OUT}/output"]
    for checkpoint in ("untrained", "trained"):
        run([*write, "command=run", f"checkpoint.model_name_or_path={OUT / checkpoint}", *limits, *asked])

    losses = np.loadtxt(OUT / "trained" / "per_step_metrics.csv", delimiter=",", skiprows=1)[:, 1]
    first, last = losses[0], losses[-10:].mean()
    print(f"the loss fell from {first:.2f} to {last:.2f}; {time.perf_counter() - began:.0f} s in all")
    if first - last < LEAST_GAIN:
        raise SystemExit("the model did not learn to write")


def runner(script: str) -> list[str]:
    """How a runner is started."""
    return [sys.executable, str(RUNNERS / script)]


def run(command: list[str]) -> None:
    """Show a command and run it."""
    shown = [Path(command[0]).name, *command[1:]]
    print(f"\n$ {shlex.join(shown)}", flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
