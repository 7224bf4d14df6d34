"""The group of the identity alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.ops import Device, norm
from lieconv_pyg.groups.translation import dimension_repr


class Trivial(LieGroup):
    r"""The group of the identity of :math:`\mathbb{R}^n` alone: a convolution over
    it has no symmetry and is given both positions.

    Algebra vectors have no entries. Every point is an orbit of its own, :math:`q` =
    :obj:`pos`, and :math:`d_{ij} = (1 - \alpha) \| q_i - q_j \|`.

    Args:
        n (int): The dimension of space.
        alpha (float, optional): One minus the weight of the distance.
            (default: :obj:`0.2`)
    """

    dim = 0
    commutative = True

    def __init__(self, n: int, alpha: float = 0.2) -> None:
        self.n = self.orbit_dim = self.matrix_dim = self.space_dim = positive(n, "n")
        super().__init__(alpha)

    def exp(self, a: Tensor) -> Tensor:
        a = self._algebra(a)
        return self.identity(*a.shape[:-1], dtype=a.dtype, device=a.device)

    def log(self, u: Tensor) -> Tensor:
        return self._element(u)[..., 0, :0]

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        return torch.zeros(0, self.n, self.n, dtype=dtype, device=device)

    def inverse(self, u: Tensor) -> Tensor:
        return self._element(u)

    def relative_log(self, u: Tensor, v: Tensor) -> Tensor:
        return self.log(u) - self.log(v)

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = self._points(pos)
        return self.exp(pos[..., :0]), pos

    def origin(self, q: Tensor) -> Tensor:
        return q

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor:
        return (1 - self.alpha) * q

    def distance(self, pairs: Tensor) -> Tensor:
        _, q_i, q_j = self.split_pairs(pairs)
        return (1 - self.alpha) * norm(q_i - q_j)

    def arguments(self) -> dict[str, Any]:
        return {"n": self.n, **super().arguments()}

    def __repr__(self) -> str:
        return dimension_repr(self, self.n)
