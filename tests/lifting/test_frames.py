from importlib import import_module

import pytest
import torch

from lieconv_pyg.lifting import Frames, frames
from tests.lifting.shapes import (
    CASES,
    IDS,
    LOOSE,
    SPACE,
    atoms,
    generic,
    rigid_motion,
    same_set,
)


def coordinates(found: Frames, pos: torch.Tensor) -> torch.Tensor:
    """Points in each frame, in the order of the points, (F, n d)."""
    return ((pos - found.center[:, None]) @ found.rotation).flatten(1)


@pytest.mark.parametrize(("name", "dim", "pos", "number"), CASES, ids=IDS)
def test_shape_and_number(name, dim, pos, number):
    found = frames(pos)
    if number is not None:
        assert found.rotation.size(0) == number
    count = found.rotation.size(0)
    assert found.rotation.shape == (count, dim, dim)
    assert found.center.shape == (count, dim)
    assert found.batch.tolist() == [0] * count
    eye = torch.eye(dim, dtype=torch.float64)
    gram = found.rotation.mT @ found.rotation
    assert torch.allclose(gram, eye.expand_as(gram), atol=1e-12)
    assert torch.allclose(torch.linalg.det(found.rotation), gram.new_ones(count))
    assert torch.allclose(found.center, pos.mean(0).expand(count, -1), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("name", "dim", "pos", "number"), CASES, ids=IDS)
def test_equivariant_as_a_set(name, dim, pos, number, seed):
    rotation, shift = rigid_motion(dim, seed)
    moved = pos @ rotation.T + shift
    before, after = frames(pos), frames(moved)
    assert same_set(coordinates(before, pos), coordinates(after, moved), 1e-10)
    assert torch.allclose(before.center @ rotation.T + shift, after.center, atol=1e-12)
    if name not in LOOSE:
        expected = (rotation @ before.rotation).flatten(1)
        assert same_set(expected, after.rotation.flatten(1), 1e-10)


@pytest.mark.parametrize(("name", "dim", "pos", "number"), CASES, ids=IDS)
def test_order_of_points_does_not_matter(name, dim, pos, number):
    order = torch.randperm(len(pos), generator=torch.Generator().manual_seed(0))
    before, after = frames(pos), frames(pos[order])
    assert same_set(before.rotation.flatten(1), after.rotation.flatten(1), 1e-10)


@pytest.mark.parametrize("dim", [2, 3])
def test_batched_equals_single(dim):
    clouds = [case[2] for case in CASES if case[1] == dim]
    sizes = torch.tensor([len(pos) for pos in clouds])
    # Examples 1, 3, 5, ...: some numbers have no points.
    batch = (1 + 2 * torch.arange(len(clouds))).repeat_interleave(sizes)
    found = frames(torch.cat(clouds), batch)
    singles = [frames(pos) for pos in clouds]
    expected = torch.cat(
        [torch.full_like(one.batch, 1 + 2 * k) for k, one in enumerate(singles)]
    )
    assert torch.equal(found.batch, expected)
    rotation = torch.cat([one.rotation for one in singles])
    for number in expected.unique():
        same = expected == number
        assert same_set(
            found.rotation[same].flatten(1), rotation[same].flatten(1), 1e-12
        )


def test_mirror_images_are_kept_apart():
    pos = atoms("CH3CH2OH") + 0.1 * generic(9, 3)
    mirror = pos * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    before, after = frames(pos), frames(mirror)
    assert not same_set(coordinates(before, pos), coordinates(after, mirror), 1e-3)
    # The same with a symmetric shape and one point that is not on its mirror plane.
    methane = atoms("CH4")
    extra = torch.tensor([[0.11, 0.23, 0.05]], dtype=torch.float64)
    rotations = frames(methane).rotation
    mirrored = extra * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert not same_set(
        (extra @ rotations).flatten(1), (mirrored @ rotations).flatten(1), 1e-3
    )


@pytest.mark.parametrize(
    "name", ["generic", "methane", "benzene", "ammonia", "water (planar)"]
)
def test_frames_follow_small_changes(name):
    # Tabulated coordinates are symmetric to some 1e-6: no frame may depend on that.
    pos = SPACE[name][0]
    nudged = pos + 1e-6 * generic(len(pos), 3, seed=3)
    before, after = frames(pos).rotation, frames(nudged).rotation
    assert same_set(before.flatten(1), after.flatten(1), 1e-4)


@pytest.mark.parametrize(("name", "dim", "pos", "number"), CASES, ids=IDS)
def test_single_precision(name, dim, pos, number):
    found = frames(pos.float())
    assert found.rotation.dtype == found.center.dtype == torch.float32
    rotation, shift = rigid_motion(dim)
    moved = (pos @ rotation.T + shift).float()
    after = frames(moved)
    if number is not None:
        assert found.rotation.size(0) == after.rotation.size(0) == number
    assert same_set(coordinates(found, pos.float()), coordinates(after, moved), 2e-4)


