"""Squeezes (hyperbolic rotations) and scalings of the open quadrant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.ops import Device
from lieconv_pyg.groups.subgroup import Subgroup


class RxSQ(LieGroup):
    r"""The scalings and squeezes :math:`\mathrm{diag}(e^{r + s}, e^{r - s})` of the
    open quadrant :math:`x, y > 0`.

    Algebra coordinates are :math:`(r, s)`: scale, then squeeze. A point lifts
    to half the logarithms of the product and ratio of its coordinates,
    :math:`r = \tfrac{1}{2} \log xy` and :math:`s = \tfrac{1}{2} \log \tfrac{x}{y}`,
    from the origin :math:`(1, 1)`, and

    .. math::
        d_{ij} = \alpha |s_i - s_j| + (1 - \alpha) |r_i - r_j|.

    Args:
        alpha (float, optional): Weight of the squeeze in the distance.
            (default: :obj:`0.2`)
    """

    dim = 2
    orbit_dim = 0
    matrix_dim = 2
    space_dim = 2
    commutative = True

    def exp(self, a: Tensor) -> Tensor:
        r, s = self._algebra(a).unbind(dim=-1)
        return torch.stack([r + s, r - s], dim=-1).exp().diag_embed()

    def log(self, u: Tensor) -> Tensor:
        x, y = self._element(u).diagonal(dim1=-2, dim2=-1).log().unbind(dim=-1)
        return torch.stack([(x + y) / 2, (x - y) / 2], dim=-1)

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        basis = [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]]]
        return torch.tensor(basis, dtype=dtype, device=device)

    def inverse(self, u: Tensor) -> Tensor:
        diagonal = self._element(u).diagonal(dim1=-2, dim2=-1)
        return diagonal.reciprocal().diag_embed()

    def relative(self, u: Tensor, v: Tensor) -> Tensor:
        numerator = self._element(u).diagonal(dim1=-2, dim2=-1)
        denominator = self._element(v, "v").diagonal(dim1=-2, dim2=-1)
        return (numerator / denominator).diag_embed()

    def check_points(self, pos: Tensor) -> None:
        count = int((self._points(pos) <= 0).any(dim=-1).sum())
        if count > 0:
            raise ValueError(
                f"`pos` has {count} point(s) outside the open quadrant x, y > 0, where "
                f"{self!r} defines no lift: shift the points into it or leave these out"
            )

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = self._points(pos)
        return pos.diag_embed(), pos[..., :0]

    def origin(self, q: Tensor) -> Tensor:
        return q.new_ones(*q.shape[:-1], 2)

    def distance(self, pairs: Tensor) -> Tensor:
        r, s = self.split_pairs(pairs)[0].unbind(dim=-1)
        return self.alpha * s.abs() + (1 - self.alpha) * r.abs()

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor:
        r, s = self.log(u).unbind(dim=-1)
        return torch.stack([(1 - self.alpha) * r, self.alpha * s], dim=-1)

    def coordinate_bound(self, u: Tensor, index: int) -> Tensor:
        return self.log(u)[..., index, None]


class SQ(Subgroup):
    r"""The squeezes :math:`\mathrm{diag}(e^s, e^{-s})` of the open quadrant
    :math:`x, y > 0`.

    The algebra coordinate is :math:`s`. A point lifts to half the logarithm of the
    ratio of its coordinates, :math:`s = \tfrac{1}{2} \log \tfrac{x}{y}`, with
    :math:`q = \tfrac{1}{2} \log xy`, from the origin :math:`(e^q, e^q)`, and
    :math:`d_{ij} = \alpha |s_i - s_j| + (1 - \alpha) |q_i - q_j|`.

    Args:
        alpha (float, optional): Weight of the squeeze in the distance.
            (default: :obj:`0.2`)
    """

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__(RxSQ(alpha), (1,))

    def arguments(self) -> dict[str, Any]:
        return {"alpha": self.alpha}
