r"""The group :math:`\mathrm{SL}(2, \mathbb{C})`, for Lorentz transformations.

A matrix :math:`A = h + r \cdot \sigma`, with :math:`\sigma` the Pauli matrices, is held
by its complex coordinates :math:`(h, r)`, with :math:`h^2 - r \cdot r = 1`, as a
:class:`Spinor` of real tensors :obj:`(4, *)`: coordinates come first, since products of
their rows are fastest that way. It acts on Hermitian matrices
:math:`X = E + \mathbf{p} \cdot \sigma` by :math:`A X A^\dagger`, and :math:`-A` acts as
:math:`A` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lieconv_pyg.groups.complex_series import (
    arcosh_over_root,
    cosh_and_sinhc,
    even_root,
)
from lieconv_pyg.groups.ops import branch_tolerance
from lieconv_pyg.groups.rotation import is_second_half


class Spinor(NamedTuple):
    r"""The coordinates :math:`(h, r)`: real and imaginary parts :obj:`(4, *)`."""

    real: Tensor
    imag: Tensor


def from_element(u: Tensor) -> Spinor:
    r"""The coordinates of real matrices :obj:`(*, 4, 4)`, see :func:`to_element`."""
    (a, b), (c, d), (e, f), (g, h) = (row.unbind(-1) for row in u[..., :2].unbind(-2))
    # Re A = [[a, b], [c, d]] and Im A = [[e, f], [g, h]].
    real = torch.stack([a + d, b + c, g - f, a - d])
    imag = torch.stack([e + h, f + g, b - c, e - h])
    return Spinor(real / 2, imag / 2)


def to_element(spinor: Spinor) -> Tensor:
    r"""The real matrix :math:`\begin{pmatrix} \mathrm{Re} A & -\mathrm{Im} A \\
    \mathrm{Im} A & \mathrm{Re} A \end{pmatrix}`, of shape :obj:`(*, 4, 4)`, whose
    products are those of :math:`A`.
    """
    (h, x, y, z), (k, a, b, c) = spinor.real.unbind(0), spinor.imag.unbind(0)
    real = [h + z, x + b, x - b, h - z]
    imag = [k + c, a - y, a + y, k - c]
    rows = [
        [real[0], real[1], -imag[0], -imag[1]],
        [real[2], real[3], -imag[2], -imag[3]],
        [imag[0], imag[1], real[0], real[1]],
        [imag[2], imag[3], real[2], real[3]],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def quotient(v: Spinor, u: Spinor) -> Spinor:
    r"""The coordinates of :math:`V^{-1} U`, with :math:`r` exactly 0 for equal ones."""
    (a, vr), (b, vi) = (_split(x) for x in v)
    (c, ur), (d, ui) = (_split(x) for x in u)
    real = v.real * u.real - v.imag * u.imag
    imag = v.real * u.imag + v.imag * u.real
    # v0 u - u0 v - i v x u, with the products of each pair of terms in one order.
    x = _cross(vr, ur) - _cross(vi, ui)
    y = _cross(vr, ui) + _cross(vi, ur)
    re = ((a * ur - b * ui) - (c * vr - d * vi)) + y
    im = ((a * ui + b * ur) - (c * vi + d * vr)) - x
    return Spinor(
        torch.cat([_minkowski(real), re], dim=0),
        torch.cat([_minkowski(imag), im], dim=0),
    )


def spinor_exp(rapidity: Tensor, angle: Tensor) -> Spinor:
    r"""The exponential of :math:`\tfrac{1}{2} (\zeta - i \theta) \cdot \sigma`, namely
    :math:`\cosh s + \tfrac{\sinh s}{s} \tfrac{1}{2} (\zeta - i \theta) \cdot \sigma`
    with :math:`s^2 = \tfrac{1}{4} (\zeta - i \theta)^2`, of vectors :obj:`(3, *)`.
    """
    z = ((rapidity - angle) * (rapidity + angle)).sum(dim=0) / 4
    w = -(rapidity * angle).sum(dim=0) / 2
    (h, k), (f, g) = cosh_and_sinhc((z, w))
    real = (f * rapidity + g * angle) / 2
    imag = (g * rapidity - f * angle) / 2
    return Spinor(
        torch.cat([h.unsqueeze(0), real], dim=0),
        torch.cat([k.unsqueeze(0), imag], dim=0),
    )


def spinor_log(spinor: Spinor) -> Tensor:
    r"""The coordinates :math:`(\zeta, \theta)`, of shape :obj:`(6, *)`, of the
    logarithm of :math:`A` or of :math:`-A`, see :func:`sign`:
    :math:`\zeta - i \theta = 2 \tfrac{\mathrm{arcosh}\, h}{\sqrt{h^2 - 1}} r`.
    """
    flip = sign(spinor)
    (h, x), (k, y) = (_split(flip * part) for part in spinor)
    f, g = arcosh_over_root((h.squeeze(0), k.squeeze(0)))
    return torch.cat([2 * (f * x - g * y), -2 * (f * y + g * x)], dim=0)


def sign(spinor: Spinor) -> Tensor:
    r"""The sign, 1 or -1 and of shape :obj:`(*)`, that makes
    :math:`\mathrm{Re}\, h \ge 0`. At (nearly) 0, half turns with a boost about the same
    axis, the rule of :func:`~lieconv_pyg.groups.rotation.rotation_log` decides, about
    the imaginary part of :math:`-r`.
    """
    h, *_ = spinor.real.unbind(0)
    k, *y = spinor.imag.unbind(0)
    tolerance = branch_tolerance(h.dtype) / 2 * (1 + k.abs())
    flip = is_second_half(h, [-t for t in y], tolerance)
    return torch.where(flip, -torch.ones_like(h), torch.ones_like(h))


def momentum(spinor: Spinor) -> Tensor:
    r"""The vector :math:`\sinh(d)\, n`, of shape :obj:`(3, *)`, that is the momentum of
    a particle of mass 1 that :math:`A` moves from rest: :math:`d` is its
    rapidity, and :math:`n` its direction.
    """
    along, turned = _boost_parts(spinor)
    return along + turned


def lorentz_matrix(spinor: Spinor) -> Tensor:
    r"""The matrix :math:`\Lambda^\mu{}_\nu = \tfrac{1}{2} \mathrm{tr}(\sigma_\mu A
    \sigma_\nu A^\dagger)`, of shape :obj:`(*, 4, 4)`."""
    along, turned = _boost_parts(spinor)
    (h, *p), (k, *t) = spinor.real.unbind(0), spinor.imag.unbind(0)
    scalar = h * h + k * k
    squares = [x * x + y * y for x, y in zip(p, t, strict=True)]
    spin = [2 * (h * y - k * x) for x, y in zip(p, t, strict=True)]
    rows = [[scalar + squares[0] + squares[1] + squares[2], *(along - turned)]]
    for i, start in enumerate(along + turned):
        j, m = (i + 1) % 3, (i + 2) % 3
        row: list[Tensor] = [squares[i]] * 3
        row[i] = scalar + squares[i] - squares[j] - squares[m]
        row[j] = 2 * (p[i] * p[j] + t[i] * t[j]) + spin[m]
        row[m] = 2 * (p[i] * p[m] + t[i] * t[m]) - spin[j]
        rows.append([start, *row])
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def from_lorentz_matrix(matrix: Tensor) -> Spinor:
    r"""The coordinates, with the sign of :func:`sign`, of proper orthochronous Lorentz
    matrices :obj:`(*, 4, 4)`.

    The entries of :math:`\Lambda` give the matrix :math:`a \bar a^\top` of the
    coordinates :math:`a`; its column with the largest diagonal entry is :math:`a` up to
    a factor, of which :math:`\det A = 1` leaves the sign.
    """
    L = [row.unbind(-1) for row in matrix.unbind(-2)]
    trace = L[0][0] + L[1][1] + L[2][2] + L[3][3]
    shift = (trace - 2 * L[0][0]) / 2  # |h|^2 - |r|^2
    zero = torch.zeros_like(trace)
    real: list[list[Tensor]] = [[trace / 4] + 3 * [zero]] + [4 * [zero] for _ in "xyz"]
    imag: list[list[Tensor]] = [4 * [zero] for _ in range(4)]
    for i in (1, 2, 3):
        j, k = i % 3 + 1, (i + 1) % 3 + 1
        real[i][0] = real[0][i] = (L[i][0] + L[0][i]) / 4
        # h conj(r) has the imaginary part k rho - h tau.
        imag[0][i], imag[i][0] = (L[j][k] - L[k][j]) / -4, (L[j][k] - L[k][j]) / 4
        real[i][i] = (L[i][i] - shift) / 2
        real[j][k] = real[k][j] = (L[j][k] + L[k][j]) / 4
        area = (L[i][0] - L[0][i]) / 4  # rho x tau
        imag[j][k], imag[k][j] = -area, area
    largest, best = torch.stack([real[n][n] for n in range(4)]).max(dim=0)
    column = best.expand(4, 1, *zero.shape)
    x, y = (_stack(part).gather(1, column).squeeze(1) for part in (real, imag))
    # det(a conj(a_n)) is the square of conj(a_n), whose length is known better.
    c, s = even_root((_minkowski(x * x - y * y)[0], 2 * _minkowski(x * y)[0]))
    scale = torch.hypot(c, s) * largest.sqrt()
    found = Spinor((x * c + y * s) / scale, (y * c - x * s) / scale)
    flip = sign(found)
    return Spinor(flip * found.real, flip * found.imag)


def _stack(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(list(row)) for row in rows])


def _split(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[:1], x[1:]


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a.roll(-1, 0) * b.roll(-2, 0) - a.roll(-2, 0) * b.roll(-1, 0)


def _minkowski(x: Tensor) -> Tensor:
    return x[:1] - x[1:2] - x[2:3] - x[3:]


def _boost_parts(spinor: Spinor) -> tuple[Tensor, Tensor]:
    (h, x), (k, y) = (_split(part) for part in spinor)
    return 2 * (h * x + k * y), 2 * _cross(x, y)
