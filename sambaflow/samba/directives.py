"""Directives around parts of forward: what belongs into one section, which --o1 follows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from torch import nn
from torch.fx import traceback

from compiler.frontend.locations import REGION

_ids = itertools.count()
_last_id = 0


class op_fusion:
    """`with op_fusion(func_name='Encoder'): ...` inside forward, or `op_fusion(module, 'Encoder')` on a module.

    At --o1 what is computed inside becomes one section, and so does its gradient, each time that it is entered;
    with `reuse_last_id` it belongs to the section of the last one entered. `heuristic` is recorded and shown.
    """

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
        self.reuse_last_id = reuse_last_id
        if isinstance(func_name, nn.Module):
            func_name.op_fusion_name = str(heuristic or type(func_name).__name__)

    def __enter__(self) -> op_fusion:
        global _last_id
        if not self.reuse_last_id:
            _last_id = next(_ids)
        name = getattr(self.func_name, "__name__", self.func_name) or "op_fusion"
        self._annotation = traceback.annotate({REGION: (str(name), str(self.heuristic or ""), _last_id)})
        self._annotation.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._annotation.__exit__(kind, error, trace)


def fused_modules(model: nn.Module) -> dict[str, str]:
    """The modules that `op_fusion(module, name)` marked: name by path."""
    marked = ((path, getattr(module, "op_fusion_name", None)) for path, module in model.named_modules())
    return {path: name for path, name in marked if name}


@contextmanager
def sdpa_directives(directives: Mapping[str, Any] | None = None, **options: Any) -> Iterator[None]:
    """Hints for attention: accepted."""
    yield


@contextmanager
def opfusion_id(identifier: Any = None) -> Iterator[None]:
    """A name for a group of operators: accepted."""
    yield
