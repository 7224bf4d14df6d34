import math

import pytest
import torch

from lieconv_pyg.groups import SE2, SE3, T
from lieconv_pyg.lifting import lift, lift_frames
from lieconv_pyg.neighbors import farthest_points
from tests.clouds import (
    DTYPES,
    GROUPS,
    all_distances,
    cloud,
    generator,
    lifted_cloud,
    moved,
    ragged_batch,
)


def reference(group, lifted, ratio):
    """The definition, one component after the other."""
    kept = []
    for component in lifted.component.unique().tolist():
        index = (lifted.component == component).nonzero().view(-1)
        distance, _ = all_distances(group, lifted.select(index))
        chosen = [int(distance.sum(dim=1).argmax())]
        while len(chosen) < math.ceil(ratio * index.numel() - 1e-9):
            nearest = distance[:, chosen].amin(dim=1)
            nearest[chosen] = -1
            chosen.append(int(nearest.argmax()))
        kept += index[chosen].tolist()
    return sorted(kept)


@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.99])
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_equals_definition(group, ratio):
    pos, batch = cloud(group, 40), ragged_batch(23, 1, 13, 3)
    lifted = lift(group, pos, batch, generator=generator())
    index = farthest_points(group, lifted, ratio, max_pairs=50)
    assert index.tolist() == reference(group, lifted, ratio)


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5])
def test_number_of_points(ratio):
    lifted = lift(T(3), cloud(T(3), 61), ragged_batch(40, 1, 20))
    index = farthest_points(T(3), lifted, ratio)
    counts = lifted.batch[index].bincount().tolist()
    assert counts == [40 * ratio, 1, 20 * ratio]


def test_tenths_are_not_rounded_up_twice():
    lifted = lift(T(3), cloud(T(3), 10))
    for tenths in range(1, 10):
        assert farthest_points(T(3), lifted, tenths * 0.1).numel() == tenths


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_order_and_pose_do_not_matter(group):
    pos, batch = cloud(group, 40), ragged_batch(30, 10)
    lifted = lift(group, pos, batch, 2, fixed=True)
    kept = set(farthest_points(group, lifted, 0.3).tolist())
    assert set(farthest_points(group, moved(group, lifted), 0.3).tolist()) == kept
    order = torch.randperm(lifted.num_points, generator=generator(2))
    order = order[lifted.batch[order].argsort(stable=True)]
    permuted = farthest_points(group, lifted.select(order), 0.3)
    if group.stabilizer_dim > 0:
        assert set(order[permuted].tolist()) == kept
    else:  # the two lifts of a point are the same
        point = lifted.point
        found = set(point[order[permuted]].tolist())
        assert found == set(point[list(kept)].tolist())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_order_does_not_matter_on_a_grid(dtype):
    # Many equal distances: decided by coordinates, not by index.
    line = torch.arange(7, dtype=dtype)
    pos = torch.cartesian_prod(line, line)
    group = SE2()
    lifted = lift(group, pos, None, 2, fixed=True)
    kept = set(farthest_points(group, lifted, 0.2).tolist())
    for seed in range(4):
        order = torch.randperm(98, generator=generator(seed))
        permuted = farthest_points(group, lifted.select(order), 0.2)
        assert set(order[permuted].tolist()) == kept


@pytest.mark.parametrize("group", [T(2), SE2()], ids=str)
def test_pose_does_not_matter_on_a_grid(group):
    line = torch.arange(7, dtype=torch.float64)
    lifted = lift(group, torch.cartesian_prod(line, line), None, 2, fixed=True)
    lifted = lifted.select(lifted.point.diff(prepend=torch.tensor([-1])) > 0)
    kept = farthest_points(group, lifted, 0.2)
    for seed in range(4):
        other = farthest_points(group, moved(group, lifted, seed), 0.2)
        assert torch.equal(kept, other)


def test_batched_equals_single():
    group, pos = SE3(), cloud(SE3(), 30)
    lifted = lift(group, pos, ragged_batch(12, 18), 2, fixed=True)
    first = farthest_points(group, lifted.select(torch.arange(24)), 0.4)
    second = farthest_points(group, lifted.select(torch.arange(24, 60)), 0.4)
    assert farthest_points(group, lifted, 0.4).tolist() == [
        *first.tolist(),
        *(second + 24).tolist(),
    ]


def test_frames_are_sampled_alike():
    group = SE3()
    lifted = lift_frames(group, cloud(group, 20), None)
    index = farthest_points(group, lifted, 0.3)
    kept = [lifted.point[index[lifted.component[index] == f]] for f in range(4)]
    assert all(torch.equal(kept[0], other) for other in kept)


def test_coincident_points_and_whole_clouds():
    lifted = lift(T(3), torch.ones(6, 3), ragged_batch(4, 2))
    index = farthest_points(T(3), lifted, 0.5)
    assert lifted.batch[index].tolist() == [0, 0, 1]
    assert torch.equal(farthest_points(T(3), lifted, 1), torch.arange(6))
    assert farthest_points(T(3), lifted.select(torch.zeros(6).bool()), 0.5).numel() == 0


def test_covers_the_cloud():
    pos = torch.cat([cloud(T(2), 200) * 0.01, cloud(T(2), 3, 5) * 0.01 + 9])
    index = farthest_points(T(2), lift(T(2), pos), 0.02)
    assert bool((index < 200).any())
    assert bool((index >= 200).any())


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, float("nan")])
def test_bad_ratio(ratio):
    with pytest.raises(ValueError, match=r"'ratio' must be in \(0, 1\]"):
        farthest_points(T(3), lifted_cloud(T(3)), ratio)
