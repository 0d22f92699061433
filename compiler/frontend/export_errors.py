"""What PyTorch could not trace, in the user's terms."""

from __future__ import annotations

import re
import traceback

from compiler.frontend.locations import Locator, innermost_frame, is_users
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.workarounds import SAME_SIZE, workaround
from ir.errors import Problem
from ir.location import Location

CONTROL_FLOW = (
    "the model's control flow depends on the values of a tensor",
    "both branches must be part of the graph: choose with torch.where(condition, a, b), or decide from a Python "
    "value or a shape, which are known when compiling",
)
LEAVES_PYTORCH = (
    "the model leaves PyTorch: it turns a tensor into a NumPy array or hands its memory to other code",
    "write it with torch's functions, or move it out of forward, to the host's side of the run",
)
NUMBER_READ = (
    "a number is read from a tensor into Python, by item(), tolist(), int(), float() or bool()",
    "keep it a tensor: arithmetic with tensors of one element runs on the device",
)
"""What tracing stops at, and what to write instead."""

RULES: tuple[tuple[str, str, str], ...] = (
    (
        r"GuardOnDataDependent|data-dependent|_local_scalar_dense|Could not guard|Could not extract specialized",
        *CONTROL_FLOW,
    ),
    (
        r"active mode .*Interception.* not registered",
        "operators that take functions, such as torch.cond, while_loop, scan and flex_attention, are not supported",
        "compute both branches and choose with torch.where(condition, a, b); write a loop in Python; for attention, "
        "use scaled_dot_product_attention with a mask",
    ),
    (
        r"not linked with support for|not compiled with|No CUDA GPUs|Found no NVIDIA",
        "forward moves a tensor to a device that this PyTorch does not have",
        "leave it out, or follow the input: `tensor.to(x.device)`",
    ),
    (
        r"nested_tensor",
        "nested tensors are not supported",
        "pad the parts to one length, and keep a mask of what is padding",
    ),
    (
        r"Creating a new Tensor subclass|Multiple dispatch failed for",
        "forward computes with tensors of a class of its own",
        "compute with plain tensors, and write what the class does in forward",
    ),
    (
        r"PackedParams",
        "the model is quantised, and its weights are packed for the host",
        "give the model as it was before; --graphamp-preset chooses the device's precision",
    ),
    (r"\.numpy\(\) is not supported|Cannot access data pointer|__array__|can't convert .* to numpy", *LEAVES_PYTORCH),
    (
        r"missing a required argument|unexpected keyword argument|got multiple values|required positional argument",
        "the inputs do not match the parameters of the model's forward",
        "name the inputs after forward's parameters",
    ),
)
"""Pattern in the error PyTorch raises, what it means, what to write instead. The first match counts."""


def known_cause(text: str) -> tuple[str, str] | None:
    """What an error of PyTorch's tracing means and what to write instead, None where no rule knows it."""
    return next(((message, hint) for pattern, message, hint in RULES if re.search(pattern, text)), None)


def explain(error: BaseException, locator: Locator, spec: ModelSpec, where: Location | None = None) -> Problem:
    """One problem at the user's line, found in the exception unless given, for what PyTorch's tracing raised."""
    text = f"{type(error).__name__}: {error}"
    where = where or _location(error, locator)
    known = known_cause(text)
    if known is not None and not (isinstance(error, TypeError) and _is_inside(error)):
        return Problem(known[0], where, known[1])
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    first = first.replace("FakeTensor", "Tensor")  # what stands for a tensor while tracing is no concern of the user's
    empty = [name for name, tensor in spec.inputs.items() if not tensor.numel()]
    if isinstance(error, ZeroDivisionError) and empty:
        what = f"input {empty[0]} has no elements, and the model divides by their number"
        return Problem(what, where, "give it at least one: what is compiled has the size of its samples")
    hint = f"check that the model runs on its inputs ({_shapes(spec)}) in plain PyTorch"
    return Problem(f"PyTorch could not trace the model: {first}", where, hint)


def unknown_size(name: str) -> tuple[str, str]:
    """What to say of the ATen operator called `name`, whose result has as many elements as values decide."""
    return f"the size of what {name} returns depends on the values of a tensor", workaround(name, SAME_SIZE)


def _is_inside(error: BaseException) -> bool:
    """Whether something was raised within forward, rather than by calling it."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(is_users(frame.filename) for frame in frames)


def _location(error: BaseException, locator: Locator) -> Location:
    """The innermost user's line among the error's own traceback and those quoted in its message."""
    frames = [f'File "{frame.filename}", line {frame.lineno}' for frame in traceback.extract_tb(error.__traceback__)]
    found = innermost_frame("\n".join(frames)) or innermost_frame(str(error))
    file, line = found or (str(locator.file), locator.line)
    return Location(locator.shown(file), line)


def _shapes(spec: ModelSpec) -> str:
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in spec.inputs.items())
