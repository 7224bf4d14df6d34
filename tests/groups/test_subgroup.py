"""Subgroups by generators."""

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.groups import SE2, SE3, SO3, SQ, Rx, RxSO2, RxSQ, Subgroup, T, Tx
from tests.groups.cases import MATRIX, algebra, points


def test_rotations_of_se3_are_so3():
    group = SE3().subgroup((0, 1, 2))
    a = algebra(SO3(), 20, 2.5)
    u = group.exp(a)
    assert group.dim == 3
    assert group.orbit_dim == 0
    assert_close(u[:, :3, :3], SO3().exp(a))
    assert_close(group.log(u), a)
    assert_close(group.bracket(a, a.flip(0)), SO3().bracket(a, a.flip(0)))
    assert_close(group.adjoint(u), u[:, :3, :3])
    v = group.sample(5, generator=torch.Generator(), dtype=torch.float64)
    assert not v[:, :3, 3].any()
    assert_close(group.relative_log(u[:5], v), group.log(torch.linalg.inv(v) @ u[:5]))


def test_translations_of_se2_are_t2():
    group = SE2(alpha=0.4).subgroup((1, 2))
    a = algebra(T(2), 8, 0.0)
    assert_close(group.exp(a), T(2).exp(a))
    assert group.alpha == 0.4
    pairs = group.relative_log(group.exp(a), group.exp(a.flip(0)))
    assert_close(pairs, a - a.flip(0))
    assert_close(group.distance(pairs), 0.4 * pairs.norm(dim=-1))


def test_order_of_generators():
    group = T(3).subgroup((2, 0))
    assert group.exp(torch.tensor([5.0, 7.0]))[:3, 3].tolist() == [7, 0, 5]
    _, q = group.section(torch.tensor([1.0, 2.0, 3.0]))
    assert q.tolist() == [2]


def test_nothing_and_everything():
    nothing = T(3).subgroup(())
    pos = points(T(3), 4)
    u, q = nothing.section(pos)
    assert nothing.dim == 0
    assert torch.equal(u, T(3).identity(4, dtype=u.dtype))
    assert torch.equal(q, pos)
    pairs = nothing.pairs(u, q, u, q.flip(0))
    expected = 0.8 * (q - q.flip(0)).norm(dim=-1)
    assert_close(nothing.distance(pairs), expected)
    everything = SE3().subgroup(range(6))
    a = algebra(SE3(), 4, 2.0)
    assert_close(everything.exp(a), SE3().exp(a))


def test_subgroup_of_a_subgroup():
    group = T(4).subgroup((3, 1, 0)).subgroup((1,))
    pos = points(T(4), 5)
    u, q = group.section(pos)
    assert_close(group.log(u)[:, 0], pos[:, 1])
    assert_close(q, pos[:, [2, 3, 0]])
    assert_close(group.act(u, group.origin(q)), pos)
    assert_close(group.embed(u, q), torch.cat([0.2 * pos[:, 1:2], 0.8 * q], dim=-1))


def test_named_subgroups_are_subgroups():
    for named, group in (
        (Tx(3), T(3).subgroup((0,))),
        (Rx(), RxSO2().subgroup((0,))),
        (SQ(), RxSQ().subgroup((1,))),
    ):
        assert named != group
        for one, two in zip(
            named.section(points(named, 5)),
            group.section(points(named, 5)),
            strict=True,
        ):
            assert torch.equal(one, two)


def test_generators_that_are_not_closed():
    with pytest.raises(ValueError, match="not closed under the bracket"):
        SO3().subgroup((0, 1))
    with pytest.raises(ValueError, match="not closed under the bracket"):
        SE2().subgroup((0, 1))
    with pytest.raises(ValueError, match="not closed under the bracket"):
        MATRIX["sl(2)"].subgroup((1, 2))
    assert MATRIX["sl(2)"].subgroup((0, 1)).dim == 2
    assert SE3().subgroup((2, 3, 4)).dim == 3  # rotation and translation of a plane


@pytest.mark.parametrize("indices", [(3,), (-1,), (0, 0), (0.0,), ("x",), (True,)])
def test_wrong_indices(indices):
    with pytest.raises(ValueError, match="`indices` must be"):
        T(3).subgroup(indices)


def test_wrong_group():
    with pytest.raises(TypeError, match="`group` must be a LieGroup, got ABCMeta"):
        Subgroup(SE3, (0,))


def test_lifting_needs_a_commutative_group_with_unique_lifts():
    for group in (
        SE3().subgroup((3, 4, 5)),
        SO3().subgroup((0,)),
        SE2().subgroup((0,)),
    ):
        for call in (group.section, group.check_points, group.origin):
            with pytest.raises(ValueError, match="cannot lift points"):
                call(torch.zeros(4, group.space_dim))
        u = group.identity(2)
        assert group.embed(u, u[:, 0, :0]) is None
