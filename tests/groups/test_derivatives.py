"""First and second derivatives: right, and finite everywhere."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from lieconv_pyg.groups import SO2, SO3, LieGroup, Lorentz, RxSO2
from lieconv_pyg.groups.so3 import _about_first_axis
from tests.groups.cases import MATRIX, algebra, angle_indices, points


def leaf(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_()


def derivatives(function, *inputs: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The value, the gradient g of a weighted sum of it, and the gradient of g^2."""
    value = function(*inputs)
    k = torch.arange(1, value.numel() + 1, dtype=value.dtype)
    loss = (value * k.cos().reshape(value.shape)).sum()
    zero = sum(0 * x.sum() for x in inputs)  # what is constant has derivative 0
    first = torch.autograd.grad(loss + zero, inputs, create_graph=True)
    total = sum(g.square().sum() for g in first)
    second = torch.autograd.grad(total + zero, inputs)
    return value, list(first), list(second)


def assert_finite(function, *inputs: Tensor) -> None:
    value, first, second = derivatives(function, *(leaf(x) for x in inputs))
    for name, parts in ("value", [value]), ("first", first), ("second", second):
        assert all(bool(x.isfinite().all()) for x in parts), f"{name} not finite"


def pair_function(group: LieGroup, q_i: Tensor, q_j: Tensor):
    def function(a_i: Tensor, a_j: Tensor) -> Tensor:
        pairs = group.pairs(group.exp(a_i), q_i, group.exp(a_j), q_j)
        return torch.cat([pairs, group.distance(pairs).unsqueeze(-1)], dim=-1)

    return function


@pytest.mark.parametrize("angle", [1e-3, 0.13, 0.15, 1.0, 2.0, 3.1])
def test_exp_and_log(group, angle):
    if group.dim == 0:
        pytest.skip("no algebra")
    a = leaf(algebra(group, 2, angle))
    assert gradcheck(group.exp, (a,))
    assert gradcheck(lambda a: group.log(group.exp(0.9 * a)), (a,))
    assert gradgradcheck(group.exp, (a,), fast_mode=True)

    def nonlinear(a: Tensor) -> Tensor:
        return group.log(group.compose(group.exp(a), group.exp(0.5 * a.flip(-1))))

    if angle < 2:
        assert gradcheck(nonlinear, (a,))
        assert gradgradcheck(nonlinear, (a,), fast_mode=True)


def test_pairs_and_distance(group):
    a_i, a_j = (leaf(algebra(group, 2, 0.7 * k, seed=k)) for k in (1, 2))
    q_i, q_j = leaf(torch.rand(2, 2, group.orbit_dim, dtype=torch.float64))

    def function(a_i: Tensor, a_j: Tensor, q_i: Tensor, q_j: Tensor) -> Tensor:
        return pair_function(group, q_i, q_j)(a_i, a_j)

    assert gradcheck(function, (a_i, a_j, q_i, q_j))
    assert gradgradcheck(function, (a_i, a_j, q_i, q_j), fast_mode=True)


def test_section(group):
    pos = leaf(points(group, 3))
    if group.dim == 0:
        return
    assert gradcheck(group.section, (pos,))
    assert gradgradcheck(group.section, (pos,))


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-8, 1e-7, 1e-4, 1.0])
def test_log_of_exp_has_the_derivatives_of_the_identity_map(group, dtype, angle):
    if group.dim == 0:
        pytest.skip("no algebra")
    a = leaf(algebra(group, 4, angle, angle).to(dtype))
    _, first, second = derivatives(lambda a: group.log(group.exp(a)), a)
    k = torch.arange(1, a.numel() + 1, dtype=dtype).cos().reshape(a.shape)
    tol = 2e-5 if dtype == torch.float32 else 1e-13
    assert_close(first[0], k, rtol=0, atol=tol)
    assert_close(second[0], 0 * k, rtol=0, atol=50 * tol)


def test_coincident_pairs_have_zero_distance_and_gradient(group, dtype):
    a = algebra(group, 5, 2.0).to(dtype)
    q = torch.rand(5, group.orbit_dim, dtype=dtype)
    u = group.exp(a)
    distance = group.distance(group.pairs(u, q, u.clone(), q.clone()))
    assert distance.max() < 4 * torch.finfo(dtype).eps
    exact = leaf(torch.cat([torch.zeros(5, group.dim, dtype=dtype), q, q], dim=-1))
    assert not group.distance(exact).any()
    (gradient,) = torch.autograd.grad(group.distance(exact).sum(), exact)
    assert not gradient.any()
    assert_finite(pair_function(group, q, q), a, a.clone())
    assert_finite(group.distance, exact)


def test_finite_at_the_identity(group, dtype):
    zero = torch.zeros(2, group.dim, dtype=dtype)
    q = torch.ones(2, group.orbit_dim, dtype=dtype)
    assert_finite(pair_function(group, q, q), zero, zero)
    assert_finite(group.exp, zero)
    assert_finite(group.log, group.identity(2, dtype=dtype))


