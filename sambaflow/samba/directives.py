"""Hints around parts of forward. The compiler chooses sections by modelled time; hints are kept on the module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from torch import nn


class op_fusion:
    """`with op_fusion(func_name='Encoder'): ...` inside forward, or `op_fusion(module, 'Encoder')` on a module."""

    def __init__(
        self,
        func_name: Any = None,
        heuristic: Any = None,
        heuristic_params: Mapping[str, Any] | None = None,
        plugins: Any = None,
        reuse_last_id: bool = False,
        user_annotated: bool = True,
    ) -> None:
        self.func_name = func_name
        self.heuristic = heuristic
        self.heuristic_params = dict(heuristic_params or {})
        if isinstance(func_name, nn.Module):
            func_name.op_fusion_name = heuristic

    def __enter__(self) -> op_fusion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to undo."""


@contextmanager
def sdpa_directives(directives: Mapping[str, Any] | None = None, **options: Any) -> Iterator[None]:
    """Hints for attention: accepted."""
    yield


@contextmanager
def opfusion_id(identifier: Any = None) -> Iterator[None]:
    """A name for a group of operators: accepted."""
    yield
