"""Elements that are drawn, and what keeps a basis from being trivial."""

import math

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.discovery import (
    LieGenerator,
    channel_penalty,
    closure_penalty,
    identity_penalty,
)
from lieconv_pyg.groups import SO3

from .conftest import mixed


def test_elements(so3):
    torch.manual_seed(0)
    drawn = LieGenerator(torch.ones(3, 3), 2)
    torch.manual_seed(1)
    z = drawn.draw(5)
    torch.manual_seed(1)
    g = drawn(5)
    wanted = torch.matrix_exp((z[:, :, None, None] * drawn.basis).sum(1))
    assert_close(g, wanted)
    mask = torch.eye(3)
    masked = LieGenerator(mask, 4)
    assert not (masked.basis * (1 - mask)).any() and masked.basis.any()


@pytest.mark.parametrize(
    ("kind", "sigma", "std"),
    [
        ("normal", 2.0, 2.0),
        ("uniform", 2.0, 2 / 3**0.5),
        ("integers", 3, (35 / 12) ** 0.5),
    ],
)
def test_coefficients(kind, sigma, std):
    torch.manual_seed(0)
    generator = LieGenerator(torch.ones(2, 2), 3, kind, sigma)
    scale = 1 if kind == "integers" else sigma  # whose elements are powers of one
    assert_close(generator.scaled_basis, scale * generator.basis)
    z = generator.draw(20_000)
    assert z.shape == (20_000, 3)
    assert_close(z.std(0), torch.full((3,), std), rtol=0.03, atol=0)
    if kind == "integers":
        assert sorted(set(z.flatten().tolist())) == list(range(-3, 3))
    if kind == "uniform":
        assert z.abs().max() < 2


def test_known_generators_learn_their_use(so3):
    drawn = LieGenerator(torch.ones(3, 3), basis=so3)
    assert_close(drawn.basis, so3.float())
    drawn(4).sum().backward()
    assert drawn.weight.grad is None
    assert drawn.mu.grad is not None and drawn.log_sigma.grad is not None
    learned = LieGenerator(torch.ones(3, 3))
    learned(4).sum().backward()
    assert learned.weight.grad is not None and learned.log_sigma.grad is None


def test_channels_switched_off():
    drawn = LieGenerator(torch.ones(2, 2), 3)
    drawn.active[1:] = 0
    assert not drawn.draw(5)[:, 1:].any() and drawn.sigma.tolist() == [1, 0, 0]
    drawn.reset_parameters()
    assert drawn.active.all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(coefficients="gamma"), "'coefficients' must be one of normal, uniform"),
        (dict(sigma=0.0), "'sigma' must be positive"),
        (dict(init_scale=float("nan")), "'init_scale' must be positive"),
        (dict(num_channels=0), "'num_channels' must be at least 1"),
        (dict(coefficients="integers", sigma=1.5), "must be a whole number"),
        (dict(basis=torch.eye(3).unsqueeze(0)), r"'basis' must have shape \(c, 2, 2\)"),
        (
            dict(basis=torch.eye(2).unsqueeze(0), coefficients="integers"),
            "cannot be learned",
        ),
    ],
    ids=range(7),
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LieGenerator(torch.ones(2, 2), **arguments)


def test_identity_penalty():
    """Turns by normal angles have a mean cosine of exp(-s^2 / 2)."""
    torch.manual_seed(0)
    x = torch.randn(50_000, 1, 2)
    angle = 1.3 * torch.randn(50_000)
    c, s = angle.cos(), angle.sin()
    g = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    found = identity_penalty(x @ g.mT, x)
    assert float(found) == pytest.approx(math.exp(-(1.3**2) / 2), abs=0.01)
    assert float(identity_penalty(x, x)) == pytest.approx(1)
    # Of the mean, not the mean of absolute values.
    sign = torch.tensor([1.0, -1.0]).repeat(25_000).view(-1, 1, 1)
    assert float(identity_penalty(sign * x, x)) < 1e-4
    assert float(identity_penalty(1.5 * x, x, "difference")) == pytest.approx(0.5)
    assert float(identity_penalty(5 * x, x, "difference")) == 0
    moved = x.clone().requires_grad_()
    identity_penalty(moved, x, "difference").backward()
    assert bool(moved.grad.isfinite().all())


def test_channel_penalty(so3):
    assert float(channel_penalty(so3)) == pytest.approx(0)
    assert float(channel_penalty(torch.cat([so3[:1], -7 * so3[:1]]))) == pytest.approx(
        3
    )
    assert float(channel_penalty(so3[:1])) == 0


def test_closure_penalty(so3, lorentz):
    for basis in (so3, lorentz, mixed(lorentz, 6), so3[:1]):
        assert float(closure_penalty(basis)) < 1e-3
    # [J1, J2] = J3 is all outside of two of them; boosts alone do not close either.
    assert float(closure_penalty(so3[:2])) == pytest.approx(1, abs=1e-3)
    assert float(closure_penalty(lorentz[:3])) == pytest.approx(1, abs=1e-3)
    basis = mixed(so3, 3, noise=0.05).requires_grad_()
    before = closure_penalty(basis).item()
    assert 1e-3 < before < 0.5
    for _ in range(200):
        (grad,) = torch.autograd.grad(closure_penalty(basis), basis)
        basis = (basis - 0.05 * grad).detach().requires_grad_()
    assert closure_penalty(basis).item() < before / 10
    parallel = torch.cat([SO3().generators()[:1]] * 2).requires_grad_()
    closure_penalty(parallel).backward()
    assert bool(parallel.grad.isfinite().all())
