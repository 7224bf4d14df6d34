"""Rigid motions of space."""

from __future__ import annotations

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.ops import Device, homogeneous, matmul, matvec, norm, randn
from lieconv_pyg.groups.rotation import (
    cross_matrix,
    rotation_exp,
    rotation_from_quaternion,
    rotation_log,
    super_fibonacci,
)
from lieconv_pyg.groups.series import cosc, cotc, sincc


class SE3(LieGroup):
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
    orbit_dim = 0
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

    def log(self, u: Tensor) -> Tensor:
        u = self._element(u)
        return _log(u[..., :3, :3], u[..., :3, 3])

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        out = torch.zeros(6, 4, 4, dtype=dtype, device=device)
        eye = torch.eye(3, dtype=dtype, device=device)
        out[:3, :3, :3] = cross_matrix(eye)
        out[3:, :3, 3] = eye
        return out

    def adjoint(self, u: Tensor) -> Tensor:
        u = self._element(u)
        R, t = u[..., :3, :3], u[..., :3, 3]
        tR = matmul(cross_matrix(t), R)
        top = torch.cat([R, torch.zeros_like(R)], dim=-1)
        return torch.cat([top, torch.cat([tR, R], dim=-1)], dim=-2)

    def inverse(self, u: Tensor) -> Tensor:
        u = self._element(u)
        inverse = u[..., :3, :3].mT
        return homogeneous(inverse, -matvec(inverse, u[..., :3, 3]))

    def relative(self, u: Tensor, v: Tensor) -> Tensor:
        return homogeneous(*self._relative(u, v))

    def relative_log(self, u: Tensor, v: Tensor) -> Tensor:
        return _log(*self._relative(u, v))

    def _relative(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        # The difference of the translations comes first: points far from the origin
        # lose no precision, and coincident points give exactly 0.
        u, v = self._element(u), self._element(v, "v")
        inverse = v[..., :3, :3].mT
        t = matvec(inverse, u[..., :3, 3] - v[..., :3, 3])
        return matmul(inverse, u[..., :3, :3]), t

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

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = self._points(pos)
        eye = torch.eye(3, dtype=pos.dtype, device=pos.device)
        return homogeneous(eye, pos), pos[..., :0]

    def origin(self, q: Tensor) -> Tensor:
        return q.new_zeros(*q.shape[:-1], 3)

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
        u = self._element(u)
        R, t = u[..., :3, :3], u[..., :3, 3]
        scale = self.alpha / 2**0.5
        return torch.cat([scale * R.flatten(-2), (1 - self.alpha) * t], dim=-1)


def _log(R: Tensor, t: Tensor) -> Tensor:
    # V^-1 = I - [w] / 2 + cotc [w]^2.
    w = rotation_log(R)
    s = w.square().sum(dim=-1, keepdim=True)
    wt = torch.linalg.cross(w, t)
    return torch.cat([w, t - 0.5 * wt + cotc(s) * torch.linalg.cross(w, wt)], dim=-1)
