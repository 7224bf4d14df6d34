"""Rigid motions of space."""

from __future__ import annotations

import torch
from torch import Tensor

from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.ops import Device, homogeneous, matmul, norm, randn
from lieconv_pyg.groups.rigid import RigidMotions
from lieconv_pyg.groups.rotation import (
    cross_matrix,
    rotation_exp,
    rotation_from_quaternion,
    rotation_log,
    super_fibonacci,
)
from lieconv_pyg.groups.series import cosc, cotc, sincc


class SE3(RigidMotions):
    r"""The rotations and translations of :math:`\mathbb{R}^3`, as homogeneous matrices
    :math:`\begin{pmatrix} R & t \\ 0 & 1 \end{pmatrix}`.

    Algebra coordinates are :math:`(\omega, u)`: first the rotation vector, then the
    translation part. A point lifts to the translation by it from the origin 0, times
    any rotation about the origin, and

    .. math::
        d_{ij} = \alpha \| \omega_{ij} \| + (1 - \alpha) \| u_{ij} \|.

    Args:
        alpha (float, optional): Weight of the rotation in the distance.
            (default: :obj:`0.2`)
    """

    dim = 6
    matrix_dim = 4
    space_dim = 3
    stabilizer_dim = 3

    def exp(self, a: Tensor) -> Tensor:
        # Translation Vu with V = I + cosc [w] + sincc [w]^2, e.g. Eade (2013).
        a = self._algebra(a)
        w, u = a[..., :3], a[..., 3:]
        s = w.square().sum(dim=-1, keepdim=True)
        wu = torch.linalg.cross(w, u)
        t = u + cosc(s) * wu + sincc(s) * torch.linalg.cross(w, wu)
        return homogeneous(rotation_exp(w), t)

    def log_parts(self, rotation: Tensor, translation: Tensor) -> Tensor:
        # V^-1 = I - [w] / 2 + cotc [w]^2.
        w = rotation_log(rotation)
        s = w.square().sum(dim=-1, keepdim=True)
        wt = torch.linalg.cross(w, translation)
        return torch.cat(
            [w, translation - 0.5 * wt + cotc(s) * torch.linalg.cross(w, wt)], dim=-1
        )

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        out = torch.zeros(6, 4, 4, dtype=dtype, device=device)
        eye = torch.eye(3, dtype=dtype, device=device)
        out[:3, :3, :3] = cross_matrix(eye)
        out[3:, :3, 3] = eye
        return out

    def adjoint(self, u: Tensor) -> Tensor:
        R, t = self.parts(u)
        tR = matmul(cross_matrix(t), R)
        top = torch.cat([R, torch.zeros_like(R)], dim=-1)
        return torch.cat([top, torch.cat([tR, R], dim=-1)], dim=-2)

    def sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        q = randn((*shape, 4), generator, dtype, device)
        t = scale * randn((*shape, 3), generator, dtype, device)
        return homogeneous(rotation_from_quaternion(q), t)

    def stabilizer_sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        q = randn((*shape, 4), generator, dtype, device)
        R = rotation_from_quaternion(q)
        return homogeneous(R, R.new_zeros(3))

    def stabilizer_grid(
        self,
        num: int,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        R = rotation_from_quaternion(super_fibonacci(positive(num, "num")))
        R = R.to(dtype=dtype or torch.get_default_dtype(), device=device)
        return homogeneous(R, R.new_zeros(3))

    def distance(self, pairs: Tensor) -> Tensor:
        a = self.split_pairs(pairs)[0]
        return self.alpha * norm(a[..., :3]) + (1 - self.alpha) * norm(a[..., 3:])

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor:
        # Angle >= |R_i - R_j|_F / sqrt(2), and |V| <= 1.
        R, t = self.parts(u)
        scale = self.alpha / 2**0.5
        return torch.cat([scale * R.flatten(-2), (1 - self.alpha) * t], dim=-1)
