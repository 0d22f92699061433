"""From a runner's settings to what the compiler is asked."""

from __future__ import annotations

import logging
from typing import Any

from compiler.driver import CompileRequest
from modelzoo.runners.schema import Application, Model, SambaCompile

ARCHITECTURES = {"sn20": "sn10", "sn40": "sn40l"}
HONOURED = frozenset(
    {
        "arch",
        "output_folder",
        "pef_name",
        "optim_level",
        "optimization_rules",
        "use_o1_default_rules",
        "enable_mixed_precision_ops",
        "inference",
        "data_parallel",
        "world_size",
        "n_chips",
        "debug",
        "verbose",
        "max_seq_length",
    }
)
"""Settings that change what is compiled here."""

SECTION = "modelzoo"
"""Where a PEF's metadata tell of the settings."""

log = logging.getLogger("snc")


def compile_request(settings: Application, name: str, batch: int, *, inference: bool) -> CompileRequest:
    """What the compiler is asked; settings that only the hardware's compiler can honour are reported once."""
    asked = settings.samba_compile or SambaCompile()
    given = sorted({**_given(asked), **_given(settings.model)}.keys() - HONOURED)
    if given:
        log.warning("recorded in the PEF, but without effect on the simulated device: %s", ", ".join(given))
    level = asked.optim_level.removesuffix("hd")
    return CompileRequest(
        name,
        inference=inference,
        batch_size=batch,
        output_folder=asked.output_folder,
        pef_name=asked.pef_name or name,
        arch=ARCHITECTURES.get(asked.arch, asked.arch),
        level=level,
        preset="mp1" if "gemm" in asked.enable_mixed_precision_ops else "mp0",
        replicas=asked.world_size if asked.data_parallel and not inference else None,
        optimization_rules=asked.optimization_rules if level == "o1" else None,
        default_rules=asked.use_o1_default_rules,
    )


def recorded(settings: Application) -> dict[str, Any]:
    """What a PEF tells of how it was asked for; nothing in it depends on where it was compiled."""
    asked = settings.samba_compile or SambaCompile()
    options = asked.model_dump(mode="json", exclude={"output_folder", "optimization_rules"})
    return {SECTION: {"model": settings.model.model_dump(mode="json"), "samba_compile": options}}


def _given(group: Model | SambaCompile) -> dict[str, Any]:
    """The settings of a group that are not what they are by default."""
    return group.model_dump(exclude_defaults=True)
