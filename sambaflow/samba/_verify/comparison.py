"""Comparing tensors of host and device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sambaflow.logging import samba_logger
from sambaflow.samba._verify.judge import verdict_on
from sambaflow.samba.sambatensor import to_torch
from sambaflow.samba.session import current_session


def assert_close(
    a: Any, b: Any, name: str = "", threshold: float = 1e-3, rtol: float = 0.0, visualize: bool = False, **options: Any
) -> None:
    """Raise AssertionError unless |a - b| <= threshold + rtol |b| everywhere; any mix of torch and Samba tensors.

    None on both sides, such as the gradients of a parameter that nothing uses, agree with a warning. Of outputs and
    gradients of the last run the message says whether float64 takes the difference for a fault or for rounding that
    float32 cannot help; the verb `test` goes on with a warning in the second case.
    """
    label = name or "tensors"
    if a is None and b is None:
        samba_logger.warning("%s: there is nothing to compare on either side", label)
        return
    for value in (a, b):
        if value is None:
            raise AssertionError(f"{label}: one of the two is None, such as a gradient that no section has made yet")
    first, second = _plain(a), _plain(b)
    if first.shape != second.shape:
        raise AssertionError(f"{label}: shapes {list(first.shape)} and {list(second.shape)} differ")
    difference = (first - second).abs()
    allowed = threshold + rtol * second.abs()
    wrong = ~(difference <= allowed)
    if wrong.any():
        index = tuple(int(i) for i in wrong.nonzero()[0])
        message = (
            f"{label}: {int(wrong.sum())} of {wrong.numel()} elements differ by over {threshold:g} + {rtol:g} |b|; "
            f"first at {list(index)}: {first[index]:g} and {second[index]:g}; largest difference {difference.max():g}"
        )
        verdict = verdict_on(first, second)
        if verdict is not None and verdict.is_chaos and current_session().arguments.get("command") == "test":
            samba_logger.warning("%s; %s", message, verdict)
            return
        raise AssertionError(message if verdict is None else f"{message}; {verdict}")


def _plain(value: Any) -> Tensor:
    return torch.as_tensor(to_torch(value)).detach().to(torch.float64)
