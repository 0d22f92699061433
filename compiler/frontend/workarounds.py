"""What to write instead of operators that the device does not have."""

from __future__ import annotations

WORKAROUNDS: dict[str, str] = {
    "topk": "use argmax or amax on the device, and rank the outputs on the host",
    "sort": "sort on the host, before or after the run",
    "argsort": "sort on the host, before or after the run",
    "cumsum": "sum floating-point numbers",
    "index": "use index_select or an embedding for rows, slices for ranges, torch.where for masks",
    "index_put": "use torch.where with a mask, or build the tensor with torch.cat",
    "scatter": "use torch.where with a one-hot mask",
    "scatter_add": "use a one-hot matrix product",
    "rand": "make random numbers on the host and pass them as an input",
    "randn": "make random numbers on the host and pass them as an input",
    "rand_like": "make random numbers on the host and pass them as an input",
    "randn_like": "make random numbers on the host and pass them as an input",
    "randint": "make random numbers on the host and pass them as an input",
    "bernoulli": "make random numbers on the host and pass them as an input",
    "flip": "reverse on the host, before or after the run, or multiply by a reversed identity matrix",
    "prod": "sum the logarithms, where the factors are positive",
    "convolution": "use Conv1d or Conv2d",
    "upsample_nearest2d": "repeat by reshape and expand",
    "item": "leave it a tensor: tensors without dimensions take part in arithmetic",
    "_local_scalar_dense": "leave it a tensor: tensors without dimensions take part in arithmetic",
    "linalg_inv_ex": "solve on the host, before or after the run",
}
"""By the operator's name without namespace and trailing underscore."""


def workaround(name: str) -> str:
    """What to try instead of the ATen operator called `name`, such as `aten.topk`."""
    default = "express it with other operators, or compute it on the host, before or after the run"
    return WORKAROUNDS.get(name.rpartition(".")[2].rstrip("_"), default)
