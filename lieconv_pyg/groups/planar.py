"""Rotations and scalings of the plane."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.ops import Device, norm, rand, randn, unit_vector, wrap_angle
from lieconv_pyg.groups.subgroup import Subgroup


def planar_matrix(c: Tensor, s: Tensor) -> Tensor:
    r"""The matrix :math:`\begin{pmatrix} c & -s \\ s & c \end{pmatrix}`."""
    return torch.stack([c, -s, s, c], dim=-1).unflatten(-1, (2, 2))


def planar_angle(u: Tensor) -> Tensor:
    r"""The angle, in :math:`(-\pi + \epsilon, \pi + \epsilon]`, of rotations (times a
    scale) of shape :obj:`(*, 2, 2)`, see :func:`~lieconv_pyg.groups.ops.wrap_angle`.
    """
    s = u[..., 1, 0] - u[..., 0, 1]
    c = u[..., 0, 0] + u[..., 1, 1]
    return wrap_angle(torch.atan2(s, c))


def random_angle(
    *shape: int,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: Device = None,
) -> Tensor:
    r"""Angles that are uniform on :math:`[-\pi, \pi)`."""
    return torch.pi * (2 * rand(shape, generator, dtype, device) - 1)


def relative_radius(r_i: Tensor, r_j: Tensor, eta: float = 1e-3) -> Tensor:
    r"""The difference :math:`|r_i - r_j| / (r_i + r_j + \eta)` of radii."""
    return (r_i - r_j).abs() / (r_i + r_j + eta)


def relative_radius_bound(
    r: Tensor, radius: float | Tensor | None, alpha: float, eta: float = 1e-3
) -> Tensor | None:
    r"""A map of radii :obj:`(*, 1)` whose differences are at most :math:`1 - \alpha`
    times :func:`relative_radius`, as far as that is at most :obj:`radius`; none where
    that is all of them.
    """
    # The relative radius is tanh(|z_i - z_j| / 2) with z = log(r + eta / 2). It is
    # concave, so up to the given distance it is above its chord.
    if radius is None or alpha == 1:
        return None
    bound = torch.as_tensor(radius, dtype=r.dtype, device=r.device)
    ratio = bound / (1 - alpha)
    inside = (ratio > 0) & (ratio < 1)
    safe = torch.where(inside, ratio, torch.full_like(ratio, 0.5))
    chord = (1 - alpha) * safe / (2 * safe.atanh())
    chord = torch.where(inside, chord, torch.zeros_like(chord))
    return chord * (r + eta / 2).log()


class SO2(LieGroup):
    r"""The rotations of the plane about the origin.

    The algebra coordinate is the angle :math:`\theta`. A point lifts to its polar
    angle, from the origin :math:`(r, 0)` of its orbit with :math:`q = r` its distance
    from 0, and with :math:`\eta = 10^{-3}` in the units of the points

    .. math::
        d_{ij} = \alpha |\theta_{ij}| +
        (1 - \alpha) \frac{|r_i - r_j|}{r_i + r_j + \eta}.

    Args:
        alpha (float, optional): Weight of the angle in the distance.
            (default: :obj:`0.2`)
    """

    dim = 1
    orbit_dim = 1
    matrix_dim = 2
    space_dim = 2
    commutative = True
    settles_center = True
    eta = 1e-3

    def exp(self, a: Tensor) -> Tensor:
        angle = self._algebra(a)[..., 0]
        return planar_matrix(angle.cos(), angle.sin())

    def log(self, u: Tensor) -> Tensor:
        return planar_angle(self._element(u)).unsqueeze(-1)

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        return torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=dtype, device=device)

    def inverse(self, u: Tensor) -> Tensor:
        return self._element(u).mT

    def sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        angle = random_angle(*shape, 1, generator=generator, dtype=dtype, device=device)
        return self.exp(angle)

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        direction, radius = unit_vector(self._points(pos))
        u = planar_matrix(direction[..., 0], direction[..., 1])
        return u, radius.unsqueeze(-1)

    def origin(self, q: Tensor) -> Tensor:
        return torch.cat([q, torch.zeros_like(q)], dim=-1)

    def distance(self, pairs: Tensor) -> Tensor:
        angle, r_i, r_j = (part.squeeze(-1) for part in self.split_pairs(pairs))
        relative = relative_radius(r_i, r_j, self.eta)
        return self.alpha * angle.abs() + (1 - self.alpha) * relative

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor:
        rotation = self.alpha * self._element(u)[..., 0]
        bound = relative_radius_bound(q, radius, self.alpha, self.eta)
        return rotation if bound is None else torch.cat([rotation, bound], dim=-1)


class RxSO2(LieGroup):
    r"""The rotations and scalings of the plane without its origin.

    Algebra coordinates are :math:`(\log r, \theta)`: a convolution over this group
    is one in log-polar coordinates. A point lifts to its polar coordinates, from
    the origin :math:`(1, 0)`, and

    .. math::
        d_{ij} = \alpha |\theta_{ij}| + (1 - \alpha) |\log r_i - \log r_j|.

    Args:
        alpha (float, optional): Weight of the angle in the distance.
            (default: :obj:`0.2`)
    """

    dim = 2
    orbit_dim = 0
    matrix_dim = 2
    space_dim = 2
    commutative = True

    def exp(self, a: Tensor) -> Tensor:
        a = self._algebra(a)
        scale, angle = a[..., 0].exp(), a[..., 1]
        return planar_matrix(scale * angle.cos(), scale * angle.sin())

    def log(self, u: Tensor) -> Tensor:
        u = self._element(u)
        return torch.stack([self._scale(u).log(), planar_angle(u)], dim=-1)

    @staticmethod
    def _scale(u: Tensor) -> Tensor:
        c = (u[..., 0, 0] + u[..., 1, 1]) / 2
        s = (u[..., 1, 0] - u[..., 0, 1]) / 2
        return norm(torch.stack([c, s], dim=-1))

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        basis = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, -1.0], [1.0, 0.0]]]
        return torch.tensor(basis, dtype=dtype, device=device)

    def inverse(self, u: Tensor) -> Tensor:
        u = self._element(u)
        scale = self._scale(u)[..., None, None]
        return u.mT / scale / scale

    def sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        log_r = scale * randn((*shape, 1), generator, dtype, device)
        angle = random_angle(*shape, 1, generator=generator, dtype=dtype, device=device)
        return self.exp(torch.cat([log_r, angle], dim=-1))

    def check_points(self, pos: Tensor) -> None:
        count = int((norm(self._points(pos)) == 0).sum())
        if count > 0:
            raise ValueError(
                f"`pos` has {count} point(s) at the origin, where {self!r} defines no "
                f"lift: move or leave out these points, or use SO2"
            )

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = self._points(pos)
        return planar_matrix(pos[..., 0], pos[..., 1]), pos[..., :0]

    def origin(self, q: Tensor) -> Tensor:
        return q.new_tensor([1.0, 0.0]).expand(*q.shape[:-1], 2)

    def distance(self, pairs: Tensor) -> Tensor:
        log_r, angle = self.split_pairs(pairs)[0].unbind(dim=-1)
        return self.alpha * angle.abs() + (1 - self.alpha) * log_r.abs()

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor:
        log_r, rotation = self.coordinate_bound(u, 0), self.coordinate_bound(u, 1)
        return torch.cat([(1 - self.alpha) * log_r, self.alpha * rotation], dim=-1)

    def coordinate_bound(self, u: Tensor, index: int) -> Tensor:
        u = self._element(u)
        scale = self._scale(u).unsqueeze(-1)
        return scale.log() if index == 0 else u[..., 0] / scale


class Rx(Subgroup):
    r"""The scalings of the plane without its origin.

    The algebra coordinate is :math:`\log r`. A point lifts to the logarithm of its
    distance from 0, with its polar angle as orbit label :math:`q = \theta`, from
    the origin :math:`(\cos\theta, \sin\theta)`, and
    :math:`d_{ij} = \alpha |\log r_i - \log r_j| + (1 - \alpha) |\theta_i - \theta_j|`
    (the angles are not compared modulo :math:`2\pi`).

    Args:
        alpha (float, optional): Weight of the scale in the distance.
            (default: :obj:`0.2`)
    """

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__(RxSO2(alpha), (0,))

    def arguments(self) -> dict[str, Any]:
        return {"alpha": self.alpha}