@pytest.mark.parametrize("shift", [0.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_coincident_points_far_away(dtype, shift):
    pos = (torch.tensor([[0.3, -1.2, 0.7]]).double() + shift).to(dtype).expand(7, 3)
    assert torch.equal(frames(pos).rotation, torch.eye(3, dtype=dtype)[None])


def test_about_the_origin():
    pos = generic(6, 3) + 2
    rotation, _ = rigid_motion(3)
    before = frames(pos, centered=False)
    after = frames(pos @ rotation.T, centered=False)
    assert bool((before.center == 0).all())
    expected = (rotation @ before.rotation).flatten(1)
    assert same_set(expected, after.rotation.flatten(1), 1e-10)
    axes = before.rotation[0]
    moment = axes.T @ pos.T @ pos @ axes
    assert torch.allclose(moment, torch.diag(moment.diag()), atol=1e-10)


@pytest.mark.parametrize(("name", "dim", "pos", "number"), CASES, ids=IDS)
def test_gradients_are_finite(name, dim, pos, number):
    # Alone, and in a batch with another shape.
    other = generic(7, dim, seed=8)
    for clouds in ([pos], [other, pos, other]):
        leaf = torch.cat(clouds).requires_grad_()
        sizes = torch.tensor([len(cloud) for cloud in clouds])
        batch = torch.arange(len(clouds)).repeat_interleave(sizes)
        found = frames(leaf, batch)
        weight = torch.linspace(1, 2, found.rotation.numel()).view_as(found.rotation)
        value = (found.rotation * weight).sum() + found.center.sum()
        (gradient,) = torch.autograd.grad(value, leaf)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("dim", [2, 3])
def test_gradients_are_right(dim):
    pos = generic(6, dim).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: frames(x).rotation.abs(), pos)


@pytest.mark.parametrize(
    "name", ["methane", "ammonia", "carbon dioxide (linear)", "two atoms"]
)
def test_gradients_of_symmetric_shapes_follow_the_points(name):
    # Coordinates in a frame do not change when the shape is turned.
    pos = SPACE[name][0]
    spin = torch.tensor([[0, -1, 0.3], [1, 0, -2], [-0.3, 2, 0]]).double()

    def function(t):
        turned = pos @ torch.linalg.matrix_exp(t * spin).T
        found = frames(turned)
        return coordinates(found, turned)

    zero = torch.zeros((), dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(function, zero)
    assert slope.abs().max() < 1e-8


def test_too_symmetric():
    angle = torch.linspace(0, 2 * torch.pi, 5001, dtype=torch.float64)[:-1]
    ring = torch.stack([angle.cos(), angle.sin()], dim=1)
    with pytest.raises(ValueError, match=r"5000 equivariant frames.*lift='haar'"):
        frames(ring)
    with pytest.raises(ValueError, match="equivariant frames, more than 4096"):
        frames(torch.cat([ring[::4], torch.zeros(1250, 1)], dim=1))


def test_no_frames_in_four_dimensions():
    with pytest.raises(ValueError, match="'pos' must have 2 or 3 coordinates"):
        frames(torch.randn(5, 4))


def test_usual_shapes_need_no_loop(monkeypatch):
    def refuse(*args):
        raise AssertionError

    module = import_module("lieconv_pyg.lifting.frames")
    monkeypatch.setattr(module, "symmetric_frames", refuse)
    found = frames(generic(300, 3), torch.arange(30).repeat_interleave(10))
    assert found.batch.tolist() == [k for k in range(30) for _ in range(4)]


@pytest.mark.parametrize(("name", "dim", "pos", "number"), CASES, ids=IDS)
def test_means_of_vectors_follow_the_shape(name, dim, pos, number):
    """Also where the usual frames are arbitrary, which half turns make up for."""

    def mean(pos):
        found = frames(pos, vectors=True)
        local = coordinates(found, pos)
        weight = torch.linspace(-1, 2, local[0].numel() * dim).double()
        v = (local @ weight.view(-1, dim)).sin() + torch.arange(1.0, dim + 1)
        return (found.rotation * v.unsqueeze(1)).sum(-1).mean(0)

    rotation, shift = rigid_motion(dim, 1)
    out = mean(pos)
    assert torch.allclose(mean(pos @ rotation.T + shift), rotation @ out, atol=1e-10)
    assert bool(out.abs().max() < 1e-10) == ("one p" in name or "one atom" in name)
    if name not in LOOSE:
        expected = frames(pos)
        assert all(map(torch.equal, frames(pos, vectors=True), expected))
