"""A group that a user adds gets everything else from the base class."""

import copy
import pickle

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from lieconv_pyg.groups import SO2, LieGroup, MatrixLieGroup


class Shear(LieGroup):
    """The shears (x, y) -> (x + ay, y) of the upper half plane, and scalings of it."""

    dim = 2
    orbit_dim = 0
    matrix_dim = 2
    space_dim = 2
    commutative = True

    def exp(self, a):
        scale, shear = a[..., 0].exp(), a[..., 1]
        rows = [scale, scale * shear, torch.zeros_like(scale), scale]
        return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))

    def log(self, u):
        scale = u[..., 0, 0]
        return torch.stack([scale.log(), u[..., 0, 1] / scale], dim=-1)

    def section(self, pos):
        x, y = pos.unbind(dim=-1)
        return self.exp(torch.stack([y.log(), x / y], dim=-1)), pos[..., :0]

    def origin(self, q):
        return q.new_tensor([0.0, 1.0]).expand(*q.shape[:-1], 2)


class Affine(LieGroup):
    """The maps x -> sx + t of the line with s > 0: it does not commute."""

    dim, orbit_dim, matrix_dim, space_dim = 2, 0, 2, 1
    stabilizer_dim = 1

    def exp(self, a):
        s, t = a.unbind(dim=-1)
        near = s.abs() < 1e-4
        safe = torch.where(near, torch.ones_like(s), s)
        factor = torch.where(near, 1 + s / 2 + s**2 / 6, safe.expm1() / safe)
        rows = [s.exp(), t * factor, torch.zeros_like(s), torch.ones_like(s)]
        return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))

    def log(self, u):
        s = u[..., 0, 0].log()
        near = s.abs() < 1e-4
        safe = torch.where(near, torch.ones_like(s), s)
        factor = torch.where(near, 1 - s / 2 + s**2 / 12, safe / safe.expm1())
        return torch.stack([s, u[..., 0, 1] * factor], dim=-1)


@pytest.fixture(params=[Shear(alpha=0.4), Affine(alpha=0.3)], ids=repr)
def user_group(request):
    return request.param


def test_everything_else_follows(user_group):
    g = user_group
    u, v = g.sample(2, 6, generator=torch.Generator(), dtype=torch.float64)
    assert_close(g.exp(g.log(u)), u)
    assert_close(g.compose(u, g.inverse(u)), g.identity(6, dtype=u.dtype))
    assert_close(g.relative_log(u, v), g.log(torch.linalg.inv(v) @ u))
    a, b = g.log(u), g.log(v)
    assert_close(g.vee(g.hat(a)), a)
    assert_close(torch.linalg.matrix_exp(g.hat(a)), u)
    A, B = g.hat(a), g.hat(b)
    assert_close(g.hat(g.bracket(a, b)), A @ B - B @ A, rtol=0, atol=1e-13)
    moved = (g.adjoint(u) @ b.unsqueeze(-1)).squeeze(-1)
    assert_close(g.exp(moved), u @ v @ torch.linalg.inv(u))
    q = torch.rand(6, g.orbit_dim, dtype=u.dtype)
    pairs = g.pairs(u[:, None], q[:, None], u, q)
    assert pairs.shape == (6, 6, 2)
    assert_close(g.distance(pairs), g.alpha * pairs.norm(dim=-1))
    w = g.sample(generator=torch.Generator().manual_seed(1), dtype=u.dtype)
    assert_close(g.pairs(w @ u[:, None], q[:, None], w @ u, q), pairs)
    assert g.embed(u, q) is None
    x = torch.rand(6, g.space_dim, dtype=u.dtype)
    assert_close(g.act(u, g.act(v, x)), g.act(u @ v, x))


def test_derivatives(user_group):
    a = torch.randn(2, 3, 2, generator=torch.Generator(), dtype=torch.float64)
    a.requires_grad_()

    def function(a):
        u = user_group.exp(a)
        return user_group.relative_log(u[0], u[1])

    assert gradcheck(function, (a,))
    assert gradgradcheck(function, (a,))


def test_copies_and_names(user_group):
    for other in (copy.deepcopy(user_group), pickle.loads(pickle.dumps(user_group))):
        assert other == user_group
        assert hash(other) == hash(user_group)
    assert repr(Shear()) == "Shear(alpha=0.2)"
    assert Shear(alpha=0.3) != Shear()


def test_lifting():
    group = Shear()
    pos = torch.rand(7, 2, generator=torch.Generator()) + 0.1
    u, q = group.section(pos)
    assert_close(group.act(u, group.origin(q)), pos)
    assert torch.equal(group.stabilizer_grid(2), group.identity(2))
    assert group.subgroup((1,)).section(pos)[1].shape == (7, 1)


def test_what_is_missing_is_said():
    group = Affine()
    with pytest.raises(ValueError, match="defines no lift"):
        group.section(torch.zeros(2, 1))
    with pytest.raises(ValueError, match="defines no origin"):
        group.origin(torch.zeros(2, 0))
    with pytest.raises(NotImplementedError, match="must define `stabilizer_sample`"):
        group.stabilizer_sample(3)
    with pytest.raises(NotImplementedError, match="must define `stabilizer_grid`"):
        group.stabilizer_grid(3)


def test_orbit_labels_of_another_length():
    turn = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
    group = MatrixLieGroup(turn, section=SO2().section, origin=SO2().origin)
    with pytest.raises(ValueError, match="labels of length 1, and `orbit_dim` is 0"):
        group.section(torch.rand(3, 2))


def test_generators_are_derived_in_inference_mode():
    group = Affine()
    with torch.inference_mode():
        basis = group.generators(torch.float64)
    assert basis.tolist() == [[[1, 0], [0, 0]], [[0, 1], [0, 0]]]
    a = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    group.hat(a).sum().backward()
    assert_close(a.grad, torch.ones_like(a))
