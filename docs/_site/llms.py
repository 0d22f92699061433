"""The site for language models: `llms.txt` lists the pages with a sentence each, `llms-full.txt` holds them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

SUMMARY = """# snc

> An open implementation of the SambaFlow stack: PyTorch models are compiled ahead of time to PEF files, which run on a
> simulated RDU (Reconfigurable Dataflow Unit) with PyTorch's numbers and a simulated cycle count.

Commands: `snc` (compile, check, describe), `snrun` (run, train, profile). Every command has `--help`, and `--json`
where a program reads the answer. Times of the RDU are simulated and are always labelled so.
"""


def title_and_sentence(text: str) -> tuple[str, str]:
    """A page's heading and its first sentence."""
    lines = text.splitlines()
    heading = next((line.removeprefix("# ") for line in lines if line.startswith("# ")), "")
    paragraph: list[str] = []
    for line in lines[1:]:
        if line.strip() and not line.startswith(("#", "|", "```", "!", "-", "*", ">", "<")):
            paragraph.append(line.strip())
        elif paragraph:
            break
    return heading, " ".join(paragraph).split(". ")[0].rstrip(".:")


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
