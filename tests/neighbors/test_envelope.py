import copy
import pickle

import pytest
import torch

from lieconv_pyg.neighbors import PolynomialEnvelope


@pytest.mark.parametrize("p", [2, 3, 6])
def test_values_and_derivatives_at_the_ends(p):
    envelope = PolynomialEnvelope(p)
    t = torch.tensor([0.0, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    value = envelope(t)
    assert torch.allclose(value, t.new_tensor([1.0, 0.0, 0.0]), atol=1e-14)
    (first,) = torch.autograd.grad(value.sum(), t, create_graph=True)
    assert torch.allclose(first, torch.zeros_like(first), atol=1e-12)
    (second,) = torch.autograd.grad(first.sum(), t)
    assert torch.allclose(second[1:], torch.zeros(2, dtype=t.dtype), atol=1e-10)


@pytest.mark.parametrize("p", [2, 6])
def test_two_continuous_derivatives_at_the_radius(p):
    envelope = PolynomialEnvelope(p)

    def derivatives(t):
        t = torch.tensor(t, dtype=torch.float64, requires_grad=True)
        (first,) = torch.autograd.grad(envelope(t), t, create_graph=True)
        (second,) = torch.autograd.grad(first, t)
        return torch.stack([envelope(t), first, second]).detach()

    inside, outside = derivatives(1 - 1e-7), derivatives(1 + 1e-7)
    assert (inside - outside).abs().max() < 1e-4


def test_formula():
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    expected = 1 - 28 * t**6 + 48 * t**7 - 21 * t**8
    assert torch.allclose(PolynomialEnvelope(6)(t), expected, atol=1e-14)
    assert bool((PolynomialEnvelope()(t).diff() <= 0).all())


def test_gradient():
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(PolynomialEnvelope(), t)
    assert torch.autograd.gradgradcheck(PolynomialEnvelope(), t)


def test_module():
    envelope = PolynomialEnvelope(5)
    assert str(envelope) == "PolynomialEnvelope(p=5)"
    assert pickle.loads(pickle.dumps(envelope)).p == copy.deepcopy(envelope).p == 5
    with pytest.raises(ValueError, match="'p' must be at least 2"):
        PolynomialEnvelope(1)
    with pytest.raises(TypeError, match="'p' must be an integer"):
        PolynomialEnvelope(2.5)
