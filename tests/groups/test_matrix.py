"""Groups from generators, against closed forms and SciPy."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.testing import assert_close

from lieconv_pyg.groups import SE2, SE3, SO2, SO3, MatrixLieGroup, T
from lieconv_pyg.groups.matrix_functions import matrix_log, matrix_sqrt
from lieconv_pyg.groups.ops import branch_tolerance
from tests.groups.cases import HEISENBERG, LORENTZ, MATRIX, SL2, algebra, matrices

PAIRS = [("so(2)", SO2()), ("so(3)", SO3()), ("se(2)", SE2())]


@pytest.mark.parametrize(("name", "closed"), PAIRS, ids=[name for name, _ in PAIRS])
@pytest.mark.parametrize("gap", [3.14, 3.0, 1.5, 0.1, 1e-3, 1e-6, 1e-8, 1e-9])
def test_closed_forms(name, closed, gap, dtype):
    numeric = MATRIX[name]
    angle = math.pi - max(gap, 2.1 * branch_tolerance(dtype))
    a = algebra(closed, 20, angle).to(dtype)
    tol = 1e-12 if dtype == torch.float64 else 2e-6
    u = closed.exp(a)
    assert_close(numeric.exp(a), u, rtol=tol, atol=tol)
    log, residual = numeric.log_with_residual(u)
    assert_close(log, closed.log(u), rtol=tol, atol=tol)
    assert residual.max() < tol
    assert log.dtype == dtype
    assert numeric.commutative == closed.commutative
    assert_close(numeric.adjoint(u), closed.adjoint(u), rtol=tol, atol=tol)


def test_other_closed_forms():
    for closed in (T(3), SE3()):
        numeric = MatrixLieGroup(closed.generators(torch.float64), space_dim=3)
        a = algebra(closed, 10, 2.5)
        u = closed.exp(a)
        assert_close(numeric.exp(a), u)
        assert_close(numeric.log(u), a)
        x = torch.randn(10, 3, dtype=torch.float64)
        assert_close(numeric.act(u, x), closed.act(u, x))


def test_heisenberg():
    group = MATRIX["Heisenberg"]
    x, y, z = torch.randn(3, 20, dtype=torch.float64) * 5
    u = torch.eye(3, dtype=torch.float64).repeat(20, 1, 1)
    u[:, 0, 1], u[:, 1, 2], u[:, 0, 2] = x, y, z
    assert_close(group.log(u), torch.stack([x, y, z - x * y / 2], dim=-1))
    a = torch.stack([x, y, z], dim=-1)
    u[:, 0, 2] = z + x * y / 2
    assert_close(group.exp(a), u)
    # Only the centre is left of a bracket.
    bracket = group.bracket(a, a.flip(0))
    assert not bracket[:, :2].any()
    assert_close(bracket[:, 2], x * y.flip(0) - y * x.flip(0))


@pytest.mark.parametrize("name", ["sl(2)", "so(1,3)"])
def test_noncompact_groups(name, dtype):
    group = MATRIX[name]
    a = algebra(group, 40, 0.0, 0.6, seed=3).to(dtype)
    u = group.exp(a)
    exact = scipy.linalg.expm(group.hat(a.double()).numpy())
    tol = 1e-12 if dtype == torch.float64 else 4e-6
    assert_close(u.double(), torch.from_numpy(exact), rtol=tol, atol=tol)
    logs = torch.from_numpy(np.stack([scipy.linalg.logm(x).real for x in exact]))
    assert_close(group.hat(group.log(u).double()), logs, rtol=tol, atol=tol)
    form = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=dtype))
    if name == "so(1,3)":
        assert_close(u.mT @ form @ u, form.expand_as(u), rtol=tol, atol=100 * tol)
    else:
        assert_close(torch.linalg.det(u), torch.ones(40, dtype=dtype))


def test_large_boosts():
    group = MATRIX["so(1,3)"]
    a = torch.tensor([[5.0, 0, 0, 0, 0, 0], [3.0, -3.0, 2.0, 0.5, 0.1, -0.4]]).double()
    assert_close(group.log(group.exp(a)), a, rtol=1e-9, atol=1e-9)


def test_half_turns_are_not_flipped_by_rounding(dtype):
    for name, closed in PAIRS[:2]:
        group = MATRIX[name]
        axis = torch.randn(30, group.dim, generator=torch.Generator(), dtype=dtype)
        axis = axis / axis.norm(dim=-1, keepdim=True)
        u = closed.exp(math.pi * axis)
        a = group.log(u)
        # To fourth order in the angle beyond pi, either sign is right: it must be the
        # same one, whatever the rounding.
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(u.shape, generator=generator, dtype=dtype)
            noisy = u + 2 * torch.finfo(dtype).eps * noise
            assert_close(group.log(noisy), a, rtol=0, atol=60 * torch.finfo(dtype).eps)
        assert_close(a.norm(dim=-1), torch.full_like(a[:, 0], math.pi))
    one = MATRIX["so(2)"].log(-torch.eye(2, dtype=dtype))
    assert float(one) == pytest.approx(math.pi)


def test_third_derivative():
    group = MATRIX["so(3)"]
    closed = SO3()
    a, b = algebra(closed, 2, 1.0, seed=4)

    def third(group):
        x = a.clone().requires_grad_()
        value = group.relative_log(group.exp(x), group.exp(b))[0]
        for _ in range(3):
            (g,) = torch.autograd.grad(value, x, create_graph=True)
            value = g.sum()
        return g

    assert_close(third(group), third(closed), rtol=1e-9, atol=1e-9)


def test_no_logarithm():
    group = MATRIX["sl(2)"]
    good = group.exp(torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64))
    outside = torch.diag(torch.tensor([-2.0, -0.5], dtype=torch.float64))
    mixed = torch.stack([good[0], outside])
    with pytest.raises(
        ValueError, match=r"`u` has 1 element\(s\) of which no logarithm"
    ):
        group.log(mixed)
    a, residual = group.log_with_residual(mixed)
    assert residual[0] < 1e-12
    assert residual[1] > 0.1
    assert_close(a[0], torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    with pytest.raises(ValueError, match="no logarithm"):
        group.log(torch.full((2, 2), torch.nan))
    with pytest.raises(ValueError, match="no logarithm"):
        MATRIX["so(3)"].log(torch.diag(torch.tensor([1.0, 1.0, 2.0])))


def test_lifting_by_functions():
    def section(pos):
        return closed.section(pos)

    closed = SO2()
    group = MatrixLieGroup(
        closed.generators(), section=section, origin=closed.origin, orbit_dim=1
    )
    pos = torch.randn(6, 2, generator=torch.Generator())
    u, q = group.section(pos)
    assert_close(group.act(u, group.origin(q)), pos)
    pairs = group.pairs(u[:, None], q[:, None], u, q)
    assert pairs.shape == (6, 6, 3)
    assert_close(pairs, closed.pairs(u[:, None], q[:, None], u, q))
    bare = MatrixLieGroup(closed.generators())
    with pytest.raises(
        ValueError, match="defines no lift of points: give it a `section`"
    ):
        bare.section(pos)
    with pytest.raises(ValueError, match="give it an `origin`"):
        bare.origin(q)


def test_wrong_generators():
    with pytest.raises(TypeError, match="`generators` must be a floating-point tensor"):
        MatrixLieGroup([[[0.0, 1.0], [-1.0, 0.0]]])
    with pytest.raises(TypeError, match="`generators` must be a floating-point tensor"):
        MatrixLieGroup(torch.ones(1, 2, 2, dtype=torch.long))
    for shape in ((2, 2), (1, 2, 3), (0, 2, 2), (1, 1, 2, 2), (2, 0, 0)):
        with pytest.raises(ValueError, match=r"must have shape \(dim, m, m\)"):
            MatrixLieGroup(torch.zeros(shape))
    with pytest.raises(ValueError, match="infinite or NaN"):
        MatrixLieGroup(torch.full((1, 2, 2), torch.inf))
    twice = torch.stack([SL2[0], SL2[1], SL2[0] + 2 * SL2[1]])
    with pytest.raises(ValueError, match="linearly dependent: 3 matrices of rank 2"):
        MatrixLieGroup(twice)
    with pytest.raises(ValueError, match="not closed under the bracket"):
        MatrixLieGroup(SL2[1:])
    with pytest.raises(ValueError, match="not closed under the bracket"):
        MatrixLieGroup(LORENTZ[:3])
    with pytest.raises(ValueError, match="not closed under the bracket"):
        MatrixLieGroup(1e-6 * SL2[1:])  # in whatever units
    with pytest.raises(ValueError, match="`space_dim` must be 3 or 2"):
        MatrixLieGroup(HEISENBERG, space_dim=4)


def test_any_basis_and_scale_of_the_algebra():
    # Combinations of generators, far from orthogonal and of other sizes.
    mix = torch.tensor([[1.0, 0, 0], [5.0, 0.1, 0], [1.0, 2.0, 1e-3]]).double()
    basis = torch.einsum("ij,jkl->ikl", mix, SO3().generators(torch.float64))
    group = MatrixLieGroup(basis)
    a = algebra(SO3(), 20, 2.0)
    u = SO3().exp(a)
    assert_close(group.log(u) @ mix, a, rtol=1e-10, atol=1e-10)


def test_rotations_that_turn_faster_are_refused_and_not_wrong():
    # exp is diag(R(x), R(3 x)): beyond x = pi / 3 the logarithm is not principal.
    fast = matrices(((0, 1, -1.0), (1, 0, 1.0), (2, 3, -3.0), (3, 2, 3.0)), size=4)
    group = MatrixLieGroup(fast)
    slow = torch.linspace(-1.04, 1.04, 9, dtype=torch.float64).unsqueeze(-1)
    assert_close(group.log(group.exp(slow)), slow)
    with pytest.raises(ValueError, match="no logarithm"):
        group.log(group.exp(torch.tensor([[1.5]], dtype=torch.float64)))


def test_matrix_functions():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, 4, generator=generator, dtype=torch.float64) * 0.4
    x = torch.linalg.matrix_exp(x)
    root = matrix_sqrt(x)
    assert_close(root @ root, x, rtol=1e-10, atol=1e-10)
    expected = np.stack([scipy.linalg.logm(y) for y in x.numpy()])
    assert_close(matrix_log(x), torch.from_numpy(expected), rtol=1e-8, atol=1e-8)
    assert matrix_log(x[:0]).shape == (0, 4, 4)
    bad = torch.diag(torch.tensor([-1.0, 2.0], dtype=torch.float64))
    mixed = matrix_sqrt(torch.stack([torch.eye(2, dtype=torch.float64), bad]))
    assert_close(mixed[0], torch.eye(2, dtype=torch.float64))
    assert bool(mixed[1].isnan().all())
