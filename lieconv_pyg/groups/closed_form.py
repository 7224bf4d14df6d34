"""Closed forms for groups that are rotations, or the Lorentz group, in other
coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.lorentz import Lorentz
from lieconv_pyg.groups.ops import Device, matmul, matvec
from lieconv_pyg.groups.planar import SO2
from lieconv_pyg.groups.so3 import SO3
from lieconv_pyg.groups.spinor import from_lorentz_matrix, to_element


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


class LorentzMatrices(LieGroup):
    """The Lorentz group as the matrices of its transformations, with the mass as orbit
    label, by those of :class:`~lieconv_pyg.groups.Lorentz`."""

    dim = 6
    orbit_dim = 1
    matrix_dim = 4
    space_dim = 4
    stabilizer_dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.spinors = Lorentz()

    def exp(self, a: Tensor) -> Tensor:
        return self.spinors.lorentz_matrix(self.spinors.exp(a))

    def log(self, u: Tensor) -> Tensor:
        return self.spinors.log(to_element(from_lorentz_matrix(u)))

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        u, q = self.spinors.section(pos)
        return self.spinors.lorentz_matrix(u), q.exp()

    def sample(self, *shape: int, **kwargs: Any) -> Tensor:
        return self.spinors.lorentz_matrix(self.spinors.sample(*shape, **kwargs))

    def stabilizer_sample(self, *shape: int, **kwargs: Any) -> Tensor:
        drawn = self.spinors.stabilizer_sample(*shape, **kwargs)
        return self.spinors.lorentz_matrix(drawn)

    def stabilizer_grid(
        self, num: int, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        grid = self.spinors.stabilizer_grid(num, dtype, device)
        return self.spinors.lorentz_matrix(grid)


def closed_form(basis: Tensor, root: Tensor, definite: bool) -> ClosedForm | None:
    r"""The closed form of the group with generators (d, n, n), if there is one.

    Args:
        basis (Tensor): Generators :obj:`(d, n, n)`, which keep a form :math:`J`.
        root (Tensor): :math:`R` with :math:`J = R^\top \eta R`, where :math:`\eta` is
            the identity, or one entry 1 and then -1.
        definite (bool): Which of these.
    """
    known = (SO2(), SO3()) if definite else (LorentzMatrices(),)
    for group in known:
        if basis.shape[:2] == (group.dim, group.matrix_dim):
            turned = root @ basis @ torch.linalg.inv(root)
            return ClosedForm(group, root, group.vee(turned).mT.contiguous())
    return None
