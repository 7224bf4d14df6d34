"""What every group satisfies, and exp and log against SciPy."""

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.testing import assert_close

from lieconv_pyg.groups import (
    SE3,
    SIM2,
    SO3,
    LieGroup,
    Lorentz,
    RxSO2,
    RxSQ,
    T,
    Trivial,
    Ty,
)
from lieconv_pyg.groups.ops import branch_tolerance
from tests.groups.cases import MATRIX, algebra, angle_indices, kinds, points, whole

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def error(actual: Tensor, expected: Tensor) -> float:
    """The largest error, relative for entries above 1, of float64 `expected`."""
    difference = (actual.double() - expected.double()).abs()
    return float((difference / expected.double().abs().clamp(min=1)).max())


def test_exp_is_scipys(any_group, dtype):
    if any_group.dim == 0:
        pytest.skip("exp has nothing to depend on")
    for a in kinds(any_group).values():
        a = a.to(dtype)
        expected = scipy.linalg.expm(any_group.hat(a.double()).numpy())
        actual = any_group.exp(a)
        assert actual.dtype == dtype
        # SciPy itself is off by 1e-12 for similarities that turn by nearly pi.
        tolerance = TOLERANCE[dtype] * (2 if isinstance(any_group, SIM2) else 1)
        assert error(actual, torch.from_numpy(expected)) < tolerance


def test_log_inverts_exp(group, dtype):
    index = angle_indices(group)
    for a in kinds(group).values():
        a = a.to(dtype)
        exact = scipy.linalg.expm(group.hat(a.double()).numpy())
        u = torch.from_numpy(exact).to(dtype) if group.dim > 0 else group.exp(a)
        b = group.log(u)
        assert b.dtype == dtype
        assert error(group.exp(b), u) < 2 * TOLERANCE[dtype]
        # Within the tolerance of pi the logarithm is the one that the rule picks.
        sure = a[:, index].norm(dim=-1) < torch.pi - 2 * branch_tolerance(dtype)
        if bool(sure.any()) and group.dim > 0:
            assert error(b[sure], a[sure]) < TOLERANCE[dtype]


def test_log_keeps_relative_precision_near_the_identity(group, dtype):
    if group.dim == 0 or isinstance(whole(group), (RxSO2, RxSQ, SIM2, Lorentz)):
        pytest.skip("the matrix holds 1 + a, not a")
    a = algebra(group, 20, 1e-8, 1e-8).to(dtype)
    tol = 4 * torch.finfo(dtype).eps
    assert_close(group.log(group.exp(a)) / 1e-8, a / 1e-8, rtol=tol, atol=tol)


