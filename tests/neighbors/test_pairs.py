import pytest
import torch

from lieconv_pyg.groups import SE3, Lorentz
from lieconv_pyg.neighbors import Neighborhood, pair_coordinates
from lieconv_pyg.neighbors.layout import example_pairs
from tests.clouds import GROUPS, lifted_cloud, moved


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_pair_coordinates(group):
    src = lifted_cloud(group, sizes=(31,))
    dst = src.select(torch.tensor([3, 8]))
    edge_index = torch.tensor([[3, 5, 0, 8], [0, 0, 1, 1]])
    attr = pair_coordinates(group, src, dst, edge_index)
    assert attr.shape == (4, group.dim + 2 * group.orbit_dim)

    # v_j^-1 u_i, with i the target in the second row.
    v, u = src.element[edge_index[0]], dst.element[edge_index[1]]
    if group.dim > 0:
        relative = group.compose(group.inverse(v), u)
        if isinstance(group, Lorentz):  # u and -u are one element
            relative = group.canonical(relative)
        assert torch.allclose(group.exp(attr[:, : group.dim]), relative, atol=1e-9)
    a, q_i, q_j = attr.split([group.dim, group.orbit_dim, group.orbit_dim], dim=1)
    assert torch.allclose(a[::3], torch.zeros_like(a[::3]), atol=1e-7)
    assert torch.equal(q_i, dst.orbit[edge_index[1]])
    assert torch.equal(q_j, src.orbit[edge_index[0]])

    src = moved(group, src)
    again = pair_coordinates(group, src, src.select(torch.tensor([3, 8])), edge_index)
    assert torch.allclose(attr, again, atol=1e-9)


def test_no_edges():
    group = SE3()
    lifted = lifted_cloud(group)
    empty = torch.empty(2, 0, dtype=torch.long)
    attr = pair_coordinates(group, lifted, lifted, empty)
    assert attr.shape == (0, 6)
    assert Neighborhood(empty, attr, group.distance(attr)).edge_weight is None


def test_example_pairs():
    batch = torch.tensor([0, 0, 1, 2, 2, 2])
    pairs = example_pairs(batch)
    assert pairs.tolist() == [
        [1, 0, 4, 5, 3, 5, 3, 4],
        [0, 1, 3, 3, 4, 4, 5, 5],
    ]
    assert example_pairs(torch.tensor([0])).shape == (2, 0)
    with_self = example_pairs(batch, self_pairs=True)
    assert with_self.size(1) == 4 + 1 + 9
    assert (with_self[0] == with_self[1]).sum() == 6
