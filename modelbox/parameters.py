"""The named parameters of a request: legal ones with the box's defaults beside them, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelbox.box_file import Box, Parameter, Value
from modelbox.refusal import Reason, Refusal

TEXT_PARAMETERS: dict[str, Parameter] = {
    "max_tokens": Parameter(type="integer", default=16, minimum=1, about="The longest answer, in tokens."),
    "temperature": Parameter(type="number", default=0.0, minimum=0, maximum=2, about="0 takes the likeliest token."),
    "top_p": Parameter(type="number", default=1.0, minimum=0.001, maximum=1, about="Share of probability drawn from."),
    "top_k": Parameter(type="integer", default=0, minimum=0, about="Tokens drawn from; 0 for all."),
    "seed": Parameter(type="integer", default=0, minimum=0, maximum=2**32 - 1, about="Of what is drawn."),
    "n": Parameter(type="integer", default=1, minimum=1, maximum=16, about="Answers to each prompt."),
}
"""What a text model understands. box.yaml may narrow them, and give other defaults."""


def known(box: Box) -> dict[str, Parameter]:
    """The parameters that a box's requests may have."""
    return {**(TEXT_PARAMETERS if box.is_text else {}), **box.parameters}


def legal(box: Box, given: Mapping[str, Any]) -> dict[str, Value]:
    """The given parameters and the defaults of the others. Raises Refusal for the first one that is not legal."""
    rules = known(box)
    for name, value in given.items():
        if name not in rules:
            listed = ", ".join(rules) or "it has none"
            raise Refusal(Reason.INVALID, f"{box.name} has no parameter {name!r}: {listed}", parameter=name)
        if fault := rules[name].fault(value):
            raise Refusal(Reason.INVALID, f"{name} is {value!r}: {fault}", parameter=name)
    defaults = {name: rule.default for name, rule in rules.items() if rule.default is not None}
    return {**defaults, **given}
