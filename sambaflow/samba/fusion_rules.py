"""The fusion rules of --o1: read, checked and recorded. Sections are chosen by modelled time, with rules or without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ir.errors import Problem, UsageError
from sambaflow.logging import samba_logger


def read(arguments: Mapping[str, Any]) -> list[Any] | None:
    """The rules in the file that --optimization-rules names (YAML, of which JSON is a part), None without one.

    Raises UsageError for a file that cannot be read, or whose rules have no pattern.
    """
    path = arguments.get("optimization_rules")
    if not path:
        return None
    rules = _rules(Path(path))
    problems = [
        Problem(f"{path}: rule {number} has no pattern", hint="give it `pattern:` with the operators to fuse")
        for number, rule in enumerate(rules)
        if "pattern" not in _body(rule)
    ]
    UsageError.raise_if(problems)
    samba_logger.warning(
        "%s: %d fusion rules are recorded, not applied: sections are chosen by modelled time", path, len(rules)
    )
    return rules


def _rules(path: Path) -> list[Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(Problem(f"{path} cannot be read: {error}", hint="check the path and the syntax")) from error
    if isinstance(content, Mapping):
        content = [{name: rule} for name, rule in content.items()]
    if not isinstance(content, list):
        raise UsageError(Problem(f"{path} holds no rules", hint="write a list of named rules, each with a pattern"))
    return content


def _body(rule: Any) -> Mapping[str, Any]:
    """What a rule says: itself, or what stands under its name."""
    if not isinstance(rule, Mapping):
        return {}
    inner = list(rule.values())
    return inner[0] if len(inner) == 1 and isinstance(inner[0], Mapping) else rule