def test_log_is_scipys(any_group):
    if any_group.dim == 0:
        pytest.skip("no algebra")
    size = 0.5 if any_group in MATRIX.values() else 1.0
    u = any_group.exp(algebra(any_group, 10, 3.0, size, seed=5))
    expected = torch.from_numpy(np.stack([scipy.linalg.logm(x) for x in u.numpy()]))
    assert_close(any_group.hat(any_group.log(u)), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("group", [SO3(), SE3()], ids=repr)
@pytest.mark.parametrize("gap", [3.1, 3.0, 1.0, 1e-3, 1e-6, 1e-8])
def test_rotation_log_is_scipys(group, gap):
    angle = torch.pi - gap
    a = algebra(group, 50, angle)
    expected = Rotation.from_rotvec(a[:, :3].numpy()).as_matrix()
    u = group.exp(a)
    assert_close(u[:, :3, :3], torch.from_numpy(expected), rtol=0, atol=1e-14)
    vectors = torch.from_numpy(Rotation.from_matrix(u[:, :3, :3]).as_rotvec())
    assert_close(group.log(u)[:, :3], vectors, rtol=0, atol=1e-13)


def test_group_axioms(any_group, dtype):
    small = any_group in MATRIX.values()
    a = algebra(any_group, 3 * 7, 3.0, 0.3 if small else 1.0).to(dtype)
    u, v, w = any_group.exp(a).unflatten(0, (3, 7))
    compose, inverse = any_group.compose, any_group.inverse
    e = any_group.identity(7, dtype=dtype)
    tol = 100 * torch.finfo(dtype).eps
    close = {"rtol": tol, "atol": tol}
    assert_close(compose(u, v), u @ v, **close)
    assert_close(compose(compose(u, v), w), compose(u, compose(v, w)), **close)
    assert_close(compose(u, e), u, **close)
    assert_close(compose(u, inverse(u)), e, rtol=10 * tol, atol=10 * tol)
    assert_close(any_group.exp(-any_group.log(u)), inverse(u), rtol=10 * tol, atol=tol)
    relative = any_group.relative(u, v)
    expected = torch.linalg.inv(v.double()) @ u.double()
    assert_close(relative.double(), expected, rtol=10 * tol, atol=10 * tol)
    assert_close(any_group.relative_log(u, v), any_group.log(relative), **close)


def test_identity(any_group, dtype):
    e = any_group.identity(2, 3, dtype=dtype)
    assert e.shape == (2, 3, any_group.matrix_dim, any_group.matrix_dim)
    assert e.dtype == dtype
    zero = torch.zeros(2, 3, any_group.dim, dtype=dtype)
    assert torch.equal(any_group.exp(zero), e)
    assert torch.equal(any_group.log(e), zero)
    e[0, 0] = 7.0  # writable, and not shared between entries
    assert torch.equal(e[1, 2], any_group.identity(dtype=dtype))


def test_generators_are_the_derivative_of_exp(any_group):
    stated = any_group.generators(torch.float64)
    assert stated.shape == (any_group.dim, *2 * (any_group.matrix_dim,))
    zero = torch.zeros(any_group.dim, dtype=torch.float64)
    derivative = torch.autograd.functional.jacobian(any_group.exp, zero)
    assert_close(stated, derivative.permute(2, 0, 1), rtol=0, atol=1e-15)
    assert any_group.generators().dtype == torch.float32


def test_hat_and_vee(any_group):
    a = algebra(any_group, 8, 2.0)
    A = any_group.hat(a)
    assert_close(A, torch.einsum("bk,kij->bij", a, any_group.generators(a.dtype)))
    assert_close(any_group.vee(A), a, rtol=0, atol=1e-14)
    assert_close(LieGroup.vee(any_group, A), a, rtol=0, atol=1e-14)


def test_bracket(any_group):
    a, b, c = algebra(any_group, 3 * 6, 2.0).unflatten(0, (3, 6))
    bracket, hat = any_group.bracket, any_group.hat
    commutator = hat(a) @ hat(b) - hat(b) @ hat(a)
    assert_close(hat(bracket(a, b)), commutator, rtol=0, atol=1e-13)
    jacobi = bracket(a, bracket(b, c)) + bracket(b, bracket(c, a))
    assert_close(jacobi + bracket(c, bracket(a, b)), 0 * a, rtol=0, atol=1e-13)
    if any_group.commutative:
        assert not commutator.any()


def test_adjoint(any_group):
    small = any_group in MATRIX.values()
    u = any_group.exp(algebra(any_group, 6, 2.0, 0.3 if small else 1.0, seed=1))
    a = algebra(any_group, 6, 1.0, 0.2, seed=2)
    adjoint = any_group.adjoint(u)
    assert adjoint.shape == (6, any_group.dim, any_group.dim)
    moved = (adjoint @ a.unsqueeze(-1)).squeeze(-1)
    inverse = torch.linalg.inv(u)
    close = {"rtol": 1e-11, "atol": 1e-11}
    assert_close(any_group.hat(moved), u @ any_group.hat(a) @ inverse, **close)
    assert_close(any_group.log(u @ any_group.exp(a) @ inverse), moved, **close)


def test_action(group):
    u, v = group.exp(algebra(group, 2 * 6, 2.0)).unflatten(0, (2, 6))
    x = points(group, 6)
    act = group.act
    assert_close(act(group.compose(u, v), x), act(u, act(v, x)), rtol=1e-13, atol=1e-13)
    assert torch.equal(act(group.identity(6, dtype=x.dtype), x), x)
    many = act(u[:, None], x)  # leading shapes broadcast
    assert_close(many[2, 4], act(u[2], x[4]))


def test_action_on_vectors(any_group):
    """It is the derivative of the action, in every place."""
    g = any_group
    small = g in MATRIX.values()
    u, w = g.exp(algebra(g, 2 * 6, 2.0, 0.3 if small else 1.0)).unflatten(0, (2, 6))
    x, v = torch.randn(2, 6, g.space_dim, dtype=torch.float64)
    moved, slope = torch.func.jvp(lambda x: g.act(u, x), (x,), (v,))
    close = {"rtol": 1e-13, "atol": 1e-13}
    turned = g.act_on_vectors(u, v)
    assert_close(turned, slope, **close)
    assert_close(g.act(u, x + v) - moved, turned, rtol=1e-12, atol=1e-12)
    both = g.act_on_vectors(u, g.act_on_vectors(w, v))
    assert_close(g.act_on_vectors(g.compose(u, w), v), both, **close)
    assert torch.equal(g.act_on_vectors(g.identity(6, dtype=v.dtype), v), v)
    many = g.act_on_vectors(u[:, None], v)  # leading shapes broadcast
    assert_close(many[2, 4], g.act_on_vectors(u[2], v[4]))
    with pytest.raises(ValueError, match="`v` must have shape"):
        g.act_on_vectors(u, v[..., :0])


@pytest.mark.parametrize("group", [Trivial(2), T(3), Ty(n=3), T(3).subgroup((2, 0))])
def test_translations_move_no_vector(group):
    v = torch.randn(6, group.space_dim, dtype=torch.float64)
    assert torch.equal(group.act_on_vectors(group.exp(algebra(group, 6, 1.0)), v), v)
