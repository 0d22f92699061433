"""What was published, and what we run beside it. No number here ever chose a constant of a machine file.

Sources by short name: DAB is the DABench-LLM data, ALCF the logs of the ALCF AI testbed, SN40L the paper of that chip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from backends.rdu.machine import load_machine
from benchmarks.mapping_models import MODELS, Workload, bert_large
from examples.transformer import Transformer
from pef.machine import Machine

WIDTH, HEADS, LENGTH, BATCH, VOCABULARY = 1600, 25, 1024, 16, 50257
"""The GPT-2 of the DABench rows: in sequences of so many tokens, so many at once."""

UNFUSED, RULES, FUSED = "o0", "o1", "o3"
"""Levels of our compiler: an operator a section; what rules fuse; the sections that it finds fastest."""


@dataclass(frozen=True)
class Row:
    """A published time of one step, and the levels whose simulated time stands beside it.

    seconds: device time unless `note` says otherwise.
    """

    name: str
    group: str
    source: str
    setting: str
    seconds: float
    levels: tuple[str, ...]
    workload: Callable[[], Workload]
    machine: Callable[[], Machine]
    layers: int
    note: str = ""


def half_sn30() -> Machine:
    """Four of an SN30's eight RDU tiles, with the memory of the whole socket."""
    whole = load_machine("sn30")
    rows = whole.rows // 2
    agcus = tuple(site for site in whole.agcu_sites if site < rows * whole.columns)
    return replace(whole, name="half an SN30", rows=rows, agcu_sites=agcus)


def gpt2(layers: int) -> Workload:
    """The GPT-2 of the DABench rows, for training."""
    with torch.device("meta"):
        model = Transformer(VOCABULARY, LENGTH, WIDTH, HEADS, layers)
    tokens = {name: torch.zeros(BATCH, LENGTH, dtype=torch.int64) for name in ("tokens", "targets")}
    return Workload(model, tokens, training=True)


def _gpt2_rows(group: str, how: str, levels: tuple[str, ...], seconds: dict[int, float]) -> tuple[Row, ...]:
    setting = f"GPT-2, 1600 wide, 25 heads, sequence 1024, batch 16, mp4, half an SN30, {how}"
    return tuple(
        Row(f"{group}-{layers}", group, "DAB", setting, known, levels, lambda n=layers: gpt2(n), half_sn30, layers)  # type: ignore[misc]
        for layers, known in seconds.items()
    )


UNFUSED_ROWS = _gpt2_rows("unfused", "one operator a section", (UNFUSED,), {1: 0.819, 12: 3.584, 24: 6.603, 36: 9.626})
FUSED_ROWS = _gpt2_rows(
    "fused", "fused by the vendor", (RULES, FUSED), {1: 0.314, 6: 0.666, 12: 1.088, 24: 1.934, 36: 2.783}
)
BERT_ROW = Row(
    "bert-large",
    "bert-large",
    "ALCF",
    "BERT-large, sequence 128, batch 256 an instance, mp4, an instance on half an SN30",
    256 * 128 * 16 / 570e3,
    (RULES, FUSED),
    lambda: bert_large(batch=256, length=128),
    half_sn30,
    24,
    "from 570,000 tokens a second on 8 SN30 (16 instances): host and exchange of gradients included, ours without",
)
ROWS = (*UNFUSED_ROWS, *FUSED_ROWS, BERT_ROW)
"""Every published time of a step that one RDU, or a part of one, can be simulated for."""


@dataclass(frozen=True)
class Ratio:
    """A published range of something other than a time, and what it is measured on. See `measure.ratio`."""

    name: str
    source: str
    what: str
    low: float
    high: float
    unit: str
    model: str
    machine: str


PREFILL = "llama-2-7b-prefill", "sn40l"
GPT_2_XL = "gpt-2-xl-training", "sn30"

RATIOS = (
    Ratio("prefill-gain", "SN40L", "7B prefill, unfused / fused time", 1.5, 3.0, "x", *PREFILL),
    Ratio("prefill-launches", "SN40L", "7B prefill, unfused / fused launches", 11, 11, "x", *PREFILL),
    Ratio("gpt-program-load", "ALCF", "GPT-1.5B training, time in program load", 0.1, 1.4, "%", *GPT_2_XL),
    Ratio("gpt-argument-load", "ALCF", "GPT-1.5B training, time in argument load", 0.0, 0.5, "%", *GPT_2_XL),
)

NOT_RUN = (
    ("Llama-3-8B decoding, 8 SN40L (LIB, 5 rows)", "tensor parallelism over several RDUs is not modelled"),
    ("Llama-3.1-8B decoding, 16 SN40L (SN40L)", "tensor parallelism over several RDUs is not modelled"),
    ("GPT-13B training, 4 SN30 (ALCF)", "how the model was split over the four RDUs is not published"),
    ("GPT3-175B layer, 8 SN10 (DFM)", "a model's figure, not a measurement, and tensor parallel"),
    ("Monarch FFT (SN40L)", "only the operational intensity of three mappings is published"),
)
"""Published rows that nothing here can be held beside, and why."""


def ratio_workload(model: str) -> Workload:
    """The model of a ratio at its published depth."""
    return MODELS[model](None)
