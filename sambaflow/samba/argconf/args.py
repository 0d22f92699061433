"""Arguments of structured programs as pydantic models. Fields beyond these are kept and recorded."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class CommonArgs(BaseModel):
    """What compile and run share."""

    model_config = ConfigDict(extra="allow")

    arch: str | None = None
    batch_size: int = 1
    inference: bool = False
    n_chips: int = 1
    num_tiles: int = 4
    mapping: str = "section"
    num_spatial_batches: int = 1
    microbatch_size: int | None = None
    data_parallel: bool = False
    reduce_on_rdu: bool = False
    world_size: int = 1
    tensor_parallel: str | None = None
    verbose: bool | int = False
    debug: bool = False
    log_level: str | None = None
    target_sambaflow_version: str | None = None


class CompileArgs(CommonArgs):
    """What only compiling reads."""

    output_folder: str = "./out"
    pef_name: str | None = None
    optim_level: str | None = None
    o1_experimental_opts: bool = False
    optimization_rules: Any = None
    use_o1_default_rules: bool = True
    compiler_mode: str | None = None
    graphamp_preset: str | None = None
    enable_mixed_precision_ops: Any = None
    enable_multi_input_broadcast: bool = False
    tiling_accum: str | None = None
    weight_grad_reduce: str | None = None
    use_air_ce: bool = False
    all_regions_hbm: bool = False
    hbm_auto_alloc: str | None = None
    enable_safe_stochastic_rounding: bool = False
    compiler_configs_file: str | None = None
    mac_human_decision: str | None = None
    optimize_concat_split: bool = False
    enable_distribution_pass: bool = False
    resources_scaling_factors: Any = None
    enable_pcu_scaling: bool = False
    skip_pnr_aware: bool = False
    loop_conversion: bool = False
    enable_coe: bool = False
    run_early_tp: bool = False
    samba_only: bool = False


class RunArgs(CommonArgs):
    """What running reads."""

    pef: str = ""
