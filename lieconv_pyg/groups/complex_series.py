r"""Functions of complex numbers that are smooth where the logarithm of the Lorentz
group is.

Complex numbers are pairs of real tensors, which compile, and are left alone by
autocast. Functions of :math:`s = \sqrt{z}` that are even in :math:`s` are power series
in :math:`z` where it is small and closed forms elsewhere, in which the sign of the root
does not matter: there is no cut, and derivatives of all orders are finite. The argument
of the branch that is not taken is replaced before it is used, as in
:mod:`lieconv_pyg.groups.series`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Complex = tuple[Tensor, Tensor]

_COSH = tuple(1 / math.factorial(2 * k) for k in range(11))
_SINHC = tuple(1 / math.factorial(2 * k + 1) for k in range(11))
# (-1)^k k! / (2 k + 1)!!, of arcosh(1 + d) / sqrt(d (d + 2)).
_ARCOSH = tuple(
    (-2) ** k * math.factorial(k) ** 2 / math.factorial(2 * k + 1) for k in range(13)
)


def even_root(z: Complex) -> Complex:
    r"""A square root of nonzero numbers, with either sign: its even functions have no
    cut."""
    x, y = z
    right = x >= 0
    large = ((torch.hypot(x, y) + torch.where(right, x, -x)) / 2).sqrt()
    small = y / (2 * large)
    return torch.where(right, large, small), torch.where(right, small, large)


def _polynomial(z: Complex, coefficients: Sequence[float]) -> Complex:
    """With real coefficients, by Knuth's recurrence in real numbers."""
    x, y = z
    double, square = 2 * x, x * x + y * y
    one, two = torch.zeros_like(x), torch.zeros_like(x)
    for c in reversed(coefficients[1:]):
        one, two = c + double * one - square * two, one
    return coefficients[0] + x * one - square * two, y * one


def _piecewise(
    z: Complex,
    threshold: float,
    series: Callable[[Complex], Sequence[Complex]],
    closed_form: Callable[[Complex], Sequence[Complex]],
) -> list[Complex]:
    """Both, each with its argument where it holds."""
    small = z[0] * z[0] + z[1] * z[1] < threshold * threshold
    zero, one = torch.zeros_like(z[0]), torch.ones_like(z[0])
    near = series((torch.where(small, z[0], zero), torch.where(small, z[1], zero)))
    far = closed_form((torch.where(small, one, z[0]), torch.where(small, zero, z[1])))
    return [
        (torch.where(small, a[0], b[0]), torch.where(small, a[1], b[1]))
        for a, b in zip(near, far, strict=True)
    ]


def cosh_and_sinhc(z: Complex) -> list[Complex]:
    r""":math:`\cosh s` and :math:`\sinh s / s` as functions of :math:`z = s^2`."""

    def series(z: Complex) -> list[Complex]:
        return [_polynomial(z, _COSH), _polynomial(z, _SINHC)]

    def closed_form(z: Complex) -> list[Complex]:
        x, y = even_root(z)
        sinh, cosh, sin, cos = x.sinh(), x.cosh(), y.sin(), y.cos()
        ratio = _ratio((sinh * cos, cosh * sin), (x, y))
        return [(cosh * cos, sinh * sin), ratio]

    return _piecewise(z, 1.0, series, closed_form)


def arcosh_over_root(h: Complex) -> Complex:
    r""":math:`\mathrm{arcosh}(h) / \sqrt{h^2 - 1}` for :math:`\mathrm{Re}\, h \ge 0`,
    and a little below."""

    def series(d: Complex) -> list[Complex]:
        return [_polynomial(d, _ARCOSH)]

    def closed_form(d: Complex) -> list[Complex]:
        # With q = sinh s for h = cosh s: Re(q conj(h)) = sinh(2 Re s) / 2, and
        # Im(q) / Re(h) = tan(Im s).
        (x, y), re = d, d[0] + 1
        p, q = even_root((x * (x + 2) - y * y, 2 * y * re))
        s = torch.asinh(2 * (p * re + q * y)) / 2, torch.atan2(q, re)
        return [_ratio(s, (p, q))]

    return _piecewise((h[0] - 1, h[1]), 0.1, series, closed_form)[0]


def _ratio(a: Complex, b: Complex) -> Complex:
    (x, y), (c, s) = a, b
    square = c * c + s * s
    return (x * c + y * s) / square, (y * c - x * s) / square
