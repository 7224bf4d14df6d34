"""RxSQ and SQ against hand-written formulas."""

import math

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.groups import SQ, RxSQ

POS = torch.tensor([[2.0, 3.0], [5.0, 0.5]], dtype=torch.float64)
SCALE = [math.log(6) / 2, math.log(2.5) / 2]
SQUEEZE = [math.log(2 / 3) / 2, math.log(10) / 2]


def test_rxsq():
    group = RxSQ(alpha=0.3)
    u, q = group.section(POS)
    assert_close(group.log(u), torch.tensor([SCALE, SQUEEZE], dtype=torch.float64).T)
    pairs = group.pairs(u[0], q[0], u[1], q[1])
    scale, squeeze = SCALE[0] - SCALE[1], SQUEEZE[0] - SQUEEZE[1]
    assert pairs.tolist() == pytest.approx([scale, squeeze])
    expected = 0.3 * abs(squeeze) + 0.7 * abs(scale)
    assert float(group.distance(pairs)) == pytest.approx(expected)


def test_sq():
    group = SQ(alpha=0.3)
    u, q = group.section(POS)
    assert group.log(u).squeeze(-1).tolist() == pytest.approx(SQUEEZE)
    assert q.squeeze(-1).tolist() == pytest.approx(SCALE)
    assert_close(torch.linalg.det(u), torch.ones(2, dtype=torch.float64))
    distance = float(group.distance(group.pairs(u[0], q[0], u[1], q[1])))
    expected = 0.3 * abs(SQUEEZE[0] - SQUEEZE[1]) + 0.7 * abs(SCALE[0] - SCALE[1])
    assert distance == pytest.approx(expected)


def test_squeezes_keep_the_product_of_coordinates():
    group = SQ()
    u = group.exp(torch.tensor([[0.7], [-1.3]], dtype=torch.float64))
    moved = group.act(u, POS)
    assert_close(moved.prod(dim=-1), POS.prod(dim=-1))
    ratio = moved[:, 0] / moved[:, 1] / (POS[:, 0] / POS[:, 1])
    assert_close(ratio.log(), torch.tensor([1.4, -2.6], dtype=torch.float64))
