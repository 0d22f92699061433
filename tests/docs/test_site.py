"""The site: built without a warning, whole without a network, and with a reference that leaves nothing out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ir.ops  # noqa: F401  (registers every operator)
from ir import errors
from ir.op import OPS
from ir.version import VERSION
from tests.docs.pages import ROOT

SITE = ROOT / "docs" / "_site"


def reference(folder: Path) -> Path:
    """The generated reference."""
    command = [sys.executable, str(SITE / "reference.py"), str(folder)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return folder


def test_reference_has_a_page_for_everything(tmp_path: Path) -> None:
    folder = reference(tmp_path / "reference")
    operators = {path.stem for path in (folder / "operators").glob("*.md")} - {"index"}
    assert operators == set(OPS)
    codes = {kind.code.lower() for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}
    assert {path.stem.removeprefix("error-") for path in (folder / "errors").glob("error-*.md")} == codes
    for page in ("commands/snc-compile", "commands/snrun", "machines/sn30", "passes/cse"):
        assert len((folder / f"{page}.md").read_text()) > 500
    assert "## --profile" in (folder / "commands" / "snrun.md").read_text()


@pytest.mark.full
def test_site_builds_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="the site's generator is the extra `docs`")
    subprocess.run([sys.executable, str(SITE / "build.py"), str(tmp_path)], check=True)
    version = next(path.parent for path in tmp_path.glob("*/index.html"))
    assert version.name == VERSION
    pages = list(version.rglob("*.html"))
    assert len(pages) > 150
    fetched = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=\"(?:https?:)?//[^\"]*\"")
    for page in pages:
        assert not fetched.findall(page.read_text()), page
    for sheet in version.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", sheet.read_text()), sheet
    assert "[Start here](start.html)" in (version / "llms.txt").read_text()
    assert (version / "searchindex.js").stat().st_size > 10_000
    assert version.name in (tmp_path / "versions.js").read_text()
