import math
from itertools import pairwise

import pytest
import torch

from lieconv_pyg.training import warmup_cosine, warmup_cosine_scheduler


def test_shape():
    rate = [warmup_cosine(t, 1000) for t in range(1000)]
    assert rate[0] == pytest.approx(0.1, rel=1e-3)
    assert rate[9] == pytest.approx(1.0, rel=1e-3)  # after 1%
    assert max(rate) == max(rate[9:11])
    assert rate[500] == pytest.approx(0.5)
    assert all(b < a for a, b in pairwise(rate[10:]))
    assert 0 < rate[-1] < 1e-5
    assert warmup_cosine(1000, 1000) == 0
    assert warmup_cosine(2000, 1000) == 0


def test_without_warmup_and_in_few_steps():
    assert warmup_cosine(0, 10, warmup=0.0) == 1.0
    assert warmup_cosine(0, 1) == 1.0
    half = warmup_cosine(1, 4, warmup=0.5)
    assert half == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_scheduler():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = warmup_cosine_scheduler(optimizer, 20, warmup=0.1)
    for step in range(20):
        expected = 2.0 * warmup_cosine(step, 20, 0.1)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0
    for bad in ({"warmup": 1.0}, {"num_steps": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            warmup_cosine_scheduler(optimizer, **{"num_steps": 20, **bad})
