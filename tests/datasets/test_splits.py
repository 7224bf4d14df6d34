import numpy as np
import pytest
import torch

from lieconv_pyg.datasets import limit_split, qm9_split, random_split


def test_published_split():
    parts = qm9_split()
    assert [len(p) for p in parts] == [100_000, 17_748, 13_083]
    order = np.random.RandomState(0).permutation(130_831)
    assert torch.cat(parts).tolist() == order.tolist()


def test_other_sizes_are_proportional():
    parts = qm9_split(15_000)
    assert [len(p) for p in parts] == [11_465, 2_035, 1_500]
    assert sorted(torch.cat(parts).tolist()) == list(range(15_000))
    assert all(torch.equal(a, b) for a, b in zip(parts, qm9_split(15_000), strict=True))
    assert not torch.equal(parts[0], qm9_split(15_000, seed=1)[0])


def test_limit_keeps_each_molecule_in_its_part():
    parts = qm9_split(1000)
    limited = limit_split(parts, 100)
    assert sum(len(p) for p in limited) == 100
    for part, whole in zip(limited, parts, strict=True):
        assert torch.equal(part, whole[: len(part)])
    assert [len(p) for p in limit_split(parts, [30, 7, 5])] == [30, 7, 5]
    assert limit_split(parts, None)[0] is not None
    assert [len(p) for p in limit_split(parts, 3)] == [1, 1, 1]


@pytest.mark.parametrize("limit", [0, 2, 1001, [1, 0, 1], [900, 1, 1], [1, 2]])
def test_limit_out_of_range(limit):
    with pytest.raises(ValueError, match="limit"):
        limit_split(qm9_split(1000), limit)


def test_random_split():
    parts = random_split(10, (0.7, 0.1, 0.2))
    assert [len(p) for p in parts] == [7, 1, 2]
    with pytest.raises(ValueError, match="too few"):
        random_split(4, (0.9, 0.05, 0.05))
    for bad in [(0.5, 0.5), (0.5, 0.2, 0.2), (1.0, 0.5, -0.5)]:
        with pytest.raises(ValueError, match="fractions"):
            random_split(100, bad)
