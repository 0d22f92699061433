"""The site for language models: `llms.txt` lists the pages with a sentence each, `llms-full.txt` holds them all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

SUMMARY = """# snc

> An open implementation of the SambaFlow stack: PyTorch models are compiled ahead of time to PEF files, which run on a
> simulated RDU (Reconfigurable Dataflow Unit) with PyTorch's numbers and a simulated cycle count.

Commands: `snc` (compile, check, describe), `snrun` (run, train, profile). Every command has `--help`, and `--json`
where a program reads the answer. Times of the RDU are simulated and are always labelled so.
"""


def title_and_sentence(text: str) -> tuple[str, str]:
    """A page's heading, and its first sentence: whom it is for, where it says so."""
    heading = re.search(r"^# (.+)$", text, re.M)
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    plain = [part for part in paragraphs if part and part[0] not in "#|`!-<>"]
    first = plain[0].replace("**", "") if plain else ""
    return heading[1] if heading else "", re.split(r"(?<=[.:?]) ", first.removeprefix("For whom: "))[0].rstrip(".:")


def index(docs: Path, groups: Mapping[str, Sequence[str]]) -> str:
    """The text of llms.txt."""
    parts = [SUMMARY]
    for group, pages in groups.items():
        parts.append(f"\n## {group}\n")
        for page in pages:
            heading, sentence = title_and_sentence((docs / f"{page}.md").read_text())
            parts.append(f"- [{heading}]({page}.html): {sentence}")
    return "\n".join(parts) + "\n"


def full(docs: Path, groups: Mapping[str, Sequence[str]]) -> str:
    """Every page's Markdown, one after another."""
    listed = [page for pages in groups.values() for page in pages]
    return "\n\n".join((docs / f"{page}.md").read_text().rstrip() for page in ["index", *listed]) + "\n"
