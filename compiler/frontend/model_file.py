"""Loading a model from a user's Python file.

A model file defines, at module level,

    model           an nn.Module, or a callable without arguments that returns one (such as its class)
    inputs          a dict name -> tensor or a tuple of tensors matching the parameters of the model's forward,
                    or a function inputs(batch_size) that returns one; the tensors are samples, only their shapes
                    and element types matter; None, numbers and text beside them are part of the call
    optimizer       optional: a torch.optim.Optimizer over the model's parameters, or a function that takes the
                    parameters and returns one
    loss, targets   optional: where forward returns the loss neither first nor as `loss` of a dict, loss(outputs,
                    *targets) computes it from what forward returned; targets are given the way inputs are
    max_grad_norm   optional: clip the global norm of the gradients to this

`model.py:name` takes these from `name` instead: an object or class with the same attributes, or a function without
arguments that returns such an object or a tuple (model, inputs[, optimizer[, loss]]).
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from compiler.frontend.locations import make_importable
from compiler.optimizers import OptimizerSpec
from ir.errors import Problem, UsageError
from ir.location import Location
from pef.files import readable_refusal

Result = TypeVar("Result")


def call_with_inputs(model: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """What `model` returns for inputs named after forward's parameters, or in order where forward takes *tensors."""
    parameters = inspect.signature(model.forward).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return model(*inputs.values())
    return model(**inputs)


CONSTANTS = (bool, int, float, str, type(None))
"""What may stand among the inputs beside tensors: it is part of the call, the same in every run."""


