"""Finding modes in data without labels: communities of the nearest-neighbour graph, and which cuts are thin."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.mixtures import grid, mixture, ring
from references.modes import jaccard, modularity, thickness
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits, make_swiss_roll
from sklearn.metrics import adjusted_rand_score

from gandiag.metrics import _communities, find_modes
from gandiag.metrics._clusters import MOST, _absorb, _shared, _symmetric, _vote
from gandiag.metrics._communities import communities
from gandiag.metrics._cuts import ERRORS, Groups, cube_cut


@pytest.mark.parametrize(("n", "seed"), [(1000, 0), (2500, 1)])
def test_rings_and_grids_are_found(n, seed):
    """The 8 modes of the ring and the 25 of the grid are found without a mistake."""
    for make in (ring, grid):
        x, modes = make(n, seed=seed)
        assert adjusted_rand_score(modes, find_modes(x)) == 1.0


@pytest.mark.parametrize("n", [1000, 2500])
@pytest.mark.parametrize(("d", "std"), [(2, 0.01), (64, 0.5), (64, 1.0), (512, 0.5), (512, 1.0)])
def test_mixtures_are_found(n, d, std):
    """25 Gaussians in 2 to 512 dimensions are found, those that nearest-neighbour edges join too."""
    x, modes = mixture(n, d, std=std)
    found = find_modes(x)
    assert adjusted_rand_score(modes, found) >= 0.98
    assert found.max() + 1 == 25


def test_digits_are_found():
    """The classes of real images are found: adjusted Rand index at least 0.85, and the count of ten within one."""
    x, classes = load_digits(return_X_y=True)
    for seed in range(3):
        found = find_modes(x, seed=seed)
        assert adjusted_rand_score(classes, found) >= 0.85
        assert 9 <= found.max() + 1 <= 11


def test_parts_of_the_digits_are_found():
    """Over ten random thousands of the digits the Rand index is 0.84 on average, and never below 0.75."""
    x, classes = load_digits(return_X_y=True)
    parts = [np.random.default_rng(seed).permutation(len(x))[:1000] for seed in range(10)]
    found = [find_modes(x[part]) for part in parts]
    scores = [adjusted_rand_score(classes[part], modes) for part, modes in zip(parts, found, strict=True)]
    assert np.mean(scores) >= 0.84
    assert min(scores) >= 0.75
    assert all(9 <= modes.max() + 1 <= 12 for modes in found)


@pytest.mark.parametrize(("n", "seed"), [(600, 0), (1000, 1), (2000, 0)])
def test_one_piece_of_data_has_one_mode(n, seed):
    """Gaussian blobs, heavy tails, filled squares and cubes, and a Swiss roll are not cut up."""
    rng = np.random.default_rng(seed)
    pieces = [rng.normal(size=(n, d)) for d in (2, 10, 64)]
    pieces += [rng.standard_t(3, size=(n, 2)), np.exp(rng.normal(size=(n, 5))), rng.exponential(size=(n, 2))]
    pieces += [rng.uniform(size=(n, 2)), rng.uniform(size=(n, 5)), make_swiss_roll(n, noise=0.1, random_state=seed)[0]]
    assert [find_modes(x).max() for x in pieces] == [0] * len(pieces)


def test_gaps_in_one_dimension_are_mostly_chance():
    """In one dimension any wide gap makes a thin cut; of ten Gaussian samples at most one is cut up for it."""
    assert sum(find_modes(np.random.default_rng(seed).normal(size=(1000, 1))).max() > 0 for seed in range(10)) <= 1


def test_unequal_modes_are_found():
    """Modes of 2 % to 60 % of the data are found, the largest first."""
    rng = np.random.default_rng(0)
    sizes = [600, 250, 100, 30, 20]
    centres = 10 * rng.normal(size=(5, 8))
    x = np.concatenate([centre + rng.normal(size=(size, 8)) for centre, size in zip(centres, sizes, strict=True)])
    assert np.bincount(find_modes(x)).tolist() == sizes


def test_small_groups_are_no_mode():
    """Twenty-two rows of 2,522 far from all others are no mode and in none; a stray row joins its nearest mode."""
    rng = np.random.default_rng(0)
    group = np.array([30.0, 0.0]) + 0.01 * rng.normal(size=(22, 2))
    found = find_modes(np.r_[ring(2500)[0], group, [[1.5, 0.0]]])
    assert found.max() == 7
    assert set(found[2500:2522]) == {-1}
    assert found[2522] == found[ring(2500)[1].tolist().index(0)]


def test_data_of_copies():
    """Rows that repeat twenty points are twenty modes; rows that are all the same are one."""
    points = np.random.default_rng(0).normal(size=(20, 8))
    assert adjusted_rand_score(np.arange(1000) // 50, find_modes(np.repeat(points, 50, axis=0))) == 1.0
    assert find_modes(np.ones((100, 3))).tolist() == [0] * 100


def test_few_rows_are_one_mode():
    """With too few rows for two modes there is one."""
    assert find_modes(np.random.default_rng(0).normal(size=(15, 2))).tolist() == [0] * 15
    assert find_modes([[1.0, 2.0]]).tolist() == [0]


def test_many_rows_follow_a_part_of_them():
    """Beyond the rows that are clustered, the others get the mode of their nearest clustered row."""
    x, modes = ring(MOST + 1500)
    assert adjusted_rand_score(modes, find_modes(x, seed=3)) == 1.0


def test_finding_is_deterministic_and_touches_no_global_stream():
    """Same rows, same modes; NumPy's and torch's global random states stay as they are."""
    x = load_digits(return_X_y=True)[0]
    before, torch_before = np.random.get_state(), torch.get_rng_state()
    first = find_modes(x, seed=7)
    np.testing.assert_array_equal(first, find_modes(x, seed=7))
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])
    assert torch.equal(torch_before, torch.get_rng_state())


def test_offset_and_scale_change_nothing():
    """Modes do not depend on where the embedding has its origin, nor on its unit."""
    x, _ = mixture(600, 16)
    np.testing.assert_array_equal(find_modes(x), find_modes(1000 * x.astype(np.float64) + 3000))


def random_graph(rng, n: int):
    """A symmetric graph with weights and gaps: as an array, and as it is stored."""
    weights = np.triu(rng.uniform(size=(n, n)) * (rng.uniform(size=(n, n)) < 0.4), 1)
    weights[np.arange(n - 1), np.arange(1, n)] += 0.1  # no vertex without an edge
    return weights + weights.T, csr_matrix(weights + weights.T)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 20))
def test_modularity_equals_its_definition(seed, n):
    """The sums over groups give what the definition's sum over pairs of vertices gives."""
    rng = np.random.default_rng(seed)
    full, graph = random_graph(rng, n)
    labels = rng.integers(0, 3, n)
    assert _communities.modularity(graph, labels) == pytest.approx(modularity(full, labels), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_vertex_of_a_climb_would_rather_be_elsewhere(seed):
    """At the top of a climb no move of one vertex to another community gains anything."""
    rng = np.random.default_rng(seed)
    full, graph = random_graph(rng, 20)
    found = communities(graph, climbs=2, rng=rng)
    top = modularity(full, found)
    for vertex in range(20):
        for other in range(found.max() + 1):
            moved = found.copy()
            moved[vertex] = other
            assert modularity(full, moved) <= top + 1e-9


def test_the_best_communities_of_a_known_graph_are_found():
    """On the karate club the modularity reaches the known optimum of 0.4198 for unweighted edges (Brandes 2008)."""
    graph = csr_matrix(networkx.to_numpy_array(networkx.karate_club_graph(), weight=None))
    found = communities(graph, climbs=4, rng=np.random.default_rng(0))
    assert _communities.modularity(graph, found) == pytest.approx(0.4198, abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_shared_neighbours_and_thickness_equal_their_definitions(seed):
    """Edge weights are Jaccard indices of neighbourhoods; the thickness of each cut is that of its own subgraph."""
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(40, 3)), np.arange(40) % 4
    apart = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    neighbours = apart.argsort(axis=1)[:, :6]
    distances = np.take_along_axis(apart, neighbours, axis=1)
    shared = _shared(_symmetric(neighbours, np.ones(neighbours.shape)), neighbours)
    full = shared.toarray()
    for i, j in zip(*full.nonzero(), strict=True):
        assert full[i, j] == pytest.approx(jaccard(neighbours, i, j))
    assert set(zip(*full.nonzero(), strict=True)) == {
        pair for i, row in enumerate(neighbours) for j in row if jaccard(neighbours, i, j) for pair in [(i, j), (j, i)]
    }

    groups = Groups.of(shared, labels, distances)
    assert groups.thickness()[1, 3] == pytest.approx(thickness(full, labels, distances, 1, 3, errors=ERRORS))
    of_joined = np.array([0, 1, 2, 1])[labels]
    joined = groups.gathered([[0], [1, 3], [2]]).thickness()
    for a, b in [(0, 1), (1, 2), (0, 2)]:
        assert joined[a, b] == pytest.approx(thickness(full, of_joined, distances, a, b, errors=ERRORS))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_dimension_is_that_of_the_data(d):
    """The estimate is the dimension of the data and not of the space around them."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(1000, d)) @ np.linalg.qr(rng.normal(size=(20, 20)))[0][:d]
    distances = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 1:16]
    groups = Groups.of(csr_matrix((1000, 1000)), np.zeros(1000, dtype=np.int64), distances)
    assert groups.terms / groups.logs == pytest.approx(d, rel=0.15)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_the_cut_of_a_cube_is_what_a_cube_has(d):
    """Conductance of the middle cut of uniform points is within a third of the formula, where walls matter little."""
    rng = np.random.default_rng(0)
    n, k = 1500, 15
    x = rng.uniform(size=(n, d))
    neighbours = np.linalg.norm(x[:, None] - x[None], axis=2).argsort(axis=1)[:, 1 : k + 1]
    graph = _symmetric(neighbours, np.ones(neighbours.shape))
    left = x[:, 0] < 0.5
    conductance = graph[left][:, ~left].sum() / min(graph[left].sum(), graph[~left].sum())
    assert conductance == pytest.approx(cube_cut(np.array([n], float), k, np.array([d], float))[0][0], rel=1 / 3)


def test_small_communities_go_where_most_edges_lead():
    """A community below the limit joins the one it has most weight with; one without edges stays."""
    full = np.zeros((9, 9))
    for i, j, weight in [(0, 1, 1), (1, 2, 1), (3, 4, 1), (4, 5, 1), (6, 0, 0.2), (6, 3, 0.3), (7, 8, 1)]:
        full[i, j] = full[j, i] = weight
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 3, 3])
    assert _absorb(csr_matrix(full), labels, 3).tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2]


def test_the_vote_follows_the_neighbours_and_ties_change_nothing():
    """A row moves to the label with more weight among its neighbours, and stays where both have the same."""
    full = np.zeros((5, 5))
    for i, j, weight in [(0, 1, 1), (1, 2, 0.4), (2, 3, 0.5), (3, 4, 1)]:
        full[i, j] = full[j, i] = weight
    assert _vote(csr_matrix(full), np.array([0, 0, 0, 1, 1])).tolist() == [0, 0, 1, 1, 1]
    full[1, 2] = full[2, 1] = 0.5
    assert _vote(csr_matrix(full), np.array([0, 0, 0, 1, 1])).tolist() == [0, 0, 0, 1, 1]
