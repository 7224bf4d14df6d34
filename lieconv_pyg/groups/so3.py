"""Rotations of space."""

from __future__ import annotations

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.ops import Device, randn, unit_vector
from lieconv_pyg.groups.planar import random_angle
from lieconv_pyg.groups.rotation import (
    cross_matrix,
    rotation_exp,
    rotation_from_quaternion,
    rotation_log,
    rotation_to_direction,
)


class SO3(LieGroup):
    r"""The rotations of :math:`\mathbb{R}^3` about the origin.

    Algebra coordinates are the rotation vector :math:`\omega`. A point lifts to a
    rotation that takes the first axis to its direction, times any rotation about the
    first axis, from the origin :math:`(r, 0, 0)` of its orbit with :math:`q = r` its
    distance from 0, and

    .. math::
        d_{ij} = \alpha \| \omega_{ij} \| + (1 - \alpha) | r_i - r_j |.

    Args:
        alpha (float, optional): Weight of the rotation in the distance.
            (default: :obj:`0.2`)
    """

    dim = 3
    orbit_dim = 1
    matrix_dim = 3
    space_dim = 3
    stabilizer_dim = 1
    settles_center = True

    def exp(self, a: Tensor) -> Tensor:
        return rotation_exp(self._algebra(a))

    def log(self, u: Tensor) -> Tensor:
        return rotation_log(self._element(u))

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        return cross_matrix(torch.eye(3, dtype=dtype, device=device))

    def adjoint(self, u: Tensor) -> Tensor:
        return self._element(u)

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
        return rotation_from_quaternion(randn((*shape, 4), generator, dtype, device))

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        direction, radius = unit_vector(self._points(pos))
        return rotation_to_direction(direction), radius.unsqueeze(-1)

    def origin(self, q: Tensor) -> Tensor:
        return torch.cat([q, torch.zeros_like(q), torch.zeros_like(q)], dim=-1)

    def stabilizer_sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        angle = random_angle(*shape, generator=generator, dtype=dtype, device=device)
        return _about_first_axis(angle)

    def stabilizer_grid(
        self,
        num: int,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        step = 2 * torch.pi / positive(num, "num")
        grid = _about_first_axis(step * torch.arange(num, dtype=torch.float64))
        return grid.to(dtype=dtype or torch.get_default_dtype(), device=device)

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor:
        # Angle >= |R_i - R_j|_F / sqrt(2).
        rotation = (self.alpha / 2**0.5) * self._element(u).flatten(-2)
        return torch.cat([rotation, (1 - self.alpha) * q], dim=-1)


def _about_first_axis(angle: Tensor) -> Tensor:
    c, s = angle.cos(), angle.sin()
    o, e = torch.zeros_like(c), torch.ones_like(c)
    return torch.stack([e, o, o, o, c, -s, o, s, c], dim=-1).unflatten(-1, (3, 3))
