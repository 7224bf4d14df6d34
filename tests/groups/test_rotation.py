"""Rotations of space: quaternions, and the branch of the logarithm."""

import itertools

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from lieconv_pyg.groups import SE3, SO3
from lieconv_pyg.groups import rotation as rot
from lieconv_pyg.groups.ops import branch_tolerance

AXES = [a for a in itertools.product((-2, -1, 0, 1, 2), repeat=3) if any(a)]


def axes(dtype: torch.dtype) -> torch.Tensor:
    axis = torch.tensor(AXES, dtype=torch.float64)
    return (axis / axis.norm(dim=-1, keepdim=True)).to(dtype)


def half_turns(axis: torch.Tensor) -> torch.Tensor:
    """Rotations by exactly pi, up to the rounding of the matrix."""
    eye = torch.eye(3, dtype=axis.dtype)
    return 2 * axis[..., :, None] * axis[..., None, :] - eye


def test_quaternions_are_scipys():
    q = torch.randn(100, 4, dtype=torch.float64)
    R = rot.rotation_from_quaternion(q)
    expected = Rotation.from_quat(q[:, [1, 2, 3, 0]].numpy()).as_matrix()
    assert_close(R, torch.from_numpy(expected))
    unit = q / q.norm(dim=-1, keepdim=True)
    back = rot.quaternion_from_rotation(R)
    sign = (back * unit).sum(dim=-1, keepdim=True).sign()
    assert_close(back * sign, unit)
    p = torch.randn(100, 4, dtype=torch.float64)
    product = rot.rotation_from_quaternion(rot.quaternion_product(p, q))
    assert_close(product, rot.rotation_from_quaternion(p) @ R)


def test_quaternions_of_every_row(dtype):
    # Each of the four rows is the longest for one of these.
    turns = torch.cat([torch.eye(3).unsqueeze(0), half_turns(torch.eye(3))]).to(dtype)
    q = rot.quaternion_from_rotation(turns)
    assert_close(q.abs(), torch.eye(4, dtype=dtype))


def test_half_turns_are_not_flipped_by_rounding(dtype):
    axis = axes(dtype)
    reference = rot.rotation_log(half_turns(axis))
    assert_close(
        reference.norm(dim=-1), torch.full((len(axis),), torch.pi, dtype=dtype)
    )
    noise = torch.finfo(dtype).eps
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        shift = torch.randn(len(axis), 3, 3, generator=generator, dtype=dtype)
        # Rounding errors of a product of a few rotations.
        noisy = half_turns(axis) + 2 * noise * shift
        assert_close(rot.rotation_log(noisy), reference, rtol=0, atol=40 * noise)


def test_opposite_half_turns_have_one_logarithm(dtype):
    axis = axes(dtype)
    for shift in (0.0, 1e-3, -1e-3):
        angle = torch.pi + shift * branch_tolerance(dtype)
        one, two = (
            rot.rotation_log(rot.rotation_exp(s * angle * axis)) for s in (1, -1)
        )
        assert_close(one, two, rtol=0, atol=4e-3 * branch_tolerance(dtype) + 1e-6)


def test_angle_beside_pi_is_that_of_the_rotation():
    # Outside the zone the angle is at most pi, inside at most pi + epsilon.
    eps = branch_tolerance(torch.float64)
    axis = axes(torch.float64)
    for gap in (0.0, 0.3, 0.9, 1.1, 2.0, 10.0, 1e4):
        for sign in (1, -1):
            a = rot.rotation_log(rot.rotation_exp((torch.pi + sign * gap * eps) * axis))
            limit = torch.pi + (eps if gap < 1 else 0)
            assert a.norm(dim=-1).max() <= limit + 1e-14
            back = rot.rotation_exp(a)
            turned = rot.rotation_exp((torch.pi + sign * gap * eps) * axis)
            assert_close(back, turned, rtol=0, atol=1e-14)


def test_pairs_of_principal_frames_are_stable():
    # Frames of one shape differ by half turns about its axes: see lifting/frames.
    signs = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
    base = SO3().sample(50, generator=torch.Generator().manual_seed(0))
    frames = base[:, None] * torch.tensor(signs, dtype=torch.float32)[None, :, None, :]
    turned = SO3().sample(generator=torch.Generator().manual_seed(1)) @ frames
    for group in (SO3(), SE3()):
        if group.dim == 6:
            embed = torch.eye(4).repeat(50, 4, 1, 1)
            one, two = embed.clone(), embed.clone()
            one[..., :3, :3], two[..., :3, :3] = frames, turned
        else:
            one, two = frames, turned
        a = group.relative_log(one[:, :, None], one[:, None])
        b = group.relative_log(two[:, :, None], two[:, None])
        assert_close(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [0.0, 0.5, 0.9, 1.1, 2.0, 100.0])
def test_rotation_to_direction(dtype, width):
    eps = torch.finfo(dtype).eps ** 0.25
    phi = torch.linspace(0, 6, 20, dtype=torch.float64)
    n = torch.stack(
        [-torch.ones(20), width * eps * phi.cos(), width * eps * phi.sin()], 1
    )
    n = torch.cat([n, torch.randn(200, 3), torch.eye(3), -torch.eye(3)]).double()
    n = (n / n.norm(dim=-1, keepdim=True)).to(dtype)
    R = rot.rotation_to_direction(n)
    tol = 8 * torch.finfo(dtype).eps
    assert_close(R[..., 0], n, rtol=0, atol=tol)
    assert_close(R @ R.mT, torch.eye(3, dtype=dtype).expand_as(R), rtol=0, atol=tol)
    assert_close(torch.linalg.det(R), torch.ones(len(n), dtype=dtype), rtol=0, atol=tol)


def test_rotation_to_direction_is_the_smallest():
    n = torch.randn(100, 3, dtype=torch.float64)
    n = n / n.norm(dim=-1, keepdim=True)
    angle = rot.rotation_log(rot.rotation_to_direction(n)).norm(dim=-1)
    assert_close(angle, n[:, 0].acos())
