"""Closed forms for groups that are rotations in other coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.ops import matmul, matvec
from lieconv_pyg.groups.planar import SO2
from lieconv_pyg.groups.so3 import SO3


@dataclass(frozen=True)
class ClosedForm:
    r"""A group of which :math:`R u R^{-1}` are the elements of one with closed forms.

    Args:
        group (LieGroup): That group.
        root (Tensor): The matrix :math:`R`.
        mix (Tensor): The matrix :math:`M`: algebra vectors :math:`a` are :math:`M a` of
            that group.
    """

    group: LieGroup
    root: Tensor
    mix: Tensor

    def back(self, turned: Tensor) -> Tensor:
        r"""The element :math:`u` of :math:`R u R^{-1}`, in its type."""
        root = self.root.to(turned.device)
        u = matmul(matmul(torch.linalg.inv(root), turned.double()), root)
        return u.to(turned.dtype)

    def exp(self, a: Tensor) -> Tensor:
        """The element of algebra vectors in float64."""
        return self.back(self.group.exp(matvec(self.mix.to(a), a)))

    def log(self, u: Tensor) -> Tensor:
        """The algebra vectors of elements in float64."""
        root = self.root.to(u)
        turned = matmul(matmul(root, u), torch.linalg.inv(root))
        return matvec(torch.linalg.inv(self.mix.to(u)), self.group.log(turned))

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        """The lift of points in float64; the reference point must be the first axis."""
        u, q = self.group.section(matvec(self.root.to(pos), pos))
        return self.back(u), q


def closed_form(basis: Tensor, root: Tensor) -> ClosedForm | None:
    """The closed form of the rotations with generators (d, n, n), which are skew in the
    coordinates :math:`R x`, if there is one."""
    for group in (SO2(), SO3()):
        if basis.shape[:2] == (group.dim, group.matrix_dim):
            turned = root @ basis @ torch.linalg.inv(root)
            return ClosedForm(group, root, group.vee(turned).mT.contiguous())
    return None
