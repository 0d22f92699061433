"""Elementwise functions of numbers at the edge, beside PyTorch: infinities, NaN, zeros, denormal and huge numbers.

PyTorch's vectorised loops disagree with its scalar ones about NaN (the gradients of hardtanh and elu, for example) and
oneDNN's gelu with both, so that its answer depends on the size of a tensor. The reference are the scalar loops, which
it runs where elements do not lie side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir import interpreter
from ir.graph import SymbolKind
from ir.op import Array

Function = Callable[..., Tensor]

POSITIVE = (
    0.0, 1e-40, 2.0**-126, 1e-20, 1e-8, 1e-4, 0.5, 0.99999994, 1.0, 1.0000001, 1.5, 2.0, 2.5, 3.0, 5.3, 6.0, 7.5, 12.5,
    20.0, 88.8, 89.5, 104.0, 16777217.0, 1e10, 1e20, 3.4028235e38, math.inf,
)  # fmt: skip
VALUES = torch.tensor([*chain.from_iterable((x, -x) for x in POSITIVE), math.nan])
PAIRS = tuple(axis.reshape(-1).contiguous() for axis in torch.meshgrid(VALUES, VALUES, indexing="ij"))

RELATIVE, ABSOLUTE = 2e-5, 1e-6
"""Of numbers below 1, the second: gelu and erf are fits whose error does not shrink with them."""
DENORMAL = 2.0**-125
"""What the host's vector units may take for zero."""

UNARY: dict[str, Function] = {
    **{
        name: getattr(torch, name)
        for name in (
            "tanh", "neg", "abs", "exp", "log", "sqrt", "rsqrt", "reciprocal", "sigmoid", "relu", "erf", "sin", "cos",
            "expm1", "exp2", "log1p", "log2", "log10", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh",
            "atanh", "lgamma", "digamma", "floor", "ceil", "trunc", "round", "sign", "square", "frac", "logit", "sinc",
            "nan_to_num", "deg2rad",
        )
    },
    **{
        name: getattr(F, name)
        for name in (
            "silu", "gelu", "leaky_relu", "elu", "selu", "celu", "softplus", "logsigmoid", "mish", "hardswish",
            "hardsigmoid", "hardtanh", "relu6", "softsign", "tanhshrink", "softshrink", "hardshrink",
        )
    },
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "threshold": lambda x: F.threshold(x, 0.1, 20),
    "clamp": lambda x: x.clamp(-1, 1),
    "clamp from below": lambda x: x.clamp(min=0.0),
    "powers": lambda x: x**3 + x**2,
    "fourth power": lambda x: x**4,
    "inverse powers": lambda x: x**-1 + x**-2,
    "roots": lambda x: x**0.5 + x**-0.5,
    "odd power": lambda x: x**1.5,
    "no power": lambda x: x**0,
    "power of two": lambda x: 2**x,
    "times zero": lambda x: x * 0,
    "from one": lambda x: 1 - x,
    "choice": lambda x: torch.where(x > 0, x, -x),
    "masked": lambda x: x.masked_fill(x < 0, -math.inf),
    "half precision": lambda x: x.bfloat16().float(),
    "entropy": torch.special.entr,
    "smooth": lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), reduction="none"),
    "huber": lambda x: F.huber_loss(x, torch.zeros_like(x), reduction="none"),
    "log loss": lambda x: F.binary_cross_entropy_with_logits(x, torch.full_like(x, 0.3), reduction="none"),
    "softmax": lambda x: F.softmax(torch.stack([x, x * 0 + 1], -1), -1)[..., 0],
    "log softmax": lambda x: F.log_softmax(torch.stack([x, x * 0 + 1], -1), -1)[..., 0],
    "interpolation": lambda x: torch.lerp(x, torch.ones_like(x), 0.3),
}  # fmt: skip

BINARY: dict[str, Function] = {
    **{
        name: getattr(torch, name)
        for name in (
            "add", "sub", "mul", "div", "pow", "maximum", "minimum", "atan2", "remainder", "fmod", "logaddexp",
            "logaddexp2", "xlogy",
        )
    },
    "choice": lambda a, b: torch.where(a > b, a, b),
    "clamp": lambda a, b: torch.clamp(a, min=b),
    "distance": lambda a, b: (a - b).abs().pow(0.5),
}  # fmt: skip

TRUTHS: dict[str, Function] = {
    "unary": lambda a, b: torch.isnan(a) + 2.0 * torch.isinf(a) + 4.0 * torch.isfinite(a) + 8.0 * (a == 0) + a.bool(),
    "binary": lambda a, b: (a == b) + 2.0 * (a < b) + 4.0 * (a <= b) + 8.0 * (a > b) + 16.0 * (a != b),
    "quotients": lambda a, b: torch.floor_divide(a, b) * (b != 0),
}

