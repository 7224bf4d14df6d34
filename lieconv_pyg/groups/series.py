r"""Functions of a *squared* angle that are smooth through zero.

The exponential and logarithm of rotations need quotients such as
:math:`\sin\theta/\theta`. Written as functions of :math:`s = \theta^2` they are
analytic at :math:`s = 0`, so they have finite derivatives of every order there. Each
is a power series where :math:`s` is small and the closed form elsewhere; the argument
of the branch that is not taken is replaced *before* use, since otherwise its
infinite derivative would reach the result as :math:`0 \cdot \infty`.

The closed forms are standard, see e.g. Eade, "Lie Groups for 2D and 3D
Transformations" (2013).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# |B_2|, |B_4|, ...: Bernoulli numbers, for the series of x cot(x).
_BERNOULLI = (
    1 / 6,
    1 / 30,
    1 / 42,
    1 / 30,
    5 / 66,
    691 / 2730,
    7 / 6,
    3617 / 510,
    43867 / 798,
    174611 / 330,
    854513 / 138,
    236364091 / 2730,
)
_SINC = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(11))
_SINCC = tuple((-1) ** k / math.factorial(2 * k + 3) for k in range(11))
_COTC = tuple(b / math.factorial(2 * k + 2) for k, b in enumerate(_BERNOULLI))
_EXPM1 = tuple(1 / math.factorial(k + 1) for k in range(19))
_ATAN = tuple((-1) ** k / (2 * k + 1) for k in range(11))


def polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    r""":math:`\sum_k c_k x^k` by Horner's rule."""
    out = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        out = out * x + c
    return out


def _piecewise(
    s: Tensor,
    coefficients: Sequence[float],
    closed_form: Callable[[Tensor], Tensor],
    threshold: float = 1.0,
) -> Tensor:
    small = s < threshold
    series = polynomial(torch.where(small, s, torch.zeros_like(s)), coefficients)
    closed = closed_form(torch.where(small, torch.ones_like(s), s))
    return torch.where(small, series, closed)


def sinc(s: Tensor) -> Tensor:
    r""":math:`\sin\theta / \theta` as a function of :math:`s = \theta^2`."""

    def closed_form(s: Tensor) -> Tensor:
        angle = s.sqrt()
        return angle.sin() / angle

    return _piecewise(s, _SINC, closed_form)


def cosc(s: Tensor) -> Tensor:
    r""":math:`(1 - \cos\theta) / \theta^2` as a function of :math:`s = \theta^2`;
    it is :math:`\tfrac{1}{2} \mathrm{sinc}(\theta/2)^2`, which does not cancel.
    """
    return 0.5 * sinc(s / 4).square()


def sincc(s: Tensor) -> Tensor:
    r""":math:`(\theta - \sin\theta) / \theta^3` as a function of
    :math:`s = \theta^2`.
    """

    def closed_form(s: Tensor) -> Tensor:
        angle = s.sqrt()
        return (1 - angle.sin() / angle) / s

    return _piecewise(s, _SINCC, closed_form)


def cotc(s: Tensor) -> Tensor:
    r""":math:`\left(1 - \tfrac{\theta}{2} \cot\tfrac{\theta}{2}\right) / \theta^2`
    as a function of :math:`s = \theta^2`, for :math:`\theta < 2\pi`.
    """

    def closed_form(s: Tensor) -> Tensor:
        half = s.sqrt() / 2
        return (1 - half * half.cos() / half.sin()) / s

    return _piecewise(s, _COTC, closed_form)


def angle_over_sine(s: Tensor, cosine: Tensor) -> Tensor:
    r""":math:`\phi / \sin\phi` for angles :math:`\phi \in [0, \tfrac{\pi}{2}]`, and
    a little beyond, from :math:`\sin^2\phi` and :math:`\cos\phi`.

    Args:
        s (torch.Tensor): Squared sines.
        cosine (torch.Tensor): Cosines.
    """
    small = s < 0.02
    one = torch.ones_like(s)
    c = torch.where(small, cosine, one)
    ratio = torch.where(small, s, torch.zeros_like(s)) / c.square()
    series = polynomial(ratio, _ATAN) / c
    sine = torch.where(small, one, s).sqrt()
    closed = torch.atan2(sine, cosine) / sine
    return torch.where(small, series, closed)


def exp_quotient(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""The real and the imaginary part of :math:`(e^z - 1) / z` for complex
    :math:`z = x + i y`.
    """
    small = x.square() + y.square() < 1
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    a, b = torch.where(small, x, zero), torch.where(small, y, zero)
    real, imaginary = torch.full_like(x, _EXPM1[-1]), torch.zeros_like(y)
    for c in reversed(_EXPM1[:-1]):
        real, imaginary = real * a - imaginary * b + c, real * b + imaginary * a

    a, b = torch.where(small, one, x), torch.where(small, zero, y)
    size, square = a.exp(), a.square() + b.square()
    p, q = size * b.cos() - 1, size * b.sin()
    closed = (p * a + q * b) / square, (q * a - p * b) / square
    return torch.where(small, real, closed[0]), torch.where(small, imaginary, closed[1])


def log_quotient(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""The real and the imaginary part of :math:`z / (e^z - 1)` for complex
    :math:`z = x + i y` with :math:`|y| < 2 \pi`.

    With :math:`z / (e^z - 1) = e^{-z} (-z) / (e^{-z} - 1)` the quotient is taken where
    the real part is negative, and no exponential overflows.
    """
    flip = x > 0
    a, b = exp_quotient(torch.where(flip, -x, x), torch.where(flip, -y, y))
    square = a.square() + b.square()
    a, b = a / square, -b / square
    size = torch.where(flip, -x, torch.zeros_like(x)).exp()
    c, s = size * y.cos(), -size * y.sin()
    real = torch.where(flip, a * c - b * s, a)
    return real, torch.where(flip, a * s + b * c, b)
