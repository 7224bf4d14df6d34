import pytest
import torch

from lieconv_pyg.groups import SE3, T
from lieconv_pyg.lifting import lift
from lieconv_pyg.neighbors import available_backends, knn_graph, pair_coordinates
from tests.clouds import (
    GROUPS,
    all_distances,
    cloud,
    generator,
    lifted_cloud,
    moved,
    ragged_batch,
)


def brute_force(group, k, src, dst=None):
    distance, same = all_distances(group, src, dst)
    distance = torch.where(same, distance, torch.inf)
    k = min(k, distance.size(1))
    last = distance.sort(dim=1).values[:, k - 1 : k] * (1 + 1e-12)
    return ((distance <= last) & same).nonzero().flip(1).tolist()


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_equals_brute_force(group, backend):
    lifted = lifted_cloud(group)
    dst = lifted.select(torch.arange(0, lifted.num_points, 4))
    for k in (1, 4, 10, 10_000):
        graph = knn_graph(group, lifted, k, backend=backend)
        assert graph.edge_index.t().tolist() == brute_force(group, k, lifted)
        attr = pair_coordinates(group, lifted, lifted, graph.edge_index)
        torch.testing.assert_close(graph.edge_attr, attr)
        torch.testing.assert_close(graph.distance, group.distance(attr))
    graph = knn_graph(group, lifted, 4, dst, backend=backend)
    assert graph.edge_index.t().tolist() == brute_force(group, 4, lifted, dst)


@pytest.mark.parametrize("backend", available_backends())
def test_very_uneven_density(backend):
    # Scales from 1e-6 to 1e3 take several balls.
    scale = torch.logspace(-6, 3, 150, dtype=torch.float64)
    pos = cloud(T(3), 150) * scale[:, None]
    lifted = lift(T(3), pos, ragged_batch(140, 10))
    graph = knn_graph(T(3), lifted, 5, backend=backend)
    assert graph.edge_index.t().tolist() == brute_force(T(3), 5, lifted)


def test_ties_are_kept_and_depend_on_nothing():
    line = torch.arange(6, dtype=torch.float64)
    pos = torch.cartesian_prod(line, line)
    graph = knn_graph(T(2), lift(T(2), pos), 2)
    counts = graph.edge_index[1].bincount()
    assert counts.min() == 3  # a corner: itself and two at the same distance
    assert counts.max() == 5
    edges = set(map(tuple, graph.edge_index.t().tolist()))
    for seed in range(3):
        order = torch.randperm(36, generator=generator(seed))
        permuted = order[knn_graph(T(2), lift(T(2), pos[order]), 2).edge_index]
        assert set(map(tuple, permuted.t().tolist())) == edges


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_pose(group):
    lifted = lifted_cloud(group, sizes=(31, 3))
    graph = knn_graph(group, lifted, 5)
    other = knn_graph(group, moved(group, lifted), 5)
    assert torch.equal(graph.edge_index, other.edge_index)


def test_all_coincident():
    pos = torch.ones(7, 3)
    graph = knn_graph(T(3), lift(T(3), pos, ragged_batch(5, 2)), 3)
    assert graph.edge_index[1].bincount().tolist() == [5] * 5 + [2] * 2


def test_no_targets():
    lifted = lifted_cloud(SE3())
    none = lifted.select(torch.zeros(lifted.num_points, dtype=torch.bool))
    assert knn_graph(SE3(), lifted, 3, none).edge_attr.shape == (0, 6)
    assert knn_graph(SE3(), none, 3, lifted).edge_index.shape == (2, 0)


def test_gradient():
    pos = cloud(SE3(), 6).requires_grad_()

    def function(pos):
        return knn_graph(SE3(), lift(SE3(), pos, fixed=True), 3).edge_attr

    assert function(pos).requires_grad
    assert torch.autograd.gradcheck(function, pos)


def test_bad_k():
    lifted = lifted_cloud(T(3))
    with pytest.raises(ValueError, match="'k' must be at least 1"):
        knn_graph(T(3), lifted, 0)
    with pytest.raises(TypeError, match="'k' must be an integer"):
        knn_graph(T(3), lifted, 1.5)
