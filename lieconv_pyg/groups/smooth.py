"""Rotations, for functions that must be smooth."""

from __future__ import annotations

import torch
from torch import Tensor

from lieconv_pyg.groups.trivial import Trivial


class SmoothSO(Trivial):
    r"""The rotations about the origin, for functions that must be smooth everywhere,
    such as energies.

    The angle between two points jumps where they are opposite, a point at the origin
    has none, and points in space have no continuous lift to SO(3). Here points are not
    lifted, :math:`q = x`, and pairs are compared by the polynomials that no rotation
    changes, which say of a pair what those of :class:`~lieconv_pyg.groups.SO2`, or of
    :class:`~lieconv_pyg.groups.SO3` in the mean over all lifts, say of it:

    .. math::
        a_{ij} = [\| x_i - x_j \|^2,\; \| x_i \|^2,\; \| x_j \|^2,\; x_j \times x_i],
        \qquad d_{ij} = \| x_i - x_j \|,

    with the last entry in the plane only: in space mirror images are the same.

    Args:
        n (int): Dimension of the points.
        alpha (float, optional): Without effect, as the distance has one part.
            (default: :obj:`0.2`)
    """

    @property
    def pair_dim(self) -> int:
        return 4 if self.space_dim == 2 else 3

    def pairs(self, u_i: Tensor, q_i: Tensor, v_j: Tensor, q_j: Tensor) -> Tensor:
        q_i, q_j = torch.broadcast_tensors(self._points(q_i), self._points(q_j))
        parts = [x.square().sum(dim=-1) for x in (q_i - q_j, q_i, q_j)]
        if self.space_dim == 2:
            parts.append(q_j[..., 0] * q_i[..., 1] - q_j[..., 1] * q_i[..., 0])
        return torch.stack(parts, dim=-1)

    def distance(self, pairs: Tensor) -> Tensor:
        square = pairs[..., 0]
        safe = torch.where(square > 0, square, 1.0)
        return torch.where(square > 0, safe.sqrt(), 0.0)

    def embed(
        self, u: Tensor, q: Tensor, radius: float | Tensor | None = None
    ) -> Tensor:
        return q
