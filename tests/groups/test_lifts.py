"""Sections, origins, stabilizers and random elements."""

import pytest
import scipy.stats
import torch
from torch.testing import assert_close

from lieconv_pyg.groups import (
    SE2,
    SE3,
    SIM2,
    SO2,
    SO3,
    SQ,
    Rx,
    RxSO2,
    RxSQ,
    T,
    Trivial,
)
from lieconv_pyg.groups.rotation import quaternion_from_rotation, super_fibonacci
from tests.groups.cases import CLOSED_FORM, points


def angles(R: torch.Tensor) -> torch.Tensor:
    """Rotation angles of 3 x 3 matrices."""
    q = quaternion_from_rotation(R)
    return 2 * torch.atan2(q[..., 1:].norm(dim=-1), q[..., 0].abs())


def test_section_reaches_the_point(group, dtype):
    for shape in ((7,), (3, 3), (), (0,)):
        pos = points(group, *shape).to(dtype)
        u, q = group.section(pos)
        assert u.shape == (*shape, group.matrix_dim, group.matrix_dim)
        assert q.shape == (*shape, group.orbit_dim)
        assert u.dtype == q.dtype == dtype
        tol = 8 * torch.finfo(dtype).eps
        assert_close(group.act(u, group.origin(q)), pos, rtol=tol, atol=tol)
        group.check_points(pos)


def test_section_gives_group_elements(group, dtype):
    u, _ = group.section(points(group, 20).to(dtype))
    tol = 8 * torch.finfo(dtype).eps
    assert_close(group.exp(group.log(u)), u, rtol=tol, atol=tol)


def test_orbit_label_is_invariant(group):
    pos = points(group, 9)
    g = group.sample(9, generator=torch.Generator(), dtype=pos.dtype)
    _, q = group.section(pos)
    _, moved = group.section(group.act(g, pos))
    assert_close(moved, q, rtol=1e-12, atol=1e-12)


def test_unique_lifts_are_equivariant(group):
    if group.stabilizer_dim > 0:
        pytest.skip("many lifts")
    pos = points(group, 9)
    g = group.sample(9, generator=torch.Generator(), dtype=pos.dtype)
    u, _ = group.section(pos)
    moved, _ = group.section(group.act(g, pos))
    assert_close(moved, group.compose(g, u), rtol=1e-11, atol=1e-11)


def test_three_points_examples_and_lifts():
    # Sizes of 3 everywhere: nothing may mistake a batch dimension for space.
    for group in CLOSED_FORM:
        pos = points(group, 3, 3, 3)
        u, q = group.section(pos)
        one = [group.section(x) for x in pos.flatten(0, 2)]
        assert_close(u.flatten(0, 2), torch.stack([x[0] for x in one]))
        assert_close(q.flatten(0, 2), torch.stack([x[1] for x in one]))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12, 1e-8, 1e-5, 1e-4, 1e-2])
def test_lift_of_points_beside_the_antipode(dtype, size):
    group = SO3()
    angle = torch.arange(8, dtype=dtype)
    pos = torch.stack([-torch.ones(8), size * angle.cos(), size * angle.sin()], dim=-1)
    pos = 3 * pos.to(dtype)
    u, q = group.section(pos)
    tol = 8 * torch.finfo(dtype).eps
    eye = torch.eye(3, dtype=dtype).expand_as(u)
    assert_close(u @ u.mT, eye, rtol=0, atol=tol)
    assert_close(torch.linalg.det(u), torch.ones(8, dtype=dtype), rtol=0, atol=tol)
    assert_close(group.act(u, group.origin(q)), pos, rtol=tol, atol=tol)
    if size < 1e-6:  # rounding does not decide which way the rotation goes
        half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=dtype))
        assert_close(u, half_turn.expand_as(u), rtol=0, atol=4 * size + tol)


def test_origin_lifts_to_the_identity():
    for group in (SO2(), SO3()):
        u, q = group.section(torch.zeros(2, group.space_dim))
        assert torch.equal(u, group.identity(2))
        assert not q.any()


def test_tiny_and_huge_points(dtype):
    for group in (SO2(), SO3()):
        for scale in (1e-25, 1e25):
            pos = (scale * points(group, 5)).to(dtype)
            u, q = group.section(pos)
            assert_close(q[:, 0].double() / scale, points(group, 5).norm(dim=-1))
            eye = torch.eye(group.space_dim, dtype=dtype).expand_as(u)
            assert_close(u @ u.mT, eye)


@pytest.mark.parametrize("group", [RxSO2(), Rx(), RxSO2().subgroup((1,))], ids=repr)
def test_origin_is_refused(group):
    pos = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-0.0, 0.0]])
    with pytest.raises(ValueError, match=r"`pos` has 2 point\(s\) at the origin"):
        group.check_points(pos)