@pytest.mark.parametrize("size", [1e-7, 1e-15, 1e-20, 1e-40])
def test_finite_beside_the_identity(group, dtype, size):
    a = algebra(group, 4, size, size).to(dtype)
    q = torch.ones(4, group.orbit_dim, dtype=dtype)
    assert_finite(pair_function(group, q, q), a, torch.zeros_like(a))


def test_finite_at_pi(group, dtype):
    index = angle_indices(group)
    if not index:
        pytest.skip("no angle")
    q = torch.ones(6, group.orbit_dim, dtype=dtype)
    for shift in (0.0, 1e-10, -1e-10, 1e-6, -1e-6):
        a = algebra(group, 6, torch.pi + shift).to(dtype)
        assert_finite(pair_function(group, q, q), a, torch.zeros_like(a))
    if isinstance(group, Lorentz):
        turns = torch.eye(6, dtype=dtype)[3:]
        assert_finite(group.log, (2 * group.hat(turns)).round())
        return
    exact = torch.eye(group.matrix_dim, dtype=dtype).repeat(3, 1, 1)
    signs = [(1, -1, -1), (-1, 1, -1), (-1, -1, 1)] if len(index) == 3 else [(-1, -1)]
    for k, sign in enumerate(signs):
        exact[k].diagonal()[: len(sign)] = torch.tensor(sign, dtype=dtype)
    assert_finite(group.log, exact)


@pytest.mark.parametrize("group", [SO2(), SO3()], ids=repr)
def test_lift_of_the_origin_has_zero_gradient(group, dtype):
    pos = leaf(torch.zeros(2, group.space_dim, dtype=dtype))
    u, q = group.section(pos)
    assert torch.equal(u.detach(), group.identity(2, dtype=dtype))
    assert not q.any()
    _, first, _ = derivatives(lambda x: group.section(x)[0], pos)
    assert not first[0].any()
    (gradient,) = torch.autograd.grad(group.section(pos)[1].sum(), pos)
    assert not gradient.any()
    for size in (1e-45, 1e-30, 1e-12, 1e-8):
        near = torch.full((2, group.space_dim), size, dtype=dtype)
        value, first, _ = derivatives(lambda x: group.section(x)[1], leaf(near))
        assert bool(value.isfinite().all()) and bool(first[0].isfinite().all())


def test_lift_near_the_antipode_is_finite(dtype):
    group = SO3()
    for size in (0.0, 1e-30, 1e-12, 1e-6, 1e-4, 1e-3, 1e-2, 0.1):
        pos = torch.tensor([[-2.0, size, 0.0], [-2.0, -size, size]], dtype=dtype)
        assert_finite(
            lambda x: torch.cat([u.flatten(1) for u in group.section(x)], 1), pos
        )


@pytest.mark.parametrize("name", ["so(2)", "so(3)", "Heisenberg", "sl(2)", "so(1,3)"])
def test_numeric_groups(name):
    group = MATRIX[name]
    a, b = (leaf(algebra(group, 2, 0.0, 0.4, seed=k)) for k in (1, 2))
    assert gradcheck(group.exp, (a,))
    assert gradgradcheck(group.exp, (a,), fast_mode=True)

    def function(a: Tensor, b: Tensor) -> Tensor:
        return group.relative_log(group.exp(a), group.exp(b))

    assert gradcheck(function, (a, b))
    assert gradgradcheck(function, (a, b), fast_mode=True)
    _, first, second = derivatives(lambda a: group.log(group.exp(a)), a)
    k = torch.arange(1, a.numel() + 1, dtype=a.dtype).cos().reshape(a.shape)
    assert_close(first[0], k, rtol=0, atol=1e-11)
    assert_close(second[0], 0 * k, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", MATRIX)
def test_numeric_groups_are_finite_at_coincident_pairs(name, dtype):
    group = MATRIX[name]
    a = algebra(group, 3, 0.0, 0.4).to(dtype)
    a[0] = 0.0
    q = torch.zeros(3, 0, dtype=dtype)
    assert_finite(pair_function(group, q, q), a, a.clone())


def test_numeric_rotations_are_finite_at_pi(dtype):
    for name, size in ("so(2)", 1), ("so(3)", 3):
        group = MATRIX[name]
        a = torch.pi * torch.eye(size, dtype=dtype)
        q = torch.zeros(size, 0, dtype=dtype)
        assert_finite(pair_function(group, q, q), a, torch.zeros_like(a))


def test_derivative_across_the_branch_of_the_circle():
    # The angle is continuous but for one jump, so its derivative is 1 on both sides.
    group = RxSO2()
    for shift in (-1e-3, 0.0, 1e-3):
        a = torch.tensor([0.3, torch.pi + shift], dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(
            lambda a: group.log(group.exp(a)), a
        )
        assert_close(jacobian, torch.eye(2, dtype=torch.float64))
    turns = _about_first_axis(torch.tensor([0.0, torch.pi], dtype=torch.float64))
    assert_finite(SO3().log, turns)
