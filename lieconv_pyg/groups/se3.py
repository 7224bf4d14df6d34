"""Rigid motions of space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.ops import Device, cross, dot, homogeneous, matmul, norm, randn
from lieconv_pyg.groups.rigid import RigidMotions
from lieconv_pyg.groups.rotation import (
    cross_matrix,
    quaternion_from_rotation,
    quaternion_log,
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
        w, t = rotation_log(rotation).unbind(dim=-1), translation.unbind(dim=-1)
        return torch.stack([*w, *_inverse_jacobian(w, t)], dim=-1)

    def indexed_pairs(
        self, u: Tensor, q_u: Tensor, i: Tensor, v: Tensor, q_v: Tensor, j: Tensor
    ) -> Tensor:
        # Quaternions are found once an element, and multiplied for each pair.
        source = self._coordinates(v)
        target = source if u is v else self._coordinates(u)
        (a, *b, d, e, f) = source.index_select(1, j).unbind()
        (c, *g, x, y, z) = target.index_select(1, i).unbind()
        # The conjugate of (a, b), times (c, g).
        real = a * c + dot(b, g)
        turn = cross(g, b)
        imaginary = [a * q - c * p + r for p, q, r in zip(b, g, turn, strict=True)]
        w = quaternion_log(real, imaginary)
        # (a, b) turned back: t - 2 a b × t + 2 b × (b × t).
        far = x - d, y - e, z - f
        once = cross(b, far)
        twice = cross(b, once)
        t = [p + 2 * (r - a * q) for p, q, r in zip(far, once, twice, strict=True)]
        return torch.stack([*w, *_inverse_jacobian(w, t)], dim=-1)

    def _coordinates(self, u: Tensor) -> Tensor:
        """Unit quaternions and translations, :obj:`(7, M)`."""
        R, t = self.parts(u)
        return torch.cat([quaternion_from_rotation(R), t], dim=-1).t().contiguous()

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


def _inverse_jacobian(w: Sequence[Tensor], t: Sequence[Tensor]) -> list[Tensor]:
    """V^-1 t = t - w × t / 2 + cotc w × (w × t), e.g. Eade (2013)."""
    s = cotc(dot(w, w))
    once = cross(w, t)
    twice = cross(w, once)
    return [x - 0.5 * y + s * z for x, y, z in zip(t, once, twice, strict=True)]
