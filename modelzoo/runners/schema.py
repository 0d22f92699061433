"""What the runners' configurations may hold; whatever else is given is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Field(gt=0)


class Group(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Checkpoint(Group):
    """Where the model comes from: a configuration alone, with random weights, or a checkpoint with weights."""

    config_name: Path | None = None
    model_name_or_path: Path | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Checkpoint:
        if (self.config_name is None) == (self.model_name_or_path is None):
            raise ValueError("give exactly one of checkpoint.config_name and checkpoint.model_name_or_path")
        return self

    @property
    def folder(self) -> Path:
        """The folder that is given."""
        found = self.config_name or self.model_name_or_path
        assert found is not None
        return found


class Model(Group):
    """The sequence length; and precisions and splits that the hardware's compiler knows, recorded in the PEF."""

    max_seq_length: int = Positive
    fp32_ln: bool = False
    fp32_logits: bool = True
    fp32_skip_add: bool = True
    mixedp_attn: bool = True
    run_early_tp: bool = False
    use_plugin_heuristics: bool = False
    use_segmented_softmax_attn: bool = False
    seg_softmax_block_size: int | None = None


class Generation(Group):
    """What to generate. Greedy, unless do_sample is set."""

    batch_size: int = Field(default=1, gt=0)
    prompts: list[str] = []
    max_new_tokens: int = Field(default=100, gt=0)
    static_seq_lengths: list[int] | None = None
    profile: bool = False
    seed: int = 12345
    output_dir: Path = Path("output")
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    stop: list[str] = []


class Training(Group):
    """What to train on and for how long. `dataset` is a folder of HDF5 files."""

    dataset: Path | None = None
    batch_size: int = Field(default=1, gt=0)
    num_epochs: int = Field(default=1, gt=0)
    end_early_at_step: int | None = Field(default=None, gt=0)
    learning_rate: float = Field(default=1e-5, ge=0)
    output_dir: Path = Path("output")
    evaluate: bool = False
    seed: int = 42


class SambaCompile(Group):
    """The compiler's options. Those that only the hardware's compiler can honour are recorded in the PEF."""

    arch: Literal["sn10", "sn20", "sn30", "sn40", "sn40l"] = "sn30"
    output_folder: Path = Path("out")
    pef_name: str | None = None
    optim_level: Literal["o0", "o1", "o1hd", "o3"] = "o3"
    optimization_rules: Path | None = None
    use_o1_default_rules: bool = True
    enable_mixed_precision_ops: list[str] = []
    inference: bool = False
    o1_experimental_opts: bool = False
    compiler_mode: str = "nlp"
    tiling_accum: str | None = None
    use_air_ce: bool = False
    all_regions_hbm: bool = False
    hbm_auto_alloc: str | None = None
    num_tiles: int = 4
    n_chips: int = 1
    tensor_parallel: str | None = None
    early_tp: bool = False
    target_sambaflow_version: str | None = None
    debug: bool = False
    verbose: bool = False
    data_parallel: bool = False
    world_size: int = Field(default=2, gt=0)
    weight_grad_reduce: str | None = None

    @model_validator(mode="after")
    def _one_chip(self) -> SambaCompile:
        if self.n_chips != 1:
            raise ValueError(f"samba_compile.n_chips={self.n_chips}: a model lies on one RDU here")
        return self


class SambaRun(Group):
    """What to run."""

    pef: Path


class Application(Group):
    """The whole of a runner's configuration; the group of the other command is left out before it is looked at."""

    command: Literal["compile", "run"]
    checkpoint: Checkpoint
    model: Model
    samba_compile: SambaCompile | None = None
    samba_run: SambaRun | None = None


class TrainingApplication(Application):
    """Of rdu_train_llm.py and rdu_train_llm_dp.py."""

    training: Training

    @model_validator(mode="after")
    def _compiles_without_weights(self) -> TrainingApplication:
        if self.command == "compile" and self.checkpoint.model_name_or_path is not None:
            raise ValueError("a training PEF is compiled from a configuration: give checkpoint.config_name")
        if self.command == "run" and self.training.dataset is None:
            raise ValueError("give training.dataset, a folder of HDF5 files")
        return self


class GenerationApplication(Application):
    """Of rdu_generate_text.py."""

    generation: Generation

    @model_validator(mode="after")
    def _prompts_fill_the_batch(self) -> GenerationApplication:
        if self.command == "run" and len(self.generation.prompts) != self.generation.batch_size:
            prompts, batch = len(self.generation.prompts), self.generation.batch_size
            raise ValueError(f"generation.batch_size is {batch}, but there are {prompts} prompts: they must be equal")
        lengths = self.generation.static_seq_lengths or []
        if wrong := [length for length in lengths if not 0 < length <= self.model.max_seq_length]:
            raise ValueError(f"generation.static_seq_lengths {wrong} are not from 1 to model.max_seq_length")
        return self


OTHER_GROUP = {"compile": "samba_run", "run": "samba_compile"}
"""What is of no interest to a command."""


def without_other_group(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without the group that belongs to the other command."""
    return {key: value for key, value in settings.items() if key != OTHER_GROUP.get(str(settings.get("command")))}
