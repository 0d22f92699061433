"""Compile a language model for training, and train it.

python rdu_train_llm.py command=compile checkpoint.config_name=DIR model.max_seq_length=4096 training.batch_size=8
python rdu_train_llm.py command=run checkpoint.model_name_or_path=DIR model.max_seq_length=4096 samba_run.pef=PEF \\
    training.batch_size=8 training.dataset=HDF5_DIR
"""

from __future__ import annotations

from ir.ending import readable_errors

with readable_errors():  # what the extra brings may be missing
    from modelzoo.runners.command_line import run
    from modelzoo.runners.language_training import compile_training, train
    from modelzoo.runners.schema import TrainingApplication


def act(settings: TrainingApplication) -> None:
    """Do what the command says."""
    if settings.command == "compile":
        compile_training(settings)
    else:
        train(settings)


if __name__ == "__main__":
    run(TrainingApplication, "train_llm", act)
