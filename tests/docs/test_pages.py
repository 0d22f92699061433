"""What pages say is so: commands run, quotes are in their files, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import FREE, NOT_RUN, QUOTE, ROOT, RUN, Block, blocks, is_full, pages, quick
from tests.docs.runner import follow

PAGES = pages()
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
QUICK = [page for page in PAGES if not is_full(page) and any(b.is_run and b.file is None for b in quick(blocks(page)))]
SLOW = [page for page in PAGES if any(b.is_run and (is_full(page) or b.is_full) for b in blocks(page))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", QUICK, ids=name_of)
def test_quick_commands_run(page: Path, tmp_path: Path) -> None:
    follow(quick(blocks(page)), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("page", SLOW, ids=name_of)
def test_all_commands_run(page: Path, tmp_path: Path) -> None:
    follow(blocks(page), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_quotes_are_in_their_files(page: Path) -> None:
    for block in blocks(page):
        if block.quoted is not None:
            assert block.text in block.quoted.read_text(), f"{block} is not in {block.quoted}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_what_is_announced_as_a_quote_is_one(page: Path) -> None:
    paragraphs = re.split(r"\n\s*\n", page.read_text())
    for paragraph, after in zip(paragraphs, [*paragraphs[1:], ""]):
        if QUOTE.search(paragraph):
            assert after.lstrip().startswith("```"), f"{page}: no block follows {paragraph!r}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_is_run_or_quoted_or_says_why_not(page: Path) -> None:
    def answered(block: Block) -> bool:
        return block.is_run or block.quoted is not None or NOT_RUN.search(block.before) or block.language in FREE

    unanswered = [f"{block} ({block.language})" for block in blocks(page) if not answered(block)]
    assert not unanswered, "neither run, nor quoted, nor marked: " + ", ".join(unanswered)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.M | re.S)
    for match in LINK.finditer(re.sub(r"`[^`\n]*`", "", text)):
        target, _, anchor = (match[1] or match[2]).partition("#")
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page}: nothing is at {target}"
        assert path.is_file() or page.parent == ROOT, f"{page}: {target} is a folder, which the site has no page for"
        if anchor and path.suffix == ".md":
            assert anchor in _anchors(path), f"{page}: {target} has no heading #{anchor}"


def test_languages_that_run_are_known() -> None:
    written = {block.language for page in PAGES for block in blocks(page)}
    assert set(RUN) <= written
    assert not written & {"bash", "shell", "console", "py", "python3"}, "write sh and python"


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
