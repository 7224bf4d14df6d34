"""Rigid motions of the plane."""

from __future__ import annotations

import torch
from torch import Tensor

from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.ops import Device, homogeneous, matvec, norm, randn
from lieconv_pyg.groups.planar import planar_angle, planar_matrix, random_angle
from lieconv_pyg.groups.rigid import RigidMotions
from lieconv_pyg.groups.series import cosc, cotc, sinc


class SE2(RigidMotions):
    r"""The rotations and translations of the plane, as homogeneous matrices
    :math:`\begin{pmatrix} R & t \\ 0 & 1 \end{pmatrix}`.

    Algebra coordinates are :math:`(\theta, x, y)`: first the angle, then the
    translation part. A point lifts to the translation by it from the origin 0, times
    any rotation about the origin, and

    .. math::
        d_{ij} = \alpha |\theta_{ij}| + (1 - \alpha) \| (x_{ij}, y_{ij}) \|.

    Args:
        alpha (float, optional): Weight of the rotation in the distance.
            (default: :obj:`0.2`)
    """

    dim = 3
    matrix_dim = 3
    space_dim = 2
    stabilizer_dim = 1

    def exp(self, a: Tensor) -> Tensor:
        a = self._algebra(a)
        angle = a[..., 0]
        s = angle.square()
        V = planar_matrix(sinc(s), angle * cosc(s))
        rotation = planar_matrix(angle.cos(), angle.sin())
        return homogeneous(rotation, matvec(V, a[..., 1:]))

    def log_parts(self, rotation: Tensor, translation: Tensor) -> Tensor:
        angle = planar_angle(rotation)
        s = angle.square()
        V_inverse = planar_matrix(1 - s * cotc(s), -angle / 2)
        return torch.cat([angle.unsqueeze(-1), matvec(V_inverse, translation)], dim=-1)

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        out = torch.zeros(3, 3, 3, dtype=dtype, device=device)
        out[0, 0, 1], out[0, 1, 0] = -1.0, 1.0
        out[1, 0, 2] = out[2, 1, 2] = 1.0
        return out

    def sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        angle = random_angle(*shape, generator=generator, dtype=dtype, device=device)
        t = scale * randn((*shape, 2), generator, dtype, device)
        return homogeneous(planar_matrix(angle.cos(), angle.sin()), t)

    def stabilizer_sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        angle = random_angle(*shape, generator=generator, dtype=dtype, device=device)
        R = planar_matrix(angle.cos(), angle.sin())
        return homogeneous(R, R.new_zeros(2))

    def stabilizer_grid(
        self,
        num: int,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        step = 2 * torch.pi / positive(num, "num")
        angle = step * torch.arange(num, dtype=torch.float64)
        R = planar_matrix(angle.cos(), angle.sin())
        R = R.to(dtype=dtype or torch.get_default_dtype(), device=device)
        return homogeneous(R, R.new_zeros(2))

    def distance(self, pairs: Tensor) -> Tensor:
        a = self.split_pairs(pairs)[0]
        return self.alpha * a[..., 0].abs() + (1 - self.alpha) * norm(a[..., 1:])

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor:
        # The angle is at least the chord of the circle, and |V| <= 1.
        R, t = self.parts(u)
        return torch.cat([self.alpha * R[..., 0], (1 - self.alpha) * t], dim=-1)
