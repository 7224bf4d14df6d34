"""SIM2 against complex numbers, hand-written formulas and high precision."""

import cmath
import math

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.groups import SE2, SIM2, RxSO2
from lieconv_pyg.groups.series import exp_quotient, log_quotient
from tests.groups.cases import algebra, points
from tests.groups.test_lifts import uniform

GROUP = SIM2(alpha=0.3, window=1.0)


def complex_map(u):
    """The map z -> a z + b of an element."""
    a = complex(float(u[0, 0]), float(u[1, 0]))
    return a, complex(float(u[0, 2]), float(u[1, 2]))


def test_exp_is_the_flow_of_complex_numbers():
    """z' = w z + c, from 0: z(1) = c (e^w - 1) / w."""
    for vector in algebra(GROUP, 20, 3.0):
        x, y, *c = vector.tolist()
        w, c = complex(x, y), complex(*c)
        a, b = complex_map(GROUP.exp(vector))
        assert abs(a - cmath.exp(w)) < 1e-13 * abs(a)
        assert abs(b - c * (cmath.exp(w) - 1) / w) < 1e-13 * max(1, abs(b))


def test_products_and_inverses_are_those_of_maps():
    u, v = GROUP.exp(algebra(GROUP, 2, 3.0))
    (a, b), (c, d) = complex_map(u), complex_map(v)
    product = complex_map(GROUP.compose(u, v))
    assert product == pytest.approx((a * c, a * d + b))
    assert complex_map(GROUP.inverse(u)) == pytest.approx((1 / a, -b / a))
    relative = complex_map(GROUP.relative(u, v))
    assert relative == pytest.approx((a / c, (b - d) / c))


def test_quotients_to_the_last_digits():
    mp = pytest.importorskip("mpmath").mp
    line = torch.linspace(-1.0, 1.0, 21, dtype=torch.float64)
    cases = [(3 * line, torch.pi * line), (1e-6 * line, 1e-6 * line)]
    cases += [(line.cos(), line.sin()), (40 * line, 0.3 * line)]
    for x, y in cases:
        x, y = (part.flatten() for part in torch.meshgrid(x, y, indexing="ij"))
        for function, inverse in ((exp_quotient, False), (log_quotient, True)):
            real, imaginary = function(x, y)
            for k in range(0, len(x), 7):
                z = mp.mpc(float(x[k]), float(y[k]))
                exact = mp.expm1(z) / z if z != 0 else mp.mpc(1)
                exact = complex(1 / exact if inverse else exact)
                found = complex(float(real[k]), float(imaginary[k]))
                assert abs(found - exact) < 4e-15 * abs(exact)


def test_quotients_have_the_derivatives_of_analytic_functions():
    """The equations of Cauchy and Riemann, on both sides of every branch."""
    x = torch.tensor([0.0, 1e-9, -1e-9, 0.6, -0.6, 0.8, -0.8, 2.0, -2.0])
    y = torch.tensor([0.0, 0.0, 1e-9, 0.8, -0.8, 0.7, 0.5, -1.0, 3.0])
    x, y = x.double(), y.double()
    for function in (exp_quotient, log_quotient):
        ones, zeros = torch.ones_like(x), torch.zeros_like(x)
        _, (u_x, v_x) = torch.func.jvp(function, (x, y), (ones, zeros))
        _, (u_y, v_y) = torch.func.jvp(function, (x, y), (zeros, ones))
        assert_close(u_x, v_y, rtol=1e-12, atol=1e-12)
        assert_close(u_y, -v_x, rtol=1e-12, atol=1e-12)
        half = 0.5 if function is exp_quotient else -0.5
        assert float(u_x[0]) == half


def test_extreme_scales(dtype):
    size = 40.0
    a = torch.tensor([[size, 1.0, 2.0, 3.0], [-size, 2.0, -1.0, 0.5]], dtype=dtype)
    u, rtol = GROUP.exp(a), 1e-5 if dtype == torch.float32 else 1e-13
    assert_close(GROUP.log(u), a, rtol=rtol, atol=0)
    e = GROUP.compose(u, GROUP.inverse(u))
    assert_close(e[:, :2, :2], torch.eye(2, dtype=dtype).expand(2, 2, 2))