@pytest.mark.parametrize("group", [RxSQ(), SQ()], ids=repr)
def test_points_outside_the_quadrant_are_refused(group):
    pos = torch.tensor([[1.0, 2.0], [0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    with pytest.raises(ValueError, match=r"`pos` has 3 point\(s\) outside"):
        group.check_points(pos)


def test_points_of_another_dimension_are_refused(group):
    pos = torch.zeros(4, group.space_dim + 1)
    for method in (group.check_points, group.section):
        with pytest.raises(ValueError, match=r"`pos` must have shape \(\*, \d\)"):
            method(pos)
    with pytest.raises(TypeError, match="`pos` must be a tensor"):
        group.check_points([[0.0] * group.space_dim])
    with pytest.raises(TypeError, match="`pos` must be floating point"):
        group.check_points(torch.ones(4, group.space_dim, dtype=torch.long))


def test_stabilizer_fixes_the_origin(group, dtype):
    q = group.section(points(group, 6).to(dtype))[1]
    s = group.stabilizer_sample(6, generator=torch.Generator(), dtype=dtype)
    x = group.origin(q)
    assert_close(group.act(s, x), x)
    grid = group.stabilizer_grid(6, dtype=dtype)
    assert grid.shape == (6, group.matrix_dim, group.matrix_dim)
    assert grid.dtype == dtype
    assert_close(group.act(grid, x), x)
    assert torch.equal(grid[0], group.identity(dtype=dtype))
    assert torch.equal(grid, group.stabilizer_grid(6, dtype=dtype))
    if group.stabilizer_dim == 0:
        assert torch.equal(s, group.identity(6, dtype=dtype))
    for num in (0, -1, 1.5, True):
        with pytest.raises((ValueError, TypeError), match="'num' must be"):
            group.stabilizer_grid(num)


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 8])
def test_circular_grid(num):
    for group, block in ((SE2(), (0, 2)), (SO3(), (1, 3))):
        R = group.stabilizer_grid(num, dtype=torch.float64)[
            :, slice(*block), slice(*block)
        ]
        angle = torch.atan2(R[:, 1, 0], R[:, 0, 0]).remainder(2 * torch.pi)
        expected = 2 * torch.pi * torch.arange(num, dtype=torch.float64) / num
        assert_close(angle, expected, rtol=0, atol=1e-14)


def test_rotation_grid():
    for num in range(2, 33):
        R = SE3().stabilizer_grid(num, dtype=torch.float64)[:, :3, :3]
        angle = angles(R[:, None].mT @ R)[~torch.eye(num, dtype=torch.bool)]
        # Spread: balls of half the smallest angle fill a good part of SO(3), whose
        # volume is that of a ball of angle pi, with (angle - sin(angle)) / pi.
        half = angle.min() / 2
        filled = num * (half - half.sin()) / torch.pi
        assert filled > 0.08  # at random it is about 0.01
        assert angle.max() < torch.pi - 1e-3
    assert torch.equal(super_fibonacci(1), torch.tensor([[1.0, 0, 0, 0]]).double())


def uniform(sample, distribution) -> bool:
    return scipy.stats.kstest(sample.numpy(), distribution).pvalue > 0.01


def haar_angle(x):
    """The distribution function of the angle of a random rotation of space."""
    return (x - torch.as_tensor(x).sin().numpy()) / torch.pi


def test_random_rotations_of_space_are_uniform():
    generator = torch.Generator().manual_seed(0)
    settings = {"generator": generator, "dtype": torch.float64}
    draws = [
        SO3().sample(4000, **settings),
        SE3().sample(4000, **settings)[:, :3, :3],
        SE3().stabilizer_sample(4000, **settings)[:, :3, :3],
    ]
    fixed = SO3().exp(torch.tensor([0.4, -1.0, 0.7], dtype=torch.float64))
    for R in draws:
        for moved in (R, fixed @ R, R @ fixed):
            assert uniform(angles(moved), haar_angle)
            # By Archimedes, each entry is uniform on [-1, 1].
            for k in range(9):
                assert uniform((moved.flatten(1)[:, k] + 1) / 2, "uniform")
        assert_close(torch.linalg.det(R), torch.ones(4000, dtype=R.dtype))


def test_random_planar_rotations_are_uniform():
    generator = torch.Generator().manual_seed(0)
    settings = {"generator": generator, "dtype": torch.float64}
    draws = [
        SO2().sample(4000, **settings),
        RxSO2().sample(4000, **settings),
        RxSO2().subgroup((1,)).sample(4000, **settings),
        SE2().sample(4000, **settings)[:, :2, :2],
        SE2().stabilizer_sample(4000, **settings)[:, :2, :2],
        SIM2().sample(4000, **settings)[:, :2, :2],
        SIM2().stabilizer_sample(4000, **settings)[:, :2, :2],
        SO3().stabilizer_sample(4000, **settings)[:, 1:, 1:],
    ]
    for R in draws:
        angle = torch.atan2(R[:, 1, 0], R[:, 0, 0])
        assert uniform(angle / (2 * torch.pi) + 0.5, "uniform")


def test_random_translations_and_scales_are_normal():
    generator = torch.Generator().manual_seed(0)
    settings = {"generator": generator, "dtype": torch.float64, "scale": 0.3}
    for group, index in ((T(3), [0, 1, 2]), (RxSO2(), [0]), (RxSQ(), [0, 1])):
        a = group.log(group.sample(3000, **settings))
        for k in index:
            assert uniform(a[:, k] / 0.3, "norm")
    for group in (SE2(), SE3()):
        t = group.sample(3000, **settings)[:, :-1, -1]
        assert all(uniform(x / 0.3, "norm") for x in t.T)


def test_samples_are_reproducible_elements(any_group):
    shapes = ((), (4,), (2, 0), (3, 3))
    for shape in shapes:
        one = any_group.sample(*shape, generator=torch.Generator(), scale=0.3)
        two = any_group.sample(*shape, generator=torch.Generator(), scale=0.3)
        assert one.shape == (*shape, any_group.matrix_dim, any_group.matrix_dim)
        assert one.dtype == torch.float32
        assert torch.equal(one, two)
        assert_close(any_group.exp(any_group.log(one)), one, rtol=1e-5, atol=1e-5)
    assert Trivial(2).sample(3).shape == (3, 2, 2)
