"""How tumour cells respond to drugs: growth along dose-response curves that follow from hidden biology."""

from __future__ import annotations

import numpy as np

from ir.op import Array

PATHWAYS = 8
"""Hidden activities that both a cell's expression and a drug's structure tell of."""


def drug_response(
    count: int, genes: int, descriptors: int, seed: int, cells: int = 60, drugs: int = 40
) -> dict[str, Array]:
    """Expression [count, genes], descriptors [count, descriptors], log dose [count, 1] and growth [count, 1].

    A drug is the more potent, the more the pathways it hits are those that a cell depends on; growth falls with the
    dose along a Hill curve around the half-maximal dose, and is measured with an error of some percent.
    """
    random = np.random.default_rng(seed)
    biology = np.random.default_rng(0)
    reads, shows = biology.normal(size=(PATHWAYS, genes)), biology.normal(size=(PATHWAYS, descriptors))
    dependence, hits = random.normal(size=(cells, PATHWAYS)), random.normal(size=(drugs, PATHWAYS))
    expression = np.tanh(dependence @ reads / np.sqrt(PATHWAYS)) + random.normal(0, 0.1, (cells, genes))
    structure = np.tanh(hits @ shows / np.sqrt(PATHWAYS)) + random.normal(0, 0.05, (drugs, descriptors))
    cell, drug = random.integers(cells, size=count), random.integers(drugs, size=count)
    dose = random.uniform(-2, 2, count)
    half = -1.2 * (dependence[cell] * hits[drug]).sum(1) / np.sqrt(PATHWAYS)
    growth = 1 / (1 + np.exp(2 * (dose - half))) + random.normal(0, 0.03, count)
    found = {"genes": expression[cell], "drug": structure[drug], "dose": dose[:, None], "growth": growth[:, None]}
    return {name: array.astype(np.float32) for name, array in found.items()}
