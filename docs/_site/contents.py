"""Which page stands where in the site's navigation. A page that no group names stands in the last one."""

from __future__ import annotations

from pathlib import Path

GROUPS: dict[str, tuple[str, ...]] = {
    "Start": ("start", "concepts", "symptoms"),
    "Guides": (
        "models",
        "guides/port-a-model",
        "guides/read-a-report",
        "guides/debug-a-wrong-number",
        "guides/write-a-sambaflow-program",
        "guides/add-an-operator",
        "guides/add-a-pass",
        "guides/add-a-machine",
        "guides/add-a-fusion-rule",
        "zoo",
        "box",
        "operations",
        "workbench",
    ),
    "Learn": ("course/index", "build-it-yourself"),
    "Reference": ("api", "report", "operators", "messages", "porting", "agents", "reference/index"),
    "Behind it": (
        "architecture",
        "timing",
        "mapping",
        "performance",
        "truth",
        "published",
        "comparison",
        "results",
        "dependencies",
        "documentation",
    ),
}
REST = "More"
INSIDE = ("course", "reference")
"""Folders whose own index leads to their pages."""


def pages(docs: Path) -> list[str]:
    """Every page, as Sphinx calls it: its path without the suffix."""
    return sorted(path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md"))


def groups(docs: Path) -> dict[str, list[str]]:
    """The groups of the front page with the pages there are."""
    there = pages(docs)
    found = {title: [page for page in listed if page in there] for title, listed in GROUPS.items()}
    placed = {"index"}.union(*found.values())
    found[REST] = [page for page in there if page not in placed and page.split("/")[0] not in INSIDE]
    return {title: listed for title, listed in found.items() if listed}


def toctrees(page: str, docs: Path) -> str:
    """What is appended to the text of a page: hidden lists of the pages it leads to."""
    if page == "index":
        return "".join(_toctree(title, listed) for title, listed in groups(docs).items())
    folder, _, name = page.rpartition("/")
    if name != "index":
        return ""
    below = [p for p in pages(docs) if p.startswith(f"{folder}/") and p != page and _leads(folder, p)]
    return _toctree("", [p.removeprefix(f"{folder}/") for p in below])


def _leads(folder: str, page: str) -> bool:
    """Whether `page` lies in the folder itself, or is the index of a folder below."""
    rest = page.removeprefix(f"{folder}/").split("/")
    return len(rest) == 1 or (len(rest) == 2 and rest[1] == "index")


def _toctree(title: str, listed: list[str]) -> str:
    caption = f":caption: {title}\n" if title else ""
    return f"\n\n```{{toctree}}\n:hidden:\n{caption}\n" + "\n".join(listed) + "\n```\n"
