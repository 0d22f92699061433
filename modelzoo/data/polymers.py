"""Copolymer chains and their size: exact for freely rotating chains whose stiffness depends on the sequence."""

from __future__ import annotations

import numpy as np

from ir.op import Array

MONOMERS = 6
"""Kinds of repeat units."""
BOND_LENGTHS = np.array([1.0, 1.1, 0.9, 1.3, 1.0, 1.2])
"""Of each kind, in units of the first one's."""
STIFFNESS = np.array([0.05, 0.9, 0.3, 0.6, 0.8, 0.45])
"""Mean cosine of the angle to the next bond, of each kind; between two kinds the geometric mean of theirs."""


def polymers(count: int, length: int, seed: int) -> dict[str, Array]:
    """Sequences of monomers [count, length], blocky or random, and log radii of gyration [count, 1].

    For bonds b with lengths l and angles' mean cosines c, <b_i b_j> = l_i l_j c_i ... c_(j-1); the radius of gyration
    is the root of the sum over all pairs of monomers of the mean square distance, over twice the number of pairs.
    """
    random = np.random.default_rng(seed)
    stay = random.uniform(0.0, 0.95, (count, 1))
    chances = random.dirichlet(np.full(MONOMERS, 0.6), count)
    drawn = np.stack([random.choice(MONOMERS, length, p=chance) for chance in chances])
    same = random.random((count, length)) < stay
    sequence = drawn.copy()
    for place in range(1, length):
        sequence[:, place] = np.where(same[:, place], sequence[:, place - 1], drawn[:, place])
    radius = np.sqrt(_square_radius(sequence))
    return {"monomers": sequence.astype(np.int32), "log_radius": np.log(radius)[:, None].astype(np.float32)}


def _square_radius(sequence: Array) -> Array:
    """The mean square radius of gyration of chains [count, length]."""
    bonds = BOND_LENGTHS[sequence[:, :-1]]
    cosines = np.sqrt(STIFFNESS[sequence[:, :-2]] * STIFFNESS[sequence[:, 1:-1]])
    count, steps = bonds.shape
    along = np.concatenate([np.zeros((count, 1)), np.cumsum(np.log(cosines), 1)], 1)
    correlation = np.exp(-np.abs(along[:, :, None] - along[:, None, :])) * bonds[:, :, None] * bonds[:, None, :]
    # Between monomers a < b lie the bonds a .. b - 1: their mean square distance is a block's sum.
    sums = np.zeros((count, steps + 1, steps + 1))
    sums[:, 1:, 1:] = correlation.cumsum(1).cumsum(2)
    first, last = np.triu_indices(steps + 1, 1)
    squares = sums[:, last, last] - sums[:, first, last] - sums[:, last, first] + sums[:, first, first]
    return np.asarray(squares.sum(1) / (steps + 1) ** 2)
