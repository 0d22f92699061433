"""What installed packages add by entry points: passes, machines and fusion rules.

A package declares, in its own metadata,

    [project.entry-points."snc.passes"]
    my-pass = "my_package:MyPass"      # a frozen dataclass, as those in compiler/passes

    [project.entry-points."snc.machines"]
    my-rdu = "my_package:machine"      # a Machine, the path of a TOML file, or a function that returns one of them

    [project.entry-points."snc.rules"]
    my-rules = "my_package:rules"      # the path of a YAML file, or a function that returns it

and from then on the names work wherever those of the project's own do. Nothing of a package is imported before its
name is asked for.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ir.errors import Problem, UsageError

PASSES, MACHINES, RULES = "snc.passes", "snc.machines", "snc.rules"


def added(group: str) -> dict[str, EntryPoint]:
    """What packages add to a group, by name."""
    return {entry.name: entry for entry in entry_points(group=group)}


def load_added(group: str, name: str) -> Any:
    """The object that a package adds under this name. Raises UsageError, naming the package, where it does not load."""
    entry = added(group)[name]
    try:
        return entry.load()
    except Exception as error:  # whatever a package of someone else raises
        package = entry.dist.name if entry.dist is not None else "an installed package"
        what = f"{entry.value}, which {package} adds to {group} as {name!r}, does not load"
        raise UsageError(
            Problem(f"{what}: {type(error).__name__}: {error}", hint="repair or uninstall the package")
        ) from error
