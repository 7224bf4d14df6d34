import math

import pytest
import torch

from lieconv_pyg.groups import SE3, SO2, T
from lieconv_pyg.lifting import lift, lift_frames
from lieconv_pyg.neighbors import calibrate_radius, radius_graph
from tests.clouds import (
    DTYPES,
    GROUPS,
    all_distances,
    cloud,
    generator,
    lifted_cloud,
    lifts,
    ragged_batch,
)


def achieved(group, lifted, radius):
    distance, same = all_distances(group, lifted)
    inside = ((distance < radius) & same).sum(dim=1)
    return float((inside / same.sum(dim=1)).mean())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_fill_is_achieved(group, dtype):
    lifted = lift(
        group, cloud(group, 60, 4, dtype), None, lifts(group), generator=generator()
    )
    pairs = lifted.num_points**2
    for fill in (0.05, 0.31, 0.5, 0.77, 0.95):
        radius = calibrate_radius(group, lifted, fill)
        assert radius.shape == ()
        assert radius.dtype == dtype
        # In single precision a few distances are equal to rounding.
        step = 1.001 / pairs if dtype == torch.float64 else 4 / pairs
        assert abs(achieved(group, lifted, radius) - fill) <= step


@pytest.mark.parametrize("group", [T(3), SO2(), SE3()], ids=str)
def test_ragged_batch(group):
    sizes = (40, 10, 25)
    lifted = lift(
        group,
        cloud(group, 75),
        ragged_batch(*sizes),
        lifts(group),
        generator=generator(),
    )
    # A pair of the smallest example has the largest weight.
    step = 1.001 / (lifted.num_points * 10 * lifts(group))
    for fill in (0.15, 0.4, 0.8):
        radius = calibrate_radius(group, lifted, fill)
        assert abs(achieved(group, lifted, radius) - fill) <= step


def test_frames_count_as_components():
    group, pos = SE3(), cloud(SE3(), 30)
    lifted = lift_frames(group, pos)
    radius = calibrate_radius(group, lifted, 0.3)
    graph = radius_graph(group, lifted, radius)
    assert graph.edge_index.size(1) / (4 * 30**2) == pytest.approx(0.3, abs=1 / 900)


def test_radius_is_not_a_distance_of_the_data():
    lifted = lifted_cloud(SE3(), sizes=(31,))
    distance, _ = all_distances(SE3(), lifted)
    for fill in (0.1, 0.5, 0.9, 0.9999):
        radius = calibrate_radius(SE3(), lifted, fill)
        gap = (distance - radius).abs().min()
        assert gap > 1e-9
        assert radius.isfinite()


def test_sampled_targets():
    lifted = lift(T(3), cloud(T(3), 600), ragged_batch(400, 200))
    radius = calibrate_radius(T(3), lifted, 0.3, max_pairs=20_000)
    assert achieved(T(3), lifted, radius) == pytest.approx(0.3, abs=0.02)
    assert radius == calibrate_radius(T(3), lifted, 0.3, max_pairs=20_000)
    other = calibrate_radius(T(3), lifted, 0.3, generator(3), max_pairs=20_000)
    assert radius != other
    assert calibrate_radius(T(3), lifted, 0.3, max_pairs=1).isfinite()


def test_order_does_not_matter():
    lifted = lifted_cloud(SE3(), sizes=(31,))
    order = torch.randperm(lifted.num_points, generator=generator())
    first = calibrate_radius(SE3(), lifted, 0.4)
    second = calibrate_radius(SE3(), lifted.select(order), 0.4)
    assert torch.allclose(first, second, rtol=1e-13)


def test_whole_example():
    lifted = lifted_cloud(T(3))
    assert calibrate_radius(T(3), lifted, 1) == math.inf
    assert calibrate_radius(T(3), lifted, 1.0).shape == ()
    # All distances are zero: any radius will do.
    coincident = lift(T(3), torch.ones(4, 3), ragged_batch(3, 1))
    assert calibrate_radius(T(3), coincident, 0.5) == math.inf


def test_small_fill_keeps_the_point_itself():
    lifted = lift(T(3), cloud(T(3), 20))
    radius = calibrate_radius(T(3), lifted, 1e-6)
    assert radius > 0
    assert radius_graph(T(3), lifted, radius).edge_index.size(1) == 20


def test_no_gradient():
    pos = cloud(T(3), 20).requires_grad_()
    assert not calibrate_radius(T(3), lift(T(3), pos), 0.5).requires_grad


@pytest.mark.parametrize("fill", [0, -0.2, 1.5, float("nan")])
def test_bad_fill(fill):
    with pytest.raises(ValueError, match=r"'fill' must be in \(0, 1\]"):
        calibrate_radius(T(3), lifted_cloud(T(3)), fill)


def test_no_points():
    lifted = lifted_cloud(T(3))
    with pytest.raises(ValueError, match="'lifted' is empty"):
        calibrate_radius(T(3), lifted.select(torch.zeros(66).bool()), 0.5)
