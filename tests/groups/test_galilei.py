"""Galilei against hand-written formulas of mechanics."""

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.groups import Galilei, MatrixLieGroup
from tests.groups.cases import algebra, points

CLOSE = {"rtol": 0, "atol": 1e-14}


def test_moves_of_events():
    group = Galilei(2)
    a, s, b = torch.tensor([1.0, -2.0]), torch.tensor([0.5]), torch.tensor([3.0, 4.0])
    u = torch.tensor([[1.0, 0, 3, 1], [0, 1, 4, -2], [0, 0, 1, 0.5], [0, 0, 0, 1]])
    x, t, v = torch.tensor([0.1, 0.2]), torch.tensor([2.0]), torch.tensor([-1.0, 1.0])
    event = torch.cat([x, t, v])
    assert_close(group.act(u, event), torch.cat([x + a + b * t, t + s, v + b]))
    moved = u @ torch.cat([x, t, torch.ones(1)])
    assert_close(group.act(u, event)[:3], moved[:3])
    origin = group.origin(torch.zeros(0))
    assert_close(group.act(u, origin), torch.cat([a, s, b]))
    lifted, q = group.section(event)
    assert_close(group.act(lifted, origin), event)
    assert q.shape == (0,)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_it_is_the_group_of_its_generators(n):
    """Exactly: the series of both maps end."""
    group = Galilei(n)
    numeric = MatrixLieGroup(group.generators(torch.float64), space_dim=n + 1)
    a = algebra(group, 30, 0.0, 3.0)
    u = numeric.exp(a)
    assert_close(group.exp(a), u, rtol=1e-13, atol=1e-13)
    assert_close(group.log(u), a, rtol=1e-13, atol=1e-13)
    N = group.hat(a)
    assert not (N @ N @ N).any()
    eye = torch.eye(n + 2, dtype=a.dtype)
    assert_close(group.exp(a), eye + N + N @ N / 2, **CLOSE)
    b = algebra(group, 30, 0.0, 3.0, seed=1)
    assert not group.bracket(a, group.bracket(a, b)).abs().gt(1e-13).any()


def test_what_all_observers_agree_about():
    """The displacement in the frame of the mean velocity; times; relative velocity."""
    group = Galilei(3)
    (i, j) = points(group, 2)
    (u, v), (q, p) = group.section(torch.stack([i, j]))
    pair = group.pairs(u, q, v, p)
    x, t, velocity = (i - j).split([3, 1, 3])
    mean = (i + j)[4:] / 2
    assert_close(pair, torch.cat([x - mean * t, t, velocity]), **CLOSE)
    far = torch.linalg.vector_norm(torch.cat([x - mean * t, t]))
    expected = 0.2 * velocity.norm() + 0.8 * far
    assert_close(group.distance(pair), expected, **CLOSE)


def test_free_motion_has_no_displacement():
    """Events of one body that nothing acts on differ by time alone."""
    group, t = Galilei(2), torch.tensor([[0.0], [1.5], [-2.0]]).double()
    x0, v = torch.randn(2, 2).double()
    events = torch.cat([x0 + t * v, t, v.expand(3, 2)], dim=1)
    u, q = group.section(events)
    pairs = group.pairs(u[:, None], q[:, None], u, q)
    expected = torch.zeros(3, 3, 5, dtype=t.dtype)
    expected[..., 2] = t - t.T
    assert_close(pairs, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_pairs_in_every_frame_of_reference(n):
    group = Galilei(n)
    pos = points(group, 12)
    g = group.exp(algebra(group, 5, 0.0, 2.0))
    u, q = group.section(pos)
    pairs = group.pairs(u[:, None], q[:, None], u, q)
    for one in g:
        moved, _ = group.section(group.act(one, pos))
        again = group.pairs(moved[:, None], q[:, None], moved, q)
        assert_close(again, pairs, rtol=1e-12, atol=1e-12)


def test_subgroups():
    group = Galilei(2)
    heisenberg = group.subgroup((0, 2, 3))  # shifts, time and boosts of one axis
    a = torch.tensor([1.0, 2.0, 3.0]).double()
    whole = torch.tensor([1.0, 0, 2.0, 3.0, 0]).double()
    assert_close(heisenberg.exp(a), group.exp(whole))
    boosts = group.subgroup((3, 4))
    assert boosts.embed(group.exp(whole), a[:0]).shape == (2,)
    assert heisenberg.embed(group.exp(whole), a[:0]) is None
    with pytest.raises(ValueError, match="not closed under the bracket"):
        group.subgroup((2, 3))  # time and boost


def test_points_without_velocities_are_refused():
    with pytest.raises(ValueError, match=r"`pos` must have shape \(\*, 5\)"):
        Galilei(2).section(torch.zeros(4, 3))
