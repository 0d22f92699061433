"""What programs ask of a session that changes nothing on the simulated device: accepted, and kept to be read."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ir.errors import Problem, UsageError
from ir.reading import what_went_wrong
from pef.wording import listed
from sambaflow.logging import samba_logger


@dataclass
class DimInfo:
    """A dimension that a program calls dynamic: its name, and whatever else it says."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


class AcceptedCalls:
    """The part of a session that only hardware, or another compiler, would follow."""

    def __init__(self) -> None:
        self.dynamic_dims: dict[str, DimInfo] = {}
        self.aux_tensors: dict[str, Tensor] = {}
        self._earlier_aux: set[str] = set()
        self._directives: dict[str, Any] = {}

    def begin_trace(self) -> None:
        """From now on auxiliary tensors replace those of earlier traces."""
        self._earlier_aux = set(self.aux_tensors)

    def add_aux_tensor(self, tensor: Tensor, name: str) -> Tensor:
        """Name a tensor that a graph needs beside its inputs; it is kept in `aux_tensors`, and replaces the one of this
        name that an earlier trace added. Tensors that a model holds are constants of its graph in any case. Raises
        UsageError for a name that is taken, or is none."""
        if not self.is_valid_aux_tensor_name(name) and self.aux_tensors.get(name) is not tensor:
            hint = f"give text that is not one of {listed(list(self.aux_tensors))}" if self.aux_tensors else "give text"
            raise UsageError(Problem(f"{name!r} cannot name an auxiliary tensor", hint=hint))
        self.aux_tensors[name] = tensor
        self._earlier_aux.discard(name)
        return tensor

    def is_valid_aux_tensor_name(self, name: str) -> bool:
        """Whether an auxiliary tensor may be called so: it is text, and no other one of this trace is."""
        taken = self.aux_tensors.keys() - self._earlier_aux
        return isinstance(name, str) and bool(name) and name not in taken

    def create_dynamic_dim(self, name: str, *values: Any, **options: Any) -> DimInfo:
        """Accept a dimension as dynamic. Graphs are static: each is compiled for the sizes of its inputs."""
        samba_logger.warning("dynamic dimensions are recorded only: a graph has the sizes of its inputs", log_limit=1)
        given = {"values": list(values), **options} if values else options
        self.dynamic_dims[name] = DimInfo(name, given)
        return self.dynamic_dims[name]

    def load_dynamic_dims_config(self, config: str | Path | Mapping[str, Any]) -> dict[str, DimInfo]:
        """Accept the dimensions of a YAML or JSON file, or of a mapping, by name. Raises UsageError for other files."""
        for name, options in _dimensions(config).items():
            if isinstance(options, Mapping):
                self.create_dynamic_dim(str(name), **{str(key): value for key, value in options.items()})
            else:
                self.create_dynamic_dim(str(name), options)
        return self.dynamic_dims

    def enable_pinned_memory(self) -> None:
        """Accepted: host memory needs no pinning for the simulated device."""

    def disable_pinned_memory(self) -> None:
        """Accepted: host memory is not pinned for the simulated device."""

    @staticmethod
    def disable_lazy_param() -> None:
        """Accepted: parameters are lazy only inside `lazy_param()`."""

    @contextmanager
    def disable_graphamp(self) -> Iterator[None]:
        """Accepted: a precision preset counts for the whole model."""
        yield

    def use_static_functional(self) -> bool:
        """Whether graphs are static: they always are."""
        return True

    def atexit_register(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Have `function` called when the program ends."""
        atexit.register(function, *arguments, **named)

    @contextmanager
    def _add_directives(self, directives: Mapping[str, Any]) -> Iterator[None]:
        """Directives count inside; outer ones are back afterwards."""
        before = self._directives
        self._directives = {**before, **directives}
        try:
            yield
        finally:
            self._directives = before

    @property
    def _context_directives(self) -> dict[str, Any]:
        return dict(self._directives)


def _dimensions(config: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    import yaml

    if isinstance(config, Mapping):
        return config
    try:
        content = yaml.safe_load(Path(config).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(
            Problem(f"{config} cannot be read: {what_went_wrong(error)}", hint="check the path and the syntax")
        ) from error
    if not isinstance(content, Mapping):
        raise UsageError(Problem(f"{config} holds no mapping", hint="write lines like `sequence: {max: 512}`"))
    return content