EXCUSED: dict[str, tuple[Callable[..., Array], str]] = {
    "digamma": (lambda x: x < 0, "near its poles PyTorch's series for the gradient is off; at them we have inf"),
    "logit": (lambda x: x == 0, "of the gradient 1 / (x * (1 - x)), PyTorch's loops take the size at -0"),
    **dict.fromkeys(("elu", "selu", "celu"), (np.isnan, "NaN has gradient NaN, as in PyTorch's vectorised loops")),
}
"""Where the two differ, and why."""


class Each(nn.Module):
    """Every function of parameters of its own, so that no gradient meets another."""

    def __init__(self, functions: dict[str, Function], operands: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.functions = list(functions.values())
        self.given = nn.ParameterList(nn.Parameter(x.clone()) for _ in functions for x in operands)
        self.count = len(operands)

    def forward(self, weight: Tensor) -> tuple[Tensor, ...]:
        operands = [tuple(self.given)[i : i + self.count] for i in range(0, len(self.given), self.count)]
        return tuple(function(*own) for function, own in zip(self.functions, operands))


def ours(functions: dict[str, Function], operands: tuple[Tensor, ...], train: bool) -> list[list[Array]]:
    """Of each function the result, and the gradients of its operands where they are asked for."""
    weight = torch.linspace(0.5, 1.5, operands[0].numel())
    model = Each(functions, operands).requires_grad_(train)
    captured = capture(ModelSpec(model, {"weight": weight}, every_gradient=train), inference=not train)
    program = PassManager(standard_pipeline("mp0")).run(captured.program)
    symbols = {**captured.values, "weight": weight.numpy()}
    symbols |= {s.name: weight.numpy() for s in program.symbols if s.kind is SymbolKind.OUTPUT_GRADIENT}
    with np.errstate(all="ignore"):
        for graph in program.graphs:
            symbols |= interpreter.run(graph, symbols)
    outputs = [s.name for s in program.symbols if s.kind is SymbolKind.OUTPUT]
    count = len(operands)
    gradients = [[f"given.{i * count + j}.grad" for j in range(count) if train] for i in range(len(functions))]
    return [[symbols[name] for name in (output, *own)] for output, own in zip(outputs, gradients, strict=True)]


def torchs(function: Function, operands: tuple[Tensor, ...], train: bool) -> list[Array]:
    """The same by PyTorch's scalar loops."""
    apart = [torch.stack([x, x], 1)[:, 0].requires_grad_(train) for x in operands]
    weight = torch.linspace(0.5, 1.5, operands[0].numel())
    with torch.backends.mkldnn.flags(enabled=False):
        result = function(*apart)
        gradients = torch.autograd.grad(result, apart, torch.stack([weight, weight], 1)[:, 0]) if train else ()
    return [tensor.detach().numpy() for tensor in (result, *gradients)]


def agree(found: Array, expected: Array) -> Array:
    """Where both are the same number, or none."""
    with np.errstate(all="ignore"):
        gap = np.abs(found.astype(np.float64) - expected)
        small = (np.abs(expected) < 1) & (np.abs(expected) > 0) | (np.abs(found) < ABSOLUTE)
        bound = np.maximum(RELATIVE * np.abs(expected.astype(np.float64)), np.where(small, ABSOLUTE, DENORMAL))
        both = np.isfinite(found) & np.isfinite(expected)
        return (found == expected) | (np.isnan(found) & np.isnan(expected)) | (both & (gap <= bound))


def differences(functions: dict[str, Function], operands: tuple[Tensor, ...], train: bool) -> list[str]:
    numbers = [x.numpy() for x in operands]
    wrong = []
    for (name, function), found in zip(functions.items(), ours(functions, operands, train), strict=True):
        excuse = EXCUSED.get(name)
        with np.errstate(all="ignore"):
            excused = excuse[0](*numbers) if excuse else np.zeros(len(numbers[0]), bool)
        for which, (one, other) in enumerate(zip(found, torchs(function, operands, train), strict=True)):
            at = np.flatnonzero(~agree(one, other) & ~excused)[:3]
            kind = f"gradient {which}" if which else "result"
            wrong += [f"{name}, {kind} of {[float(x[i]) for x in numbers]}: {one[i]}, not {other[i]}" for i in at]
    return wrong


@pytest.mark.parametrize("train", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("operands", [(VALUES,), PAIRS], ids=["unary", "binary"])
def test_edges_equal_pytorch(operands: tuple[Tensor, ...], train: bool) -> None:
    functions = UNARY if len(operands) == 1 else BINARY
    assert differences(functions, operands, train) == []


def test_truths_at_the_edges_equal_pytorch() -> None:
    assert differences(TRUTHS, PAIRS, train=False) == []


@pytest.mark.parametrize("name", EXCUSED)
def test_what_is_excused_differs(name: str) -> None:
    """An excuse that is no longer needed goes."""
    table, operands = (UNARY, (VALUES,)) if name in UNARY else (BINARY, PAIRS)
    (found,) = ours({name: table[name]}, operands, train=True)
    assert not all(agree(one, other).all() for one, other in zip(found, torchs(table[name], operands, True)))
