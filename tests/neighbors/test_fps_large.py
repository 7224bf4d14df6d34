"""Farthest points of clouds that are too large for one point at a time."""

import math

import pytest
import torch

from lieconv_pyg.groups import SE2, SE3, SO2, SO3, T, Tx
from lieconv_pyg.lifting import lift
from lieconv_pyg.neighbors import farthest_points, fps

from ..clouds import NoBound, all_distances, cloud, generator, moved


def one_by_one(group, lifted, ratio, first):
    """The definition from given first points, one component after the other."""
    kept = []
    for component in lifted.component.unique().tolist():
        index = (lifted.component == component).nonzero().view(-1)
        distance, _ = all_distances(group, lifted.select(index))
        start = next(int(f) for f in first if int(f) in index.tolist())
        new = int((index == start).nonzero())
        chosen, nearest = [], distance[:, new].clone()
        for _ in range(math.ceil(ratio * index.numel() - 1e-9)):
            chosen.append(new)
            nearest = torch.minimum(nearest, distance[:, new])
            nearest[chosen] = -1
            new = int(nearest.argmax())
        kept += index[chosen].tolist()
    return sorted(kept)


@pytest.mark.parametrize(
    ("group", "dtype"),
    [(T(3), torch.float32), (SE2(), torch.float32)]
    + [(g, torch.float64) for g in (T(2), Tx(), SO2(), SE2(), SE3(), NoBound(2))],
    ids=str,
)
def test_is_one_point_at_a_time(group, dtype):
    """For points in general position; components of different size."""
    sizes = [1100, 40, 200]
    pos = cloud(group, sum(sizes), dtype=dtype)
    batch = torch.arange(3).repeat_interleave(torch.tensor(sizes))
    lifted = lift(group, pos, batch, generator=generator())
    for ratio in (0.02, 0.3):
        index = farthest_points(group, lifted, ratio)
        first = farthest_points(group, lifted, 1e-9)
        assert index.tolist() == one_by_one(group, lifted, ratio, first)


@pytest.mark.parametrize(
    "group", [T(2), T(3), Tx(), SO2(), SE2(), SO3(), SE3()], ids=str
)
def test_means_instead_of_pairs(group, monkeypatch):
    """Neither order nor pose matters, as with sums over all pairs."""
    monkeypatch.setattr(fps, "MAX_SUMMED", 10)
    lifted = lift(group, cloud(group, 300), generator=generator())
    index = farthest_points(group, lifted, 0.2)
    assert torch.equal(farthest_points(group, moved(group, lifted), 0.2), index)
    order = torch.randperm(300, generator=generator(3))
    shuffled = lifted.select(order)._replace(batch=lifted.batch)
    again = order[farthest_points(group, shuffled, 0.2)]
    assert torch.equal(again.sort().values, index)
    far = lifted._replace(element=lifted.element.float())
    if isinstance(group, T):
        far.element[:, :-1, -1] += 300.0  # precise far from the origin too
        assert torch.equal(farthest_points(group, far, 0.2), index)


@pytest.mark.parametrize("group", [T(2), SO2(), SE2()], ids=str)
def test_regular_grids(group):
    """Many equal distances: no point is chosen that others should precede."""
    c = torch.arange(40.0).double() - 19.5
    pos = torch.cartesian_prod(c, c)
    lifted = lift(group, pos, num_lifts=1, fixed=True)
    distance, _ = all_distances(group, lifted)
    index = farthest_points(group, lifted, 0.25)
    assert index.numel() == 400
    others = torch.ones(1600, dtype=torch.bool).index_fill(0, index, False)
    apart = distance[index][:, index].fill_diagonal_(math.inf).min()
    covered = distance[:, index].amin(1)[others].max()
    assert covered <= apart * (1 + 1e-9)


def test_random_first_points():
    lifted = lift(T(2), cloud(T(2), 200), torch.arange(2).repeat_interleave(100))
    seen = set()
    for seed in range(12):
        first = farthest_points(T(2), lifted, 1e-9, generator(seed))
        assert lifted.batch[first].tolist() == [0, 1]
        again = farthest_points(T(2), lifted, 1e-9, generator(seed))
        assert torch.equal(first, again)
        wanted = one_by_one(T(2), lifted, 0.1, first)
        assert farthest_points(T(2), lifted, 0.1, generator(seed)).tolist() == wanted
        seen.update(first.tolist())
    assert len(seen) > 15


@pytest.mark.parametrize("group", [T(3), SE2()], ids=str)
def test_cost_is_linear(group, monkeypatch):
    """Distances that are computed, of clouds twice as large each time."""
    counts, distance = [], type(group).distance

    def counting(self, pairs):
        counts[-1] += len(pairs)
        return distance(self, pairs)

    monkeypatch.setattr(type(group), "distance", counting)
    for number in (3000, 6000, 12000):
        counts.append(0)
        pos = torch.rand(number, group.space_dim, generator=generator())
        farthest_points(group, lift(group, pos, generator=generator()), 0.25)
    assert counts[1] < 2.6 * counts[0] and counts[2] < 2.6 * counts[1]
    assert counts[2] < 12000**2 / 4
