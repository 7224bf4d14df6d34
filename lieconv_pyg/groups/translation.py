"""Translations of space."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.ops import Device, homogeneous, norm
from lieconv_pyg.groups.subgroup import Subgroup


class T(LieGroup):
    r"""The translations of :math:`\mathbb{R}^n`, as homogeneous matrices
    :math:`\begin{pmatrix} I & t \\ 0 & 1 \end{pmatrix}`.

    Algebra coordinates are the translation :math:`t`. A point lifts to the
    translation by it from the origin 0, and
    :math:`d_{ij} = \alpha \| t_i - t_j \|`.

    Args:
        n (int): The dimension of space.
        alpha (float, optional): Weight of the group distance.
            (default: :obj:`0.2`)
    """

    orbit_dim = 0
    commutative = True

    def __init__(self, n: int, alpha: float = 0.2) -> None:
        self.n = self.dim = self.space_dim = positive(n, "n")
        self.matrix_dim = n + 1
        super().__init__(alpha)

    def exp(self, a: Tensor) -> Tensor:
        a = self._algebra(a)
        return homogeneous(torch.eye(self.n, dtype=a.dtype, device=a.device), a)

    def log(self, u: Tensor) -> Tensor:
        return self._element(u)[..., : self.n, self.n]

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        out = torch.zeros(self.n, self.n + 1, self.n + 1, dtype=dtype, device=device)
        out[:, : self.n, self.n] = torch.eye(self.n, dtype=dtype, device=device)
        return out

    def vee(self, A: Tensor) -> Tensor:
        return self._element(A, "A")[..., : self.n, self.n]

    def inverse(self, u: Tensor) -> Tensor:
        return self.exp(-self.log(u))

    def compose(self, u: Tensor, v: Tensor) -> Tensor:
        return self.exp(self.log(u) + self.log(v))

    def relative(self, u: Tensor, v: Tensor) -> Tensor:
        return self.exp(self.relative_log(u, v))

    def relative_log(self, u: Tensor, v: Tensor) -> Tensor:
        return self.log(u) - self.log(v)

    def indexed_pairs(
        self, u: Tensor, q_u: Tensor, i: Tensor, v: Tensor, q_v: Tensor, j: Tensor
    ) -> Tensor:
        t_u, t_v = self.log(u).contiguous(), self.log(v).contiguous()
        return t_u.index_select(0, i) - t_v.index_select(0, j)

    def act(self, u: Tensor, x: Tensor) -> Tensor:
        return self._points(x, "x") + self.log(u)

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = self._points(pos)
        return self.exp(pos), pos[..., :0]

    def origin(self, q: Tensor) -> Tensor:
        return q.new_zeros(*q.shape[:-1], self.n)

    def distance(self, pairs: Tensor) -> Tensor:
        return self.alpha * norm(self.split_pairs(pairs)[0])

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor:
        return self.alpha * self.log(u)

    def coordinate_bound(self, u: Tensor, index: int) -> Tensor:
        return self.log(u)[..., index, None]

    def arguments(self) -> dict[str, Any]:
        return {"n": self.n, **super().arguments()}

    def __repr__(self) -> str:
        return dimension_repr(self, self.n)


class Tx(Subgroup):
    r"""The translations of :math:`\mathbb{R}^n` along its first axis; the other
    coordinates of a point are its orbit label :math:`q`.

    Args:
        n (int, optional): The dimension of space. (default: :obj:`2`)
        alpha (float, optional): Weight of the group distance.
            (default: :obj:`0.2`)
    """

    axis = 0

    def __init__(self, n: int = 2, alpha: float = 0.2) -> None:
        self.n = positive(n, "n")
        if n <= self.axis:
            raise ValueError(f"`n` must be at least {self.axis + 1}, got {n}")
        super().__init__(T(n, alpha), (self.axis,))

    def arguments(self) -> dict[str, Any]:
        return {"n": self.n, "alpha": self.alpha}

    def __repr__(self) -> str:
        return dimension_repr(self, self.n)


class Ty(Tx):
    r"""The translations of :math:`\mathbb{R}^n` along its second axis; the other
    coordinates of a point are its orbit label :math:`q`.

    Args:
        n (int, optional): The dimension of space, at least 2. (default: :obj:`2`)
        alpha (float, optional): Weight of the group distance.
            (default: :obj:`0.2`)
    """

    axis = 1


def dimension_repr(group: LieGroup, n: int) -> str:
    r"""A short form such as :obj:`T(3)`, with :obj:`alpha` if it is not 0.2."""
    alpha = "" if group.alpha == 0.2 else f", alpha={group.alpha!r}"
    return f"{type(group).__name__}({n}{alpha})"
