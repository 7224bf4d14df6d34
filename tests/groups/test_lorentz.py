"""The Lorentz group: against matrices of four-momenta, and at its special elements."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from lieconv_pyg.groups import SO3, Lorentz
from lieconv_pyg.groups.complex_series import arcosh_over_root, cosh_and_sinhc
from lieconv_pyg.groups.minkowski import mass_square, minkowski_product
from tests.groups.cases import LORENTZ, algebra, massive
from tests.groups.test_derivatives import assert_finite

GROUP = Lorentz()
METRIC = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64))


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def directions(num: int, seed: int = 0) -> Tensor:
    n = torch.randn(num, 3, generator=source(seed), dtype=torch.float64)
    return n / n.norm(dim=1, keepdim=True)


def four_matrices(a: Tensor) -> Tensor:
    """The standard generators, boosts then rotations, times algebra vectors."""
    return torch.einsum("bk,kij->bij", a, LORENTZ)


def boosted(num: int, rapidity: float, seed: int = 0) -> Tensor:
    """A Haar-uniform rotation, and a boost of one rapidity."""
    n = rapidity * directions(num, seed)
    boost = GROUP.exp(torch.cat([n, torch.zeros_like(n)], dim=1))
    settings = {"generator": source(seed + 1), "dtype": torch.float64}
    return GROUP.canonical(
        GROUP.compose(boost, GROUP.stabilizer_sample(num, **settings))
    )


def norms(x: Tensor) -> Tensor:
    return x.double().flatten(1).norm(dim=1)


def momenta(num: int, seed: int = 0, size: float = 1.0) -> Tensor:
    pos = torch.randn(num, 4, generator=source(seed), dtype=torch.float64)
    return massive(torch.cat([0.3 * pos[:, :1], size * pos[:, 1:]], dim=1))


# The group ---------------------------------------------------------------------


def test_generators_are_the_standard_ones():
    _, found = torch.func.jvp(
        lambda t: GROUP.lorentz_matrix(GROUP.exp(t * torch.eye(6, dtype=t.dtype))),
        (torch.zeros((), dtype=torch.float64),),
        (torch.ones((), dtype=torch.float64),),
    )
    assert_close(found, LORENTZ, rtol=0, atol=1e-16)
    a, b = algebra(GROUP, 2 * 20, 2.0).unflatten(0, (2, 20))
    A, B = four_matrices(a), four_matrices(b)
    commutator = four_matrices(GROUP.bracket(a, b))
    assert_close(A @ B - B @ A, commutator, rtol=0, atol=1e-13)


def test_killing_form_has_three_signs_of_each():
    eye = torch.eye(6, dtype=torch.float64)
    ad = torch.stack([GROUP.bracket(a.expand(6, 6), eye).T for a in eye])
    killing = torch.einsum("aij,bji->ab", ad, ad)
    expected = torch.diag(torch.tensor([4.0] * 3 + [-4.0] * 3, dtype=torch.float64))
    assert_close(killing, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("rapidity", [0.1, 1.0, 5.0, 20.0])
def test_exp_is_scipys_of_the_four_matrices(rapidity):
    a = algebra(GROUP, 50, 3.0)
    a[:, :3] *= rapidity / a[:, :3].norm(dim=1, keepdim=True)
    expected = torch.from_numpy(scipy.linalg.expm(four_matrices(a).numpy()))
    found = GROUP.lorentz_matrix(GROUP.exp(a))
    assert (norms(found - expected) / norms(expected)).max() < 5e-13


def test_log_is_scipys_of_the_four_matrices():
    a = algebra(GROUP, 50, 2.5, 0.5)
    matrices = GROUP.lorentz_matrix(GROUP.exp(a)).numpy()
    expected = np.stack([scipy.linalg.logm(x) for x in matrices])
    found = four_matrices(GROUP.log(GROUP.exp(a)))
    assert_close(found, torch.from_numpy(expected.real), rtol=0, atol=1e-12)


def test_matrices_are_a_representation_and_lorentz():
    u, v = boosted(100, 2.0), boosted(100, 1.0, seed=5)
    L, M = GROUP.lorentz_matrix(u), GROUP.lorentz_matrix(v)
    product = GROUP.lorentz_matrix(GROUP.compose(u, v))
    assert_close(product, L @ M, rtol=1e-13, atol=1e-12)
    assert_close(L.mT @ METRIC @ L, METRIC.expand_as(L), rtol=0, atol=1e-12)
    assert bool((L[:, 0, 0] >= 1).all())
    assert_close(torch.linalg.det(L), L.new_ones(100), rtol=0, atol=1e-12)
    assert torch.equal(GROUP.lorentz_matrix(-u), L)
    inverse = GROUP.lorentz_matrix(GROUP.inverse(u))
    assert_close(inverse, METRIC @ L.mT @ METRIC, rtol=0, atol=1e-12)


def test_from_lorentz_matrix(dtype):
    tol = 2e-13 if dtype == torch.float64 else 1e-4
    settings = {"generator": source(), "dtype": dtype}
    turns = GROUP.stabilizer_sample(50, **settings)
    axes = GROUP.exp(torch.pi * torch.eye(6, dtype=dtype)[3:])
    both = boosted(20, 1.0).to(dtype) @ axes[2]  # each column is the largest of some
    for u in (boosted(50, 2.0).to(dtype), turns, axes, both, GROUP.identity(2)):
        u = GROUP.canonical(u.to(dtype))
        found = GROUP.from_lorentz_matrix(GROUP.lorentz_matrix(u))
        assert found.dtype == dtype
        assert_close(found, u, rtol=0, atol=tol)


def test_derivative_through_the_four_matrices():
    def there_and_back(a):
        return GROUP.log(GROUP.from_lorentz_matrix(GROUP.lorentz_matrix(GROUP.exp(a))))

    for a in algebra(GROUP, 5, 2.0):
        jacobian = torch.autograd.functional.jacobian(there_and_back, a)
        eye = torch.eye(6, dtype=torch.float64)
        assert_close(jacobian, eye, rtol=0, atol=1e-10)


def test_other_matrices_are_refused():
    L = GROUP.lorentz_matrix(boosted(3, 1.0))
    wrong = [METRIC @ L, L @ METRIC, -L, 1.01 * L, L + 1e-3, 0 * L, L * torch.nan]
    for matrix in wrong:
        with pytest.raises(ValueError, match="3 of 3 matrices that are not proper"):
            GROUP.from_lorentz_matrix(matrix)
    with pytest.raises(ValueError, match=r"`matrix` must have shape \(\*, 4, 4\)"):
        GROUP.from_lorentz_matrix(torch.eye(3))
    with pytest.raises(ValueError, match=r"`rotation` must have shape \(\*, 3, 3\)"):
        GROUP.from_rotation(torch.eye(4))


def test_rotations_are_those_of_space():
    a = algebra(GROUP, 40, 3.0)
    a[:, :3] = 0
    expected = SO3().exp(a[:, 3:])
    u = GROUP.exp(a)
    L = GROUP.lorentz_matrix(u)
    assert_close(L[:, 1:, 1:], expected, rtol=0, atol=1e-14)
    assert_close(L[:, 0], torch.eye(4, dtype=a.dtype)[0].expand(40, 4))
    found = GROUP.canonical(GROUP.from_rotation(expected))
    assert_close(found, GROUP.canonical(u), rtol=0, atol=1e-14)


def test_both_signs_are_one_element(dtype):
    u = torch.cat([boosted(40, 2.0), GROUP.exp(algebra(GROUP, 20, torch.pi, 0.0))])
    u = u.to(dtype)
    assert torch.equal(GROUP.canonical(u), GROUP.canonical(-u))
    assert torch.equal(GROUP.log(u), GROUP.log(-u))
    assert torch.equal(GROUP.relative_log(u, u[:1]), GROUP.relative_log(-u, u[:1]))
    assert not GROUP.relative_log(u, -u).any()
    close = {"rtol": 0, "atol": 1e-13 if dtype == torch.float64 else 1e-5}
    assert_close(GROUP.exp(GROUP.log(u)), GROUP.canonical(u), **close)


@pytest.mark.parametrize("rapidity", [0.0, 0.3, 3.0])
def test_half_turns_are_not_decided_by_rounding(dtype, rapidity):
    n = directions(50)
    a = torch.cat([rapidity * n, torch.pi * n], dim=1)
    u = GROUP.exp(a).to(dtype)
    reference = GROUP.log(u)
    eps = torch.finfo(dtype).eps
    for seed in range(10):
        noise = eps * torch.randn(u.shape, generator=source(seed), dtype=dtype)
        for moved in (u + noise, -u + noise):
            assert_close(GROUP.log(moved), reference, rtol=0, atol=400 * eps)


# Precision ---------------------------------------------------------------------


@pytest.mark.parametrize("rapidity", [0.0, 1e-7, 1e-3, 1.0, 3.0, 10.0, 20.0])
def test_exp_of_log(rapidity):
    u = boosted(4000, rapidity)
    for dtype, limit in ((torch.float64, 5e-15), (torch.float32, 1.5e-6)):
        v = u.to(dtype)
        error = norms(GROUP.exp(GROUP.log(v)) - v) / norms(v)
        assert error.median() < limit
        # A boost times nearly a half turn across it has a logarithm as large as the
        # element, so that the rounding of the logarithm alone is that much.
        assert (error / norms(v)).max() < limit
        generic = GROUP.log(v).double().norm(dim=1) < 10 + 2 * rapidity
        assert error[generic].max() < 10 * limit


@pytest.mark.parametrize("size", [1e-7, 1e-3, 1.0, 10.0, 100.0])
def test_null_rotations(size):
    n = directions(100)
    m = torch.linalg.cross(n, directions(100, 1))
    a = size * torch.cat([n, m / m.norm(dim=1, keepdim=True)], dim=1)
    a.requires_grad_()
    u = GROUP.exp(a)
    expected = GROUP.identity(dtype=a.dtype) + GROUP.hat(a)  # the square is zero
    assert (norms(u - expected) / norms(expected)).max() < 1e-13 * (1 + size)
    assert_close(GROUP.log(u), a, rtol=1e-12, atol=1e-14)
    assert_finite(lambda a: GROUP.log(GROUP.exp(a)), a[:5])
    if 1e-3 < size < 100:
        one = a[:2].detach().requires_grad_()
        assert gradcheck(lambda a: GROUP.log(GROUP.exp(a)), (one,))
        assert gradgradcheck(GROUP.exp, (one / size,), fast_mode=True)


def test_exact_special_vectors_have_the_derivative_of_the_identity_map():
    """Where squares of real and imaginary parts are equal, or one of them is zero."""
    eye = torch.eye(3, dtype=torch.float64)
    x, y, o = eye[0], eye[1], torch.zeros(3, dtype=torch.float64)
    special = [
        (x, x),
        (x, -x),
        (x, y),
        (o, o),
        (3 * x, o),
        (o, 3 * x),
        (o, y),
        (4 * x, x),
    ]
    for zeta, theta in special:
        for scale in (0.1, 0.9):
            a = scale * torch.cat([zeta, theta])
            jacobian = torch.autograd.functional.jacobian(
                lambda a: GROUP.log(GROUP.exp(a)), a
            )
            expected = torch.eye(6, dtype=torch.float64)
            assert_close(jacobian, expected, rtol=0, atol=1e-13)


def test_series_meet_their_closed_forms():
    angle = torch.linspace(0, 6.2, 200, dtype=torch.float64)
    for radius in (0.0999999, 0.1000001, 0.9999999, 1.0000001, 3.0):
        z = torch.polar(torch.full_like(angle, radius), angle)
        for found, exact in zip(
            cosh_and_sinhc((z.real, z.imag)),
            (z.sqrt().cosh(), z.sqrt().sinh() / z.sqrt()),
            strict=True,
        ):
            assert_close(torch.complex(*found), exact, rtol=0, atol=2e-15)
        h = 1 + z[z.real > -1]
        found = torch.complex(*arcosh_over_root((h.real, h.imag)))
        exact = (h + (h - 1).sqrt() * (h + 1).sqrt()).log()
        exact = exact / ((h - 1).sqrt() * (h + 1).sqrt())
        assert_close(found, exact, rtol=0, atol=2e-14)


def test_products_of_momenta_are_exact():
    p, k = momenta(100, 1, size=1e4), momenta(100, 2, size=1e4)
    k = p + 1e-6 * k

    def exact(p, k):
        terms = [Fraction(x) * Fraction(y) for x, y in zip(p, k, strict=True)]
        return float(2 * terms[0] - sum(terms))

    eps = torch.finfo(torch.float64).eps
    for one, two in ((p, p), (p, k), (p.float(), p.float())):
        rows = zip(one.tolist(), two.tolist(), strict=True)
        expected = torch.tensor([exact(*row) for row in rows], dtype=torch.float64)
        assert_close(minkowski_product(one, two), expected, rtol=2 * eps, atol=0)
    p = momenta(3).requires_grad_()
    assert gradcheck(mass_square, (p,))
    assert gradgradcheck(mass_square, (p,))


# Lifts and distances -------------------------------------------------------------


def test_section_of_fast_particles(dtype):
    fast = 1e6 if dtype == torch.float64 else 300.0
    pos = momenta(200, size=fast).to(dtype)
    u, q = GROUP.section(pos)
    square = mass_square(pos)  # exact
    assert_close(q[:, 0].double(), square.log() / 2, rtol=0, atol=3e-7)
    reached = GROUP.act(u, GROUP.origin(q))
    size = pos.norm(dim=1, keepdim=True)
    eps = torch.finfo(dtype).eps
    assert ((reached - pos) / size).abs().max() < 8 * eps


def test_distance_is_the_relative_rapidity():
    pos = momenta(60, size=2.0)
    u, q = GROUP.section(pos)
    mass = q.exp()
    unit = pos / mass
    # 4 sinh^2(d / 2) is minus the square of the difference of four-velocities.
    difference = unit[:, None] - unit
    rapidity = 2 * ((-mass_square(difference)).clamp(min=0).sqrt() / 2).asinh()
    label = (mass.log()[:, None] - mass.log())[..., 0].abs()
    for group in (GROUP, Lorentz(0.7)):
        expected = group.alpha * rapidity + (1 - group.alpha) * label
        for seed in range(3):  # whatever the lifts
            settings = {"generator": source(seed), "dtype": torch.float64}
            v = group.compose(u, group.stabilizer_sample(60, **settings))
            pairs = group.pairs(v[:, None], q[:, None], v, q)
            assert_close(group.distance(pairs), expected, rtol=0, atol=1e-12)
    turned = Lorentz(beta=0.5)
    a = GROUP.split_pairs(pairs)[0]
    more = turned.distance(pairs) - GROUP.distance(pairs)
    assert_close(more, 0.2 * 0.5 * a[..., 3:].norm(dim=-1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9, 1e-12])
def test_distance_of_near_momenta(size):
    """Relatively precise where the lifts differ by a rotation, or by nothing."""
    n = directions(50)
    for angle in (0.0, 1e-7, 1.0, 3.0):
        turn = torch.cat([torch.zeros_like(n), angle * directions(50, 1)], dim=1)
        step = torch.cat([size * n, torch.zeros_like(n)], dim=1)
        a = GROUP.log(GROUP.compose(GROUP.exp(step), GROUP.exp(turn)))
        pairs = torch.cat([a, torch.zeros(50, 2, dtype=a.dtype)], dim=1)
        expected = torch.full((50,), size, dtype=a.dtype)
        assert_close(Lorentz(1.0).distance(pairs), expected, rtol=1e-12, atol=2e-15)


def test_lifts_of_one_momentum_have_distance_zero_and_zero_gradient(dtype):
    a = torch.randn(20, 6, generator=source()).to(dtype)
    a[:, :3] = 0
    pairs = torch.cat([a, torch.ones(20, 2, dtype=dtype)], dim=1).requires_grad_()
    distance = GROUP.distance(pairs)
    assert not distance.any()
    (gradient,) = torch.autograd.grad(distance.sum(), pairs)
    assert not gradient.any()


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_embedding_is_a_lower_bound_for_fast_particles(alpha):
    """Of collinear ones too, for which it is equal."""
    group = Lorentz(alpha)
    eps = {torch.float64: 2.3e-16, torch.float32: 1.2e-7}
    for dtype, rapidity in ((torch.float64, 12.0), (torch.float32, 5.0)):
        n, share = directions(3000), torch.rand(3000, 1, generator=source()).double()
        n[1000:2000] = n[:1] + 0.3 * (-rapidity * share[:1000]).exp() * n[1000:2000]
        n[2000:] = n[:1]
        n = n / n.norm(dim=1, keepdim=True)
        zeta = rapidity * share * n
        size = zeta.norm(dim=1, keepdim=True)
        mass = (0.3 * torch.randn(3000, 1, generator=source(1)).double()).exp()
        pos = mass * torch.cat([size.cosh(), size.sinh() * n], dim=1)
        u, q = group.section(pos.to(dtype))
        settings = {"generator": source(2), "dtype": dtype}
        u = group.compose(u, group.stabilizer_sample(3000, **settings))
        part = torch.randint(0, 3, (2, 20000), generator=source(3)) * 1000
        i, j = part + torch.randint(0, 1000, (2, 20000), generator=source(4))
        distance = group.distance(group.indexed_pairs(u, q, i, u, q, j)).double()
        phi = group.embed(u, q).double()
        bound = (phi[i] - phi[j]).norm(dim=1)
        speed = size[:, 0][i] + size[:, 0][j]
        # What rounding of elements makes of a distance; of collinear pairs only.
        noise = 8 * eps[dtype] * (1 + alpha * (speed / 2).exp())
        assert bool((bound <= distance + noise).all())
        apart = distance > 1e-3
        assert (bound / distance)[apart].median() > 0.6


def test_momenta_without_a_lift_are_refused():
    good = momenta(5)
    cases = {
        "1 of 5 have NaN": (float("nan"), 0.0, 0.0, 1.0),
        r"1 of 5 have E <= 0: leave out padding": (0.0, 0.0, 0.0, 0.0),
        "1 of 5 have E <= 0": (-2.0, 0.0, 0.0, 1.0),
        r"1 of 5 have E < \|p\|, which no particle has": (1.0, 0.0, 0.0, 1.1),
        "1 of 5 have no mass": (5.0, 3.0, 0.0, 4.0),
    }
    for message, row in cases.items():
        bad = good.clone()
        bad[2] = torch.tensor(row)
        with pytest.raises(ValueError, match=message):
            GROUP.check_points(bad)
    for way in ("jet_frame", "massive_surrogate", "momentum_products"):
        with pytest.raises(ValueError, match=way):
            GROUP.check_points(torch.tensor([1.0, 0.6, 0.0, 0.8]))
    # In float32 an electron of 1 GeV has no mass, in float64 it has.
    electron = momenta(1, size=0) * 0
    electron[0, 1] = 1.0
    electron[0, 0] = (1 + 0.000511**2) ** 0.5
    GROUP.check_points(electron)
    with pytest.raises(ValueError, match="no mass"):
        GROUP.check_points(electron.float())


@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf"), "0.2", None, True])
def test_wrong_beta(beta):
    with pytest.raises((ValueError, TypeError), match="'beta' must be"):
        Lorentz(beta=beta)


def test_random_boosts_are_normal_and_rotations_uniform():
    u = GROUP.sample(4000, generator=source(), scale=0.5, dtype=torch.float64)
    _, p = GROUP.lorentz_matrix(u)[:, :, 0].split([1, 3], dim=1)
    size = p.norm(dim=1, keepdim=True)
    rapidity = p / size * size.asinh()
    for k in range(3):
        assert scipy.stats.kstest(rapidity[:, k] / 0.5, "norm").pvalue > 0.01
    turn = GROUP.compose(GROUP.inverse(GROUP.section(_at(u))[0]), u)
    rotation = GROUP.lorentz_matrix(turn)[:, 1:, 1:]
    for entry in rotation.flatten(1).T:  # uniform on [-1, 1] by Archimedes
        assert scipy.stats.kstest((entry + 1) / 2, "uniform").pvalue > 0.01


def _at(u: Tensor) -> Tensor:
    rest = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=u.dtype)
    return GROUP.act(u, rest)
