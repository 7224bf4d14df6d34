import math

import pytest
import torch

from lieconv_pyg.groups import SE2, SE3, SIM2, SO3, T
from lieconv_pyg.lifting import frames, lift, lift_frames
from lieconv_pyg.neighbors import radius_graph
from tests.clouds import GROUPS, cloud, ragged_batch
from tests.lifting.shapes import (
    CASES,
    IDS,
    LOOSE,
    generic,
    rigid_motion,
    same_set,
)


def groups_of(dim):
    return [SE2(), SIM2()] if dim == 2 else [SE3(), SO3()]


GROUP_CASES = [
    pytest.param(group, *case, id=f"{group}, {name}")
    for case, name in zip(CASES, IDS, strict=True)
    for group in groups_of(case[1])
]


def motion(group, seed):
    """A group element, and the point cloud that it moves."""
    rotation, shift = rigid_motion(group.space_dim, seed)
    if group.matrix_dim == group.space_dim:
        return rotation
    g = torch.eye(group.matrix_dim, dtype=torch.float64)
    g[:-1, :-1], g[:-1, -1] = rotation, shift
    if group == SIM2():
        g[:-1, :-1] *= math.exp(0.3 * seed - 1)
    return g


def pair_sets(group, pos):
    """For each frame, the coordinates of all pairs, in the order of the points."""
    lifted = lift_frames(group, pos)
    graph = radius_graph(group, lifted, math.inf)
    return graph.edge_attr.view(int(lifted.component[-1]) + 1, -1)


@pytest.mark.parametrize(("group", "name", "dim", "pos", "number"), GROUP_CASES)
def test_pairs_are_invariant(group, name, dim, pos, number):
    if group == SO3():
        pos = pos - pos.mean(dim=0)
    before = pair_sets(group, pos)
    for seed in range(3):
        after = pair_sets(group, group.act(motion(group, seed), pos))
        assert same_set(before, after, 1e-9)


@pytest.mark.parametrize("pos", [generic(7, 3) + 5, generic(1, 3), generic(2, 3)])
def test_pairs_are_invariant_about_the_origin(pos):
    # SO(3) turns a cloud about the origin, wherever the centroid is.
    before = pair_sets(SO3(), pos)
    after = pair_sets(SO3(), pos @ motion(SO3(), 1).T)
    assert same_set(before, after, 1e-9)


@pytest.mark.parametrize(
    ("group", "name", "dim", "pos", "number"),
    [case for case in GROUP_CASES if case.values[1] not in LOOSE],
)
def test_elements_are_equivariant_as_a_set(group, name, dim, pos, number):
    if group == SO3():
        pos = pos - pos.mean(dim=0)
        pos = pos[pos.norm(dim=1) > 0.1]
    g = motion(group, 1)
    before = lift_frames(group, pos)
    after = lift_frames(group, group.act(g, pos))
    shape = (-1, pos.size(0) * group.matrix_dim**2)
    expected = group.compose(g, before.element).reshape(shape)
    assert same_set(expected, after.element.reshape(shape), 1e-9)


@pytest.mark.parametrize(("group", "name", "dim", "pos", "number"), GROUP_CASES)
def test_lifts_reach_their_points(group, name, dim, pos, number):
    lifted = lift_frames(group, pos)
    reached = group.act(lifted.element, group.origin(lifted.orbit))
    assert torch.allclose(reached, pos[lifted.point], atol=1e-10)


@pytest.mark.parametrize("group", [SE2(), SIM2(), SO3(), SE3()], ids=str)
def test_layout(group):
    pos, batch = cloud(group, 12), torch.tensor([0] * 5 + [2] * 6 + [3])
    lifted = lift_frames(group, pos, batch)
    # About the origin, a single point lies on a line: two frames.
    last = 2 if group == SO3() else 1
    count = frames(pos, batch).batch.bincount().tolist()
    usual = count[0]
    sizes = [5] * usual + [6] * usual + [1] * last
    assert torch.equal(lifted.component, ragged_batch(*sizes))
    points = [range(5)] * usual + [range(5, 11)] * usual + [[11]] * last
    assert lifted.point.tolist() == [p for part in points for p in part]
    assert torch.equal(lifted.batch, batch[lifted.point])
    assert bool((lifted.batch.diff() >= 0).all())


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_unique_lifts_need_no_frames(group):
    if group.stabilizer_dim == 0:
        pos, batch = cloud(group, 12), ragged_batch(5, 7)
        first, second = lift(group, pos, batch), lift_frames(group, pos, batch)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("group", [SE2(), SO3(), SE3()], ids=str)
def test_precision(group, dtype):
    lifted = lift_frames(group, cloud(group, 9, dtype=dtype))
    assert lifted.element.dtype == dtype
    rotation = lifted.element[:, : group.space_dim, : group.space_dim]
    gram = rotation.mT @ rotation
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    eye = torch.eye(group.space_dim, dtype=dtype)
    assert torch.allclose(gram, eye.expand_as(gram), atol=tolerance)


@pytest.mark.parametrize(("group", "name", "dim", "pos", "number"), GROUP_CASES)
def test_gradients_are_finite(group, name, dim, pos, number):
    leaf = torch.cat([pos, generic(5, dim)]).requires_grad_()
    batch = ragged_batch(len(pos), 5)
    lifted = lift_frames(group, leaf, batch)
    graph = radius_graph(group, lifted, math.inf)
    value = graph.edge_attr.square().sum() + graph.distance.sum()
    value = value + lifted.element.square().sum() + lifted.orbit.sum()
    (gradient,) = torch.autograd.grad(value, leaf)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("group", [SE2(), SIM2(), SO3(), SE3()], ids=str)
def test_gradients_are_right(group):
    pos = generic(5, group.space_dim).requires_grad_()
    weight = torch.linspace(0.5, 2, group.dim + 2 * group.orbit_dim).double()

    def function(pos):
        # Averages over frames: eigenvectors have no sign of their own.
        graph = radius_graph(group, lift_frames(group, pos), math.inf)
        return (graph.edge_attr @ weight).tanh().view(-1, 25).mean(dim=0)

    assert torch.autograd.gradcheck(function, pos)


def test_groups_without_frames():
    class Rotations(T):
        stabilizer_dim = 1

    with pytest.raises(ValueError, match=r"no equivariant frames.*lift='haar'"):
        lift_frames(Rotations(3), cloud(T(3), 4))


@pytest.mark.parametrize("group", [SE2(), SIM2(), SO3(), SE3()], ids=str)
def test_autocast_leaves_frames_alone(group):
    pos = cloud(group, 6, dtype=torch.float)
    expected = lift_frames(group, pos)
    with torch.autocast("cpu", torch.bfloat16):
        lifted = lift_frames(group, pos)
    assert lifted.element.equal(expected.element)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sizes(dtype):
    """The scale of frames of similarities is that of each example."""
    pos = torch.cat([3 * generic(6, 2) + 20, generic(1, 2), 0.1 + torch.zeros(4, 2)])
    batch = torch.tensor([0] * 6 + [2] + [5] * 4)
    lifted = lift_frames(SIM2(), pos.to(dtype), batch)
    scale = lifted.element[:, :2, :2].det().sqrt()
    spread = pos[:6] - pos[:6].mean(0)
    size = spread.square().sum(1).mean().sqrt().to(dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(
        scale[lifted.batch == 0], size.expand(12), rtol=tolerance, atol=0
    )
    ones = torch.ones_like(scale[lifted.batch > 0])
    torch.testing.assert_close(scale[lifted.batch > 0], ones)
