"""Builds the documentation site: `make docs`, or `python docs/_site/build.py [FOLDER]`.

Into FOLDER/VERSION (default: out/site/0.1.0), with warnings as errors: a broken link or a page that nothing leads to
stops it. Versions that FOLDER holds already stay beside it and appear in its menu. Open FOLDER/index.html: no server is
needed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import contents
import llms
import reference  # puts the checkout on the path
from sphinx.cmd.build import build_main

from ir.version import VERSION

SITE = Path(__file__).parent
DOCS = SITE.parent
ROOT = DOCS.parent


def build(target: Path, version: str) -> int:
    """Build one version below `target`; the exit status, 0 for a site without a single warning."""
    with tempfile.TemporaryDirectory() as folder:
        return _build(Path(folder), target, version)


def _build(source: Path, target: Path, version: str) -> int:
    built = target / version
    shutil.rmtree(built, ignore_errors=True)
    shutil.copytree(DOCS, source / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", *linked_folders()):
        (source / name).symlink_to(ROOT / name)
    reference.write(source / "docs" / "reference")
    os.environ["SNC_DOCS_VERSION"] = version
    status = build_main(
        ["-W", "--keep-going", "-q", "-E", "-b", "html", "-c", str(SITE), str(source / "docs"), str(built)]
    )
    if status == 0:
        (built / "llms.txt").write_text(llms.index(source / "docs", contents.groups(source / "docs")))
        (built / "llms-full.txt").write_text(llms.full(source / "docs", contents.groups(source / "docs")))
        list_versions(target)
    return status


def linked_folders() -> list[str]:
    """What pages may link to outside docs/: everything that stands beside it in the checkout."""
    return [p.name for p in ROOT.iterdir() if p.name not in ("docs", "out", "README.md") and p.name[0] not in "._"]


def list_versions(target: Path) -> None:
    """The menu of versions, and the page at the top, which leads to the newest."""
    versions = sorted((p.name for p in target.iterdir() if (p / "index.html").is_file()), key=_numbers, reverse=True)
    (target / "versions.js").write_text(f"window.SNC_VERSIONS = {json.dumps(versions)};\n")
    (target / "index.html").write_text(
        f'<!doctype html><meta charset="utf-8"><title>snc</title><meta http-equiv="refresh" '
        f'content="0; url={versions[0]}/index.html"><a href="{versions[0]}/index.html">snc {versions[0]}</a>\n'
    )


def _numbers(version: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in version.split("."))


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "out" / "site").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    status = build(folder, VERSION)
    if status == 0:
        print(f"open {folder / 'index.html'}")
    sys.exit(status)
