"""All models of the zoo, by name."""

from __future__ import annotations

import difflib
import importlib

from ir.errors import Problem, UsageError
from modelzoo.entry import Entry

SCIENCE = (
    "unet2d",
    "unet3d",
    "cosmictagger",
    "braggnn",
    "autophasenn",
    "autodicnn",
    "vit",
    "deepvit",
    "dcrnn",
    "uno",
    "rescalenet",
    "ai4polymers",
)
LANGUAGE = ("gpt", "llama2", "llama3", "mistral", "falcon", "deepseek_coder", "bert", "genslm")

NAMES = (*LANGUAGE, *SCIENCE)
"""Every entry: a module of that name under models/language or models/science, which holds an ENTRY."""


def find(name: str) -> Entry:
    """The entry called `name`; imports that one alone. Raises UsageError where there is none."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the zoo has {', '.join(NAMES)}"
        raise UsageError(Problem(f"the zoo has no model {name!r}", hint=hint))
    family = "language" if name in LANGUAGE else "science"
    entry: Entry = importlib.import_module(f"modelzoo.models.{family}.{name}").ENTRY
    return entry
