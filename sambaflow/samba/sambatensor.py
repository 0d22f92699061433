"""SambaTensor: a torch tensor with a name, a batch dimension, and a copy of its own on the device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ir.errors import Problem, UsageError
from sambaflow.samba._tensor.contracts import OnDevice
from sambaflow.samba._tensor.overrides import promoted

Materializer = Callable[..., Tensor]

_CARRIED = ("sn_name", "batch_dim", "named_dims", "sized_dims", "_region_name", "host_memory", "mem_type")
"""Attributes that a cast hands on."""

_CASTS = frozenset(
    getattr(torch.Tensor, name)
    for name in ("to", "type", "type_as", "float", "double", "half", "bfloat16", "bool", "char", "byte", "short",
                 "int", "long", "contiguous")
)  # fmt: skip


@dataclass
class Consumer:
    """A traced operator that reads a tensor. `inputs` are the tensors it reads: those of the program, None for what is
    computed on the way."""

    name: str
    inputs: list[Tensor | None]


class SambaTensor(torch.Tensor):  # type: ignore[misc]
    """A `torch.Tensor` that shares memory with the tensor it was made from and can be bound to a symbol on the device.

    sn_name: the name of its symbol; inputs of a run are matched by it. batch_dim: the axis of samples, or None.
    Without `torch_tensor` it is empty: it has `shape` and `dtype`, and `materializer` can give it content later.
    Made inside a forward that is being traced, it is the tensor itself: what is computed from it stays in the graph.
    """

    sn_name: str | None = None
    batch_dim: int | None = None
    named_dims: Any = None
    sized_dims: Any = None
    host_memory: bool = False
    mem_type: Any = None
    materializer: Materializer | None = None
    on_device: OnDevice | None = None
    traced: object | None = None
    """The trace that made it, on outputs of one."""
    consumers: tuple[Consumer, ...] = ()
    _region_name: str | None = None

    @staticmethod
    def __new__(
        cls,
        torch_tensor: Tensor | None = None,
        shape: Sequence[int] | None = None,
        dtype: torch.dtype | None = None,
        name: str | None = None,
        batch_dim: int | None = None,
        named_dims: Any = None,
        sized_dims: Any = None,
        materializer: Materializer | None = None,
        is_complex: bool | None = None,
        region_name: str | None = None,
    ) -> SambaTensor:
        if torch_tensor is None:
            if shape is None:
                raise UsageError(
                    Problem("an empty SambaTensor needs a shape", hint="give a tensor, or shape and dtype")
                )
            torch_tensor = torch.empty(tuple(shape), dtype=dtype, device="meta")
        if is_tracing():
            return torch_tensor  # type: ignore[no-any-return]
        tensor: SambaTensor = _shared(torch_tensor, cls)
        tensor.sn_name = name if name is not None else getattr(torch_tensor, "sn_name", None)
        tensor.batch_dim = batch_dim
        tensor.named_dims = named_dims
        tensor.sized_dims = sized_dims
        tensor.materializer = materializer
        tensor._region_name = region_name
        return tensor

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Everything is done when the tensor is made."""
        super().__init__()

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """PyTorch's function on mixed precisions that the device accepts; results are SambaTensors. What changes only
        the element type or the layout keeps the name."""
        arguments, named = promoted(func, tuple(args), kwargs or {})
        result = torch.Tensor.__torch_function__.__func__(SambaTensor, func, (SambaTensor,), arguments, named)
        return carried(arguments[0], result) if func in _CASTS else result

    # -- content ------------------------------------------------------------------------------------------------

    def torch(self) -> Tensor:
        """The same content as a plain torch tensor, sharing memory and autograd history."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.as_subclass(torch.Tensor)

    def torch_tensor(self) -> Tensor:
        """The same content as a plain torch tensor without history."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.detach().as_subclass(torch.Tensor)

    @property
    def data(self) -> Tensor:
        """The content as a plain torch tensor."""
        return self.torch_tensor()

    @data.setter
    def data(self, tensor: Tensor) -> None:
        with torch._C.DisableTorchFunctionSubclass():
            if tensor.device == self.device:
                torch.Tensor.data.__set__(self, tensor)
                return
            other = torch.Tensor._make_subclass(type(self), tensor.detach(), self.requires_grad)
            other.__dict__.update(self.__dict__)
            torch.utils.swap_tensors(self, other)

    @property
    def dsts(self) -> list[Consumer]:
        """The operators that read this tensor, an input, when its model was last traced. To look at: a changed list
        changes nothing, for graphs are captured from forward."""
        return [Consumer(consumer.name, list(consumer.inputs)) for consumer in self.consumers]

    @property
    def has_data(self) -> bool:
        """Whether there is content, not shape and element type alone."""
        return str(self.device) != "meta"

    def clear_data(self) -> None:
        """Give the content back to the host's memory; shape and element type stay."""
        self.data = torch.empty(self.shape, dtype=self.dtype, device="meta")

    def numpy(self, *, force: bool = False) -> Any:
        """The content as a NumPy array sharing memory."""
        return self.torch().numpy(force=force)

    # -- the device ---------------------------------------------------------------------------------------------

    @property
    def sn_data(self) -> Tensor:
        """A copy of the device's content; the host's where the tensor is not on the device."""
        return self.torch_tensor().clone() if self.on_device is None else self.on_device.content()

    @property
    def sn_grad(self) -> SambaTensor | None:
        """The gradient on the device, None where there is none; on outputs, what back-propagation starts from."""
        gradient = self.on_device.gradient() if self.on_device is not None else None
        if gradient is None:
            return None
        return SambaTensor(gradient, name=f"{self.sn_name}__grad", batch_dim=self.batch_dim)

    @sn_grad.setter
    def sn_grad(self, gradient: Any) -> None:
        if self.on_device is None:
            raise UsageError(
                Problem(
                    f"{self.sn_name or 'this tensor'} is not on the device, so it has no gradient there",
                    hint="assign sn_grad to an output of samba.utils.trace_graph or samba.session.run",
                )
            )
        self.on_device.set_gradient(gradient)

    @property
    def sn_region_name(self) -> str | None:
        """The region of device memory; tensors of several graphs with one region share it. Default: the name."""
        return self._region_name or self.sn_name

    @sn_region_name.setter
    def sn_region_name(self, name: str | None) -> None:
        self._region_name = name

    def rdu(self) -> SambaTensor:
        """Copy host to device; the tensor itself is returned."""
        if self.on_device is not None:
            self.on_device.write(self.torch_tensor())
        return self

    def cpu(self, *arguments: Any, **named: Any) -> SambaTensor:
        """Copy device to host, into this tensor's memory; the tensor itself is returned."""
        if self.on_device is not None:
            with torch.no_grad():
                self.torch_tensor().copy_(self.on_device.memory)
        return self

    cpu_ = cpu

    # -- copies ---------------------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled as the plain tensor it holds, so that plain `torch.load` reads it anywhere."""
        return self.torch_tensor().requires_grad_(self.requires_grad).__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[Any, Any]) -> Any:
        """A tensor of its own, with the same name and attributes but not on the device."""
        if id(self) in memo:
            return memo[id(self)]
        content = copy.deepcopy(self.torch_tensor(), memo)
        result = torch.Tensor._make_subclass(type(self), content, self.requires_grad)
        result.__dict__.update({key: value for key, value in self.__dict__.items() if key != "on_device"})
        memo[id(self)] = result
        return result

    def __format__(self, format_spec: str) -> str:
        """A single number as the format says, as torch does for its own tensors."""
        return format(self.torch_tensor(), format_spec) if self.dim() == 0 else super().__format__(format_spec)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        """The name, and the content as torch prints it."""
        name = f"{self.sn_name!r}, " if self.sn_name else ""
        batch = f"batch_dim={self.batch_dim}, " if self.batch_dim is not None else ""
        with torch._C.DisableTorchFunctionSubclass():
            content = repr(self.detach().as_subclass(torch.Tensor))
        return f"{type(self).__name__}({name}{batch}{content.removeprefix('tensor(')}"


