"""SO2, RxSO2 and Rx against hand-written formulas."""

import math

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.groups import SO2, LieGroup, Rx, RxSO2

P, Q = torch.tensor([[3.0, 4.0], [-1.0, 1.0]], dtype=torch.float64)
ANGLE_P, ANGLE_Q = math.atan2(4, 3), 3 * math.pi / 4
R_P, R_Q = 5.0, math.sqrt(2)


def pair(group: LieGroup) -> tuple[list[float], float]:
    (u, v), (q_i, q_j) = group.section(torch.stack([P, Q]))
    pairs = group.pairs(u, q_i, v, q_j)
    return pairs.tolist(), float(group.distance(pairs))


def test_so2():
    a, distance = pair(SO2(alpha=0.3))
    assert a == pytest.approx([ANGLE_P - ANGLE_Q, R_P, R_Q])
    relative = (R_P - R_Q) / (R_P + R_Q + 1e-3)
    assert distance == pytest.approx(0.3 * (ANGLE_Q - ANGLE_P) + 0.7 * relative)


def test_rxso2():
    a, distance = pair(RxSO2(alpha=0.3))
    log_r = math.log(R_P / R_Q)
    assert a == pytest.approx([log_r, ANGLE_P - ANGLE_Q])
    assert distance == pytest.approx(0.3 * (ANGLE_Q - ANGLE_P) + 0.7 * log_r)


def test_rx():
    a, distance = pair(Rx(alpha=0.3))
    log_r = math.log(R_P / R_Q)
    assert a == pytest.approx([log_r, ANGLE_P, ANGLE_Q])
    assert distance == pytest.approx(0.3 * log_r + 0.7 * (ANGLE_Q - ANGLE_P))
    u, _ = Rx().section(P)
    assert_close(u, 5 * torch.eye(2, dtype=torch.float64))


def test_exp_turns_and_scales():
    x = torch.tensor([1.0, 0.0])
    quarter = torch.tensor([math.pi / 2])
    assert_close(SO2().act(SO2().exp(quarter), x), torch.tensor([0.0, 1.0]))
    both = torch.tensor([math.log(2.0), math.pi / 2])
    assert_close(RxSO2().act(RxSO2().exp(both), x), torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize("group", [SO2(), RxSO2()], ids=repr)
def test_half_turns_are_positive_whatever_the_rounding(group, dtype):
    noise = 4 * torch.finfo(dtype).eps
    for shift in (-noise, -0.0, 0.0, noise):
        u = torch.tensor([[-1.0, -shift], [shift, -1.0]], dtype=dtype)
        assert float(group.log(u)[-1]) == pytest.approx(math.pi, abs=1e-5)
    # Opposite points are half a turn apart, both ways round.
    angle = torch.arange(40, dtype=dtype)
    pos = torch.stack([angle.cos(), angle.sin()], dim=-1)
    u, q = group.section(torch.stack([pos, -pos]))
    for i, j in ((0, 1), (1, 0)):
        turn = group.pairs(u[i], q[i], u[j], q[j])[:, 0 if group.dim == 1 else 1]
        assert_close(turn, torch.full_like(turn, math.pi), rtol=0, atol=1e-5)


def test_polar_angle_on_the_cut(dtype):
    pos = torch.tensor([[-1.0, 0.0], [-1.0, -0.0]], dtype=dtype)
    _, q = Rx().section(pos)
    assert_close(q[:, 0], torch.full((2,), math.pi, dtype=dtype))


def test_log_of_extreme_scales(dtype):
    group = RxSO2()
    a = torch.tensor([[40.0, 1.0], [-40.0, 3.0]], dtype=dtype)
    u = group.exp(a)
    assert_close(group.log(u), a)
    assert_close(group.relative_log(u, u), 0 * a, rtol=0, atol=1e-6)
    assert_close(group.inverse(u), group.exp(-a))
