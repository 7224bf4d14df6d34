"""What the rigid motions of the plane and of space have in common."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.ops import homogeneous, matmul, matvec


class RigidMotions(LieGroup):
    r"""Rotations :math:`R` and translations :math:`t` of :math:`\mathbb{R}^n`, as
    homogeneous matrices :math:`\begin{pmatrix} R & t \\ 0 & 1 \end{pmatrix}`. A point
    lifts to the translation by it from the origin 0, times any rotation.
    """

    orbit_dim = 0

    @abstractmethod
    def log_parts(self, rotation: Tensor, translation: Tensor) -> Tensor:
        r"""The logarithm, from :math:`R` and :math:`t`."""

    def parts(self, u: Tensor, name: str = "u") -> tuple[Tensor, Tensor]:
        r""":math:`R` and :math:`t`."""
        u, n = self._element(u, name), self.space_dim
        return u[..., :n, :n], u[..., :n, n]

    def log(self, u: Tensor) -> Tensor:
        return self.log_parts(*self.parts(u))

    def inverse(self, u: Tensor) -> Tensor:
        rotation, translation = self.parts(u)
        return homogeneous(rotation.mT, -matvec(rotation.mT, translation))

    def relative(self, u: Tensor, v: Tensor) -> Tensor:
        return homogeneous(*self._relative(u, v))

    def relative_log(self, u: Tensor, v: Tensor) -> Tensor:
        return self.log_parts(*self._relative(u, v))

    def _relative(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        # The difference of the translations comes first: points far from the origin
        # lose no precision, and coincident points give exactly 0.
        (R_u, t_u), (R_v, t_v) = self.parts(u), self.parts(v, "v")
        return matmul(R_v.mT, R_u), matvec(R_v.mT, t_u - t_v)

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = self._points(pos)
        eye = torch.eye(self.space_dim, dtype=pos.dtype, device=pos.device)
        return homogeneous(eye, pos), pos[..., :0]

    def origin(self, q: Tensor) -> Tensor:
        return q.new_zeros(*q.shape[:-1], self.space_dim)
