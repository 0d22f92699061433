"""Metadata in a PEF: what goes in when compiling comes back when running."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from pef import file
from pef.wording import listed
from sambaflow.samba._capture.convert import model_name
from sambaflow.samba._device import agreement


@dataclass
class PefInfoStruct:
    """A field to read from a PEF. `mock` takes the place of what a program without a PEF would find."""

    mock: Any = None


def get_pefmeta(args: argparse.Namespace | Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """What describes a compile: the arguments, the command line, the model. Programs may add to it.

    There is no time in it: two compiles of one program give the same PEF.
    """
    return get_pefmeta_dict(args if isinstance(args, Mapping) else vars(args), model)


def get_pefmeta_dict(args: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """The same from a dict of arguments."""
    import sambaflow

    return {
        "command_line": " ".join(sys.argv),
        "model": model_name(model),
        "sambaflow_version": sambaflow.__version__,
        "user": os.environ.get("USER", ""),
        **dict(args),
    }


def get_pef_info(pef: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `fields` from a PEF's metadata, exactly as they were stored. Raises ValueError for absent ones."""
    stored = agreement.metadata(file.read(pef), pef)["metadata"]
    absent = [name for name in fields if name not in stored]
    if absent:
        raise ValueError(f"{pef} holds no {listed(absent)}; it holds {listed(sorted(stored))}")
    return {name: stored[name] for name in fields}
