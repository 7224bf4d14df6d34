r"""Products of four-momenta :math:`(E, p_x, p_y, p_z)` in the metric
:math:`(+, -, -, -)`, as if computed in twice their precision.

The square of a fast particle is a small difference of large numbers:
:math:`E^2 - \|\mathbf{p}\|^2` in plain arithmetic loses as many digits as
:math:`(E/m)^2` has. Here single precision is raised to double, and double precision is
compensated (Ogita, Rump, Oishi, "Accurate Sum and Dot Product", 2005), so that
what is left is the rounding of the given numbers themselves. Results are in double
precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SPLIT = 2.0**27 + 1  # Dekker's constant for 53 bits

#: Squares below this many units of rounding of :math:`E^2` are not known to differ
#: from 0.
MASSLESS = 8.0


def minkowski_product(p: Tensor, k: Tensor) -> Tensor:
    r"""The product :math:`E_p E_k - \mathbf{p} \cdot \mathbf{k}` of momenta
    :obj:`(*, 4)`, in float64 and of shape :obj:`(*)`; leading shapes broadcast.
    """
    p, k = p.double(), k.double()
    parts = [_product(x, y) for x, y in zip(p.unbind(-1), k.unbind(-1), strict=True)]
    first, *rest = parts
    return _sum([first, *[(-x, -error) for x, error in rest]])


def mass_square(p: Tensor) -> Tensor:
    r"""The square :math:`m^2 = E^2 - \|\mathbf{p}\|^2` of momenta :obj:`(*, 4)`, in
    float64 and of shape :obj:`(*)`.
    """
    return minkowski_product(p, p)


def cross_square(p: Tensor, k: Tensor) -> Tensor:
    r"""The square :math:`\| \mathbf{p} \times \mathbf{k} \|^2` of momenta
    :obj:`(*, 4)`, in float64: precise for nearly parallel ones too.
    """
    (_, a, b, c), (_, x, y, z) = p.double().unbind(-1), k.double().unbind(-1)
    pairs = ((b, z, c, y), (c, x, a, z), (a, y, b, x))
    area = [_difference(*entries) for entries in pairs]
    return area[0].square() + area[1].square() + area[2].square()


def mass_noise(p: Tensor) -> Tensor:
    r"""How large a square :math:`m^2` may be that is rounding only, for momenta
    :obj:`(*, 4)` in their own precision; of shape :obj:`(*)`, in float64.
    """
    largest = p.detach().double().abs().amax(dim=-1)
    return MASSLESS * torch.finfo(p.dtype).eps * largest.square()


def to_rest_frame(p: Tensor, frame: Tensor) -> Tensor:
    r"""The momenta :math:`B(P)^{-1} p` of momenta :math:`p` in the rest frame of
    :math:`P`, with the boost :math:`B(P)` along :math:`\mathbf{P}` that takes
    :math:`(M, 0, 0, 0)` to :math:`P`.

    .. math::
        E' = \frac{p \cdot P}{M}, \qquad
        \mathbf{p}' = \mathbf{p} - \frac{E + E'}{E_P + M} \mathbf{P}

    Args:
        p (torch.Tensor): Momenta :obj:`(*, 4)`.
        frame (torch.Tensor): Timelike momenta :math:`P`, :obj:`(*, 4)`; leading shapes
            broadcast.

    Returns:
        torch.Tensor: Momenta :obj:`(*, 4)`, in float64.
    """
    mass = mass_square(frame).sqrt()
    energy = minkowski_product(p, frame) / mass
    p, frame = p.double(), frame.double()
    share = (p[..., 0] + energy) / (frame[..., 0] + mass)
    vector = p[..., 1:] - share.unsqueeze(-1) * frame[..., 1:]
    return torch.cat([energy.unsqueeze(-1), vector], dim=-1)


def from_rest_frame(p: Tensor, frame: Tensor) -> Tensor:
    r"""The momenta :math:`B(P) p`: the inverse of :func:`to_rest_frame`."""
    return to_rest_frame(p, frame * frame.new_tensor([1.0, -1.0, -1.0, -1.0]))


def _product(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The rounded product, and its rounding error (Dekker, 1971), a constant as far as
    differentiation goes."""
    product = x * y
    (a, b), (c, d) = _halves(x.detach()), _halves(y.detach())
    rounded = product.detach()
    return product, b * d - (((rounded - a * c) - b * c) - a * d)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    scaled = _SPLIT * x
    high = scaled - (scaled - x)
    return high, x - high


def _difference(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The value of ``a b - c d``."""
    (x, e), (y, f) = _product(a, b), _product(c, d)
    return _sum([(x, e), (-y, -f)])


def _sum(parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The sum of numbers that are given with their errors."""
    total, lost = parts[0]
    for x, error in parts[1:]:
        one, two = total.detach(), x.detach()
        total = total + x
        whole = total.detach()
        back = whole - one
        lost = lost + error + ((one - (whole - back)) + (two - back))
    return total + lost
