"""Train a language model on several devices, each with data of its own; gradients are averaged at every step.

python rdu_train_llm_dp.py command=compile checkpoint.config_name=DIR model.max_seq_length=4096 training.batch_size=8
mpirun -np 2 python -u rdu_train_llm_dp.py command=run checkpoint.model_name_or_path=DIR samba_run.pef=PEF \\
    model.max_seq_length=4096 training.batch_size=8 training.dataset=HDF5_DIR

`torchrun --nproc-per-node 2` starts the replicas as well.
"""

from __future__ import annotations

from ir.ending import readable_errors

with readable_errors():  # what the extra brings may be missing
    from modelzoo.runners.command_line import run
    from modelzoo.runners.language_training import compile_training
    from modelzoo.runners.replicas import train_together
    from modelzoo.runners.schema import TrainingApplication


def act(settings: TrainingApplication) -> None:
    """Do what the command says."""
    if settings.command == "compile":
        compile_training(settings)
    else:
        train_together(settings)


if __name__ == "__main__":
    run(TrainingApplication, "train_llm_dp", act)
