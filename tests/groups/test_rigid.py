"""SE2, SO3 and SE3 against hand-written formulas."""

import math

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.groups import SE2, SE3, SO3


def turn(angle: float, axis: int) -> torch.Tensor:
    """A rotation of space about a coordinate axis."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    R = torch.eye(3, dtype=torch.float64)
    R[i, i] = R[j, j] = math.cos(angle)
    R[j, i], R[i, j] = math.sin(angle), -math.sin(angle)
    return R


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_so3_turns_about_each_axis(axis):
    a = torch.zeros(3, dtype=torch.float64)
    a[axis] = 0.7
    assert_close(SO3().exp(a), turn(0.7, axis))
    assert_close(SO3().log(turn(0.7, axis)), a)


def test_so3_distance():
    group = SO3(alpha=0.3)
    pos = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 5.0]], dtype=torch.float64)
    u, q = group.section(pos)
    pairs = group.pairs(u[0], q[0], u[1], q[1])
    assert pairs.tolist() == pytest.approx([0, math.pi / 2, 0, 2, 5])
    assert float(group.distance(pairs)) == pytest.approx(0.3 * math.pi / 2 + 0.7 * 3)


def test_se2_distance_and_order():
    group = SE2(alpha=0.3)
    a = torch.tensor([math.pi / 2, 1.0, 0.0], dtype=torch.float64)
    u = group.exp(a)
    # A quarter of the circle of radius 2 / pi that starts along the first axis.
    r = 2 / math.pi
    expected = torch.tensor([[0, -1, r], [1, 0, r], [0, 0, 1]], dtype=torch.float64)
    assert_close(u, expected)
    assert float(group.distance(a)) == pytest.approx(0.3 * math.pi / 2 + 0.7)


def test_se3_distance_and_order():
    group = SE3(alpha=0.3)
    a = torch.tensor([0.0, 0.0, math.pi, 1.0, 0.0, 3.0], dtype=torch.float64)
    u = group.exp(a)  # a screw: half a turn about the third axis, and a rise
    r = 2 / math.pi
    assert_close(u[:3, :3], turn(math.pi, 2))
    assert_close(u[:3, 3], torch.tensor([0.0, r, 3.0], dtype=torch.float64))
    expected = 0.3 * math.pi + 0.7 * math.sqrt(10)
    assert float(group.distance(a)) == pytest.approx(expected)


def test_translation_part_of_log_is_at_least_the_distance():
    # The reason for the Euclidean bound: |V| <= 1.
    for group, n in ((SE2(), 2), (SE3(), 3)):
        u = group.sample(500, generator=torch.Generator(), dtype=torch.float64)
        part = group.log(u)[:, -n:].norm(dim=-1)
        assert bool((part >= u[:, :n, n].norm(dim=-1) - 1e-12).all())


def test_self_pairs_are_exactly_zero(dtype):
    for group in (SE2(), SO3(), SE3()):
        u = group.sample(200, generator=torch.Generator(), dtype=dtype)
        assert not group.relative_log(u, u).any()


def test_lifts_of_one_point_differ_by_stabilizer_angles(dtype):
    # An even number of planar lifts has pairs at exactly pi: never -pi.
    for group, k in ((SE2(), 0), (SO3(), 0)):
        pos = torch.randn(30, group.space_dim, generator=torch.Generator(), dtype=dtype)
        u, _ = group.section(pos)
        u = group.compose(u[:, None], group.stabilizer_grid(4, dtype=dtype))
        angle = group.relative_log(u[:, :, None], u[:, None])[..., k]
        steps = (torch.arange(4)[:, None] - torch.arange(4)).to(dtype)
        expected = (steps * math.pi / 2 + math.pi - 0.1).remainder(2 * math.pi)
        expected = (expected - math.pi + 0.1).expand_as(angle)
        flips = (expected + math.pi).abs() < 0.01
        expected = torch.where(flips, -expected, expected)
        if group.dim == 3 and group.space_dim == 3:  # the sign is that of the rule
            angle = torch.where(
                (angle.abs() - math.pi).abs() < 0.01, angle.abs(), angle
            )
        assert_close(angle, expected, rtol=0, atol=1e-5)