@dataclass(frozen=True)
class _CallWithConstants:
    """`call` with some of the inputs fixed, in the order in which all inputs were given."""

    call: Callable[[nn.Module, Mapping[str, Tensor]], Any]
    given: Mapping[str, Any]

    def __call__(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> Any:
        return self.call(model, {name: tensors.get(name, constant) for name, constant in self.given.items()})


@dataclass(frozen=True)
class ModelSpec:
    """A model with all that is needed to compile it.

    `inputs` and `targets` are sample tensors by name, in the order of forward's (loss's) parameters; None, numbers and
    text among the inputs become part of `call`, and `inputs` holds the tensors alone. `loss` maps
    forward's outputs and the targets to the loss; without it, forward returns the loss itself, first or as `loss`.
    `max_grad_norm` of None means gradients are not clipped. `file` is where the model was written. `call` is how the
    model is called with its inputs. With `every_gradient`, back-propagation can start from every differentiable
    output, not from the losses alone: the gradients of outputs that are no loss start from zeros. `regions` names
    modules, by their paths, that o1 makes one section each.
    """

    model: nn.Module
    inputs: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer | OptimizerSpec | None = None
    loss: Callable[..., Tensor] | None = None
    max_grad_norm: float | None = None
    name: str = "model"
    file: Path = Path("model.py")
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    call: Callable[[nn.Module, Mapping[str, Tensor]], Any] = call_with_inputs
    every_gradient: bool = False
    regions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given: Mapping[str, Any] = self.inputs
        wrong = [name for name, value in given.items() if not isinstance(value, (Tensor, *CONSTANTS))]
        hint = "give tensors; None, numbers and text are taken as part of the call"
        UsageError.raise_if(
            [Problem(f"input {name} is of type {type(given[name]).__name__}", hint=hint) for name in wrong]
        )
        if all(isinstance(value, Tensor) for value in given.values()):
            return
        fixed = {name: None if isinstance(value, Tensor) else value for name, value in given.items()}
        object.__setattr__(self, "call", _CallWithConstants(self.call, fixed))
        object.__setattr__(self, "inputs", {n: value for n, value in given.items() if isinstance(value, Tensor)})


def load_model(path: str, batch_size: int | None = None, seed: int = 0) -> ModelSpec:
    """The model in the file at `path`, written `model.py` or `model.py:name`; `seed` seeds its initial weights.

    Raises UsageError where the file cannot be loaded or does not follow the convention.
    """
    file, name = _split(path)
    torch.manual_seed(seed)
    source = _named(_import_file(file), name, file)
    loader = _Loader(source, file)
    model = loader.model()
    inputs = loader.tensors("inputs", batch_size, _parameter_names(model.forward))
    loss = getattr(source, "loss", None)
    targets: dict[str, Tensor] = {}
    if hasattr(source, "targets"):
        targets = loader.tensors("targets", batch_size, _parameter_names(loss)[1:] if loss else [])
    return ModelSpec(
        model=model,
        inputs=inputs,
        optimizer=loader.optimizer(model),
        loss=loss,
        max_grad_norm=loader.max_grad_norm(),
        name=_program_name(model, file),
        file=file,
        targets=targets,
    )


def _split(path: str) -> tuple[Path, str | None]:
    """The file and the name after its colon, if there is one."""
    head, colon, name = path.rpartition(":")
    if not colon or not head.endswith(".py"):
        head, name = path, ""
    file = Path(head)
    with readable_refusal(file, "read", "check the path"):
        is_file = file.is_file()
    if not is_file:
        raise UsageError(Problem(f"there is no file {head}", hint="give the path of a model file, such as model.py"))
    if file.suffix != ".py":
        raise UsageError(Problem(f"{head} is not a Python file", hint="give the path of a model file ending in .py"))
    if not file.name.isprintable():
        what = f"the name of the file {head!r} has characters that cannot be shown"
        raise UsageError(Problem(what, hint="give it a name in UTF-8"))
    return file.resolve(), name or None


def _import_file(file: Path) -> ModuleType:
    """Run the file as a module, with its folder importable."""
    name = f"snc_model_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    make_importable(file.parent)
    sys.modules[name] = module
    loader = spec.loader
    try:
        _call(lambda: loader.exec_module(module), file, "running the file")
    except UsageError:
        sys.modules.pop(name, None)
        raise
    return module


def _call(action: Callable[[], Result], file: Path, doing: str) -> Result:
    """Run the user's code; what it raises becomes one UsageError at the user's line."""
    try:
        return action()
    except SyntaxError as error:
        where = Location(Path(error.filename or file).name, error.lineno or 1)
        raise UsageError(Problem(f"the file has a syntax error: {error.msg}", where)) from error
    except SystemExit as error:
        hint = "leave out sys.exit(), or put it under `if __name__ == '__main__':`"
        raise UsageError(Problem(f"{doing} ended the program", _line_in(file, error), hint)) from error
    except Exception as error:
        raise UsageError(Problem(f"{doing} raised {type(error).__name__}: {error}", _line_in(file, error))) from error


def _line_in(file: Path, error: BaseException) -> Location:
    """Where in the user's file something was raised."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return Location(file.name, (lines[-1] if lines else None) or 1)


def _named(module: ModuleType, name: str | None, file: Path) -> object:
    """What holds `model`, `inputs` and so on: the module, or what `name` in it stands for."""
    if name is None:
        return module
    if not hasattr(module, name):
        candidates = [key for key, value in vars(module).items() if hasattr(value, "model")]
        hint = f"it defines {', '.join(candidates)}" if candidates else f"define {name} in it, or leave out ':{name}'"
        raise UsageError(Problem(f"{file.name} does not define {name!r}", hint=hint))
    source = getattr(module, name)
    if callable(source) and not hasattr(source, "model"):
        source = _call(source, file, f"calling {name}()")
    if isinstance(source, tuple):
        return SimpleNamespace(**dict(zip(("model", "inputs", "optimizer", "loss"), source)))
    return source


def _program_name(model: nn.Module, file: Path) -> str:
    """What the PEF is called by default: the model's class, or the file where the class is one of PyTorch's own."""
    own = not type(model).__module__.startswith("torch.")
    return type(model).__name__.lower() if own else file.stem


def _parameter_names(function: Callable[..., Any]) -> list[str]:
    """The names of a function's parameters, without * and ** parameters."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind not in variadic]


@dataclass(frozen=True)
class _Loader:
    """Reads the parts of the convention from the attributes of `source`."""

    source: object
    file: Path

    def model(self) -> nn.Module:
        value = getattr(self.source, "model", None)
        if value is None:
            raise self.error("does not define a model", "write `model = MyModule()` at the end of the file")
        if not isinstance(value, nn.Module) and callable(value):
            value = _call(value, self.file, "calling model()")
        if not isinstance(value, nn.Module):
            raise self.error(
                f"defines a model of type {type(value).__name__}",
                "model is an nn.Module or a callable without arguments that returns one",
            )
        return value

    def tensors(self, attribute: str, batch_size: int | None, names: list[str]) -> dict[str, Tensor]:
        """`inputs` or `targets`, by name; `names` are the parameters they are passed to."""
        value = getattr(self.source, attribute, None)
        if value is None:
            example = f"def {attribute}(batch_size=32): return {{'{(names or ['x'])[0]}': torch.randn(batch_size, 64)}}"
            raise self.error(f"does not define {attribute}", f"write `{example}`")
        if batch_size is not None and batch_size < 1:
            raise UsageError(Problem(f"a batch size of {batch_size} is not positive", hint="give one of at least 1"))
        if callable(value):
            value = self.call_with_batch(attribute, value, batch_size)
        tensors = self.by_name(attribute, value, names)
        self.check_batch(attribute, tensors, batch_size)
        return tensors

    def call_with_batch(self, attribute: str, function: Callable[..., Any], batch_size: int | None) -> object:
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters:
            return _call(function, self.file, f"calling {attribute}()")
        if batch_size is not None:
            return _call(lambda: function(batch_size), self.file, f"calling {attribute}({batch_size})")
        if parameters[0].default is inspect.Parameter.empty:
            name = f"{attribute}({parameters[0].name}) of {self.file.name}"
            raise UsageError(Problem(f"{name} needs a batch size", hint="give one, with -b"))
        return _call(function, self.file, f"calling {attribute}()")

    def by_name(self, attribute: str, value: object, names: list[str]) -> dict[str, Tensor]:
        if isinstance(value, Tensor):
            value = (value,)
        if isinstance(value, (tuple, list)):
            if len(value) > len(names):
                names = [*names, *(f"{attribute}_{i}" for i in range(len(names), len(value)))]
            value = dict(zip(names, value))
        allowed = (Tensor, *CONSTANTS) if attribute == "inputs" else (Tensor,)
        items = list(value.values()) if isinstance(value, dict) else []
        if not all(isinstance(item, allowed) for item in items) or not any(isinstance(item, Tensor) for item in items):
            expected = f"{attribute} is a dict name -> tensor or a tuple of tensors"
            raise self.error(f"defines {attribute} that are not tensors", expected)
        assert isinstance(value, dict)
        return {str(name): tensor for name, tensor in value.items()}

    def check_batch(self, attribute: str, tensors: dict[str, Tensor], batch_size: int | None) -> None:
        samples = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
        leading = {tensor.shape[0] for tensor in samples.values() if tensor.dim()}
        if batch_size is None or batch_size in leading:
            return
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in samples.items())
        raise UsageError(
            Problem(
                f"the batch size is {batch_size}, but {attribute} of {self.file.name} are {shapes}",
                hint=f"make {attribute} a function of the batch size: `def {attribute}(batch_size): ...`",
            )
        )

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        value: Any = getattr(self.source, "optimizer", None)
        if value is None or isinstance(value, torch.optim.Optimizer):
            return value
        if callable(value):
            make = value
            value = _call(lambda: make(model.parameters()), self.file, "calling optimizer(parameters)")
        if not isinstance(value, torch.optim.Optimizer):
            raise self.error(
                f"defines an optimizer of type {type(value).__name__}",
                "optimizer is a torch.optim.Optimizer or a function of the parameters that returns one",
            )
        return value

    def max_grad_norm(self) -> float | None:
        value = getattr(self.source, "max_grad_norm", None)
        if value is not None and (not isinstance(value, (int, float)) or value <= 0):
            raise self.error(f"defines max_grad_norm = {value!r}", "max_grad_norm is a positive number")
        return None if value is None else float(value)

    def error(self, message: str, hint: str) -> UsageError:
        return UsageError(Problem(f"{self.file.name} {message}", hint=hint))