def is_tracing() -> bool:
    """Whether tensors stand for values of a graph."""
    return bool(torch._C._len_torch_dispatch_stack()) or bool(torch.compiler.is_compiling())


def carried(tensor: Any, result: Any) -> Any:
    """`result`, called what the tensor is called that it was cast from."""
    if result is not tensor and isinstance(tensor, SambaTensor) and isinstance(result, SambaTensor):
        result.__dict__.update({key: tensor.__dict__[key] for key in _CARRIED if key in tensor.__dict__})
    return result


def _shared(tensor: Tensor, cls: type) -> Any:
    """`tensor` as `cls`, on the same memory, with its autograd history if it has any."""
    with torch._C.DisableTorchFunctionSubclass():
        if tensor.grad_fn is not None:
            return tensor.as_subclass(cls)
        return torch.Tensor._make_subclass(cls, tensor.detach(), tensor.requires_grad)


def from_torch_tensor(
    torch_tensor: Any,
    name: str | None = None,
    batch_dim: int | None = None,
    named_dims: Any = None,
    sized_dims: Any = None,
    region_name: str | None = None,
) -> SambaTensor:
    """The tensor as a SambaTensor that shares its memory. Anything `torch.as_tensor` takes is accepted."""
    tensor = torch_tensor if isinstance(torch_tensor, Tensor) else torch.as_tensor(torch_tensor)
    return SambaTensor(
        tensor, name=name, batch_dim=batch_dim, named_dims=named_dims, sized_dims=sized_dims, region_name=region_name
    )


def from_named_dict(tensors: Mapping[str, Tensor], batch_dim: int | None = None) -> dict[str, SambaTensor]:
    """Named SambaTensors of a dict name -> tensor, as the input of a run."""
    return {name: from_torch_tensor(tensor, name=name, batch_dim=batch_dim) for name, tensor in tensors.items()}


def to_torch(tensor: Any) -> Any:
    """A SambaTensor as a plain torch tensor; containers element by element; anything else as it is."""
    if isinstance(tensor, SambaTensor):
        return tensor.torch()
    if isinstance(tensor, (list, tuple)):
        return type(tensor)(map(to_torch, tensor))
    if isinstance(tensor, dict):
        return {key: to_torch(value) for key, value in tensor.items()}
    return tensor
