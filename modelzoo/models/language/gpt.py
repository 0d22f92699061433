"""GPT: the decoder with learned positions, in the sizes of GPT-2 and GPT-3."""

from __future__ import annotations

from transformers import GPT2Config

from modelzoo.entry import Entry
from modelzoo.models.language.causal import ENDS, RECIPE, call, full, tiny

DRY = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
"""No dropout: losses are those of PyTorch."""


def _xl() -> GPT2Config:
    return GPT2Config(n_embd=1600, n_layer=48, n_head=25, **DRY)


def _thirteen() -> GPT2Config:
    return GPT2Config(n_positions=2048, n_embd=5120, n_layer=40, n_head=40, **DRY)


ENTRY = Entry(
    name="gpt",
    title="GPT",
    about="Language model: decoder with learned positions, 1.5 billion parameters as GPT-2 XL, 13 billion as GPT-3's.",
    source="A. Radford et al., Language models are unsupervised multitask learners, 2019; T. Brown et al., "
    "Language models are few-shot learners, 2020",
    sizes={
        "tiny": tiny(
            lambda: GPT2Config(vocab_size=512, n_positions=128, n_embd=64, n_layer=2, n_head=4, **DRY, **ENDS), "GPT-2"
        ),
        "1.5b": full(_xl, "1.6 billion parameters, GPT-2 XL", 1024),
        "13b": full(_thirteen, "13 billion parameters, of GPT-3's table 2.1", 2048),
    },
    recipe=RECIPE,
    call=call,
)
