"""Generated data obey the physics that they claim."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modelzoo.data import bragg_peaks, cells, diffraction, drug_response, galaxies, genomes, polymers, speckles, tracks
from modelzoo.data import traffic as roads


def test_a_bragg_peak_is_brightest_near_its_centre() -> None:
    data = bragg_peaks.bragg_peaks(400, 11, 0)
    brightest = data["patch"].reshape(400, -1).argmax(1)
    place = np.stack([brightest // 11, brightest % 11], 1)
    assert np.median(np.linalg.norm(place - 11 * data["centre"], axis=1)) < 1
    assert data["patch"].min() == 0 and data["patch"].max() == 1


def test_a_diffraction_pattern_is_what_the_model_computes_for_its_crystal() -> None:
    from modelzoo.models.science.autophasenn import AutoPhaseNN

    crystal = diffraction.crystal(16, np.random.default_rng(3))
    expected = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(crystal))))
    model = AutoPhaseNN(16, 4, 2)
    real, imaginary = (torch.from_numpy(part.astype(np.float32))[None, None] for part in (crystal.real, crystal.imag))
    for _ in range(3):
        real, imaginary = model.transformed(real, imaginary)
    found = torch.sqrt(real**2 + imaginary**2)[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())
    edge = np.abs(crystal).sum() - np.abs(crystal[4:12, 4:12, 4:12]).sum()
    assert edge == 0


def test_the_size_of_a_chain_is_that_of_chains_drawn_at_random() -> None:
    sequence = np.random.default_rng(1).integers(polymers.MONOMERS, size=(1, 9))
    expected = polymers._square_radius(sequence)[0]
    random = np.random.default_rng(2)
    chains = 20000
    lengths = polymers.BOND_LENGTHS[sequence[0, :-1]]
    stiffness = polymers.STIFFNESS[sequence[0]]
    direction = np.tile([0.0, 0.0, 1.0], (chains, 1))
    places = [np.zeros((chains, 3))]
    for bond in range(8):
        if bond:
            cosine = np.sqrt(stiffness[bond - 1] * stiffness[bond])
            across = np.cross(direction, random.normal(size=(chains, 3)))
            across /= np.linalg.norm(across, axis=1, keepdims=True)
            direction = cosine * direction + np.sqrt(1 - cosine**2) * across
        places.append(places[-1] + lengths[bond] * direction)
    chain = np.stack(places, 1)
    drawn = ((chain - chain.mean(1, keepdims=True)) ** 2).sum(2).mean()
    assert expected == pytest.approx(drawn, rel=0.02)


def test_genes_keep_their_frame_and_mostly_their_protein() -> None:
    tokens = genomes.genes(200, 32, 0, ancestors=1)
    codons = tokens[:, 1:-1] - genomes.SPECIAL
    acids = np.array(list(genomes.AMINO_ACIDS))[codons]
    assert (tokens[:, 0] == genomes.START).all() and (tokens[:, -1] == genomes.END).all()
    assert (acids[:, 0] == "M").all() and (acids[:, -1] == "*").all() and not (acids[:, 1:-1] == "*").any()
    changed = (codons != codons[0]).mean()
    assert 0 < (acids != acids[0]).mean() < changed


def test_cosmic_rays_cross_the_chamber_and_a_neutrino_starts_within() -> None:
    data = tracks.tracks(50, 32, 32, 0)
    label, charge = data["label"], data["planes"]
    assert {0, 1, 2} == set(np.unique(label))
    assert charge[label > 0].mean() > 10 * charge[label == 0].mean()
    extent = [np.ptp(np.argwhere(label[:, 1] == kind)[:, 2]) for kind in (tracks.COSMIC, tracks.NEUTRINO)]
    assert extent[0] >= extent[1]


def test_a_jam_spreads_against_the_traffic() -> None:
    graph = roads.road_graph(12)
    assert (np.diag(graph) == 1).all()
    assert ((graph > 0) & (graph.T > 0) & ~np.eye(12, dtype=bool)).sum() == 0
    data = roads.traffic(2, 12, 4, 3, 0)
    speed, hour = data["history"][..., 0].mean((1, 2)), 24 * data["history"][:, 0, 0, 1]
    assert speed[abs(hour - 8) < 1].mean() < speed[abs(hour - 3) < 1].mean() - 0.5


def test_growth_falls_with_the_dose() -> None:
    data = drug_response.drug_response(4000, 20, 10, 0)
    order = np.argsort(data["dose"][:, 0])
    assert data["growth"][order[:400]].mean() > data["growth"][order[-400:]].mean() + 0.5


def test_a_surface_looked_up_where_it_came_from_is_the_second_image() -> None:
    from scipy import ndimage

    data = speckles.speckles(4, 32, 0)
    rows, columns = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    for (before, after), move in zip(data["pair"], data["displacement"]):
        looked_up = ndimage.map_coordinates(before, [rows - move[0], columns - move[1]], order=3)
        inner = (slice(4, -4), slice(4, -4))
        assert np.corrcoef(looked_up[inner].ravel(), after[inner].ravel())[0, 1] > 0.98
        assert np.corrcoef(before[inner].ravel(), after[inner].ravel())[0, 1] < 0.95


def test_cells_are_brighter_than_what_is_between_them() -> None:
    for shape in ((32, 32), (12, 12, 12)):
        data = cells.cells(8, shape, 0)
        assert data["image"][data["mask"] > 0].mean() > data["image"][data["mask"] == 0].mean() + 1


def test_galaxies_of_a_kind_look_alike() -> None:
    data = galaxies.galaxies(200, 24, 0)
    image, kind = data["image"][:, 0], data["kind"]
    middle = image[:, 8:16, 8:16].mean((1, 2))
    spread = [middle[kind == number].mean() for number in range(len(galaxies.KINDS))]
    assert max(spread) - min(spread) > 0.3
