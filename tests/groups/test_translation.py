"""T, Tx, Ty and Trivial against hand-written formulas."""

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.groups import T, Trivial, Tx, Ty

X, Y = torch.tensor([[1.0, 2.0, 4.0], [3.0, 5.0, -2.0]], dtype=torch.float64)


def pair(group):
    (u, v), (q_i, q_j) = group.section(torch.stack([X, Y]))
    pairs = group.pairs(u, q_i, v, q_j)
    return pairs.tolist(), float(group.distance(pairs))


@pytest.mark.parametrize(
    ("group", "pairs", "distance"),
    [
        (T(3, alpha=0.3), [-2, -3, 6], 0.3 * 7),
        (Tx(3, alpha=0.3), [-2, 2, 4, 5, -2], 0.3 * 2 + 0.7 * 45**0.5),
        (Ty(3, alpha=0.3), [-3, 1, 4, 3, -2], 0.3 * 3 + 0.7 * 40**0.5),
        (T(3).subgroup((2, 0)), [6, -2, 2, 5], 0.2 * 40**0.5 + 0.8 * 3),
        (Trivial(3, alpha=0.3), [1, 2, 4, 3, 5, -2], 0.7 * 7),
    ],
    ids=repr,
)
def test_pairs_and_distance(group, pairs, distance):
    actual, d = pair(group)
    assert actual == pairs
    assert d == pytest.approx(distance)


def test_differences_are_exact(dtype):
    # Also far from the origin, where a product of matrices would round.
    group = T(2)
    pos = torch.tensor([[1e6 + 0.5, -1e6], [1e6, -1e6 - 0.25]], dtype=dtype)
    u, _ = group.section(pos)
    assert group.relative_log(u[0], u[1]).tolist() == [0.5, 0.25]


def test_elements_are_homogeneous():
    u = T(2).exp(torch.tensor([3.0, 4.0]))
    assert u.tolist() == [[1, 0, 3], [0, 1, 4], [0, 0, 1]]
    assert Tx(2).exp(torch.tensor([3.0])).tolist() == [[1, 0, 3], [0, 1, 0], [0, 0, 1]]
    assert Ty(2).exp(torch.tensor([3.0])).tolist() == [[1, 0, 0], [0, 1, 3], [0, 0, 1]]


def test_trivial_has_the_identity_alone():
    group = Trivial(2)
    assert torch.equal(group.exp(torch.zeros(3, 0)), torch.eye(2).expand(3, 2, 2))
    x = torch.randn(5, 2)
    assert_close(group.act(group.identity(5), x), x)
    assert torch.equal(group.origin(x), x)
