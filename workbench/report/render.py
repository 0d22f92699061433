"""The facts as one HTML file: template, style, scripts and data in it, nothing loaded from elsewhere.

The data is compressed JSON that the page unpacks by itself; the floorplan of a configuration is unpacked when somebody
looks at it.
"""

from __future__ import annotations

import base64
import gzip
import json
from importlib import resources
from typing import Any

from jinja2 import Environment

SCRIPTS = ("core", "timeline", "floorplan", "source", "roofline", "memory", "tables", "inspector", "hero", "main")
"""In the order of the page; `main` starts it."""


def render(facts: dict[str, Any]) -> str:
    """The page."""
    page = resources.files("workbench.report").joinpath("page")
    template = Environment(autoescape=True).from_string(page.joinpath("page.html.j2").read_text())
    rest = {name: value for name, value in facts.items() if name != "floorplans"}
    return template.render(
        facts=facts,
        style=page.joinpath("style.css").read_text(),
        script="\n".join(page.joinpath(f"{name}.js").read_text() for name in SCRIPTS),
        packed=_packed(rest),
        floorplans={number: _packed(plan) for number, plan in facts["floorplans"].items()},
    )


def _packed(value: object) -> str:
    """JSON, compressed, in base64; the same bytes for the same value."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
