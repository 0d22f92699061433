"""The documentation site: Sphinx over the Markdown of docs/. `make docs` builds it (docs/_site/build.py).

Nothing in the built site comes from the network: the theme uses the reader's own fonts, and search is a script with an
index beside it, which works from the file system too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import contents

project = "snc"
author = "the snc developers"
version = release = os.environ.get("SNC_DOCS_VERSION", "development")
html_title = f"snc {version}"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_site"]
myst_heading_anchors = 4
suppress_warnings: list[str] = []
nitpicky = True

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["snc.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
templates_path = ["templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/versions.html",
        "sidebar/scroll-end.html",
    ]
}
pygments_style = "friendly"
pygments_dark_style = "native"


def with_contents(app: Any, page: str, source: list[str]) -> None:
    """Give the pages that lead to others their lists of contents, which a forge does not need."""
    source[0] += contents.toctrees(page, Path(app.srcdir))


def setup(app: Any) -> None:
    """Hook into Sphinx."""
    app.connect("source-read", with_contents)
