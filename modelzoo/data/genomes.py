"""Genes as they descend from common ancestors: codons that mutate mostly to others for the same amino acid."""

from __future__ import annotations

import numpy as np

from ir.op import Array

BASES = "TCAG"
AMINO_ACIDS = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
"""The standard genetic code, by first, second and third base in the order of BASES; * ends a gene."""
SPECIAL = 5
"""Tokens before the 64 codons: padding, start, end, unknown, mask."""
START, END = 1, 2
VOCABULARY = SPECIAL + 64

TRANSITION_BIAS = 3.0
"""How much likelier a change between T and C, or A and G, is than one between the two pairs."""
TOLERATED = 0.1
"""The share of changes of the amino acid that survive selection."""


def genes(count: int, length: int, seed: int, ancestors: int = 4, generations: int = 30) -> Array:
    """Token sequences [count, length] of genes that begin with the start token and ATG, and end with a stop codon.

    Each gene descends from one of some ancestors through point mutations, of which those that change the amino acid
    mostly do not survive, and those to or from a stop codon never do.
    """
    random = np.random.default_rng(seed)
    stops = np.array([acid == "*" for acid in AMINO_ACIDS])
    coding = np.flatnonzero(~stops)
    middle = coding[random.integers(len(coding), size=(ancestors, length - 4))]
    atg = _codon("ATG")
    first = np.full((ancestors, 1), atg)
    last = np.flatnonzero(stops)[random.integers(stops.sum(), size=(ancestors, 1))]
    roots = np.concatenate([first, middle, last], 1)
    found = roots[random.integers(ancestors, size=count)]
    for _ in range(generations):
        _mutate(found, random)
    edge = np.full((count, 1), 1)
    return np.concatenate([edge * START, found + SPECIAL, edge * END], 1).astype(np.int32)


def _mutate(codons: Array, random: np.random.Generator) -> None:
    """One generation: a proposed change of one base in one codon of every gene, in place; start and end stay."""
    rows = np.arange(len(codons))
    place = random.integers(1, codons.shape[1] - 1, len(codons))
    which = random.integers(3, size=len(codons))
    old = codons[rows, place]
    weight = 4 ** (2 - which)
    base = old // weight % 4
    change = random.choice(3, size=len(codons), p=np.array([TRANSITION_BIAS, 1, 1]) / (TRANSITION_BIAS + 2))
    new = old + (_changed(base, change) - base) * weight
    acids = np.array([ord(acid) for acid in AMINO_ACIDS])
    silent = acids[old] == acids[new]
    survives = silent | ((random.random(len(codons)) < TOLERATED) & (acids[new] != ord("*")))
    codons[rows, place] = np.where(survives, new, old)


def _changed(base: Array, change: Array) -> Array:
    """The base after a change: 0 is the transition within its pair, 1 and 2 go to the other pair."""
    pair, member = base // 2, base % 2
    transition = pair * 2 + (1 - member)
    return np.asarray(np.where(change == 0, transition, (1 - pair) * 2 + np.maximum(change - 1, 0)))


def _codon(letters: str) -> int:
    return sum(BASES.index(letter) * weight for letter, weight in zip(letters, (16, 4, 1)))
