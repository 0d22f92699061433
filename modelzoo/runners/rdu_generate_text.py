"""Compile a language model to generate text, and generate.

python rdu_generate_text.py command=compile checkpoint.model_name_or_path=DIR model.max_seq_length=256
python rdu_generate_text.py command=run checkpoint.model_name_or_path=DIR samba_run.pef=PEF \\
    'generation.prompts=["Once upon a time"]'
"""

from __future__ import annotations

from ir.ending import readable_errors

with readable_errors():  # what the extra brings may be missing
    from modelzoo.runners.command_line import run
    from modelzoo.runners.schema import GenerationApplication
    from modelzoo.runners.text_generation import compile_text_generation, generate_text


def act(settings: GenerationApplication) -> None:
    """Do what the command says."""
    if settings.command == "compile":
        compile_text_generation(settings)
    else:
        generate_text(settings)


if __name__ == "__main__":
    run(GenerationApplication, "generate_text", act)
