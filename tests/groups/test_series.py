"""The series against exact values, in value and derivatives."""

import mpmath
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from lieconv_pyg.groups import series

FUNCTIONS = {
    "sinc": lambda t: mpmath.sin(t) / t,
    "cosc": lambda t: (1 - mpmath.cos(t)) / t**2,
    "sincc": lambda t: (t - mpmath.sin(t)) / t**3,
    "cotc": lambda t: (1 - t / 2 * mpmath.cot(t / 2)) / t**2,
}
ANGLES = [1e-8, 1e-4, 0.01, 0.1, 0.5, 0.9, 0.999, 1.0, 1.001, 1.5, 2.0, 3.0, 3.1415]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_value(name, dtype):
    s = torch.tensor([t**2 for t in ANGLES], dtype=dtype)
    actual = getattr(series, name)(s)
    with mpmath.workdps(50):
        roots = [mpmath.sqrt(x) for x in s.tolist()]
        exact = [float(FUNCTIONS[name](t)) for t in roots]
    expected = torch.tensor(exact, dtype=torch.float64)
    tol = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(actual.double(), expected, rtol=tol, atol=tol / 20)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name, dtype):
    function = getattr(series, name)
    s = torch.tensor([0.3, 0.99, 1.01, 4.0, 9.0], dtype=torch.float64).requires_grad_()
    assert gradcheck(function, (s,))
    assert gradgradcheck(function, (s,))
    zero = torch.zeros(3, dtype=dtype, requires_grad=True)
    with mpmath.workdps(50):
        taylor = mpmath.taylor(lambda x: FUNCTIONS[name](mpmath.sqrt(x)), 1e-12, 2)
    (first,) = torch.autograd.grad(function(zero).sum(), zero, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), zero)
    for derivative, value in ((first, taylor[1]), (second, 2 * taylor[2])):
        expected = torch.full_like(zero, float(value))
        torch.testing.assert_close(derivative, expected, rtol=1e-5, atol=0)


def test_large_arguments_are_finite():
    s = torch.tensor([1e4, 1e30], requires_grad=True)
    for name in ("sinc", "cosc", "sincc"):
        value = getattr(series, name)(s)
        (first,) = torch.autograd.grad(value.sum(), s)
        assert bool(value.isfinite().all())
        assert bool(first.isfinite().all())


def test_angle_over_sine(dtype):
    angle = torch.tensor([0.0, 1e-8, 1e-4, 0.1, 0.14, 0.142, 0.5, 1.5, 1.571, 1.6])
    angle = angle.double()
    s, c = angle.sin().square().to(dtype), angle.cos().to(dtype)
    expected = torch.where(angle > 0, angle / angle.sin(), 1.0)
    tol = 4 * torch.finfo(dtype).eps
    actual = series.angle_over_sine(s, c)
    torch.testing.assert_close(actual.double(), expected, rtol=tol, atol=0)
    inputs = (s[3:].double().requires_grad_(), c[3:].double().requires_grad_())
    assert gradcheck(series.angle_over_sine, inputs)
    assert gradgradcheck(series.angle_over_sine, inputs)
