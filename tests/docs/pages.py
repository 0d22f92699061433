"""The fenced blocks of the documentation's pages, and what the line before each says about it.

A `sh` or `python` block is run, in the order of the page; a block whose first line is a comment with a file's name is
that file. The paragraph before a block may say otherwise. What concerns the reader stands in words:

    From [`path`](link):           it quotes that file
    *It ends with exit status N.*  it is meant to fail
    *It prints, among others:*     the block after it holds lines of what the block before printed; `...` is any text

What concerns the tests alone stands in a comment, as that paragraph's last line or as a paragraph of its own:

    <!-- run by make test-full: why -->  it takes too long for `make test`; before no block, so does its whole page
    <!-- not run: why -->                it cannot run in a test
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RUN = ("sh", "python")
FREE = ("text", "")
"""Languages of blocks that are neither run nor quoted: diagrams, and output."""

FENCE = re.compile(r"^( *)(```+|~~~+)(.*)$")
FULL = re.compile(r"<!-- run by make test-full: \S[^>]* -->")
NOT_RUN = re.compile(r"<!-- not run: \S[^>]* -->")
STATUS = re.compile(r"\*It ends with exit status (\d+)\.\*")
QUOTE = re.compile(r"From \[`[^`]+`\]\(([^)]+)\)[^\n]*:$")
PRINTS = re.compile(r"\*It prints, among others:\*$")
FILE = re.compile(r"^# ([\w/.-]+\.(?:py|yaml|toml))$")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it begins, its language and text, and the paragraph before it."""

    page: Path
    line: int
    language: str
    text: str
    before: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def quoted(self) -> Path | None:
        """The file it quotes."""
        match = QUOTE.search(self.before)
        return (self.page.parent / match[1].partition("#")[0]).resolve() if match else None

    @property
    def file(self) -> str | None:
        """The name of the file that it is."""
        match = FILE.match(self.text.partition("\n")[0])
        return match[1] if match and self.language != "sh" else None

    @property
    def is_run(self) -> bool:
        """Whether it is to be run, or written as a file, at some time."""
        return (self.language in RUN or self.file is not None) and not self.quoted and not NOT_RUN.search(self.before)

    @property
    def is_full(self) -> bool:
        """Whether it is too slow for `make test`."""
        return FULL.search(self.before) is not None

    @property
    def status(self) -> int:
        """The exit status it ends with."""
        match = STATUS.search(self.before)
        return int(match[1]) if match else 0

    @property
    def is_output(self) -> bool:
        """Whether it holds lines that the block before printed."""
        return PRINTS.search(self.before) is not None


def quick(blocks: list[Block]) -> list[Block]:
    """Those for `make test`: without what takes too long, and without the output of that."""
    chosen: list[Block] = []
    follows = True
    for block in blocks:
        follows = follows if block.is_output else not block.is_full
        if follows:
            chosen.append(block)
    return chosen


def pages() -> list[Path]:
    """Every page that people read: the README, docs/, and what else stands in the top folder."""
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def is_full(page: Path) -> bool:
    """Whether the whole page is too slow for `make test`: a paragraph of it says so, before no block."""
    paragraphs = re.split(r"\n\s*\n", page.read_text())
    alone = [p.strip() for p, after in zip(paragraphs, [*paragraphs[1:], ""]) if not after.lstrip().startswith("```")]
    return any(FULL.fullmatch(" ".join(paragraph.split())) for paragraph in alone)


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text().splitlines()
    number = 0
    while number < len(lines):
        match = FENCE.match(lines[number])
        if match is None:
            number += 1
            continue
        indent, fence, language = match[1], match[2], match[3].strip()
        start = number + 1
        number = start
        while lines[number].strip() != fence:
            number += 1
        text = "\n".join(line.removeprefix(indent) for line in lines[start:number]) + "\n"
        yield Block(page, start, language, text, _paragraph_before(lines, start - 1))
        number += 1


def _paragraph_before(lines: list[str], fence: int) -> str:
    """The paragraph that ends above a fence, as one line."""
    end = fence
    while end and not lines[end - 1].strip():
        end -= 1
    start = end
    while start and lines[start - 1].strip() and not lines[start - 1].strip().startswith(("```", "#")):
        start -= 1
    return " ".join(line.strip() for line in lines[start:end])
