"""Tracing a model for the PEF that it was compiled to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ir.errors import Problem, UsageError
from sambaflow.logging import samba_logger
from sambaflow.samba._capture import logs
from sambaflow.samba._capture.convert import from_torch_model_, lacks_content
from sambaflow.samba._capture.tracing import Traced, trace
from sambaflow.samba._device import agreement, spatial
from sambaflow.samba.materialize import fill
from sambaflow.samba.optim.optimizer import as_list
from sambaflow.samba.sambatensor import SambaTensor
from sambaflow.samba.session import current_session


def trace_graph(
    model: nn.Module,
    inputs: Any,
    optim: Any = None,
    init_output_grads: bool = True,
    loss_indices: Sequence[Any] | None = None,
    pef: str = "",
    mapping: str = "section",
    data_parallel_mode: str = "normal",
    transfer_device: bool = True,
    **options: Any,
) -> tuple[SambaTensor, ...]:
    """Trace `model`, check it against the PEF, load the PEF, and copy weights and optimizer state to the device;
    parameters that a model built under `lazy_param` lacks get their initial content first. With --mapping spatial and
    --num-spatial-batches N, inputs may be those of N batches.

    Returns the model's outputs and keeps them in `model.output_tensors`. Back-propagation starts from ones at the
    losses (the outputs at `loss_indices`, else those made by a loss operator), zeros elsewhere.
    Raises BindError naming everything in which model and PEF differ.
    """
    session = current_session()
    from_torch_model_(model)
    if transfer_device and lacks_content(model):
        fill(model)
    optimizers = optim if optim is not None else options.get("optimizers")
    path = pef or session.arguments.get("pef") or session.pef_path
    traced = trace(model, spatial.first_batch(inputs, path, session.arguments))
    outputs = session.load(
        traced,
        path,
        optimizers,
        init_output_grads=init_output_grads,
        loss_indices=loss_indices,
        transfer_device=transfer_device,
    )
    logs.announce_idle(session.arguments, "Accepted")
    _check_mode(traced, optimizers)
    model.output_tensors = outputs
    return outputs


ONLY_IN_TRAINING = ("dropout", "batch_norm")
"""Functions that compute something else in training."""


def _check_mode(traced: Traced, optimizers: Any) -> None:
    """Whether the program was started for what its PEF was compiled for. Raises UsageError where it would train with
    a PEF for inference; warns where it infers with one for training and the results are not those of inference."""
    session = current_session()
    is_inference = session.arguments.get("inference")
    is_training = agreement.is_training(session.device.pef)
    if is_inference is False and as_list(optimizers) and not is_training:
        hint = "compile without --inference to train, or run with --inference"
        problem = "the program has an optimizer and runs without --inference, but the PEF was compiled for inference"
        raise UsageError(Problem(problem, hint=hint))
    differing = sorted({o.name for o in traced.operators if any(word in o.name for word in ONLY_IN_TRAINING)})
    if is_inference and is_training and differing:
        samba_logger.warning(
            "--inference with a PEF compiled for training: %s as in training; compile with --inference for results "
            "of inference",
            ", ".join(differing),
        )


def trace_multigraph(model: nn.Module, inputs: Any, trace_prefix: str = "") -> tuple[SambaTensor, ...]:
    """Trace one graph of several without compiling; returns its outputs in forward's order, named after the prefix.

    Give outputs and inputs that share device memory one `sn_region_name`, then add a FwdGraph.
    """
    from_torch_model_(model)
    traced = trace(model, inputs)
    for number, output in enumerate(traced.outputs):
        output.sn_name = f"{trace_prefix}output_{number}"
    return traced.outputs


def init_output_grads(
    output_tensors: Sequence[SambaTensor],
    unspecified_tensor_grad: Sequence[Any] = (),
    customized_tensors_dict: Mapping[str, Tensor] | None = None,
    is_variable_batch_size: bool = False,
) -> None:
    """Set what back-propagation starts from: per output name as given, ones for the others that take a gradient."""
    given = customized_tensors_dict or {}
    for tensor in output_tensors:
        if tensor.on_device is not None and tensor.on_device.takes_gradient:
            tensor.sn_grad = given.get(tensor.sn_name or "", 1.0)
