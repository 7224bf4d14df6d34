from itertools import combinations

import pytest
import torch
from scipy.stats import chisquare

from lieconv_pyg.groups import T
from lieconv_pyg.lifting import lift
from lieconv_pyg.neighbors import hashed_keys, radius_graph, sample_neighbors
from tests.clouds import cloud, generator


def star(*counts: int) -> torch.Tensor:
    target = torch.repeat_interleave(torch.tensor(counts))
    return torch.stack([torch.arange(target.numel()), target])


def test_counts_and_order():
    edge_index = star(5, 0, 2, 9)
    kept = sample_neighbors(edge_index, 3, 5, generator())
    assert kept.diff().min() > 0
    assert edge_index[1, kept].bincount(minlength=5).tolist() == [3, 0, 2, 3, 0]
    assert sample_neighbors(star(0), 3, 2, generator()).shape == (0,)


def test_targets_in_any_order():
    edge_index = star(5, 0, 2, 9)[:, torch.randperm(16, generator=generator(3))]
    kept = sample_neighbors(edge_index, 3, 4, generator())
    assert edge_index[1, kept].bincount().tolist() == [3, 0, 2, 3]


def test_every_subset_is_equally_likely():
    # Each of many targets draws 2 of 5 neighbors: 10 subsets.
    targets = 20_000
    edge_index = star(*[5] * targets)
    kept = sample_neighbors(edge_index, 2, targets, generator(11))
    drawn = edge_index[0, kept].view(targets, 2) % 5
    subsets = list(combinations(range(5), 2))
    number = torch.tensor([subsets.index(tuple(pair)) for pair in drawn.tolist()])
    counts = number.bincount(minlength=len(subsets))
    assert chisquare(counts).pvalue > 1e-3


def test_draws_are_uniform_over_the_ball_whatever_its_order():
    # Neighbors by distance rank: the same counts when the points are shuffled.
    group, pos = T(2), cloud(T(2), 12)
    for order in (torch.arange(12), torch.randperm(12, generator=generator(4))):
        lifted = lift(group, pos[order])
        counts = torch.zeros(12, dtype=torch.long)
        source = generator(5)
        for _ in range(400):
            graph = radius_graph(group, lifted, 10.0, num_neighbors=3, generator=source)
            drawn = order[graph.edge_index[0]]
            counts += drawn.bincount(minlength=12)
        assert counts.sum() == 400 * 12 * 3
        assert chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.long, torch.double])
def test_keys_of_any_kind(dtype):
    """The smallest keys of a target win."""
    edge_index = torch.stack([torch.arange(10), torch.zeros(10, dtype=torch.long)])
    key = torch.tensor([5, 8, 1, 9, 0, 7, 3, 2, 6, 4]).to(dtype)
    assert sample_neighbors(edge_index, 3, 1, key=key).tolist() == [2, 4, 7]
    assert sample_neighbors(edge_index, 3, 1, key=-key).tolist() == [1, 3, 5]


def test_seed():
    edge_index = star(*[30] * 10)
    first = sample_neighbors(edge_index, 4, 10, generator(1))
    assert torch.equal(first, sample_neighbors(edge_index, 4, 10, generator(1)))
    assert not torch.equal(first, sample_neighbors(edge_index, 4, 10, generator(2)))
    torch.manual_seed(1)
    default = sample_neighbors(edge_index, 4, 10)
    torch.manual_seed(1)
    assert torch.equal(default, sample_neighbors(edge_index, 4, 10))


@pytest.mark.parametrize("value", [0, -3])
def test_too_few(value):
    with pytest.raises(ValueError, match="'num_neighbors' must be at least 1"):
        sample_neighbors(star(3), value, 1)


@pytest.mark.parametrize("value", [2.0, True, "3"])
def test_wrong_type(value):
    with pytest.raises(TypeError, match="'num_neighbors' must be an integer"):
        sample_neighbors(star(3), value, 1)


def test_hashed_keys_are_uniform():
    targets = 20_000
    edge_index = star(*[5] * targets)
    component = torch.arange(targets)
    key = hashed_keys(edge_index, component.repeat_interleave(5), component, 7)
    assert key.min() >= 0
    # Every target stands alone in its component: all draw alike.
    kept = sample_neighbors(edge_index, 2, targets, key=key).view(targets, 2)
    assert (kept % 5 == kept[:1]).all()

    together = torch.zeros_like(component)
    key = hashed_keys(edge_index, together.repeat_interleave(5), together, 7)
    kept = sample_neighbors(edge_index, 2, targets, key=key).view(targets, 2) % 5
    subsets = list(combinations(range(5), 2))
    number = torch.tensor([subsets.index(tuple(pair)) for pair in kept.tolist()])
    assert chisquare(number.bincount(minlength=10)).pvalue > 1e-3


def test_seeded_draws_depend_on_the_example_alone():
    group = T(2)
    first, second = cloud(group, 20), cloud(group, 15)
    batch = torch.tensor([0, 1]).repeat_interleave(torch.tensor([15, 20]))
    both = lift(group, torch.cat([second, first]), batch)
    for max_pairs in (7, 2**18):
        together = radius_graph(
            group, both, 10.0, num_neighbors=4, seed=3, max_pairs=max_pairs
        )
        alone = radius_graph(group, lift(group, first), 10.0, num_neighbors=4, seed=3)
        mine = together.edge_index[1] >= 15
        assert (together.edge_index[:, mine] - 15).equal(alone.edge_index)
    other = radius_graph(group, lift(group, first), 10.0, num_neighbors=4, seed=4)
    assert not other.edge_index.equal(alone.edge_index)
