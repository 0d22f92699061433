"""The runners' command lines: Hydra's `key=value`, `+key=value` and `--config-name`, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from transformers.utils.logging import disable_progress_bar

from ir.ending import readable_errors, show_messages
from ir.errors import Problem, UsageError
from modelzoo.runners.schema import Application, without_other_group

CONFIGS = str(Path(__file__).parent / "config")
PATHS = (
    ("checkpoint", "config_name"),
    ("checkpoint", "model_name_or_path"),
    ("samba_run", "pef"),
    ("samba_compile", "output_folder"),
    ("samba_compile", "optimization_rules"),
    ("training", "dataset"),
    ("training", "output_dir"),
    ("generation", "output_dir"),
)
"""Settings that are relative to where the command was given."""

Settings = TypeVar("Settings", bound=Application)


def run(kind: type[Settings], config_name: str, action: Callable[[Settings], None]) -> None:
    """Read the command line over a configuration file and act on it; errors end as those of `snc` do."""
    show_messages()
    disable_progress_bar()

    def main(found: DictConfig) -> None:
        with readable_errors():
            action(read(kind, found))

    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise what Hydra refuses; it would end the process with status 1 by itself
    try:
        hydra.main(version_base="1.3", config_path=CONFIGS, config_name=config_name)(main)()
    except (HydraException, OmegaConfBaseException) as error:
        what = next(line for line in str(error).splitlines() if line).removesuffix(".")
        hint = "--help shows the settings: group.key=value; +group.key=value adds one that the file does not have"
        with readable_errors():
            raise UsageError(Problem(what, hint=hint)) from error


def read(kind: type[Settings], found: DictConfig) -> Settings:
    """The settings, with absolute paths. Raises UsageError that names every key that is wrong, missing or unknown."""
    plain: Any = OmegaConf.to_container(found, resolve=True)
    settings = without_other_group(plain)
    try:
        return kind.model_validate(_absolute(settings))
    except ValidationError as error:
        raise UsageError(*(_problem(detail) for detail in error.errors())) from error


def _absolute(settings: dict[str, Any]) -> dict[str, Any]:
    for group, key in PATHS:
        given = settings.get(group) or {}
        if isinstance(given, dict) and given.get(key):
            given[key] = hydra.utils.to_absolute_path(str(given[key]))
    return settings


def _problem(detail: Any) -> Problem:
    key = ".".join(str(part) for part in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        return Problem(f"there is no setting {key}", hint="check its name; settings stand in groups: group.key=value")
    if detail["input"] is None:
        return Problem(f"{key} is not given", hint=f"add {key}=...")
    return Problem(f"{key}: {message}" if key and not message.startswith("give ") else message)