def test_subgroups_it_has():
    """Rigid motions, and rotations and scalings about 0."""
    a = algebra(SE2(), 20, 3.0)
    padded = torch.cat([torch.zeros_like(a[:, :1]), a], dim=1)
    assert_close(GROUP.exp(padded), SE2().exp(a))
    assert_close(GROUP.log(SE2().exp(a)), padded)
    b = algebra(RxSO2(), 20, 3.0)
    linear = GROUP.exp(torch.cat([b, torch.zeros_like(b)], dim=1))[:, :2, :2]
    assert_close(linear, RxSO2().exp(b))
    kept = GROUP.subgroup((0, 1))
    assert kept.commutative is False
    assert_close(kept.exp(b), GROUP.exp(torch.cat([b, torch.zeros_like(b)], dim=1)))
    with pytest.raises(ValueError, match="not closed under the bracket"):
        GROUP.subgroup((1, 2))


def test_distance_and_lift():
    u, q = GROUP.section(torch.tensor([[3.0, 1.0], [1.0, 2.0]]).double())
    pairs = GROUP.pairs(u[0], q[0], u[1], q[1])
    assert pairs.tolist() == pytest.approx([0.0, 0.0, 2.0, -1.0])
    assert float(GROUP.distance(pairs)) == pytest.approx(0.7 * math.sqrt(5))
    # Twice as large, seen from lifts that are twice as large, it is the same.
    s = torch.diag(torch.tensor([2.0, 2.0, 1.0]).double())
    moved, _ = GROUP.section(2 * torch.tensor([[3.0, 1.0], [1.0, 2.0]]).double())
    moved = GROUP.compose(moved, s)
    assert_close(GROUP.pairs(moved[0], q[0], moved[1], q[1]), pairs)
    only = GROUP.pairs(GROUP.compose(u[0], s), q[0], u[0], q[0])
    assert only.tolist() == pytest.approx([math.log(2), 0.0, 0.0, 0.0])
    assert float(GROUP.distance(only)) == pytest.approx(0.3 * math.log(2))


def test_stabilizer():
    """Scales within the window, logarithms uniform; fixed ones well spread."""
    source = torch.Generator().manual_seed(0)
    settings = dict(generator=source, dtype=torch.float64)
    for window in (0.0, 0.5, 2.0):
        group = SIM2(window=window)
        a = group.log(group.stabilizer_sample(4000, **settings))
        assert not a[:, 2:].any()
        if window > 0:
            assert uniform(a[:, 0] / (2 * window) + 0.5, "uniform")
            assert a[:, 0].abs().max() <= window
        else:
            assert a[:, 0].abs().max() < 1e-15
        for num in (2, 3, 5, 8, 16):
            grid = group.log(group.stabilizer_grid(num, dtype=torch.float64))
            angle = grid[:, 1].remainder(2 * torch.pi).sort().values
            assert_close(angle.diff(), torch.full_like(angle[1:], 2 * torch.pi / num))
            log_r = grid[:, 0].sort().values
            assert log_r.abs().max() <= window + 1e-15
            ends = torch.tensor([-window, window], dtype=torch.float64)
            gaps = torch.cat([ends[:1], log_r, ends[1:]]).diff()
            # Three gaps of the golden ratio's multiples, the largest below 3 / num.
            assert gaps.max() <= 3 * 2 * window / num + 1e-12


def test_samples_are_normal_in_logarithms():
    a = SIM2().sample(3000, generator=torch.Generator(), scale=0.3).double()
    log_r = a[:, :2, 0].norm(dim=1).log()
    assert uniform(log_r / 0.3, "norm")
    assert all(uniform(x / 0.3, "norm") for x in a[:, :2, 2].T)


@pytest.mark.parametrize(
    "window", [-0.1, math.inf, math.nan, "1", None, True], ids=repr
)
def test_wrong_windows(window):
    with pytest.raises(ValueError, match="`window` must be a finite number"):
        SIM2(window=window)
    assert SIM2(window=1) == SIM2(window=1.0) != SIM2()


def test_lift_reaches_points_from_every_scale():
    pos = points(GROUP, 9)
    u, q = GROUP.section(pos)
    u = GROUP.compose(u.unsqueeze(1), GROUP.stabilizer_grid(5, dtype=u.dtype))
    reached = GROUP.act(u, GROUP.origin(q).unsqueeze(1))
    assert_close(reached, pos.unsqueeze(1).expand_as(reached))
