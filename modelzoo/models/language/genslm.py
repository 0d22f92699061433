"""GenSLM: language models of genes, whose words are codons."""

from __future__ import annotations

from transformers import GPTNeoXConfig

from modelzoo.data.genomes import VOCABULARY, genes
from modelzoo.entry import Arrays, Entry, Quality, Recipe, split
from modelzoo.models.language.causal import ENDS, RECIPE, TINY_LENGTH, call, full, perplexity, tiny

DRY = {"attention_dropout": 0.0, "hidden_dropout": 0.0}


def _config(width: int, layers: int, heads: int, length: int) -> GPTNeoXConfig:
    shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return GPTNeoXConfig(
        **shape, **DRY, **ENDS, vocab_size=VOCABULARY, intermediate_size=4 * width, max_position_embeddings=length
    )


def _data(seed: int) -> tuple[Arrays, Arrays]:
    ids = genes(1152, TINY_LENGTH, seed)
    return split({"input_ids": ids, "labels": ids}, 128)


ENTRY = Entry(
    name="genslm",
    title="GenSLM",
    about="Genome-scale language model: predicts the next codon of a gene, to follow the evolution of viruses.",
    source="M. Zvyagin et al., GenSLMs: genome-scale language models reveal SARS-CoV-2 evolutionary dynamics, 2022",
    sizes={
        "tiny": tiny(lambda: _config(64, 2, 4, 64), "GPT-NeoX on codons"),
        "25m": full(lambda: _config(512, 8, 16, 2048), "25 million parameters, sequences of 2048 codons", 2048),
        "250m": full(lambda: _config(1024, 16, 16, 2048), "200 million parameters", 2048),
        "2.5b": full(lambda: _config(2560, 32, 32, 2048), "2.5 billion parameters", 2048),
    },
    recipe=Recipe(
        data=_data,
        optimizer=RECIPE.optimizer,
        epochs=3,
        quality=Quality("perplexity over 69 codons and marks of unseen genes", perplexity, 8.0),
    ),
    call=call,
    notes=("The 25-billion configuration is the same architecture, wider and deeper; it is not listed here.",),
)
