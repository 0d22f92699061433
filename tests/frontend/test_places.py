"""Choosing elements by their values: refused, but from a tensor without elements, where nothing depends on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.frontend.sweep_cases import Call
from tests.frontend.sweep_check import Status, check

TOLERANCES = (1e-5, 1e-5)
CHOOSING: dict[str, Callable[[Tensor], Any]] = {
    "argwhere": torch.argwhere,
    "nonzero": torch.nonzero,
    "nonzero of each axis": lambda x: x.nonzero(as_tuple=True),
    "where": lambda x: torch.where(x > 0),
    "masked_select": lambda x: x.masked_select(x > 0),
    "masked_select by a column": lambda x: x.masked_select(x[:, :1] > 0),
    "a mask": lambda x: x[x > 0],
    "a mask of rows": lambda x: x[x.sum(1) > 0],
    "a mask of columns": lambda x: x[:, x.sum(0) > 0],
}


@pytest.mark.parametrize("choose", CHOOSING.values(), ids=CHOOSING)
def test_nothing_is_chosen_from_no_elements(choose: Callable[[Tensor], Any]) -> None:
    def function(x: Tensor) -> Any:
        return x.sum(), choose(x[:0, :0])

    outcome = check([Call(function, [torch.randn(3, 4, requires_grad=True)], {})], TOLERANCES)[0]
    assert outcome.status is Status.EQUAL, outcome


@pytest.mark.parametrize("choose", CHOOSING.values(), ids=CHOOSING)
def test_elements_are_not_chosen_by_their_values(choose: Callable[[Tensor], Any]) -> None:
    outcome = check([Call(choose, [torch.randn(3, 4, requires_grad=True)], {})], TOLERANCES)[0]
    assert "returns depends on the values of a tensor" in outcome.reason
