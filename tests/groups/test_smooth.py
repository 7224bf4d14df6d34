import pytest
import torch

from lieconv_pyg import LieConv, lift
from lieconv_pyg.groups import SO2, SO3, SmoothSO, group_resolver
from lieconv_pyg.neighbors import radius_graph


@pytest.fixture(params=[2, 3])
def group(request):
    return SmoothSO(request.param)


def pairs(group, pos):
    lifted = lift(group, pos)
    graph = radius_graph(group, lifted, float("inf"))
    return lifted, graph


def test_pairs_are_those_of_the_rotations(group):
    """Invariant to them, and what they say of a pair can be had from it."""
    pos = torch.randn(6, group.space_dim, dtype=torch.double)
    _, graph = pairs(group, pos)
    exact = SO2() if group.space_dim == 2 else SO3()
    turn = exact.sample(dtype=torch.double)
    _, turned = pairs(group, pos @ turn.T)
    torch.testing.assert_close(turned.edge_attr, graph.edge_attr)
    assert graph.edge_attr.size(1) == group.pair_dim == 6 - group.space_dim
    j, i = graph.edge_index
    square, of_i, of_j = graph.edge_attr.T[:3]
    torch.testing.assert_close(of_i, pos[i].square().sum(1))
    torch.testing.assert_close(of_j, pos[j].square().sum(1))
    torch.testing.assert_close(graph.distance, (pos[i] - pos[j]).norm(dim=1))
    cosine = (of_i + of_j - square) / 2 / (of_i * of_j).sqrt()
    expected = torch.nn.functional.cosine_similarity(pos[i], pos[j])
    torch.testing.assert_close(cosine, expected)
    if group.space_dim == 2:
        lifted = lift(SO2(), pos)
        angle = SO2().pairs(
            *(lifted.element[i], lifted.orbit[i], lifted.element[j], lifted.orbit[j])
        )[:, 0]
        sine = graph.edge_attr[:, 3] / (of_i * of_j).sqrt()
        torch.testing.assert_close(sine, angle.sin())


def test_finite_radius(group):
    """Distances are Euclidean, and the search finds all neighbours."""
    pos = torch.rand(300, group.space_dim, dtype=torch.double)
    lifted = lift(group, pos)
    graph = radius_graph(group, lifted, 0.2)
    expected = (torch.cdist(pos, pos) < 0.2).nonzero().flip(1).T
    assert graph.edge_index.equal(expected)


def test_smooth_where_the_rotations_are_not(group):
    """Second derivatives at the origin and for opposite and equal points."""
    conv = LieConv(2, 1, group, norm=None).double()
    x = torch.ones(3, 2, dtype=torch.double)
    start = torch.zeros(3, group.space_dim, dtype=torch.double)
    start[1, 0], start[2, 0] = 1.0, -2.0

    def energy(pos):
        lifted, graph = pairs(group, pos)
        return conv(x, lifted, graph.edge_index).pow(2).sum()

    for pos in (start, start[[1, 1, 2]]):
        assert torch.autograd.gradgradcheck(energy, pos.clone().requires_grad_())


def test_names(group):
    assert group_resolver(repr(group)) == group
    assert group_resolver(f"smoothso{group.space_dim}") == group
    assert group.arguments()["n"] == group.space_dim
